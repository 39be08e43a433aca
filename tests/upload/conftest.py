# SPDX-License-Identifier: Apache-2.0
"""Uploads in pieces (tus 1.0) to a real gateway on loopback that can be killed at any byte. B29, B30, B34."""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lab"))
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
BIN = pathlib.Path(os.environ.get("GABBRO_BIN", BUILD / "bin"))
LONG = os.environ.get("GABBRO_LONG") == "1"
collect_ignore = [] if LONG else ["test_large.py"]

API = "/apis/gabbro.dev/v1"
BYTES = "application/offset+octet-stream"


def image_bytes(size, seed=1):
    """A raw image that no file system knows: nothing of it compresses or repeats."""
    return hashlib.shake_256(seed.to_bytes(8, "big")).digest(size)


class Answer:
    def __init__(self, answer):
        self.status = answer.status
        self.headers = answer.headers
        self.text = answer.read()
        assert answer.headers["Tus-Resumable"] == "1.0.0" or answer.status in (400, 401, 404, 408) or not answer.tus

    @property
    def offset(self):
        return int(self.headers["Upload-Offset"])

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.text[:500]}"


class Gateway:
    """A gateway without hosts that can be begun again on its data and its port."""

    def __init__(self, folder, prefix=(), data=None, outside=None):
        self.folder = folder
        self.prefix = list(prefix)
        self.data = data or folder / "data"
        self.outside = outside or self.data  # where this process sees it
        self.config = self.outside / "admin.kubeconfig"
        self.port = 0
        self.process = None

    def begin(self):
        self.log = open(self.folder / "gateway.log", "ab")
        self.process = subprocess.Popen([*self.prefix, BIN / "gabbro-gateway", "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}"],
                                        stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not self.config.exists() or "token: " not in self.config.read_text():
            assert self.process.poll() is None and time.monotonic() < end, self.words()
            select.select([], [], [], 0.02)
        text = self.config.read_text()
        self.port = int(re.search(r"server: https://127.0.0.1:(\d+)", text).group(1))
        self.token = re.search(r"token: (\S+)", text).group(1)
        self.ca = base64.b64decode(re.search(r"certificate-authority-data: (\S+)", text).group(1)).decode()
        self.tls = ssl.create_default_context(cadata=self.ca)
        self.await_answer()
        return self

    def words(self):
        return (self.folder / "gateway.log").read_text(errors="replace")[-4000:]

    def await_answer(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if self.ask("GET", "/readyz").status == 200:
                    return
            except OSError:
                assert self.process.poll() is None, self.words()
                select.select([], [], [], 0.02)
        raise AssertionError("the gateway does not answer")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.begin()

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0, self.words()

    def resident(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) << 10

    # --- requests

    def connect(self, timeout=60):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=timeout)

    def send(self, method, path, body=None, headers=(), tus=False, connection=None):
        own = connection or self.connect()
        try:
            own.request(method, path, body, dict(headers))
            answer = own.getresponse()
            answer.tus = tus
            return Answer(answer)
        finally:
            if not connection:
                own.close()

    def ask(self, method, path, body=None, token=None):
        return self.send(method, path, json.dumps(body) if body is not None else None,
                         {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"})

    def tus(self, method, path, body=None, connection=None, **headers):
        """headers: Upload_Offset=5 is Upload-Offset: 5; None leaves one out."""
        named = {"Tus-Resumable": "1.0.0"} | {name.replace("_", "-"): str(value) for name, value in headers.items()}
        named = {name: value for name, value in named.items() if value != "None"}
        return self.send(method, path, body, named, tus=True, connection=connection)

    # --- images

    def path(self, name, plural="virtualimages", project="default"):
        return f"{API}/{'' if plural.startswith('cluster') else f'namespaces/{project}/'}{plural}" + (f"/{name}" if name else "")

    def image(self, name, plural="virtualimages", project="default"):
        kind = {"virtualimages": "VirtualImage", "clustervirtualimages": "ClusterVirtualImage", "virtualdisks": "VirtualDisk"}[plural]
        answer = self.ask("POST", self.path("", plural, project),
                          {"apiVersion": "gabbro.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": {"dataSource": {"type": "Upload"}}})
        assert answer.status == 201, answer
        return self.path(name, plural, project)

    def status(self, path):
        return self.ask("GET", path).json.get("status", {})

    def grant(self, path, size, token=None, **query):
        words = "&".join(f"{name}={value}" for name, value in {"size": size, **query}.items())
        return self.ask("GET", f"{path}/upload?{words}", token=token)

    def url(self, path, size, **query):
        answer = self.grant(path, size, **query)
        assert answer.status == 200, answer
        return answer.json["path"]

    def create(self, path, size, **query):
        """The path of a new upload."""
        answer = self.tus("POST", self.url(path, size, **query), Upload_Length=size)
        assert answer.status == 201, answer
        return answer.headers["Location"]

    def head(self, upload):
        return self.tus("HEAD", upload)

    def patch(self, upload, offset, data, connection=None, **headers):
        return self.tus("PATCH", upload, data, Upload_Offset=offset, Content_Type=BYTES, connection=connection, **headers)

    def begin_patch(self, upload, offset, length, data=b"", **headers):
        """A PATCH of which @data is sent so far."""
        connection = self.connect()
        connection.putrequest("PATCH", upload)
        for name, value in {"Tus-Resumable": "1.0.0", "Upload-Offset": offset, "Content-Type": BYTES, "Content-Length": length, **headers}.items():
            connection.putheader(name, str(value))
        connection.endheaders()
        if data:
            connection.send(data)
        return connection

    def settled(self, upload, until=lambda offset: True, seconds=30):
        """The offset, as soon as nothing works on the upload and it pleases @until."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = self.head(upload)
            if answer.status == 200 and until(answer.offset):
                return answer.offset
            assert answer.status in (200, 423), answer
            select.select([], [], [], 0.02)
        raise AssertionError(f"it does not settle: {answer}")

    def await_phase(self, path, phase, seconds=30):
        end = time.monotonic() + seconds
        while (status := self.status(path)).get("phase") != phase:
            assert time.monotonic() < end, status
            select.select([], [], [], 0.05)
        return status

    def uploads(self):
        folder = self.outside / "blobs/uploads"
        return sorted(path.name for path in folder.iterdir())

    def await_uploads(self, expected, seconds=20):
        end = time.monotonic() + seconds
        while (seen := self.uploads()) != expected:
            assert time.monotonic() < end, seen
            select.select([], [], [], 0.02)

    def blobs(self):
        return sorted(path.name for path in (self.outside / "blobs/sha256").iterdir())

    def gabbro(self, *words, **kwargs):
        return subprocess.Popen([BIN / "gabbro", *map(str, words)], env=dict(os.environ, KUBECONFIG=str(self.config)), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


class Wire:
    """A way to the gateway that lets @bytes through in all, slowly, and then breaks; or for ever, when it is mended."""

    def __init__(self, port, limit=None, rate=40 << 20):
        self.port = port
        self.limit = limit
        self.rate = rate
        self.passed = 0
        self.open = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.limit is not None and self.passed >= self.limit:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                near.close()
                continue
            self.open += [near, far]
            threading.Thread(target=self.carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, False), daemon=True).start()

    def carry(self, source, sink, counted):
        try:
            while data := source.recv(65536):
                if counted:
                    self.passed += len(data)
                    if self.limit is not None and self.passed >= self.limit:
                        break
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)  # wakes the other thread
                end.close()
            except OSError:
                pass

    def end(self):
        self.listener.close()


@pytest.fixture(scope="session")
def first_start(tmp_path_factory):
    """The data folder of a gateway that has made its keys."""
    made = Gateway(tmp_path_factory.mktemp("first")).begin()
    made.end()
    return made.data


def begin_on_copy(first_start, gateway):
    """A new gateway need not make keys again."""
    shutil.copytree(first_start, gateway.outside)
    with socket.create_server(("127.0.0.1", 0)) as free:
        gateway.port = free.getsockname()[1]
    gateway.config.write_text(re.sub(r"(server: https://127.0.0.1):\d+", rf"\1:{gateway.port}", gateway.config.read_text()))
    return gateway.begin()


@pytest.fixture(scope="module")
def gateway(first_start, tmp_path_factory):
    made = begin_on_copy(first_start, Gateway(tmp_path_factory.mktemp("gateway")))
    yield made
    made.end()


@pytest.fixture
def fresh(first_start, tmp_path):
    """A gateway of one's own, to be killed."""
    made = begin_on_copy(first_start, Gateway(tmp_path))
    yield made
    made.end()


@pytest.fixture
def wire():
    """wire(gateway, limit=, rate=)"""
    made = []

    def new(gateway, **options):
        made.append(Wire(gateway.port, **options))
        return made[-1]

    yield new
    for one in made:
        one.end()


@pytest.fixture
def name(request):
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50].strip("-")


@pytest.fixture
def image(gateway, name):
    return gateway.image(name)
