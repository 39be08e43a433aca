# SPDX-License-Identifier: Apache-2.0
"""A gateway that can be killed and begun again at the same address, and a client that knows whether its request went out."""
import base64
import http.client
import json
import os
import pathlib
import re
import select
import signal
import ssl
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
PROGRAM = pathlib.Path(os.environ.get("GABBRO_BIN", BUILD / "bin")) / "gabbro-gateway"


class Gateway:
    def __init__(self, folder, program=PROGRAM, prefix=(), env=None):
        self.folder, self.program, self.prefix, self.env = pathlib.Path(folder), program, list(prefix), env
        self.data = self.folder / "data"
        self.port = 0
        self.log = self.folder / "gateway.log"
        self.begin()
        text = (self.data / "admin.kubeconfig").read_text()
        self.token = re.search(r"token: (\S+)", text).group(1)
        self.ca = base64.b64decode(re.search(r"certificate-authority-data: (\S+)", text).group(1)).decode()

    def spawn(self):
        self.said = self.log.stat().st_size if self.log.exists() else 0
        argv = [*self.prefix, self.program, "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(os.environ, **self.env or {}))

    def begin(self):
        """Return: seconds until it served."""
        begun = time.monotonic()
        self.spawn()
        while not (serving := re.search(r"serving url=https://127.0.0.1:(\d+)", self.words())):
            assert self.process.poll() is None and time.monotonic() < begun + 60, self.words()
            select.select([], [], [], 0.005)  # a log file tells nobody that it has grown
        self.port = int(serving.group(1))
        return time.monotonic() - begun

    def words(self):
        """What it has said since it began."""
        with open(self.log, errors="replace") as log:
            log.seek(self.said)
            return log.read()[-8000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert code == 0, self.words()

    def resident(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) << 10


class NotSent(Exception):
    """The request did not leave: it has no outcome."""


class Client:
    """One connection, made again when it broke."""

    def __init__(self, gateway, seconds=20):
        self.gateway, self.seconds = gateway, seconds
        self.tls = ssl.create_default_context(cadata=gateway.ca)
        self.connection = None

    def connect(self):
        if self.connection is None:
            connection = http.client.HTTPSConnection("127.0.0.1", self.gateway.port, context=self.tls, timeout=self.seconds)
            try:
                connection.connect()
            except (OSError, http.client.HTTPException) as error:
                raise NotSent from error
            self.connection = connection
        return self.connection

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def open(self, method, path, body=None, content="application/json"):
        """The answer's head; its body is the caller's. OSError or HTTPException: the outcome is unknown."""
        connection = self.connect()
        headers = {"Authorization": f"Bearer {self.gateway.token}"}
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = content
        try:
            connection.request(method, path, data, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException):
            self.drop()
            raise

    def ask(self, method, path, body=None, content="application/json"):
        """(status, parsed body)."""
        try:
            answer = self.open(method, path, body, content)
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.drop()
            raise
        if answer.will_close:
            self.drop()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {"message": text.decode(errors="replace")}
