# SPDX-License-Identifier: Apache-2.0
"""Machines that are off move with their disks, compared by checksums (A23)."""
import hashlib
import json
import os

import pytest
from cloud import Daemon

VMOP = "virtualmachineoperations.gabbro.dev"


def of_node(lab, node):
    return next(h for h in lab.hosts if h.node == node)


def operation(lab, name):
    return lab.gateway.get(VMOP, name)["status"]


def cold(lab, name, machine, **migrate):
    lab.gateway.kubectl("create", "-f", "-", input=json.dumps(
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineOperation", "metadata": {"name": name},
         "spec": {"type": "Migrate", "virtualMachineName": machine, "migrate": migrate}}))


def ends(lab, name):
    lab.gateway.eventually(f"{name} ends", lambda: operation(lab, name).get("phase") in ("Completed", "Failed"), 120)
    return operation(lab, name)["phase"]


def files(host, machine):
    return list((host.host / "lib/gabbro").glob(f"*/{machine}-root-*"))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


def states(lab, machine):
    """Node -> states of the machine's domains there."""
    found = {}
    for host in lab.hosts:
        for line in host.virsh("list", "--all").splitlines():
            words = line.split(maxsplit=2)
            if len(words) == 3 and words[1].startswith(machine + "-"):
                found.setdefault(host.node, []).append(words[2])
    return found


def settled(lab, machine, node, state):
    """Its domain and its disk are there alone, and nothing stands by."""
    lab.gateway.eventually("one copy, and nothing left", lambda: states(lab, machine) == {node: [state]} and all(
        bool(files(h, machine)) == (h.node == node) for h in lab.hosts), 60)
    lab.gateway.eventually("no intents stand by", lambda: not [
        i for kind in ("instances", "ports", "volumes", "hosttasks") for i in lab.gateway.get(f"{kind}.host.gabbro.dev")["items"]
        if "gabbro.dev/standby" in i["metadata"].get("annotations", {})], 60)


@pytest.fixture(scope="module")
def still(lab):
    """A machine that was started and stopped again."""
    lab.machine("still")
    yield "still"
    lab.gateway.kubectl("patch", "vm", "still", "--type=merge", "-p", '{"spec":{"runPolicy":"Manual"}}')
    if lab.gateway.vm("still")["status"]["phase"] == "Running":
        lab.gateway.gabbro("stop", "still", "--force", "--wait", timeout=120)
    lab.gateway.kubectl("delete", "vm/still", "vd/still-root", "--timeout=90s", timeout=120)


def same_to_the_guest(status):
    hardware = status["hardware"] | {"interfaces": [{k: v for k, v in n.items() if k != "name"} for n in status["hardware"]["interfaces"]]}
    return hardware, [(n["ipAddress"], n["macAddress"]) for n in status["networks"]]


def test_A23_a_machine_that_is_off_moves_with_its_disk(lab, still):
    """As thin and to the byte as it was; whatever is killed on the way it goes on; it starts there as the same machine."""
    before = lab.gateway.vm(still)["status"]
    lab.gateway.gabbro("stop", still, "--force", "--wait", timeout=120)
    source = of_node(lab, before["nodeName"])
    path = files(source, still)[0]
    content, blocks = digest(path), path.stat().st_blocks
    cold(lab, "slowly", still, bandwidthMibPerSecond=4)
    lab.gateway.eventually("bytes have come", lambda: operation(lab, "slowly").get("migration", {}).get("processedBytes"), 60)
    target = of_node(lab, operation(lab, "slowly")["migration"]["targetNode"])
    for host, part in ((target, "agent"), (source, "agent"), (lab.gateway, "gateway")):
        Daemon(host, part).again()
    lab.gateway.gateway_serves()
    assert ends(lab, "slowly") == "Completed", operation(lab, "slowly")
    said = operation(lab, "slowly")
    assert said["migration"]["result"] == "Succeeded" and said["migration"]["cold"] and said["migration"]["totalBytes"] == path_size(target, still)
    settled(lab, still, target.node, "shut off")
    came = files(target, still)[0]
    assert digest(came) == content and came.stat().st_blocks <= blocks * 1.1 + 64
    assert lab.gateway.vm(still)["status"]["phase"] == "Stopped"
    lab.gateway.gabbro("start", still, "--wait", timeout=120)
    after = lab.gateway.vm(still)["status"]
    assert after["nodeName"] == target.node and after["epoch"] == before["epoch"] + 1
    assert same_to_the_guest(after) == same_to_the_guest(before)


def path_size(host, machine):
    return files(host, machine)[0].stat().st_size


if os.environ.get("GABBRO_LONG"):
    def test_A23_a_running_machine_is_stopped_moved_and_started(lab, still):
        before = lab.gateway.vm(still)["status"]
        lab.gateway.kubectl("patch", "vm", still, "--type=merge", "-p", '{"spec":{"runPolicy":"AlwaysOn"}}')
        lab.gateway.gabbro("migrate", "vm", still, "--cold", "--wait", timeout=200)
        lab.gateway.wait("vm", still, "phase=Running", 90)
        after = lab.gateway.vm(still)["status"]
        assert after["nodeName"] != before["nodeName"] and after["epoch"] == before["epoch"] + 1
        assert same_to_the_guest(after) == same_to_the_guest(before)
        settled(lab, still, after["nodeName"], "running")

    def test_A23_D126_deleting_the_operation_leaves_the_machine_where_it_is(lab, still):
        """One that ran runs again; nothing of it stays on the other host."""
        before = lab.gateway.vm(still)["status"]
        cold(lab, "given-up", still, cold=True, bandwidthMibPerSecond=1)
        lab.gateway.eventually("bytes have come", lambda: operation(lab, "given-up").get("migration", {}).get("processedBytes"), 90)
        lab.gateway.kubectl("delete", VMOP, "given-up", "--wait=false")
        lab.gateway.eventually("the operation is gone", lambda: lab.gateway.kubectl("get", VMOP, "given-up", check=False).returncode, 90)
        lab.gateway.wait("vm", still, "phase=Running", 90)
        settled(lab, still, before["nodeName"], "running")

    def test_A23_what_came_is_compared_with_what_was_sent(lab, still):
        """A byte that changes on the way: the copy is removed, the machine stays."""
        lab.gateway.kubectl("patch", "vm", still, "--type=merge", "-p", '{"spec":{"runPolicy":"Manual"}}')
        source = of_node(lab, lab.gateway.vm(still)["status"]["nodeName"])
        lab.gateway.gabbro("stop", still, "--force", "--wait", timeout=120)
        path = files(source, still)[0]
        content = digest(path)
        cold(lab, "broken", still, bandwidthMibPerSecond=1)
        lab.gateway.eventually("bytes have come", lambda: operation(lab, "broken").get("migration", {}).get("processedBytes"), 60)
        target = of_node(lab, operation(lab, "broken")["migration"]["targetNode"])
        with open(files(target, still)[0], "r+b") as file:
            file.seek(4096)
            byte = file.read(1)
            file.seek(4096)
            file.write(bytes([byte[0] ^ 1]))
        assert ends(lab, "broken") == "Failed"
        completed = next(c for c in operation(lab, "broken")["conditions"] if c["type"] == "Completed")
        assert completed["reason"] == "ChecksumMismatch" and "still-root" in completed["message"], completed
        settled(lab, still, source.node, "shut off")
        assert digest(path) == content
