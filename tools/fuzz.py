#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run every libFuzzer target for some seconds over its corpus.

usage: fuzz.py [--seconds N] [--build DIR] [--junit FILE] [--only NAME...]

What is found new stays in DIR/corpus/NAME. --merge reduces the corpora of the tree to what covers different code.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests/fuzz/corpus"
CORPUS_BYTES = 1 << 20  # of all corpora in the tree
CORPUS_FOUND = 40  # files that one merge takes for a target


def build(folder):
    env = dict(os.environ, CC=os.environ.get("CC_FUZZ", "clang"))
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(folder), "-Dfuzz=true", "-Db_lundef=false"], cwd=ROOT, env=env, check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return {p.name.removeprefix("fuzz_").removesuffix("_libfuzzer"): p for p in sorted(folder.rglob("fuzz_*_libfuzzer")) if p.is_file()}


def fuzz(name, target, folder, seconds):
    """None, or the last words of a target that found something."""
    work = folder / "corpus" / name
    work.mkdir(parents=True, exist_ok=True)
    argv = [str(target), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", f"-artifact_prefix={work}/", str(work)]
    argv += [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
    result = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace", text=True)
    return None if result.returncode == 0 else "\n".join(result.stderr.splitlines()[-30:])


def merge(name, target, folder, most_bytes):
    """Take into the tree's corpus what is new and small; names that somebody chose stay."""
    seeds = CORPUS / name
    seeds.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as fresh:
        subprocess.run([str(target), "-merge=1", "-max_len=4096", fresh, str(seeds), str(folder / "corpus" / name)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        known = {p.read_bytes() for p in seeds.iterdir()}
        size = sum(len(k) for k in known)
        found = sorted((p for p in pathlib.Path(fresh).iterdir() if p.read_bytes() not in known), key=lambda p: p.stat().st_size)
        for path in found[::max(1, -(-len(found) // CORPUS_FOUND))]:  # of all sizes some
            size += path.stat().st_size
            if size <= most_bytes:
                shutil.copyfile(path, seeds / f"found-{path.name[:10]}")


def write_junit(path, outcomes):
    suite = ElementTree.Element("testsuite", name="fuzz")
    for name, (took, words) in outcomes.items():
        case = ElementTree.SubElement(suite, "testcase", classname="fuzz", name=name, time=f"{took:.1f}")
        if words is not None:
            ElementTree.SubElement(case, "failure", message=words.splitlines()[-1] if words else "found something").text = words
    ElementTree.ElementTree(suite).write(path)


def main():
    parser = argparse.ArgumentParser(description="Fuzz every parser for a while.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-fuzz")
    parser.add_argument("--junit", type=pathlib.Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--merge", action="store_true", help="afterwards take what is new into the tree's corpora")
    args = parser.parse_args()
    outcomes = {}
    targets = {n: t for n, t in build(args.build).items() if not args.only or n in args.only}
    if not targets:
        print("fuzz: there are no targets")
        return 1
    for name, target in targets.items():
        begun = time.monotonic()
        words = fuzz(name, target, args.build, args.seconds)
        outcomes[name] = (time.monotonic() - begun, words)
        print(f"{name}: {'ok' if words is None else 'FAILED'}", flush=True)
        if words is not None:
            print(words)
        elif args.merge:
            merge(name, target, args.build, CORPUS_BYTES // 32)
    failed = sum(words is not None for _, words in outcomes.values())
    if args.junit:
        write_junit(args.junit, outcomes)
    print(f"fuzz: {len(outcomes) - failed} of {len(outcomes)} targets found nothing")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
