"""All cores: started, given work, parked, and in the reports of faults; and the text is the same for any number of them."""

import os
import time

import pytest

from harness import PATIENCE, Host, Terminal, children_of, wait_for_line

STORY = ["-p", "Once upon a time", "-n", "60", "--temp", "0"]


@pytest.fixture(scope="module")
def one_core_text(tmp_path_factory):
    """What one core of the host writes."""
    host = Host(tmp_path_factory.mktemp("host"))
    return host.run(*STORY, "-t", "1").output


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_the_machine_writes_the_same_text_on_any_number_of_cores(machine, one_core_text, cores):
    run = machine.boot(*STORY, "--smp", cores)
    assert run.status == 0
    assert run.output == one_core_text
    assert run.record("cores") == {"found": str(cores), "started": str(cores), "used": str(cores)}
    assert run.record("exit") == {"status": "ok"}


@pytest.mark.parametrize("options", [["-t", "2"], ["-t", "4"], ["-t", "2", "--jit", "off"]])
def test_the_host_writes_the_same_text_on_any_number_of_threads(host, one_core_text, options):
    run = host.run(*STORY, *options)
    assert run.status == 0
    assert run.output == one_core_text
    assert run.record("cores")["used"] == options[1]


def test_fewer_cores_can_be_asked_for(machine, one_core_text):
    run = machine.boot(*STORY, "--smp", 4, "-t", 2, "--jit", "off")
    assert run.output == one_core_text
    assert run.record("cores") == {"found": "4", "started": "2", "used": "2"}


def test_uefi_machines_start_their_cores_too(machine):
    run = machine.boot("-p", "A cat", "-n", 3, "--smp", 2, firmware="uefi")
    assert run.status == 0
    assert run.record("cores")["started"] == "2"


def test_a_machine_with_several_cores_turns_itself_off(machine):
    run = machine.boot("-p", "A cat", "-n", 3, "--smp", 2, "--set", "exit=acpi")
    assert run.record("cores")["started"] == "2"
    assert run.record("exit") == {"status": "ok"}
    assert run.seconds < 20 * PATIENCE, "it went off, and was not ended by the time-out"


def test_every_core_does_its_part_awake_or_halted_and_runs_new_code(machine):
    run = machine.self_test("cores", "--smp", 3)
    assert run.status == 0
    assert run.record("cores")["started"] == "3"
    assert run.record("cores_worked")["calls"] == "3000"


@pytest.mark.parametrize("name, symbol", [("other-core", "invalid_opcode"), ("other-core-stack", "overflow_stack")])
def test_a_fault_on_another_core_is_a_report_with_its_number(machine, name, symbol):
    run = machine.self_test(f"fault:{name}", "--smp", 3)
    assert run.status == 1
    report = run.record("fault")
    assert report["core"] == "1" and report["symbol"].split("(")[0].endswith(symbol)
    assert report.get("place", "guard") == "guard"
    assert "on core 1" in run.output.decode()
    assert run.record("exit")["status"] == "failed"


def test_cores_that_wait_for_a_person_leave_the_host_alone(machine):
    options = ["--smp", "4", "-n", "20", "--temp", "0", "--tune-ms", "300"]  # after that nothing is left to do
    command, _ = machine.command(options, timeout=60)
    with Terminal(command) as terminal:
        terminal.expect(r"\n> ", 30)
        terminal.type("Once upon a time\r")  # so that all cores have worked
        terminal.expect(r"\n> ", 30)
        qemu = [pid for pid, line in children_of(terminal.process.pid).items() if line.startswith("qemu-system")]
        assert len(qemu) == 1

        def cpu_seconds():
            with open(f"/proc/{qemu[0]}/stat", encoding="ascii") as stat:
                fields = stat.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        wait_for_line(machine.log, "tune ")
        time.sleep(0.5)
        before = cpu_seconds()
        time.sleep(1)
        used = cpu_seconds() - before
        print(f"QEMU with 4 waiting cores used {used:.2f} s in a second")
        assert used < 0.3
