#!/usr/bin/env python3
"""Who may include whom (DESIGN.md "Layout"), and that inline assembly stands in its one header only.

Prints every include that breaks the order and exits with 1 if there is one.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What the code of each room may include beside its own files. A longer room name wins over a shorter one.
MAY_SEE = {
    "arch/base": [],
    "arch/platform.h": ["arch/base", "mm"],
    "mm": ["arch/base"],
    "emitter": ["arch/base", "mm"],
    "model": ["arch/base"],
    "profiler": ["arch/base"],
    "persist": ["arch/base", "persist/block_device.h", "persist/fixed_file.h"],
    "persist/block_device.h": ["arch/base"],
    "persist/fixed_file.h": ["arch/base"],
    "arch/x86_64": ["arch/base", "arch/platform.h", "mm", "persist/block_device.h"],
    "arch/x86_64/native_segment.cpp": ["arch/base", "persist"],
    "arch/host": ["arch/base", "arch/platform.h", "mm", "persist/block_device.h"],
}
# The mains put everything together; tools and tests may look anywhere.
SEE_EVERYTHING = [r"arch/(x86_64|host)/main\.cpp", r"arch/(boot_main|boot_disk|stages/\w+|routine_\w+|profile\w+|snapshot_\w+)\.(h|cpp)", r".*/tools/.*", r"tests/.*", r"iso/.*"]
ASSEMBLY_HEADER = "arch/x86_64/cpu.h"
ASSEMBLY_ALLOWED = [ASSEMBLY_HEADER, "tests/", "arch/host/", "iso/"]


def room_of(path):
    names = [room for room in MAY_SEE if path == room or path.startswith(room + "/")]
    return max(names, key=len) if names else None


def sources():
    for pattern in ("arch", "mm", "emitter", "model", "profiler", "persist", "tests", "iso"):
        for suffix in ("*.h", "*.cpp"):
            yield from sorted((ROOT / pattern).rglob(suffix))


def broken_includes():
    for file in sources():
        path = file.relative_to(ROOT).as_posix()
        text = file.read_text(encoding="utf-8")
        free = any(re.fullmatch(pattern, path) for pattern in SEE_EVERYTHING)
        for number, line in enumerate(text.splitlines(), 1):
            match = re.match(r'\s*#include "([^"]+)"', line)
            if match:
                target = match.group(1)
                if not (ROOT / target).exists():
                    yield f'{path}:{number}: "{target}" is no file; includes are named from the top of the tree'
                elif not free:
                    room, seen = room_of(path), room_of(target)
                    if seen != room and seen not in MAY_SEE.get(room, []):
                        yield f"{path}:{number}: {room} may not see {target}"
            if re.search(r"\basm\s*(volatile)?\s*\(", line) and not line.lstrip().startswith("//"):
                if not any(path.startswith(allowed) for allowed in ASSEMBLY_ALLOWED):
                    yield f"{path}:{number}: inline assembly belongs into {ASSEMBLY_HEADER}"


problems = list(broken_includes())
print("\n".join(problems), end="\n" if problems else "")
sys.exit(1 if problems else 0)
