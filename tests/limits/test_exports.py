# SPDX-License-Identifier: Apache-2.0
"""What a host may send of a disk that an image is made of, and what not: a gateway, and hosts that say whatever they like. Attacks 1, 7 and 28; B11, B31, C11, D32."""
import hashlib
import json
import signal
import subprocess
import time

import pytest
from front import Answers, Gateway
from reliability import attack, outcome
from test_nodes import Node

MIB = 1 << 20
OWN, HOSTS = "/apis/gabbro.dev/v1", "/apis/host.gabbro.dev/v1"
VI = f"{OWN}/namespaces/default/virtualimages"
VD = f"{OWN}/namespaces/default/virtualdisks"
TUS = "Tus-Resumable: 1.0.0"


class Mortal(Gateway):
    """One that is killed and begun again on its data and its port."""

    def again(self):
        argv = self.process.args[:-2] + ["--listen", f"127.0.0.1:{self.port}"] if self.process.args[-2] == "--listen" else self.process.args
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.until("it serves again", self.serves)

    def serves(self):
        assert self.process.poll() is None, self.words()
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path):
        status, body = self.ask("GET", path)
        return json.loads(body) if status == 200 else None

    def make(self, path, body):
        status, text = self.ask("POST", path, body)
        assert status in (200, 201), text
        return json.loads(text)


class Host(Node):
    """Says of every intent that it is done."""

    def raw(self, method, path, *headers, body=b""):
        """One request: (status, headers, body)."""
        with self.connect() as connection:
            lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}"]
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
            answers = Answers(connection)
            status, text = answers.next()
            told = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in answers.head.splitlines()[1:] if ":" in line}
            return status, told, text

    def tell(self, plural, name, **status):
        assert self.ask("PUT", f"/agent/v1/intents/{plural}/{name}/status", status)[0] == 200

    def volume(self, owner):
        """The Volume of an owner is there with all its content."""
        found = []
        self.gateway.until(f"there is a Volume of {owner}", lambda: found.extend(
            v for v in self.gateway.get(f"{HOSTS}/volumes")["items"] if v["spec"]["owner"]["name"] == owner) or found)
        copied = {"copied": {"mode": "Full", "consistency": "Stopped"}} if "copy" in found[0]["spec"] else {}
        self.tell("volumes", found[0]["metadata"]["name"], state="Ready", path=f"/p/{owner}", capacityBytes=found[0]["spec"]["capacityBytes"], **copied)

    def image(self, name, disk="known"):
        """An image of the disk, copied; the task that is to send it."""
        self.gateway.make(VI, {"apiVersion": "gabbro.dev/v1", "kind": "VirtualImage", "metadata": {"name": name}, "spec": {
            "dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualDisk", "name": disk}}}})
        self.volume(name)
        found = []
        self.gateway.until(f"there is a task for {name}", lambda: found.extend(
            t for t in self.gateway.get(f"{HOSTS}/hosttasks")["items"] if t["spec"]["owner"]["name"] == name) or found)
        return f"/agent/v1/exports/{found[0]['metadata']['name']}"

    def announce(self, path, data, digest=None):
        return self.raw("POST", f"{path}?sha256={digest or hashlib.sha256(data).hexdigest()}", TUS, f"Upload-Length: {len(data)}")

    def piece(self, path, data, offset=0):
        return self.raw("PATCH", path, TUS, "Content-Type: application/offset+octet-stream", f"Upload-Offset: {offset}", body=data[offset:])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    made = Mortal(tmp_path_factory.mktemp("gateway"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def host(gateway, tmp_path_factory):
    made = Host(gateway, tmp_path_factory.mktemp("host"), "n1", ["192.0.2.7"])
    gateway.make(VD, {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": "known", "annotations": {"gabbro.dev/selected-node": "n1"}},
                      "spec": {"persistentVolumeClaim": {"size": "64Mi"}}})
    made.volume("known")
    return made


def fate(gateway, name):
    seen = []

    def ended():
        status = gateway.get(f"{VI}/{name}")["status"]
        seen[:] = [status]
        return status["phase"] in ("Ready", "Failed") and not any(t["spec"].get("owner", {}).get("name") == name and "deletionTimestamp" not in t["metadata"]
                                                                  for t in gateway.get(f"{HOSTS}/hosttasks")["items"])
    gateway.until(f"{name} has ended", ended)
    said = next(c for c in seen[0]["conditions"] if c["type"] == "DatasourceReady")
    return seen[0]["phase"], said["reason"], seen[0]


def nothing_left(gateway):
    parts = [p for p in (gateway.folder / "data/blobs/uploads").iterdir() if p.suffix != ".record"]
    assert not parts and not list((gateway.folder / "data/blobs/intake").iterdir()), parts


def test_the_bytes_go_on_at_the_offset_after_each_death_of_the_gateway_and_the_host(gateway, host):
    data = hashlib.shake_256(b"a copy").digest(6 * MIB + 77)
    path = host.image("told")
    assert host.raw("GET", path, TUS)[0] == 404
    assert host.announce(path, data)[0] == 201
    offset = 0
    for n in (1, MIB + 3, 3 * MIB):
        with host.connect() as connection:
            connection.sendall((f"PATCH {path} HTTP/1.1\r\nHost: x\r\n{TUS}\r\nContent-Type: application/offset+octet-stream\r\n"
                                f"Upload-Offset: {offset}\r\nContent-Length: {len(data) - offset}\r\n\r\n").encode() + data[offset:offset + n])
        gateway.until("the rest of it was taken", lambda: int((host.raw("GET", path, TUS)[1]).get("upload-offset", -1)) >= 0)
        told = int(host.raw("GET", path, TUS)[1]["upload-offset"])
        assert told <= offset + n
        gateway.again()
        status, words, _ = host.raw("GET", path, TUS)
        assert status == 200 and int(words["upload-length"]) == len(data)
        assert told <= int(words["upload-offset"]) <= offset + n, "what was told is there"
        offset = int(words["upload-offset"])
    assert offset > 0
    status, words, _ = host.piece(path, data, offset)
    assert (status, int(words["upload-offset"])) == (204, len(data))
    phase, _, status = fate(gateway, "told")
    assert (phase, status["format"], status["target"]["digest"]) == ("Ready", "raw", hashlib.sha256(data).hexdigest())
    assert status["downloadSpeed"]["avgBytes"] > 0 and "/s" in status["downloadSpeed"]["avg"] and "currentBytes" not in status["downloadSpeed"]
    assert status["consistency"] == "Stopped" and status["size"]["storedBytes"] == len(data)
    gateway.again()
    assert (gateway.folder / "data/blobs/sha256" / status["target"]["digest"]).read_bytes() == data
    nothing_left(gateway)
    outcome("gateway killed between pieces, again and again", "image of a disk", "what the host was told is there; it goes on, and the digest is right")


def test_only_the_host_of_the_task_may_send_and_only_for_it(gateway, host, tmp_path):
    data = b"x" * 4096
    path = host.image("mine")
    other = Host(gateway, tmp_path, "n2")
    assert [other.raw(m, path, TUS)[0] for m in ("GET", "POST", "PATCH")] == [403] * 3
    assert gateway.ask("GET", path)[0] in (401, 403, 404)
    assert host.raw("GET", "/agent/v1/exports/nothing", TUS)[0] == 404
    assert host.announce(path, data, digest="no digest")[0] == 400
    ensure = next(t["metadata"]["name"] for t in gateway.get(f"{HOSTS}/hosttasks")["items"] if t["spec"]["type"] == "EnsurePool") if any(
        t["spec"]["type"] == "EnsurePool" for t in gateway.get(f"{HOSTS}/hosttasks")["items"]) else None
    if ensure:
        assert host.announce(f"/agent/v1/exports/{ensure}", data)[0] in (403, 409)
    assert host.announce(path, data)[0] == 201
    assert other.piece(path, data)[0] == 403
    assert host.piece(path, data + b"more")[0] == 413
    assert host.piece(path, data, 7)[0] == 409
    assert gateway.ask("DELETE", f"{VI}/mine")[0] == 200
    gateway.until("nobody wants it any more", lambda: host.piece(path, data)[0] in (404, 409, 410))
    attack(28, "a host that sends the bytes of another host's task, of no task, or more than it announced", "refused (403, 404, 409, 413)")


def test_a_file_of_a_host_is_judged_as_every_other_one(gateway, host, tmp_path):
    backed = tmp_path / "backed.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", backed, "1M"], check=True)
    good = hashlib.shake_256(b"good").digest(70000)
    for name, data, digest, reason in (("backed", backed.read_bytes(), None, "ImageHasBackingFile"),
                                       ("short", b"QFI\xfb\0\0\0\3" + bytes(90), None, "ImageHeaderInvalid"),
                                       ("other", good, "0" * 64, "ImageDigestMismatch")):
        path = host.image(name)
        assert host.announce(path, data, digest)[0] == 201
        assert host.piece(path, data)[0] == 422
        phase, why, _ = fate(gateway, name)
        assert (phase, why) == ("Failed", reason)
        assert host.raw("GET", path, TUS)[0] in (404, 409, 422)
    gateway.until("nothing of it is kept", lambda: not list((gateway.folder / "data/blobs/uploads").glob("*.part")))
    nothing_left(gateway)
    attack(1, "a copy of a disk with a backing file of the gateway's host, sent by a host that lies", "refused: ImageHasBackingFile; nothing is kept")


def test_a_quota_that_has_no_room_is_said_and_it_goes_on_when_there_is(gateway, host):
    gateway.make("/api/v1/namespaces/default/resourcequotas", {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
                                                               "spec": {"hard": {"images.storage": "7Mi"}}})
    data = hashlib.shake_256(b"too much").digest(2 * MIB)
    path = host.image("large")
    status, _, words = host.announce(path, data)
    assert status == 403 and "images.storage" in words.decode(), words
    assert gateway.ask("DELETE", "/api/v1/namespaces/default/resourcequotas/few")[0] == 200
    gateway.until("there is room", lambda: host.announce(path, data)[0] == 201)
    assert host.piece(path, data)[0] == 204
    assert fate(gateway, "large")[0] == "Ready"


def test_who_may_not_read_the_disk_makes_no_image_of_it(gateway, host):
    """A project's image of its disk, and a cluster's of any project's disk or image."""
    def role(name, rules):
        gateway.make("/apis/rbac.authorization.k8s.io/v1/clusterroles", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})

    images = {"apiGroups": ["gabbro.dev"], "resources": ["virtualimages", "clustervirtualimages"], "verbs": ["create"]}
    role("makes-images", [images])
    role("reads-disks", [{"apiGroups": ["gabbro.dev"], "resources": ["virtualdisks", "virtualimages"], "verbs": ["get"]}])
    gateway.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "makes-images"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "makes-images"},
        "subjects": [{"kind": "ServiceAccount", "name": "maker", "namespace": "default"}]})
    gateway.make("/api/v1/namespaces/default/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "maker"}})
    token = gateway.make("/api/v1/namespaces/default/serviceaccounts/maker/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})["status"]["token"]

    def tries(path, made, ref):
        mine, gateway.token = gateway.token, token
        try:
            return gateway.ask("POST", path, {"apiVersion": "gabbro.dev/v1", "kind": made, "metadata": {"name": f"try-{time.monotonic_ns()}"},
                                              "spec": {"dataSource": {"type": "ObjectRef", "objectRef": ref}}})
        finally:
            gateway.token = mine

    asked = [(VI, "VirtualImage", {"kind": "VirtualDisk", "name": "known"}),
             (f"{OWN}/clustervirtualimages", "ClusterVirtualImage", {"kind": "VirtualDisk", "name": "known", "namespace": "default"}),
             (f"{OWN}/clustervirtualimages", "ClusterVirtualImage", {"kind": "VirtualImage", "name": "large", "namespace": "default"})]
    for path, kind, ref in asked:
        status, words = tries(path, kind, ref)
        assert status == 403 and "forbidden" in words.decode(), words
    gateway.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "reads-disks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-disks"},
        "subjects": [{"kind": "ServiceAccount", "name": "maker", "namespace": "default"}]})
    for path, kind, ref in asked:
        gateway.until("the right is there", lambda: tries(path, kind, ref)[0] == 201)
    attack(27, "an image, also one for all, of a disk or image that its maker may not read", "refused (403)")
