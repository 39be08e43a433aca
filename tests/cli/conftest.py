# SPDX-License-Identifier: Apache-2.0
"""A gateway on loopback without any host, and `gabbro` as a user types it."""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("GABBRO_BIN", ROOT / "build/bin"))
CLI = pathlib.Path(os.environ.get("GABBRO_CLI", BIN / "gabbro"))  # perhaps another build than the gateway's
KUBECTL = os.environ.get("GABBRO_KUBECTL") or shutil.which("kubectl") or ""
OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE, TIMEOUT = range(6)


class Gateway:
    def __init__(self, folder, *options):
        self.folder, self.options = folder, options
        self.kubeconfig = folder / "data/admin.kubeconfig"
        self.log = []
        self.start("127.0.0.1:0")

    def start(self, listen):
        self.serving = threading.Event()
        self.process = subprocess.Popen([str(BIN / "gabbro-gateway"), "--data-dir", str(self.folder / "data"), "--listen", listen,
                                         "--compat-api", *self.options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def restart(self):
        listen = re.search("server: https://(.*)", self.kubeconfig.read_text()).group(1)
        self.stop()
        self.start(listen)
        assert self.serving.wait(60) and self.process.poll() is None, "".join(self.log)

    def read(self):
        for line in self.process.stderr:
            self.log.append(line)
            if "serving" in line:
                self.serving.set()
        self.serving.set()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        return self.process.returncode



class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def rows(self):
        """Cells of a table without its header."""
        return [line.split() for line in self.lines[1:]]

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"{' '.join(map(str, self.argv))}\n= {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


class User:
    """Somebody at a shell, in one project."""

    def __init__(self, gateway, folder, project=None):
        self.gateway, self.folder, self.project = gateway, folder, project
        self.env = {"PATH": f"{CLI.parent}:{BIN}:/usr/bin:/bin", "HOME": str(folder), "KUBECONFIG": str(gateway.kubeconfig), "LC_ALL": "C.UTF-8",
                    "TERM": "xterm"}

    def argv(self, words):
        where = ["-n", self.project] if self.project and "-A" not in words else []
        return [str(CLI), *[str(w) for w in words], *where]

    def run(self, argv, code=None, env=None, timeout=30, **kwargs):
        if "input" not in kwargs:
            kwargs["stdin"] = subprocess.DEVNULL
        done = subprocess.run(argv, env={**self.env, **(env or {})}, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, text=True, **kwargs)
        result = Result(argv, done.returncode, done.stdout, done.stderr)
        assert code is None or done.returncode == code, result
        return result

    def gabbro(self, *words, code=OK, **kwargs):
        """Run it; another exit code than @code (None: any) is a failure."""
        return self.run(self.argv(words), code, **kwargs)

    def kubectl(self, *words, code=0, **kwargs):
        if not KUBECTL:
            pytest.skip("no kubectl")
        where = ["-n", self.project] if self.project else []
        return self.run([KUBECTL, *[str(w) for w in words], *where], code, **kwargs)

    def apply(self, *manifests, code=OK, more=()):
        text = "\n---\n".join(m if isinstance(m, str) else json.dumps(m) for m in manifests)
        return self.gabbro("apply", "-f", "-", *more, input=text, code=code)

    def get(self, *words):
        return self.gabbro("get", *words, "-o", "json").json

    def follow(self, *words):
        return Following(self, words)

    def on_terminal(self, *words, env=None, typed=None, prompt=None):
        """Run it with a terminal for all three; what came, and the exit code."""
        master, slave = pty.openpty()
        process = subprocess.Popen(self.argv(words), env={**self.env, **(env or {})}, cwd=self.folder, stdin=slave, stdout=slave,
                                   stderr=slave, start_new_session=True)
        os.close(slave)
        text, end = b"", time.monotonic() + 30
        while select.select([master], [], [], max(0, end - time.monotonic()))[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:
                piece = b""
            if not piece:
                break
            text += piece
            if typed and prompt.encode() in text:
                os.write(master, typed.encode())
                typed = None
        os.close(master)
        try:
            return Result(words, process.wait(10), text.decode().replace("\r\n", "\n"), "")
        except subprocess.TimeoutExpired:
            process.kill()
            raise


class Following:
    """A command that does not end by itself; both its outputs."""

    def __init__(self, user, words):
        self.process = subprocess.Popen(user.argv(words), env=user.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.text = b""

    def until(self, words, timeout=10, count=1):
        end = time.monotonic() + timeout
        while self.text.count(words.encode()) < count:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"{words!r} did not come:\n{self.text.decode()}")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise AssertionError(f"ended without {words!r}:\n{self.text.decode()}")
            self.text += piece
        return self.text.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def start_gateway(folder, *options):
    gateway = Gateway(folder, *options)
    ready = gateway.serving.wait(60) and gateway.process.poll() is None
    if ready:
        # /readyz answers for all that ran before: the store, the first objects, the controllers.
        done = User(gateway, folder).gabbro("version", code=None)
        ready = done.code == OK and gateway.kubeconfig.exists()
    if not ready:
        gateway.stop()
        raise AssertionError("the gateway does not serve:\n" + "".join(gateway.log))
    return gateway


@pytest.fixture(scope="session")
def new_gateway():
    """A function that starts one more gateway."""
    made = []

    def start(*options):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="gabbro-cli."))
        try:
            gateway = start_gateway(folder, *options)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        made.append(gateway)
        return gateway

    yield start
    for gateway in made:
        gateway.stop()
        shutil.rmtree(gateway.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def gateway(new_gateway):
    return new_gateway("--allow-private-downloads")


@pytest.fixture(scope="session")
def projects():
    return iter(range(1, 1000000))


@pytest.fixture
def admin(gateway, tmp_path):
    """Without a project of their own: cluster-wide objects."""
    return User(gateway, tmp_path)


@pytest.fixture
def user(gateway, tmp_path, projects):
    made = User(gateway, tmp_path, f"p-{next(projects)}")
    User(gateway, tmp_path).apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.project}})
    return made


@pytest.fixture(autouse=True)
def tell_log(request):
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed and "gateway" in request.fixturenames:
        print("".join(request.getfixturevalue("gateway").log[-40:]))


# --- manifests


def machine(name, disk=None, labels=None, annotations=None, group="gabbro.dev/v1", **spec):
    meta = {"name": name}
    if labels:
        meta["labels"] = labels
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": group, "kind": "VirtualMachine", "metadata": meta,
            "spec": {"virtualMachineClassName": "generic", "runPolicy": "Manual", "cpu": {"cores": 1, "coreFraction": "20%"},
                     "memory": {"size": "128Mi"}, "blockDeviceRefs": [{"kind": "VirtualDisk", "name": disk or f"{name}-root"}], **spec}}


def disk(name, size="16Mi", **meta):
    return {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name, **meta},
            "spec": {"persistentVolumeClaim": {"size": size}}}


def config_map(name, data, **meta):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}, "data": data}
