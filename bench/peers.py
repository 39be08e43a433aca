# SPDX-License-Identifier: Apache-2.0
"""The API beside etcd's JSON gateway and LXD's API, on one disk, in one run: create, get, list, patch, durability beside the bare fsync.

Debian's packages of the peers are unpacked under build/peers, never installed: `bench/run.py --only peers`. Said of the comparison:
etcd and LXD are asked in the clear, Gabbro over TLS; a patch of etcd is a read and a transaction that compares, as its users do it;
an object is a ConfigMap (etcd: the same bytes as a value) of 1 KB, and for LXD a stopped VirtualMachine beside an empty container.
"""
import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import statistics
import subprocess
import time

PACKAGES = {"etcd": ["etcd-server"],
            "lxd": ["lxd", "lxd-client", "liblxc1", "liblxc-common", "libdqlite0", "libraft2", "attr", "rsync", "squashfs-tools", "liblzo2-2", "uidmap",
                    "libsubid4", "lxcfs"]}
MAPS = "/api/v1/namespaces/default/configmaps"
VMS = "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"


def unpacked(build, peer):
    """The folder with Debian's packages of a peer, or None when they cannot be had."""
    folder = build / "peers" / peer
    if not (folder / "usr").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in PACKAGES[peer]:
            if subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", name], capture_output=True, text=True).stdout == "installed":
                continue
            if subprocess.run(["apt-get", "download", "-q", name], cwd=folder, capture_output=True, timeout=120).returncode:
                return None
        for deb in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", deb, folder], check=True)
            deb.unlink()
    return folder


IDLE_S = 5


class Http:
    """One connection, kept while it is used: it is opened anew before a server may have ended it for idleness."""

    def __init__(self, connection, **headers):
        self.connection, self.headers, self.last = connection, headers, 0

    def call(self, method, path, body=None, **headers):
        data = None if body is None else json.dumps(body)
        if time.monotonic() - self.last > IDLE_S:
            self.connection.close()
        self.connection.request(method, path, data, {"Content-Type": "application/json", **self.headers, **headers})
        answer = self.connection.getresponse()
        text = answer.read()
        self.last = time.monotonic()
        if answer.status >= 300:
            raise SystemExit(f"bench: {method} {path}: {answer.status} {text[:300]}")
        return text


CLIENTS = 32


def together(make, n, size):
    """Patches a second of many clients, each of objects of its own."""
    def act(number):
        mine = make()
        for i in range(n // CLIENTS):
            mine.patch((i * CLIENTS + number) % size)

    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(act, range(CLIENTS)))
    return n / (time.perf_counter() - begun)


def text_of(n):
    return f"{n:06}" + "x" * 1000


class Gabbro(Http):
    name, path = "Gabbro", MAPS

    def __init__(self, lone, build):
        config = (lone.data / "admin.kubeconfig").read_text()
        context = ssl.create_default_context(cadata=base64.b64decode(re.search(r"authority-data: (\S+)", config).group(1)).decode())
        super().__init__(http.client.HTTPSConnection("127.0.0.1", int(lone.port.group(1)), context=context),
                         Authorization="Bearer " + re.search(r"token: (\S+)", config).group(1))
        self.patches = [build / "bench/watchers", "patch", lone.port.group(1), self.headers["Authorization"].split()[1], self.path]

    def together(self, size):
        """A client in Python is slower than what it asks."""
        return float(subprocess.run([*self.patches, str(size), "3200"], check=True, stdout=subprocess.PIPE, text=True).stdout)

    def create(self, n):
        self.call("POST", MAPS, {"metadata": {"name": f"m{n:06}"}, "data": {"text": text_of(n)}})

    def get(self, n):
        self.call("GET", f"{MAPS}/m{n:06}")

    def list(self):
        return self.call("GET", MAPS)

    def table(self):
        return self.call("GET", MAPS, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")

    def patch(self, n):
        self.call("PATCH", f"{MAPS}/m{n:06}", {"data": {"turn": str(time.monotonic())}}, **{"Content-Type": "application/merge-patch+json"})


class GabbroMachines(Gabbro):
    """Stopped machines: the like of empty containers."""
    path = VMS

    def create(self, n):
        self.call("POST", VMS, {"metadata": {"name": f"m{n:06}"}, "spec": {
            "virtualMachineClassName": "generic", "runPolicy": "AlwaysOff", "cpu": {"cores": 1}, "memory": {"size": "1Gi"},
            "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "d"}]}})

    def get(self, n):
        self.call("GET", f"{VMS}/m{n:06}")

    def list(self):
        return self.call("GET", VMS)

    def patch(self, n):
        self.call("PATCH", f"{VMS}/m{n:06}", {"metadata": {"labels": {"turn": str(time.monotonic_ns())}}}, **{"Content-Type": "application/merge-patch+json"})


class Etcd(Http):
    name = "etcd"

    def __init__(self, port):
        self.port = port
        super().__init__(http.client.HTTPConnection("127.0.0.1", port))

    def together(self, size):
        return together(lambda: Etcd(self.port), 640, size)

    @staticmethod
    def b64(text):
        return base64.b64encode(text.encode()).decode()

    def value(self, n):
        return self.b64(json.dumps({"metadata": {"name": f"m{n:06}", "uid": "x" * 36, "resourceVersion": "1", "creationTimestamp": "x" * 20},
                                    "data": {"text": text_of(n)}}))

    def create(self, n):
        self.call("POST", "/v3/kv/put", {"key": self.b64(f"/m/m{n:06}"), "value": self.value(n)})

    def get(self, n):
        return self.call("POST", "/v3/kv/range", {"key": self.b64(f"/m/m{n:06}")})

    def list(self):
        return self.call("POST", "/v3/kv/range", {"key": self.b64("/m/"), "range_end": self.b64("/m0")})

    def patch(self, n):
        found = json.loads(self.get(n))["kvs"][0]
        key = self.b64(f"/m/m{n:06}")
        self.call("POST", "/v3/kv/txn", {"compare": [{"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": found["mod_revision"]}],
                                         "success": [{"request_put": {"key": key, "value": self.value(n)}}]})


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("lxd")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Lxd(Http):
    name = "LXD"

    def __init__(self, path):
        self.path = path
        super().__init__(UnixConnection(path))

    def together(self, size):
        return together(lambda: Lxd(self.path), 160, size)

    def wait(self, text):
        told = json.loads(text)
        if told["type"] == "async":
            self.call("GET", told["operation"] + "/wait")

    def create(self, n):
        self.wait(self.call("POST", "/1.0/instances", {"name": f"m{n:06}", "source": {"type": "none"}, "profiles": ["default"]}))

    def get(self, n):
        self.call("GET", f"/1.0/instances/m{n:06}")

    def list(self):
        return self.call("GET", "/1.0/instances?recursion=1")

    def patch(self, n):
        self.wait(self.call("PATCH", f"/1.0/instances/m{n:06}", {"config": {"user.turn": str(time.monotonic_ns())}}))


@contextlib.contextmanager
def running(argv, log, ready, seconds=60, **kwargs):
    """A peer that is there; its log is shown when it does not come."""
    with open(log, "wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **kwargs)
    try:
        end = time.monotonic() + seconds
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                raise OSError(f"it did not start: {log.read_text(errors='replace')[-600:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def etcd(folder, tools):
    client, peer = free_port(), free_port()
    argv = [tools / "usr/bin/etcd", "--data-dir", folder / "etcd", "--listen-client-urls", f"http://127.0.0.1:{client}",
            "--advertise-client-urls", f"http://127.0.0.1:{client}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}",
            "--quota-backend-bytes", str(2 << 30)]
    with running(argv, folder / "etcd.log", lambda: listens(client), env=dict(os.environ, ETCD_UNSUPPORTED_ARCH="amd64")):
        yield Etcd(client)


@contextlib.contextmanager
def lxd(folder, tools):
    """In mount and network namespaces of its own, so that it leaves no mount, no bridge and no rule; asked over its socket."""
    home = folder / "lxd"
    home.mkdir(mode=0o711)
    libraries = f"{tools}/usr/lib/x86_64-linux-gnu"
    env = dict(os.environ, LXD_DIR=str(home), LD_LIBRARY_PATH=libraries, PATH=f"{tools}/usr/bin:{tools}/usr/sbin:{tools}/usr/lib/lxd:" + os.environ["PATH"])
    program = next(p for p in (tools / "usr/bin/lxd", tools / "usr/sbin/lxd", tools / "usr/lib/lxd/lxd", pathlib.Path("/usr/sbin/lxd")) if p.exists())
    argv = ["unshare", "-m", "-n", "--propagation", "private", "sh", "-c", f"ip link set lo up; exec {program} --group root"]
    sock = home / "unix.socket"

    def ready():
        try:
            return b'"auth":"trusted"' in Lxd(sock).call("GET", "/1.0")
        except (OSError, http.client.HTTPException):
            return False

    with running(argv, folder / "lxd.log", ready, env=env):
        client = Lxd(sock)
        client.wait(client.call("POST", "/1.0/storage-pools", {"name": "pool", "driver": "dir"}))
        client.call("PATCH", "/1.0/profiles/default", {"devices": {"root": {"type": "disk", "path": "/", "pool": "pool"}}})
        yield client


def took(n, act):
    """Milliseconds of each of @n turns."""
    times = []
    for i in range(n):
        begun = time.perf_counter()
        act(i)
        times.append(1000 * (time.perf_counter() - begun))
    return times


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


def bare_fsync(folder, n):
    """What the disk takes for the bytes of one object, appended and synced."""
    with open(folder / "bare", "wb", buffering=0) as f:
        def act(_):
            f.write(b"x" * 4096)
            os.fdatasync(f.fileno())
        return took(n, act)


def compare(show, ours, peer, size, rounds):
    """Both in turn, round after round, at @size objects of each."""
    seen = {"get": ([], []), "list": ([], []), "patch": ([], []), "together": ([], [])}
    for turn in range(rounds):
        for side, client in enumerate((ours, peer)):
            seen["get"][side].extend(took(100, lambda i: client.get((i * 97 + turn) % size)))
            seen["list"][side].extend(took(1, lambda _: client.list()))
            seen["patch"][side].extend(took(40, lambda i: client.patch((i * 89 + turn) % size)))
            seen["together"][side].append(client.together(size))
    beside = f" (peer: {peer.name})"
    for what, words in (("get", "GET one"), ("list", "list all")):
        a, b = (statistics.median(times) for times in seen[what])
        show(f"{size:,}: {words}{beside}", a, "ms", b)
    a, b = (1000 / statistics.median(times) for times in seen["patch"])
    show(f"{size:,}: patches, one after the other{beside}", a, "/s", b)
    a, b = (statistics.median(rates) for rates in seen["together"])
    show(f"{size:,}: patches of {CLIENTS} clients{beside}", a, "/s", b, ">= 50" if peer.name == "LXD" else "")


def fill(client, start, end):
    for n in range(start, end):
        client.create(n)


def bench_peers(show, lone, folder, build, rounds):
    """@lone: a gateway on loopback, begun. @show prints a row."""
    tools = unpacked(build, "etcd")
    if not tools:
        print("etcd-server cannot be had from apt: no row")
    else:
        with etcd(folder, tools) as peer:
            ours = Gabbro(lone, build)
            bare, mine, theirs = [], [], []
            for turn in range(5):
                bare += bare_fsync(folder, 100)
                mine += took(200, lambda i: ours.create(turn * 200 + i))
                theirs += took(200, lambda i: peer.create(turn * 200 + i))
            show("create, durable (peer: etcd)", statistics.median(mine), "ms", statistics.median(theirs))
            show("create, durable, p99 (peer: etcd)", p99(mine), "ms", p99(theirs))
            show("create, durable, p99 (peer: bare fsync of 4 KB)", p99(mine), "ms", p99(bare), "< 5 ms")
            compare(show, ours, peer, 1000, rounds)
            fill(ours, 1000, 20000)
            fill(peer, 1000, 20000)
            compare(show, ours, peer, 20000, rounds)
            table = took(rounds, lambda _: ours.table())
            show("20,000: kubectl's table of all", statistics.median(table), "ms", aim="< 100")
            before = lone.memory()[1]
            took(3 * rounds, lambda _: ours.table())
            show("  memory that the tables left behind", (lone.memory()[1] - before) / 2**20, "MiB", aim="~ 0")
    tools = unpacked(build, "lxd")
    if not tools:
        print("lxd cannot be had from apt: no row")
        return
    try:
        with lxd(folder, tools) as peer:
            ours = GabbroMachines(lone, build)
            mine, theirs = took(1000, ours.create), took(1000, peer.create)
            show("create of a stopped machine (peer: LXD)", statistics.median(mine), "ms", statistics.median(theirs))
            compare(show, ours, peer, 1000, rounds)
    except OSError as error:
        print(f"LXD cannot start here: {error}")
