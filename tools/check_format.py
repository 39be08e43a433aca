#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""clang-format finds nothing to change."""
import shutil
import subprocess
import sys

from source import ROOT, c_files


def main():
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not program:
        print("clang-format is not installed")
        return 77
    files = [str(path.relative_to(ROOT)) for path in c_files("src", "bench", "images", "tests")]
    result = subprocess.run([program, "--dry-run", "--Werror", "--ferror-limit=1", *files], cwd=ROOT, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)
    bad = sorted({line.split(":")[0] for line in result.stderr.splitlines() if "[-Wclang-format-violations]" in line})
    if result.returncode and not bad:
        print(result.stderr)
        return 1
    print("\n".join(f"{p}: run clang-format -i" for p in bad) or "format: nothing to change")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
