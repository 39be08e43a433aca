#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run every libFuzzer target for some seconds over its corpus. usage: fuzz.py [--seconds N] [--build DIR]"""
import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description="Fuzz every parser for a while.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-fuzz")
    args = parser.parse_args()
    if not (args.build / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(args.build), "-Dfuzz=true", "-Db_lundef=false"], cwd=ROOT, env={"CC": "clang", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
                       check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(args.build)], check=True, stdout=subprocess.DEVNULL)
    failed = []
    targets = sorted(p for p in args.build.rglob("fuzz_*_libfuzzer") if p.is_file())
    for target in targets:
        work = args.build / "corpus" / target.name
        work.mkdir(parents=True, exist_ok=True)
        seeds = ROOT / "tests/fuzz/corpus" / target.name.removeprefix("fuzz_").removesuffix("_libfuzzer")
        argv = [str(target), f"-max_total_time={args.seconds}", "-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={work}/", str(work)]
        argv += [str(seeds)] if seeds.is_dir() else []
        result = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        print(f"{target.name}: {'ok' if result.returncode == 0 else 'FAILED'}", flush=True)
        if result.returncode:
            failed.append(target.name)
            print("\n".join(result.stderr.splitlines()[-30:]))
    print(f"fuzz: {len(targets) - len(failed)} of {len(targets)} targets found nothing")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
