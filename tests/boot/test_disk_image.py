"""The disk image that boots by itself: what lies on it, that firmware finds it, and which kernel GRUB takes from it."""

import os
import re
import shutil
import struct
import subprocess

import pytest

from harness import BUILD, HOST, PATIENCE, ROOT, execute

MAKE_DISK = ROOT / "iso" / "make-disk.sh"
KERNEL = BUILD / "bareflow.elf"
MODEL = ROOT / "model" / "bareflow-stories.bin"
PROMPT = ["-p", "A dog and a cat", "-n", "20", "--temp", "0"]
SECTOR, MIB = 512, 1 << 20
PARTITION = MIB
ENVIRONMENT_BYTES = 1024
VERSION = re.search(r'kVersion = "([^"]+)"', (ROOT / "arch" / "base" / "version.h").read_text())[1]
KERNELS = {"full": VERSION, "small": "small"[:len(VERSION)], "native": "nativ"[:len(VERSION)]}
# Debian has fsck.fat where only root looks. A user's mtools settings are none of these tests' business.
TOOLS = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "MTOOLSRC": "/dev/null", "LC_ALL": "C.UTF-8"}


def make_disk(out, *options, kernel=KERNEL):
    subprocess.run([MAKE_DISK, kernel, "-o", out, *map(str, options)], check=True)
    return out


def tool(name, image, *arguments):
    """mtools on the image's partition."""
    return subprocess.run([name, "-i", f"{image}@@{PARTITION}", *arguments], env=TOOLS, check=True, capture_output=True).stdout


def check_file_system(image, folder):
    """What fsck.fat says of the partition, cut out of the image."""
    alone = folder / "partition.fat"
    subprocess.run(["dd", f"if={image}", f"of={alone}", "bs=1M", "skip=1", "conv=sparse", "status=none"], check=True)
    checked = subprocess.run(["fsck.fat", "-n", "-v", alone], env=TOOLS, capture_output=True, text=True)
    alone.unlink()
    print(checked.stdout)
    assert checked.returncode == 0
    return checked.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The embedded model as a file: wherever the kernel finds it, the text is the same."""
    path = tmp_path_factory.mktemp("model") / "stories.wllm"
    subprocess.run([BUILD / "host" / "bareflow-import", MODEL, "-o", path, "--quant", "q8_0"], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The kernel in three copies that tell the log another version each."""
    folder = tmp_path_factory.mktemp("kernels")
    code = KERNEL.read_bytes()
    for name, version in KERNELS.items():
        assert len(version) == len(VERSION)
        (folder / f"{name}.elf").write_bytes(code.replace(VERSION.encode(), version.encode(), 1))
    return folder


@pytest.fixture(scope="module")
def full_image(tmp_path_factory, model, kernels):
    """Everything that can lie on a disk. Not to be changed: tests that write take a copy."""
    folder = tmp_path_factory.mktemp("image")
    config = folder / "my.cfg"
    config.write_text("temp=0\nn-predict=1\n")
    return make_disk(folder / "full.img", "--small", kernels / "small.elf", "--native", kernels / "native.elf", "--model", model,
                     "--config", config)


@pytest.fixture
def image(full_image, tmp_path):
    return shutil.copy(full_image, tmp_path / "disk.img")


# ---------------------------------------------------------------- what lies on it

def test_it_has_one_active_partition_that_bios_and_uefi_know(full_image):
    record = full_image.read_bytes()[:SECTOR]
    assert record[510:] == b"\x55\xaa"
    assert record[66:0x5a].strip(b"\0") == b""  # where old systems keep a BPB: nothing
    status, kind, first, count = struct.unpack_from("<B3xB3xII", record, 446)
    assert (status, kind, first) == (0x80, 0xEF, PARTITION // SECTOR)
    assert (first + count) * SECTOR == full_image.stat().st_size
    assert record[462:510] == bytes(48), "other partitions"


def test_its_file_system_is_clean_and_aligned(full_image, tmp_path):
    text = check_file_system(full_image, tmp_path)
    assert "16 bit entries" in text
    assert f"{PARTITION // SECTOR} hidden sectors" in text
    # Pieces of 4 KiB of a file lie in different sectors of any disk: snapshots count on it.
    assert int(re.search(r"(\d+) bytes per cluster", text)[1]) % 4096 == 0
    assert int(re.search(r"Data area starts at byte (\d+)", text)[1]) % 4096 == 0


def test_its_files_are_what_was_given(full_image, model, kernels, tmp_path):
    assert tool("mtype", full_image, "::/model.wllm") == model.read_bytes()
    assert tool("mtype", full_image, "::/bareflow.cfg") == b"temp=0\nn-predict=1\n"
    assert tool("mtype", full_image, "::/boot/grub/grub.cfg") == (ROOT / "iso" / "disk.cfg").read_bytes()
    for slot in "SNAPA.BIN", "SNAPB.BIN":
        assert tool("mtype", full_image, f"::/{slot}") == bytes(2 * MIB)
    for name, on_disk in ("full", "bareflow"), ("small", "small"), ("native", "native"):
        stripped = tmp_path / f"{name}.elf"
        subprocess.run(["objcopy", "--strip-all", kernels / f"{name}.elf", stripped], check=True)
        assert tool("mtype", full_image, f"::/boot/{on_disk}.elf") == stripped.read_bytes()
    assert tool("mtype", full_image, "::/EFI/BOOT/BOOTX64.EFI")[:2] == b"MZ"
    assert b"BAREFLOW" in tool("mlabel", full_image, "-s", "::")
    block = tmp_path / "grubenv"
    block.write_bytes(tool("mtype", full_image, "::/boot/grub/grubenv"))
    assert block.stat().st_size == ENVIRONMENT_BYTES
    listed = subprocess.run(["grub-editenv", block, "list"], check=True, capture_output=True).stdout
    assert listed == b"stage=full\nnative=untried\n"


def test_what_is_not_given_is_not_there(tmp_path):
    image = make_disk(tmp_path / "least.img")
    assert tool("mdir", image, "-b", "::/").decode().split() == ["::/EFI/", "::/boot/", "::/SNAPA.BIN", "::/SNAPB.BIN"]
    assert tool("mdir", image, "-b", "::/boot").decode().split() == ["::/boot/grub/", "::/boot/bareflow.elf"]


@pytest.mark.parametrize("path", ["SNAPA.BIN", "SNAPB.BIN", "boot/grub/grubenv", "model.wllm", "boot/bareflow.elf",
                                  "boot/native.elf"])
def test_what_is_rewritten_in_place_or_read_at_once_is_in_one_piece(full_image, path):
    clusters = tool("mshowfat", full_image, f"::/{path}").decode()
    assert len(re.findall(r"<[-\d]+>", clusters)) == 1, clusters


def test_the_same_inputs_give_the_same_image(full_image, model, kernels, tmp_path):
    config = tmp_path / "other-name.cfg"
    config.write_text("temp=0\nn-predict=1\n")
    again = make_disk(tmp_path / "again.img", "--config", config, "--native", kernels / "native.elf", "--model", model,
                      "--small", kernels / "small.elf")
    assert again.read_bytes() == full_image.read_bytes()
    # Two images that are made at once are the same even if they hold the date.
    dates = set(re.findall(r"\d{4}-\d{2}-\d{2} +\d+:\d+", tool("mdir", full_image, "-a", "-/", "::").decode()))
    assert dates == {"2000-01-01   0:00"}


def test_the_image_takes_no_room_for_what_is_empty(full_image):
    content, block = full_image.read_bytes(), 4096
    used = sum(any(content[at:at + block]) for at in range(0, len(content), block)) * block
    assert full_image.stat().st_blocks * 512 < used + MIB  # of 4 MiB for the snapshots alone


def test_a_tool_that_fails_leaves_the_old_image_and_nothing_else(tmp_path):
    out, tools = tmp_path / "out.img", tmp_path / "tools"
    out.write_text("old")
    tools.mkdir()
    (tools / "mcopy").symlink_to("/bin/false")
    command = ["env", f"PATH={tools}:{os.environ['PATH']}", MAKE_DISK, KERNEL, "-o", out]
    run = execute([str(word) for word in command], tmp_path / "log", 30)
    assert run.status == 1
    assert "mcopy failed" in run.errors
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.img", "tools"]


def test_a_large_volume_has_large_clusters_and_boots(machine, tmp_path):
    image = make_disk(tmp_path / "large.img", "--size", "2100")
    text = check_file_system(image, tmp_path)
    assert "65536 bytes per cluster" in text
    assert machine.boot("--boot", "disk", "--disk", image, *PROMPT).status == 0
    image.unlink()


REFUSALS = {
    "nothing": ([], 2, "give a kernel"),
    "no-output": (["KERNEL"], 2, "-o"),
    "unknown": (["KERNEL", "-o", "OUT", "--colour", "red"], 2, "unknown option --colour"),
    "two-kernels": (["KERNEL", "KERNEL", "-o", "OUT"], 2, "what is"),
    "no-value": (["KERNEL", "-o", "OUT", "--model"], 2, "--model needs a value"),
    "stage": (["KERNEL", "-o", "OUT", "--stage", "tiny"], 2, "full small native"),
    "stage-without-kernel": (["KERNEL", "-o", "OUT", "--stage", "native"], 2, "needs --native"),
    "size-word": (["KERNEL", "-o", "OUT", "--size", "big"], 2, "whole number"),
    "size-too-small": (["KERNEL", "-o", "OUT", "--size", "19"], 2, "begins at 20 MiB"),
    "size-too-large": (["KERNEL", "-o", "OUT", "--size", "4096"], 2, "at most 4095"),
    "no-kernel": (["/no/such.elf", "-o", "OUT"], 1, "no kernel /no/such.elf"),
    "not-a-kernel": (["/etc/passwd", "-o", "OUT"], 1, "no Multiboot2 kernel"),
    "small-not-a-kernel": (["KERNEL", "-o", "OUT", "--small", "/etc/passwd"], 1, "/etc/passwd is no Multiboot2 kernel"),
    "no-model": (["KERNEL", "-o", "OUT", "--model", "/no/such.wllm"], 1, "/no/such.wllm"),
    "not-a-model": (["KERNEL", "-o", "OUT", "--model", "KERNEL"], 1, "bareflow-import"),
    "size-too-small-for-model": (["KERNEL", "-o", "OUT", "--size", "100", "--model", "MODEL"], 1, "leave --size out"),
    "model-too-large": (["KERNEL", "-o", "OUT", "--model", "HUGE"], 1, "--quant"),
}


@pytest.mark.parametrize("words,status,message", REFUSALS.values(), ids=REFUSALS.keys())
def test_what_makes_no_disk_is_refused_and_leaves_nothing(tmp_path, words, status, message):
    names = {"KERNEL": KERNEL, "OUT": tmp_path / "out.img", "MODEL": tmp_path / "200.wllm", "HUGE": tmp_path / "4200.wllm"}
    for word in {"MODEL", "HUGE"} & set(words):
        with names[word].open("wb") as file:
            file.write(b"LLMW")
            file.truncate(int(names[word].stem) * MIB)
    run = execute([str(names.get(word, word)) for word in [MAKE_DISK, *words]], tmp_path / "log", 30)
    assert run.status == status
    assert message in run.errors
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".wllm"] == []


def test_make_disk_takes_a_model_and_the_other_kernels(model, tmp_path):
    """The Makefile's recipe; somewhere else, since the user's own disk may have learned something."""
    image = tmp_path / "made.img"

    def make(*variables):
        clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        subprocess.run(["make", "-j1", "disk", f"DISK_IMAGE={image}", *variables], cwd=ROOT, env=clean, check=True)
        return tool("mdir", image, "-b", "::/boot").decode().split()

    assert make() == ["::/boot/grub/", "::/boot/bareflow.elf", "::/boot/native.elf", "::/boot/small.elf"]
    first = image.stat().st_ino
    make()
    assert image.stat().st_ino == first, "made again without need"
    changed = make(f"MODEL={model}", "DISK_SMALL=", f"DISK_NATIVE={KERNEL}", "DISK_OPTIONS=--stage native")
    assert changed == ["::/boot/grub/", "::/boot/bareflow.elf", "::/boot/native.elf"]
    assert tool("mtype", image, "::/model.wllm") == model.read_bytes()
    assert environment(image)[0] == "stage=native"


# ---------------------------------------------------------------- that it boots

@pytest.mark.parametrize("bus", ["virtio", "virtio-legacy", "ahci"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_it_boots_by_itself_and_answers(machine, host, full_image, tmp_path, firmware, bus):
    image = shutil.copy(full_image, tmp_path / "disk.img")
    run = machine.boot("--boot", "disk", "--disk", image, "--disk-bus", bus, *PROMPT, firmware=firmware)
    assert run.status == 0
    assert run.output == host.run(*PROMPT).output
    assert run.record("launcher")["image"] == str(image)


def qemu(image, log, *extra, bus="virtio", drive=""):
    """A machine that has nothing but the disk, as a cloud's would."""
    return ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "512", "-cpu", "max",
            "-device", "isa-debug-exit,iobase=0xf4", "-serial", "stdio", "-serial", f"file:{log}",
            "-drive", f"if={bus},format=raw,file={image}{drive}", *extra]


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_as_a_usb_stick_it_boots_and_grub_loads_the_model(host, model, tmp_path, firmware):
    image, log, options = make_disk(tmp_path / "stick.img", "--usb", "--model", model), tmp_path / "log", tmp_path / "cmdline"
    options.write_text(f"{PROMPT[0]} {PROMPT[1]!r} {' '.join(PROMPT[2:])}".replace("'", '"'))
    command = qemu(image, log, "-device", "qemu-xhci", "-device", "usb-storage,drive=stick",
                   "-fw_cfg", f"name=opt/bareflow/cmdline,file={options}", bus="none,id=stick")
    if firmware == "uefi":
        command += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
                    "-drive", "if=pflash,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd"]
    run = execute(command, log, 60)
    assert run.status == 33
    assert run.record("model")["source"] == "module"
    assert run.output.partition(b"\x02BAREFLOW\x02\n")[2] == host.run(*PROMPT).output


def test_without_a_launcher_its_own_options_are_read(tmp_path):
    config, log = tmp_path / "bareflow.cfg", tmp_path / "log"
    config.write_text(f"prompt = {PROMPT[1]}\nn-predict = 20\ntemp=0\nexit=debug-exit\n")
    run = execute(qemu(make_disk(tmp_path / "disk.img", "--config", config), log), log, 30)
    assert run.status == 33
    hosted = subprocess.run([HOST, *PROMPT, "--log", tmp_path / "host.log"], capture_output=True, timeout=60 * PATIENCE)
    assert run.output.partition(b"\x02BAREFLOW\x02\n")[2] == hosted.stdout


def test_a_second_disk_like_it_does_not_mislead_grub(machine, image, tmp_path):
    """Both have an environment block, and UEFI lists the other one first: the disk that GRUB came from counts."""
    other = shutil.copy(image, tmp_path / "other.img")
    set_environment(image, "stage=small")
    set_environment(other, "stage=full")
    run = machine.boot("--boot", "disk", "--disk", image, "--disk-bus", "ahci", "-p", "x", "-n", "1", "--", "-drive",
                       f"if=none,id=other,format=raw,file={other}", "-device", "virtio-blk-pci,drive=other",
                       firmware="uefi")
    assert started(run) == "small"


# ---------------------------------------------------------------- which kernel it takes

def place_of_environment(image):
    content = image.read_bytes()
    block = tool("mtype", image, "::/boot/grub/grubenv")
    assert content.count(block) == 1
    return content.index(block)


def set_environment(image, *lines, block=None):
    """Over the block where it stands, as a kernel would."""
    if block is None:
        block = "".join(f"{line}\n" for line in ("# GRUB Environment Block", *lines)).encode().ljust(ENVIRONMENT_BYTES, b"#")
    place = place_of_environment(image)
    with image.open("r+b") as file:
        file.seek(place)
        file.write(block)


def environment(image):
    lines = tool("mtype", image, "::/boot/grub/grubenv").decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def started(run):
    """Which kernel's log this is."""
    assert run.status == 0
    version = run.record("bareflow")["version"]
    return next(name for name, marked in KERNELS.items() if marked == version)


# What stands in the block, which files are missing, what starts, and what stands in the block then.
CHOICES = {
    "full": (["stage=full", "native=untried"], [], "full", ["stage=full", "native=untried"]),
    "full-after-native": (["stage=full", "native=good"], [], "full", ["stage=full", "native=good"]),
    "small": (["stage=small", "native=untried"], [], "small", ["stage=small", "native=untried"]),
    "native-untried": (["stage=native", "native=untried"], [], "native", ["stage=native", "native=trying"]),
    "native-trying": (["stage=native", "native=trying"], [], "small", ["stage=native", "native=failed"]),
    "native-failed": (["stage=native", "native=failed"], [], "small", ["stage=native", "native=failed"]),
    "native-good": (["native=good", "mine=x", "stage=native"], [], "native", ["native=good", "mine=x", "stage=native"]),
    "native-unknown": (["stage=native", "native=maybe"], [], "small", ["stage=native", "native=maybe"]),
    "native-unsaid": (["stage=native"], [], "small", ["stage=native"]),
    "small-missing": (["stage=small"], ["small"], "full", ["stage=small"]),
    "native-missing": (["stage=native", "native=good"], ["native"], "small", ["stage=native", "native=good"]),
    "native-trying-small-missing": (["stage=native", "native=trying"], ["small"], "full", ["stage=native", "native=failed"]),
    "all-missing": (["stage=native", "native=untried"], ["small", "native"], "full", ["stage=native", "native=untried"]),
    "unknown": (["stage=medium", "native=good"], [], "full", ["stage=medium", "native=good"]),
    "nothing": ([], [], "full", []),
    "hostile": (["root=hd9", "prefix=x", "environment=y", "kernel=z", "stage=small"], [], "small",
                ["root=hd9", "prefix=x", "environment=y", "kernel=z", "stage=small"]),
}


@pytest.mark.parametrize("lines,missing,expected,afterwards", CHOICES.values(), ids=CHOICES.keys())
def test_the_environment_block_chooses_the_kernel(machine, image, lines, missing, expected, afterwards):
    for name in missing:
        tool("mdel", image, f"::/boot/{name}.elf")
    set_environment(image, *lines)
    run = machine.boot("--boot", "disk", "--disk", image, "-p", "x", "-n", "1")
    assert started(run) == expected
    assert environment(image) == afterwards


@pytest.mark.parametrize("firmware,bus", [("bios", "virtio"), ("bios", "ahci"), ("uefi", "virtio")])
def test_a_native_boot_that_does_not_report_is_not_tried_twice(machine, image, tmp_path, firmware, bus):
    set_environment(image, "stage=native", "native=untried")
    place = place_of_environment(image)

    def boot():
        before = image.read_bytes()
        # Without routines there is nothing to remember, and the kernel itself writes nothing.
        run = machine.boot("--boot", "disk", "--disk", image, "--disk-bus", bus, "-p", "x", "-n", "1", "--jit", "off",
                           firmware=firmware)
        after = image.read_bytes()
        changed = [at for at in range(0, len(after), SECTOR) if before[at:at + SECTOR] != after[at:at + SECTOR]]
        return started(run), environment(image)[1], changed

    # GRUB writes in place: one sector of the block, and nothing else of the disk.
    assert boot() == ("native", "native=trying", [place])
    assert boot() == ("small", "native=failed", [place])
    assert boot() == ("small", "native=failed", [])
    # The kernel that turned out well says so.
    set_environment(image, "stage=native", "native=good")
    assert boot() == ("native", "native=good", [])
    check_file_system(image, tmp_path)


def test_a_native_boot_that_cannot_be_announced_is_not_begun(image, tmp_path):
    set_environment(image, "stage=native", "native=untried")
    log, options = tmp_path / "log", tmp_path / "cmdline"
    options.write_text("-p x -n 1")
    run = execute(qemu(image, log, "-fw_cfg", f"name=opt/bareflow/cmdline,file={options}", drive=",readonly=on"), log, 30)
    assert run.status == 33
    assert run.record("bareflow")["version"] == KERNELS["small"]
    assert environment(image) == ["stage=native", "native=untried"]


def test_a_damaged_environment_block_leads_to_the_full_kernel(machine, image):
    set_environment(image, block=bytes(range(256)) * 4)
    assert started(machine.boot("--boot", "disk", "--disk", image, "-p", "x", "-n", "1")) == "full"


@pytest.mark.parametrize("stage", ["small", "native"])
def test_a_damaged_kernel_leads_to_the_full_one(machine, image, tmp_path, stage):
    broken = tmp_path / "broken.elf"
    broken.write_bytes(KERNEL.read_bytes()[:1000])
    tool("mcopy", image, "-o", broken, f"::/boot/{stage}.elf")
    set_environment(image, f"stage={stage}", "native=untried")
    assert started(machine.boot("--boot", "disk", "--disk", image, "-p", "x", "-n", "1")) == "full"


MENU = [("native", ["stage=native", "native=trying"]), ("full", ["stage=native", "native=untried"]),
        ("full", ["stage=full", "native=untried"]), ("native", ["stage=native", "native=trying", "model=module"]),
        ("full", ["stage=native", "native=untried"]), ("native", ["stage=native", "native=trying"])]


@pytest.mark.parametrize("entry", range(len(MENU)))
def test_the_menu_leads_back_to_the_full_kernel(machine, image, tmp_path, entry):
    """As if Shift were held, and that entry chosen."""
    config = (ROOT / "iso" / "disk.cfg").read_text()
    assert config.count("menuentry") == len(MENU)
    changed = config.replace("keystatus --shift", "[ 1 = 1 ]").replace("set timeout=-1", f"set default={entry}")
    assert len(changed) < len(config) and "default" in changed
    (tmp_path / "grub.cfg").write_text(changed)
    tool("mcopy", image, "-o", tmp_path / "grub.cfg", "::/boot/grub/grub.cfg")
    set_environment(image, "stage=native", "native=untried")
    run = machine.boot("--boot", "disk", "--disk", image, "-p", "x", "-n", "1")
    assert (started(run), environment(image)) == MENU[entry]


def test_an_image_can_begin_with_another_stage(machine, kernels, tmp_path):
    image = make_disk(tmp_path / "native.img", "--native", kernels / "native.elf", "--stage", "native")
    assert started(machine.boot("--boot", "disk", "--disk", image, "-p", "x", "-n", "1")) == "native"
    assert environment(image) == ["stage=native", "native=trying"]
