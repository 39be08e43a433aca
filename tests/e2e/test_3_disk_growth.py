# SPDX-License-Identifier: Apache-2.0
"""A disk grows at once, also while its machine runs, and the guest sees it; it never shrinks, though libvirt would (E23, E29)."""
import json

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


def test_E29_the_guest_of_a_running_machine_sees_the_larger_disk(cloud):
    cloud.gabbro("start", "first-vm", "--wait", check=False, timeout=150)
    cloud.wait("vm", "first-vm", "phase=Running", 180)
    started = cloud.vm("first-vm")["status"]["stats"]["lastStartTime"]
    assert sectors_in_guest(cloud) == 256 * MIB // 512
    resize(cloud, 320)
    grown(cloud, 320)
    cloud.eventually("the guest sees it", lambda: sectors_in_guest(cloud) == 320 * MIB // 512, 30)
    assert cloud.vm("first-vm")["status"]["stats"]["lastStartTime"] == started
    assert "resizeOnline: Supported" in cloud.gabbro("explain", "capability", "vd/first-vm-root", "resizeOnline").stdout


def test_E29_a_restart_changes_nothing_about_it(cloud):
    cloud.gabbro("restart", "first-vm", "--wait", timeout=200)
    assert sectors_in_guest(cloud) == 320 * MIB // 512


def test_E23_a_disk_of_a_machine_that_is_off_grows_at_once(cloud):
    cloud.gabbro("force-off", "first-vm", "--wait", timeout=90)
    resize(cloud, 384)
    grown(cloud, 384)
    cloud.gabbro("start", "first-vm", "--wait", timeout=150)
    assert sectors_in_guest(cloud) == 384 * MIB // 512


def test_a_disk_never_shrinks(cloud):
    result = cloud.kubectl("patch", "vd", "first-vm-root", "--type", "merge", "-p",
                           '{"spec":{"persistentVolumeClaim":{"size":"128Mi"}}}', check=False)
    assert result.returncode and "never shrink" in result.stderr
    said = json.loads(cloud.gabbro("explain", "capability", "vd/first-vm-root", "shrink", "-o", "json").stdout)
    assert said["verdict"] == "Refused" and said["code"] == "ShrinkNotOffered" and said["remedy"], said
