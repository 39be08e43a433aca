# SPDX-License-Identifier: Apache-2.0
"""Disks and images that come to a machine while it runs, seen inside the guest, and leave it again (A48, A49, D8, D17, D102-D108)."""
import json
import os
import re

import pytest
from cloud import Daemon
from guest import VM, condition
from reliability import outcome


def disk(cloud, name, mib=16):
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name},
        "spec": {"persistentVolumeClaim": {"size": f"{mib}Mi"}}}))


def attachment(cloud, name):
    result = cloud.gabbro("get", "vmbda", name, "-o", "json", check=False)
    return json.loads(result.stdout) if result.returncode == 0 else None


def phase(thing):
    """None: nobody has looked at it yet, or it is gone."""
    return (thing or {}).get("status", {}).get("phase")


def devices(cloud):
    return {d["name"]: d for d in cloud.vm(VM)["status"]["blockDeviceRefs"]}


def domain(cloud):
    return cloud.get("instances.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={VM}")["items"][0]["status"]["domainName"]


def targets(cloud, *flags):
    return sorted(line.split()[0] for line in cloud.virsh("domblklist", domain(cloud), *flags).splitlines() if line.strip())


def in_guest(cloud, script):
    """What it prints; None: the guest does not answer."""
    result = cloud.gabbro("guest", "exec", VM, "--", "sh", "-c", script, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def sees(cloud, what, *, is_so):
    """Its block devices: MiB, and whether they are read-only. A kernel that was told of a device takes its time to look at it."""
    def probe():
        said = in_guest(cloud, "cd /sys/block && for d in vd* sr*; do [ ! -e $d/size ] || echo $d $(cat $d/size) $(cat $d/ro); done")
        found = {name: (int(size) // 2048, ro == "1") for name, size, ro in (line.split() for line in (said or "").splitlines())}
        return found if found and is_so(found) else None

    return cloud.eventually(f"{what} in the guest", probe, 120)


def sees_none(cloud, target):
    sees(cloud, f"no {target}", is_so=lambda found: target not in found)


def boot_id(cloud):
    return cloud.eventually("boot id", lambda: in_guest(cloud, "cat /proc/sys/kernel/random/boot_id"), 120)


@pytest.fixture(scope="module")
def machine(cloud):
    cloud.gabbro("start", VM, "--wait", check=False, timeout=150)
    cloud.wait("vm", VM, "phase=Running", 120)
    for name in ("hot", "cold"):
        disk(cloud, name)
    yield VM
    for name in ("hot", "cold"):
        cloud.gabbro("detach", VM, name, check=False)
    cloud.virsh("resume", domain(cloud), check=False)
    cloud.gabbro("delete", "vd", "hot", "cold", "--ignore-not-found", "--wait", "--timeout", "60", check=False, timeout=90)


def test_A48_D102_D108_a_disk_comes_to_the_running_guest(machine, cloud):
    boot, before = boot_id(cloud), sees(cloud, "its disk", is_so=lambda found: "vda" in found)
    cloud.gabbro("attach", VM, "hot", "--wait", "--timeout", "90")
    now = sees(cloud, "another disk", is_so=lambda found: found.keys() - before.keys())
    assert now.keys() - before.keys() == {"vdb"} and now["vdb"] == (16, False), now
    assert boot_id(cloud) == boot, "the guest was not restarted for it"
    seen = devices(cloud)["hot"]
    assert seen["attached"] and seen["hotplugged"] and seen["target"] == "vdb"
    assert seen["virtualMachineBlockDeviceAttachmentName"] == f"{VM}-hot"
    assert targets(cloud) == targets(cloud, "--inactive")
    header, row = cloud.kubectl("get", "vmbda").stdout.splitlines()[:2]
    assert header.split() == ["NAME", "PHASE", "VIRTUALMACHINE", "AGE"] and row.split()[:3] == [f"{VM}-hot", "Attached", VM]
    said = condition(cloud.vm(VM), "ConfigurationApplied")
    assert said["status"] == "True", said


def test_I2_it_cannot_come_twice(machine, cloud):
    cloud.gabbro("attach", VM, "hot", "--name", "again")
    try:
        said = cloud.eventually("refused", lambda: phase(a := attachment(cloud, "again")) == "Failed" and a, 60)
        assert condition(said, "Attached")["reason"] == "AttachmentConflict"
    finally:  # left over, it would get the disk when the other one lets go
        cloud.gabbro("delete", "vmbda", "again", "--wait", "--timeout", "90")
    assert "vdb" in targets(cloud)


def test_A49_D17_D106_it_leaves_the_guest_again(machine, cloud):
    cloud.gabbro("detach", VM, "hot", "--wait", "--timeout", "90")
    sees_none(cloud, "vdb")
    assert "vdb" not in targets(cloud) + targets(cloud, "--inactive")
    assert "hot" not in devices(cloud) and attachment(cloud, f"{VM}-hot") is None
    assert condition(cloud.get("vd", "hot"), "InUse")["status"] == "False"


if os.environ.get("GABBRO_LONG") == "1":  # the crash sweep takes a sample of the moments
    def test_A48_killed_at_every_moment_of_an_attachment_neither_leaks_nor_doubles(machine, cloud):
        agent = Daemon(cloud, "agent")
        for delay in ("0.02", "0.1", "0.25"):
            cloud.gabbro("attach", VM, "hot")
            cloud.run("sleep", delay)  # the kill comes wherever the agent is then
            agent.again("KILL")
            cloud.wait("vmbda", f"{VM}-hot", "phase=Attached", 90)
            assert targets(cloud).count("vdb") == 1 and targets(cloud) == targets(cloud, "--inactive")
            cloud.gabbro("detach", VM, "hot")
            cloud.run("sleep", delay)
            agent.again("KILL")
            cloud.gabbro("wait", "vmbda", f"{VM}-hot", "--for", "delete", "--timeout", "90")
            assert "vdb" not in targets(cloud) + targets(cloud, "--inactive")


def test_D107_an_image_is_read_only(machine, cloud):
    image = cloud.get("cvi")["items"][0]["metadata"]["name"]
    cloud.gabbro("attach", VM, f"cvi/{image}", "--wait", "--timeout", "90")
    assert sees(cloud, "the image", is_so=lambda found: "vdb" in found)["vdb"][1], "the guest sees it read-only"
    cloud.gabbro("detach", VM, f"cvi/{image}", "--wait", "--timeout", "90")
    assert "vdb" not in targets(cloud)


def test_A49_a_guest_that_sleeps_keeps_its_disk_and_that_is_told(machine, cloud):
    cloud.gabbro("attach", VM, "hot", "--wait", "--timeout", "90")
    cloud.virsh("suspend", domain(cloud))
    cloud.gabbro("detach", VM, "hot")
    said = cloud.eventually("told", lambda: phase(a := attachment(cloud, f"{VM}-hot")) == "Terminating" and a, 60)
    assert condition(said, "Terminating")["reason"] in ("DetachPending", "DetachNotAcknowledged"), said
    # The disks that stay keep to a new limit meanwhile.
    for limits, expect in (({"totalOperationsPerSecond": 500}, "500"), (None, "0")):
        cloud.kubectl("patch", "vd", "first-vm-root", "--type", "merge", "-p", json.dumps({"spec": {"limits": limits}}))
        cloud.eventually(f"vda is held to {expect}", lambda e=expect: re.search(rf"total_iops_sec *: {e}\n", cloud.virsh(
            "blkdeviotune", domain(cloud), "vda", "--live")), 60)
    assert phase(attachment(cloud, f"{VM}-hot")) == "Terminating"
    refused = cloud.gabbro("delete", "vd", "hot", "--wait", "--timeout", "2", check=False)
    assert refused.returncode == 5, "a disk that a machine has does not go"
    cloud.virsh("resume", domain(cloud))
    cloud.gabbro("wait", "vmbda", f"{VM}-hot", "--for", "delete", "--timeout", "90")
    cloud.gabbro("wait", "vd", "hot", "--for", "delete", "--timeout", "90")
    sees_none(cloud, "vdb")
    outcome("a guest that does not let go of a disk", "detach",
            "asked again and told as DetachNotAcknowledged; disk and machine stay as they are; it ends when the guest answers or stops")


def test_what_somebody_attached_by_hand_stays(machine, cloud):
    cloud.run("bash", "-c", "qemu-img create -q -f raw /var/tmp/by-hand.raw 4M && chmod 666 /var/tmp/by-hand.raw")
    try:
        cloud.virsh("attach-disk", domain(cloud), "/var/tmp/by-hand.raw", "vdb", "--targetbus", "virtio", "--live", "--cache", "none")
        cloud.gabbro("attach", VM, "cold", "--wait", "--timeout", "90")
        assert devices(cloud)["cold"]["target"] == "vdc"
        cloud.gabbro("detach", VM, "cold", "--wait", "--timeout", "90")
        assert "vdb" in targets(cloud) and "vdc" not in targets(cloud)
    finally:
        cloud.virsh("detach-disk", domain(cloud), "vdb", "--live", check=False)
        cloud.run("rm", "-f", "/var/tmp/by-hand.raw")


def test_D104_it_waits_for_the_next_start_and_stays_across_restarts(machine, cloud):
    cloud.gabbro("force-off", VM, "--wait", timeout=90)
    cloud.gabbro("attach", VM, "cold")
    said = cloud.eventually("Pending", lambda: phase(a := attachment(cloud, f"{VM}-cold")) == "Pending" and a, 60)
    assert condition(said, "VirtualMachineReady")["status"] == "False"
    cloud.gabbro("start", VM, "--wait", timeout=150)
    cloud.wait("vmbda", f"{VM}-cold", "phase=Attached", 90)
    assert sees(cloud, "the disk", is_so=lambda found: "vdb" in found)["vdb"] == (16, False)
    cloud.gabbro("detach", VM, "cold", "--wait", "--timeout", "90")
    assert "vdb" not in targets(cloud) and condition(cloud.vm(VM), "ConfigurationApplied")["status"] == "True"
