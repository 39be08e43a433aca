# SPDX-License-Identifier: Apache-2.0
"""Clones of disks: full, sharing blocks, linked; of machines that run and that are off; and raw disks that stay raw (C24-C30, D100, E28, E29)."""
import json
import subprocess

import pytest
from cloud import BUILD, Daemon
from test_1_first_machine import ssh
from test_8_space import condition, machine, remove

MIB = 1 << 20
POOL = "shared-blocks"


def clone(cloud, name, source, mode="Auto", consistency="Auto", **claim):
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name},
        "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualDisk", "name": source}},
                 "clone": {"mode": mode, "consistency": consistency}, "persistentVolumeClaim": claim}}))


def ready(cloud, name):
    """How it was made, and the path of its file."""
    cloud.wait("vd", name, "phase=Ready", 60)
    volume = cloud.get("volumes.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={name}")["items"][0]
    return cloud.get("vd", name)["status"]["clone"], volume["status"]["path"]


def delete(cloud, *names):
    cloud.gabbro("delete", "vd", *names, "--wait", timeout=90)


def holds(cloud, path, words, form="qcow2"):
    script = f"qemu-img convert -U -f {form} -O raw '{path}' /tmp/look.raw && grep -c -a -F '{words}' /tmp/look.raw; rm -f /tmp/look.raw"
    return cloud.run("bash", "-c", script, check=False).stdout.strip() not in ("", "0")


def first_runs(cloud):
    cloud.gabbro("start", "first-vm", "--wait", check=False, timeout=150)
    cloud.wait("vm", "first-vm", "phase=Running", 120)
    cloud.eventually("the guest agent answers", lambda: condition(cloud.vm("first-vm"), "AgentReady").get("status") == "True", 90)


def test_E28_a_running_machine_is_cloned_while_its_agent_holds_it_still(cloud):
    """Its file systems are frozen for the copy and thawed after it (D60)."""
    first_runs(cloud)
    ssh(cloud, "sh", "-c", "'echo written-but-not-synced-$((6*7)) > mark'")
    clone(cloud, "of-running", "first-vm-root")
    how, path = ready(cloud, "of-running")
    assert how == {"mode": "Full", "consistency": "Agent"}, how
    assert holds(cloud, path, "written-but-not-synced-42"), "what the guest had not written out yet is in it"
    ssh(cloud, "sh", "-c", "'echo thawed > mark; sync'")
    clone(cloud, "of-crash", "first-vm-root", consistency="Crash", size="300Mi")
    how, path = ready(cloud, "of-crash")
    assert how == {"mode": "Full", "consistency": "Crash"} and cloud.get("vd", "of-crash")["status"]["capacity"] == "300Mi"
    info = cloud.run("qemu-img", "info", "-U", "--output", "json", path).stdout
    assert '"lazy-refcounts": true' in info and '"extended-l2": true' in info and "backing" not in info
    assert cloud.get("vd", "first-vm-root")["status"]["phase"] == "Ready"
    delete(cloud, "of-crash")


def test_a_guest_that_a_killed_agent_left_standing_still_goes_on(cloud):
    domain = cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["status"]["domainName"]

    def still():
        return json.loads(cloud.virsh("qemu-agent-command", domain, '{"execute": "guest-fsfreeze-status"}'))["return"]

    agent = Daemon(cloud, "agent")
    agent.end("TERM")
    agent.begin(BUILD / "tests/fault/gabbro-agent-faulty", GABBRO_FAULT="volumes/copy/frozen=kill")
    clone(cloud, "of-frozen", "first-vm-root", consistency="Agent")
    cloud.eventually("the agent is killed", lambda: cloud.run("kill", "-0", str(agent.pid()), check=False).returncode, 60)
    assert still() == "frozen"
    agent.begin()
    assert ready(cloud, "of-frozen")[0] == {"mode": "Full", "consistency": "Agent"}
    assert still() == "thawed"
    delete(cloud, "of-frozen")


def test_a_linked_clone_binds_its_source_and_says_so(cloud):
    clone(cloud, "linked", "first-vm-root", "Linked")
    said = cloud.eventually("it waits", lambda: condition(cloud.get("vd", "linked"), "DatasourceReady"), 20)
    assert said["reason"] == "DiskInUse" and "machine first-vm writes to" in said["message"], said
    cloud.gabbro("force-off", "first-vm", "--wait", timeout=90)
    how, path = ready(cloud, "linked")
    assert how == {"mode": "Linked", "consistency": "Stopped"}
    info = json.loads(cloud.run("qemu-img", "info", "-U", "--output", "json", path).stdout)
    assert info["backing-filename-format"] == "qcow2" and info["actual-size"] < 2 * MIB, info
    said = condition(cloud.get("vd", "first-vm-root"), "InUse")
    assert (said["status"], said["reason"]) == ("True", "DiskIsBacking") and "linked" in said["message"], said
    cloud.gabbro("start", "first-vm", check=False)
    said = cloud.eventually("the start says why", lambda: (c := condition(cloud.vm("first-vm"), "BlockDevicesReady"))["status"] == "False" and c, 20)
    assert "linked clones read from it (linked)" in said["message"], said
    assert cloud.domstate("first-vm") == "shut off"
    delete(cloud, "linked")
    cloud.wait("vm", "first-vm", "phase=Running", 60)  # by itself: it was asked to


@pytest.fixture
def shared_blocks(cloud):
    """A pool whose file system can share blocks."""
    image, folder = cloud.folder / "blocks.img", cloud.folder / "blocks"
    folder.mkdir(exist_ok=True)
    cloud.run("truncate", "-s", "512M", image)
    cloud.run("mkfs.xfs", "-q", image)
    loop = subprocess.run(["losetup", "-f", "--show", image], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if loop.returncode:
        pytest.skip(f"no loop device, blocks cannot be shared here: {loop.stderr}")
    device = loop.stdout.strip()
    cloud.run("mknod", device, "b", "7", device[len("/dev/loop"):])
    cloud.run("mount", device, folder)
    cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": POOL},
                                                       "spec": {"type": "Directory", "path": str(folder)}}))
    cloud.wait("storagepool", POOL, "phase=Ready")
    yield folder
    cloud.gabbro("delete", "storagepool", POOL, check=False)
    cloud.eventually("the pool is gone", lambda: not cloud.kubectl("get", "storagepool", POOL, "--ignore-not-found").stdout)
    cloud.run("umount", "-l", folder, check=False)
    image.unlink()
    cloud.run("rm", "-f", device)
    subprocess.run(["losetup", "-d", device], stdin=subprocess.DEVNULL)


def test_B11_blocks_are_shared_where_the_file_system_can(cloud, shared_blocks):
    clone(cloud, "unseen", "first-vm-root", storageClassName=POOL)  # the emulated host shares no mounts: its machine runs since before
    said = cloud.eventually("it says why", lambda: (c := condition(cloud.get("vd", "unseen"), "Ready"))["reason"] == "ProvisioningFailed" and c, 30)
    assert f"the file system of {shared_blocks} was mounted after domain first-vm-" in said["message"], said
    assert not list(shared_blocks.glob("unseen-*"))
    cloud.gabbro("force-off", "first-vm", "--wait", timeout=90)
    assert ready(cloud, "unseen")[0] == {"mode": "Full", "consistency": "Stopped"}
    delete(cloud, "unseen")
    with pytest.raises(AssertionError, match="spec.clone.mode: Invalid value: \"Reflink\": The file system cannot share blocks"):
        clone(cloud, "cannot", "first-vm-root", "Reflink")
    clone(cloud, "there", "first-vm-root", storageClassName=POOL)
    assert ready(cloud, "there")[0]["mode"] == "Full"
    free = int(cloud.run("stat", "-f", "-c", "%f", shared_blocks).stdout)
    clone(cloud, "shares", "there", "Auto")
    how, path = ready(cloud, "shares")
    assert how == {"mode": "Reflink", "consistency": "Stopped"} and str(shared_blocks) in path
    assert free - int(cloud.run("stat", "-f", "-c", "%f", shared_blocks).stdout) < 256, "less than 1 MiB was taken"
    delete(cloud, "shares", "there")


# A qcow2 header that names a file of the host as its backing, written by the guest where the host keeps raw bytes.
HEADER = "qemu-img create -q -u -f qcow2 -b /etc/shadow -F raw /tmp/h.qcow2 1M && head -c 1024 /tmp/h.qcow2 | base64 -w0; rm -f /tmp/h.qcow2"


def test_attack_4_D100_a_machine_on_a_clone_boots_and_its_raw_disk_stays_raw_whatever_its_guest_writes(cloud):
    header = cloud.run("bash", "-c", HEADER).stdout
    text = machine("forger", [("of-running", None, None, None), ("forger-raw", "16Mi", None, None)],
                   f"echo {header} | base64 -d | dd of=/dev/vdb conv=fsync; echo FORGED > /dev/console")
    text = "\n---\n".join(text.split("\n---\n")[1:])  # the disk of its root is there
    cloud.gabbro("apply", "-f", "-", input=text.replace('"size": "16Mi"', '"size": "16Mi", "format": "raw"'))
    cloud.wait("vm", "forger", "phase=Running", 120)
    path = cloud.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=forger-raw")["items"][0]["status"]["path"]
    cloud.eventually("the guest has written it", lambda: cloud.run("head", "-c", "3", path).stdout == "QFI", 60)
    cloud.virsh("pool-refresh", "default")
    cloud.kubectl("patch", "vd", "forger-raw", "--type", "merge", "-p", '{"spec":{"persistentVolumeClaim":{"size":"32Mi"}}}')
    cloud.eventually("it grows", lambda: cloud.get("vd", "forger-raw")["status"]["capacity"] == "32Mi", 30)
    clone(cloud, "forged", "forger-raw")
    how, copy = ready(cloud, "forged")
    assert how["mode"] == "Full" and cloud.run("cmp", path, copy).returncode == 0
    cloud.gabbro("force-off", "forger", "--wait", timeout=90)
    cloud.kubectl("patch", "vd", "forger-raw", "--type", "merge", "-p", '{"spec":{"persistentVolumeClaim":{"size":"48Mi"}}}')
    cloud.eventually("it grows", lambda: cloud.get("vd", "forger-raw")["status"]["capacity"] == "48Mi", 30)
    assert int(cloud.run("stat", "-c", "%s", path).stdout) == 48 * MIB
    cloud.gabbro("start", "forger", "--wait", timeout=150)
    domain = cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=forger")["items"][0]["status"]["domainName"]
    xml = cloud.virsh("dumpxml", domain)
    assert xml.count("<driver name='qemu' type='raw'") == 1 + xml.count("device='cdrom'") and "/etc/shadow" not in xml
    remove(cloud, "forger", ["of-running", "forger-raw", "forged"])
