# SPDX-License-Identifier: Apache-2.0
"""A gateway and one agent whose libvirt is the test driver behind a real libvirtd: what a thousand machines on one host cost the
control plane, without a thousand guests. Used by the tests of this folder and by bench/run.py."""
import base64
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
from cloud import BIN, HOST, Cloud, Daemon  # noqa: E402

LIBVIRT = "test+unix:///default?socket=/run/libvirt/libvirt-sock"
LISTEN = "127.0.0.1:6443"
CAUGHT_UP = "caught up: every machine was looked at"
CLONE_NEWNET = 0x40000000
INSTANCES = "/apis/host.gabbro.dev/v1/instances"
HOST_KINDS = [INSTANCES, "/apis/host.gabbro.dev/v1/volumes", "/apis/host.gabbro.dev/v1/ports"]
MACHINES = "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
DISKS = "/apis/gabbro.dev/v1/namespaces/default/virtualdisks"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@contextlib.contextmanager
def inside(host):
    """This thread's new sockets belong to the network of the host."""
    libc = ctypes.CDLL(None, use_errno=True)
    pid = (host / "init.pid").read_text().split()[0]
    with open("/proc/thread-self/ns/net") as own, open(f"/proc/{pid}/ns/net") as other:
        if libc.setns(other.fileno(), CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(own.fileno(), CLONE_NEWNET)


class Api:
    """One connection of the administrator, made again when it broke."""

    def __init__(self, cloud):
        self.cloud, self.connection = cloud, None
        text = cloud.kubeconfig.read_text()
        self.headers = {"Authorization": "Bearer " + re.search(r"token: (\S+)", text).group(1), "Content-Type": "application/json"}
        ca = base64.b64decode(re.search(r"certificate-authority-data: (\S+)", text).group(1)).decode()
        self.tls = ssl.create_default_context(cadata=ca)

    def open(self, method, path, body=None, seconds=60):
        if self.connection is None:
            host, port = LISTEN.split(":")
            self.connection = http.client.HTTPSConnection(host, int(port), context=self.tls, timeout=seconds)
            with inside(self.cloud.host):
                self.connection.connect()
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
            return self.connection.getresponse()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def ask(self, method, path, body=None):
        try:
            answer = self.open(method, path, body)
        except http.client.RemoteDisconnected:  # it was idle for too long
            answer = self.open(method, path, body)
        text = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, json.loads(text)

    def items(self, path):
        status, body = self.ask("GET", path)
        assert status == 200, body
        return body["items"]

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Follower:
    """What a watch says of each object of one kind, until a wish is fulfilled."""

    def __init__(self, cloud, path):
        self.api, self.path, self.objects = Api(cloud), path, {}

    def until(self, wish, seconds):
        """Lists, then watches; @wish is asked after each event. Return: seconds it took."""
        begun = time.monotonic()
        try:
            while not self.follow(wish, begun + seconds):
                self.api.close()  # the stream has ended: list again
        finally:
            self.api.close()
        return time.monotonic() - begun

    def follow(self, wish, end):
        status, body = self.api.ask("GET", self.path)
        assert status == 200, body
        self.objects = {o["metadata"]["name"]: o for o in body["items"]}
        answer = self.api.open("GET", f"{self.path}?watch=true&resourceVersion={body['metadata']['resourceVersion']}")
        while not wish(self.objects.values()):
            left = end - time.monotonic()
            assert left > 0, f"{self.path}: what is waited for did not come in time"
            self.api.connection.sock.settimeout(left)
            line = answer.readline()
            if not line:
                return False
            event = json.loads(line)
            name = event["object"]["metadata"]["name"]
            if event["type"] == "DELETED":
                self.objects.pop(name, None)
            else:
                self.objects[name] = event["object"]
        return True


def disk(name):
    return {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name},
            "spec": {"persistentVolumeClaim": {"size": "1Mi"}}}


def machine(name, disk_name):
    return {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name},
            "spec": {"virtualMachineClassName": "generic", "runPolicy": "AlwaysOn", "cpu": {"cores": 1, "coreFraction": "5%"},
                     "memory": {"size": "64Mi"}, "networks": [{"type": "Network", "name": "large"}],
                     "blockDeviceRefs": [{"kind": "VirtualDisk", "name": disk_name}]}}


NETWORK = {"apiVersion": "gabbro.dev/v1", "kind": "Network", "metadata": {"name": "large"}, "spec": {"cidr": "10.70.0.0/20"}}


class Scale(Cloud):
    libvirt = LIBVIRT

    def begin(self):
        for part in ("run", "log", "gateway", "agent", "pools"):
            (self.demo / part).mkdir(parents=True)
        # The driver's machines live as long as somebody is connected to it.
        self.holder = subprocess.Popen(self.argv("virsh", "-c", LIBVIRT, "event", "--loop", "--event", "lifecycle"), env=self.env,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.start("gateway", BIN / "gabbro-gateway", "--data-dir", self.demo / "gateway", "--listen", LISTEN, "--pool-path",
                   self.demo / "pools/default")
        self.eventually("the gateway serves", lambda: self.kubeconfig.exists() and self.gabbro("version", check=False).returncode == 0)
        self.api = Api(self)
        token = self.demo / "agent/join-token"
        token.write_text(self.gabbro("node", "join-token").stdout)
        self.start("agent", BIN / "gabbro-agent", "--data-dir", self.demo / "agent", "--gateway", f"https://{LISTEN}", "--pool-base",
                   self.demo / "pools", "--libvirt-uri", LIBVIRT, "--join-token-file", token)
        self.eventually("the node is ready", self.node_ready)
        assert self.api.ask("POST", "/apis/gabbro.dev/v1/networks", NETWORK)[0] == 201

    def start(self, name, *argv):
        pid_file, log = self.demo / f"run/{name}.pid", self.demo / f"log/{name}.log"
        script = (f'setsid "$@" </dev/null >>{log} 2>&1 & '
                  f"echo $! $(sed 's/.*) //' /proc/$!/stat | cut -d' ' -f20) >{pid_file}")
        self.run("bash", "-c", script, "daemon", *argv)

    def node(self):
        return next(iter(self.api.items("/api/v1/nodes")), {})

    def node_ready(self):
        return any(c["type"] == "Ready" and c["status"] == "True" for c in self.node().get("status", {}).get("conditions", []))

    def end(self):
        self.api.close()
        self.holder.terminate()
        self.holder.wait()

    def resident_mib(self, name):
        text = self.run("cat", f"/proc/{Daemon(self, name).pid()}/status").stdout
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1024

    def processor_s(self, name):
        fields = self.run("cat", f"/proc/{Daemon(self, name).pid()}/stat").stdout.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def create(self, n):
        """@n machines with a disk each, all wanted at once. Return: seconds until all were told, and until the last one ran."""
        begun = time.monotonic()
        for i in range(n):
            for path, body in ((DISKS, disk(f"d{i:04}")), (MACHINES, machine(f"m{i:04}", f"d{i:04}"))):
                status, answer = self.api.ask("POST", path, body)
                assert status == 201, answer
        told = time.monotonic() - begun
        Follower(self, MACHINES).until(lambda all: len(all) == n and all_in(all, "Running"), 60 + n)
        return told, time.monotonic() - begun

    def adopt(self):
        """The agent is killed and begun again. Return: seconds from the signal until it has compared all with the host."""
        agent = Daemon(self, "agent")
        said = agent.log.stat().st_size
        begun = time.monotonic()
        agent.again()
        self.eventually("all are adopted", lambda: CAUGHT_UP in agent.log.read_text(errors="replace")[said:], 300)
        return time.monotonic() - begun


def all_in(machines, phase):
    return all(m.get("status", {}).get("phase") == phase for m in machines)


@contextlib.contextmanager
def scale_cloud(prefix):
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix + ".", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Scale(folder)
    subprocess.run([str(HOST), "up", str(made.host), "--cache", "/var/tmp/gabbro-qemu-cache"], check=True, env=made.env,
                   stdin=subprocess.DEVNULL)
    try:
        made.begin()
        yield made
        made.end()
    finally:
        subprocess.run([str(HOST), "down", str(made.host)], env=made.env, stdin=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
