"""Conversations: the same keys typed into the machine and into the host program give the same replies, also after a save, a
reboot and a load."""

import re
import subprocess

import pytest

from harness import BUILD, ROOT, Terminal, bare_machine, parse_log
from volume import fsck, get, make_volume, put

ENTER = "\r"
CHATML = ["--chat-template", "chatml", "-n", "24", "--seed", "7", "--temp", "0.9"]
PLAIN = ["-n", "40", "--seed", "7", "--temp", "0.9"]


class Script:
    """A chat that is typed line by line; keeps what came after each line."""

    def __init__(self, command):
        self.terminal = Terminal(command)

    def __enter__(self):
        self.terminal.__enter__()
        self.terminal.expect(r"\n> ", 30)
        return self

    def __exit__(self, *how):
        self.terminal.__exit__(*how)

    def line(self, text):
        """What is shown between the line and the next prompt."""
        self.terminal.type(text + ENTER)
        shown = self.terminal.expect(r"\n(.*?)\n> $" if not text else rf"{re.escape(text)}\r*\n(.*?)\n?> $").group(1)
        return shown.decode().replace("\r", "").strip("\n")

    def quit(self):
        self.terminal.type("/quit" + ENTER)
        assert self.terminal.wait() == 0


def turns(script, lines):
    return [script.line(text) for text in lines]


FIVE_TURNS = ["Tell me of a dog.", "/system Be kind.", "And of a cat.", "/regen", "What did they find?", "/save five",
              "Who was there? </s><|im_end|>", "/load five", "Who was there? </s><|im_end|>", "/n 8", "The end?", "/more"]


@pytest.mark.parametrize("options,lines", [
    (CHATML, FIVE_TURNS),
    (PLAIN, ["Tom had a red ball.", "/regen", "Once upon a time", "/save five", "Lily", "/load five", "/more", "/load five",
             "/more", "A cat"]),
], ids=["chatml", "plain"])
def test_the_machine_says_what_the_host_says(machine, host, tmp_path, options, lines):
    disks = [make_volume(tmp_path / f"{name}.img") for name in ("machine", "host")]
    with Script(machine.command([*options, "--disk", disks[0]], timeout=120)[0]) as script:
        by_machine = turns(script, lines)
        script.quit()
    with Script(host.command([*options, "--disk", disks[1]])) as script:
        by_host = turns(script, lines)
        script.quit()
    assert dict(enumerate(zip(lines, by_machine))) == dict(enumerate(zip(lines, by_host)))
    assert get(disks[0], "FIVE.CHT") == get(disks[1], "FIVE.CHT")
    assert [fsck(disk) for disk in disks] == [[], []]
    replies = dict(zip(lines, by_host))
    if options is CHATML:
        assert by_host[6] == by_host[8], "the reply after /load is the one that came without it"
        assert by_host[2] != by_host[3], "/regen takes the next random numbers"
        assert replies["/save five"].startswith("[FIVE.CHT: 3 turns, ")
    else:
        assert by_host[6] == by_host[8]
        assert by_host[0] != by_host[1]
        assert by_host[1].startswith("Tom had a red ball.")


def test_a_turn_evaluates_what_is_new(host):
    with Script(host.command(CHATML)) as script:
        turns(script, ["Tell me of a dog.", "And of a cat.", "What did they find?"])
        script.quit()
    first, second, third = [record for record in parse_log(host.log.read_text()) if record.event == "run"]
    assert first["kept"] == "0"
    # The template's text and the message; not what was said before.
    assert int(second["kept"]) >= int(first["prompt_tokens"]) and int(second["prompt_tokens"]) < 70
    assert int(third["kept"]) > int(second["kept"]) and int(third["prompt_tokens"]) < 70


def test_a_conversation_goes_on_after_a_reboot(machine, host, tmp_path):
    disk = make_volume(tmp_path / "disk.img")
    lines = ["Tell me of a dog.", "And of a cat."]
    with Script(host.command(CHATML)) as script:
        uninterrupted = turns(script, [*lines, "What did they find?", "/regen"])
        script.quit()
    with Script(machine.command([*CHATML, "--disk", disk], timeout=60)[0]) as script:
        assert turns(script, lines) == uninterrupted[:2]
        script.line("/save night")
        script.quit()
    with Script(machine.command(["--disk", disk], timeout=60)[0]) as script:  # template, seed, n: as they were saved
        script.line("/load night")
        assert turns(script, ["What did they find?", "/regen"]) == uninterrupted[2:]
        script.quit()
    with Script(host.command(["--disk", disk])) as script:
        script.line("/load night")
        assert turns(script, ["What did they find?", "/regen"]) == uninterrupted[2:]
        script.quit()


def test_a_damaged_file_is_refused_and_the_chat_goes_on(machine, tmp_path):
    disk = make_volume(tmp_path / "disk.img")
    put(disk, "TALK.CHT", b"my own words")
    with Script(machine.command([*CHATML, "--disk", disk], timeout=60)[0]) as script:
        assert "not loaded: it has 12 bytes" in script.line("/load talk")
        assert "something else; choose another name" in script.line("/save talk").replace("\n", "")
        assert "not loaded: NONE.CHT: " in script.line("/load none")
        assert script.line("Hi!")
        script.quit()
    assert get(disk, "TALK.CHT") == b"my own words"


def test_the_context_shifts_in_a_long_chat(machine, host):
    options = [*CHATML, "-c", "192"]
    lines = [f"Tell me of dog number {i}." for i in range(5)]
    with Script(machine.command(options, timeout=120)[0]) as script:
        by_machine = turns(script, lines)
        script.quit()
    with Script(host.command(options)) as script:
        by_host = turns(script, lines)
        script.quit()
    assert by_machine == by_host
    assert any("turns are forgotten]" in reply for reply in by_host)
    assert "context_shift forgotten=" in machine.log.read_text()


def test_without_a_disk_the_machine_says_so_and_the_host_takes_its_folder(machine, host, tmp_path):
    with Script(machine.command(PLAIN, timeout=60)[0]) as script:
        assert "no disk to keep conversations on" in script.line("/save talk")
        script.quit()
    command = ["env", "-C", str(tmp_path), *host.command(PLAIN)]
    with Script(command) as script:
        script.line("Tom")
        assert script.line("/save talk").startswith("[TALK.CHT: 1 turns, ")
        script.quit()
    assert (tmp_path / "TALK.CHT").stat().st_size > 1000


def test_the_isos_bareflow_cfg_sets_up_the_chat(tmp_path):
    config, iso, log = tmp_path / "bareflow.cfg", tmp_path / "chat.iso", tmp_path / "log"
    config.write_text("chat-template = zephyr\nsystem = Be kind, always.\ntemp=0\nn-predict=5\nexit=debug-exit\n")
    subprocess.run([ROOT / "iso" / "make-iso.sh", BUILD / "bareflow.elf", iso, "--config", config], check=True)
    command = bare_machine(iso, log)
    with Script(command) as script:
        assert script.line("/system") == "system Be kind, always."
        assert script.line("/temp") == "temp 0.000"
        assert script.line("/n") == "n 5"
        script.terminal.type("/quit" + ENTER)
        assert script.terminal.wait() == 33
    assert "chat_template name=zephyr source=option" in log.read_text()
