"""The chat on a terminal: the same session, typed into the machine and into the host program."""

import time

import pytest

from harness import PATIENCE, Terminal

CTRL_C, CTRL_D, ENTER, UP, BACKSPACE = "\x03", "\x04", "\r", "\x1b[A", "\x7f"
PROMPT = r"\n> "


@pytest.fixture(params=["machine", "host"])
def chat(request, machine, host):
    """A started chat: the launcher's, then the host program's."""
    options = ["-n", "50", "--temp", "0.8", "--seed", "1"]
    command = machine.command(options, timeout=120)[0] if request.param == "machine" else host.command(options)
    with Terminal(command) as terminal:
        terminal.expect(PROMPT, 30)
        yield terminal


def story(chat, beginning):
    """Types a beginning; returns the story, which is one paragraph, as soon as the next prompt shows."""
    chat.type(beginning + ENTER)
    text = chat.expect(rf"\n({beginning}[^\r\n]{{100,}}?)\r*\n").group(1)
    chat.expect(PROMPT)
    return text


def test_a_session_from_the_first_word_to_quit(chat):
    chat.type("/help" + ENTER)
    text = chat.expect(rf"/help.*?{PROMPT}").group().decode()
    assert [word for word in ("/stats", "/mem", "/cpu", "/model", "/temp", "/quit") if word not in text] == []

    chat.type("/temp 0" + ENTER)
    chat.expect(PROMPT)
    first = story(chat, "Once upon a time")
    assert story(chat, "Once upon a time") == first, "at temperature 0 a story repeats itself"

    for command, shown in ("/stats", "tok"), ("/mem", "mib"), ("/cpu", "sse2"), ("/model", "vocab"):
        chat.type(command + ENTER)
        assert shown in chat.expect(rf"{command}.*?{PROMPT}").group().decode().lower()

    chat.type("/quit" + ENTER)
    assert chat.wait() == 0
    assert chat.is_restored()


def test_a_line_can_be_corrected_and_called_back(chat):
    chat.type("/temp 0" + ENTER)
    chat.expect(PROMPT)
    chat.type("A catx" + BACKSPACE + ENTER)
    first = chat.expect(r"\n(A cat[^x\r\n]{50,}?)\r*\n").group(1)
    chat.expect(PROMPT)
    chat.type(UP + ENTER)
    assert chat.expect(r"\n(A cat[^x\r\n]{50,}?)\r*\n").group(1) == first
    chat.expect(PROMPT)
    chat.type(CTRL_D)
    assert chat.wait() == 0


def test_ctrl_c_ends_a_story_and_not_the_chat(chat):
    # In one breath: a fast machine has told the whole story before a key that waits for its beginning is there.
    chat.type("The old man" + ENTER + CTRL_C)
    chat.expect(r"\nThe old man.*\[stopped\]")
    chat.expect(PROMPT)
    assert story(chat, "A girl")
    chat.type("/quit" + ENTER)
    assert chat.wait() == 0


def test_the_terminal_is_given_back_when_the_program_is_killed(chat):
    # The host program changes the mode when it first reads, which is after its prompt.
    end = time.monotonic() + 5 * PATIENCE
    while chat.is_restored():
        assert time.monotonic() < end, "a chat takes keys one by one"
        time.sleep(0.01)
    chat.process.terminate()
    chat.wait()
    assert chat.is_restored()
