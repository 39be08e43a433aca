# SPDX-License-Identifier: Apache-2.0
"""A disk grows at once, whether its machine runs or is off; the guest sees it, and nothing makes it smaller (B9, E23, E29)."""
import json

import pytest
from test_1_first_machine import ssh

MIB = 1 << 20


def resize(cloud, mib):
    cloud.kubectl("patch", "vd", "first-vm-root", "--type", "merge", "-p",
                  json.dumps({"spec": {"persistentVolumeClaim": {"size": f"{mib}Mi"}}}))


def disk(cloud):
    status = cloud.get("vd", "first-vm-root")["status"]
    return status, {c["type"]: c for c in status["conditions"]}.get("Resizing")


def grown(cloud, mib):
    def probe():
        status, resizing = disk(cloud)
        return status["capacity"] == f"{mib}Mi" and status["phase"] == "Ready" and not resizing

    cloud.eventually(f"{mib} MiB", probe, 30)
    volume = cloud.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm-root")["items"][0]
    info = json.loads(cloud.run("qemu-img", "info", "-U", "--output", "json", volume["status"]["path"]).stdout)
    assert info["virtual-size"] == mib * MIB


def sectors_in_guest(cloud):
    """Of the disk that holds the root, as the guest's kernel says."""
    def probe():
        try:
            return ssh(cloud, "cat", "/sys/block/vda/size").strip()
        except AssertionError:
            return None

    return int(cloud.eventually("ssh", probe, 60))


def boot_of_guest(cloud):
    return ssh(cloud, "cat", "/proc/sys/kernel/random/boot_id")


def test_B9_E29_the_guest_of_a_running_machine_sees_its_disk_grow(cloud):
    cloud.gabbro("start", "first-vm", "--wait", check=False, timeout=150)
    cloud.wait("vm", "first-vm", "phase=Running", 180)
    assert sectors_in_guest(cloud) == 256 * MIB // 512
    boot = boot_of_guest(cloud)
    resize(cloud, 320)
    grown(cloud, 320)
    cloud.eventually("320 MiB in the guest", lambda: sectors_in_guest(cloud) == 320 * MIB // 512, 10)
    assert boot_of_guest(cloud) == boot, "the guest was not restarted for it"
    assert "resizeOnline: Supported" in cloud.gabbro("explain", "capability", "vd/first-vm-root", "resizeOnline").stdout


def test_what_was_made_larger_outside_stays_larger(cloud):
    """libvirt would make it smaller without a word."""
    path = cloud.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm-root")["items"][0]["status"]["path"]
    domain = cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["status"]["domainName"]
    cloud.virsh("blockresize", domain, path, "344M")
    resize(cloud, 330)
    cloud.eventually("the present size", lambda: disk(cloud)[0]["capacity"] == "344Mi" and disk(cloud)[0]["phase"] == "Ready", 30)
    assert sectors_in_guest(cloud) == 344 * MIB // 512


def test_E29_a_restart_keeps_the_larger_disk(cloud):
    cloud.gabbro("restart", "first-vm", "--wait", timeout=200)
    grown(cloud, 344)
    assert sectors_in_guest(cloud) == 344 * MIB // 512


def test_E23_a_disk_of_a_machine_that_is_off_grows_at_once(cloud):
    cloud.gabbro("force-off", "first-vm", "--wait", timeout=90)
    resize(cloud, 384)
    grown(cloud, 384)
    cloud.gabbro("start", "first-vm", "--wait", timeout=150)
    assert sectors_in_guest(cloud) == 384 * MIB // 512


@pytest.mark.parametrize("mib", [128, 383])
def test_a_disk_never_shrinks(cloud, mib):
    result = cloud.kubectl("patch", "vd", "first-vm-root", "--type", "merge", "-p",
                           json.dumps({"spec": {"persistentVolumeClaim": {"size": f"{mib}Mi"}}}), check=False)
    assert result.returncode and "never shrink" in result.stderr
    said = json.loads(cloud.gabbro("explain", "capability", "vd/first-vm-root", "shrink", "-o", "json").stdout)
    assert said["verdict"] == "Refused" and said["code"] == "ShrinkNotOffered" and said["remedy"], said
