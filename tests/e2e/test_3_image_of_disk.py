# SPDX-License-Identifier: Apache-2.0
"""Images that are made of disks: the bytes are those of the disk, whoever is killed while they are copied and sent (B11, B31, C11, C24, C30, D32, E26, E31)."""
import hashlib
import json
import pathlib
import time

import pytest
from cloud import BUILD, Daemon
from reliability import outcome
from test_1_first_machine import ssh
from test_3_disk_clones import clone, delete, first_runs, holds, ready
from test_8_space import condition, machine, remove  # noqa: F401

MIB = 1 << 20
SOURCE = "to-image"


def volumes(cloud, owner):
    return [v for v in cloud.get("volumes.host.gabbro.dev")["items"] if v["spec"]["owner"]["name"] == owner]


def tasks(cloud):
    return [t for t in cloud.get("hosttasks.host.gabbro.dev")["items"] if t["spec"]["type"] == "ExportVolume"]


def content(cloud, path):
    """The digest of what a guest sees."""
    script = f"qemu-img convert -U -f qcow2 -O raw '{path}' /tmp/seen.raw && sha256sum < /tmp/seen.raw; rm -f /tmp/seen.raw"
    return cloud.run("bash", "-c", script).stdout.split()[0]


def path_of(cloud, disk):
    return volumes(cloud, disk)[0]["status"]["path"]


def image(cloud, name, disk=SOURCE):
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualImage", "metadata": {"name": name},
        "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualDisk", "name": disk}}}}))


def disk_of(cloud, name, image_):
    """A disk of the image that needs no machine."""
    node = cloud.get("nodes")["items"][0]["metadata"]["name"]
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name, "annotations": {"gabbro.dev/selected-node": node}},
        "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualImage", "name": image_}}}}))
    cloud.wait("vd", name, "phase=Ready", 60)


def nothing_left(cloud, name):
    cloud.eventually("host and gateway keep nothing of the copy", lambda: not volumes(cloud, name) and not tasks(cloud))
    pool = pathlib.Path(path_of(cloud, "first-vm-root")).parent
    assert not list(pool.glob(f"*{name}-*")), "no file in the pool"
    cloud.eventually("no half upload", lambda: not list((cloud.demo / "gateway/blobs/uploads").glob("*.part")), 60)


@pytest.fixture(scope="module")
def source(cloud):
    """A disk whose content is known: 64 MiB, 48 of which a tool has written on the host."""
    node = cloud.get("nodes")["items"][0]["metadata"]["name"]
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": SOURCE, "annotations": {"gabbro.dev/selected-node": node}},
        "spec": {"persistentVolumeClaim": {"size": "64Mi"}}}))
    cloud.wait("vd", SOURCE, "phase=Ready", 60)
    raw = cloud.folder / "known.raw"
    raw.write_bytes(hashlib.shake_256(b"a disk").digest(48 * MIB) + bytes(16 * MIB))
    cloud.run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", raw, path_of(cloud, SOURCE))
    yield hashlib.sha256(raw.read_bytes()).hexdigest()
    raw.unlink()
    delete(cloud, SOURCE)


def test_B11_an_image_of_a_disk_has_its_bytes_and_disks_of_it_have_them_too(cloud, source):
    assert content(cloud, path_of(cloud, SOURCE)) == source

    assert "virtualimage/golden is ready" in cloud.gabbro("image", "from-disk", SOURCE, "--name", "golden").stdout

    status = cloud.get("vi", "golden")["status"]
    assert (status["phase"], status["format"], status["consistency"], status["progress"]) == ("Ready", "qcow2", "Stopped", "100%")
    assert status["size"]["unpackedBytes"] == 64 * MIB and 48 * MIB <= status["size"]["storedBytes"] < 52 * MIB
    blob = cloud.demo / "gateway/blobs/sha256" / status["target"]["digest"]
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == status["target"]["digest"]
    info = json.loads(cloud.run("qemu-img", "info", "-f", "qcow2", "--output", "json", blob).stdout)
    assert "backing-filename" not in info and not info["format-specific"]["data"]["corrupt"]
    nothing_left(cloud, "golden")
    disk_of(cloud, "of-golden", "golden")
    assert content(cloud, path_of(cloud, "of-golden")) == source
    delete(cloud, "of-golden")
    cloud.gabbro("delete", "vi", "golden", "--wait")



def test_an_image_of_a_running_machine_has_what_its_guest_had_not_written_out(cloud):
    first_runs(cloud)
    ssh(cloud, "sh", "-c", "'echo held-still-$((6*7)) > mark'")
    cloud.gabbro("image", "from-disk", "first-vm-root", "--name", "of-first", "--cluster")
    status = cloud.get("cvi", "of-first")["status"]
    assert status["consistency"] == "Agent", status
    assert holds(cloud, cloud.demo / "gateway/blobs/sha256" / status["target"]["digest"], "held-still-42")
    ssh(cloud, "sh", "-c", "'echo thawed > mark; sync'")
    nothing_left(cloud, "of-first")
    cloud.gabbro("delete", "cvi", "of-first", "--wait")


PLACES = ["hosttasks/export/read", "hosttasks/export/begun", "hosttasks/export/send", "volumes/create/filled"]


@pytest.mark.parametrize("place", PLACES)
def test_an_agent_that_is_killed_goes_on_with_what_was_sent(cloud, source, place):
    agent = Daemon(cloud, "agent")
    agent.end("TERM")
    agent.begin(BUILD / "tests/fault/gabbro-agent-faulty", GABBRO_FAULT=f"{place}=kill")
    image(cloud, "killed")
    cloud.eventually("the agent is killed", lambda: cloud.run("kill", "-0", str(agent.pid()), check=False).returncode, 60)
    agent.begin()
    cloud.wait("vi", "killed", "phase=Ready", 60)
    blob = cloud.demo / "gateway/blobs/sha256" / cloud.get("vi", "killed")["status"]["target"]["digest"]
    assert content(cloud, blob) == source
    nothing_left(cloud, "killed")
    cloud.gabbro("delete", "vi", "killed", "--wait")
    outcome("agent killed at a step", "image of a disk", "it goes on; the bytes are the disk's, nothing is left over")


def test_a_gateway_that_is_killed_while_the_bytes_come_gets_the_rest(cloud, source):
    gateway = Daemon(cloud, "gateway")
    uploads = cloud.demo / "gateway/blobs/uploads"
    nothing_left(cloud, "killed")
    image(cloud, "cut")
    end = time.monotonic() + 60
    while sum(p.stat().st_size for p in uploads.glob("*.part")) <= MIB:
        assert time.monotonic() < end, "no byte came"
    gateway.end("KILL")
    [part] = uploads.glob("*.part")
    assert MIB < part.stat().st_size < 48 * MIB, "it was killed in the middle"
    gateway.begin()
    cloud.gateway_serves()
    cloud.wait("vi", "cut", "phase=Ready", 90)
    blob = cloud.demo / "gateway/blobs/sha256" / cloud.get("vi", "cut")["status"]["target"]["digest"]
    assert content(cloud, blob) == source
    nothing_left(cloud, "cut")
    cloud.gabbro("delete", "vi", "cut", "--wait")
    outcome("gateway killed in the middle", "image of a disk", "the host sends the rest when the gateway is back; the bytes are the disk's")


def test_E28_a_linked_disk_at_rest_is_copied_whole_with_all_that_it_reads_from(cloud, source):
    for name, of in (("link", SOURCE), ("link-of-link", "link")):
        clone(cloud, name, of, "Linked")
        assert ready(cloud, name)[0]["mode"] == "Linked"
    cloud.run("qemu-io", "-f", "qcow2", "-c", "write -P 0x2a 50M 4096", path_of(cloud, "link-of-link"))
    clone(cloud, "whole", "link-of-link", "Full")
    how, path = ready(cloud, "whole")
    info = json.loads(cloud.run("qemu-img", "info", "-f", "qcow2", "--output", "json", path).stdout)
    assert how == {"mode": "Full", "consistency": "Stopped"} and "backing-filename" not in info
    wanted = content(cloud, path_of(cloud, "link-of-link"))
    assert content(cloud, path) == wanted != source
    image(cloud, "of-link", "link-of-link")
    cloud.wait("vi", "of-link", "phase=Ready", 60)
    assert content(cloud, cloud.demo / "gateway/blobs/sha256" / cloud.get("vi", "of-link")["status"]["target"]["digest"]) == wanted
    cloud.gabbro("delete", "vi", "of-link", "--wait")
    link, other = path_of(cloud, "link"), path_of(cloud, "first-vm-root")
    assert cloud.gabbro("storage", "doctor", check=False, timeout=60).stdout.count("LinkBroken") == 0
    cloud.run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", other, "-F", "qcow2", link)
    try:  # what was made a moment ago is thought to be worked on
        said = cloud.eventually("the doctor sees it", lambda: "LinkBroken" in (out := cloud.gabbro("storage", "doctor", check=False).stdout) and out)
    finally:
        cloud.run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", path_of(cloud, SOURCE), "-F", "qcow2", link)
    assert link in said and f"its header says that it reads from {other}" in said, said
    for name in ("whole", "link-of-link", "link"):
        delete(cloud, name)


@pytest.mark.parametrize("moment", ["copied", "sent"])
def test_an_image_that_is_deleted_in_the_middle_leaves_nothing(cloud, source, moment):
    image(cloud, "unwanted")
    if moment == "sent":
        cloud.eventually("it is being sent", lambda: tasks(cloud) or cloud.get("vi", "unwanted")["status"]["phase"] == "Ready")
    cloud.gabbro("delete", "vi", "unwanted", "--wait", timeout=60)
    nothing_left(cloud, "unwanted")
    assert content(cloud, path_of(cloud, SOURCE)) == source and condition(cloud.get("vd", SOURCE), "InUse")["status"] == "False"
    outcome("the image is deleted", "image of a disk", "copying and sending end; nothing is left on host and gateway")
