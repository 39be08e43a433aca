# SPDX-License-Identifier: Apache-2.0
"""A host is rebooted when its machines have moved away (E21, D18); the one that cannot move is shut down and comes back."""
import json
import os

from cloud import Daemon
from test_2_migration import domains
from test_3_reboot import operation, said
from test_6_drain import remove

NAMES = ("goes-a", "goes-b", "tied")


def machine(name):
    """Its disk and itself; "tied" wants the rack of one host."""
    spec = {"cpu": {"cores": 1, "coreFraction": "10%"}, "memory": {"size": "128Mi"}, "blockDeviceRefs": [{"kind": "VirtualDisk", "name": f"{name}-root"}]}
    return [{"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": f"{name}-root"},
             "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}}}},
            {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name, "labels": {"reboots": "yes"}},
             "spec": {**spec, "nodeSelector": {"rack": "here"}} if name == "tied" else spec}]


def where(lab):
    """Machine -> (node, phase, epoch)."""
    found = {v["metadata"]["name"]: v["status"] for v in lab.gateway.get("vm", "-l", "reboots=yes")["items"]}
    return {name: (status.get("nodeName"), status.get("phase"), status.get("epoch")) for name, status in found.items()}


def rebooted_with_moves(lab, host):
    lab.gateway.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [i for name in NAMES for i in machine(name)]}))
    for name in NAMES:
        lab.gateway.wait("vm", name, "phase=Running", 180)
    for other in lab.hosts[1:]:
        lab.gateway.kubectl("uncordon", other.node)
    before = where(lab)
    assert {node for node, _, _ in before.values()} == {host.node}

    def planned():
        return lab.gateway.gabbro("node", "reboot", host.node, "--move", "--dry-run").stdout

    lab.gateway.eventually("two can be moved", lambda: all(f"default/{name} moves to lab-" in planned() for name in NAMES[:2]), 60)
    assert "default/tied is shut down and starts again: no other host can take it now" in planned(), planned()
    lab.cap(host, 8)
    name = lab.gateway.gabbro("node", "reboot", host.node, "--move").stdout.split("(nodeoperation/")[1].split(")")[0]
    lab.gateway.eventually("one moves", lambda: any(phase == "Migrating" for _, phase, _ in where(lab).values()), 60)
    assert operation(lab, name)["step"] == "Moving" and where(lab)["tied"] == before["tied"] and not host.asked.exists()
    Daemon(lab.gateway, "gateway").again()
    lab.gateway.gateway_serves()
    lab.cap(host, 0)
    lab.gateway.eventually("the host was told to reboot", host.asked.exists, 180)
    assert host.virsh("list", "--name").split() == [], "its machines have left or are off"
    now = where(lab)
    assert now["tied"][1] == "Stopped" and all(now[n][0] != host.node and now[n][1:] == before[n][1:] for n in NAMES[:2]), now
    host.reboot()
    lab.gateway.eventually("it is over", lambda: operation(lab, name).get("phase") in ("Completed", "Failed"), 180)
    assert operation(lab, name)["phase"] == "Completed", said(lab, name)
    assert "2 machines have moved to other hosts" in said(lab, name)["message"], said(lab, name)
    states = {m["name"]: (m["state"], m.get("message", "")) for m in operation(lab, name)["machines"]}
    assert states["goes-a"] == states["goes-b"] == ("Moved", "") and states["tied"][0] == "Started" and "no other host" in states["tied"][1], states
    after = where(lab)
    assert after["tied"] == (host.node, "Running", before["tied"][2] + 1) and all(after[n] == now[n] for n in NAMES[:2]), after
    lab.gateway.eventually("one copy of each", lambda: all(domains(lab, n) == {after[n][0]: ["running"]} for n in NAMES), 60)


if os.environ.get("GABBRO_LONG"):
    def test_E21_D18_what_can_be_moved_leaves_before_its_host_is_rebooted(lab):
        """Also when the gateway is killed while the first one moves."""
        host = lab.hosts[0]
        remove(lab, "--all")
        lab.gateway.kubectl("label", "node", host.node, "rack=here")
        for other in lab.hosts[1:]:
            lab.gateway.kubectl("cordon", other.node)
        try:
            rebooted_with_moves(lab, host)
        finally:
            lab.cap(host, 0)
            for each in lab.hosts:
                lab.gateway.kubectl("uncordon", each.node)
            lab.gateway.kubectl("label", "node", host.node, "rack-")
            remove(lab, "-l", "reboots=yes")
