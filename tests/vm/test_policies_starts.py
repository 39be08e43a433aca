# SPDX-License-Identifier: Apache-2.0
"""Starts that fail for a real cause: the step, the cause and what was undone are told, and it starts by itself once the cause is gone."""
import json
import subprocess

from fleet import Machine, fleet, gone, manifest
from reliability import outcome


def hold(cloud, path):
    """A process that has the disk open. Who only looks at it for a moment keeps it from that: it is tried again."""
    def begin():
        process = subprocess.Popen(cloud.argv("stdbuf", "-oL", "qemu-io", "-c", "length", "-c", "sleep 600000", path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        if process.stdout.readline():
            return process
        process.wait()
        return None

    return cloud.eventually("the disk is held", begin, 60)


def test_C38_D48_disk_is_open_in_another_qemu(cloud):
    """Its lock is held: the process that has it is named, nothing half-made stays (C38, D48)."""
    with fleet(cloud, held="Manual") as machines:
        held = machines["held"]
        cloud.gabbro("stop", "held", "--force", "--wait", timeout=150)
        volume = cloud.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=held-root")["items"][0]
        path = volume["status"]["path"]
        holder = hold(cloud, path)
        try:
            cloud.gabbro("start", "held")
            held.until("told", lambda m: m.condition()["reason"] == "DiskInUse" and "2 times in a row" in m.condition()["message"], 90)
            said = held.condition()["message"]
            assert "step start" in said and '"write" lock' in said and f"disk {path} is open in process" in said and "qemu-io" in said, said
            assert "Undone: " in said and "its disks and interfaces stay" in said and "is tried again by 20" in said, said
            assert held.phase() == "Starting" and held.state() == "shut off" and held.pid() is None
            assert len(held.events("DiskInUse")) == 1
        finally:
            inside = cloud.run("pgrep", "-f", f"qemu-io -c length -c sleep 600000 {path}", check=False).stdout.split()
            cloud.run("kill", "-KILL", *inside, check=False)
            holder.wait(20)
        held.until("runs by itself", lambda m: m.phase() == "Running", 90)
        assert held.condition()["status"] == "True" and "failures" not in held.intent()["status"]
    outcome("another process has a disk open", "a machine starts",
            "DiskInUse names the process; what was begun is undone; it starts by itself once the disk is free")


def test_D48_machine_that_is_too_big(cloud):
    """No host has the memory: what is missing is told with its amount, and nothing was begun (D48)."""
    items = manifest("giant", "AlwaysOn", memory="900Gi")
    cloud.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        giant = Machine(cloud, "giant")
        giant.until("told", lambda m: m.condition().get("reason") == "NoSuitableNode", 90)
        assert "memory" in giant.condition()["message"] and giant.phase() == "Pending", giant.condition()
        assert cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=giant")["items"] == []
    finally:
        gone(cloud, "giant")


def test_D48_bridge_of_a_network_is_away(cloud):
    """Somebody took it from the host: it is made again. Its name is another interface's: the start names it, and goes on when it is free (D48, C38)."""
    cloud.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "Network", "metadata": {"name": "away"},
                                                         "spec": {"cidr": "10.72.0.0/24"}}))
    with fleet(cloud, bridged="Manual") as machines:
        bridged = machines["bridged"]
        cloud.gabbro("stop", "bridged", "--force", "--wait", timeout=150)
        cloud.kubectl("patch", "vm", "bridged", "--type=merge", "-p", json.dumps({"spec": {"networks": [{"type": "Main"}, {"type": "Network", "name": "away"}]}}))
        bridged.start()
        bridge = ports(cloud)[1]["spec"]["network"]["bridge"]
        assert "bridge" in links(cloud, bridge)
        cloud.gabbro("stop", "bridged", "--force", "--wait", timeout=150)
        cloud.run("ip", "link", "delete", bridge)
        bridged.start()
        bridged.until("runs", lambda m: m.phase() == "Running", 60)
        assert "bridge" in links(cloud, bridge)
        cloud.gabbro("stop", "bridged", "--force", "--wait", timeout=150)
        # Before the agent sees that it is away.
        cloud.run("bash", "-c", f"until ip -batch - <<<$'link delete {bridge}\\nlink add {bridge} type bridge'; do :; done 2>/dev/null", timeout=20)
        cloud.gabbro("start", "bridged")
        bridged.until("told", lambda m: bridge in m.condition().get("message", ""), 60)
        said = bridged.condition()
        tried = "Undone: " in said["message"] and "is tried again by 20" in said["message"]  # else its interface is not there, and nothing was begun
        assert said["status"] == "False" and "step " in said["message"] and (tried or "step port: " in said["message"]), said
        assert bridged.state() in ("shut off", "paused"), "a guest runs without its policy"  # paused while the next attempt looks
        assert "gabbro" not in links(cloud, bridge) and "DOWN" in links(cloud, bridge), "what is not ours was touched"
        cloud.run("ip", "link", "delete", bridge)
        bridged.until("runs by itself", lambda m: m.phase() == "Running", 90)
        assert bridged.condition()["status"] == "True"
    cloud.kubectl("delete", "network", "away", "--wait=false")
    outcome("the bridge of a network is deleted on the host", "a machine starts", "the agent makes it again; the machine starts")
    outcome("the name of a network's bridge belongs to another interface", "a machine starts",
            "the condition names the interface, nothing runs without its network; it starts by itself once the name is free")


def ports(cloud):
    found = cloud.get("ports.host.gabbro.dev", "-l", "gabbro.dev/owner-name=bridged")["items"]
    return sorted(found, key=lambda p: p["metadata"]["name"])


def links(cloud, name):
    return cloud.run("ip", "-d", "link", "show", name, check=False).stdout
