"""Machines that shrank: the small stage, and native images made from what a run learned."""

import re
import subprocess

import pytest

from harness import BUILD, PATIENCE, ROOT, Machine, execute

MODEL = BUILD / "model" / "embedded-q8_0.wllm"
TOOL = BUILD / "host" / "bareflow-native"
TEXT = ["-p", "Once upon a time", "-n", "20", "--temp", "0"]
START_MARK = b"\x02BAREFLOW\x02\n"  # behind it comes the kernel's text, before it the firmware's
OK = 33  # QEMU's status for the kernel's 0x10


def native(*arguments, status=0):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120 * PATIENCE)
    print("$ bareflow-native", *arguments, "\n", done.stdout, done.stderr)
    assert done.returncode == status
    assert (status == 0) or done.stderr, "an error says what is wrong"
    return done


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """A slot as a boot of the default model leaves it, on a CPU like TCG's."""
    path = tmp_path_factory.mktemp("snapshot") / "SNAPA.BIN"
    subprocess.run([BUILD / "host" / "make-snapshot", MODEL, path], check=True, capture_output=True, timeout=120 * PATIENCE)
    return path


@pytest.fixture(scope="module")
def kernel(snapshot, tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / "native.elf"
    native("--early", "--snapshot", snapshot, "-m", MODEL, "-o", path, "--without-model")
    return path


@pytest.fixture(scope="module")
def disk(snapshot, tmp_path_factory):
    """A machine's disk with what it learned: SNAPB.BIN is the newer one, SNAPA.BIN is empty."""
    path = tmp_path_factory.mktemp("disk") / "machine.img"
    subprocess.run([ROOT / "iso" / "make-disk.sh", BUILD / "bareflow.elf", "-o", path, "--model", MODEL], check=True)
    subprocess.run(["mcopy", "-D", "o", "-i", f"{path}@@1M", snapshot, "::/SNAPB.BIN"], check=True)
    return path


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What the full kernel writes."""
    return Machine(tmp_path_factory.mktemp("wanted")).boot(*TEXT).output


def test_a_native_kernel_writes_what_the_full_one_does_and_makes_nothing(machine, kernel, wanted):
    run = machine.boot("-m", MODEL, *TEXT, kernel=kernel)
    assert run.status == 0
    assert run.output == wanted
    assert run.record("bareflow")["stage"] == "native"
    assert run.record("path")["isa"] == "avx2"
    assert run.record("native")["missing"] == "0"
    assert not run.records("native_refused")
    assert run.record("routines")["compiled"] == "0"
    assert int(run.record("routines")["restored"]) >= 5


def test_a_prompt_whose_blocks_have_no_routines_is_answered_alike(machine, kernel):
    prompt = ["-p", "Once upon a time there was a little dog. " * 6, "-n", "10", "--temp", "0"]
    run = machine.boot("-m", MODEL, *prompt, kernel=kernel)
    assert run.status == 0
    assert run.output == machine.boot(*prompt).output


@pytest.mark.parametrize("missing", ["avx2=off", "f16c=off"])
def test_on_a_cpu_without_its_features_the_reference_of_the_same_class_writes_the_same(machine, kernel, wanted, missing):
    run = machine.boot("-m", MODEL, *TEXT, "--", "-cpu", f"max,{missing}", kernel=kernel)
    assert run.status == 0
    assert run.record("native_refused")["reason"] == "features"
    assert run.record("path")["isa"] == "scalar"
    assert run.record("path")["numerics"] == "fma"
    assert run.output == wanted


def test_on_a_cpu_without_fma_the_other_class_answers(machine, kernel):
    run = machine.boot("-m", MODEL, *TEXT, "--", "-cpu", "qemu64", kernel=kernel)
    assert run.status == 0
    assert run.record("native_refused")["reason"] == "features"
    assert run.record("path")["numerics"] == "muladd"
    assert run.output == machine.boot(*TEXT, "--numerics", "muladd", "--jit", "off").output


def test_a_native_kernel_that_nobody_filled_and_one_for_another_model_say_so_and_write(machine, kernel, wanted, tmp_path):
    empty = machine.boot("-m", MODEL, *TEXT, kernel=BUILD / "bareflow-native.elf")
    assert (empty.status, empty.output) == (0, wanted)
    assert empty.record("native_refused")["reason"] == "empty"

    other = tmp_path / "other.wllm"
    stories = ROOT / "model" / "bareflow-stories.bin"
    subprocess.run([BUILD / "host" / "bareflow-import", stories, "-o", other, "--quant", "f16"], check=True,
                   capture_output=True)
    run = machine.boot("-m", other, *TEXT, kernel=kernel)
    assert run.status == 0
    assert run.record("native_refused")["reason"] == "model"
    assert run.output == machine.boot("-m", other, *TEXT).output


def test_a_native_kernel_without_a_model_says_what_is_missing(machine, kernel):
    run = machine.boot(*TEXT, kernel=kernel)
    assert run.status == 1
    assert "there is no model" in run.errors


def test_the_small_kernel_writes_the_same_with_the_tiny_assembler(machine, wanted):
    run = machine.boot("-m", MODEL, *TEXT, kernel=BUILD / "bareflow-small.elf")
    assert (run.status, run.output) == (0, wanted)
    assert run.record("bareflow")["stage"] == "small"
    assert run.record("path")["assembler"] == "tiny"
    assert int(run.record("routines")["compiled"]) >= 5


def test_an_iso_boots_by_itself_with_kernel_routines_and_model(snapshot, wanted, tmp_path):
    config, iso, log = tmp_path / "bareflow.cfg", tmp_path / "native.iso", tmp_path / "log"
    config.write_text(f"prompt = {TEXT[1]}\nn-predict = 20\ntemp=0\nexit=debug-exit\n")
    native("--early", "--snapshot", snapshot, "-m", MODEL, "-o", iso, "--config", config)
    command = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "512",
               "-cpu", "max", "-device", "isa-debug-exit,iobase=0xf4", "-cdrom", str(iso), "-serial", "stdio",
               "-serial", f"file:{log}"]
    run = execute(command, log, 30)
    assert run.status == OK
    assert run.record("model")["source"] == "module"
    assert run.record("bareflow")["stage"] == "native"
    assert int(run.record("native")["routines"]) >= 5
    assert run.output.partition(START_MARK)[2] == wanted


def test_from_a_disk_comes_a_disk_that_boots_by_itself(machine, disk, wanted, tmp_path):
    image = tmp_path / "native.img"
    before = disk.read_bytes()
    native("--early", "--disk", disk, "-o", image)
    assert disk.read_bytes() == before, "it is only read"
    for firmware in "bios", "uefi":
        run = machine.boot("--boot", "disk", "--disk", image, *TEXT, firmware=firmware)
        assert (run.status, run.output) == (0, wanted)
        assert run.record("bareflow")["stage"] == "native"
        assert run.record("model")["source"] == "disk"
        assert int(run.record("native")["routines"]) >= 5
    block = subprocess.run(["mtype", "-i", f"{image}@@1M", "::/boot/grub/grubenv"], check=True, capture_output=True).stdout
    assert b"\nnative=good\n" in block


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_one_elf_file_carries_kernel_routines_and_model(machine, disk, wanted, firmware, tmp_path):
    elf = tmp_path / "whole.elf"
    native("--early", "--disk", disk, "-o", elf)
    assert elf.stat().st_size - MODEL.stat().st_size < 450 << 10
    run = machine.boot(*TEXT, kernel=elf, firmware=firmware)
    assert (run.status, run.output) == (0, wanted)
    assert (run.record("model")["source"], run.record("native")["missing"]) == ("embedded", "0")
    again = native("--early", "--disk", disk, "--kernel", elf, "-o", tmp_path / "again.elf", status=1)
    assert "it has a model already" in again.stderr


def test_a_disk_without_what_is_needed_is_refused_with_the_reason(disk, tmp_path):
    out = tmp_path / "out.img"
    assert "no such file" in native("--disk", tmp_path / "none.img", "-o", out, status=1).stderr.lower()
    (tmp_path / "zeroes.img").write_bytes(bytes(1 << 20))
    assert "zeroes.img" in native("--disk", tmp_path / "zeroes.img", "-o", out, status=1).stderr

    fresh = tmp_path / "fresh.img"
    subprocess.run([ROOT / "iso" / "make-disk.sh", BUILD / "bareflow.elf", "-o", fresh, "--model", MODEL], check=True)
    reason = native("--disk", fresh, "-o", out, status=1).stderr
    assert "SNAPA.BIN" in reason and "SNAPB.BIN" in reason and "empty" in reason

    early = native("--disk", disk, "-o", out, status=1).stderr
    assert re.search(r"SNAPB.BIN has not converged: \d+ plans are left to try", early)
    assert not out.exists()


@pytest.mark.parametrize("stage", ["full", "small"])
def test_a_disk_goes_back_to_the_stage_that_the_options_say(machine, kernel, stage, tmp_path):
    image = tmp_path / "disk.img"
    subprocess.run([ROOT / "iso" / "make-disk.sh", BUILD / "bareflow.elf", "-o", image, "--small", BUILD / "bareflow-small.elf",
                    "--native", kernel, "--stage", "native", "--model", MODEL], check=True)

    def boot(*options):
        run = machine.boot("--boot", "disk", "--disk", image, *TEXT, *options)
        assert run.status == 0
        return run

    assert boot("--set", "stage=auto").record("bareflow")["stage"] == "native"
    run = boot("--set", f"stage={stage}")
    assert run.record("bareflow")["stage"] == "native", "GRUB had chosen before the option was read"
    assert run.record("stage_stays")["done"] == "true"
    assert boot().record("bareflow")["stage"] == stage
    with_iso = machine.boot(*TEXT, "--set", f"stage={stage}")
    assert (with_iso.status, with_iso.record("stage_stays")["done"]) == (0, "false")


def test_a_disk_that_is_to_stay_full_does_not_turn_over(machine, tmp_path):
    image = tmp_path / "disk.img"
    subprocess.run([ROOT / "iso" / "make-disk.sh", BUILD / "bareflow.elf", "-o", image, "--small", BUILD / "bareflow-small.elf",
                    "--model", MODEL], check=True)
    runs = [machine.boot("--boot", "disk", "--disk", image, *TEXT, "--tune", "off", "--set", "stage=full") for _ in range(7)]
    assert [run.record("bareflow")["stage"] for run in runs] == ["full"] * 7
    assert runs[6].record("boot")["next_stage"] == "small", "it would"
    assert runs[6].record("turned_over")["done"] == "false"


def test_what_was_quantised_alike_fits_and_what_was_not_is_refused(snapshot, tmp_path):
    stories, out = ROOT / "model" / "bareflow-stories.bin", tmp_path / "out.elf"
    native("--early", "--snapshot", snapshot, "-m", stories, "--quant", "q8_0", "-o", out)
    assert out.exists()
    refused = native("--snapshot", snapshot, "-m", stories, "--quant", "q4_0", "-o", tmp_path / "no.elf", status=1)
    assert "is not of this model" in refused.stderr
    assert not (tmp_path / "no.elf").exists()
    assert "leave --quant out" in native("--snapshot", snapshot, "-m", MODEL, "--quant", "q4_0", "-o", out, status=1).stderr


def test_a_snapshot_that_was_tampered_with_and_a_wrong_kernel_are_refused(snapshot, tmp_path):
    out = tmp_path / "out.elf"
    damaged = bytearray(snapshot.read_bytes())
    damaged[9000] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    assert "payload_crc" in native("--snapshot", tmp_path / "damaged", "-m", MODEL, "-o", out, status=1).stderr
    full = native("--snapshot", snapshot, "-m", MODEL, "--kernel", BUILD / "bareflow.elf", "-o", out, status=1)
    assert "no segment for routines" in full.stderr
    assert not out.exists()
    native("--snapshot", snapshot, "-m", MODEL, "-o", tmp_path / "out.zip", status=2)
    native("--snapshot", snapshot, "--disk", "disk.img", "-o", out, status=2)
    native("--disk", "disk.img", "--quant", "q4_0", "-o", out, status=2)
    native("--snapshot", snapshot, status=2)
    assert "--quant" in native("--help").stdout
    assert native("--version").stdout.startswith("bareflow-native ")


def test_a_native_kernel_unpacks_and_writes_by_uefi_too(machine, kernel, wanted):
    run = machine.boot("-m", MODEL, *TEXT, kernel=kernel, firmware="uefi")
    assert (run.status, run.output) == (0, wanted)
    assert int(run.record("native")["routines"]) >= 5


def test_all_memory_that_unpacking_took_is_the_machines_again(machine, kernel):
    packed = machine.boot("-m", MODEL, *TEXT, kernel=kernel).record("memory")
    plain = machine.boot("-m", MODEL, *TEXT, kernel=BUILD / "bareflow-native-unpacked.elf").record("memory")
    assert packed == plain


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("where", [-5000, -70000])
def test_a_damaged_native_kernel_says_so_and_stops(machine, kernel, firmware, where, tmp_path):
    damaged = bytearray(kernel.read_bytes())
    damaged[where] ^= 0x10  # within what is packed, which ends the file
    (tmp_path / "damaged.elf").write_bytes(damaged)
    run = machine.boot("-m", MODEL, *TEXT, kernel=tmp_path / "damaged.elf", firmware=firmware)
    assert run.status == 1
    assert b"this kernel's image is damaged" in run.output
    assert "damaged" in run.record("exit")["reason"]


def test_the_same_kernel_is_packed_into_the_same_bytes(tmp_path):
    stub = [BUILD / "stub" / f"{name}.o" for name in ("stub", "unpack", "lzma", "x86_filter")]
    subprocess.run([ROOT / "arch/x86_64/packed/pack.sh", BUILD / "bareflow-native.debug.elf", "-o", tmp_path / "packed.elf", *stub],
                   cwd=ROOT, check=True)
    assert (tmp_path / "packed.elf").read_bytes() == (BUILD / "bareflow-native.elf").read_bytes()


LEARNING = re.compile(
    r"asmjit|Assembler|LabelTable|RoutineCache|RoutineMaker|tiny_maker|emit_|_?Code<|x86::|"  # emitter
    r"Tuner|Tuning|PlanSpace|PlanRecord|SnapshotKeeper|SnapshotStore|RoutineProbe|ReferenceProbe|"  # tuner
    r"Profiler|ProfiledOperators|matmul_profile|has_converged|"
    r"fill_native_segment|BootDisk::turn_over|BootDisk::snapshot_slot|preallocate", re.IGNORECASE)


def symbols(name):
    command = ["nm", "-C", "--defined-only", BUILD / f"{name}.debug.elf"]
    return [line.split(" ", 2)[2] for line in subprocess.run(command, capture_output=True, text=True,
                                                             check=True).stdout.splitlines()]


def test_no_stage_carries_what_it_does_not_use():
    assert [name for name in symbols("bareflow-native") if LEARNING.search(name)] == []
    assert [name for name in symbols("bareflow-small") if "asmjit" in name.lower().replace("name_of", "")] == []
    for word in ("asmjit", "TinyAssembler", "RoutineTuner", "Profiler"):  # the words are those that are used
        assert any(word in name for name in symbols("bareflow-full")), word


def test_every_stage_has_the_same_build_id():
    """So that one takes the snapshot of another."""
    ids = set()
    for name in ("bareflow", "bareflow-full", "bareflow-small", "bareflow-native"):
        elf = BUILD / f"{name}.debug.elf"
        listing = subprocess.run(["nm", elf], capture_output=True, text=True, check=True).stdout
        address = next(line.split()[0] for line in listing.splitlines() if line.endswith(" bareflow_build_id"))
        stop = hex(int(address, 16) + 20)
        dump = subprocess.run(["objdump", "-s", f"--start-address=0x{address}", f"--stop-address={stop}", elf],
                              capture_output=True, text=True, check=True).stdout
        ids.add("".join(word for line in dump.splitlines() if re.match(r" [0-9a-f]+ ", line)
                        for word in line[1:].split("  ")[0].split()[1:]))
    assert len(ids) == 1
    assert len(ids.pop()) == 40
