# SPDX-License-Identifier: Apache-2.0
"""Full file systems under running guests and under disks that are being made: told with words, nothing half-made, gone on when there is space."""
import contextlib
import json
import time

import pytest
from cloud import Daemon
from reliability import outcome

MIB = 1 << 20


def machine(name, disks, run=""):
    """A machine that boots from the tiny image; @disks: [(name, size, pool, image)], @run: a command of its first boot."""
    parts = []
    for disk, size, pool, image in disks:
        source = {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": image}}} if image else {}
        claim = {"size": size} | ({"storageClassName": pool} if pool else {})
        parts.append({"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": disk},
                      "spec": {"persistentVolumeClaim": claim} | source})
    data = f"#cloud-config\nhostname: {name}\n" + (f"runcmd:\n- {json.dumps(run)}\n" if run else "")
    parts.append({"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name},
                  "spec": {"virtualMachineClassName": "generic", "runPolicy": "AlwaysOnUnlessStoppedManually", "cpu": {"cores": 1, "coreFraction": "10%"},
                           "memory": {"size": "128Mi"}, "provisioning": {"type": "UserData", "userData": data},
                           "blockDeviceRefs": [{"kind": "VirtualDisk", "name": d[0]} for d in disks]}})
    return "\n---\n".join(json.dumps(p) for p in parts)


def condition(thing, kind):
    return next((c for c in thing.get("status", {}).get("conditions", []) if c["type"] == kind), {})


def reasons(cloud, name):
    return [e["reason"] for e in cloud.get("events")["items"] if e["involvedObject"]["name"] == name]


def remove(cloud, name, disks):
    cloud.gabbro("stop", name, "--force")
    cloud.gabbro("delete", "vm", name, "--wait", timeout=150)
    for disk in disks:
        cloud.gabbro("delete", "vd", disk, "--wait", timeout=150)


class Small:
    """A StoragePool on a small file system of its own, with a file that takes its space away."""

    def __init__(self, cloud, size_mib):
        self.cloud, self.path, self.ballast = cloud, cloud.folder / "small", cloud.folder / "small/ballast"
        self.path.mkdir(exist_ok=True)
        cloud.run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "small", self.path)
        pool = {"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "small"},
                "spec": {"type": "Directory", "path": str(self.path)}}
        cloud.gabbro("apply", "-f", "-", input=json.dumps(pool))
        cloud.wait("storagepool", "small", "phase=Ready")

    def leave(self, mib):
        """Take all space but @mib away."""
        self.give_back()
        free = int(self.cloud.run("stat", "-f", "-c", "%a", self.path).stdout) * int(self.cloud.run("stat", "-f", "-c", "%S", self.path).stdout)
        self.cloud.run("fallocate", "-l", free - mib * MIB, self.ballast)

    def give_back(self):
        self.cloud.run("rm", "-f", self.ballast)

    def files(self):
        return sorted(set(self.cloud.run("ls", self.path).stdout.split()) - {"ballast"})

    def used(self):
        return sum(int(line.split()[0]) * 1024 for line in self.cloud.run("du", "-sk", self.path).stdout.splitlines())


@pytest.fixture(scope="module")
def small(cloud):
    pool = Small(cloud, 64)
    yield pool
    cloud.gabbro("delete", "storagepool", "small", "--wait", "--timeout", "30", check=False)  # waits for disks that a failed test left
    cloud.run("umount", pool.path)


def test_A17_pool_full_under_a_running_guest(cloud, small):
    disks = [("full-root", "256Mi", None, "tiny"), ("full-data", "48Mi", "small", None)]
    small.leave(12)
    cloud.gabbro("apply", "-f", "-", input=machine("full", disks, "dd if=/dev/urandom of=/dev/vdb bs=64k count=640; sync"))
    stands = lambda: condition(cloud.vm("full"), "Running").get("reason") == "PoolFull"  # noqa: E731
    cloud.eventually("the guest stands still", stands, 120)
    vm = cloud.vm("full")
    assert vm["status"]["phase"] == "Pause" and cloud.domstate("full") == "paused"
    assert "no space" in condition(vm, "Running")["message"] and "vdb" in condition(vm, "Running")["message"]
    cloud.eventually("an event tells of it", lambda: "PoolFull" in reasons(cloud, "full"))
    full = lambda: condition(cloud.get("storagepool", "small"), "SpaceAvailable").get("reason") == "PoolFull"  # noqa: E731
    cloud.eventually("the pool tells of it", full)

    # Neither a new agent nor a new libvirtd, which has forgotten why it is paused, lets it run into the wall again.
    started = cloud.vm("full")["status"]["stats"]["lastStartTime"]
    log = Daemon(cloud, "agent").log
    Daemon(cloud, "agent").again()
    cloud.libvirtd("kill")
    cloud.libvirtd("start")
    cloud.eventually("libvirt is back", lambda: "the host can run" in log.read_text().rsplit("the agent runs", 1)[1], 60)
    assert stands() and cloud.domstate("full") == "paused"

    small.give_back()
    cloud.wait("vm", "full", "phase=Running", 60)
    cloud.eventually("an event tells that it goes on", lambda: "Resumed" in reasons(cloud, "full"))
    cloud.eventually("what the guest wrote is there", lambda: small.used() > 40 * MIB, 60)
    assert log.read_text().count("there is space again") == 1, "it was let run into the wall"
    status = cloud.vm("full")["status"]
    assert status["epoch"] == 1 and status["stats"]["lastStartTime"] == started, "it was started anew"
    available = lambda: condition(cloud.get("storagepool", "small"), "SpaceAvailable").get("status")  # noqa: E731
    assert available() in ("True", "False")
    remove(cloud, "full", ["full-data", "full-root"])
    assert small.files() == []
    outcome("a pool has no room", "its guest writes", "the guest stands still, reason PoolFull; it goes on by itself when there is room, nothing it wrote is lost")


def test_C2_pool_full_while_a_disk_is_made(cloud, small):
    small.leave(4)
    cloud.gabbro("apply", "-f", "-", input=machine("made", [("made-root", "256Mi", "small", "tiny")]))

    def failed(disk):  # one look: it is tried again and again
        return disk["status"]["phase"] == "Failed" and condition(disk, "Ready").get("reason") == "PoolFull"

    cloud.eventually("the disk says why", lambda: failed(cloud.get("vd", "made-root")), 60)
    cloud.eventually("nothing half-made is left", lambda: small.files() == [])
    cloud.eventually("the machine says what it waits for", lambda: "space" in condition(cloud.vm("made"), "Running")["message"])
    small.give_back()
    cloud.wait("vm", "made", "phase=Running", 90)
    assert condition(cloud.get("vd", "made-root"), "Ready")["status"] == "True"
    remove(cloud, "made", ["made-root"])
    outcome("a pool has no room", "a disk is made", "nothing half-made stays, disk and machine say PoolFull; made when there is room")


def test_E28_E29_pool_full_while_a_disk_is_cloned_and_grown(cloud, small):
    """Neither leaves anything half-made; both are done when there is room."""
    small.give_back()
    cloud.gabbro("apply", "-f", "-", input=machine("source", [("source-root", "128Mi", "small", "tiny")]))
    cloud.wait("vm", "source", "phase=Running", 120)
    cloud.gabbro("force-off", "source", "--wait", timeout=90)
    before = small.files()
    small.leave(2)
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": "source-copy"},
        "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualDisk", "name": "source-root"}}, "clone": {"mode": "Full"}}}))
    cloud.eventually("the clone says why", lambda: condition(cloud.get("vd", "source-copy"), "Ready").get("reason") == "PoolFull", 60)
    cloud.eventually("nothing half-made is left", lambda: small.files() == before)
    small.give_back()
    cloud.eventually("it is made", lambda: cloud.get("vd", "source-copy")["status"]["phase"] == "Ready", 90)
    cloud.gabbro("delete", "vd", "source-copy", "--wait", timeout=90)
    outcome("a pool has no room", "a disk is cloned", "nothing half-made stays, the disk says PoolFull; made when there is room")

    small.leave(0)
    cloud.kubectl("patch", "vd", "source-root", "--type", "merge", "-p", json.dumps({"spec": {"persistentVolumeClaim": {"size": "512Gi"}}}))
    cloud.eventually("the growth says why", lambda: condition(cloud.get("vd", "source-root"), "Resizing").get("reason") == "PoolFull", 60)
    disk = cloud.get("vd", "source-root")["status"]
    assert disk["phase"] == "Ready" and disk["capacity"] == "128Mi", "it is as it was"
    time.sleep(1)
    assert Daemon(cloud, "agent").log.read_text().count("volume could not grow") < 10, "what an attempt writes does not begin the next one"
    small.give_back()
    cloud.eventually("it grows", lambda: cloud.get("vd", "source-root")["status"]["capacity"] == "512Gi", 90)
    cloud.gabbro("delete", "vm", "source", "--wait", timeout=90)
    cloud.gabbro("delete", "vd", "source-root", "--wait", timeout=90)
    assert small.files() == []
    outcome("a pool has no room", "a disk grows", "it stays as it was and usable, Resizing says PoolFull; it grows when there is room")


@contextlib.contextmanager
def mounted(cloud, path, size):
    agent = Daemon(cloud, "agent")
    agent.end("TERM")
    cloud.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "full", path)
    agent.begin()
    try:
        yield
    finally:
        agent.end("TERM")
        cloud.run("umount", path)
        agent.begin()


def test_E35_no_room_for_an_image_on_the_host(cloud):
    disks = [("cramped-root", "256Mi", None, "tiny")]
    with mounted(cloud, cloud.demo / "agent/images", "1m"):
        cloud.gabbro("apply", "-f", "-", input=machine("cramped", disks))
        why = lambda: condition(cloud.get("vd", "cramped-root"), "Ready").get("message", "")  # noqa: E731
        cloud.eventually("the disk says why", lambda: "has no room" in why(), 60)
        held = lambda: int(cloud.run("du", "-sk", cloud.demo / "agent/images").stdout.split()[0])  # noqa: E731
        cloud.eventually("the room that there is was given back", lambda: held() < 100, 20)
    cloud.wait("vm", "cramped", "phase=Running", 120)
    remove(cloud, "cramped", ["cramped-root"])
    outcome("a host has no room for images", "a disk is made from an image", "what was fetched is given back, the disk says why; made when there is room")


def test_C16_no_room_for_the_journal(cloud):
    """Nothing is begun that could not be undone; what runs runs on."""
    disks = [("blind-root", "256Mi", None, "tiny")]
    with mounted(cloud, cloud.demo / "agent/journal", "4k"):
        cloud.run("sh", "-c", f"head -c 4096 /dev/zero >{cloud.demo}/agent/journal/x", check=False)
        cloud.gabbro("apply", "-f", "-", input=machine("blind", disks))
        why = lambda: condition(cloud.get("vd", "blind-root"), "Ready").get("message", "")  # noqa: E731
        cloud.eventually("the disk says why", lambda: "journal" in why(), 60)
        assert cloud.domstate("first-vm") == "running"
    cloud.wait("vm", "blind", "phase=Running", 120)
    remove(cloud, "blind", ["blind-root"])
    outcome("a host has no room for the agent's journal", "a machine is created", "nothing is begun that could not be undone; what runs runs on")


def test_E35_image_gone_from_the_gateway(cloud):
    disks = [("orphan-root", "256Mi", None, "tiny")]
    digest = cloud.get("cvi", "tiny")["status"]["ingest"]["digest"]
    blob, kept = cloud.demo / f"gateway/blobs/sha256/{digest}", cloud.folder / "kept"
    agent = Daemon(cloud, "agent")
    agent.end("TERM")
    cloud.run("mv", blob, kept)
    cloud.run("rm", cloud.demo / f"agent/images/{digest}")
    agent.begin()
    try:
        cloud.gabbro("apply", "-f", "-", input=machine("orphan", disks))
        why = lambda: condition(cloud.get("vd", "orphan-root"), "Ready").get("message", "")  # noqa: E731
        words = cloud.eventually("the disk says why", lambda: "image" in why() and "gateway" in why() and why(), 60)
        assert "no longer" in words
        assert cloud.domstate("first-vm") == "running"
    finally:
        cloud.run("mv", kept, blob)
    cloud.wait("vm", "orphan", "phase=Running", 120)
    remove(cloud, "orphan", ["orphan-root"])
    outcome("an image is gone from the gateway", "a disk is made from it", "the disk says that the gateway has it no longer; made when it is back")
