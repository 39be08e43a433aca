# SPDX-License-Identifier: Apache-2.0
"""A whole cloud on one emulated hypervisor host, as `make demo` starts it: what the black-box tests of several folders share."""
import contextlib
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
        self.began = {}  # how much of its log was written before a daemon began for the last time
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
        """By the own command line, which takes a fifth of kubectl's time: tests ask hundreds of times."""
        return json.loads(self.gabbro("get", *words, "-o", "json").stdout)

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

    def libvirtd(self, order):
        """start stop kill freeze thaw"""
        subprocess.run([str(HOST), "libvirtd", str(self.host), order], check=True, stdin=subprocess.DEVNULL)

    def gateway_serves(self):
        """After a start of the gateway: until it answers, so that no request meets a closed port."""
        self.eventually("the gateway serves", lambda: self.kubectl("get", "ns", "default", check=False).returncode == 0)

    def logs(self):
        parts = []
        for log in sorted((self.demo / "log").glob("*.log")):
            parts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(parts)


class Daemon:
    """A daemon of the demo ("gateway" or "agent"), ended and begun again with the same command line."""

    def __init__(self, cloud, name):
        self.cloud, self.name = cloud, name
        self.pid_file = cloud.demo / f"run/{name}.pid"
        self.log = cloud.demo / f"log/{name}.log"
        self.argv = cloud.run("cat", f"/proc/{self.pid()}/cmdline").stdout.split("\0")[:-1]

    def pid(self):
        """Its pid inside the host."""
        return int(self.pid_file.read_text().split()[0])

    def end(self, signal="KILL"):
        script = f"kill -{signal} {self.pid()} 2>/dev/null; while kill -0 {self.pid()} 2>/dev/null; do :; done"
        self.cloud.run("bash", "-c", script)

    def begin(self, program=None, **env):
        """@program stands in for the ordinary one; @env is added to its environment."""
        argv = [str(program or self.argv[0]), *self.argv[1:]]
        self.cloud.began[self.name] = self.log.stat().st_size
        script = (f'setsid env "$@" </dev/null >>{self.log} 2>&1 & '
                  f"echo $! $(sed 's/.*) //' /proc/$!/stat | cut -d' ' -f20) >{self.pid_file}")
        self.cloud.run("bash", "-c", script, "daemon", *[f"{k}={v}" for k, v in env.items()], *argv)

    def again(self, signal="KILL"):
        self.end(signal)
        self.begin()


@contextlib.contextmanager
def one_host_cloud(prefix, *host_options):
    """A host with the demo's cloud on it; nothing of it is left afterwards, whatever happens."""
    check = subprocess.run([str(HOST), "check"], stderr=subprocess.PIPE, text=True)
    if check.returncode == 77:
        pytest.skip(check.stderr.strip())
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix + ".", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Cloud(folder)
    up = [str(HOST), "up", str(made.host), "--cache", "/var/tmp/gabbro-qemu-cache", *host_options]
    subprocess.run(up, check=True, env=made.env, stdin=subprocess.DEVNULL)
    try:
        result = made.run("/usr/bin/python3", ROOT / "tools/demo.py", "up", check=False, timeout=600)
        made.demo_output = result.stdout
        if result.returncode:
            pytest.fail(f"make demo failed:\n{result.stdout}\n{result.stderr}\n{made.logs()}")
        yield made
    finally:
        subprocess.run([str(HOST), "down", str(made.host)], env=made.env, stdin=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
