#!/usr/bin/env python3
"""What takes how many bytes in the kernel, stage by stage: size_report.py BUILD [--symbols N]

A kernel's size is all that is loaded: its code, constants, data and the table of symbols, which only fault reports read. The model
and the native stage's room for routines are told apart. Reads the .debug.elf of each stage.

The native kernel is stored packed (arch/x86_64/packed): its size as stored is that of its file without the room for routines, so
with stub, ELF headers and padding. The bars are for sizes as stored.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import tempfile

STAGES = ("full", "small", "native")
CODE = (".text", ".rodata", ".got", ".data")
APART = {".native": "room for routines", ".model": "model"}
BARS = {"full": 512 * 1024, "native": 128 * 1024}  # issue 5, "What it must show" 2
LEAST_RATIO = 4
PACK = pathlib.Path(__file__).resolve().parents[2] / "arch" / "x86_64" / "packed" / "pack.sh"
ROOM = re.compile(r"/(arch/base|arch/x86_64|arch|mm|emitter|model|profiler|persist)/[^/:]*:\d+$")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def sections(elf):
    return {name: int(size) for name, size, _ in
            (line.split() for line in output("size", "-A", str(elf)).splitlines() if line.startswith("."))}


def packed_size(elf):
    """What xz makes of a kernel, as pack.sh has it: (code, constants and data; the same and the symbols)."""
    filters = re.search(r"^xz_filters=\((.*)\)$", PACK.read_text(), re.MULTILINE)[1].replace('"', "").split()
    plain, sizes = b"", []
    with tempfile.NamedTemporaryFile() as part:
        for wanted in CODE, (".symbols",):
            for section in wanted:
                subprocess.run(["objcopy", "-O", "binary", "-j", section, elf, part.name], check=True)
                plain += pathlib.Path(part.name).read_bytes()
            done = subprocess.run(["xz", "-c", "--format=raw", *filters], input=plain, capture_output=True, check=True)
            sizes.append(len(done.stdout))
    return sizes


def symbols(elf):
    """(bytes, name, room) of all that is code, constant or data."""
    names = {}
    for line in output("nm", "-SC", "--defined-only", str(elf)).splitlines():
        address, size, kind, name = line.split(" ", 3) if line.count(" ") > 2 else (None,) * 4
        if address and kind in "tTwWrRdDvVu" and name != "native_space":
            names[address] = (int(size, 16), name)
    rooms = {}
    for line in output("nm", "-l", "--defined-only", str(elf)).splitlines():
        found = ROOM.search(line)
        if found:
            rooms[line.split(" ", 1)[0]] = found[1]
    return [(size, name, rooms.get(address, "asmjit" if "asmjit" in name else "libm, assembly"))
            for address, (size, name) in names.items()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--symbols", type=int, default=15)
    arguments = parser.parse_args()
    elfs = {stage: arguments.build / f"bareflow-{stage}.debug.elf" for stage in STAGES}
    rooms, totals, apart, largest = collections.defaultdict(dict), {}, collections.defaultdict(dict), {}
    for stage, elf in elfs.items():
        sizes = sections(elf)
        code = sum(sizes.get(name, 0) for name in CODE)
        totals[stage] = code + sizes[".symbols"]
        for section, what in APART.items():
            apart[what][stage] = sizes.get(section, 0)
        apart["zeroes (.bss)"][stage] = sizes.get(".bss", 0)
        apart["the ELF file"][stage] = (arguments.build / f"bareflow-{stage}.elf").stat().st_size
        found = symbols(elf)
        for size, _, room in found:
            rooms[room][stage] = rooms[room].get(stage, 0) + size
        rooms["texts, padding"][stage] = code - sum(size for size, _, _ in found)
        rooms["symbol table"][stage] = sizes[".symbols"]
        largest[stage] = sorted(found, reverse=True)[: arguments.symbols]

    def row(what, values):
        print(f"  {what:<22}" + "".join(f"{values.get(stage, 0):>10}" for stage in STAGES))

    print(f"{'bytes':<24}" + "".join(f"{stage:>10}" for stage in STAGES))
    for room, values in sorted(rooms.items(), key=lambda item: -item[1].get("full", 0)):
        row(room, values)
    row("the kernel", totals)
    print("beside it")
    for what, values in apart.items():
        row(what, values)
    stored = apart["the ELF file"]["native"] - apart["room for routines"]["native"]
    packed = {stage: packed_size(elf) for stage, elf in elfs.items()}
    print("packed, as the native kernel is stored")
    row("without its symbols", {stage: sizes[0] for stage, sizes in packed.items()})
    row("the kernel", {stage: sizes[1] for stage, sizes in packed.items()})
    row("stub, headers, padding", {"native": stored - packed["native"][1]})
    row("as stored", {"full": totals["full"], "small": totals["small"], "native": stored})
    print("bars")
    for stage, size in ("full", totals["full"]), ("native", stored):
        print(f"  {stage:<8}{size / 1024:>8.1f} KiB of {BARS[stage] // 1024}, as stored: "
              f"{'met' if size <= BARS[stage] else 'NOT met'}")
    ratio = totals["full"] / stored
    print(f"  full / native {ratio:.2f} as stored, at least {LEAST_RATIO}: {'met' if ratio >= LEAST_RATIO else 'NOT met'}")
    print(f"  beside it: {totals['full'] / totals['native']:.2f} with both unpacked, "
          f"{packed['full'][1] / packed['native'][1]:.2f} with both packed")
    for stage in STAGES:
        print(f"largest symbols, {stage}")
        for size, name, _ in largest[stage]:
            print(f"  {size:>8}  {name[:110]}")


main()
