# SPDX-License-Identifier: Apache-2.0
"""The API from outside: a server on loopback and Debian's kubectl.

GABBRO_API_SERVER chooses the server: "gateway" (the program itself, with its controllers and no host) or "door" (the front door
alone, src/api/api_testserver.c). GABBRO_KUBECTL names the kubectl.
"""
import json
import os
import pathlib
import queue
import select
import signal
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
BIN = pathlib.Path(os.environ.get("GABBRO_BIN", BUILD / "bin"))
KUBECTL = pathlib.Path(os.environ.get("GABBRO_KUBECTL", "/usr/bin/kubectl"))
DOOR = BUILD / "src/api/api_testserver"
GATEWAY = BIN / "gabbro-gateway"


def servers():
    return os.environ.get("GABBRO_API_SERVER", "gateway" if GATEWAY.exists() else "door").split(",")


def await_file(path, process, seconds=60):
    """The kubeconfig is written when the server listens."""
    end = time.monotonic() + seconds
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"the server did not start: {process.poll()}")
        select.select([], [], [], 0.02)


def start(kind, folder):
    log = open(folder / "server.log", "wb")
    if kind == "door":
        process = subprocess.Popen([DOOR, folder, "sqlite"], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        config = pathlib.Path(process.stdout.readline().decode().strip())
    else:
        process = subprocess.Popen([GATEWAY, "--data-dir", folder / "data", "--listen", "127.0.0.1:0", "--compat-api"], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL)
        config = folder / "data/admin.kubeconfig"
        await_file(config, process)
    return process, config


class Running:
    """A command that goes on, and its lines as they come."""

    def __init__(self, argv, env):
        self.process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def line(self, seconds=30):
        line = self.lines.get(timeout=seconds)
        assert line is not None, f"it ended: {self.process.wait()}"
        return line

    def poll(self):
        return self.process.poll()

    def wait(self, seconds=30):
        return self.process.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.reader.join()


class Kubectl:
    """kubectl against one server; every call has a cache of its own folder, so that nothing stale is seen."""

    def __init__(self, kind, config, folder):
        self.kind = kind
        self.config = config
        self.folder = folder
        self.env = dict(os.environ, HOME=str(folder), KUBECONFIG=str(config))

    def argv(self, *words):
        return [str(KUBECTL), *[str(word) for word in words]]

    def run(self, *words, stdin=None, check=True):
        result = subprocess.run(self.argv(*words), env=self.env, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                timeout=60)
        if check and result.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, words))}: {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def __call__(self, *words, stdin=None):
        return self.run(*words, stdin=stdin).stdout

    def fails(self, *words, stdin=None):
        result = self.run(*words, stdin=stdin, check=False)
        assert result.returncode != 0, f"kubectl {words} should have failed: {result.stdout}"
        return result.stderr

    def json(self, *words):
        return json.loads(self("get", *words, "-o", "json"))

    def popen(self, *words):
        return Running(self.argv(*words), self.env)


@pytest.fixture(scope="session", params=servers())
def server(request, tmp_path_factory):
    if not KUBECTL.exists():
        pytest.skip(f"no kubectl at {KUBECTL}: unpack Debian's package kubernetes-client and set GABBRO_KUBECTL")
    folder = tmp_path_factory.mktemp(request.param)
    process, config = start(request.param, folder)
    yield Kubectl(request.param, config, folder)
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        code = "did not end"
    assert code == 0, (folder / "server.log").read_text(errors="replace")[-4000:]


@pytest.fixture
def kubectl(server, request):
    """A namespace of its own for each test, so that tests do not see each other's objects."""
    chosen = "".join(f" {v}" for k, v in getattr(request.node, "callspec").params.items() if k != "server" and isinstance(v, str))
    text = request.node.originalname.lower()[:50 - min(len(chosen), 20)] + chosen.lower()[:20]
    name = "t-" + "".join(c if c.isalnum() else "-" for c in text).strip("-")
    server("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    config = server.folder / f"{name}.kubeconfig"
    config.write_bytes(server.config.read_bytes())
    config.chmod(0o600)
    scoped = Kubectl(server.kind, config, server.folder)
    scoped.namespace = name
    scoped("config", "set-context", "--current", f"--namespace={name}")
    yield scoped
    config.unlink()
