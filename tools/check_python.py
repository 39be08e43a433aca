#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What pyflakes says of our Python: names that nobody defined (such a line fails only when it is reached), imports that nobody uses.

Fixtures are imported for pytest to find: their line says `noqa`, which lets it stand. Exit code 77 without pyflakes.
"""
import importlib.util
import subprocess
import sys

from source import ROOT


def is_excused(fault):
    """Whether the line that a fault ("FILE:LINE:COLUMN: WORDS") speaks of says that it is meant so."""
    place = fault.split(":", 2)
    return len(place) == 3 and place[1].isdigit() and "# noqa" in (ROOT / place[0]).read_text().splitlines()[int(place[1]) - 1]


def main():
    if not importlib.util.find_spec("pyflakes"):
        print("python: pyflakes is missing")
        return 77
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    said = subprocess.run([sys.executable, "-m", "pyflakes", *files], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    faults = [line for line in said.splitlines() if "undefined name" in line or not is_excused(line)]
    print("\n".join(faults) or "python: every name is defined and used")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
