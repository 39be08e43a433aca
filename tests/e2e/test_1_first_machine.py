# SPDX-License-Identifier: Apache-2.0
"""From a manifest to a booted guest: what `make demo` leaves, seen from outside, from kubectl, from libvirt and from within."""
import contextlib
import json
import os
import pty
import re
import select
import time

import pytest
from cloud import BIN
from guest import ssh


def test_C15_D45_E31_machine_runs_and_libvirt_agrees(cloud):
    """Created by one manifest (A7, C1, D12)."""
    vm = cloud.vm("first-vm")
    assert vm["status"]["phase"] == "Running"
    assert cloud.domstate("first-vm") == "running"
    assert "first-vm runs on" in cloud.demo_output


def test_D47_D58_every_condition_has_a_message(cloud):
    conditions = {c["type"]: c for c in cloud.vm("first-vm")["status"]["conditions"]}
    for wanted in ("VirtualMachineClassReady", "BlockDevicesReady", "VirtualMachineIPAddressReady", "ProvisioningReady", "Running"):
        assert conditions[wanted]["status"] == "True", conditions
    assert all(c["message"] for c in conditions.values())


def test_D13_D63_D64_tables_of_kubectl(cloud):
    narrow = cloud.kubectl("get", "vm").stdout.splitlines()
    assert narrow[0].split() == ["NAME", "PHASE", "NODE", "IPADDRESS", "AGE"]
    assert narrow[1].split()[:2] == ["first-vm", "Running"]
    wide = cloud.kubectl("get", "vm", "-o", "wide").stdout.splitlines()
    assert re.split(r"\s{2,}", wide[0].strip()) == ["NAME", "PHASE", "CORES", "COREFRACTION", "MEMORY", "NEED RESTART", "AGENT", "MIGRATABLE",
                                                  "NODE", "IPADDRESS", "AGE"]
    assert "20%" in wide[1] and "False" in wide[1]
    assert cloud.kubectl("get", "vm", "first-vm", "-o", "jsonpath={.status.phase}").stdout == "Running"


def test_D1_alias_group_shows_the_same_object(cloud):
    def looks():
        """The object by its own group, by the alias, and by its own group again: it may be written in between."""
        alias = cloud.kubectl("get", "virtualmachines.virtualization.deckhouse.io", "first-vm", "-o", "json").stdout
        return json.loads(alias), cloud.get("virtualmachines.gabbro.dev", "first-vm")

    alias, own = cloud.eventually("the object stands still between two looks",
                                  lambda: next((l for l in [looks()] if l[0]["metadata"]["resourceVersion"] == l[1]["metadata"]["resourceVersion"]), None))
    assert alias["apiVersion"] == "virtualization.deckhouse.io/v1alpha2"
    assert own["metadata"]["uid"] == alias["metadata"]["uid"]
    assert own["spec"] == alias["spec"] and own["status"] == alias["status"]


def test_D39_D44_topology_in_status_and_domain(cloud):
    cpu = cloud.vm("first-vm")["status"]["resources"]["cpu"]
    assert cpu["topology"] == {"sockets": 1, "coresPerSocket": 1}
    assert cpu["coreFraction"] == "20%"


def test_D65_address_answers_ping(cloud):
    address = cloud.vm("first-vm")["status"]["ipAddress"]
    assert address.startswith("10.66.10.")
    assert cloud.run("ping", "-c2", "-W2", address).returncode == 0
    leases = cloud.get("vmipl")["items"]
    assert "ip-" + address.replace(".", "-") in [lease["metadata"]["name"] for lease in leases]


def test_D82_D87_hostname_user_and_key_reached_the_guest(cloud):
    """Host name, key and user data arrive (A31, A32, E7)."""
    assert ssh(cloud, "hostname").strip() == "first-vm"
    assert ssh(cloud, "id", "-un").strip() == "demo"
    assert "first Gabbro machine" in ssh(cloud, "cat", "/etc/motd")


def test_D49_D50_guest_agent_is_seen(cloud):
    def ready():
        status = cloud.vm("first-vm")["status"]
        agent = [c for c in status["conditions"] if c["type"] == "AgentReady" and c["status"] == "True"]
        return status if agent and status.get("guestOSInfo", {}).get("id") == "gabbro-tiny" else None

    status = cloud.eventually("AgentReady", ready, 90)
    assert status["guestOSInfo"]["kernelRelease"]


def test_C24_C25_C26_volume_is_thin_qcow2_with_its_features(cloud):
    volume = cloud.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm-root")["items"][0]
    assert volume["spec"]["volumeName"].endswith("-main.qcow2")
    info = cloud.run("qemu-img", "info", "-U", "--output", "json", volume["status"]["path"]).stdout
    assert '"lazy-refcounts": true' in info and '"extended-l2": true' in info
    assert volume["status"]["capacityBytes"] == 256 << 20


def test_decision_5_no_tap_without_its_policy(cloud):
    """The device and its policy are made together (A6, C13)."""
    port = cloud.get("ports.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]
    rules = cloud.run("nft", "list", "ruleset").stdout
    assert port["spec"]["tapName"] in rules and port["spec"]["mac"] in rules
    assert cloud.run("ip", "-d", "link", "show", port["spec"]["tapName"]).stdout.count("isolated on") == 1


def test_decision_19_node_says_why_it_emulates(cloud):
    node = cloud.get("nodes")["items"][0]
    assert "kvm" in str(node["status"]).lower()
    weights = next(c for c in node["status"]["conditions"] if c["type"] == "CPUWeights")  # D26: this host has no control groups
    assert (weights["status"], weights["reason"]) == ("False", "CPUWeightsUnavailable"), weights


def console(cloud, *exchanges, timeout=90):
    """Drive `gabbro console` on a terminal: (wait for text, then send) pairs; returns all that was printed and the exit status.

    A guest's login throws away what is typed before it is ready to read, as with any terminal: without an answer in 5 s the same is
    typed again.
    """
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(str(cloud.argv()[0]), cloud.argv(BIN / "gabbro", "--kubeconfig", cloud.kubeconfig, "console", "first-vm"), cloud.env)
    seen, mark, last, status = "", 0, None, None
    steps = list(exchanges)
    end = time.monotonic() + timeout
    answer_by = end
    try:
        while time.monotonic() < end:
            if select.select([master], [], [], 0.5)[0]:
                try:
                    data = os.read(master, 4096)
                except OSError:
                    break
                if not data:
                    break
                seen += data.decode(errors="replace")
            if steps and steps[0][0] in seen[mark:]:
                mark = len(seen)
                last = steps.pop(0)[1].encode()
                os.write(master, last)
                answer_by = time.monotonic() + 5
            elif steps and last and time.monotonic() > answer_by:
                os.write(master, last)
                answer_by = time.monotonic() + 5
        while status is None and time.monotonic() < end:
            done, code = os.waitpid(pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if done else None
    finally:
        if status is None:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(master)
    assert not steps, f"never saw {steps[0][0]!r} in:\n{seen}"
    return seen, status


def test_D20_console_login_and_escape(cloud):
    password = (cloud.demo / "guest/password").read_text()
    seen, status = console(cloud, ("The escape sequence is ^]", "\r"), ("login:", "demo\r"), ("Password:", password + "\r"),
                           ("$", "echo marker-$((6*7))\r"), ("marker-42", "exit\r"), ("login:", "\x1d"))
    assert "Successfully connected to first-vm console" in seen
    assert status == 0


@pytest.mark.parametrize("gone", ["rolebinding/of-guest", "serviceaccount/guest"])
def test_D72_a_console_ends_with_the_right_to_it(cloud, gone):
    """Who loses the role, or is no more, has no terminal into the guest left."""
    cloud.kubectl("create", "serviceaccount", "guest")
    cloud.kubectl("create", "rolebinding", "of-guest", "--clusterrole=gabbro:operator", "--serviceaccount=default:guest")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    asked = cloud.kubectl("create", "--raw", "/api/v1/namespaces/default/serviceaccounts/guest/token", "-f", "-", input=json.dumps(request))
    token = json.loads(asked.stdout)["status"]["token"]
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(str(cloud.argv()[0]), cloud.argv(BIN / "gabbro", "--kubeconfig", cloud.kubeconfig, "--token", token, "console", "first-vm"), cloud.env)
    seen, acted = "", False
    try:
        with contextlib.suppress(OSError):
            while select.select([master], [], [], 60)[0] and (data := os.read(master, 4096)):
                seen += data.decode(errors="replace")
                if not acted and "The escape sequence is" in seen:
                    acted = True
                    cloud.kubectl("delete", gone, timeout=30)
        assert acted and "you may no longer use this console" in seen, seen
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(master)
        cloud.kubectl("delete", "rolebinding/of-guest", "serviceaccount/guest", "--ignore-not-found")


def test_second_demo_is_quick_and_harmless(cloud):
    before = cloud.vm("first-vm")
    started = time.monotonic()
    cloud.run("/usr/bin/python3", os.path.join(os.path.dirname(__file__), "../../tools/demo.py"), "up", timeout=120)
    assert time.monotonic() - started < 60
    after = cloud.vm("first-vm")
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert before["status"]["stats"]["lastStartTime"] == after["status"]["stats"]["lastStartTime"]
