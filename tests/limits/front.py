# SPDX-License-Identifier: Apache-2.0
"""A real gateway on loopback, raw clients that misbehave towards it, and a good one that wants to be served meanwhile."""
import base64
import collections
import ctypes
import json
import multiprocessing
import os
import pathlib
import re
import resource
import select
import signal
import socket
import ssl
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
GATEWAY = pathlib.Path(os.environ.get("GABBRO_BIN", BUILD / "bin")) / "gabbro-gateway"
PR_CAPBSET_DROP, CAP_SYS_RESOURCE = 24, 24


def limits():
    """The numbers of src/base/limits.h, as the compiler reads them."""
    header = ROOT / "src/base/limits.h"
    names = re.findall(r"^#define (LIMIT_\w+)", header.read_text(), re.M)
    text = f'#include "{header}"\n' + "".join(f"{name}_IS ({name})\n" for name in names)
    done = subprocess.run(["cc", "-E", "-P", "-x", "c", "-"], input=text, capture_output=True, text=True, check=True).stdout
    found = {}
    for name, words in re.findall(r"^(\w+)_IS \((.*)\)$", done, re.M):
        found[name.removeprefix("LIMIT_")] = int(eval(re.sub(r"(?<=\d)u?l*\b", "", words)))  # noqa: S307: our own header
    assert len(found) == len(names)
    return found


LIMIT = limits()


class Gateway:
    def __init__(self, folder, descriptors=None, words=(), **env):
        def few_descriptors():
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0)  # nor may it have more again
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.folder = folder
        self.log = open(folder / "gateway.log", "wb")
        argv = [GATEWAY, "--data-dir", folder / "data", "--listen", "127.0.0.1:0", *words]
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=os.environ | env,
                                        preexec_fn=few_descriptors if descriptors else None)
        config = folder / "data/admin.kubeconfig"
        end = time.monotonic() + 60
        while not config.exists() or "token: " not in config.read_text():  # it is there before it is written
            assert self.process.poll() is None and time.monotonic() < end, self.words()
            select.select([], [], [], 0.02)
        text = config.read_text()
        self.port = int(re.search(r"server: https://127.0.0.1:(\d+)", text).group(1))
        self.token = re.search(r"token: (\S+)", text).group(1)
        self.ca = base64.b64decode(re.search(r"certificate-authority-data: (\S+)", text).group(1)).decode()
        self.tls = ssl.create_default_context(cadata=self.ca)

    def words(self):
        return (self.folder / "gateway.log").read_text(errors="replace")[-4000:]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        assert code == 0, self.words()

    # --- what it costs

    def resident(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) << 10

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu(self):
        """Seconds of processor time so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def until(self, what, probe, seconds=30):
        """For states of another process that offer no event."""
        end = time.monotonic() + seconds
        while not probe():
            assert time.monotonic() < end, f"{what}: not within {seconds} s"
            select.select([], [], [], 0.05)

    # --- clients

    def tcp(self, source="127.0.0.1", seconds=20):
        return socket.create_connection(("127.0.0.1", self.port), seconds, (source, 0))

    def connect(self, source="127.0.0.1", seconds=20):
        return self.tls.wrap_socket(self.tcp(source, seconds), server_hostname="127.0.0.1")

    def head(self, method, path, *headers, length=None):
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.token}", *headers]
        if length is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def ask(self, method, path, body=None, connection=None):
        """One request; (status, body)."""
        data = None if body is None else json.dumps(body).encode()
        used = connection or self.connect()
        try:
            used.sendall(self.head(method, path, length=None if data is None else len(data)) + (data or b""))
            return Answers(used).next()
        finally:
            if connection is None:
                used.close()


class Answers:
    """The answers on a connection, one after the other."""

    def __init__(self, connection):
        self.connection, self.text = connection, b""

    def more(self):
        piece = self.connection.recv(65536)
        self.text += piece
        return piece

    def until(self, end):
        while end not in self.text:
            if not self.more():
                raise EOFError(self.text[:300])
        piece, self.text = self.text.split(end, 1)
        return piece

    def next(self):
        head = self.until(b"\r\n\r\n").decode("latin-1")
        status = int(head.split()[1])
        length = re.search(r"(?i)^content-length: (\d+)", head, re.M)
        self.head = head
        if length:
            while len(self.text) < int(length.group(1)):
                if not self.more():
                    raise EOFError(self.text[:300])
            body, self.text = self.text[:int(length.group(1))], self.text[int(length.group(1)):]
            return status, body
        body = b""
        if re.search(r"(?i)^transfer-encoding: chunked", head, re.M):
            while size := int(self.until(b"\r\n"), 16):
                while len(self.text) < size + 2:
                    assert self.more()
                body, self.text = body + self.text[:size], self.text[size + 2:]
            self.until(b"\r\n")
        return status, body

    def rest(self):
        """All that comes until the peer ends."""
        try:
            while self.more():
                pass
        except ConnectionError:
            pass
        return self.text


def configmap(name, text):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}


PATH = "/api/v1/namespaces/default/configmaps"


class GoodClient:
    """In a process of its own: reads and writes, by kept and by new connections; knows how long each took."""

    def __init__(self, gateway, source="127.0.0.1"):
        self.gateway, self.source = gateway, source

    def serve_itself(self, stop, pipe):
        took, failures, kept, n = [], [], None, 0
        while not stop.is_set():
            begun = time.monotonic()
            try:
                if n % 2 == 0 or not kept:
                    kept = self.gateway.connect(self.source)  # the old one goes: every second turn must get in anew
                status, body = self.gateway.ask("POST", PATH, configmap(f"good-{os.getpid()}-{n}", "x"), kept)
                if status == 201:
                    status, body = self.gateway.ask("GET", f"{PATH}/good-{os.getpid()}-{n}", connection=kept)
                if status != 200:
                    failures.append(f"{status} {body[:200]}")
            except (OSError, EOFError) as error:
                failures.append(repr(error))
                kept = None
            took.append(time.monotonic() - begun)
            n += 1
            stop.wait(0.01)
        pipe.send((took, failures))

    def __enter__(self):
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.stop = context.Event()
        self.process = context.Process(target=self.serve_itself, args=(self.stop, other), daemon=True)
        self.process.start()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        took, failures = self.pipe.recv() if self.pipe.poll(60) else ([], ["the good client is stuck"])
        self.process.join(5)
        took.sort()
        self.n = len(took)
        self.failures = failures
        self.p99 = took[int(len(took) * 0.99)] if took else 0
        self.worst = took[-1] if took else 0
        print(f"good client: {self.n} turns, p99 {self.p99 * 1000:.0f} ms, worst {self.worst * 1000:.0f} ms, {len(failures)} failures")
        if kind is None:
            assert not failures and self.n > 0 and self.worst < 5, failures[:5]


class Flood:
    """Many connections to a gateway. @hello: what each says once it is open; @tls: behind a handshake. The last @hold are kept."""

    def __init__(self, gateway, sources, hello=b"", tls=False, hold=10000):
        self.gateway, self.sources, self.hello, self.tls, self.hold = gateway, sources, hello, tls, hold
        self.open, self.made = collections.deque(), 0

    def connect(self, n):
        """All at once, as far as the kernel lets it; @n connections more."""
        for _ in range(n):
            source = self.sources[self.made % len(self.sources)]
            self.made += 1
            try:
                one = self.gateway.connect(source) if self.tls else self.gateway.tcp(source)
                one.sendall(self.hello)
            except OSError:
                continue  # pushed out already
            self.open.append(one)
            if len(self.open) > self.hold:
                self.open.popleft().close()

    def close(self):
        while self.open:
            self.open.popleft().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
