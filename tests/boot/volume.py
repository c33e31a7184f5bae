"""FAT16 images and the snapshots on them, as the host sees them: mkfs.fat, mtools, fsck.fat, bareflow-snap, and the few
bytes of a slot's header that a test changes (persist/README.md "Two slots")."""

import os
import pathlib
import shutil
import struct
import subprocess
from dataclasses import dataclass

from harness import BUILD

SECTOR = 512
SLOTS = ("SNAPA.BIN", "SNAPB.BIN")
SNAP = BUILD / "host" / "bareflow-snap"
# As `mkfs.fat` needs it for a FAT16 this small: clusters of 1 KiB. The same bytes each time.
MKFS = ["mkfs.fat", "-F", "16", "-s", "2", "-i", "BA4EF10E", "--invariant"]

BUILD_ID, HEADER_CRC, HEADER_BYTES = slice(48, 68), 508, 512
MARK, PAYLOAD = 4096, 8192


def make_volume(path, label="BAREFLOW", mib=16, filling=None):
    """An empty volume. `filling`: what lies where no file is, repeated; zeroes otherwise."""
    size = mib << 20
    path.write_bytes((filling * (size // len(filling) + 1))[:size] if filling else bytes(size))
    subprocess.run([*MKFS, *(("-n", label) if label else ()), path], check=True, capture_output=True)
    return path


def put(image, name, content):
    subprocess.run(["mcopy", "-n", "-i", image, "-", f"::{name}"], input=content, check=True)


def get(image, name):
    done = subprocess.run(["mtype", "-i", image, f"::{name}"], capture_output=True)
    return done.stdout if done.returncode == 0 else None


def table_places(image):
    """Where in the image each copy of the allocation table begins."""
    with open(image, "rb") as file:
        reserved, tables, _, _, _, sectors = struct.unpack_from("<HBHHBH", file.read(SECTOR), 14)
    return [(reserved + i * sectors) * SECTOR for i in range(tables)]


def for_mtools(image):
    """A copy that is marked as clean, where the image is not: mtools read no others. The image itself, where it is."""
    marks = [at + 3 for at in table_places(image)]
    with open(image, "rb") as file:
        if all(os.pread(file.fileno(), 1, at)[0] & 0x80 for at in marks):
            return image
    copy = image.with_suffix(".clean")
    shutil.copyfile(image, copy)
    with open(copy, "r+b") as file:
        for at in marks:
            byte = os.pread(file.fileno(), 1, at)[0]
            os.pwrite(file.fileno(), bytes([byte | 0x80]), at)
    return copy


def fsck(image):
    """What `fsck.fat -n` finds: [] if nothing."""
    done = subprocess.run(["fsck.fat", "-n", image], capture_output=True, text=True, errors="replace")
    # Its first and last lines are its name and the counts.
    return [] if done.returncode == 0 else done.stdout.splitlines()[1:-1] or [f"status {done.returncode}"]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@dataclass
class Snapshot:
    """What a slot holds; `core` is all of it that was saved: header and payload."""

    slot: int
    generation: int
    unclean: int
    core: bytes


def parse_slot(number, content):
    """The slot's snapshot, whether it is sound or not; None if there is none."""
    if content is None or len(content) < PAYLOAD or content[:4] != b"PANS":
        return None
    generation, payload_bytes = struct.unpack_from("<QQ", content, 24)
    unclean, marked, _, header_crc = struct.unpack_from("<IQII", content, MARK + 4)
    is_its_mark = marked == generation and header_crc == struct.unpack_from("<I", content, HEADER_CRC)[0]
    return Snapshot(number, generation, unclean if is_its_mark else 0,
                    content[:HEADER_BYTES] + content[PAYLOAD:PAYLOAD + payload_bytes])


def is_valid(content, scratch):
    """Whether `bareflow-snap check` has nothing to say against a slot's content."""
    scratch.write_bytes(content)
    return subprocess.run([SNAP, "check", scratch], capture_output=True).returncode == 0


def valid_snapshots(image, scratch):
    """Newest first."""
    found = []
    for number, name in enumerate(SLOTS):
        content = get(image, name)
        if content and is_valid(content, scratch):
            found.append(parse_slot(number, content))
    return sorted(found, key=lambda snapshot: -snapshot.generation)


def newest(image):
    """By generation alone."""
    found = [parse_slot(number, get(image, name)) for number, name in enumerate(SLOTS)]
    return max((snapshot for snapshot in found if snapshot), key=lambda snapshot: snapshot.generation)


def place_of(image, name):
    """Where in the image a file of the root directory that stands in one piece begins, and its size."""
    with open(image, "rb") as file:
        boot = file.read(SECTOR)
        per_cluster, reserved, tables, root_entries = struct.unpack_from("<BHBH", boot, 13)
        root = (reserved + tables * struct.unpack_from("<H", boot, 22)[0]) * SECTOR
        file.seek(root)
        entries = file.read(root_entries * 32)
    base, _, extension = name.partition(".")
    at = entries.find((base.ljust(8) + extension.ljust(3)).encode())
    assert at >= 0 and at % 32 == 0, f"no {name} in {image}"
    first, size = struct.unpack_from("<HI", entries, at + 26)
    return root + len(entries) + (first - 2) * per_cluster * SECTOR, size


def patch_header(image, slot, where, new):
    """Changes bytes of a slot's header and makes its CRC fit again."""
    place, _ = place_of(image, SLOTS[slot])
    with open(image, "r+b") as file:
        file.seek(place)
        header = bytearray(file.read(HEADER_BYTES))
        header[where] = new
        struct.pack_into("<I", header, HEADER_CRC, crc32c(header[:HEADER_CRC]))
        file.seek(place)
        file.write(header)


def make_model(folder, kind):
    """The default model with its weights stored in another way, as .wllm."""
    path = pathlib.Path(folder) / f"{kind}.wllm"
    subprocess.run([BUILD / "host" / "bareflow-import", BUILD.parent / "model" / "bareflow-stories.bin", "-o", path,
                    "--quant", kind], check=True, capture_output=True)
    return path
