#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write doc/reference/cli.md from what the programs themselves print.

usage: cli_manual.py [--check] GABBRO

--check writes nothing and fails when the page is not what GABBRO prints now.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parent.parent / "doc/reference/cli.md"
HEAD = """\
# The command line

Written by `tools/cli_manual.py` from the help of `gabbro`; run it again when that changes (`make check` compares).
"""


def help_of(program, *words):
    env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "KUBECONFIG": "/nonexistent"}
    text = subprocess.run([program, *words, "--help"], env=env, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL).stdout
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


def manual(program):
    overview = help_of(program)
    verbs = re.findall(r"^  ([a-z-]+) ", overview.split("Options of every verb")[0], re.M)
    parts = [HEAD, f"```\n{overview}\n```\n"]
    for verb in verbs:
        parts.append(f"## gabbro {verb}\n\n```\n{help_of(program, verb)}\n```\n")
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description="Write the manual of the command line.")
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("gabbro", help="the program")
    args = parser.parse_args()
    text = manual(args.gabbro)
    if not args.check:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print(f"{PAGE.name} is not what gabbro prints; run tools/cli_manual.py {args.gabbro}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
