# SPDX-License-Identifier: Apache-2.0
"""A gateway in the world, `gabbro` beside it, and requests as anybody may write them."""
import base64
import http.client
import json
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import time

from world import within

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
BIN = pathlib.Path(os.environ.get("GABBRO_BIN", BUILD / "bin"))
PROGRAM = BIN / "gabbro-gateway"
HASTY = BUILD / "tests/images/gabbro-gateway-hasty"
API = "/apis/gabbro.dev/v1"
# Never used: what a gateway is told of proxies by its environment is not its own.
PROXIES = {name: "http://10.9.9.9:80" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}


class Tunnel(http.client.HTTPSConnection):
    """A connection out of the gateway's name space."""

    def __init__(self, gateway):
        super().__init__("127.0.0.1", gateway.port, timeout=60, context=gateway.tls)
        self.space = gateway.world.inside.net

    def connect(self):
        plain = within(self.space, lambda: socket.create_connection((self.host, self.port), self.timeout))
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


class Gateway:
    def __init__(self, world, folder, program, options=(), env=None):
        self.world, self.folder, self.program, self.options, self.env = world, folder, program, options, env or {}
        self.data, self.log = folder / "data", folder / "gateway.log"
        self.kubeconfig = self.data / "admin.kubeconfig"
        self.port, self.serial = 0, 0
        self.begin()
        text = self.kubeconfig.read_text()
        self.token = re.search(r"token: (\S+)", text).group(1)
        self.tls = ssl.create_default_context(cadata=base64.b64decode(re.search(r"authority-data: (\S+)", text).group(1)).decode())

    def begin(self):
        said = self.log.stat().st_size if self.log.exists() else 0
        argv = self.world.inside.argv(self.program, "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}", *self.options)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **PROXIES, **self.env})
        end = time.monotonic() + 60
        while not (serving := re.search(r"serving url=https://127.0.0.1:(\d+)", self.log.read_text()[said:])):
            assert self.process.poll() is None and time.monotonic() < end, self.words()
            select.select([], [], [], 0.01)  # a log file tells nobody that it has grown
        self.port = int(serving.group(1))

    def words(self):
        return self.log.read_text(errors="replace")[-6000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert code in (0, -signal.SIGKILL), self.words()

    def peak(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text).group(1)) << 10

    # --- as a user

    def gabbro(self, *words, check=False, timeout=120):
        argv = self.world.inside.argv(BIN / "gabbro", "--kubeconfig", self.kubeconfig, *words)
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
                              env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)})
        assert not check or done.returncode == 0, done.stderr
        return done

    # --- as anybody

    def ask(self, method, path, body=None, **headers):
        """(status, document) of one request; a body that is bytes goes as it is."""
        connection = Tunnel(self)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
            connection.request(method, path, data, {"Authorization": f"Bearer {self.token}", "Content-Type": kind, **headers})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
        finally:
            connection.close()

    # --- images

    def name(self, word="i"):
        self.serial += 1
        return f"{word}-{self.serial}"

    def path(self, name, namespace=None):
        return f"{API}/namespaces/{namespace}/virtualimages/{name}" if namespace else f"{API}/clustervirtualimages/{name}"

    def create(self, source, namespace=None, name=None):
        """Ask for an image by raw HTTP; (status, document, name)."""
        name = name or self.name()
        body = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualImage" if namespace else "ClusterVirtualImage", "metadata": {"name": name},
                "spec": {"dataSource": source}}
        status, answer = self.ask("POST", self.path(name, namespace).rsplit("/", 1)[0], body)
        return status, answer, name

    def fetch(self, url, namespace=None, name=None, ca=None, sha256=None):
        """The same of a URL; its name."""
        http = {"url": url}
        if ca:
            http["caBundle"] = base64.b64encode(ca.encode()).decode()
        if sha256:
            http["checksum"] = {"sha256": sha256}
        status, answer, name = self.create({"type": "HTTP", "http": http}, namespace, name)
        assert status == 201, answer
        return name

    def image(self, name, namespace=None):
        status, answer = self.ask("GET", self.path(name, namespace))
        assert status == 200, answer
        return answer

    def settled(self, name, namespace=None, seconds=60):
        """The image once it is Ready or Failed."""
        end = time.monotonic() + seconds
        while True:
            found = self.image(name, namespace)
            if found.get("status", {}).get("phase") in ("Ready", "Failed"):
                return found
            assert time.monotonic() < end, found
            select.select([], [], [], 0.05)

    def fate(self, name, namespace=None, seconds=60):
        """("Ready", digest) or ("Failed", reason, message)."""
        status = self.settled(name, namespace, seconds)["status"]
        ingest = status["ingest"]
        if status["phase"] == "Ready":
            return "Ready", ingest["digest"]
        return "Failed", ingest["error"]["reason"], ingest["error"]["message"]

    def upload(self, content, namespace=None, **headers):
        """By raw HTTP: (status, document, name)."""
        status, answer, name = self.create({"type": "Upload"}, namespace)
        assert status == 201, answer
        end = time.monotonic() + 20
        while self.image(name, namespace).get("status", {}).get("phase") != "WaitForUserUpload":
            assert time.monotonic() < end
            select.select([], [], [], 0.02)
        return *self.ask("PUT", self.path(name, namespace) + "/upload", content, **headers), name

    def leftovers(self):
        """Files of half images."""
        return [f.name for f in (self.data / "blobs/intake").iterdir()]

    def nothing_left(self):
        """An answer comes before its half file has gone."""
        self.until("half files are gone", lambda: not self.leftovers())

    def blobs(self):
        return {f.name for f in (self.data / "blobs/sha256").iterdir()}

    def until(self, what, probe, seconds=30):
        """For states that offer no event."""
        end = time.monotonic() + seconds
        while not (value := probe()):
            assert time.monotonic() < end, f"{what}: not within {seconds} s"
            select.select([], [], [], 0.02)
        return value

    def project(self, quota=None):
        name = self.name("p")
        assert self.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})[0] == 201
        if quota:
            body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": quota}}
            assert self.ask("POST", f"/api/v1/namespaces/{name}/resourcequotas", body)[0] == 201
        return name
