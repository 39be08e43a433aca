#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the page that says which test proves which row of doc/requirements.md.

usage: coverage.py [PAGE]

A test names its rows: in its name (test_A16_A17_...), in its docstring or in a comment; "D51-D53" and "D51 to D53" are ranges. What
stands in a module's docstring or in a C comment counts for the file. A row that a test names and the list does not have is a failure.
PAGE is build/doc/reference/coverage.md when it is absent.
"""
import argparse
import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROW = re.compile(r"\| ([A-E]\d+) \| (.*) \|$")
AREA = re.compile(r"## ([A-E])\. (.*)$")
NAMED = re.compile(r"\b([A-E])(\d{1,3})\b(?:(?:-| to )\1?(\d{1,3})\b)?")
ATTACKS = re.compile(r"attacks?(?: groups?)?:?(?:,? ?(?:and |to )?[A-I]?\d+)+")
C_COMMENT = re.compile(r"/\*.*?\*/", re.S)
C_TEST = re.compile(r'"(?:/[a-z][a-z0-9_-]*)+/([A-Za-z0-9_-]+)"')


def rows_in(text):
    for area, first, last in NAMED.findall(ATTACKS.sub("", text or "")):
        for number in range(int(first), int(last or first) + 1):
            yield f"{area}{number}"


def words_of(name):
    return re.sub(r"\b[a-e]\d", lambda match: match[0].upper(), name.replace("_", " "))


def python_tests(path):
    tree = ast.parse(path.read_text())
    for row in rows_in(ast.get_docstring(tree)):
        yield row, ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for row in rows_in(words_of(node.name) + "\n" + (ast.get_docstring(node) or "")):
                yield row, node.name


def c_tests(path):
    text = path.read_text()
    for name in C_TEST.findall(text):
        for row in rows_in(words_of(name)):
            yield row, name
    for comment in C_COMMENT.findall(text):
        for row in rows_in(comment):
            yield row, ""


def sources():
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        yield path, python_tests
    for path in sorted((ROOT / "src").rglob("*_test.c")):
        yield path, c_tests


def proofs():
    """Row -> {file: [test, ...]}; a file without tests names the row as a whole."""
    found = {}
    for path, reader in sources():
        for row, test in reader(path):
            tests = found.setdefault(row, {}).setdefault(str(path.relative_to(ROOT)), [])
            if test and test not in tests:
                tests.append(test)
    return found


def cell(files):
    return "<br>".join(f"`{name}`" + "".join(f" {test}" for test in tests) for name, tests in files.items())


def page(lines, found):
    known = [match[1] for match in map(ROW.match, lines) if match]
    proven = [row for row in known if row in found]
    yield "# Requirements and their tests"
    yield ""
    yield f"Written by `tools/coverage.py`. A test names {len(proven)} of {len(known)} rows; the others are not proven by a test, or not built yet."
    for line in lines:
        if area := AREA.match(line):
            mine = [row for row in known if row[0] == area[1]]
            yield from ("", f"## {area[1]}. {area[2]}: {len([r for r in mine if r in found])} of {len(mine)}", "", "| row | what | tests |", "|---|---|---|")
        elif row := ROW.match(line):
            yield f"| {row[1]} | {row[2]} | {cell(found.get(row[1], {})) or '–'} |"


def main():
    parser = argparse.ArgumentParser(description="Requirements and the tests that name them.")
    parser.add_argument("page", nargs="?", type=pathlib.Path, default=ROOT / "build/doc/reference/coverage.md")
    args = parser.parse_args()
    lines = (ROOT / "doc/requirements.md").read_text().splitlines()
    known = {match[1] for match in map(ROW.match, lines) if match}
    found = proofs()
    args.page.parent.mkdir(parents=True, exist_ok=True)
    args.page.write_text("\n".join(page(lines, found)) + "\n")
    unknown = {row: files for row, files in found.items() if row not in known}
    for row, files in sorted(unknown.items()):
        print(f"{row} is no row of doc/requirements.md: {', '.join(files)}")
    print(f"coverage: {len(known & set(found))} of {len(known)} rows are named by a test: {args.page}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
