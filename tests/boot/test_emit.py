"""bareflow-emit, as people use it; and /dump in the machine, whose bytes must be the tool's."""

import os
import pathlib
import re
import subprocess

import pytest

from harness import BUILD, PATIENCE, ROOT, Terminal

EMIT = BUILD / "host" / "bareflow-emit"
MODEL = ROOT / "model" / "bareflow-stories.bin"
ISAS = "sse2", "avx2", "avx512"
KEY = "project_1x2048x2048_f32_fma_avx2"
# Small enough to run, with tails in every size.
SMALL = (
    "project_1x50x40_f32_fma_avx2",
    "project_3x50x40_add_f16_fma_avx2",
    "qkv_1x48x30_kv24_h12_f16_fma_avx2",
    "gate_up_1x50x40_f32_fma_avx2",
    "rms_norm_50_eps1em6_fma_avx2",
    "attention_4q2kv_h20_fma_avx2",
)
QUANTISED = ("project_1x50x64_q8_0_fma_avx2", "gate_up_3x50x64_q4_0_fma_avx2")
# fma: avx2, avx512; muladd: sse2, avx2, avx512. Quantised also ssse3, and in both avx2words, avxvnni and avx512vnni.
ROUTINES = 5 * len(SMALL) + 12 * len(QUANTISED)
EXACT = r"(?m)^\s+\d+: [0-9a-f]+ +(\d+) (\w+) +(\w+) +DEFAULT +\d+ (\w+)$"  # readelf -sW


def emit(*arguments, status=0):
    done = subprocess.run([EMIT, *map(str, arguments)], capture_output=True, timeout=60 * PATIENCE)
    print("$ bareflow-emit", *arguments, "\n", done.stdout[-2000:].decode(errors="replace"), done.stderr.decode())
    assert done.returncode == status
    assert (status == 0) or done.stderr, "an error says what is wrong"
    return done


def output(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, check=True, text=True, timeout=60 * PATIENCE).stdout


def raw(tmp_path, key, *options):
    emit(key, "--format", "raw", "-o", tmp_path / "code", *options)
    return (tmp_path / "code").read_bytes()


def test_an_object_has_one_function_of_the_keys_name_and_the_codes_size(tmp_path):
    emit(KEY, "-o", tmp_path / "one.o")
    code = raw(tmp_path, KEY)
    assert output("nm", "-S", tmp_path / "one.o").split()[1:] == [f"{len(code):016x}", "T", KEY]
    symbols = re.findall(EXACT, output("readelf", "-sW", tmp_path / "one.o"))
    assert (str(len(code)), "FUNC", "GLOBAL", KEY) in symbols
    assert not re.search(r"\(bad\)", output("objdump", "-d", tmp_path / "one.o"))


def test_every_operation_and_isa_disassembles(tmp_path):
    emit(*SMALL, *QUANTISED, "--all-isas", "-o", tmp_path / "all.o")
    text = output("objdump", "-d", "-M", "intel", tmp_path / "all.o")
    assert "(bad)" not in text
    functions = re.findall(r"(?m)^[0-9a-f]+ <(\w+_(?:fma|muladd)_(?:sse2|ssse3|avx2|avx2words|avxvnni|avx512|avx512vnni))>:", text)
    assert len(functions) == len(set(functions)) == ROUTINES
    for isa, register in zip(ISAS, ("xmm", "ymm", "zmm")):
        plain = [name for name in functions if name.endswith("_" + isa) and not re.search(r"_q[48]_0_", name)]
        for name in plain:
            assert register in text[text.index(f"<{name}>:"):].partition("ret")[0], name
    # Constants are marked as such: shown as bytes, not as instructions.
    objects = [row for row in re.findall(EXACT, output("readelf", "-sW", tmp_path / "all.o")) if row[1] == "OBJECT"]
    assert objects and all(name.partition("_constants")[0] in functions for *_, name in objects)
    constants = text[text.index("<rms_norm_50_eps1em6_fma_avx2_constants>:"):]
    assert not re.search(r"\b(add|rex|mov|out|or)\b", constants.partition("\n\n")[0])


def test_all_assemblers_make_the_same_bytes(tmp_path):
    done = emit(*SMALL, *QUANTISED, "--all-isas", "--compare")
    assert done.stdout.count(b"identical: ") == ROUTINES
    for key in SMALL:
        codes = [raw(tmp_path, key, "--assembler", name) for name in ("tiny", "asmjit", "xbyak")]
        assert codes[0] and codes[0] == codes[1] == codes[2]


def test_the_routines_of_this_cpu_agree_with_the_reference():
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    isas = [isa for isa, flag in (("sse2", "sse2"), ("avx2", "avx2"), ("avx512", "avx512dq")) if flag in flags]
    for isa in isas:
        for numerics in ("fma", "muladd")[isa == "sse2":]:
            done = emit(*SMALL, "--isa", isa, "--numerics", numerics, "--run")
            assert len(re.findall(rb"agrees with the reference; [0-9.]+ us .*GFLOP/s.*GB/s", done.stdout)) == len(SMALL)
    if "avx512" not in isas:
        assert b"this CPU cannot run avx512" in emit(KEY, "--isa", "avx512", "--run", status=1).stderr


def test_the_listing_names_registers_loops_and_constants():
    project = emit(KEY).stdout.decode()
    for word in ("next_block:", "next_k:", "jnz next_k", "rdx x", "rsi weights", "ymm0 sum 0 of row 0", "ecx turns left"):
        assert word in project, word
    gate_up = emit("gate_up_1x768x288_f32_fma_avx2").stdout.decode()
    for word in ("gate weights", "up weights", "e^x", "constants:", "0x3f800000", "1.44269502"):
        assert word in gate_up, word
    attention = emit("attention_8q4kv_h16_muladd_sse2").stdout.decode()
    for word in ("next_head:", "next_position:", "next_16_values:", "rsi q", "; 0.25"):
        assert word in attention, word


def test_a_plan_changes_the_code_and_what_does_not_fit_is_said(tmp_path):
    assert len(raw(tmp_path, KEY, "--plan", "unroll=8")) > len(raw(tmp_path, KEY, "--plan", "unroll=1"))
    assert "prefetcht0" in emit(KEY, "--plan", "prefetch=512").stdout.decode()
    assert b"takes the plan panels=" in emit(KEY, "--plan", "panels=16").stderr
    assert emit(KEY, "--plan", "panels=2,vector=32,unroll=4").stderr == b""


def test_hex_is_the_raw_bytes(tmp_path):
    head, _, digits = emit(KEY, "--format", "hex").stdout.decode().partition("\n")
    code = raw(tmp_path, KEY)
    assert bytes.fromhex(digits) == code and f"{len(code)} bytes" in head


def test_an_object_links_and_runs(tmp_path):
    key = "project_1x2x3_f32_muladd_sse2"
    emit(key, "-o", tmp_path / "routine.o")
    (tmp_path / "main.cpp").write_text(
        f'extern "C" void {key}(const void*);\n'
        "int main() {\n"
        "    float w[16 * 3] = {}, x[3] = {1, 2, 3}, y[2] = {};\n"
        "    for (int k = 0; k < 3; ++k) w[k * 16] = 1, w[k * 16 + 1] = 10;  // outputs side by side\n"
        "    const void* arguments[] = {y, w, x};\n"
        f"    {key}(arguments);\n"
        "    return y[0] == 6 && y[1] == 60 ? 0 : 1;\n"
        "}\n"
    )
    output("g++", tmp_path / "main.cpp", tmp_path / "routine.o", "-o", tmp_path / "main")
    output(tmp_path / "main")


def test_a_model_gets_every_routine_that_it_asks_for(tmp_path):
    table = emit("--llama", MODEL, "--isa", "avx2", "-o", tmp_path / "model.o").stdout.decode().splitlines()
    keys = [line.split()[0] for line in table[1:-1]]
    assert f"{len(keys)} routines" in table[-1]
    assert sorted(keys) == sorted(
        name for *_, name in re.findall(EXACT, output("readelf", "-sW", tmp_path / "model.o")) if "_constants" not in name
    )
    operations = {"rms_norm_128", "qkv_1x128x128_kv64_h16_f32", "attention_8q4kv_h16", "gate_up_1x384x128_f32"}
    assert operations <= {key.removesuffix("_fma_avx2") for key in keys}
    # A folder with one model is as good as the model; with none or with two it is not.
    assert emit("--llama", MODEL.parent, "--isa", "avx2").stdout.decode().count("_avx2 ") == len(keys)
    assert b"no .wllm" in emit("--llama", tmp_path, status=1).stderr
    for name in "a.wllm", "b.wllm":
        (tmp_path / name).touch()
    assert b"2 models in this folder (a.wllm, b.wllm); name one" in emit("--llama", tmp_path, status=1).stderr


@pytest.mark.parametrize(
    "arguments, what",
    [
        ((), "KEY, --llama or --list"),
        (("project_1x20x_f32_fma_avx2",), "K, inputs, a number from 1 to 4294967295, is wanted at character 14"),
        (("frobnicate_3_fma_avx2",), "an operation (project"),
        (("project_1x16x16_f32_fma_sse2",), "sse2 has no fma; take muladd"),
        (("project_1x16x16_f32_rows_fma_avx2",), "weights in panels only"),
        (("project_1x16x16_f32_fma_scalar",), "take another ISA"),
        (("gate_up_1x16x16_add_f32_fma_avx2",), "gate_up has no _add"),
        (("project_65x16x16_f32_fma_avx2",), "--list shows"),
        ((KEY, "--plan", "panel=3"), 'no field "panel"; there are panels, rows, unroll, vector, prefetch'),
        ((KEY, "--plan", "unroll=65"), "is not a number from 0 to 64"),
        ((KEY, "--format", "pdf"), "--format"),
        ((KEY, "--assembler", "nasm"), "--assembler"),
        ((KEY, "--all-isas", "--format", "raw", "-o", "/dev/null"), "raw bytes are those of one routine"),
        ((KEY, KEY, "-o", "/dev/null"), "is there twice"),
        ((KEY, "--compare", "--run"), "give one"),
        ((KEY, "--frobnicate"), "--frobnicate"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(arguments, what):
    assert what in emit(*arguments, status=2).stderr.decode()


def test_what_cannot_be_done_fails_and_says_why(tmp_path):
    assert b"no/such" in emit(KEY, "-o", tmp_path / "no/such/folder.o", status=1).stderr
    assert b"absent.wllm" in emit("--llama", tmp_path / "absent.wllm", status=1).stderr


def test_the_list_has_an_example_of_each_operation_that_can_be_emitted():
    text = emit("--list").stdout.decode()
    examples = re.findall(r"e\.g\. (\w+)", text)
    assert len(examples) >= 5
    emit(*examples, "--compare")
    for word in ("f32", "f16", "sse2", "avx512", "muladd", "panels", "prefetch", "xbyak"):
        assert word in text


def test_make_dump_shows_what_objdump_sees():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    command = ["make", "dump", "SHAPE=1x64x64", "ISA=avx512", "TYPE=f16"]
    shown = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, check=True, text=True, timeout=120 * PATIENCE).stdout
    assert "<project_1x64x64_f16_fma_avx512>:" in shown
    assert "vcvtph2ps zmm" in shown and "(bad)" not in shown


HEX_LINE = re.compile(r"(?m)^[0-9a-f]+$")


def dump(chat, key=""):
    chat.type(f"/dump {key}".strip() + "\r")
    return chat.expect(r"/dump.*?\n(.*?)\n> ").group(1).decode().replace("\r", "")


def test_the_machine_dumps_the_bytes_that_the_tool_emits(machine, tmp_path):
    command = machine.command(["-n", "3", "--temp", "0", "--seed", "1"], timeout=120)[0]
    with Terminal(command) as chat:
        chat.expect(r"\n> ", 30)
        assert re.search(r"\n[1-9]\d* routines installed", dump(chat)), "the model's own, made at boot"
        chat.type("A cat\r")
        chat.expect(r"\n> ", 60)
        installed = re.findall(r"(?m)^ *(\d+) bytes  (\w+)$", dump(chat))
        assert installed, "some routine is faster than the reference"
        for size, key in installed:
            text = dump(chat, key)
            plan = re.search(rf"^# {key}: {size} bytes, plan (\S+)\n# .*objdump -D -b binary", text).group(1)
            code = bytes.fromhex("".join(HEX_LINE.findall(text)))
            assert len(code) == int(size)
            assert code == raw(tmp_path, key, "--plan", plan), "the kernel's emitter is the tool's"
        # As its second line says.
        (tmp_path / "FILE").write_text(text.replace("\n", "\r\n"))
        recipe = re.search(r"in FILE: (.*)$", text, re.MULTILINE).group(1)
        shown = subprocess.run(recipe, shell=True, cwd=tmp_path, capture_output=True, check=True, text=True).stdout
        assert "ret" in shown and "(bad)" not in shown.partition("ret")[0]

        assert "is wanted at character 1 of key nonsense" in dump(chat, "nonsense")
        assert "there is no routine" in dump(chat, "rms_norm_3_fma_avx2")
        chat.type("/quit\r")
        assert chat.wait() == 0


def test_without_routines_dump_says_so(host):
    with Terminal(host.command(["--jit", "off"])) as chat:
        chat.expect(r"\n> ", 30)
        assert "nothing is emitted with --jit off" in dump(chat)
        chat.type("/quit\r")
        assert chat.wait() == 0
