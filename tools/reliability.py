#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the tables in doc/reliability.md, doc/security.md and doc/migration.md with what the tests saw, or write them.

usage: reliability.py [--write] [ROWS]

ROWS (build/reliability.jsonl) holds the rows that tests told by tests/lab/reliability.py. A pair of fault and operation, of attack
and what was tried, or of victim and moment, that was not seen in ROWS keeps its row: no run has to hold every part. Without --write the pages stay as they
are, and a pair or an outcome that they do not have, or a test file that is no more, is a failure.
"""
import argparse
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = {"reliability": "| fault | operation | outcome | seen by |", "security": "| attack | what is tried | result | seen by |",
         "migration": "| killed | when | outcome | seen by |"}
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
LINE = "|---|---|---|---|"


def seen(path, name):
    rows = {}
    if path.exists():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if row["page"] == name:
                rows[row["fault"], row["operation"]] = (row["outcome"], row["test"])
    return rows


def told(page, head):
    table = page.split(BEGIN)[1].split(END)[0]
    rows = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and line not in (head, LINE):
            rows[cells[0], cells[1]] = (cells[2], cells[3].strip("`"))
    return rows


def by_number(item):
    """Attack 9 stands before attack 10."""
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", item[0][0])], item[0][1]


def render(page, head, rows):
    lines = [head, LINE]
    lines += [f"| {first} | {second} | {words} | `{test}` |" for (first, second), (words, test) in sorted(rows.items(), key=by_number)]
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1]


# A short run takes other places each time: the long one, which takes all, writes its rows.
SAMPLED = "tests/sweep/test_sweep.py"


def check(name, head, path, write):
    """Return: what is wrong with a page."""
    page = ROOT / f"doc/{name}.md"
    text = page.read_text()
    old, new = told(text, head), seen(path, name)
    kept = {pair: row for pair, row in old.items() if (ROOT / row[1]).is_file()}
    if write:
        page.write_text(render(text, head, kept | new))
        return []
    faults = [f"{' × '.join(pair)}: {old[pair][1]} is no more" for pair in old.keys() - kept.keys()]
    for pair, row in sorted(new.items()):
        if pair not in old and row[1] == SAMPLED:
            print(f"{page.name}: {' × '.join(pair)}: seen by chance, to be written by the next long run")
        elif pair not in old:
            faults.append(f"{' × '.join(pair)} is not in the page")
        elif old[pair] != row:
            faults.append(f"{' × '.join(pair)}: the page says \"{old[pair][0]}\", the tests saw \"{row[0]}\" ({row[1]})")
    return [f"{page.name}: {words}; tools/reliability.py --write" for words in faults]


def main():
    parser = argparse.ArgumentParser(description="Keep the tables in doc/reliability.md, doc/security.md and doc/migration.md.")
    parser.add_argument("--write", action="store_true", help="write the pages")
    parser.add_argument("rows", nargs="?", type=pathlib.Path, default=ROOT / "build/reliability.jsonl", help="what the tests saw")
    args = parser.parse_args()
    faults = [words for name, head in PAGES.items() for words in check(name, head, args.rows, args.write)]
    for words in faults:
        print(words, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
