#!/usr/bin/env python3
"""Boots BareFlow again and again from its own disk, and shows how it converges: a CSV row a boot, and an SVG plot.

    persist/tools/converge.py --boots 1000 [--out DIR] [--accel icount|tcg|kvm] [--tune-ms N]

A run that was stopped goes on where it stopped. With --accel icount (the default) clocks count instructions: two runs from
an empty disk give the same CSV. What is measured is what the kernel's own log says (README.md, "Convergence").
"""
import argparse
import csv
import itertools
import pathlib
import re
import shutil
import subprocess
import sys
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMNS = ["boot", "stage", "start", "ms_per_token", "routines", "compiled", "restored", "rejected", "plans_tried", "plans_left",
           "explored", "code_bytes", "kernel_bytes", "heap_peak", "converged", "text_crc32"]


def fail(message):
    sys.exit(f"converge.py: {message}")


def fields(log, record):
    """Of the last record of that name: a dictionary; empty if there is none."""
    found = re.findall(rf"^{record} (.*)$", log, re.MULTILINE)
    return dict(re.findall(r'(\S+?)=("[^"]*"|\S+)', found[-1])) if found else {}


def boot_once(options, disk, log_file):
    """One boot; what its log and its text say, as a row."""
    command = [ROOT / "iso/boot.sh", "--accel", options.accel, "--boot", "disk", "--disk", disk, "--log", log_file, "--timeout", str(options.timeout),
               "-p", options.prompt, "-n", str(options.tokens), "--temp", "0", "--seed", "1", "--tune-ms", str(options.tune_ms)]
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    log = log_file.read_text(errors="replace") if log_file.exists() else ""
    if done.returncode != 0:
        fail(f"a boot failed with status {done.returncode}: {done.stderr.decode(errors='replace').strip()}\nits log is {log_file}")
    stage = fields(log, "bareflow")["stage"]
    speed, routines = fields(log, "timing")["ms_per_token"], fields(log, "routines")
    row = {"stage": stage, "start": fields(log, "snapshot").get("start", "-"), "ms_per_token": speed,
           "compiled": routines["compiled"], "restored": routines["restored"], "rejected": routines["rejected"],
           "code_bytes": routines["code_bytes"], "kernel_bytes": fields(log, "size")["kernel"],
           "heap_peak": fields(log, "memory_use")["heap_peak"], "text_crc32": f"{zlib.crc32(done.stdout):08x}"}
    if stage == "native":
        if not re.search(r"^native ", log, re.MULTILINE):
            fail(f"a native boot did not run its own routines; its log is {log_file}")
        return row | {"routines": routines["restored"], "plans_tried": 0, "plans_left": 0, "explored": 100, "converged": "true"}
    boot = fields(log, "boot")
    if not boot:
        fail(f"the log {log_file} has no record `boot`: was the disk found?")
    return row | {"routines": boot["routines"], "plans_tried": boot["plans_tried"], "plans_left": boot["plans_left"],
                  "explored": boot["explored"].rstrip("%"), "converged": boot["converged"]}


def read_rows(table):
    if not table.exists():
        return []
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def show_progress(done, options, began, first, row):
    left = (options.boots - done) * (time.monotonic() - began) / (done - first)
    text = (f"boot {done} of {options.boots}: {row['stage']}, {row['ms_per_token']} ms/token, {row['routines']} routines, "
            f"{row['explored']}% explored; {left / 60:.1f} min left")
    print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def run(options):
    options.out.mkdir(parents=True, exist_ok=True)
    table, disk, trial = options.out / "converge.csv", options.out / "disk.img", options.out / "disk.next.img"
    rows = read_rows(table)
    if not rows or not disk.exists():
        rows = []
        shutil.copyfile(options.image, disk)
        table.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    began, first = time.monotonic(), len(rows)
    with open(table, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        for number in range(first + 1, options.boots + 1):
            # The disk of the last finished boot stays until this one has finished.
            shutil.copyfile(disk, trial)
            row = {"boot": number, **boot_once(options, trial, options.out / "boot.log")}
            trial.replace(disk)
            writer.writerow(row)
            file.flush()
            rows.append(row)
            show_progress(number, options, began, first, row)
    if sys.stderr.isatty() and len(rows) > first:
        print(file=sys.stderr)
    return rows


def plot(rows, picture):
    """Three panels over the boots: speed, what is known, and how large the machine is."""
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "bareflow", "svg.fonttype": "none"})
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel

    boots = [int(row["boot"]) for row in rows]
    column = lambda name, scale=1.0: [float(row[name]) * scale for row in rows]
    figure, (speed, known, size) = pyplot.subplots(3, 1, sharex=True, figsize=(8, 8))
    speed.plot(boots, column("ms_per_token"), color="tab:blue")
    speed.set_ylabel("ms/token")
    known.step(boots, column("explored"), where="mid", color="tab:green", label="plans explored, %")
    known.step(boots, column("routines"), where="mid", color="tab:orange", label="routines")
    known.legend()
    size.step(boots, column("kernel_bytes", 1 / 1024), where="mid", color="tab:red", label="kernel without model, KiB")
    size.step(boots, column("heap_peak", 1 / 1024), where="mid", color="tab:purple", label="heap, peak, KiB")
    size.set_ylim(bottom=0)
    size.legend()
    size.set_xlabel("boot")
    if len(boots) > 100:
        size.set_xscale("log")
    colours = {"full": "#ffffff", "small": "#eef4ff", "native": "#e8fbe8"}
    for panel in (speed, known, size):
        panel.grid(True, alpha=0.3)
        for stage, group in itertools.groupby(rows, key=lambda row: row["stage"]):
            numbers = [int(row["boot"]) for row in group]
            panel.axvspan(numbers[0] - 0.5, numbers[-1] + 0.5, color=colours.get(stage, "#ffffff"), linewidth=0, zorder=0)
    figure.tight_layout()
    figure.savefig(picture, format="svg", metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--boots", type=int, default=1000, help="how many there are to be in all (default: 1000)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/converge", help="where disk, CSV and plot are kept")
    parser.add_argument("--image", type=pathlib.Path, default=ROOT / "build/bareflow.img", help="the disk that the first boot starts from")
    parser.add_argument("--no-plot", dest="plot", action="store_false", help="the CSV only")
    parser.add_argument("--accel", choices=["icount", "tcg", "kvm"], default="icount", help="what runs the machine (default: icount)")
    parser.add_argument("--tune-ms", type=int, default=20, help="milliseconds of tuning in a boot (default: 20)")
    parser.add_argument("--prompt", default="Once upon a time", help="begins the text of every boot")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of a boot (default: 32)")
    parser.add_argument("--timeout", type=int, default=120, help="seconds until a boot is given up (default: 120)")
    options = parser.parse_args()
    if options.boots < 1:
        parser.error("--boots: at least one")
    if not options.image.exists():
        fail(f"there is no {options.image}; `make disk` builds build/bareflow.img")
    rows = run(options)
    if options.plot:
        plot(rows, options.out / "converge.svg")
    texts = {row["text_crc32"] for row in rows}
    first_of = {stage: next((row["boot"] for row in rows if row["stage"] == stage), "never") for stage in ("small", "native")}
    converged = next((row["boot"] for row in rows if row["converged"] == "true"), "never")
    print(f"{len(rows)} boots; small from boot {first_of['small']}, converged at boot {converged}, native from boot {first_of['native']}; "
          f"{len(texts)} different text{'s' if len(texts) > 1 else ''}; "
          f"{options.out / 'converge.csv'}{', converge.svg' if options.plot else ''}")
    if len(texts) != 1:
        fail("the greedy text was not the same at every boot")


if __name__ == "__main__":
    main()
