"""The launcher: what it refuses, how it ends, and that nothing stays behind it."""

import os
import signal
import subprocess
import time

import pytest

from harness import BUILD, LAUNCHER, PATIENCE, ROOT, children_of, execute, wait_for_line

# Needs no machine: the launcher ends before it starts one.
WRONG_OPTIONS = {
    "unknown": (["--colour", "red"], "unknown option --colour"),
    "unknown-short": (["-x", "1"], "unknown option -x"),
    "no-value": (["-n"], "-n needs a value"),
    "no-number": (["-n", "many"], "whole number"),
    "negative": (["--top-k", "-3"], "whole number"),
    "range": (["--top-p", "1.5"], "from 0 to 1"),
    "not-a-fraction": (["--temp=warm"], "--temp"),
    "enumeration": (["--firmware", "coreboot"], "bios uefi"),
    "assembler": (["--assembler", "nasm"], "asmjit tiny"),
    "cache-type": (["--cache-type", "q8_0"], "f32 f16"),
    "disk-bus": (["--disk-bus", "scsi"], "virtio virtio-legacy ahci"),
    "display": (["--display", "curses"], "none gtk sdl vnc"),
    "boot": (["--boot", "floppy"], "iso disk"),
    "boot-without-disk": (["--boot", "disk"], "--disk IMG"),
    "boot-disk-with-kernel": (["--boot", "disk", "--disk", "x.img", "--kernel", "x.elf"], "its own kernel"),
    "cores": (["-t", "65"], "from 0 to 64"),
    "stray-text": (["Once upon a time"], "-p"),
    "tokenizer-alone": (["-z", "tok.bin"], "-m"),
    "too-long": (["-p", "x" * 40000], "characters"),
}


@pytest.mark.parametrize("options,message", WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
def test_a_wrong_option_is_refused_with_status_2(tmp_path, options, message):
    command = [str(LAUNCHER), "--log", str(tmp_path / "log")]
    run = execute([*command, *options] if "-p" in options else [*command, "-p", "x", *options], tmp_path / "log", 10)
    assert run.status == 2
    assert message in run.errors
    assert run.output == b""
    assert run.log == ""


def test_help_names_every_option_of_the_design(tmp_path):
    run = execute([str(LAUNCHER), "--help"], tmp_path / "log", 10)
    assert run.status == 0
    options = """-m -z -p -n --temp --top-k --top-p --min-p --repeat-penalty --seed -c --stop --chat-template --system --cache-type -t --isa --jit --assembler --numerics
                 --disk --boot --disk-bus --ram --smp --firmware --accel --display --log --timeout""".split()
    assert [name for name in options if f"  {name} ".encode() not in run.output] == []


@pytest.mark.parametrize(
    "options,message",
    [(["-m", "no/such.wllm"], "no file"), (["--kernel", "no/such.elf"], "no kernel"), (["-m", "/dev/null"], "/dev/null"),
     (["-m", str(ROOT / "Makefile")], "Makefile")],
    ids=["model", "kernel", "device", "no-model"],
)
def test_a_missing_or_wrong_file_is_an_error_before_qemu_starts(tmp_path, options, message):
    command = [str(LAUNCHER), "--log", str(tmp_path / "log"), "-p", "x", *options]
    run = execute(command, tmp_path / "log", 10)
    assert run.status == 1
    assert message in run.errors
    assert run.log == ""


@pytest.mark.parametrize(
    "content,message", [(None, "there is no file"), (b"", "has 0 bytes"), (b"x" * 700, "has 700 bytes")],
    ids=["missing", "empty", "no-sectors"])
def test_a_disk_that_cannot_be_one_is_an_error_before_qemu_starts(tmp_path, content, message):
    disk = tmp_path / "disk.img"
    if content is not None:
        disk.write_bytes(content)
    command = [str(LAUNCHER), "--log", str(tmp_path / "log"), "-p", "x", "--disk", str(disk)]
    run = execute(command, tmp_path / "log", 10)
    assert run.status == 1
    assert message in run.errors and str(disk) in run.errors
    assert run.log == ""


def test_a_disk_that_is_no_file_is_an_error_before_qemu_starts(tmp_path):
    command = [str(LAUNCHER), "--log", str(tmp_path / "log"), "-p", "x", "--disk", str(tmp_path)]
    run = execute(command, tmp_path / "log", 10)
    assert run.status == 1
    assert "is no image file" in run.errors


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
def test_a_disk_that_cannot_be_written_is_an_error_before_qemu_starts(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(512))
    disk.chmod(0o444)
    run = execute([str(LAUNCHER), "--log", str(tmp_path / "log"), "-p", "x", "--disk", str(disk)], tmp_path / "log", 10)
    assert run.status == 1
    assert "cannot be read and written" in run.errors


def test_more_disks_than_the_bus_has_ports_are_an_error_before_qemu_starts(tmp_path):
    command = [str(LAUNCHER), "--log", str(tmp_path / "log"), "-p", "x", "--disk-bus", "ahci"]
    for number in range(6):
        disk = tmp_path / f"disk{number}.img"
        disk.write_bytes(bytes(512))
        command += ["--disk", str(disk)]
    run = execute(command, tmp_path / "log", 10)
    assert run.status == 1
    assert "ports for 5 disks" in run.errors


def test_a_disk_that_cannot_boot_is_an_error_before_qemu_starts(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(4 << 20))
    command = [str(LAUNCHER), "--log", str(tmp_path / "log"), "-p", "x", "--boot", "disk", "--disk", str(disk)]
    run = execute(command, tmp_path / "log", 10)
    assert run.status == 1
    assert str(disk) in run.errors and "make disk" in run.errors
    assert run.log == ""


def test_a_model_larger_than_ram_is_an_error_before_qemu_starts(tmp_path):
    model = tmp_path / "large.wllm"
    with model.open("wb") as file:
        file.write(b"LLMW")
        file.truncate(200 << 20)
    run = execute([str(LAUNCHER), "--log", str(tmp_path / "log"), "-m", str(model), "--ram", "128", "-p", "x"],
                  tmp_path / "log", 10)
    assert run.status == 1
    assert "128 MiB of RAM are too few" in run.errors and "--ram" in run.errors
    assert run.log == ""


def test_a_model_that_fw_cfg_cannot_carry_is_an_error_before_qemu_starts(tmp_path):
    model = tmp_path / "huge.wllm"
    with model.open("wb") as file:
        file.write(b"LLMW")
        file.truncate(4 << 30)
    run = execute([str(LAUNCHER), "--log", str(tmp_path / "log"), "-m", str(model), "-p", "x"], tmp_path / "log", 10)
    assert run.status == 1
    assert "4096 MiB" in run.errors


def test_a_timeout_ends_the_machine_and_says_so(machine):
    run = machine.boot("-p", "x", "--set", "test=paging", "--timeout", "2", kernel=BUILD / "bareflow-test.elf")
    assert run.status == 1
    assert "no end within 2 s" in run.errors and str(machine.log) in run.errors
    assert run.seconds < 6 * PATIENCE


def test_an_option_that_the_kernel_refuses_ends_with_its_reason(machine):
    run = machine.boot("-p", "x", "--set", "weights=tape")
    assert run.status == 1
    assert run.output == b""
    assert '--weights: "tape" is not allowed' in run.errors
    assert run.record("exit")["status"] == "failed"


def test_a_failure_of_qemu_itself_is_told(machine):
    run = machine.boot("-p", "x", "--", "-device", "no-such-device")
    assert run.status == 1
    assert "no-such-device" in run.errors and "QEMU itself failed" in run.errors


def test_a_power_off_by_acpi_ends_well(machine):
    run = machine.boot("-p", "A dog", "-n", "5", "--temp", "0", "--set", "exit=acpi")
    assert run.status == 0
    assert run.output.startswith(b"A dog")


def test_acpi_turns_off_a_machine_that_has_no_debug_exit(tmp_path):
    """QEMU without the launcher and without isa-debug-exit."""
    log = tmp_path / "log"
    (tmp_path / "cmdline").write_text('-p "A dog" -n 5 exit=acpi')
    command = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "512",
               "-cpu", "max", "-cdrom", BUILD / "bareflow.iso", "-serial", "null", "-serial", f"file:{log}",
               "-fw_cfg", f"name=opt/bareflow/cmdline,file={tmp_path}/cmdline"]
    run = execute([str(word) for word in command], log, 30)
    assert run.status == 0
    assert run.record("exit") == {"status": "ok"}


def test_the_log_says_which_accelerator_was_taken_and_why(tmp_path):
    log = tmp_path / "log"
    command = [str(LAUNCHER), "--log", str(log), "--timeout", "30", "-p", "x", "-n", "1"]
    run = execute(command, log, 40)
    assert run.status == 0
    launcher = run.record("launcher")
    probe = subprocess.run([BUILD / "host" / "kvm-probe"], capture_output=True, text=True, timeout=10 * PATIENCE)
    assert launcher["accel"] == ("kvm" if probe.returncode == 0 else "tcg")
    assert launcher["reason"] == probe.stdout.strip().removeprefix("kvm: ")
    assert run.log.startswith("launcher ")


def test_forcing_kvm_where_it_does_not_work_is_an_error(tmp_path):
    if subprocess.run([BUILD / "host" / "kvm-probe"], capture_output=True, timeout=10 * PATIENCE).returncode == 0:
        pytest.skip("KVM works here")
    run = execute([str(LAUNCHER), "--log", str(tmp_path / "log"), "--accel", "kvm", "-p", "x"], tmp_path / "log", 10)
    assert run.status == 1
    assert "KVM does not work here" in run.errors


def test_the_same_inputs_give_the_same_iso(tmp_path):
    for name in "a.iso", "b.iso":
        subprocess.run([ROOT / "iso" / "make-iso.sh", BUILD / "bareflow.elf", tmp_path / name], check=True)
    assert (tmp_path / "a.iso").read_bytes() == (tmp_path / "b.iso").read_bytes()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_iso_boots_as_a_disk_too(tmp_path, firmware):
    """As a USB stick or a virtual disk has it: the hybrid half of the image."""
    log = tmp_path / "log"
    (tmp_path / "cmdline").write_text('-p "A dog" -n 5')
    command = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "512",
               "-cpu", "max", "-device", "isa-debug-exit,iobase=0xf4", "-serial", "null", "-serial", f"file:{log}",
               "-drive", f"if=virtio,format=raw,readonly=on,file={BUILD}/bareflow.iso",
               "-fw_cfg", f"name=opt/bareflow/cmdline,file={tmp_path}/cmdline"]
    if firmware == "uefi":
        command += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
                    "-drive", "if=pflash,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd"]
    run = execute(command, log, 60)
    assert run.status == 33
    assert run.record("exit") == {"status": "ok"}


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("killer", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda s: s.name)
def test_no_machine_stays_behind_a_killed_launcher(machine, killer):
    command, _ = machine.command(["-p", "x", "--set", "test=paging"], kernel=BUILD / "bareflow-test.elf")
    # A test runner in the background ignores SIGINT, and so would its children.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    wait_for_line(machine.log, "mappings_done")
    children = children_of(process.pid)
    assert any("qemu-system" in line for line in children.values())
    process.send_signal(killer)
    process.wait(10 * PATIENCE)
    end = time.monotonic() + 10 * PATIENCE
    while any(is_alive(pid) for pid in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert {pid: line for pid, line in children.items() if is_alive(pid)} == {}


def test_a_reader_that_goes_away_ends_the_machine(machine):
    """`boot.sh ... | head -c 5`"""
    command, _ = machine.command(["-p", "Once upon a time", "-n", "400", "--temp", "0"])
    reader, writer = os.pipe()
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert os.read(reader, 1) == b"O"
    os.close(reader)
    _, errors = process.communicate(timeout=20 * PATIENCE)
    print(errors)
    assert process.returncode == 1
    assert "nobody reads" in errors
    assert time.monotonic() - began < 15 * PATIENCE
