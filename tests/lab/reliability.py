# SPDX-License-Identifier: Apache-2.0
"""What came of a fault or of an attack, as a test saw it: rows for the tables in doc/reliability.md and doc/security.md
(tools/reliability.py renders them)."""
import inspect
import json
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
ROWS = BUILD / "reliability.jsonl"


def calling_test():
    """The innermost test file on the stack, as the page names it."""
    for frame in inspect.stack()[2:]:
        path = pathlib.Path(frame.filename)
        if path.name.startswith("test_") and ROOT in path.parents:
            return str(path.relative_to(ROOT))
    raise RuntimeError("an outcome is told by a test")


def tell(page, first, second, words):
    for text in (first, second, words):
        if not text or "|" in text or "\n" in text or text != text.strip():
            raise ValueError(f"a cell is one line without a bar, not {text!r}")
    row = {"page": page, "fault": first, "operation": second, "outcome": words, "test": calling_test()}
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with open(ROWS, "a") as rows:
        rows.write(json.dumps(row) + "\n")


def outcome(fault, operation, words):
    """Say it once it was seen, in words for an operator, without names, times or counts of one run: the table is the same after
    every run. The last outcome told for a pair of fault and operation counts. The calling test is kept with the row."""
    tell("reliability", fault, operation, words)


def attack(number, tried, result):
    """The same for an attack by its number in doc/security.md: what was tried, and what came of it."""
    tell("security", str(number), tried, result)
