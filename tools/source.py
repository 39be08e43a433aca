# SPDX-License-Identifier: Apache-2.0
"""Reading our C for the checks: which files, and their text without comments and literals."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERS = ["base", "json", "schema", "loop", "http", "store", "admission", "cache", "auth", "api", "control", "controllers", "virt", "agent", "sim",
          "gateway", "cli"]


def c_files(*folders):
    for folder in folders or ("src",):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".c", ".h") and path.is_file():
                yield path


def is_test(path):
    return path.name.endswith("_test.c") or path.name.startswith("fuzz_") or "tests" in path.parts


def bare(text):
    """The text with comments and string literals blanked, line numbers kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
