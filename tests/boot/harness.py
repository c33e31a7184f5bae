"""What the boot tests stand on: the launcher and the host program as subprocesses, the log as records, and a terminal
that a test can type at."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import time
from dataclasses import dataclass

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian has mkfs.fat and fsck.fat
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LAUNCHER = ROOT / "iso" / "boot.sh"
HOST = BUILD / "host" / "bareflow"
TEST_KERNEL = BUILD / "bareflow-test.elf"
SHARED_MODELS = ROOT.parent / "shared" / "models"

# All limits are seconds of a quiet machine, and so many times that is waited: tests run beside each other, and beside whatever
# else the machine does. What hangs still ends.
PATIENCE = 4
# A BIOS boot takes under a second here; what takes this long hangs.
BOOT_TIMEOUT = {"bios": 30, "uefi": 60}
TAIL = 3000  # bytes of log and console shown when a test fails


class Record(dict):
    """One line of the log: `event key=value ...`."""

    def __init__(self, event, fields):
        super().__init__(fields)
        self.event = event


FIELD = re.compile(r'(\w+)=("(?:\\.|[^"\\])*"|\S*)')


def unquoted(value):
    if not value.startswith('"'):
        return value
    escape = re.compile(r"\\(x[0-9a-f]{2}|.)")
    return escape.sub(lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else m[1], value[1:-1])


def parse_log(text):
    records = []
    for line in text.splitlines():
        event, _, rest = line.partition(" ")
        if re.fullmatch(r"\w+", event) and (not rest or FIELD.match(rest)):
            records.append(Record(event, {key: unquoted(value) for key, value in FIELD.findall(rest)}))
    return records


@dataclass
class Run:
    """How a program ended, and what it left."""

    status: int
    output: bytes
    errors: str
    log: str
    seconds: float

    def records(self, event):
        return [record for record in parse_log(self.log) if record.event == event]

    def record(self, event):
        """The only record of that kind."""
        found = self.records(event)
        assert len(found) == 1, f"{len(found)} records of {event}"
        return found[0]


def show(command, run):
    """Prints what pytest shows if the test fails."""
    print("$", " ".join(map(str, command)))
    print(f"status {run.status} after {run.seconds:.2f} s")
    for name, text in ("console", run.output.decode(errors="replace")), ("errors", run.errors), ("log", run.log):
        if text:
            print(f"--- {name}, its end:\n{text[-TAIL:]}")


def execute(command, log, timeout, stdin=b""):
    """Runs to the end, or for `timeout` seconds of a quiet machine."""
    began = time.monotonic()
    # Binary, and read to the end: output that is not UTF-8 is a finding, not a crash of the test.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(stdin, timeout * PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate()
        errors += b"\n(the test gave up waiting)"
    text = log.read_text(errors="replace") if log.exists() else ""
    run = Run(process.returncode, output, errors.decode(errors="replace"), text, time.monotonic() - began)
    show(command, run)
    return run


def bare_machine(iso, log):
    """QEMU without the launcher and its fw_cfg: the ISO as on a real machine."""
    return ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "512",
            "-cpu", "max", "-device", "isa-debug-exit,iobase=0xf4", "-cdrom", str(iso), "-serial", "stdio",
            "-serial", f"file:{log}"]


class Machine:
    """Boots BareFlow through the launcher. Each boot has its own log in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.boots = 0

    def command(self, options, firmware="bios", kernel=None, timeout=None):
        self.boots += 1
        self.log = self.folder / f"boot{self.boots}.log"
        timeout = timeout or BOOT_TIMEOUT[firmware]
        command = [LAUNCHER, "--accel", "tcg", "--firmware", firmware, "--log", self.log, "--timeout", timeout * PATIENCE]
        if kernel:
            command += ["--kernel", kernel]
        return [str(word) for word in (*command, *options)], timeout

    def boot(self, *options, stdin=b"", **how):
        command, timeout = self.command(options, **how)
        # The launcher ends the machine itself; a launcher that does not is found by the second limit.
        return execute(command, self.log, timeout + 20, stdin)

    def self_test(self, name, *options, **how):
        return self.boot("--set", f"test={name}", *options, kernel=TEST_KERNEL, **how)


class Host:
    """Runs build/host/bareflow with the same options."""

    def __init__(self, folder):
        self.folder = folder
        self.runs = 0

    def command(self, options):
        self.runs += 1
        self.log = self.folder / f"host{self.runs}.log"
        return [str(HOST), "--log", str(self.log), *map(str, options)]

    def run(self, *options, stdin=b""):
        return execute(self.command(options), self.log, 60, stdin)


class Terminal:
    """A program on a terminal of its own, and somebody who reads and types there."""

    def __init__(self, command):
        self.master, slave = pty.openpty()
        self.state_before = termios.tcgetattr(slave)
        self.slave = slave  # stays open, so that the state can be looked at afterwards

        def take_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal)
        self.command = command
        self.seen = b""
        self.read_up_to = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.pull(0)
        print("$", " ".join(self.command))
        print(f"--- terminal, its end:\n{self.seen[-TAIL:].decode(errors='replace')}")
        os.close(self.master)
        os.close(self.slave)

    def pull(self, seconds):
        """Reads what comes within that time; whether something came."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            self.seen += os.read(self.master, 65536)
        return bool(ready)

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, seconds=20):
        """Waits until `pattern` (a regular expression) shows in what was not expected yet; returns the match."""
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while True:
            match = re.compile(pattern.encode(), re.DOTALL).search(self.seen, self.read_up_to)
            if match:
                self.read_up_to = match.end()
                return match
            left = end - time.monotonic()
            assert left > 0, f"{pattern!r} did not come within {seconds} s after {self.seen[self.read_up_to:][-500:]!r}"
            self.pull(min(left, 0.2))

    def wait(self, seconds=20):
        """The exit status, reading on meanwhile: a full terminal would stop the program."""
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running after {seconds} s"
            self.pull(0.1)
        return self.process.returncode

    def is_restored(self):
        return termios.tcgetattr(self.slave) == self.state_before


class Monitor:
    """QEMU's human monitor on a Unix socket."""

    PROMPT = b"(qemu) "

    def __init__(self, path, seconds=10):
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < end, f"no monitor at {path}"
                time.sleep(0.05)
        self.read_answer()

    def read_answer(self):
        answer = b""
        while not answer.endswith(self.PROMPT):
            data = self.socket.recv(65536)
            assert data, "the monitor closed"
            answer += data
        return answer[: -len(self.PROMPT)].decode()

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\n")
        return self.read_answer().replace("\r", "")


def wait_for_line(path, start, seconds=20):
    """Waits until a line of the file begins with `start`."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        text = path.read_text(errors="replace") if path.exists() else ""
        if any(line.startswith(start) for line in text.splitlines()):
            return text
        assert time.monotonic() < end, f"no line {start!r} in {path} within {seconds} s; it ends with {text[-500:]!r}"
        time.sleep(0.02)


def children_of(pid):
    """All processes below `pid`, as a dict of process id to command line."""
    parents = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        parents[int(entry.name)] = (int(stat.rpartition(")")[2].split()[1]), command)
    found, todo = {}, [pid]
    while todo:
        parent = todo.pop()
        for child, (its_parent, command) in parents.items():
            if its_parent == parent and child not in found:
                found[child] = command
                todo.append(child)
    return found
