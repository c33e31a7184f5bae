#!/bin/bash
# Adds up what the test stages left in a folder, and prints `N passed, N failed, N skipped`, alone on a line, last.
#   *.json  GoogleTest's own reports (--gtest_output=json)
#   *.txt   lines `passed failed skipped`
# Ends with 0 only if something passed and nothing failed. A stage that died without a report is for its caller to see.
set -euo pipefail

folder=${1:?usage: tests/summary.sh FOLDER}

/usr/bin/python3 - "$folder" <<'END'
import json
import pathlib
import sys


def counts_of(report):
    """(passed, failed, skipped) of one file."""
    if report.suffix == ".txt":
        return tuple(map(int, report.read_text().split()))
    document = json.loads(report.read_text())
    tests = [test for suite in document["testsuites"] for test in suite["testsuite"]]
    failed = sum("failures" in test for test in tests)
    skipped = sum(test["result"] == "SKIPPED" or test["status"] == "NOTRUN" for test in tests)
    return len(tests) - failed - skipped, failed, skipped


total = (0, 0, 0)
for report in sorted(pathlib.Path(sys.argv[1]).glob("*.*")):
    if report.suffix in (".json", ".txt"):
        counts = counts_of(report)
        print(f"{report.stem}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped")
        total = tuple(a + b for a, b in zip(total, counts))
print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
sys.exit(0 if total[0] > 0 and total[1] == 0 else 1)
END
