"""What a disk may hold after the power failed: a log of writes and flushes is taken (QEMU's blklogwrites, or
faulty_file.cpp under the host program), and played back onto the image as it was before, up to any point."""

import os
import random
import struct
import subprocess
from dataclasses import dataclass

from harness import BUILD, ROOT
from volume import SECTOR

# Linux, Documentation/admin-guide/device-mapper/log-writes.rst: a super block, then entries with their data, in sectors.
MAGIC, FLUSH, FUA, DISCARD, MARK = 0x6A736677736872, 1, 2, 4, 8


@dataclass
class Write:
    sector: int
    data: bytes

    def sectors(self):
        return [(self.sector + i, self.data[i * SECTOR:(i + 1) * SECTOR]) for i in range(len(self.data) // SECTOR)]


class Flush:
    pass


def parse_write_log(path):
    log = path.read_bytes()
    magic, version, count, sector_bytes = struct.unpack_from("<QQQI", log)
    assert (magic, version, sector_bytes) == (MAGIC, 1, SECTOR)
    entries, at = [], SECTOR
    for _ in range(count):
        sector, sectors, flags, _ = struct.unpack_from("<QQQQ", log, at)
        at += SECTOR
        assert flags in (0, FLUSH) and bool(sectors) == (flags == 0), "a write, or a flush without one"
        if sectors:
            entries.append(Write(sector, log[at:at + sectors * SECTOR]))
            at += sectors * SECTOR
        else:
            entries.append(Flush())
    return entries


def epochs_of(entries):
    """The writes between flushes; the last epoch is what nobody flushed."""
    epochs = [[]]
    for entry in entries:
        if isinstance(entry, Flush):
            epochs.append([])
        else:
            epochs[-1].append(entry)
    return epochs


def shape(entries):
    """`1|38|1|`: sectors of each write, and flushes."""
    text = "".join("|" if isinstance(entry, Flush) else f"+{len(entry.data) // SECTOR}" for entry in entries)
    return text.replace("|+", "|").lstrip("+")


@dataclass
class Cut:
    """A power cut: all of `flushed` epochs are on the medium, and of the next one these sectors."""

    kind: str
    flushed: int
    sectors: list

    def __str__(self):
        return f"{self.kind}: {self.flushed} epochs and sectors {[number for number, _ in self.sectors]} of the next"


class Recording:
    def __init__(self, before, entries):
        self.before, self.entries, self.epochs = before, entries, epochs_of(entries)

    def make(self, cut, image):
        """Writes the image of that cut to a file."""
        with open(image, "wb") as file:
            file.write(self.before)
            file.flush()
            for epoch in self.epochs[:cut.flushed]:
                for write in epoch:
                    os.pwrite(file.fileno(), write.data, write.sector * SECTOR)
            for sector, data in cut.sectors:
                os.pwrite(file.fileno(), data, sector * SECTOR)

    def prefixes(self):
        """One for each number of whole writes: nothing reordered, nothing torn."""
        for number, epoch in enumerate(self.epochs):
            for count in range(len(epoch) + (number == len(self.epochs) - 1)):
                yield Cut("prefix", number, [pair for write in epoch[:count] for pair in write.sectors()])

    def reorderings(self, seed, most, most_of_many):
        """Of each epoch, in any order and torn anywhere: sectors up to one, all but one, only one, and random sets; `most` of
        each kind, chosen by `seed`; `most_of_many` where they are more than 1000 sectors."""
        chance = random.Random(seed)
        for number, epoch in enumerate(self.epochs):
            pairs = [pair for write in epoch for pair in write.sectors()]

            limit = most_of_many if len(pairs) > 1000 else most

            def some(count):
                return range(count) if count <= limit else sorted(chance.sample(range(count), limit))

            for i in some(len(pairs)):
                yield Cut("torn", number, pairs[:i + 1])
            for i in some(len(pairs)):
                yield Cut("without one", number, pairs[:i] + pairs[i + 1:])
            for i in some(len(pairs)):
                yield Cut("only one", number, [pairs[i]])
            if len(pairs) > 2:
                for _ in range(limit):
                    share = chance.random()
                    yield Cut("random", number, [pair for pair in pairs if chance.random() < share])


def logged_drive(image, log):
    """QEMU options for a disk whose writes and flushes are logged; in cache=writeback, as boot.sh has it."""
    log.write_bytes(b"")
    return ["--", "-blockdev", f"driver=file,node-name=image,filename={image}",
            "-blockdev", f"driver=file,node-name=log,filename={log}",
            "-blockdev", "driver=blklogwrites,node-name=disk,file=image,log=log",
            "-device", "virtio-blk-pci,drive=disk,werror=report,rerror=report"]


def faulty_drive(rules_file, rules, image, device="virtio-blk-pci"):
    """QEMU options for a disk whose requests fail as blkdebug's rules say."""
    rules_file.write_text(rules)
    return ["--", "-drive", f"if=none,id=d,format=raw,file=blkdebug:{rules_file}:{image}", "-device",
            f"{device},drive=d,werror=report,rerror=report"]


def error_on(operation, number, error):
    """blkdebug's rules: the `number`-th read, write or flush fails (from 1), and no other."""
    event = {"read": "read_aio", "write": "write_aio", "flush": "flush_to_disk"}[operation]
    steps = "".join(f'[set-state]\nstate = "{state}"\nevent = "{event}"\nnew_state = "{state + 1}"\n'
                    for state in range(1, number + 1))
    return (f'{steps}[inject-error]\nstate = "{number}"\nevent = "{event}"\niotype = "{operation}"\n'
            f'errno = "{error}"\nonce = "on"\n')


def faulty_file():
    """The library that stands between the host program and its disk; built when it is missing or old."""
    source, library = ROOT / "tests" / "boot" / "faulty_file.cpp", BUILD / "host" / "faulty_file.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        # Moved into its place whole: another worker may be building it too.
        fresh = library.with_suffix(f".{os.getpid()}.so")
        subprocess.run(["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", source, "-o", fresh],
                       check=True)
        fresh.replace(library)
    return library


def host_environment(image, rule=None, log=None):
    environment = {**os.environ, "LD_PRELOAD": str(faulty_file()), "FAULTY_DISK": str(image)}
    if rule:
        environment["FAULTY_RULE"] = rule
    if log:
        environment["FAULTY_LOG"] = str(log)
    return environment
