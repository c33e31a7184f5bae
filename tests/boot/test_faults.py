"""The fault matrix: each fault is a report that says what, where and how it came to it, and a failing exit; never a
triple fault, never a hang."""

import re
import subprocess
from dataclasses import dataclass, field

import pytest

from harness import TEST_KERNEL


def symbols():
    """Addresses of the test kernel's linker symbols."""
    lines = subprocess.run(["nm", TEST_KERNEL], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[2]: int(line.split()[0], 16) for line in lines}


@dataclass
class Expected:
    fault: str
    symbol: str  # the function that faulted
    access: str = ""  # page faults only
    place: str = ""
    address: object = None  # a number, a symbol's name, or a range of two symbols
    called_from: str = ""  # for jumps into nowhere: who jumped
    fields: dict = field(default_factory=dict)


MATRIX = {
    "write-text": Expected("page-fault", "write_text", "write", "text", "__text_start"),
    "write-rodata": Expected("page-fault", "write_rodata", "write", "rodata", "__rodata_start"),
    "execute-data": Expected("page-fault", "", "execute", "data", ("__data_start", "__data_end"), "execute_data"),
    "execute-heap": Expected("page-fault", "", "execute", "heap", None, "execute_heap"),
    "null-read": Expected("page-fault", "null_read", "read", "null-page", 0),
    "null-write": Expected("page-fault", "null_write", "write", "null-page", 0),
    "null-call": Expected("page-fault", "", "execute", "null-page", 0, "null_call"),
    "stack-guard": Expected("page-fault", "overflow_stack", "write", "guard"),
    "unmapped": Expected("page-fault", "unmapped", "read", "unmapped", 0x7FFF_C000_0000),
    "misaligned-sse": Expected("general-protection", "misaligned_sse"),
    "invalid-opcode": Expected("invalid-opcode", "invalid_opcode"),
    "divide": Expected("divide-error", "divide_by_zero"),
    "gp": Expected("general-protection", "non_canonical"),
    "panic": Expected("panic", "failed_assertion", fields={"what": "opaque(1) == 2"}),
}


@pytest.mark.parametrize("name", MATRIX)
def test_a_fault_is_reported_in_full(machine, name):
    expected = MATRIX[name]
    run = machine.self_test(f"fault:{name}")
    console = run.output.decode()

    assert run.status == 1
    assert run.record("fault_expected")["test"] == name
    assert run.record("exit")["status"] == "failed"
    assert "FAULT" in run.errors, "the launcher passes the first line on"

    report = run.record("fault")
    assert report["class"] == expected.fault
    assert report["symbol"].split("(")[0].split("::")[-1] == expected.symbol or expected.called_from
    if expected.fault == "page-fault":
        assert (report["access"], report["place"]) == (expected.access, expected.place)
        address = int(report["address"], 16)
        known = symbols()
        if isinstance(expected.address, int):
            assert address == expected.address
        elif isinstance(expected.address, str):
            assert address == known[expected.address]
        elif expected.address:
            assert known[expected.address[0]] <= address < known[expected.address[1]]
    for key, value in expected.fields.items():
        assert report[key] == value
    if expected.symbol:
        assert int(report["offset"], 16) < 4096

    # The same report for people, on both ports: what, where, registers, and how it came to it.
    for text in console, run.log:
        assert re.search(r"^FAULT " + expected.fault, text, re.MULTILINE)
        backtrace = text.partition("backtrace:")[2]
        assert re.search(r"#1\b.*\w+\+0x[0-9a-f]+", backtrace)
        if name != "stack-guard":  # its 32 frames are all one function's
            assert "kernel_main" in backtrace
        if expected.fault != "panic":
            assert re.search(r"rax=[0-9a-f]{16}", text) and "cr3=" in text
        if expected.called_from:
            assert re.search(r"called from 0x[0-9a-f]+ .*" + expected.called_from, text)


def test_a_fault_in_an_emitted_routine_names_its_key(machine):
    run = machine.self_test("fault:routine")
    report = run.record("fault")
    assert report["class"] == "page-fault" and report["place"] == "null-page"
    assert re.fullmatch(r"project_1x16x512_q8_0_(fma|muladd)_avx2", report["symbol"])
    assert int(report["offset"], 16) < 4096
    assert "fault_in_routine" in run.log.partition("backtrace:")[2]


def test_a_fault_while_reporting_is_told_and_stops(machine):
    run = machine.self_test("fault:nested")
    assert run.status == 1
    assert b"FAULT while reporting a fault" in run.output
    first, second = run.records("fault") if len(run.records("fault")) == 2 else (None, run.record("fault"))
    assert second["nested"] == "true"
    assert run.record("exit")["status"] == "failed"


def test_a_fault_inside_a_recovery_point_comes_back_as_a_value(machine):
    run = machine.self_test("recover")
    assert run.status == 0
    assert [int(record["vector"]) for record in run.records("recovered")] == [14, 6, 0, 13]
    assert run.record("exit") == {"status": "ok"}
    assert b"FAULT" not in run.output


def test_the_shipped_kernel_has_no_self_tests(machine):
    run = machine.boot("-p", "x", "--set", "test=fault:null-read")
    assert run.status == 1
    assert "test kernel" in run.record("exit")["reason"]


def test_the_symbol_table_names_every_function_and_ends_where_its_section_does(tmp_path):
    kernel = TEST_KERNEL.with_suffix(".debug.elf")
    subprocess.run(["objcopy", "-O", "binary", "-j", ".symbols", kernel, tmp_path / "symbols"], check=True)
    table, at = (tmp_path / "symbols").read_bytes(), 0
    lines = [line.split() for line in subprocess.run(["nm", kernel], capture_output=True, text=True, check=True).stdout.splitlines()]
    address = next(int(value, 16) for value, _, name in lines if name == "__image_start")
    named = {}
    while at < len(table):
        shift = 0
        while True:  # ULEB128
            address += (table[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if table[at - 1] < 0x80:
                break
        end = table.index(0, at)
        named[address], at = table[at:end].decode(), end + 1
    marks = {"__text_start", "__text_end", "__image_start"}
    functions = {int(value, 16) for value, kind, name in lines if kind in "tTwW" and name not in marks}
    assert set(named) == functions and all(named.values())
    assert "kernel_main" in named.values() and len(functions) > 1000
    assert next(int(value, 16) for value, _, name in lines if name == "__symbols_end") == len(table) + next(
        int(value, 16) for value, _, name in lines if name == "__symbols_start")
