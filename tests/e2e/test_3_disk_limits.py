# SPDX-License-Identifier: Apache-2.0
"""A disk is as fast as its limits allow: of a machine that runs at once, over a restart, and whatever virsh sets meanwhile."""
import json
import xml.etree.ElementTree as ElementTree

import pytest
from reliability import outcome
from test_1_first_machine import ssh

DISK, KIB, MIB = "first-vm-root", 1 << 10, 1 << 20
WRITTEN = 512 * KIB


def order(cloud, limits):
    cloud.kubectl("patch", "vd", DISK, "--type", "merge", "-p", json.dumps({"spec": {"limits": limits}}))


def domain_of(cloud):
    return cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["status"]["domainName"]


def tuned(cloud, which):
    """What libvirt holds the disk to: of the domain that runs ("--live"), of its definition ("--config")."""
    lines = cloud.virsh("blkdeviotune", domain_of(cloud), "vda", which).splitlines()
    values = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines) if v}
    return {k: int(v) for k, v in values.items() if v.isdigit() and int(v) and not k.endswith("_length")}


def kept(cloud, status, libvirt):
    """The status says so, and libvirt does, in what runs and what is started next."""
    def probe():
        said = cloud.get("vd", DISK)["status"].get("limits")
        return said == status and tuned(cloud, "--live") == libvirt and tuned(cloud, "--config") == libvirt

    cloud.eventually(f"limits {libvirt}", probe, 15)


def write_seconds(cloud):
    """How long the guest takes to write to its disk, by its own clock."""
    script = f"'read a _ </proc/uptime; dd if=/dev/urandom of=limited bs=64k count={WRITTEN // (64 * KIB)} 2>/dev/null; sync; " \
             "read b _ </proc/uptime; rm limited; echo $a $b'"
    begin, end = ssh(cloud, "sh", "-c", script).split()
    return float(end) - float(begin)


def boot_of_guest(cloud):
    def probe():
        try:
            return ssh(cloud, "cat", "/proc/sys/kernel/random/boot_id")
        except AssertionError:
            return None

    return cloud.eventually("ssh", probe, 60)


@pytest.fixture(scope="module")
def running(cloud):
    cloud.gabbro("start", "first-vm", "--wait", check=False, timeout=150)
    cloud.wait("vm", "first-vm", "phase=Running", 180)
    yield boot_of_guest(cloud)
    order(cloud, None)


def test_a_running_guest_is_held_back_at_once_and_let_go_at_once(running, cloud):
    order(cloud, {"writeBytesPerSecond": "512Ki", "readOperationsPerSecond": 5000})
    kept(cloud, {"writeBytesPerSecond": "512Ki", "readOperationsPerSecond": 5000},
         {"write_bytes_sec": 512 * KIB, "read_iops_sec": 5000})
    slow = write_seconds(cloud)
    assert slow >= 0.8 * WRITTEN / (512 * KIB), f"{WRITTEN} bytes in {slow} s"
    with pytest.raises(AssertionError, match="limited together already"):  # a merge patch leaves the others where they are
        order(cloud, {"totalBytesPerSecond": "64Mi"})
    order(cloud, {"writeBytesPerSecond": None, "totalBytesPerSecond": "64Mi"})
    kept(cloud, {"totalBytesPerSecond": "64Mi", "readOperationsPerSecond": 5000},
         {"total_bytes_sec": 64 * MIB, "read_iops_sec": 5000})
    fast = write_seconds(cloud)
    assert fast < slow / 2, f"limited {slow} s, then {fast} s"
    order(cloud, None)
    kept(cloud, None, {})
    assert boot_of_guest(cloud) == running, "the guest was not restarted for it"
    assert "limit: Supported" in cloud.gabbro("explain", "capability", f"vd/{DISK}", "limit").stdout
    print(f"{WRITTEN // KIB} KiB at 512 KiB/s: {slow:.1f} s, at 64 MiB/s: {fast:.1f} s")


def test_A4_what_virsh_sets_is_put_right_and_told(running, cloud):
    order(cloud, {"writeBytesPerSecond": "8Mi"})
    kept(cloud, {"writeBytesPerSecond": "8Mi"}, {"write_bytes_sec": 8 * MIB})
    cloud.virsh("blkdeviotune", domain_of(cloud), "vda", "--write-bytes-sec", str(MIB), "--write-bytes-sec-max", str(2 * MIB),
                "--write-bytes-sec-max-length", "5", "--live")
    kept(cloud, {"writeBytesPerSecond": "8Mi"}, {"write_bytes_sec": 8 * MIB})

    def told():
        words = [e["message"] for e in cloud.get("events")["items"] if e["reason"] == "DefinitionChangedOutside"]
        return any("limits of disk vd-first-vm-root" in w and "write_bytes_sec 1048576, bursts" in w for w in words)

    cloud.eventually("an event that says so", told, 10)
    outcome("limits of a disk changed by virsh", "machine runs", "put right within seconds; event DefinitionChangedOutside names them")


def test_a_restart_keeps_the_limits(running, cloud):
    order(cloud, {"writeBytesPerSecond": "8Mi"})
    cloud.gabbro("restart", "first-vm", "--wait", timeout=200)
    cloud.wait("vm", "first-vm", "phase=Running", 180)
    kept(cloud, {"writeBytesPerSecond": "8Mi"}, {"write_bytes_sec": 8 * MIB})
    iotune = ElementTree.fromstring(cloud.virsh("dumpxml", domain_of(cloud))).find(".//disk/iotune")
    assert {e.tag: e.text for e in iotune if e.tag != "group_name"} == {"write_bytes_sec": str(8 * MIB)}
    assert boot_of_guest(cloud) != running


@pytest.mark.parametrize("limits, words", [
    ({"writeBytesPerSecond": "1Ki"}, "must be 64Ki to 1Ti"),
    ({"readOperationsPerSecond": 1}, "10"),
    ({"totalBytesPerSecond": "1Mi", "readBytesPerSecond": "1Mi"}, "limited together already"),
])
def test_limits_that_cannot_be_are_refused(running, cloud, limits, words):
    result = cloud.kubectl("patch", "vd", DISK, "--type", "merge", "-p", json.dumps({"spec": {"limits": limits}}), check=False)
    assert result.returncode and words in result.stderr, result.stderr
