#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measure, each figure beside its peer in the same run. usage: run.py [--rounds N] [--only PART...]

Everything runs in an emulated host of its own (tests/lab/host.sh); nothing is left behind. Printed are medians, and the ratio to the
peer. The machines are shared and noisy: compare ratios, never absolute figures of different runs.
"""
import argparse
import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build"))
BIN = BUILD / "bin"
HOST = ROOT / "tests/lab/host.sh"


def show(name, value, unit, peer=None, aim=""):
    line = f"{name:<46} {value:>10.2f} {unit:<10}"
    if peer is not None:
        line += f" peer {peer:>10.2f}  ratio {value / peer:>6.2f}"
    print(line + (f"   (aim {aim})" if aim else ""), flush=True)


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.host = folder / "h"
        self.demo = folder / "demo"
        self.env = dict(os.environ, GABBRO_DEMO_DIR=str(self.demo), GABBRO_BUILD=str(BUILD))
        self.kubeconfig = self.demo / "gateway/admin.kubeconfig"

    def argv(self, *argv):
        return [str(HOST), "enter", str(self.host), *map(str, argv)]

    def run(self, *argv, check=True, **kwargs):
        return subprocess.run(self.argv(*argv), env=self.env, check=check, stdin=kwargs.pop("stdin", subprocess.DEVNULL) if "input" not in kwargs else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)

    def gabbro(self, *argv, **kwargs):
        return self.run(BIN / "gabbro", "--kubeconfig", self.kubeconfig, *argv, **kwargs)

    def get(self, *words):
        return json.loads(self.gabbro("get", *words, "-o", "json").stdout)


class Events:
    """libvirt's lifecycle events with the time at which they arrived here."""

    def __init__(self, bench):
        self.process = subprocess.Popen(bench.argv("stdbuf", "-oL", "virsh", "event", "--all", "--loop"), env=bench.env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True)
        self.seen = []
        self.changed = threading.Condition()
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        for line in self.process.stdout:
            with self.changed:
                self.seen.append((time.monotonic(), line))
                self.changed.notify_all()

    def wait(self, pattern, since, seconds=120):
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                for when, line in self.seen:
                    if when >= since and re.search(pattern, line):
                        return when, re.search(r"domain '([^']+)'", line).group(1)
                if not self.changed.wait(max(0, end - time.monotonic())):
                    raise SystemExit(f"bench: no event {pattern} in {seconds} s")

    def close(self):
        self.process.terminate()
        self.process.wait()


def first_serial_byte(bench, domain, seconds=60):
    """When the guest's serial console first says something."""
    process = subprocess.Popen(bench.argv("script", "-qfec", f"virsh console --force {domain}", "/dev/null"), env=bench.env, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        seen = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen += os.read(process.stdout.fileno(), 4096)
            rest = seen.split(b"Escape character is", 1)
            if len(rest) == 2 and b"\n" in rest[1] and rest[1].split(b"\n", 1)[1].strip():
                return time.monotonic()
        raise SystemExit("bench: nothing on the serial console")
    finally:
        process.terminate()
        process.wait()


# --- start of a machine -------------------------------------------------------------------------------------------------------------------

def peer_xml(bench, domain, disk):
    """The domain as libvirt has it, under another name, on a copy of its disk, without what only the agent provides."""
    root = ElementTree.fromstring(bench.run("virsh", "dumpxml", "--inactive", domain).stdout)
    root.find("name").text = "peer"
    for tag in ("uuid", "metadata"):
        for node in root.findall(tag):
            root.remove(node)
    for entry in root.findall("sysinfo/system"):
        for field in [e for e in entry if e.get("name") == "uuid"]:
            entry.remove(field)
    devices = root.find("devices")
    for graphics in devices.findall("graphics"):
        graphics.attrib.pop("socket", None)
    for disk_node in devices.findall("disk"):
        if disk_node.get("device") == "cdrom":
            devices.remove(disk_node)
        else:
            disk_node.find("source").set("file", str(disk))
    for interface in devices.findall("interface"):
        interface.find("mac").set("address", "52:54:00:00:be:ef")
        target = interface.find("target")
        if target is not None:
            target.set("dev", "gbtpeer")
    for channel in devices.findall("channel") + devices.findall("graphics"):
        for source in channel.findall("source") + channel.findall("listen"):
            for attribute in ("path", "socket"):
                if source.get(attribute):
                    del source.attrib[attribute]
    path = bench.folder / "peer.xml"
    path.write_text(ElementTree.tostring(root, encoding="unicode"))
    return path


def machine_manifest(name):
    return json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name},
                       "spec": {"virtualMachineClassName": "generic", "cpu": {"cores": 1, "coreFraction": "20%"}, "memory": {"size": "192Mi"},
                                "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "first-vm-root"}]}})


def bench_start(bench, rounds):
    events = Events(bench)
    bench.gabbro("delete", "vm", "first-vm", "--wait")
    ours, ours_serial, peers, peers_serial = [], [], [], []
    for n in range(rounds):
        name = f"bench-{n}"
        start = time.monotonic()
        bench.gabbro("apply", "-f", "-", input=machine_manifest(name))
        when, domain = events.wait(r"Resumed", start)
        ours.append(when - start)
        ours_serial.append(first_serial_byte(bench, domain) - start)
        source = bench.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm-root")["items"][0]["status"]["path"]
        copy = bench.folder / "peer.qcow2"
        bench.gabbro("force-off", name, "--wait")
        shutil.copy(source, copy)
        os.chmod(copy, 0o666)
        xml = peer_xml(bench, domain, copy)
        start = time.monotonic()
        bench.run("virsh", "define", xml)
        bench.run("virsh", "start", "peer")
        peers.append(events.wait(r"peer.*Started", start)[0] - start)
        peers_serial.append(first_serial_byte(bench, "peer") - start)
        bench.run("virsh", "destroy", "peer")
        bench.run("virsh", "undefine", "peer")
        bench.gabbro("delete", "vm", name, "--wait")
    events.close()
    show("apply -> libvirt says running", 1000 * statistics.median(ours), "ms", 1000 * statistics.median(peers), "<= 1.15")
    show("apply -> first serial line", 1000 * statistics.median(ours_serial), "ms", 1000 * statistics.median(peers_serial), "<= 1.15")
    show("control plane's share", 1000 * (statistics.median(ours) - statistics.median(peers)), "ms", aim="< 100")


# --- API ------------------------------------------------------------------------------------------------------------------------------------

class Client:
    def __init__(self, bench):
        config = json.loads(bench.run("/usr/bin/python3", "-c", "import json,sys,yaml;print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", bench.kubeconfig).stdout)
        cluster = config["clusters"][0]["cluster"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        host, port = cluster["server"].removeprefix("https://").rsplit(":", 1)
        self.connection = http.client.HTTPSConnection(host, int(port), context=context)
        self.headers = {"Authorization": "Bearer " + config["users"][0]["user"]["token"]}

    def call(self, method, path, body=None):
        self.connection.request(method, path, body, dict(self.headers, **({"Content-Type": "application/json"} if body else {})))
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def time(self, path, rounds):
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            status, body = self.call("GET", path)
            times.append(time.perf_counter() - start)
            if status != 200:
                raise SystemExit(f"bench: GET {path}: {status} {body[:200]}")
        return 1000 * statistics.median(times)


API_SCRIPT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("bench_run", sys.argv[1]); run = importlib.util.module_from_spec(spec); spec.loader.exec_module(run)
import pathlib; run.api_inside(run.Bench(pathlib.Path(sys.argv[2])))
"""


def api_inside(bench):
    """Runs inside the host's namespaces: the gateway listens on its loopback."""
    bench.run = lambda *argv, check=True, **kw: subprocess.run([str(a) for a in argv], env=bench.env, check=check, stdout=subprocess.PIPE, text=True, **kw)
    client = Client(bench)
    for n in range(1000):
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"bench-{n:04}"}, "data": {"text": "x" * 1000}})
        status, answer = client.call("POST", "/api/v1/namespaces/default/configmaps", body)
        if status not in (201, 409):
            raise SystemExit(f"bench: create: {status} {answer[:200]}")
    show("GET /livez (floor of client and TLS)", client.time("/livez", 300), "ms")
    show("GET one object", client.time("/api/v1/namespaces/default/configmaps/bench-0500", 300), "ms")
    show("list 1,000 objects (1.3 MB)", client.time("/api/v1/namespaces/default/configmaps", 30), "ms", aim="< 10")
    for n in range(1000):
        client.call("DELETE", f"/api/v1/namespaces/default/configmaps/bench-{n:04}")


def bench_api(bench):
    print(bench.run("/usr/bin/python3", "-c", API_SCRIPT, __file__, bench.folder).stdout, end="")


def bench_memory(bench):
    for name, aim in (("gateway", "<= 32"), ("agent", "<= 16")):
        pid = int(bench.run("sh", "-c", f"cut -d' ' -f1 {bench.demo}/run/{name}.pid").stdout)
        text = bench.run("cat", f"/proc/{pid}/status").stdout
        resident, own = (int(re.search(rf"{field}:\s+(\d+)", text).group(1)) / 1024 for field in ("VmRSS", "RssAnon"))
        show(f"idle memory of the {name}", resident, "MiB", aim=aim)
        show("  of it its own (the rest: files, shared)", own, "MiB")


# --- adoption -------------------------------------------------------------------------------------------------------------------------------

ADOPTED = 20


def adopted_manifest(n):
    disk = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": f"adopt-{n}"},
            "spec": {"persistentVolumeClaim": {"size": "256Mi"},
                     "dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}}}}
    machine = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": f"adopt-{n}"},
               "spec": {"virtualMachineClassName": "generic", "cpu": {"cores": 1, "coreFraction": "5%"}, "memory": {"size": "96Mi"},
                        "blockDeviceRefs": [{"kind": "VirtualDisk", "name": f"adopt-{n}"}]}}
    return [disk, machine]


def restart_agent(bench, running):
    """SIGKILL, and begun again at once; seconds from the signal until its log says that every machine was looked at."""
    pid_file, log = bench.demo / "run/agent.pid", bench.demo / "log/agent.log"
    pid, mark = pid_file.read_text().split()[0], log.stat().st_size
    argv = bench.run("cat", f"/proc/{pid}/cmdline").stdout.split("\0")[:-1]
    start = time.monotonic()
    script = (f'kill -KILL {pid}; setsid "$@" </dev/null >>{log} 2>&1 & '
              f"echo $! $(sed 's/.*) //' /proc/$!/stat | cut -d' ' -f20) >{pid_file}")
    bench.run("bash", "-c", script, "agent", *argv)
    while time.monotonic() - start < 60:
        with open(log, errors="replace") as f:
            f.seek(mark)
            line = next((at for at in f if "caught up" in at), None)
        if line:
            assert f"running={running} " in line, line
            return time.monotonic() - start
        time.sleep(0.005)
    raise SystemExit("bench: the agent does not catch up")


def count_running(bench):
    return len(bench.run("virsh", "-q", "list", "--state-running", "--name", check=False).stdout.split())


def restart_libvirtd(bench, running):
    """The same for libvirtd, until its list has every domain running: the peer."""
    start = time.monotonic()
    for order in ("kill", "start"):
        subprocess.run([str(HOST), "libvirtd", str(bench.host), order], check=True, env=bench.env, stdin=subprocess.DEVNULL)
    while count_running(bench) < running:
        if time.monotonic() - start > 60:
            raise SystemExit("bench: libvirtd does not take up its domains")
    return time.monotonic() - start


def bench_adopt(bench, rounds):
    items = [item for n in range(ADOPTED) for item in adopted_manifest(n)]
    bench.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for n in range(ADOPTED):
        bench.gabbro("wait", "vm", f"adopt-{n}", "--for", "phase=Running", "--timeout", "200")
    epochs = sorted((i["metadata"]["name"], i["status"]["epoch"]) for i in bench.get("instances.host.gabbro.dev")["items"])
    running = count_running(bench)
    ours = [restart_agent(bench, running) for _ in range(rounds)]
    assert epochs == sorted((i["metadata"]["name"], i["status"]["epoch"]) for i in bench.get("instances.host.gabbro.dev")["items"])
    peers = [restart_libvirtd(bench, running) for _ in range(rounds)]
    show(f"SIGKILL of the agent -> {running} guests adopted (peer: libvirtd)", 1000 * statistics.median(ours), "ms", 1000 * statistics.median(peers))


# --- a thousand machines on one agent -------------------------------------------------------------------------------------------------------

THOUSAND = 1000


def bench_scale(rounds):
    """Machines of libvirt's test driver: no guests, all of the control plane."""
    sys.path.insert(0, str(ROOT / "tests/storm"))
    from scale import scale_cloud
    with scale_cloud("gabbro-bench") as cloud:
        _, ran_s = cloud.create(THOUSAND)
        show("1,000 machines wanted at once -> all run", ran_s, "s")
        show("SIGKILL of the agent -> 1,000 machines adopted", statistics.median(cloud.adopt() for _ in range(rounds)), "s")
        for name in ("gateway", "agent"):
            show(f"memory of the {name} with 1,000 machines", cloud.resident_mib(name), "MiB")


def bench_store(folder):
    program = BUILD / "bench/store_bench"
    if program.exists():
        print(subprocess.run([str(program), str(folder)], check=True, stdout=subprocess.PIPE, text=True).stdout, end="")


# --- a store with many machines -----------------------------------------------------------------------------------------------------------

class Lone:
    """A gateway on loopback without a host. Killed and begun again."""

    def __init__(self, data):
        self.data, self.log = data, data.parent / "gateway.log"

    def begin(self):
        """Return: milliseconds until /readyz was good."""
        begun, said, port = time.monotonic(), self.log.stat().st_size if self.log.exists() else 0, None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / "gabbro-gateway", "--data-dir", self.data, "--listen", "127.0.0.1:0"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        while True:
            words = self.log.read_bytes()[said:].decode()
            if self.process.poll() is not None:
                raise SystemExit(f"bench: the gateway ended: {words}")
            port = port or re.search(r"serving url=https://127.0.0.1:(\d+)", words)
            if port and self.ask(port, "/readyz")[0] == 200:
                self.port = port
                return 1000 * (time.monotonic() - begun)
            time.sleep(0.002)

    def ask(self, port, path):
        text = (self.data / "admin.kubeconfig").read_text()
        context = ssl.create_default_context(cadata=base64.b64decode(re.search(r"authority-data: (\S+)", text).group(1)).decode())
        connection = http.client.HTTPSConnection("127.0.0.1", int(port.group(1)), context=context)
        connection.request("GET", path, headers={"Authorization": "Bearer " + re.search(r"token: (\S+)", text).group(1)})
        answer = connection.getresponse()
        result = answer.status, answer.read().decode()
        connection.close()
        return result

    def figure(self, name):
        return float(re.search(rf"^gabbro_store_{name} (\S+)", self.ask(self.port, "/metrics")[1], re.M).group(1))

    def until_quiet(self, seconds=120):
        """The controllers have done what there was to do."""
        end, last = time.monotonic() + seconds, None
        while time.monotonic() < end and (now := self.figure("revision")) != last:
            last = now
            time.sleep(3)

    def memory(self):
        """Resident bytes, and those of them that are its own."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return [int(re.search(rf"{field}:\s+(\d+)", text).group(1)) << 10 for field in ("VmRSS", "RssAnon")]

    def kill(self):
        self.process.kill()
        self.process.wait()


def bench_fleet(folder, rounds):
    """Machines with a disk, an instance, a volume and a port each: five objects, 13 KB."""
    for machines, aim in ((2000, "< 500"), (10000, ""), (20000, "< 2000")):
        data = folder / f"fleet-{machines}" / "data"
        data.parent.mkdir()
        gateway = Lone(data)
        gateway.begin()
        gateway.process.terminate()
        gateway.process.wait()
        subprocess.run([BUILD / "bench/fleet", "fill", data / "store.db", str(machines)], check=True, stdout=subprocess.DEVNULL)
        gateway.begin()
        gateway.until_quiet()  # the host of these machines is gone: that is noted once
        ours, bare = [], []
        for _ in range(rounds):
            gateway.kill()
            peer = subprocess.run([BUILD / "bench/fleet", "read", data / "store.db"], check=True, stdout=subprocess.PIPE, text=True).stdout
            bare.append(float(peer.split()[0]))
            ours.append(gateway.begin())
        objects = gateway.figure("objects")
        show(f"SIGKILL -> ready, {objects:,.0f} objects", statistics.median(ours), "ms", statistics.median(bare), aim)
        if machines == 10000:
            gateway.until_quiet()
            (resident, own), raw = gateway.memory(), gateway.figure("bytes")
            show(f"memory at {machines:,} machines (peer: their bytes)", resident / 2**20, "MiB", raw / 2**20, "<= 2.5")
            show("  of it its own", own / 2**20, "MiB", raw / 2**20)
        gateway.kill()
        shutil.rmtree(data.parent)


@contextlib.contextmanager
def lone(folder):
    """A gateway on loopback that ends with its rows, also when one of them fails."""
    folder.mkdir()
    gateway = Lone(folder / "data")
    gateway.begin()
    try:
        yield gateway
    finally:
        gateway.kill()


def bench_beside(folder, rounds):
    """Beside etcd and LXD, on the same disk."""
    from peers import bench_peers
    with lone(folder / "peers") as gateway:
        bench_peers(show, gateway, gateway.data.parent, BUILD, rounds)


def bench_upload(folder, rounds):
    """Beside cp, sha256sum and nginx, on the same disk."""
    from uploads import bench_uploads
    with lone(folder / "upload") as gateway:
        bench_uploads(show, gateway, gateway.data.parent, BUILD, rounds)


# --- long lists, many watches ---------------------------------------------------------------------------------------------------------------

LISTED = 20000
AS_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def fill(gateway, machines):
    """So many machines, all off, at rest."""
    from peers import GabbroMachines
    client = GabbroMachines(gateway, BUILD)
    for n in range(machines):
        client.create(n)
    gateway.until_quiet()


def cpu_ms(process):
    return int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/schedstat").read_text().split()[0]) / 1e6


def drain(gateway, path, accept):
    """Take a whole answer as it comes; its bytes."""
    text = (gateway.data / "admin.kubeconfig").read_text()
    context = ssl.create_default_context(cadata=base64.b64decode(re.search(r"authority-data: (\S+)", text).group(1)).decode())
    connection = http.client.HTTPSConnection("127.0.0.1", int(gateway.port.group(1)), context=context)
    connection.request("GET", path, headers={"Authorization": "Bearer " + re.search(r"token: (\S+)", text).group(1), "Accept": accept})
    answer, total, room = connection.getresponse(), 0, memoryview(bytearray(1 << 18))
    if answer.status != 200:
        raise SystemExit(f"bench: GET {path}: {answer.status}")
    while n := answer.readinto(room):
        total += n
    connection.close()
    return total


def bench_list(folder, rounds):
    """The time that the gateway's loop takes for a list, and by how much its memory grows meanwhile."""
    with lone(folder / "list") as gateway:
        fill(gateway, LISTED)
        pid = gateway.process.pid
        for name, accept, aim in (("kubectl table", AS_TABLE, "< 100"), ("whole objects", "application/json", "")):
            times, size = [], 0
            before = gateway.memory()[0]
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
            for _ in range(rounds):
                begun = cpu_ms(gateway.process)
                size = drain(gateway, "/apis/gabbro.dev/v1/virtualmachines", accept)
                times.append(cpu_ms(gateway.process) - begun)
            high = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) << 10
            show(f"list {LISTED:,} machines as {name}, {size / 2**20:.1f} MiB", statistics.median(times), "ms CPU", aim=aim)
            show("  memory that it takes at most", (high - before) / 2**20, "MiB")


WATCHERS, EVENTS = 1000, 300


def bench_watch(folder, rounds):
    """Events that reach a thousand clients; the peer writes as many bytes to as many connections and does nothing else."""
    with lone(folder / "watch") as gateway:
        text = (gateway.data / "admin.kubeconfig").read_text()
        token = re.search(r"token: (\S+)", text).group(1)
        path = "/api/v1/namespaces/default/configmaps/watched"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "watched"}, "data": {"n": "none yet", "text": "x" * 1000}}
        context = ssl.create_default_context(cadata=base64.b64decode(re.search(r"authority-data: (\S+)", text).group(1)).decode())
        connection = http.client.HTTPSConnection("127.0.0.1", int(gateway.port.group(1)), context=context)
        connection.request("POST", path.rsplit("/", 1)[0], json.dumps(body), {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
        size = len(connection.getresponse().read()) + 48
        ours, bare = [], []
        for _ in range(rounds):
            ours.append(float(watchers("read", gateway.port.group(1), token, path, WATCHERS, EVENTS)))
            peer = subprocess.Popen([BUILD / "bench/watchers", "serve", str(WATCHERS), str(EVENTS), str(size)], stdout=subprocess.PIPE, text=True)
            bare.append(float(watchers("read", peer.stdout.readline().strip(), "-", path, WATCHERS, EVENTS)))
            peer.kill()
            peer.wait()
        show(f"events to {WATCHERS:,} watches, {size} bytes each", statistics.median(ours) / 1000, "1,000/s", statistics.median(bare) / 1000,
             ">= 100, or ratio 0.5")


def watchers(*words):
    return subprocess.run([str(word) for word in (BUILD / "bench/watchers", *words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description="Measure, each figure beside its peer.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=["store", "fleet", "peers", "list", "watch", "scale", "api", "start", "memory", "adopt", "upload", "disks", "plug", "changes", "operations", "migrate"])
    args = parser.parse_args()

    def wanted(part):
        return not args.only or part in args.only

    folder = pathlib.Path(tempfile.mkdtemp(prefix="gabbro-bench.", dir="/var/tmp"))
    folder.chmod(0o755)
    bench = Bench(folder)
    try:
        if wanted("store"):
            bench_store(folder)
        if wanted("fleet"):
            bench_fleet(folder, args.rounds)
        if wanted("peers"):
            bench_beside(folder, args.rounds)
        if wanted("upload"):
            bench_upload(folder, args.rounds)
        if wanted("list"):
            bench_list(folder, args.rounds)
        if wanted("watch"):
            bench_watch(folder, args.rounds)
        if wanted("scale"):
            bench_scale(args.rounds)
        if wanted("migrate"):
            from migrate import bench_migrate
            bench_migrate(args.rounds, show, peer_xml)
        if any(wanted(part) for part in ("api", "start", "memory", "adopt", "disks", "plug", "changes", "operations")):
            subprocess.run([str(HOST), "up", str(bench.host), "--cache", "/var/tmp/gabbro-qemu-cache"], check=True, env=bench.env, stdin=subprocess.DEVNULL)
            bench.run("/usr/bin/python3", ROOT / "tools/demo.py", "up")
            if wanted("memory"):
                bench_memory(bench)
            if wanted("api"):
                bench_api(bench)
            if wanted("disks"):
                from disks import bench_disks
                bench_disks(bench, args.rounds, show)
            if wanted("plug"):
                from plug import bench_plug
                bench_plug(bench, args.rounds, show)
            if wanted("changes"):
                from changes import bench_changes
                bench_changes(bench, args.rounds, show, peer_xml)
            if wanted("operations"):
                from operations import bench_operations
                events = Events(bench)
                bench_operations(bench, args.rounds, show, events, peer_xml)
                events.close()
            if wanted("start"):
                bench_start(bench, args.rounds)
            if wanted("adopt"):
                bench_adopt(bench, args.rounds)
    finally:
        if bench.host.exists():
            subprocess.run([str(HOST), "down", str(bench.host)], env=bench.env, stdin=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
