"""Fixtures of the boot tests, and the counts that tests/summary.sh adds up."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402  (the path is set above)

COUNTS = harness.BUILD / "test-results" / "boot.txt"
NEEDED = ("bareflow.iso", "bareflow.elf", "bareflow-test.elf", "host/bareflow", "host/bareflow-import", "host/bareflow-emit",
          "host/bareflow-snap", "bareflow-native.elf", "bareflow-small.elf", "host/bareflow-native", "host/make-snapshot")


def pytest_sessionstart():
    missing = [name for name in NEEDED if not (harness.BUILD / name).exists()]
    if missing:
        pytest.exit(f"not built: {' '.join(missing)}; run `make boot-tests`", returncode=1)


def pytest_terminal_summary(terminalreporter):
    """Leaves `passed failed skipped`, and says why what was skipped was."""
    count = {kind: len(terminalreporter.stats.get(kind, ())) for kind in ("passed", "failed", "error", "skipped")}
    COUNTS.parent.mkdir(parents=True, exist_ok=True)
    COUNTS.write_text(f"{count['passed']} {count['failed'] + count['error']} {count['skipped']}\n")
    for report in terminalreporter.stats.get("skipped", ()):
        terminalreporter.write_line(f"skipped {report.nodeid}: {report.longrepr[2]}")


@pytest.fixture
def machine(tmp_path):
    return harness.Machine(tmp_path)


@pytest.fixture
def host(tmp_path):
    return harness.Host(tmp_path)


@pytest.fixture
def stories260k():
    """A model with a tokenizer of its own that is not in the repository: llama2.c's test model."""
    model = harness.SHARED_MODELS / "stories260K.bin"
    if not model.exists():
        pytest.skip("stories260K.bin is not here (it is not in the repository)")
    return ["-m", model, "-z", model.with_name("tok512.bin")]
