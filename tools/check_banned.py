#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Functions and forms that our C does not use (see doc/style.md)."""
import re
import sys

from source import ROOT, bare, c_files, is_test

FUNCTIONS = ["strcpy", "strcat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "gmtime", "localtime", "alloca", "g_alloca", "system",
             "popen", "gets", "tmpnam", "mktemp"]
CALL = re.compile(r"(?<![\w.>])(" + "|".join(FUNCTIONS) + r")\s*\(")
FORMS = [(re.compile(r"\bgoto\b"), "goto"), (re.compile(r"typedef\s+struct\s+\w+\s*\*"), "a typedef'd pointer"),
         (re.compile(r"\bTODO\b|\bFIXME\b|\bXXX\b|\bHACK\b"), "a mark of unfinished work")]
MAX_LINES = 1000


def faults():
    for path in c_files("src", "bench", "images", "tests"):
        text = path.read_text()
        code = bare(text)
        name = path.relative_to(ROOT)
        if "SPDX-License-Identifier: Apache-2.0" not in text.splitlines()[0]:
            yield f"{name}:1: no SPDX line"
        for match in CALL.finditer(code):
            yield f"{name}:{code.count(chr(10), 0, match.start()) + 1}: {match.group(1)} is banned"
        for pattern, what in FORMS:
            for match in pattern.finditer(text if "unfinished" in what else code):
                yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {what}"
        lines = text.count("\n")
        if lines > MAX_LINES and not is_test(path):
            yield f"{name}: {lines} lines (at most {MAX_LINES})"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) or "banned: nothing found")
    sys.exit(1 if found else 0)
