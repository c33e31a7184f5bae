"""Models that come from the launcher or as a module, and machines that are too small."""

import os
import shutil
import subprocess

import pytest

import hugging_face
from harness import BUILD, HOST, PATIENCE, ROOT, bare_machine, execute

PROMPT = ["-p", "Once upon a time", "-n", "20", "--temp", "0"]


@pytest.fixture(scope="module")
def wllm(tmp_path_factory):
    """The default model as a file, to be given and to be damaged."""
    path = tmp_path_factory.mktemp("model") / "stories.wllm"
    model = ROOT / "model" / "bareflow-stories.bin"
    subprocess.run([BUILD / "host" / "bareflow-import", model, "-o", path], check=True, capture_output=True)
    return path


def damaged(wllm, folder, change):
    image = bytearray(wllm.read_bytes())
    change(image)
    path = folder / "damaged.wllm"
    path.write_bytes(image)
    return path


def test_a_model_file_travels_by_fw_cfg(machine, host, wllm):
    booted = machine.boot("-m", wllm, *PROMPT)
    assert booted.status == 0
    assert booted.record("model")["source"] == "fw_cfg"
    assert booted.output == host.run("-m", wllm, *PROMPT).output


def test_a_model_file_on_the_iso_travels_as_a_module(host, wllm, tmp_path):
    config, iso, log = tmp_path / "bareflow.cfg", tmp_path / "with_model.iso", tmp_path / "log"
    config.write_text(f"prompt = {PROMPT[1]}\nn-predict = 20\ntemp=0\nexit=debug-exit\n")
    subprocess.run([ROOT / "iso" / "make-iso.sh", BUILD / "bareflow.elf", iso, "--config", config, "--model", wllm],
                   check=True)
    command = bare_machine(iso, log)
    run = execute(command, log, 30)
    assert run.status == 33
    assert run.record("model")["source"] == "module"
    assert run.output.partition(b"\x02BAREFLOW\x02\n")[2] == host.run("-m", wllm, *PROMPT).output


def test_a_hugging_face_folder_is_converted_once_and_writes_the_same(machine, host, tmp_path):
    folder = hugging_face.write_default_model(tmp_path / "stories")
    first = machine.boot("-m", folder, *PROMPT)
    second = machine.boot("-m", f"{folder}/", *PROMPT)
    assert (first.status, second.status) == (0, 0)
    assert "converting" in first.errors and "converting" not in second.errors
    hosted = host.run("-m", folder, *PROMPT)
    assert hosted.status == 0
    assert first.output == second.output == hosted.output
    assert hosted.output == host.run("-m", ROOT / "model" / "bareflow-stories.bin", *PROMPT).output
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"silu"', '"gelu"'))
    refused = machine.boot("-m", folder, *PROMPT)
    assert refused.status == 1
    assert 'config.json: hidden_act is "gelu"' in refused.errors


def test_a_llama2c_file_is_converted_once(machine, host):
    model = ROOT / "model" / "bareflow-stories.bin"
    first = machine.boot("-m", model, *PROMPT)
    second = machine.boot("-m", model, *PROMPT)
    assert (first.status, second.status) == (0, 0)
    assert first.output == second.output == host.run("-m", model, *PROMPT).output
    assert "converting" not in second.errors


def test_what_is_kept_of_a_model_is_made_again_when_it_is_damaged_and_no_half_of_one_stays(host, tmp_path):
    """With a cache of its own: a copy of the launcher, beside what is built."""
    launcher, build, log = tmp_path / "iso" / "boot.sh", tmp_path / "build", tmp_path / "log"
    shutil.copytree(ROOT / "iso", tmp_path / "iso")
    (build / "cache").mkdir(parents=True)
    for name in ("bareflow.elf", "bareflow.iso", "host"):
        (build / name).symlink_to(BUILD / name)
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    halves = [build / "cache" / f"{name}{gone}" for name in ("a.wllm.partial-", "b.wllm.")]
    running = build / "cache" / f"c.wllm.partial-{os.getpid()}"
    for half in (*halves, running):
        half.write_bytes(b"half of a model")
    command = [launcher, "--accel", "tcg", "--log", log, "-m", ROOT / "model" / "bareflow-stories.bin", *PROMPT]
    first = execute(command, log, 60)
    assert first.status == 0 and "converting" in first.errors
    assert [half for half in halves if half.exists()] == [] and running.exists()
    (kept,) = (build / "cache").glob("*.wllm")
    sound = kept.read_bytes()
    kept.write_bytes(sound[:-1000] + bytes([sound[-1000] ^ 1]) + sound[-999:])
    second = execute(command, log, 60)
    assert second.status == 0 and "is damaged" in second.errors and "converted again" in second.errors
    assert kept.read_bytes() == sound
    third = execute(command, log, 60)
    assert third.status == 0 and third.errors == ""
    assert first.output == second.output == third.output


def test_a_template_that_there_is_not_is_refused_before_anything_is_made(tmp_path):
    made = tmp_path / "made.wllm"
    command = [BUILD / "host" / "bareflow-import", ROOT / "model" / "bareflow-stories.bin", "-o", made, "--chat-template"]
    refused = subprocess.run([*command, "zephir"], capture_output=True, text=True)
    assert refused.returncode == 2 and "zephyr" in refused.stderr and not made.exists()
    assert subprocess.run([*command, "zephyr"], capture_output=True).returncode == 0 and made.exists()


DAMAGES = {
    "one flipped bit of a weight": lambda image: image.__setitem__(len(image) // 2, image[len(image) // 2] ^ 1),
    "a flipped bit of the header": lambda image: image.__setitem__(9, image[9] ^ 1),
    "an unknown version": lambda image: image.__setitem__(4, 99),
    "a cut end": lambda image: image.__delitem__(slice(len(image) - 1000, None)),
    "nothing but the magic": lambda image: image.__delitem__(slice(4, None)),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_model_is_refused_and_the_embedded_one_writes(machine, host, wllm, tmp_path, change):
    booted = machine.boot("-m", damaged(wllm, tmp_path, change), *PROMPT)
    assert booted.status == 0
    refused = booted.record("model_refused")
    assert refused["source"] == "fw_cfg"
    assert len(refused["reason"]) > 10
    assert booted.record("model")["source"] == "embedded"
    assert booted.output == host.run(*PROMPT).output
    assert "the model file was not used" in booted.errors and refused["reason"][:20] in booted.errors


def test_the_embedded_model_can_be_asked_for(machine, wllm):
    booted = machine.boot("-m", wllm, "--set", "weights=embedded", *PROMPT)
    assert booted.status == 0
    assert booted.record("model")["source"] == "embedded"


def test_a_missing_module_is_told_and_the_embedded_model_writes(machine):
    booted = machine.boot("--set", "weights=module", *PROMPT)
    assert booted.status == 0
    assert "no module" in booted.record("model_refused")["reason"]
    assert booted.record("model")["source"] == "embedded"


@pytest.mark.parametrize("ram", [32, 48, 64])
def test_a_small_machine_writes_the_same_story(machine, host, ram):
    booted = machine.boot("--ram", ram, *PROMPT)
    assert booted.status == 0
    assert booted.output == host.run(*PROMPT).output
    assert int(booted.record("memory")["ram"]) <= ram << 20


@pytest.mark.parametrize("firmware,ram", [("bios", 20), ("uefi", 48)])
def test_a_machine_that_is_too_small_says_so_before_it_starts(machine, firmware, ram):
    booted = machine.boot("--ram", ram, *PROMPT, firmware=firmware)
    assert booted.status == 1
    assert f"{ram} MiB of RAM are too few" in booted.errors and "--ram" in booted.errors
    assert booted.seconds < 5 * PATIENCE


def test_a_context_that_the_model_does_not_have_is_an_error_not_a_crash(machine):
    booted = machine.boot("-c", "1000000", *PROMPT)
    assert booted.status == 1
    assert b"FAULT" not in booted.output
    assert booted.record("exit")["status"] == "failed"
    assert "1000000" in booted.record("exit")["reason"]
    assert "1000000" in booted.errors


def test_a_configuration_file_on_the_iso_is_read(tmp_path):
    """No fw_cfg, no launcher: the options come from bareflow.cfg beside the kernel, as on a real machine."""
    config, iso, log = tmp_path / "bareflow.cfg", tmp_path / "with_config.iso", tmp_path / "log"
    config.write_text("# a test\nprompt = A dog and a cat\nn-predict = 30\ntemp=0\nexit=debug-exit\n")
    subprocess.run([ROOT / "iso" / "make-iso.sh", BUILD / "bareflow.elf", iso, "--config", config], check=True)
    command = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "512",
               "-cpu", "max", "-device", "isa-debug-exit,iobase=0xf4", "-cdrom", str(iso), "-serial", "stdio",
               "-serial", f"file:{log}"]
    run = execute(command, log, 30)
    assert run.status == 33
    text = run.output.partition(b"\x02BAREFLOW\x02\n")[2]
    hosted = subprocess.run([HOST, "-p", "A dog and a cat", "-n", "30", "--temp", "0", "--log", tmp_path / "host.log"],
                            capture_output=True, timeout=60 * PATIENCE)
    assert text == hosted.stdout


def test_the_kernel_takes_options_from_grubs_command_line(tmp_path):
    """The ISO's own grub.cfg with options after the kernel's name, as its menu's editor would leave them."""
    folder = tmp_path / "iso"
    shutil.copytree(ROOT / "iso", folder)
    config = (folder / "grub.cfg").read_text()
    changed = config.replace("    load_bareflow\n    boot", "    load_bareflow -p \"A dog\" -n 5 exit=debug-exit\n    boot")
    assert changed != config
    (folder / "grub.cfg").write_text(changed)
    iso, log = tmp_path / "x.iso", tmp_path / "log"
    subprocess.run([folder / "make-iso.sh", BUILD / "bareflow.elf", iso], check=True)
    command = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "512",
               "-cpu", "max", "-device", "isa-debug-exit,iobase=0xf4", "-cdrom", str(iso), "-serial", "stdio",
               "-serial", f"file:{log}"]
    run = execute(command, log, 30)
    assert run.status == 33
    assert run.output.partition(b"\x02BAREFLOW\x02\n")[2].startswith(b"A dog")


MAKE_GGUF = BUILD / "host" / "make-gguf"


def write_gguf(path, *options):
    subprocess.run([MAKE_GGUF, "-o", path, *options], check=True, cwd=ROOT)
    return path


def test_a_gguf_is_converted_once_and_again_when_it_changes(machine, host, tmp_path):
    model = write_gguf(tmp_path / "stories.gguf", "--type", "q8_0")
    first = machine.boot("-m", model, *PROMPT)
    again = machine.boot("-m", model, *PROMPT)
    assert (first.status, again.status) == (0, 0)
    assert first.record("model")["source"] == "fw_cfg"
    # The embedded model is the same one in Q8_0.
    assert first.output == again.output == host.run(*PROMPT).output == host.run("-m", model, *PROMPT).output
    assert "converting" in first.errors and "converting" not in again.errors
    write_gguf(model, "--type", "q4_0")
    changed = machine.boot("-m", model, *PROMPT)
    assert changed.status == 0
    assert "converting" in changed.errors
    assert changed.output == host.run("-m", model, *PROMPT).output != first.output


def test_a_gguf_that_cannot_be_used_says_why_before_a_machine_starts(machine, tmp_path):
    model = write_gguf(tmp_path / "stories.gguf", "--type", "q8_0")
    model.write_bytes(model.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0bloom", 1))
    booted = machine.boot("-m", model, *PROMPT)
    assert booted.status == 1
    assert "general.architecture (offset" in booted.errors and "it is bloom" in booted.errors


def test_importing_needs_a_small_part_of_the_model_in_memory(tmp_path):
    """60 MB of weights, of which one tensor is 36 MB, in 16 MB of private memory, C++'s own libraries included."""
    model = write_gguf(tmp_path / "wide.gguf", "--synthetic", "stories15m", "--type", "f32")
    limit_kib = 16 * 1024
    assert model.stat().st_size > 3 * limit_kib * 1024
    command = f"ulimit -d {limit_kib}; exec {BUILD}/host/bareflow-import {model} -o {tmp_path}/wide.wllm --quant $0"
    for quant in ("f32", "q4_0"):
        run = subprocess.run(["bash", "-c", command, quant], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def test_a_large_model_is_looked_at_behind_the_text_and_damage_ends_with_failure(tmp_path):
    """Of 64 MiB and more, checksums do not keep the first token waiting."""
    model = tmp_path / "large.wllm"
    subprocess.run([BUILD / "host" / "bareflow-import", "--synthetic", "stories110m", "--quant", "q8_0", "-o", model], check=True,
                   capture_output=True)
    assert model.stat().st_size > 64 << 20
    command = [HOST, "-m", model, "-p", "Once", "-n", "2", "--temp", "0", "--tune", "off", "--log", tmp_path / "log"]
    whole = subprocess.run(command, capture_output=True)
    assert whole.returncode == 0
    log = (tmp_path / "log").read_text()
    assert log.index("first_token") < log.index("weights_checked") and "ok=true" in log
    with open(model, "r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)[0]
        file.seek(-1000, 2)
        file.write(bytes([byte ^ 4]))
    damaged = subprocess.run(command, capture_output=True)
    assert damaged.returncode == 1 and damaged.stdout != b""
    assert b"crc32c is" in damaged.stderr and b"damaged" in damaged.stderr
