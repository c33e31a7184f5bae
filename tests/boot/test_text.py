"""The text: in the machine it is, byte for byte, what the host program writes."""

import re

import pytest

from harness import SHARED_MODELS

GREEDY = ["-p", "Once upon a time", "-n", "100", "--temp", "0"]
SAMPLED = ["-p", "The dog", "-n", "60", "--temp", "0.9", "--top-k", "30", "--top-p", "0.9", "--min-p", "0.02",
           "--repeat-penalty", "1.1", "--seed", "1234"]


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_greedy_story_is_the_host_programs_byte_for_byte(machine, host, firmware):
    booted = machine.boot(*GREEDY, firmware=firmware)
    hosted = host.run(*GREEDY)
    assert (booted.status, hosted.status) == (0, 0)
    assert booted.output == hosted.output
    assert booted.output.startswith(b"Once upon a time")
    assert len(booted.output) > 200
    assert booted.record("exit") == {"status": "ok"}
    assert booted.record("launcher")["firmware"] == firmware


def test_a_seed_gives_the_same_story_in_the_machine_and_on_the_host(machine, host):
    booted = machine.boot(*SAMPLED)
    assert booted.status == 0
    assert booted.output == host.run(*SAMPLED).output
    assert booted.output != host.run(*SAMPLED[:-1], "1235").output


@pytest.mark.parametrize("numerics", ["fma", "muladd"])
def test_each_numeric_class_gives_the_hosts_story(machine, host, numerics):
    options = ["-p", "A cat", "-n", "40", "--temp", "0", "--numerics", numerics]
    booted = machine.boot(*options)
    assert booted.status == 0
    assert booted.output == host.run(*options).output


def test_the_profile_is_told_and_in_the_log(machine, host):
    story = ["-p", "A bird", "-n", "12", "--temp", "0"]
    for run in (machine.boot(*story, "--profile", "on"), host.run(*story, "--profile")):
        assert run.status == 0
        assert b"generation, " in run.output and b"gate_up" in run.output
        profiles = run.records("profile")
        assert {p["phase"] for p in profiles} == {"prompt", "generation"}
        head = [p for p in profiles if p["op"] == "project" and p["n"] == "1024" and p["phase"] == "generation"]
        assert [p["calls"] for p in head] == ["11"]
        assert 99 < sum(float(p["share"]) for p in profiles if p["phase"] == "generation") < 101


LONG_PROMPT = ("Once upon a time there was a little girl named Lily. She had a red ball and she loved to play with it in the "
               "park every day. One day her friend Tom came and asked if he could play with the ball too. Lily said yes.")


def test_a_long_prompt_read_in_blocks_gives_the_text_of_one_token_at_a_time(machine, host):
    story = ["-p", LONG_PROMPT, "-n", "10", "--temp", "0"]
    booted, hosted = machine.boot(*story), host.run(*story)
    assert booted.status == 0
    assert booted.output == hosted.output == host.run(*story, "--jit", "off").output
    assert "16" in {p["m"] for p in hosted.records("profile") if p["phase"] == "prompt"}, "the prompt had a block"


@pytest.mark.parametrize("isa", ["avx2", "sse2"])
def test_a_cache_of_halves_gives_the_references_text_in_half_the_memory(machine, host, isa):
    story = ["-p", LONG_PROMPT, "-n", "30", "--temp", "0", "--cache-type", "f16", "--numerics", "muladd"]
    booted = machine.boot(*story, "--isa", isa)
    assert booted.status == 0
    assert booted.output == host.run(*story, "--jit", "off").output
    # 6 layers, 512 positions, 4 key/value heads of 16
    assert booted.record("model")["cache_type"] == "f16"
    assert booted.record("model")["kv_bytes"] == str(2 * 6 * 512 * 4 * 16 * 2)


PATHS = {
    "sse2": (["--isa", "sse2"], {"isa": "sse2", "assembler": "asmjit"}),
    "avx2": (["--isa", "avx2"], {"isa": "avx2", "assembler": "asmjit"}),
    "avx2-tiny": (["--isa", "avx2", "--assembler", "tiny"], {"isa": "avx2", "assembler": "tiny"}),
    "scalar": (["--jit", "off"], {"isa": "scalar", "assembler": "none"}),
}


@pytest.mark.parametrize("options,path", PATHS.values(), ids=PATHS.keys())
def test_every_path_gives_the_same_story_within_a_numeric_class(machine, host, options, path):
    story = ["-p", "A dog", "-n", "25", "--temp", "0", "--numerics", "muladd"]
    booted = machine.boot(*story, *options)
    assert booted.status == 0
    assert booted.output == host.run(*story, "--isa", "scalar").output
    assert booted.output == host.run(*story, *options).output
    assert booted.record("path").items() >= {**path, "numerics": "muladd"}.items()


@pytest.mark.parametrize(
    "prompt",
    ["\"Hello,\" said Tom's cat", "back\\slash \\n and $HOME `x`", "Zoë and 小猫 went — 🐈", "two\nlines\tand a tab",
     " leading, trailing and  double spaces ", "-n 3 --temp 9", "key=value # not an option", "comma,,comma"],
    ids=["quotes", "backslashes", "utf-8", "controls", "spaces", "dashes", "equals", "commas"],
)
def test_a_prompt_arrives_as_it_was_typed(machine, host, prompt):
    options = ["-p", prompt, "-n", "8", "--temp", "0"]
    booted = machine.boot(*options)
    assert booted.status == 0
    assert booted.output.startswith(prompt.encode())
    assert booted.output == host.run(*options).output


def test_an_empty_prompt_writes_a_story_from_nothing(machine, host):
    options = ["-p", "", "-n", "30", "--temp", "0"]
    booted = machine.boot(*options)
    assert booted.status == 0
    assert booted.output == host.run(*options).output
    assert len(booted.output) > 20


def test_without_a_terminal_one_story_is_written(machine):
    run = machine.boot("-n", "20", "--temp", "0")
    assert run.status == 0
    assert len(run.output) > 20


def test_without_a_terminal_a_piped_line_is_the_prompt(machine):
    run = machine.boot("-n", "10", "--temp", "0", stdin=b"The little bird\nis not read\n")
    assert run.status == 0
    assert run.output.startswith(b"The little bird")
    assert b"not read" not in run.output


def expected_texts():
    """The (prompt, text) pairs that EXPECTED.md gives for stories260K."""
    document = SHARED_MODELS / "EXPECTED.md"
    if not document.exists():
        return []
    section = document.read_text().split("## stories260K.bin")[1].split("\n## ")[0]
    return re.findall(r"### prompt '([^']*)', -n \d+.*?```text\n(.*?)\n```", section, re.DOTALL)


@pytest.mark.parametrize("prompt,expected", expected_texts() or [("", "")])
def test_stories260k_writes_llama2cs_own_greedy_text(machine, host, stories260k, prompt, expected):
    # Each of its tokens is at least one byte, and the model's context has 512 positions.
    options = [*stories260k, "-p", prompt, "-n", min(len(expected), 200), "--temp", "0"]
    booted = machine.boot(*options)
    assert booted.status == 0
    text = booted.output.decode().removesuffix("\n")
    common = min(len(text), len(expected))
    assert common > 200
    assert text[:common] == expected[:common]
    assert booted.output == host.run(*options).output
    assert booted.record("model")["source"] == "fw_cfg"
