# SPDX-License-Identifier: Apache-2.0
"""One emulated hypervisor host with a whole cloud on it, as `make demo` starts it, for all tests of this folder."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
BIN = pathlib.Path(os.environ.get("GABBRO_BIN", BUILD / "bin"))
KUBECTL = os.environ.get("GABBRO_KUBECTL", "/usr/bin/kubectl")
HOST = ROOT / "tests/lab/host.sh"


class Cloud:
    """Commands inside the host; paths are the same inside and outside."""

    def __init__(self, folder):
        self.folder = folder
        self.host = folder / "h"
        self.demo = folder / "demo"
        self.kubeconfig = self.demo / "gateway/admin.kubeconfig"
        self.env = dict(os.environ, GABBRO_DEMO_DIR=str(self.demo), GABBRO_BIN=str(BIN), GABBRO_BUILD=str(BUILD), HOME=str(folder))

    def argv(self, *argv):
        return [str(HOST), "enter", str(self.host), *[str(a) for a in argv]]

    def run(self, *argv, check=True, timeout=120, **kwargs):
        result = subprocess.run(self.argv(*argv), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
                                **({"stdin": subprocess.DEVNULL} | kwargs if "input" not in kwargs else kwargs))
        if check and result.returncode:
            raise AssertionError(f"{' '.join(map(str, argv))}: {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def gabbro(self, *argv, **kwargs):
        return self.run(BIN / "gabbro", "--kubeconfig", self.kubeconfig, *argv, **kwargs)

    def kubectl(self, *argv, **kwargs):
        return self.run(KUBECTL, "--kubeconfig", self.kubeconfig, *argv, **kwargs)

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def vm(self, name):
        return self.get("vm", name)

    def virsh(self, *words, **kwargs):
        return self.run("virsh", "-q", *words, **kwargs).stdout

    def domstate(self, name):
        domain = self.get("instances.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={name}")["items"][0]["status"]["domainName"]
        return self.virsh("domstate", domain).strip()

    def wait(self, kind, name, condition, timeout=120):
        self.gabbro("wait", kind, name, "--for", condition, "--timeout", str(timeout), timeout=timeout + 30)

    def eventually(self, what, probe, timeout=60):
        """For states of the host that offer no event to a shell."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = probe()
            if value:
                return value
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {timeout} s")

    def logs(self):
        parts = []
        for log in sorted((self.demo / "log").glob("*.log")):
            parts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(parts)


@pytest.fixture(scope="session")
def cloud():
    check = subprocess.run([str(HOST), "check"], stderr=subprocess.PIPE, text=True)
    if check.returncode == 77:
        pytest.skip(check.stderr.strip())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gabbro-e2e.", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Cloud(folder)
    subprocess.run([str(HOST), "up", str(made.host), "--cache", "/var/tmp/gabbro-qemu-cache"], check=True, env=made.env, stdin=subprocess.DEVNULL)
    try:
        result = made.run("/usr/bin/python3", ROOT / "tools/demo.py", "up", check=False, timeout=600)
        made.demo_output = result.stdout
        if result.returncode:
            pytest.fail(f"make demo failed:\n{result.stdout}\n{result.stderr}\n{made.logs()}")
        yield made
    finally:
        subprocess.run([str(HOST), "down", str(made.host)], env=made.env, stdin=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def tell_logs(request, cloud):
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(cloud.logs())
