"""Disks inside the machine, on each bus: data, ends, many requests at once, errors, and a disk that stops answering; and
what then stands in the image on the host."""

import calendar
import struct

import pytest

from harness import BUILD, PATIENCE, Monitor, Terminal, wait_for_line

BUSES = ["virtio", "virtio-legacy", "ahci"]
DRIVER = {"virtio": "virtio-blk", "virtio-legacy": "virtio-blk-legacy", "ahci": "ahci"}
NAME = {"virtio": "virtio", "virtio-legacy": "virtio", "ahci": "ahci"}
# What boot.sh makes of --disk-bus, for tests that give QEMU a drive of their own.
DEVICE = {"virtio": "virtio-blk-pci,disable-legacy=on", "virtio-legacy": "virtio-blk-pci,disable-modern=on,disable-legacy=off",
          "ahci": "ide-hd,bus=ide.1"}

SECTOR = 512
WORDS = SECTOR // 8
# As in selftest_disks.cpp.
ONE_SECTOR, LARGE_SECTOR, LARGE_SECTORS, MANY_SECTOR, MANY_SECTORS = 8, 100, 6 * 2048 + 3, 20_000, 8
SECTORS = 32_771  # an odd number, and no multiple of anything


def pattern(disk, first, count=1):
    words = (((word + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1) ^ disk << 56
             for word in range(first * WORDS, (first + count) * WORDS))
    return struct.pack(f"<{count * WORDS}Q", *words)


def make_disk(folder, name="disk.img", sectors=SECTORS):
    path = folder / name
    with path.open("wb") as file:
        file.truncate(sectors * SECTOR)
    return path


def options_of(bus, *paths):
    return ["--disk-bus", bus, *(word for path in paths for word in ("--disk", path))]


def expected_image(disk, depth):
    """What disk:io leaves behind, all of it: nothing else was written."""
    image = bytearray(SECTORS * SECTOR)
    many = min(depth, 64) * MANY_SECTORS
    for first, count in (ONE_SECTOR, 1), (LARGE_SECTOR, LARGE_SECTORS), (MANY_SECTOR, many), (SECTORS - 1, 1):
        image[first * SECTOR:(first + count) * SECTOR] = pattern(disk, first, count)
    return image


def check_io(run, names, paths):
    assert run.status == 0
    assert [record["name"] for record in run.records("disk_io")] == names
    for number, (record, path) in enumerate(zip(run.records("disk"), paths)):
        assert path.read_bytes() == expected_image(number, int(record["depth"])), f"the image of disk {number}"


@pytest.mark.parametrize("bus", BUSES)
def test_what_is_written_is_read_and_stands_in_the_image(machine, tmp_path, bus):
    disk = make_disk(tmp_path)
    run = machine.self_test("disk:io", *options_of(bus, disk))
    record = run.record("disk")
    assert record["name"] == f"{NAME[bus]}0" and record["driver"] == DRIVER[bus]
    assert record["sectors"] == str(SECTORS) and record["read_only"] == "false"
    assert int(record["depth"]) >= 16
    check_io(run, [f"{NAME[bus]}0"], [disk])


@pytest.mark.parametrize("bus", BUSES)
def test_uefi_machines_have_their_disks_too(machine, tmp_path, bus):
    disk = make_disk(tmp_path)
    run = machine.self_test("disk:io", *options_of(bus, disk), firmware="uefi")
    check_io(run, [f"{NAME[bus]}0"], [disk])


@pytest.mark.parametrize("bus", BUSES)
def test_several_disks_keep_their_order_and_their_data(machine, tmp_path, bus):
    disks = [make_disk(tmp_path, f"disk{number}.img") for number in range(3)]
    run = machine.self_test("disk:io", *options_of(bus, *disks))
    check_io(run, [f"{NAME[bus]}{number}" for number in range(3)], disks)
    assert run.record("disks")["count"] == "3"


def test_disks_of_all_kinds_and_behind_a_bridge_at_once(machine, tmp_path):
    """As a BIOS numbers them: PCI addresses in ascending order, what is behind a bridge last."""
    disks = [make_disk(tmp_path, f"disk{number}.img") for number in range(4)]
    extra = ["--", "-device", "pcie-root-port,id=behind,addr=5.0,chassis=1"]
    devices = ["virtio-blk-pci,disable-legacy=on,addr=7.0", "virtio-blk-pci,disable-modern=on,disable-legacy=off,addr=8.0",
               "ide-hd,bus=ide.3", "virtio-blk-pci,bus=behind"]
    for number, device in enumerate(devices):
        extra += ["-drive", f"if=none,id=d{number},format=raw,file={disks[number]}", "-device", f"{device},drive=d{number}"]
    run = machine.self_test("disk:io", *extra)
    check_io(run, ["virtio0", "virtio1", "ahci0", "virtio2"], disks)
    assert [record["pci"] for record in run.records("disk")] == ["00:07.0", "00:08.0", "00:1f.2", "01:00.0"]


@pytest.mark.parametrize("properties", ["queue-size=16,seg-max-adjust=on", "queue-size=64", "queue-size=1024", "packed=on",
                                        "event_idx=off,indirect_desc=off", "num-queues=4", "addr=4.0,multifunction=on",
                                        "write-cache=off", "config-wce=off", "modern-pio-notify=on"])
def test_virtio_devices_of_other_shapes_are_used_within_their_limits(machine, tmp_path, properties):
    disk = make_disk(tmp_path)
    run = machine.self_test("disk:each", "--", "-drive", f"if=none,id=d,format=raw,file={disk}",
                            "-device", f"virtio-blk-pci,drive=d,{properties}")
    assert run.status == 0
    assert run.record("disk")["driver"] == "virtio-blk"
    assert all(record["ok"] == "true" and record["same"] == "true"
               for record in run.records("disk_write") + run.records("disk_read") + run.records("disk_flush"))
    assert disk.read_bytes() == pattern(0, 0, 12) + bytes((SECTORS - 12) * SECTOR)


@pytest.mark.parametrize("bus", ["virtio", "virtio-legacy"])
def test_a_read_only_disk_is_read_and_never_written(machine, tmp_path, bus):
    disk = make_disk(tmp_path)
    image = pattern(0, 0, 64) + bytes((SECTORS - 64) * SECTOR)
    disk.write_bytes(image)
    run = machine.self_test("disk:io", "--", "-drive", f"if=none,id=d,format=raw,readonly=on,file={disk}",
                            "-device", f"{DEVICE[bus]},drive=d")
    assert run.status == 0
    assert run.record("disk")["read_only"] == "true"
    assert run.record("disk_io")["ok"] == "true"
    assert disk.read_bytes() == image


@pytest.mark.parametrize("bus,size", [("virtio", 4096), ("ahci", 4096)])
def test_a_disk_with_large_sectors_is_refused_with_its_reason(machine, tmp_path, bus, size):
    if bus == "ahci":
        pytest.skip("QEMU's SATA disks have sectors of 512 bytes only")
    disk = make_disk(tmp_path, sectors=4096)
    run = machine.boot("-p", "A cat", "-n", 1, "--", "-drive", f"if=none,id=d,format=raw,file={disk}",
                       "-device", f"{DEVICE[bus]},drive=d,logical_block_size={size},physical_block_size={size}")
    assert run.status == 0, "the model answers all the same"
    assert f"sectors of {size} bytes" in run.record("disk_refused")["reason"]
    assert run.record("disks")["count"] == "0"


# ---------------------------------------------------------------------------------------------- errors


def faulty_drive(tmp_path, disk, rules):
    """A drive whose requests fail as blkdebug's rules say."""
    config = tmp_path / "rules"
    config.write_text(rules)
    return ["-drive", f"if=none,id=d,format=raw,file=blkdebug:{config}:{disk}"]


def error_on(event, number, error):
    """Rules: the `number`-th such event fails (from 1), and no other."""
    steps = "".join(f'[set-state]\nstate = "{state}"\nevent = "{event}"\nnew_state = "{state + 1}"\n'
                    for state in range(1, number + 1))
    return f'{steps}[inject-error]\nstate = "{number}"\nevent = "{event}"\nerrno = "{error}"\nonce = "on"\n'


EIO, ENOSPC = 5, 28


def outcomes(run, event):
    return [record["ok"] == "true" for record in run.records(event)]


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("number,error", [(1, EIO), (2, EIO), (7, EIO), (12, ENOSPC)])
def test_a_write_that_fails_is_told_and_the_next_one_works(machine, tmp_path, bus, number, error):
    disk = make_disk(tmp_path, sectors=64)
    run = machine.self_test("disk:each", "--", *faulty_drive(tmp_path, disk, error_on("write_aio", number, error)),
                            "-device", f"{DEVICE[bus]},drive=d,werror=report,rerror=report")
    assert run.status == 0
    assert outcomes(run, "disk_write") == [i + 1 != number for i in range(12)]
    failed = run.records("disk_write")[number - 1]
    assert failed["device"] == "true"
    assert f"{NAME[bus]}0: cannot write 512 bytes at sector {number - 1}: " in failed["error"]
    assert outcomes(run, "disk_flush") == [True]
    assert outcomes(run, "disk_read") == [True] * 12
    image = b"".join(bytes(SECTOR) if i + 1 == number else pattern(0, i) for i in range(12))
    assert disk.read_bytes()[:12 * SECTOR] == image
    assert [record["same"] == "true" for record in run.records("disk_read")] == outcomes(run, "disk_write")


@pytest.mark.parametrize("bus", BUSES)
def test_a_sector_that_cannot_be_read_is_told_and_its_neighbours_are_read(machine, tmp_path, bus):
    disk = make_disk(tmp_path, sectors=64)
    rules = f'[inject-error]\nevent = "read_aio"\nerrno = "{EIO}"\nsector = "5"\n'
    run = machine.self_test("disk:each", "--", *faulty_drive(tmp_path, disk, rules),
                            "-device", f"{DEVICE[bus]},drive=d,werror=report,rerror=report")
    assert run.status == 0
    assert outcomes(run, "disk_read") == [i != 5 for i in range(12)]
    assert all(record["same"] == "true" for record in run.records("disk_read") if record["sector"] != "5")
    assert "cannot read 512 bytes at sector 5: " in run.records("disk_read")[5]["error"]


@pytest.mark.parametrize("bus", BUSES)
def test_only_the_failing_one_of_many_requests_fails(machine, tmp_path, bus):
    disk = make_disk(tmp_path, sectors=64)
    rules = "".join(f'[inject-error]\nevent = "{event}_aio"\nerrno = "{EIO}"\nsector = "{sector}"\n'
                    for event, sector in [("write", 0), ("write", 4), ("read", 6), ("read", 7), ("read", 11)])
    run = machine.self_test("disk:together", "--", *faulty_drive(tmp_path, disk, rules),
                            "-device", f"{DEVICE[bus]},drive=d,werror=report,rerror=report")
    assert run.status == 0
    if bus == "ahci":
        assert outcomes(run, "disk_write") == [i not in (0, 4) for i in range(12)]
        assert outcomes(run, "disk_read") == [i not in (6, 7, 11) for i in range(12)]
    else:
        # QEMU joins neighbouring requests, and fails them together: more may fail, but none of these may succeed.
        assert not any(outcomes(run, "disk_write")[i] for i in (0, 4))
        assert not any(outcomes(run, "disk_read")[i] for i in (6, 7, 11))
    image = disk.read_bytes()
    for i, ok in enumerate(outcomes(run, "disk_write")):
        assert not ok or image[i * SECTOR:(i + 1) * SECTOR] == pattern(0, i)


@pytest.mark.parametrize("bus", BUSES)
def test_a_flush_that_fails_is_told(machine, tmp_path, bus):
    disk = make_disk(tmp_path, sectors=64)
    rules = f'[inject-error]\nevent = "none"\niotype = "flush"\nerrno = "{EIO}"\n'
    run = machine.self_test("disk:each", "--", *faulty_drive(tmp_path, disk, rules),
                            "-device", f"{DEVICE[bus]},drive=d,werror=report,rerror=report")
    assert run.status == 0
    assert outcomes(run, "disk_flush") == [False]
    assert f"{NAME[bus]}0: cannot flush: " in run.record("disk_flush")["error"]
    assert outcomes(run, "disk_write") == outcomes(run, "disk_read") == [True] * 12


@pytest.mark.parametrize("bus", BUSES)
def test_a_disk_that_stalls_is_turned_off_and_writes_to_no_memory_afterwards(machine, tmp_path, bus):
    """A bucket that fills at 90 kB/s: behind the first MiB the next takes 12 s. The driver waits for 10, and the test looks
    8 s longer at the buffer."""
    disk = make_disk(tmp_path)
    disk.write_bytes(b"x" * (SECTORS * SECTOR))
    run = machine.self_test("disk:stall", "--", "-drive",
                            f"if=none,id=d,format=raw,file={disk},throttling.bps-total=90000",
                            "-device", f"{DEVICE[bus]},drive=d", timeout=60)
    assert run.status == 0
    stalled = run.records("disk_stalled")
    assert stalled[-1]["ok"] == "false" and "in time" in stalled[-1]["error"]
    assert float(stalled[-1]["ms"]) >= 10_000
    assert run.seconds < 50 * PATIENCE  # QEMU itself waits for a SATA disk's request when the drive is reset
    after = run.record("disk_after_stall")
    assert after["untouched"] == "true"
    assert after["ok"] == "false" and "it is turned off" in after["error"]


@pytest.mark.parametrize("bus", BUSES)
def test_a_disk_whose_medium_is_taken_away_fails_and_the_machine_goes_on(machine, tmp_path, bus):
    disk, socket = make_disk(tmp_path), tmp_path / "monitor"
    command, _ = machine.command(["--set", "test=disk:yank", "--", "-drive", f"if=none,id=d,format=raw,file={disk}",
                                  "-device", f"{DEVICE[bus]},drive=d,werror=report,rerror=report",
                                  "-monitor", f"unix:{socket},server=on,wait=off"], kernel=BUILD / "bareflow-test.elf")
    with Terminal(command) as terminal:
        wait_for_line(machine.log, "disk_ready")
        Monitor(socket).ask("drive_del d")
        terminal.type("q")
        assert terminal.wait() == 0
    log = machine.log.read_text()
    lines = [line for line in log.splitlines() if line.startswith(("disk_write ", "disk_read "))]
    assert ["ok=true" in line for line in lines] == [True, False, False]
    assert all("device=true" in line for line in lines[1:])


# ---------------------------------------------------------------------------------------------- beside the disks


def test_a_machine_without_disks_loses_no_time_over_them(machine):
    best = min(float(machine.boot("-p", "A cat", "-n", 1).record("disks")["ms"]) for _ in range(3))
    print(f"looking for disks took {best} ms")
    assert best < 20, "under TCG, on a host with other work; 1 to 2 ms are usual"


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_registers_of_disks_are_uncached_and_never_executable(machine, tmp_path, firmware):
    """UEFI puts 64-bit registers above 4 GiB: test_uefi_machines_have_their_disks_too works with them."""
    run = machine.self_test("mappings", *options_of("virtio", make_disk(tmp_path)), firmware=firmware)
    device = [record for record in run.records("mapping") if record["uncached"] == "true"]
    assert len(device) >= 3, "the local APIC, the virtio disk, the SATA controller"
    assert {record["rights"] for record in device} == {"rw-"}
    assert any(int(record["start"], 16) >= 1 << 32 for record in device) == (firmware == "uefi")


@pytest.mark.parametrize("time", ["2031-02-03T04:05:06", "2024-02-29T23:59:30", "1999-12-31T12:00:00"])
def test_the_real_time_clock_is_read(machine, time):
    run = machine.self_test("disk:rtc", "--", "-rtc", f"base={time}")
    date, _, clock = time.partition("T")
    expected = calendar.timegm((*map(int, date.split("-")), *map(int, clock.split(":"))))
    assert 0 <= int(run.record("rtc")["seconds"]) - expected < 20
