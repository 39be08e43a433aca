# SPDX-License-Identifier: Apache-2.0
"""Disks of images, in each way that the pool can: whole, sharing blocks, linked; what a linked one needs stays (B11, B13, C11, C12, C24-C30, D32, E28, E29, A57)."""
import json
import pathlib

import pytest
from cloud import Daemon
from test_3_disk_clones import POOL, delete, ready, shared_blocks  # noqa: F401
from test_8_space import condition, machine, remove

MIB = 1 << 20
IMAGE = "of-tiny"


def made(cloud, name, mode="Auto", pool=None, **claim):
    """A disk of the image that needs no machine: it says where it shall lie."""
    claim |= {"storageClassName": pool} if pool else {}
    node = cloud.get("nodes")["items"][0]["metadata"]["name"]
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name, "annotations": {"gabbro.dev/selected-node": node}},
        "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": IMAGE}},
                 "clone": {"mode": mode}, "persistentVolumeClaim": claim}}))


def info(cloud, path):
    return json.loads(cloud.run("qemu-img", "info", "-U", "-f", "qcow2", "--output", "json", path).stdout)


def bases(cloud):
    """The paths of what the image has on the host for its disks."""
    return [v["status"].get("path") for v in cloud.get("volumes.host.gabbro.dev")["items"] if v["spec"]["owner"]["name"] == IMAGE]


def uses(cloud):
    return condition(json.loads(cloud.gabbro("get", "cvi", IMAGE, "-o", "json").stdout), "InUse")


def test_E28_without_a_word_a_disk_is_whole_where_the_file_system_shares_no_blocks(cloud):
    cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "ClusterVirtualImage", "metadata": {"name": IMAGE},
                                                       "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}}}}))
    cloud.wait("cvi", IMAGE, "phase=Ready")
    shares = cloud.eventually("what the file system can is told", lambda: (n := cloud.get("sp", "default")["status"]["nodes"][0]) and "reflink" in n and [n["reflink"]], 60)[0]
    made(cloud, "whole", "Full" if shares else "Auto")
    how, path = ready(cloud, "whole")
    assert how == {"mode": "Full", "consistency": "Stopped"}
    features = info(cloud, path)["format-specific"]["data"]
    assert features["lazy-refcounts"] and features["extended-l2"] and "backing-filename" not in info(cloud, path)
    assert bases(cloud) == []
    delete(cloud, "whole")
    if not shares:
        with pytest.raises(AssertionError, match="spec.clone.mode: Invalid value: \"Reflink\": The file system cannot share blocks"):
            made(cloud, "never", "Reflink")


def test_D32_machines_on_linked_disks_boot_and_share_one_copy_of_their_image(cloud):
    text = machine("linked-vm", [("linked-root", "300Mi", None, IMAGE)])
    cloud.gabbro("apply", "-f", "-", input=text.replace('"dataSource"', '"clone": {"mode": "Linked"}, "dataSource"'))
    cloud.wait("vm", "linked-vm", "phase=Running", 120)
    how, path = ready(cloud, "linked-root")
    [base] = bases(cloud)
    seen = info(cloud, path)
    assert how == {"mode": "Linked", "consistency": "Stopped"} and seen["backing-filename"] == base and seen["backing-filename-format"] == "qcow2"
    assert seen["virtual-size"] == 300 * MIB and pathlib.Path(base).parent == pathlib.Path(path).parent
    cloud.eventually("the guest has booted", lambda: condition(cloud.vm("linked-vm"), "AgentReady").get("status") == "True", 90)
    before = cloud.run("sha256sum", base).stdout
    made(cloud, "second", "Linked")
    how, path = ready(cloud, "second")
    assert bases(cloud) == [base] and info(cloud, path)["backing-filename"] == base and info(cloud, path)["actual-size"] < 2 * MIB
    assert uses(cloud)["status"] == "True"
    remove(cloud, "linked-vm", ["linked-root"])
    assert cloud.run("sha256sum", base).stdout == before, "whatever guests write, nobody writes to it"
    assert (uses(cloud)["reason"], uses(cloud)["message"]) == ("ImageIsBacking", "disks read from it: default/second")


def test_what_a_linked_disk_reads_stays_when_the_cache_is_emptied_the_agent_killed_and_its_journal_lost(cloud):
    [base] = bases(cloud)
    agent = Daemon(cloud, "agent")
    agent.end("KILL")
    cloud.run("bash", "-c", f"rm -rf {cloud.demo}/agent/images/* {cloud.demo}/agent/journal/*")
    agent.begin()
    made(cloud, "third", "Linked")
    ready(cloud, "third")
    assert bases(cloud) == [base]
    assert not list(pathlib.Path(f"{cloud.demo}/agent/images").glob("*")), "nothing was fetched for it"
    findings = cloud.gabbro("doctor", check=False, timeout=120).stdout
    assert base not in findings, findings
    cloud.run("mv", base, f"{base}.away")
    cloud.wait("vd", "second", "phase=PVCLost")
    assert "what it reads from is not there" in condition(cloud.get("vd", "third"), "Ready")["message"]
    cloud.run("mv", f"{base}.away", base)
    cloud.wait("vd", "second", "phase=Ready")
    cloud.wait("vd", "third", "phase=Ready")


def test_B11_blocks_are_shared_without_a_word_where_the_file_system_can(cloud, shared_blocks):  # noqa: F811
    made(cloud, "first-of", pool=POOL, size="300Mi")
    how, path = ready(cloud, "first-of")
    assert how["mode"] == "Reflink" and str(shared_blocks) in path and "backing-filename" not in info(cloud, path)
    features = info(cloud, path)["format-specific"]["data"]
    assert features["lazy-refcounts"] and features["extended-l2"] and info(cloud, path)["virtual-size"] == 300 * MIB
    free = int(cloud.run("stat", "-f", "-c", "%f", shared_blocks).stdout)
    made(cloud, "second-of", "Reflink", POOL)
    assert ready(cloud, "second-of")[0]["mode"] == "Reflink"
    assert free - int(cloud.run("stat", "-f", "-c", "%f", shared_blocks).stdout) < 256, "less than 1 MiB was taken"
    made(cloud, "whole-of", "Full", POOL)
    assert ready(cloud, "whole-of")[0]["mode"] == "Full"
    delete(cloud, "first-of", "second-of", "whole-of")
    cloud.eventually("the copy of the image goes", lambda: len(bases(cloud)) == 1)


def test_an_image_goes_when_the_last_disk_that_reads_from_it_has_gone(cloud):
    cloud.gabbro("delete", "cvi", IMAGE)
    said = condition(cloud.get("cvi", IMAGE), "Ready")
    assert said["reason"] == "Terminating" and "waits for disks that read from it: default/" in said["message"], said
    [base] = bases(cloud)
    assert pathlib.Path(base).exists()
    delete(cloud, "second")
    assert pathlib.Path(base).exists()
    delete(cloud, "third")
    cloud.eventually("the image goes", lambda: not cloud.kubectl("get", "cvi", IMAGE, "--ignore-not-found").stdout)
    assert not pathlib.Path(base).exists()
