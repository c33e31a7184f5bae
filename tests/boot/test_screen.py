"""Screen and keyboard: what QEMU shows on a display that nobody looks at, and keys that its monitor presses.

BAREFLOW_UPDATE_SCREEN=1 writes iso/screen.png anew; look at it, then commit it.
"""

import os
import re
import shutil
import time

import pytest

import screens
from harness import BUILD, LAUNCHER, ROOT, TEST_KERNEL, Machine, Monitor, Terminal, wait_for_line

PICTURE = ROOT / "iso" / "screen.png"
VGA = ["-device", "VGA,xres=800,yres=600"]  # by its EDID
COLUMNS, ROWS = 100, 37
PROMPT = r"\n> "
CHAT = ["-n", "60", "--temp", "0"]
NAMES = {" ": "spc", "\n": "ret", ",": "comma", ".": "dot", "/": "slash"}
KEY_SECONDS = 0.02  # a key is held that long, and let go of that long


class Display(Terminal):
    """A machine with a screen, at whose keyboard and whose serial line somebody sits."""

    def __init__(self, machine, *options, device=VGA, kernel=None, firmware="bios"):
        self.machine, self.font = machine, screens.read_font()
        socket = machine.folder / "monitor"
        command, _ = machine.command([*options, "--", *device, "-monitor", f"unix:{socket},server=on,wait=off"],
                                     kernel=kernel, firmware=firmware, timeout=120)
        super().__init__(command)
        self.monitor = Monitor(socket)

    def press(self, *keys):
        """Keys by QEMU's names, such as `shift-a`."""
        for key in keys:
            self.monitor.ask(f"sendkey {key} {int(KEY_SECONDS * 1000)}")
            self.pull(2 * KEY_SECONDS)
            time.sleep(2 * KEY_SECONDS)

    def write(self, text):
        """Types it at a keyboard of layout us."""
        self.press(*(NAMES.get(c, f"shift-{c.lower()}" if c.isupper() else c) for c in text))

    def picture(self):
        path = self.machine.folder / "screen.ppm"
        path.unlink(missing_ok=True)
        self.monitor.ask(f"screendump {path}")
        return screens.read_ppm(path)

    def screen(self, scale=1):
        return screens.decode(self.picture(), self.font, scale)

    def record(self, event):
        """A record of the log, which is there; UEFI and GRUB write on the same port, and end without a newline."""
        line = re.search(rf"^(?:.*\x1b\[\d+m)?{event} (.*)", self.machine.log.read_text(errors="replace"), re.M)
        return dict(re.findall(r'(\w+)=("[^"]*"|\S*)', line[1]))


def wrapped(text, columns=COLUMNS):
    """A text without control sequences as a screen shows it."""
    return "\n".join((line[i:i + columns]).rstrip() for line in text.split("\n") for i in range(0, max(len(line), 1), columns))


def said(display):
    """What came over the serial line, and the cursor behind it."""
    return display.seen.decode().replace("\r", "")


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_chat_at_the_keyboard_is_on_the_screen_and_on_the_serial_line(machine, firmware):
    with Display(machine, "-n", "160", "--temp", "0", firmware=firmware) as display:
        display.expect(PROMPT, 60)
        for beginning in "Once upon a time", "In the forest, there was a fox":
            display.write(beginning + "\n")
            display.expect(rf"{beginning}\r*\n{beginning}[^\r\n]{{50,}}.*{PROMPT}", 60)
        screen, picture = display.screen(), display.picture()
        assert screen.text == wrapped(said(display)).strip("\n").rstrip()
        assert screen.cursor == (len(screen.text.split("\n")) - 1, 2), "behind the prompt"
        assert display.record("screen").items() >= {
            "kind": "framebuffer", "width": "800", "height": "600", "bits": "32", "columns": str(COLUMNS), "rows": str(ROWS)
        }.items()

        if os.environ.get("BAREFLOW_UPDATE_SCREEN"):
            screens.write_png(PICTURE, picture)
        expected = screens.read_png(PICTURE)
        assert (picture.width, picture.height) == (expected.width, expected.height)
        assert picture.pixels == expected.pixels, "iso/screen.png shows another chat: see this file's head"

        display.write("/quit\n")
        assert display.wait() == 0


def test_keyboard_and_serial_line_write_one_line_together(machine):
    with Display(machine, *CHAT) as display:
        display.expect(PROMPT, 30)
        display.write("A cat")
        display.expect("A cat")
        display.type(" and a dog")
        display.expect(" and a dog")
        display.press("home", "delete", "shift-t", "h", "e", "end", "backspace", "x", "ctrl-left", "ctrl-left", "left", "y")
        display.expect(r"y.*d.*o.*x")
        time.sleep(0.2)
        display.pull(0.1)
        screen = display.screen()
        assert screen.rows[screen.cursor[0]] == "> The cat andy a dox"
        assert screen.cursor[1] == len("> The cat andy")
        display.press("ctrl-c")
        display.expect(r"\^C" + ".*" + PROMPT)
        display.write("The old man\n")
        display.press("ctrl-c")
        display.expect(r"\nThe old man.*\[stopped\].*" + PROMPT)
        display.press("up")
        display.expect("The old man")
        display.press("ctrl-u", "ctrl-d")
        assert display.wait() == 0


def test_a_german_keyboard_writes_german(machine):
    with Display(machine, *CHAT, "--set", "keyboard=de") as display:
        display.expect(PROMPT, 30)
        display.press("shift-g", "r", "bracket_left", "minus", "e", "spc", "semicolon", "apostrophe", "shift-semicolon", "spc", "y",
                      "alt_r-e", "alt_r-q", "less", "shift-slash")
        display.expect("Grüße öäÖ z€@<_")
        screen = display.screen()
        assert screen.rows[screen.cursor[0]] == "> Grüße öäÖ z€@<_"
        display.press("ctrl-u", "ctrl-d")
        assert display.wait() == 0


def test_the_screen_scrolls(machine):
    with Display(machine, *CHAT) as display:
        display.expect(PROMPT, 30)
        for _ in range(3):
            display.type("/help\r")
            display.expect(r"/help.*?/quit.*?" + PROMPT)
        lines = wrapped(said(display)).rstrip(" ").split("\n")
        assert len(lines) > ROWS
        screen = display.screen()
        assert screen.rows == [line.rstrip() for line in lines[-ROWS:]]
        assert screen.cursor == (ROWS - 1, 2)
        display.press("ctrl-l")
        display.expect(r"\x1b\[J")
        time.sleep(0.2)
        assert display.screen().text == ">"
        display.press("ctrl-d")
        assert display.wait() == 0


def test_characters_of_utf8_and_a_box_for_what_the_font_has_not(machine):
    with Display(machine, *CHAT) as display:
        display.expect(PROMPT, 30)
        text = "ŁÓDŹ “naïve” → │░ 世"
        display.type(text)
        display.expect("世")
        time.sleep(0.2)
        screen = display.screen()
        assert screen.rows[screen.cursor[0]] == "> " + text[:-1] + screens.BOX
        assert screen.cursor[1] == len("> " + text) + 1, "a wide character takes two columns"
        display.press("ctrl-u", "ctrl-d")
        assert display.wait() == 0


def test_a_screen_of_many_pixels_has_letters_of_twice_the_size(machine):
    device = ["-device", "VGA,xres=2560,yres=1440,vgamem_mb=32"]
    with Display(machine, *CHAT, device=device, firmware="uefi") as display:
        display.expect(PROMPT, 60)
        assert display.record("screen").items() >= {"width": "2560", "height": "1440", "columns": "160", "rows": "45"}.items()
        assert display.screen(scale=2).text == wrapped(said(display), 160).strip("\n").rstrip()
        display.type("/quit\r")
        assert display.wait() == 0


def with_video_mode(folder, mode):
    """A launcher of its own, whose ISO asks GRUB for another video mode."""
    shutil.copytree(LAUNCHER.parent, folder / "iso")
    (folder / "build").mkdir()
    (folder / "build" / "bareflow.elf").symlink_to(BUILD / "bareflow.elf")
    config = folder / "iso" / "grub.cfg"
    config.write_text(config.read_text().replace("    load_bareflow\n    boot\n", f"    load_bareflow\n    set gfxpayload={mode}\n    boot\n"))
    return folder / "iso" / "boot.sh"


@pytest.mark.parametrize("bits", [16, 24])
def test_other_pixel_formats(machine, tmp_path, monkeypatch, bits):
    monkeypatch.setattr("harness.LAUNCHER", with_video_mode(tmp_path / "other", f"800x600x{bits}"))
    with Display(machine, *CHAT) as display:
        display.expect(PROMPT, 30)
        assert display.record("screen")["bits"] == str(bits)
        assert display.screen().text == wrapped(said(display)).strip("\n").rstrip()
        display.press("ctrl-d")
        assert display.wait() == 0


def test_without_a_framebuffer_there_is_vga_text(machine, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.LAUNCHER", with_video_mode(tmp_path / "other", "text"))
    with Display(machine, *CHAT) as display:
        display.expect(PROMPT, 30)
        assert display.record("screen").items() >= {"kind": "text", "columns": "80", "rows": "25"}.items()
        display.type("Grüße")
        display.expect("Grüße")
        time.sleep(0.2)
        dump = display.monitor.ask("xp /4000bx 0xb8000")
        memory = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})\b", dump.split("\n", 1)[1]))
        text = memory[::2].decode("cp437")
        rows = [text[i:i + 80].rstrip() for i in range(0, 2000, 80)]
        assert "\n".join(rows).rstrip("\n") == wrapped(said(display), 80).strip("\n").rstrip()
        assert memory[1::2].count(0x70) == 1, "one cursor"
        display.press("ctrl-u", "ctrl-d")
        assert display.wait() == 0


def test_a_fault_is_told_on_the_screen_and_stays_there(machine):
    with Display(machine, "--set", "test=fault:unmapped", "--set", "exit=halt", kernel=TEST_KERNEL) as display:
        wait_for_line(machine.log, "exit status=failed")
        text = display.screen().text
        assert re.search(r"^FAULT page-fault \(#PF\): cannot read address", text, re.M), text
        assert "backtrace:" in text


def test_a_machine_without_a_display_has_no_screen_and_the_same_output(machine, tmp_path):
    story = ["-p", "Once upon a time", "-n", "20", "--temp", "0"]
    blind = machine.boot(*story)
    assert blind.status == 0
    assert blind.records("screen") + blind.records("screen_refused") == []
    seeing = machine.boot(*story, "--", *VGA)
    assert seeing.record("screen")["kind"] == "framebuffer"
    assert seeing.output == blind.output


def test_the_launcher_gives_the_machine_a_screen(machine, tmp_path):
    run = machine.boot("-p", "A cat", "-n", "3", "--display", f"vnc=unix:{tmp_path}/vnc")
    assert run.status == 0
    assert run.record("screen")["kind"] == "framebuffer"


def test_video_memory_is_write_combining_and_never_executable(machine):
    run = Machine(machine.folder).self_test("mappings", "--", *VGA)
    video = [record for record in run.records("mapping") if record["combining"] == "true"]
    assert sum(int(record["end"], 16) - int(record["start"], 16) for record in video) >= 800 * 600 * 4
    assert {record["rights"] for record in video} == {"rw-"}
