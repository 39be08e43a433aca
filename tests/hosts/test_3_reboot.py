# SPDX-License-Identifier: Apache-2.0
"""A host is rebooted with its machines (E21, E51): they are shut down, its namespaces begin anew, and those that ran run again."""
import json

from cloud import Daemon


def operation(lab, name):
    return lab.gateway.get("nodeop", name).get("status", {})


def said(lab, name):
    found = operation(lab, name).get("conditions", [])
    return next((c for c in found if c["type"] == "Completed"), {"reason": None, "message": ""})


def test_E21_E51_a_host_is_rebooted_and_exactly_what_ran_runs_again(lab):
    """Also when the gateway is killed while the host is down, and with a machine that its policy would not start."""
    for name in ("stays", "hand"):
        lab.machine(name)
    host = next(h for h in lab.hosts if h.node == lab.gateway.vm("hand")["status"]["nodeName"])
    lab.gateway.kubectl("patch", "vm/hand", "--type=merge", "-p", json.dumps({"spec": {"runPolicy": "Manual"}}))
    here = {v["metadata"]["name"]: v["status"]["epoch"] for v in lab.gateway.get("vm")["items"] if v["status"].get("nodeName") == host.node}
    others = {v["metadata"]["name"]: v["status"]["epoch"] for v in lab.gateway.get("vm")["items"] if v["status"].get("nodeName") != host.node}
    boot = lab.gateway.get("node", host.node)["status"]["nodeInfo"]["bootID"]
    plan = lab.gateway.gabbro("node", "reboot", host.node, "--dry-run").stdout
    assert "default/hand is shut down and starts again" in plan and f"its {len(here)} machines" in plan, plan
    name = lab.gateway.gabbro("node", "reboot", host.node).stdout.split("(nodeoperation/")[1].split(")")[0]
    lab.gateway.eventually("the host was told to reboot", host.asked.exists, 90)
    assert host.virsh("list", "--name").split() == [], "its machines are off before"
    vm = lab.gateway.vm("hand")
    assert vm["status"]["phase"] == "Stopped" and "reboot of host" in json.dumps(vm["status"]["conditions"]), vm["status"]["conditions"]
    assert "SchedulingDisabled" not in lab.gateway.kubectl("get", "node", host.node).stdout
    Daemon(lab.gateway, "gateway").again()
    host.reboot()
    lab.gateway.gateway_serves()
    lab.gateway.eventually("it is over", lambda: operation(lab, name).get("phase") in ("Completed", "Failed"), 120)
    assert operation(lab, name)["phase"] == "Completed", said(lab, name)
    assert said(lab, name)["reason"] == "HostRebooted" and lab.gateway.get("node", host.node)["status"]["nodeInfo"]["bootID"] != boot
    after = {v["metadata"]["name"]: (v["status"]["phase"], v["status"]["epoch"]) for v in lab.gateway.get("vm")["items"]}
    assert {n: after[n] for n in here} == {n: ("Running", epoch + 1) for n, epoch in here.items()}
    assert {n: after[n][1] for n in others} == others, "nobody else was touched"
    assert "gabbro.dev/node-operation" not in lab.gateway.get("node", host.node)["metadata"].get("annotations", {})


def test_what_libvirt_alone_runs_keeps_a_host_up(lab):
    """A domain of somebody else is named, the machines are given back; nothing was rebooted."""
    host = next(h for h in lab.hosts if h.node == lab.gateway.vm("hand")["status"]["nodeName"])
    epoch = lab.gateway.vm("hand")["status"]["epoch"]
    host.run("virsh", "-q", "create", "/dev/stdin", input="<domain type='qemu'><name>foreign</name><memory>32768</memory><os><type>hvm</type></os></domain>")
    try:
        done = lab.gateway.gabbro("node", "reboot", host.node, "--wait", "--timeout", "90", check=False, timeout=120)
        assert done.returncode != 0 and "foreign" in done.stderr, done.stderr
        assert not host.asked.exists()
        lab.gateway.wait("vm", "hand", "phase=Running", 60)
        assert lab.gateway.vm("hand")["status"]["epoch"] == epoch + 1
    finally:
        host.run("virsh", "-q", "destroy", "foreign")
        lab.gateway.kubectl("delete", "vm/hand", "vm/stays", "vd/hand-root", "vd/stays-root", "--timeout=60s", timeout=90)
