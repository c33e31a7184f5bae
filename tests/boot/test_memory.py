"""Memory inside the machine: the heap at full size, and the page tables as QEMU sees them."""

import re
from dataclasses import dataclass

import pytest

from harness import BUILD, Monitor, Terminal, parse_log, wait_for_line

PAGE_SIZES = {"4K": 1 << 12, "2M": 1 << 21, "1G": 1 << 30}


@pytest.mark.parametrize("ram", [64, 512, 2048])
def test_malloc_gives_1_kb_1_mb_10_mb_and_1_gb_where_ram_allows(machine, ram):
    run = machine.self_test("malloc", "--ram", ram)
    assert run.status == 0
    blocks = {int(record["bytes"]): record for record in run.records("malloc")}
    assert sorted(blocks) == [1 << 10, 1 << 20, 10 << 20, 1 << 30]
    had = {size for size, record in blocks.items() if record["ok"] == "true"}
    assert had == {size for size in blocks if size < 1 << 30 or ram == 2048}
    assert int(run.record("heap")["peak"]) >= max(had)


def test_running_out_of_memory_is_a_value_not_a_crash(machine):
    run = machine.self_test("fault:out-of-memory-value")
    assert run.status == 0
    assert run.record("out_of_memory")["ok"] == "true"
    assert "FAULT" not in run.log


@dataclass
class Page:
    physical: int
    size: int
    writable: bool
    executable: bool


def pages_of_walker(log):
    """What the kernel's own walker printed, page by page."""
    pages = {}
    for record in (record for record in parse_log(log) if record.event == "mapping"):
        start, end, physical = (int(record[key], 16) for key in ("start", "end", "physical"))
        size = PAGE_SIZES[record["page"]]
        assert record["rights"][0] == "r"
        for offset in range(0, end - start, size):
            pages[start + offset] = Page(physical + offset, size, "w" in record["rights"], "x" in record["rights"])
    return pages


# `info tlb` of QEMU 7.2 and later: address, physical address, NX G PSE D A PCD PWT U W. It shows no sizes but PSE.
TLB_LINE = re.compile(r"([0-9a-f]{16}): ([0-9a-f]{16}) ([X-])[G-]([P-])[D-][A-][C-][T-]([U-])([W-])")


def test_the_paging_walker_agrees_with_qemu_page_by_page(machine, tmp_path):
    socket = tmp_path / "monitor"
    # 3 GiB: enough for 1 GiB pages.
    command, _ = machine.command(["--ram", 3072, "--set", "test=paging", "--", "-monitor",
                                  f"unix:{socket},server=on,wait=off"], kernel=BUILD / "bareflow-test.elf")
    with Terminal(command) as terminal:
        log = wait_for_line(machine.log, "mappings_done")
        answer = Monitor(socket).ask("info tlb")
        terminal.type("q")  # the test waits for a key
        assert terminal.wait() == 0
    walked = pages_of_walker(log)
    lines = TLB_LINE.findall(answer)
    assert len(lines) == len([line for line in answer.splitlines() if re.match(r"[0-9a-f]{16}:", line)])

    assert [int(line[0], 16) for line in lines] == sorted(walked)
    for address, physical, no_execute, large, user, writable in lines:
        page = walked[int(address, 16)]
        seen = (int(physical, 16), large == "P", writable == "W", no_execute == "-")
        assert seen == (page.physical, page.size > 4096, page.writable, page.executable), address
        assert user == "-", f"{address}: no page is the user's"
    assert {page.size for page in walked.values()} == set(PAGE_SIZES.values())


def test_no_page_is_writable_and_executable_and_page_0_is_not_mapped(machine):
    run = machine.self_test("mappings")
    assert run.status == 0
    walked = pages_of_walker(run.log)
    assert [hex(address) for address, page in walked.items() if page.writable and page.executable] == []
    assert 0 not in walked
    assert any(page.executable for page in walked.values())
