#!/usr/bin/env python3
"""How long from the start of QEMU to the first generated token: q35, BIOS, TCG, the embedded model.

    tests/bench/boot_time.py [-n RUNS] [--iso FILE] [--limit SECONDS]

QEMU's COM2 (the log) is read while it runs, and each record gets the time at which it came. Prints the median, the
smallest and the largest, and the same for each phase. With --limit, ends with 1 if the median is above it.
"""

import argparse
import os
import pathlib
import selectors
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPTIONS = '-p "Once upon a time" -n 8 --temp 0'
LAST = "first_token"
START_MARK = b"\x02BAREFLOW\x02"  # arch/x86_64/console.h
SUCCESS = 33


class Port:
    """A serial port of the machine, read line by line as the lines come."""

    def __init__(self, pipe):
        self.pipe = pipe
        self.rest = b""
        os.set_blocking(pipe.fileno(), False)

    def lines(self):
        """The lines that came since the last call; None at the end."""
        data = self.pipe.read(65536)
        if not data:
            return None
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines


def boot(iso, command_line):
    """Boots once; returns {event: seconds since QEMU was started} in the order in which they came."""
    # As iso/boot.sh starts it (build_qemu_command there).
    command = ["qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
               "-machine", "q35", "-m", "512", "-smp", "1", "-accel", "tcg,thread=multi", "-cpu", "max",
               "-drive", f"if=none,id=boot,format=raw,media=cdrom,readonly=on,file={iso}",
               "-device", "ide-cd,drive=boot,bootindex=0", "-serial", "stdio", "-serial", "file:/dev/stderr",
               "-device", "isa-debug-exit,iobase=0xf4", "-fw_cfg", f"name=opt/bareflow/cmdline,file={command_line}"]
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    events, log = {}, b""
    ports = selectors.DefaultSelector()
    ports.register(process.stdout, selectors.EVENT_READ, (Port(process.stdout), "console"))
    ports.register(process.stderr, selectors.EVENT_READ, (Port(process.stderr), "log"))
    while ports.get_map():
        for key, _ in ports.select():
            now = time.monotonic() - began
            port, name = key.data
            lines = port.lines()
            if lines is None:
                ports.unregister(key.fileobj)
                continue
            for line in lines:
                if name == "log":
                    log += line + b"\n"
                    events.setdefault(line.partition(b" ")[0].decode(errors="replace"), now)
                elif line.endswith(START_MARK):
                    events["kernel starts"] = now
    events["end of QEMU"] = time.monotonic() - began
    if process.wait() != SUCCESS or LAST not in events:
        sys.exit(f"boot_time.py: the machine ended with {process.returncode}; its log:\n{log.decode(errors='replace')}")
    return events


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("-n", "--runs", type=int, default=7)
    arguments.add_argument("--iso", default=ROOT / "build" / "bareflow.iso")
    arguments.add_argument("--limit", type=float, help="seconds; above it the status is 1")
    given = arguments.parse_args()
    if not pathlib.Path(given.iso).exists():
        sys.exit(f"boot_time.py: {given.iso} is not built; run `make iso`")

    with tempfile.NamedTemporaryFile("w") as command_line:
        command_line.write(OPTIONS)
        command_line.flush()
        boot(given.iso, command_line.name)  # warms the page cache
        runs = [boot(given.iso, command_line.name) for _ in range(given.runs)]

    print(f"seconds from the start of QEMU (q35, BIOS, TCG), {given.runs} runs, {OPTIONS}")
    print(f"{'':20} median    min    max")
    for event in runs[0]:
        seconds = [run[event] for run in runs if event in run]
        print(f"{event:20} {statistics.median(seconds):6.3f} {min(seconds):6.3f} {max(seconds):6.3f}")
    median = statistics.median(run[LAST] for run in runs)
    print(f"first token: {median:.3f} s")
    return 1 if given.limit and median > given.limit else 0


if __name__ == "__main__":
    sys.exit(main())
