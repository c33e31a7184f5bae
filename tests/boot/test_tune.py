"""The tuner in the machine and on the host: what it logs, that it never changes the text, and what /tune says under TCG."""

import pytest

from harness import Terminal, parse_log

STORY = ["-p", "Once upon a time", "-n", "30", "--temp", "0"]


def records(log, event):
    return [record for record in parse_log(log.read_text()) if record.event == event]


@pytest.fixture(scope="module")
def untuned(tmp_path_factory):
    from harness import Host

    return Host(tmp_path_factory.mktemp("untuned")).run(*STORY, "--tune", "off").output


def test_the_text_is_the_same_in_every_mode_and_a_single_run_tunes_when_told_for_how_long(machine, host, untuned):
    for mode in ("off", "idle", "inline"):
        run = host.run(*STORY, "--tune", mode, "--tune-ms", 300)
        assert run.status == 0
        assert run.output == untuned
        assert (len(run.records("plan")) > 0) == (mode != "off")
        assert len(run.records("tune")) == (0 if mode == "off" else 1)
    for mode in ("idle", "inline"):
        run = machine.boot(*STORY, "--tune", mode, "--tune-ms", 300)
        assert run.status == 0
        assert run.output == untuned
        assert int(run.record("prepared")["routines"]) >= 7
        summary = run.record("tune")
        tried = [plan for plan in run.records("plan") if plan["verdict"] not in ("baseline", "at_limit")]
        assert int(summary["tried"]) == len(tried) > 0
        assert int(summary["rejected"]) == 0
        assert float(summary["ms"]) < 300 + 1000, "a step that has begun is finished, not more"
        keys = {plan["key"] for plan in tried}
        assert all(key.startswith(("project_", "qkv_", "gate_up_")) for key in keys)


def test_a_single_run_without_the_option_does_not_tune(host, untuned):
    run = host.run(*STORY)
    assert run.output == untuned
    assert not run.records("plan") and not run.records("tune")


def test_tune_in_the_chat_shows_its_table_and_what_other_numbers_would_bring(machine):
    command, _ = machine.command(["--tune", "off"], timeout=120)
    with Terminal(command) as terminal:
        terminal.expect(r"\n> ", 30)
        terminal.type("/tune\r")
        terminal.expect(r"\[#{30}\] (\d+) of \1 plans, [\d.]+ s", 60)
        terminal.expect(r"project_1x1024x128_argmax_q8_0_fma_avx2(?:words)? +\d+ tried +-?[\d.]+%", 10)
        terminal.expect(r"muladd beats fma with f32: [\d.]+ times as fast, by --numerics muladd", 30)
        terminal.expect(r"integers beat floats with q8_0: [\d.]+ times as fast", 10)
        terminal.expect(r"\n> ", 10)
        terminal.type("/tune\r")
        terminal.expect(r"0 of 0 plans", 10)
        terminal.expect(r"\n> ", 30)
        terminal.type("/quit\r")
        terminal.wait()
    assert len(records(machine.log, "tune")) == 1
    assert records(machine.log, "tune")[0]["left"] == "0"
    times = {(r["numerics"], r["type"]): int(r["ns"]) for r in records(machine.log, "alternative")}
    assert len(times) == 8
    assert times["muladd", "f32"] < times["fma", "f32"]
    assert times["fma", "q8_0"] < times["fma", "f32"]


def test_it_tunes_while_nobody_types_and_then_sleeps(host):
    command = host.command(["--tune-ms", 400])
    with Terminal(command) as terminal:
        terminal.expect(r"\n> ", 10)
        terminal.type("A")  # is seen at once, though the tuner is at work
        terminal.expect(r"A", 1)
        terminal.type("\x03")
        terminal.expect(r"\n> ", 5)
        while not records(host.log, "tune"):
            terminal.pull(0.05)
        terminal.type("/quit\r")
        assert terminal.wait() == 0
    assert 0 < float(records(host.log, "tune")[0]["ms"]) < 600


def test_an_emulator_multiplies_words(machine):
    booted = machine.boot(*STORY)
    times = booted.record("byte_products")
    quicker_by_words = int(times["words_ns"]) < int(times["bytes_ns"])
    assert quicker_by_words or booted.record("launcher")["accel"] != "tcg"
    hottest = booted.records("profile")[0]
    assert hottest["type"] == "q8_0"
