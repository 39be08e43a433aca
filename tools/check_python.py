#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Names in our Python that nobody defined: such a line fails only when it is reached. Exit code 77 without pyflakes."""
import importlib.util
import subprocess
import sys

from source import ROOT


def main():
    if not importlib.util.find_spec("pyflakes"):
        print("python: pyflakes is missing")
        return 77
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    said = subprocess.run([sys.executable, "-m", "pyflakes", *files], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    faults = [line for line in said.splitlines() if "undefined name" in line]
    print("\n".join(faults) or "python: every name is defined")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
