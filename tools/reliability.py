#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the table in doc/reliability.md with what the tests saw, or write it.

usage: reliability.py [--write] [ROWS]

ROWS (build/reliability.jsonl) holds the rows that tests told by tests/lab/reliability.py. A pair of fault and operation that was not
seen in ROWS keeps its row: no run has to hold every part. Without --write the page stays as it is, and a pair or an outcome
that it does not have, or a test file that is no more, is a failure.
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "doc/reliability.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEAD = ["| fault | operation | outcome | seen by |", "|---|---|---|---|"]


def seen(path):
    rows = {}
    if path.exists():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[row["fault"], row["operation"]] = (row["outcome"], row["test"])
    return rows


def told(page):
    table = page.split(BEGIN)[1].split(END)[0]
    rows = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and line not in HEAD:
            rows[cells[0], cells[1]] = (cells[2], cells[3].strip("`"))
    return rows


def render(page, rows):
    lines = HEAD + [f"| {fault} | {operation} | {words} | `{test}` |" for (fault, operation), (words, test) in sorted(rows.items())]
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1]


def main():
    parser = argparse.ArgumentParser(description="Keep the table in doc/reliability.md.")
    parser.add_argument("--write", action="store_true", help="write the page")
    parser.add_argument("rows", nargs="?", type=pathlib.Path, default=ROOT / "build/reliability.jsonl", help="what the tests saw")
    args = parser.parse_args()
    page = PAGE.read_text()
    old, new = told(page), seen(args.rows)
    kept = {pair: row for pair, row in old.items() if (ROOT / row[1]).is_file()}
    if args.write:
        PAGE.write_text(render(page, kept | new))
        return 0
    faults = [f"{' × '.join(pair)}: {old[pair][1]} is no more" for pair in old.keys() - kept.keys()]
    for pair, row in sorted(new.items()):
        if pair not in old:
            faults.append(f"{' × '.join(pair)} is not in the page")
        elif old[pair] != row:
            faults.append(f"{' × '.join(pair)}: the page says \"{old[pair][0]}\", the tests saw \"{row[0]}\" ({row[1]})")
    for words in faults:
        print(f"{PAGE.name}: {words}; tools/reliability.py --write", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
