#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Install the Debian packages of tools/packages.txt that are missing.

usage: deps.py [--check] GROUP...
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys

LIST = pathlib.Path(__file__).resolve().parent / "packages.txt"


def wanted(groups):
    for line in LIST.read_text().splitlines():
        words = line.split()
        if not words or line.startswith("#") or words[1] not in groups:
            continue
        if len(words) > 2 and words[2].startswith("unless=") and shutil.which(words[2].removeprefix("unless=")):
            continue
        yield words[0]


def missing(names):
    names = list(names)
    result = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    installed = {line.split()[0] for line in result.stdout.splitlines() if line.endswith(" installed")}
    return [n for n in names if n not in installed]


def main():
    parser = argparse.ArgumentParser(description="Install missing Debian packages.")
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument("groups", nargs="+")
    args = parser.parse_args()
    if not pathlib.Path("/usr/bin/dpkg-query").exists():
        sys.exit("This is no Debian system. Install the equivalents of tools/packages.txt yourself.")
    lacking = missing(wanted(set(args.groups)))
    if not lacking:
        return
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *lacking]
    if args.check or os.geteuid() != 0:
        print("missing packages: " + " ".join(lacking))
        sys.exit("install them as root: apt-get update && " + " ".join(command))
    print("installing " + " ".join(lacking), flush=True)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    with open("/var/log/gabbro-deps.log", "ab") as log:
        for attempt in (["apt-get", "update", "-q"], command):
            if subprocess.run(attempt, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode:
                sys.exit("failed: " + " ".join(attempt) + "\n(see /var/log/gabbro-deps.log)")
    still = missing(lacking)
    if still:
        sys.exit("still missing: " + " ".join(still))


if __name__ == "__main__":
    main()
