"""Grow to shrink, from the first boot to the native one."""
import csv
import subprocess

import harness

ROOT = harness.ROOT
MODEL = ROOT / "build/model/embedded-q8_0.wllm"
BOOTS = 24


def test_the_machine_turns_itself_small_and_native_and_writes_the_same_text_at_every_boot(machine, tmp_path):
    image, out = tmp_path / "disk.img", tmp_path / "out"
    subprocess.run([ROOT / "iso/make-disk.sh", ROOT / "build/bareflow.elf", "-o", image, "--small", ROOT / "build/bareflow-small.elf",
                    "--native", ROOT / "build/bareflow-native.elf", "--model", MODEL],
                   check=True)

    def converge(boots):
        subprocess.run([ROOT / "persist/tools/converge.py", "--boots", str(boots), "--image", image, "--out", out, "--no-plot",
                        "--tokens", "8"], check=True)
        with open(out / "converge.csv", newline="", encoding="utf-8") as table:
            return list(csv.DictReader(table))

    begun = converge(2)
    rows = converge(BOOTS)  # goes on where it stopped
    assert rows[:2] == begun
    assert len({row["text_crc32"] for row in rows}) == 1
    assert [row["boot"] for row in rows] == [str(number) for number in range(1, BOOTS + 1)]
    stages = [row["stage"] for row in rows]
    assert stages == sorted(stages, key=["full", "small", "native"].index), "a stage went back"
    small, native = stages.index("small"), stages.index("native")
    assert 5 <= small < native and native >= 20
    assert rows[0]["start"] == "cold" and int(rows[0]["compiled"]) > 0
    for row in rows[1:native]:
        assert row["start"] == "warm" and row["compiled"] == "0" and int(row["restored"]) > 0
    assert rows[native - 1]["converged"] == "true" and rows[native - 1]["plans_left"] == "0"
    sizes = [int(rows[at]["kernel_bytes"]) for at in (0, small, native)]
    assert sizes[0] > max(sizes[1:])  # in memory; the native one has 256 KiB of room for routines

    # It has nothing left to learn: one file of it boots anywhere (the tests of native images say --early).
    elf = tmp_path / "whole.elf"
    subprocess.run([ROOT / "build/host/bareflow-native", "--disk", out / "disk.img", "-o", elf], check=True)
    run = machine.boot("-p", "Once upon a time", "-n", "8", "--temp", "0", kernel=elf)
    assert run.status == 0
    assert run.record("native")["missing"] == "0"
