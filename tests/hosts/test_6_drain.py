# SPDX-License-Identifier: Apache-2.0
"""A host is emptied while its machines run: kubectl drain, unmodified, and gabbro drain (D18, D19, D125, D130-D132)."""
import json
import os
import subprocess

import pytest
from cloud import BIN, KUBECTL, Daemon
from test_2_migration import domains, of_node, operate

NAMES = ("leaves-a", "leaves-b", "leaves-c")
DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data")
VMOP = "virtualmachineoperations.gabbro.dev"


def where(lab):
    """Machine -> (node, phase, epoch)."""
    return {v["metadata"]["name"]: (v["status"].get("nodeName"), v["status"].get("phase"), v["status"].get("epoch")) for v in lab.gateway.get("vm")["items"]
            if v["metadata"]["name"] in NAMES}


def evacuations(lab, *phases):
    """Names of the machines of the evacuations that are there."""
    return sorted(o["spec"]["virtualMachineName"] for o in lab.gateway.get(VMOP)["items"]
                  if o["metadata"]["name"].startswith("evacuation-") and (not phases or o.get("status", {}).get("phase", "Pending") in phases))


def starts(lab, program, *words):
    """A command that goes on beside the test."""
    argv = [KUBECTL, "--kubeconfig", lab.gateway.kubeconfig, *words] if program == "kubectl" else [BIN / "gabbro", "--kubeconfig", lab.gateway.kubeconfig, *words]
    return subprocess.Popen(lab.gateway.argv(*argv), env=lab.gateway.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def remove(lab, *chosen):
    """Machines that nobody asks for any more, without waiting for their guests: they would take the room."""
    on = [v["metadata"]["name"] for v in lab.gateway.get("vm", *(("-l", chosen[1]) if chosen[0] == "-l" else ()))["items"]
          if v["status"].get("phase") != "Stopped"]
    if on:
        lab.gateway.gabbro("force-off", *on, check=False)
    lab.gateway.kubectl("delete", "vm", *chosen, "--timeout=240s", timeout=270)


@pytest.fixture(scope="module")
def host(lab):
    """All of the machines run on one host, to begin with; the name of their host then."""
    first = lab.hosts[0].node
    remove(lab, "--all")
    for other in lab.hosts[1:]:
        lab.gateway.kubectl("cordon", other.node)
    lab.gateway.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [item for name in NAMES for item in (
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": f"{name}-root"},
         "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}}}},
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name, "labels": {"leaves": "yes", "letter": name[-1]}},
         "spec": {"cpu": {"cores": 1, "coreFraction": "10%"}, "memory": {"size": "128Mi"},
                  "blockDeviceRefs": [{"kind": "VirtualDisk", "name": f"{name}-root"}]}})]}))
    for name in NAMES:
        lab.gateway.wait("vm", name, "phase=Running", 180)
    for other in lab.hosts[1:]:
        lab.gateway.kubectl("uncordon", other.node)
    yield first
    for each in lab.hosts:
        lab.cap(each, 0)
        lab.gateway.kubectl("uncordon", each.node)
    remove(lab, "-l", "leaves=yes")


def test_D18_D130_two_drains_at_once_move_each_machine_once(lab, host):
    before = where(lab)
    assert {node for node, _, _ in before.values()} == {host}

    def planned():
        return lab.gateway.gabbro("drain", host, "--dry-run", "-l", "leaves=yes", check=False).stdout

    lab.gateway.eventually("all can be moved", lambda: all(f"default/{name} moves to lab-" in planned() for name in NAMES))
    assert not evacuations(lab), "a plan begins nothing"
    drains = [ended(d, 330) for d in [starts(lab, "kubectl", "drain", host, *DRAIN, "--timeout=300s") for _ in range(2)]]
    assert [code for code, _, _ in drains] == [0, 0] and all(f"pod/{name} evicted" in drains[0][1] + drains[1][1] for name in NAMES), drains
    lab.gateway.eventually("all run elsewhere", lambda: all(node != host and phase == "Running" for node, phase, _ in where(lab).values()))
    after = where(lab)
    assert {n: epoch for n, (_, _, epoch) in after.items()} == {n: epoch for n, (_, _, epoch) in before.items()}, "nothing was started anew"
    assert evacuations(lab, "Completed") == sorted(NAMES)
    lab.gateway.eventually("one copy of each", lambda: all(domains(lab, name) == {after[name][0]: ["running"]} for name in NAMES))
    assert "SchedulingDisabled" in lab.gateway.kubectl("get", "node", host).stdout
    lab.gateway.kubectl("uncordon", host)


def gather(lab, host):
    """All of the machines are on one host again: the others are emptied of them."""
    for name, (node, _, _) in where(lab).items():
        if node != host:
            operate(lab, f"back-{name}-{len(lab.gateway.get(VMOP)['items'])}", machine=name, migrate={"nodeName": host})
    lab.gateway.eventually("they are back", lambda: {(n, p) for n, p, _ in where(lab).values()} == {(host, "Running")}, 120)


if os.environ.get("GABBRO_LONG"):
    def test_D131_uncordoned_in_the_middle_what_has_not_begun_stays(lab, host):
        """With a gateway that is killed before; the one that moves arrives. Machines that are not selected are left alone."""
        gather(lab, host)
        lab.cap(of_node(lab, host), 4)
        drain = starts(lab, "gabbro", "drain", host, "--selector", "letter in (a, b)")
        lab.gateway.eventually("one moves", lambda: evacuations(lab, "InProgress") and evacuations(lab, "Pending"), 60)
        moves, = evacuations(lab, "InProgress")
        waits, = evacuations(lab, "Pending")
        assert {moves, waits} == {"leaves-a", "leaves-b"}
        Daemon(lab.gateway, "gateway").again()
        lab.gateway.gateway_serves()
        lab.gateway.gabbro("uncordon", host)
        lab.gateway.eventually("the other one is let be", lambda: not evacuations(lab, "Pending"), 60)
        lab.cap(of_node(lab, host), 0)
        code, out, err = ended(drain)
        assert code == 1 and f"default/{waits} stays on {host}" in err and "takes machines again" in err, (code, out, err)
        lab.gateway.eventually("the one that moved arrives", lambda: where(lab)[moves][:2] != (host, "Running") and where(lab)[moves][1] == "Running", 60)
        after = where(lab)
        assert after[waits][:2] == after["leaves-c"][:2] == (host, "Running") and after[moves][0] != host, after

    def test_D130_a_drain_goes_on_through_a_killed_gateway_a_ctrl_c_and_a_deletion(lab, host):
        """A machine that moves by hand is left to that; one is deleted while it waits; the host is empty in the end."""
        gather(lab, host)
        operate(lab, "by-hand", machine="leaves-c", migrate={"bandwidthMibPerSecond": 6})
        lab.gateway.eventually("it is under way", lambda: lab.gateway.vm("leaves-c")["status"]["phase"] == "Migrating", 60)
        drain = starts(lab, "gabbro", "drain", host, "-l", "leaves=yes")
        lab.gateway.eventually("the others wait", lambda: evacuations(lab, "Pending") == ["leaves-a", "leaves-b"], 60)
        lab.gateway.run("bash", "-c", "kill -INT $(pgrep -x gabbro)")
        code, out, err = ended(drain)
        assert code == 1 and f"node/{host} stays cordoned" in err and f"gabbro drain {host}" in err and f"gabbro uncordon {host}" in err, err
        lab.gateway.kubectl("delete", "vm", "leaves-a", "--wait=false")
        drain = starts(lab, "gabbro", "drain", host, "-l", "leaves=yes")
        plan = drain.stdout.readline()
        Daemon(lab.gateway, "gateway").again()
        code, out, err = ended(drain, 180)
        assert code == 0 and plan.startswith("default/leaves-") and f"node/{host} is" in out, (plan, out, err)
        after = where(lab)
        assert "leaves-a" not in after and all(node != host and phase == "Running" for node, phase, _ in after.values()), after
        assert "leaves-c" not in evacuations(lab, "Pending", "InProgress")
        lab.gateway.gabbro("uncordon", host)
        lab.gateway.kubectl("delete", "vm/leaves-b", "vm/leaves-c", *[f"vd/{n}-root" for n in NAMES], "--timeout=60s", timeout=90)
