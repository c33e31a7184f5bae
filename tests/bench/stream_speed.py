#!/usr/bin/env python3
"""How quickly weights come from the disk: stream_speed.py MODEL.wllm [--rounds N] [--ring MIB]

In turns, each round: `dd` reads the whole file past the page cache, once by itself and once in four quarters at a time (what
the disk gives to one and to several requests); then the host program streams it (--stream, O_DIRECT) and writes five tokens, each of
which reads all matrices once. The ratio is of the streamed bytes a second while it generates, to the better of dd's two."""

import argparse
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = ROOT / "build" / "host" / "bareflow"
MIB = 1 << 20
READS = 4  # at a time


def dd_rate(path, parts):
    size = path.stat().st_size // MIB
    each = size // parts
    began = time.monotonic()
    readers = [subprocess.Popen(["dd", f"if={path}", "of=/dev/null", "bs=1M", "iflag=direct", f"skip={i * each}", f"count={each}"],
                                stderr=subprocess.DEVNULL) for i in range(parts)]
    if any([reader.wait() for reader in readers]):
        raise SystemExit(f"stream_speed.py: dd cannot read {path} with iflag=direct")
    return each * parts * MIB / (time.monotonic() - began)


def streamed_rate(path, ring, log):
    subprocess.run([HOST, "-m", path, "--stream", "on", "--ring", str(ring), "-p", "Once upon a time", "-n", "6", "--temp", "0",
                    "--tune", "off", "--log", log], check=True, stdout=subprocess.DEVNULL)
    text = log.read_text()
    cycle = int(re.search(r"^stream .*cycle=(\d+)", text, re.MULTILINE)[1])
    ms, tokens = re.search(r"^timing of=generation ms=([\d.]+) tokens=(\d+)", text, re.MULTILINE).groups()
    return cycle * int(tokens) / (float(ms) / 1e3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ring", type=int, default=100, metavar="MIB")
    arguments = parser.parse_args()
    columns = {"dd": [], f"dd, {READS} at a time": [], "streamed": [], "ratio": []}
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / "log"
        for number in range(arguments.rounds):
            one, several = dd_rate(arguments.model, 1), dd_rate(arguments.model, READS)
            streamed = streamed_rate(arguments.model, arguments.ring, log)
            for column, value in zip(columns.values(), (one / 1e9, several / 1e9, streamed / 1e9, streamed / max(one, several))):
                column.append(value)
            print(f"round {number + 1}: dd {one / 1e9:.2f}, {READS} at a time {several / 1e9:.2f}, streamed {streamed / 1e9:.2f} GB/s",
                  flush=True)
    print(f"{'':<18}{'median':>8}{'quartiles':>16}{'extremes':>16}")
    for name, values in columns.items():
        low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        print(f"{name:<18}{middle:>8.2f}{low:>9.2f} to {high:.2f}{min(values):>9.2f} to {max(values):.2f}")


main()
