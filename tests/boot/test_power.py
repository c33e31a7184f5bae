"""Power cuts and failing disks: whatever a save or the making of the slots was cut off at, the volume is sound, other files
are as they were, and the old snapshot or the new one is there; whatever fails, the model answers.

BAREFLOW_POWER=all takes every cut and every fault; otherwise a seeded choice of them (persist/README.md "What was tried on
it")."""

import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from harness import HOST, PATIENCE, Host, Machine, Monitor, parse_log, wait_for_line
from power import Recording, error_on, faulty_drive, host_environment, logged_drive, parse_write_log, shape
from volume import (SECTOR, SLOTS, for_mtools, fsck, get, make_model, make_volume, newest, parse_slot, place_of, put,
                    valid_snapshots)

ALL = os.environ.get("BAREFLOW_POWER") == "all"
SEED = 20261123
STORY = ["-p", "Once upon a time", "-n", "8", "--temp", "0", "--tune", "off"]
WITNESSES = {"FIRST.TXT": b"before the slots\n" * 700, "LAST.BIN": bytes(range(256)) * 20, "EMPTY.TXT": b""}
EIO, ENOSPC = 5, 28
ERRORS = {"EIO": EIO, "ENOSPC": ENOSPC}
# Records that say what failed.
COMPLAINTS = {"snapshot_mark", "snapshot_not_saved", "snapshot_slot", "volume_error", "volume_refused", "snapshot_refused"}

# What persist/README.md ("The order of writes") says may be left of a cut while files are made: the volume is marked as in
# use, its two tables differ, clusters belong to nobody or to more than a file's size needs.
TOLERATED = re.compile(
    r"There are differences between boot sector and its backup|Dirty bit is set|Automatically removing dirty bit"
    r"|FATs differ but appear to be intact|Using first FAT|Reclaimed \d+ unused cluster|Leaving filesystem unchanged"
    r"|^\s*$|Found \d+ unused|Orphaned|File size is \d+ bytes, cluster chain length is > \d+ bytes|Truncating file")


def witnesses_of(disk):
    readable = for_mtools(disk)
    return {name: get(readable, name) for name in WITNESSES}


class Story:
    """What the model writes when nothing fails, on the host and in the machine: every other run must say the same."""

    def __init__(self, folder):
        self.host = Host(folder).run(*STORY).output
        self.kernel = Machine(folder).boot(*STORY).output
        assert self.host.startswith(b"Once upon a time") and self.kernel.strip() == self.host.strip()


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    return Story(tmp_path_factory.mktemp("story"))


@pytest.fixture
def ram():
    """A folder in memory: images are written hundreds of times."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield pathlib.Path(folder)


# ---------------------------------------------------------------------------------------------- runs


class OnHost:
    """The host program, with faulty_file.cpp between it and its disk."""

    name = "host"

    def __init__(self, folder):
        self.folder = folder

    def run(self, disk, rule=None, log=None, number=0):
        run_log = self.folder / f"run{number}.log"
        done = subprocess.run([HOST, "--log", run_log, *STORY, "--disk", disk], capture_output=True, timeout=60 * PATIENCE,
                              env=host_environment(disk, rule, log))
        return done.returncode, done.stdout, parse_log(run_log.read_text(errors="replace")), done.stderr.decode(errors="replace")

    def answers(self, disk, story, rule=None, number=0):
        """Runs; the records of its log."""
        status, output, records, errors = self.run(disk, rule, number=number)
        assert (status, output) == (0, story.host), f"{rule}: {errors}"
        return records

    def record(self, disk):
        status, _, records, errors = self.run(disk, log=self.folder / "writes")
        assert status == 0, errors
        return parse_write_log(self.folder / "writes"), records


class InMachine:
    """The kernel in QEMU."""

    name = "kernel"

    def __init__(self, folder):
        self.folder = folder
        self.machine = Machine(folder)

    def boot(self, *options):
        run = self.machine.boot(*STORY, *options)
        assert run.status == 0
        return run

    def answers(self, disk, story, number=0):
        run = Machine(self.folder_for(number)).boot(*STORY, "--disk", disk)
        assert (run.status, run.output) == (0, story.kernel)
        return parse_log(run.log)

    def folder_for(self, number):
        folder = self.folder / f"machine{number}"
        folder.mkdir(exist_ok=True)
        return folder

    def record(self, disk):
        run = self.boot(*logged_drive(disk, self.folder / "writes"))
        return parse_write_log(self.folder / "writes"), parse_log(run.log)


PLACES = {"host": OnHost, "kernel": InMachine}


def in_parallel(work, items):
    """Two at a time, in order; all of them, and then the first failure."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, items))


def record_named(records, event):
    found = [record for record in records if record.event == event]
    complaints = [(record.event, dict(record)) for record in records if record.event in COMPLAINTS]
    assert len(found) == 1, f"{len(found)} records of {event}; {complaints}"
    return found[0]


def disk_after(boots, place, folder, story):
    """A volume with witnesses, before and behind the slots, that so many boots ended well on."""
    disk = make_volume(folder / "disk.img", mib=10)
    put(disk, "FIRST.TXT", WITNESSES["FIRST.TXT"])
    put(disk, "EMPTY.TXT", b"")
    for _ in range(boots):
        place.answers(disk, story)
    put(disk, "LAST.BIN", WITNESSES["LAST.BIN"])
    if boots:
        places = [place_of(disk, name)[0] for name in ("FIRST.TXT", *SLOTS, "LAST.BIN")]
        assert places == sorted(places), "a witness before the slots, and one behind them"
    return disk


# ---------------------------------------------------------------------------------------------- a save that is cut off


def record_save(place, disk):
    before = disk.read_bytes()
    old = newest(disk)
    entries, records = place.record(disk)
    assert record_named(records, "snapshot")["start"] == "warm"
    assert int(record_named(records, "snapshot_saved")["generation"]) == old.generation + 1
    return Recording(before, entries), old, newest(disk)


def check_save(recording, old, new, cut, disk):
    """Leaves the image of that cut in `disk`; whether the new snapshot is the one that it holds."""
    recording.make(cut, disk)
    assert fsck(disk) == [], cut
    assert witnesses_of(disk) == WITNESSES, cut
    found = valid_snapshots(disk, disk.with_suffix(".slot"))
    assert found, f"{cut}: no snapshot is left"
    assert found[0].core in (old.core, new.core), f"{cut}: a snapshot that was never saved"
    # All that was said to be on the medium is; and what is not written yet is not there.
    is_new = found[0].core == new.core
    if cut.flushed == len(recording.epochs) - 1:
        assert is_new, f"{cut}: the save had ended, and is lost"
    header_place = place_of(disk, SLOTS[new.slot])[0] // SECTOR
    flushed = [pair for epoch in recording.epochs[:cut.flushed] for write in epoch for pair in write.sectors()]
    has_header = any(sector == header_place for sector, _ in flushed + cut.sectors)
    assert is_new == has_header, f"{cut}: the header is what makes it count"
    return is_new


@pytest.mark.parametrize("boots", [1, 2], ids=["into-an-empty-slot", "over-an-older-one"])
@pytest.mark.parametrize("where", ["kernel", "host"])
def test_a_save_that_is_cut_off_anywhere_leaves_the_old_snapshot_or_the_new_one(ram, story, where, boots):
    place = PLACES[where](ram)
    disk = disk_after(boots, place, ram, story)
    recording, old, new = record_save(place, disk)
    print("writes and flushes:", shape(recording.entries))
    prefixes = list(recording.prefixes())
    reorderings = list(recording.reorderings(SEED, 1000 if ALL else 40, 0))

    # Every cut: what is on the medium then.
    def check(work):
        number, cut = work
        image = ram / f"cut{number % 2}.{number}.img"
        try:
            return cut, check_save(recording, old, new, cut, image)
        finally:
            image.unlink(missing_ok=True)
            image.with_suffix(".slot").unlink(missing_ok=True)

    results = in_parallel(check, enumerate(prefixes + reorderings))
    counted = collections.Counter((cut.kind, "new" if is_new else "old") for cut, is_new in results)
    print(f"{len(prefixes)} prefixes, {len(reorderings)} reorderings:", dict(counted))
    assert counted["prefix", "old"] and counted["prefix", "new"]

    # All prefixes and some of the rest: a boot from it.
    step = 1 if ALL else 8 if where == "host" else len(reorderings) // 8 + 1
    chosen = results[:len(prefixes)] + results[len(prefixes)::step]
    if where == "kernel" and not ALL:
        chosen = chosen[:12 if boots == 2 else 5]

    def boot_from(work):
        number, (cut, is_new) = work
        image = ram / f"boot{number}.img"
        recording.make(cut, image)
        records = place.answers(image, story, number=number)
        start, boot = record_named(records, "snapshot"), record_named(records, "boot")
        snapshot = new if is_new else old
        assert (start["start"], int(start["generation"])) == ("warm", snapshot.generation), cut
        assert boot["compiled"] == "0" and int(boot["restored"]) > 0, cut
        assert int(record_named(records, "snapshot_saved")["generation"]) == snapshot.generation + 1, cut
        assert fsck(image) == [] and witnesses_of(image) == WITNESSES, cut
        image.unlink()

    in_parallel(boot_from, enumerate(chosen))
    print(f"booted from {len(chosen)} of them")

    # The order that persist/README.md promises: mark | payload | header |, and nothing anywhere else.
    slots = {name: place_of(disk, name)[0] // SECTOR for name in SLOTS}
    written = [epoch for epoch in recording.epochs if epoch]
    assert len(written) == 3, "three flushes"
    mark, payload, header = written
    old_slot, new_slot = slots[SLOTS[old.slot]], slots[SLOTS[new.slot]]
    assert [write.sector for write in mark] == [old_slot + 8] and [write.sector for write in header] == [new_slot]
    assert all(new_slot + 16 <= write.sector for write in payload)
    assert recording.epochs[-1] == [], "the last write is flushed"


# ---------------------------------------------------------------------------------------------- slots whose making is cut off


def disk_without_slots(place, folder, story):
    """The slots of earlier boots were deleted: their sectors, with sound snapshots, are free."""
    disk = disk_after(2, place, folder, story)
    for name in SLOTS:
        subprocess.run(["mdel", "-i", disk, f"::{name}"], check=True)
    assert fsck(disk) == []
    return disk


def check_making(recording, stale, cut, disk):
    recording.make(cut, disk)
    findings = [line for line in fsck(disk) if not TOLERATED.search(line)]
    assert findings == [], f"{cut}: {findings}"
    assert witnesses_of(disk) == WITNESSES, cut
    readable = for_mtools(disk)
    for number, name in enumerate(SLOTS):
        content = get(readable, name)
        if content is None:
            continue
        snapshot = parse_slot(number, content)
        assert snapshot is None or snapshot.core not in stale, f"{cut}: {name} is one that was deleted"


@pytest.mark.parametrize("where", ["kernel", "host"])
def test_slots_whose_making_is_cut_off_are_made_by_the_next_boot(ram, story, where):
    place = PLACES[where](ram)
    disk = disk_without_slots(place, ram, story)
    before = disk.read_bytes()
    entries, records = place.record(disk)
    assert record_named(records, "snapshot_saved")["generation"] == "1"
    stale = [parse_slot(number, before[at:at + 2 ** 21]).core for number, name in enumerate(SLOTS)
             for at, _ in [place_of(disk, name)]]
    assert len(stale) == 2, "what was deleted lay where the slots are made again"
    recording = Recording(before, entries)
    print("writes and flushes:", shape(entries))
    prefixes = list(recording.prefixes())
    most, most_of_zeroes = (30, 15) if ALL else (4, 1) if where == "host" else (2, 1)
    reorderings = list(recording.reorderings(SEED, most, most_of_zeroes))
    # In the ordinary run every 16th prefix of what is 64 writes of zeroes, and all others.
    cuts = [cut for number, cut in enumerate(prefixes) if ALL or number % 16 == 0 or len(cut.sectors) < 128] + reorderings
    host = OnHost(ram)

    def check(work):
        number, cut = work
        image = ram / f"cut{number}.img"
        check_making(recording, stale, cut, image)
        # The next boot makes what is missing, and the one after it finds what that learned: by the host program.
        first = host.answers(image, story, number=number)
        assert [record for record in first if record.event == "snapshot_saved"], f"{cut}: {first}"
        saved = record_named(first, "snapshot_saved")
        second = host.answers(image, story, number=number)
        start = record_named(second, "snapshot")
        assert (start["start"], start["generation"]) == ("warm", saved["generation"]), cut
        check_left = [line for line in fsck(image) if not TOLERATED.search(line)]
        assert check_left == [] and witnesses_of(image) == WITNESSES, cut
        subprocess.run(["fsck.fat", "-a", image], capture_output=True)
        assert fsck(image) == [] and witnesses_of(image) == WITNESSES, f"{cut}: after fsck.fat -a"
        for path in image, image.with_suffix(".clean"):
            path.unlink(missing_ok=True)

    in_parallel(check, enumerate(cuts))
    print(f"{len(prefixes)} prefixes, {len(reorderings)} reorderings: {len(cuts)} were tried")

    if where == "kernel":
        sample = [cut for cut in cuts if 0 < len(cut.sectors) < 100][::1 if ALL else 12][:200 if ALL else 6]

        def boot_from(work):
            number, cut = work
            image = ram / f"boot{number}.img"
            recording.make(cut, image)
            saved = record_named(place.answers(image, story, number=number), "snapshot_saved")
            start = record_named(place.answers(image, story, number=number), "snapshot")
            assert (start["start"], start["generation"]) == ("warm", saved["generation"]), cut
            assert witnesses_of(image) == WITNESSES
            image.unlink()

        in_parallel(boot_from, enumerate(sample))
        print(f"the kernel booted twice from {len(sample)} of them")


# ---------------------------------------------------------------------------------------------- requests that fail


def check_after_fault(disk, old, records, what):
    """Something was said, or made good; the old snapshot or its successor is there, and every other file."""
    assert witnesses_of(disk) == WITNESSES, what
    complaints = {record.event for record in records} & COMPLAINTS
    has_saved = any(record.event == "snapshot_saved" for record in records)
    assert complaints or has_saved, f"{what}: nobody said what failed"
    findings = fsck(disk)
    assert [line for line in findings if not TOLERATED.search(line)] == [], what
    if old is None:
        return complaints
    assert findings == [], what
    found = valid_snapshots(disk, disk.with_suffix(".slot"))
    assert any(snapshot.core == old.core for snapshot in found), f"{what}: the old snapshot is gone"
    assert found[0].generation <= old.generation + 1
    return complaints


def count_requests(place, disk, folder):
    trial = folder / "trial.img"
    shutil.copyfile(disk, trial)
    entries, _ = place.record(trial)
    flushes = sum(1 for entry in entries if not hasattr(entry, "data"))
    return {"write": len(entries) - flushes, "flush": flushes}


@pytest.mark.parametrize("slots", ["there", "made"])
@pytest.mark.parametrize("how", ["once", "on"])
def test_whatever_write_or_flush_fails_on_the_host_the_model_answers_and_the_old_snapshot_stays(ram, story, slots, how):
    place = OnHost(ram)
    disk = disk_after(2, place, ram, story) if slots == "there" else disk_without_slots(place, ram, story)
    old = newest(disk) if slots == "there" else None
    counts = count_requests(place, disk, ram)
    print(f"of a boot: {counts}")
    faults = []
    for operation, count in counts.items():
        for number in range(1, count + 1):
            both = ALL or slots == "there"
            # In the ordinary run every eighth of the writes of zeroes, which are all but these.
            if both or operation == "flush" or number < 6 or number % 8 == 0 or 32 < number < 42 or number > 68:
                errors = ERRORS.values() if both and operation == "write" else [EIO if number % 2 else ENOSPC]
                faults += [(operation, number, error) for error in errors]

    def check(work):
        number, (operation, at, error) = work
        image = ram / f"fault{number}.img"
        shutil.copyfile(disk, image)
        rule = f"{operation}:{at}:{how}:{error}"
        check_after_fault(image, old, place.answers(image, story, rule, number=number), rule)
        # And the next boot, without any fault, keeps what it learned.
        saved = record_named(place.answers(image, story, number=number), "snapshot_saved")
        start = record_named(place.answers(image, story, number=number), "snapshot")
        assert (start["start"], start["generation"]) == ("warm", saved["generation"]), rule
        image.unlink()

    in_parallel(check, enumerate(faults))
    print(f"{len(faults)} faults")


def test_a_disk_that_says_it_wrote_and_did_not_is_found_out(ram, story):
    """The writes of a save are the second, the payload, and the third, the header; the first is the mark."""
    place = OnHost(ram)
    disk = disk_after(2, place, ram, story)
    old = newest(disk)
    for number in 2, 3:
        image = ram / "lie.img"
        shutil.copyfile(disk, image)
        records = place.answers(image, story, f"write:{number}:lie:0")
        assert "reads back differently" in record_named(records, "snapshot_not_saved")["reason"]
        check_after_fault(image, old, records, f"write {number} is a lie")


@pytest.mark.parametrize("how", ["once", "on"])
def test_whatever_read_fails_on_the_host_the_model_answers_or_the_reason_is_told(ram, story, how):
    place = OnHost(ram)
    disk = disk_after(2, place, ram, story)
    old, refused, told = newest(disk), 0, 0
    for number in range(1, 25):  # there are 13; the others find nothing to fail
        image, what = ram / "read.img", f"read {number}, {how}"
        shutil.copyfile(disk, image)
        status, output, records, errors = place.run(image, f"read:{number}:{how}:{EIO}")
        if status != 0:
            # A disk that was named and cannot be mounted at all is an error of the host program's.
            assert "no FAT16 volume" in errors and output == b"", what
            refused += 1
        else:
            assert output == story.host, what
            told += bool({record.event for record in records} & COMPLAINTS)
        assert witnesses_of(image) == WITNESSES and fsck(image) == [], what
        found = valid_snapshots(image, ram / "slot")
        has_saved = any(record.event == "snapshot_saved" for record in records)
        assert any(snapshot.core == old.core for snapshot in found) or has_saved and found[0].generation > old.generation, what
    print(f"{refused} before the volume was known, {told} told later")
    assert refused and told > 4


def faults_in_machine(counts, making):
    """(operation, number, error): in the ordinary run of the 64 writes of zeroes only some, and EIO and ENOSPC in turns where
    there are many."""
    for operation, count in counts.items():
        for number in range(1, count + 1):
            is_zeroes = making and operation == "write" and (4 <= number <= 33 or 39 <= number <= 69)
            if is_zeroes and not ALL:
                continue
            both = ALL or not making
            for name, error in ERRORS.items():
                if both and operation == "write" or (name == "EIO") == (number % 2 == 1):
                    yield operation, number, name, error


@pytest.mark.parametrize("slots", ["there", "made"])
def test_whatever_write_or_flush_fails_the_machine_answers_and_the_old_snapshot_stays(ram, story, slots):
    place = InMachine(ram)
    disk = disk_after(2, place, ram, story) if slots == "there" else disk_without_slots(place, ram, story)
    old = newest(disk) if slots == "there" else None
    counts = count_requests(place, disk, ram)
    print(f"of a boot: {counts}")
    faults = list(faults_in_machine(counts, slots == "made"))

    def check(work):
        index, (operation, number, name, error) = work
        folder = place.folder_for(index)
        image, what = folder / "disk.img", f"{name} on {operation} {number}"
        shutil.copyfile(disk, image)
        run = Machine(folder).boot(*STORY, *faulty_drive(folder / "rules", error_on(operation, number, error), image))
        assert (run.status, run.output) == (0, story.kernel), what
        complaints = check_after_fault(image, old, parse_log(run.log), what)
        # The host program goes on with it, whatever build wrote it.
        saved = record_named(OnHost(folder).answers(image, story), "snapshot_saved")
        assert int(saved["generation"]) >= 1
        image.unlink()
        return complaints

    complaints = in_parallel(check, enumerate(faults))
    print(f"{len(faults)} faults; {sum(1 for said in complaints if said)} told, the others made good by a second try:",
          collections.Counter(event for said in complaints for event in said))
    assert slots == "made" or all(complaints), "in a save there is no second try"


def test_whatever_read_fails_the_machine_answers(ram, story):
    place = InMachine(ram)
    disk = disk_after(1, place, ram, story)
    put(disk, "bareflow.cfg", b"profile=off\n")
    put(disk, "model.wllm", make_model(ram, "q8_0").read_bytes())

    def check(number):
        folder = place.folder_for(number)
        image = folder / "disk.img"
        shutil.copyfile(disk, image)
        run = Machine(folder).boot(*STORY, *faulty_drive(folder / "rules", error_on("read", number, EIO), image))
        assert (run.status, run.output) == (0, story.kernel), f"read {number}"
        assert witnesses_of(image) == WITNESSES and fsck(image) == []
        image.unlink()
        return bool({record.event for record in parse_log(run.log)} & (COMPLAINTS | {"model_refused"}))

    # The BIOS reads from it too, before the kernel does.
    told = in_parallel(check, range(1, 60 if ALL else 16))
    print(f"{len(told)} reads failed, {sum(told)} were told")
    assert any(told)


# ---------------------------------------------------------------------------------------------- full, read-only, absent, gone


def fill(disk, leave):
    """Files until so many bytes are free."""
    listing = subprocess.run(["mdir", "-i", disk, "::"], capture_output=True, text=True, check=True).stdout
    free = int(re.search(r"([\d ]+) bytes free", listing)[1].replace(" ", ""))
    put(disk, "FILLING.BIN", b"f" * (free - leave))


@pytest.mark.parametrize("leave,slots", [(0, 0), (1 << 20, 0), (3 << 20, 1), (4 << 20, 2)],
                         ids=["full", "1MiB", "one-slot", "just-enough"])
def test_a_full_disk_keeps_nothing_and_the_machine_answers(ram, story, leave, slots):
    place = InMachine(ram)
    disk = disk_after(0, place, ram, story)
    fill(disk, leave)
    for boot in range(2):
        records = place.answers(disk, story)
        assert fsck(disk) == [] and witnesses_of(disk) == WITNESSES
        assert sum(get(disk, name) is not None for name in SLOTS) == slots
        assert len([record for record in records if record.event == "snapshot_slot"]) == 2 - slots
        has_saved = any(record.event == "snapshot_saved" for record in records)
        assert has_saved == (slots == 2)
    if slots == 1:
        assert "two files" in record_named(records, "snapshot_not_saved")["reason"]
        subprocess.run(["mdel", "-i", disk, "::FILLING.BIN"], check=True)
        assert record_named(place.answers(disk, story), "snapshot_saved")["generation"] == "1", "as soon as there is room"


@pytest.mark.parametrize("boots", [0, 1], ids=["empty", "with-a-snapshot"])
def test_a_read_only_disk_is_used_and_never_written(ram, story, boots):
    place = InMachine(ram)
    disk = disk_after(boots, place, ram, story)
    before = disk.read_bytes()
    run = place.boot("--", "-drive", f"if=none,id=d,format=raw,readonly=on,file={disk}", "-device", "virtio-blk-pci,drive=d")
    assert run.output == story.kernel
    assert run.record("volume")["writable"] == "no"
    assert disk.read_bytes() == before
    if boots:
        assert run.record("snapshot")["start"] == "warm" and run.record("boot")["compiled"] == "0"
        assert "read-only" in run.record("snapshot_not_saved")["reason"]
    else:
        assert len(run.records("snapshot_slot")) == 2


def test_a_disk_that_is_absent_is_no_reason_to_stop(ram, story):
    run = InMachine(ram).boot("--set", "weights=disk")
    assert run.output == story.kernel
    assert run.records("volume") == run.records("snapshot") == []
    assert "--disk" in run.record("model_refused")["reason"]


@pytest.mark.parametrize("device", ["virtio-blk-pci", "ide-hd,bus=ide.1"], ids=["virtio", "ahci"])
def test_a_disk_that_is_yanked_while_the_text_is_written_leaves_its_old_snapshot(ram, story, device):
    place = InMachine(ram)
    disk = disk_after(2, place, ram, story)
    old = newest(disk)
    machine, socket = Machine(ram), ram / "monitor"
    command, _ = machine.command(["-p", "Once upon a time", "-n", "100", "--temp", "0", "--tune", "off", "--",
                                  "-drive", f"if=none,id=d,format=raw,file={disk}",
                                  "-device", f"{device},drive=d,werror=report,rerror=report",
                                  "-monitor", f"unix:{socket},server=on,wait=off"])
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    monitor = Monitor(socket)
    wait_for_line(machine.log, "first_token")
    monitor.ask("drive_del d")
    output, _ = process.communicate(timeout=40 * PATIENCE)
    assert process.returncode == 0 and output.startswith(story.kernel.rstrip())
    records = parse_log(machine.log.read_text())
    assert record_named(records, "snapshot")["start"] == "warm"
    assert "snapshot_saved" not in {record.event for record in records}
    assert record_named(records, "snapshot_not_saved")["reason"]
    assert fsck(disk) == [] and witnesses_of(disk) == WITNESSES
    assert valid_snapshots(disk, ram / "slot")[0].core == old.core
    assert record_named(place.answers(disk, story), "snapshot")["start"] == "warm"
