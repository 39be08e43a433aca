# SPDX-License-Identifier: Apache-2.0
"""Callbacks from outside: a gateway without hosts, and endpoints on loopback that keep what they are told."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import select
import signal
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
BIN = pathlib.Path(os.environ.get("GABBRO_BIN", BUILD / "bin"))
GATEWAY, FAULTY = BIN / "gabbro-gateway", BUILD / "tests/fault/gabbro-gateway-faulty"
APIS = "/apis/gabbro.dev/v1/namespaces"


def until(what, seconds=30, pause=0.02):
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, "it does not come to pass"
        select.select([], [], [], pause)


class Gateway:
    """A gateway that can be killed and begun again on its data and its port."""

    def __init__(self, folder, *options):
        self.folder, self.options, self.port, self.process = folder, options, 0, None
        self.prefix, self.data = [], folder / "data"  # of its command; and the folder as it sees it
        self.config = self.data / "admin.kubeconfig"

    def begin(self, fault=None):
        with open(self.folder / "gateway.log", "ab") as log:
            argv = [*self.prefix, FAULTY if fault else GATEWAY, "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}", *self.options]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(os.environ, GABBRO_FAULT=fault or ""))
        until(lambda: self.ended() or (self.config.exists() and "token: " in self.config.read_text()), 60)
        text = self.config.read_text()
        self.port = int(re.search(r"server: https://[^:]+:(\d+)", text).group(1))
        self.token = re.search(r"token: (\S+)", text).group(1)
        until(lambda: self.ended() or self.answers(), 60)
        return self

    def ended(self):
        return self.process.poll() is not None

    def answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/readyz")[0] == 200
        return False

    def log(self):
        return (self.folder / "gateway.log").read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def end(self):
        if self.process and not self.ended():
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0, self.log()[-4000:]

    def ask(self, method, path, body=None, token=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl._create_unverified_context(), timeout=30)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        kind = {"PATCH": "application/merge-patch+json"}.get(method, "application/json")
        try:
            connection.request(method, path, data, {"Authorization": f"Bearer {token or self.token}", "Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] == b"{" else text
        finally:
            connection.close()

    def gabbro(self, *words, code=0):
        done = subprocess.run([BIN / "gabbro", *words], env=dict(os.environ, KUBECONFIG=str(self.config)), text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        assert done.returncode == code, done
        return done.stdout


class Project:
    """A namespace of one test."""

    def __init__(self, gateway, name, image):
        self.gateway, self.name, self.bytes = gateway, name, image
        gateway.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def path(self, plural, *rest):
        return "/".join((f"{APIS}/{self.name}/{plural}", *rest))

    def callback(self, name, url, **spec):
        body = {"metadata": {"name": name}, "spec": {"url": url, **spec}}
        status, answer = self.gateway.ask("POST", self.path("callbacks"), body)
        assert status == 201, answer
        return answer

    def image(self, name):
        body = {"metadata": {"name": name}, "spec": {"dataSource": {"type": "Upload"}}}
        status, answer = self.gateway.ask("POST", self.path("virtualimages"), body)
        assert status == 201, answer
        return answer["metadata"]["uid"]

    def phase(self, name):
        return self.gateway.ask("GET", self.path("virtualimages", name))[1].get("status", {}).get("phase")

    def upload(self, name, good=True):
        until(lambda: self.phase(name) == "WaitForUserUpload")
        return self.gateway.ask("PUT", self.path("virtualimages", name, "upload") + ("" if good else "?sha256=" + "0" * 64), self.bytes)

    def ready_image(self, name):
        uid = self.image(name)
        status, answer = self.upload(name)
        assert status == 200, answer
        until(lambda: self.phase(name) == "Ready")
        return uid

    def delete(self, plural, name):
        return self.gateway.ask("DELETE", self.path(plural, name))

    def deliveries(self, callback=None):
        items = self.gateway.ask("GET", self.path("callbackdeliveries"))[1]["items"]
        return [i for i in items if not callback or i["spec"]["callback"]["name"] == callback]

    def status(self, callback):
        return self.gateway.ask("GET", self.path("callbacks", callback))[1].get("status", {})

    def condition(self, callback):
        found = [c for c in self.status(callback).get("conditions", []) if c["type"] == "Delivering"]
        return (found[0]["status"], found[0]["reason"]) if found else None


class Endpoint:
    """Keeps every request. What it answers is chosen by path: a status, or a function of the handler that answers itself."""

    def __init__(self, tls=None):
        self.seen, self.answers, self.connections, endpoint = [], {}, 0, self
        self.more = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            def setup(self):
                endpoint.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = endpoint.answers.get(self.path, 204)
                with endpoint.more:
                    endpoint.seen.append({"path": self.path, "headers": self.headers, "raw": body, "at": time.monotonic(), **json.loads(body)})
                    number = len(endpoint.told(self.path))
                    endpoint.more.notify_all()
                if isinstance(answer, list):
                    answer = answer[min(number, len(answer)) - 1]
                if callable(answer):
                    answer(self)
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        threading.Thread(target=self.server.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()

    def url(self, path="/"):
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}{path}"

    def told(self, path):
        return [r for r in self.seen if r["path"] == path]

    def wait(self, path, n=1, seconds=30):
        with self.more:
            assert self.more.wait_for(lambda: len(self.told(path)) >= n, seconds), self.seen
            return self.told(path)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "a.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    return path.read_bytes()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / "key",
                    "-out", folder / "pem", "-days", "2", "-subj", "/CN=endpoint", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                   capture_output=True)
    return folder / "pem", folder / "key"


@pytest.fixture(scope="session")
def bundle(certificate):
    return base64.b64encode(certificate[0].read_bytes()).decode()


@pytest.fixture
def endpoint():
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    made = Gateway(tmp_path_factory.mktemp("gateway"), "--allow-private-downloads").begin()
    yield made
    made.end()


@pytest.fixture
def project(gateway, image, request):
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")
    return Project(gateway, name, image)
