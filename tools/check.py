#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run every test that this machine can run and say the sum.

usage: check.py [--long] [--only NAME...]

Parts run one after the other; each adds to the sum. The last line is `N passed, N failed, N skipped`.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PYTHON = "/usr/bin/python3"
# 1.20, the kubectl of Debian 12; unpacked, never installed, so that another one in the path stays as it is.
KUBECTL = BUILD / "kubectl-1.20" / "usr/bin/kubectl"
# Folders of tests that take longest, and those whose load would disturb others.
LONGEST = ["e2e", "sweep", "vm"]
ALONE = {"limits", "storm", "torture"}
# How many files of black-box tests are run a second time, and how long that may take in all.
SECOND_LOOK_FILES = 6
SECOND_LOOK_S = 300


class Sum:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.reasons = []
        self.failures = []
        self.unsteady = []
        self.lock = threading.Lock()

    def add(self, name, outcome, words=""):
        with self.lock:
            self.count(name, outcome, words)

    def count(self, name, outcome, words):
        if outcome == "passed":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped += 1
            self.reasons.append(f"{name}: {words or 'this machine cannot run it'}")
        else:
            self.failed += 1
            self.failures.append(f"{name}: {words}")


def run(argv, **kwargs):
    print("--- " + " ".join(str(a) for a in argv), flush=True)
    return subprocess.run([str(a) for a in argv], cwd=ROOT, **kwargs).returncode


def add_junit(total, path, prefix, later=None):
    """Add the cases of a JUnit file; False when there is none. What failed goes to the list @later where there is one."""
    if not path.exists():
        return False
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{prefix} {case.get('classname') or ''} {case.get('name') or ''}".strip()
        bad = next((c for c in case if c.tag in ("failure", "error")), None)
        skip = next((c for c in case if c.tag == "skipped"), None)
        if bad is not None:
            words = (bad.get("message") or "").splitlines()[0][:200] if bad.get("message") else ""
            file = ROOT / ((case.get("classname") or "").replace(".", "/") + ".py")
            if later is not None and file.is_file():
                later.append((file, case.get("name"), words))
            else:
                total.add(name, "failed", words)
        elif skip is not None:
            total.add(name, "skipped", (skip.get("message") or "").split("\n")[0][:200])
        else:
            total.add(name, "passed")
    return True


def static_checks(total):
    for script in ("check_layers.py", "check_banned.py", "check_format.py", "check_headers.py", "check_python.py", "coverage.py"):
        argv = [PYTHON, ROOT / "tools" / script] + ([BUILD] if script == "check_headers.py" else [])
        code = run(argv)
        total.add(script, "passed" if code == 0 else "skipped" if code == 77 else "failed", f"exit code {code}")


def configure(build, *options, compiler=None):
    env = dict(os.environ)
    if compiler:
        env["CC"] = compiler
    if not (build / "build.ninja").exists():
        shutil.rmtree(build, ignore_errors=True)
        return run(["meson", "setup", build, *options], env=env, stdout=subprocess.DEVNULL)
    return 0


def build_with(total, name, build, *options, compiler=None, targets=()):
    code = configure(build, *options, compiler=compiler) or run(["ninja", "-C", build, *targets], stdout=subprocess.DEVNULL)
    if code:
        run(["ninja", "-C", build, *targets])
    total.add(f"build {name}", "passed" if code == 0 else "failed", f"exit code {code}")
    return code == 0


def meson_tests(total, build, name, *arguments):
    junit = build / "meson-logs/testlog.junit.xml"
    junit.unlink(missing_ok=True)
    code = run(["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", *arguments])
    if not add_junit(total, junit, name) and code:
        total.add(f"meson test {name}", "failed", f"exit code {code}")


def unpack_kubectl():
    if KUBECTL.exists():
        return
    folder = BUILD / "kubectl-1.20"
    folder.mkdir(parents=True, exist_ok=True)
    if run(["sh", "-c", "apt-get download -q kubernetes-client >/dev/null 2>&1"], ) == 0:
        for deb in ROOT.glob("kubernetes-client_*.deb"):
            run(["dpkg", "-x", deb, folder])
            deb.unlink()


def install_node_modules(source):
    """A client for Node, exactly as its lock file says, beside the build. Without it its tests say what they lack."""
    folder = BUILD / source.name
    files = ("package.json", "package-lock.json")
    same = all((folder / f).exists() and (folder / f).read_bytes() == (source / f).read_bytes() for f in files)
    if same and (folder / "node_modules/.package-lock.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for f in files:
        shutil.copy(source / f, folder)
    command = ["timeout", "300", "npm", "ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund"]
    if not shutil.which("npm") or run(command, stdin=subprocess.DEVNULL):
        shutil.rmtree(folder / "node_modules", ignore_errors=True)


def pytest(total, folder, timeout_s, files=(), name=None, later=None, **environment):
    name = name or folder.name
    junit = BUILD / f"pytest-{name}.xml"
    junit.unlink(missing_ok=True)
    env = dict(os.environ, GABBRO_BIN=str(BUILD / "bin"), GABBRO_BUILD=str(BUILD), GABBRO_KUBECTL=str(KUBECTL), **environment)
    argv = [PYTHON, "-m", "pytest", "-q", "-rs", "--junitxml", junit, *([folder / f for f in files] or [folder])]
    start = time.monotonic()
    with open(BUILD / f"pytest-{name}.log", "w+") as log:
        try:
            code = subprocess.run([str(a) for a in argv], cwd=ROOT, env=env, timeout=timeout_s, stdout=log, stderr=log).returncode
        except subprocess.TimeoutExpired:
            code = None
        log.seek(0)
        print(f"--- pytest {name} ({time.monotonic() - start:.0f} s)\n{log.read()}", flush=True)
    if code is None:
        total.add(f"pytest {name}", "failed", f"took more than {timeout_s} s")
        return
    if not add_junit(total, junit, "pytest" if name == folder.name else f"pytest {name}", later) and code not in (0, 5):
        total.add(f"pytest {name}", "failed", f"exit code {code}")


def black_box(total, timeout_s):
    """Every folder of tests/ that pytest runs: those that boot most guests one after the other, beside them the others, for they mostly wait; what
    loads the machine on purpose alone. A file in which something failed beside the others runs once more, alone."""
    later = []
    folders = {p.parent.name: p.parent for p in (ROOT / "tests").glob("*/conftest.py")}
    lanes = [[n for n in LONGEST if n in folders], sorted(folders.keys() - ALONE - set(LONGEST))]
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as threads:
        for done in [threads.submit(lambda names=names: [pytest(total, folders[n], timeout_s, later=None if n == "sweep" else later) for n in names])
                     for names in lanes]:
            done.result()
    for name in sorted(ALONE & folders.keys()):
        pytest(total, folders[name], timeout_s, later=later)
    second_look(total, later, time.monotonic() + SECOND_LOOK_S)


def second_look(total, later, end):
    """Two folders at once may be too much for a busy machine. What passes when its file has the machine for itself counts as passed and is told
    as unsteady: it has a fault, but not one that the last change brought. Where many files failed there is no second look."""
    files = sorted({file for file, _, _ in later})
    good = set()
    for file in files if len(files) <= SECOND_LOOK_FILES else []:
        if end - time.monotonic() > 30:
            again, bad = Sum(), []
            pytest(again, file.parent, end - time.monotonic(), (file.name,), f"{file.parent.name}-again", bad)
            names = {name for at, name, _ in later if at == file} if again.passed and not again.failed else set()
            good |= {(file, name) for name in names - {name for _, name, _ in bad}}
    for file, name, words in later:
        where = f"{file.relative_to(ROOT)}::{name}"
        if (file, name) in good:
            total.add(where, "passed")
            total.unsteady.append(f"{where}: {words}")
        else:
            total.add(where, "failed", words)


def reliability(total, write):
    """The table of doc/reliability.md against what the tests saw; a long run writes it."""
    code = run([PYTHON, ROOT / "tools/reliability.py", *(["--write"] if write else [])])
    total.add("reliability.py", "passed" if code == 0 else "failed", f"exit code {code}")


def main():
    parser = argparse.ArgumentParser(description="Run the tests.")
    parser.add_argument("--long", action="store_true", help="also what takes long")
    parser.add_argument("--only", nargs="*", help="parts: static unit sanitised clang vm black-box fuzz")
    args = parser.parse_args()
    if args.long:
        os.environ["GABBRO_LONG"] = "1"
    total = Sum()
    start = time.monotonic()

    def part(name):
        chosen = not args.only or name in args.only
        if chosen:
            print(f"=== {name} ({time.monotonic() - start:.0f} s)", flush=True)
        return chosen

    if not build_with(total, "gcc", BUILD, "-Dwerror=true"):
        print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
        return 1
    if part("static"):
        static_checks(total)
    if part("unit"):
        meson_tests(total, BUILD, "unit", "--suite", "unit")
    if part("sanitised"):
        asan = ROOT / "build-asan"
        if build_with(total, "asan", asan, "-Db_sanitize=address,undefined", "-Doptimization=1", "-Dwerror=true"):
            os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
            meson_tests(total, asan, "sanitised", "--suite", "unit", "--timeout-multiplier", "3")
            unpack_kubectl()
            pytest(total, ROOT / "tests/cli", 300, ("test_apply.py", "test_bad_input.py"), "cli-sanitised",
                   GABBRO_CLI=str(asan / "bin/gabbro"))
    if part("clang"):
        build_with(total, "clang", ROOT / "build-clang", "-Dwerror=true", compiler="clang")
    if part("vm"):
        meson_tests(total, BUILD, "vm", "--suite", "vm")
    if part("black-box"):
        unpack_kubectl()
        if run(["make", "--no-print-directory", "image"]) == 0:
            total.add("build images/tiny", "passed")
        else:
            total.add("build images/tiny", "failed")
        for lock in sorted((ROOT / "tests").glob("*/*/package-lock.json")):
            install_node_modules(lock.parent)
        for told in ("reliability.jsonl", "unsteady.log"):
            (BUILD / told).unlink(missing_ok=True)
        black_box(total, 9000 if args.long else 1800)
        reliability(total, args.long)
    if args.long and part("fuzz"):
        junit = BUILD / "fuzz.xml"
        junit.unlink(missing_ok=True)
        code = run([PYTHON, ROOT / "tools/fuzz.py", "--seconds", "60", "--junit", junit])
        if not add_junit(total, junit, "fuzz"):
            total.add("fuzz", "failed", f"exit code {code}")
    print(f"=== done ({time.monotonic() - start:.0f} s)")
    for words in total.reasons:
        print("skipped: " + words)
    told = BUILD / "unsteady.log"
    for words in total.unsteady + (told.read_text().splitlines() if told.exists() else []):
        print("unsteady, passed at the second time: " + words)
    for words in total.failures:
        print("FAILED: " + words)
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
