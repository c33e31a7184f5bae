#!/usr/bin/env python3
"""How many bytes a machine is, all told: kernel, GRUB where there is one, and model. image_sizes.py BUILD [--shape stories15m]

The model has the shape's weights made up: its size is that of the real one. An image's size does not depend on how much of the
native kernel's room for routines is filled, so no snapshot is needed.
"""
import argparse
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAR = 10_000_000  # issue 5: the native machine, all told
SEED = 130_000_000  # what the project began from
LIMITED_TO = {"elf": "kernel and model, for a Multiboot2 loader", "iso": "with GRUB for BIOS and UEFI",
              "img": "a disk, with GRUB and FAT16"}


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--shape", default="stories15m")
    arguments = parser.parse_args()
    build, iso = arguments.build, ROOT / "iso"
    kernels = {"native": build / "bareflow-native.elf", "full": build / "bareflow-full.elf"}
    sizes = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for stage, quant in (("native", "q4_0"), ("full", "q8_0"), ("full", "f32")):
            model = scratch / f"{quant}.wllm"
            run(build / "host" / "bareflow-import", "--synthetic", arguments.shape, "-o", model, "--quant", quant)
            stripped = scratch / f"{stage}.elf"
            if stage == "native":  # nothing is left to strip
                shutil.copy(kernels[stage], stripped)
            else:
                run("objcopy", "--strip-all", kernels[stage], stripped)
            sizes[stage, quant, "model"] = model.stat().st_size
            sizes[stage, quant, "elf"] = stripped.stat().st_size + model.stat().st_size
            run(iso / "make-iso.sh", kernels[stage], scratch / "out.iso", "--model", model)
            sizes[stage, quant, "iso"] = (scratch / "out.iso").stat().st_size
            if stage == "native":
                run(iso / "make-disk.sh", "--native", kernels[stage], "--stage", stage, "-o", scratch / "out.img", "--model", model)
            else:
                run(iso / "make-disk.sh", kernels[stage], "-o", scratch / "out.img", "--model", model)
            sizes[stage, quant, "img"] = (scratch / "out.img").stat().st_size
            model.unlink()

    columns = list(dict.fromkeys(key[:2] for key in sizes))
    print(f"{arguments.shape}, bytes" + "".join(f"{' '.join(column):>16}" for column in columns))
    for what in "model", "elf", "iso", "img":
        note = LIMITED_TO.get(what, "")
        print(f"  {what:<{len(arguments.shape) + 5}}" + "".join(f"{sizes[*column, what]:>16}" for column in columns) + f"  {note}")
    native = sizes["native", "q4_0", "elf"]
    print(f"  native, all told {native} of {BAR}: {'met' if native <= BAR else 'NOT met'}; with GRUB, as an ISO, "
          f"{sizes['native', 'q4_0', 'iso']}: {'met' if sizes['native', 'q4_0', 'iso'] <= BAR else 'NOT met'}")
    print(f"  a {SEED / native:.1f}th of the {SEED} bytes that the project began from; "
          f"full with f32 is {sizes['full', 'f32', 'elf'] / native:.1f} times as large")


main()
