# SPDX-License-Identifier: Apache-2.0
"""A machine whose screen listens for TCP moves to hosts that allow that; its password goes along, over the lab's network."""
import json

import pytest
from cloud import ROOT, Daemon

NAME = "screened"


def answer(lab, where, password):
    """From the gateway's host, as a person would reach it."""
    client = lab.gateway.run("/usr/bin/python3", ROOT / "tests/lab/rfb.py", where["address"], where["port"], input=password + "\n", timeout=200)
    return " ".join(client.stdout.split()[:2])


def screen_on(lab, host):
    """Where it listens, once the machine runs on @host."""
    def look():
        status = lab.gateway.vm(NAME)["status"]
        return status.get("nodeName") == host.node and status["phase"] == "Running" and status.get("graphics")
    return lab.gateway.eventually(f"the screen is told on {host.node}", look, 240)


@pytest.fixture
def operators(lab):
    """Each says for its own host where screens may listen; as it was afterwards."""
    agents = {host.node: Daemon(host, "agent") for host in lab.hosts[:2]}
    ordinary = {node: agent.argv for node, agent in agents.items()}

    def allow(host):
        agents[host.node].argv = [*ordinary[host.node], "--graphics-address", host.address]
        agents[host.node].again("TERM")
    yield allow
    lab.gateway.kubectl("delete", "--ignore-not-found", "vm", NAME, timeout=90)
    lab.gateway.kubectl("delete", "--ignore-not-found", "vd", f"{NAME}-root", timeout=60)
    for node, agent in agents.items():
        if agent.argv != ordinary[node]:
            agent.argv = ordinary[node]
            agent.again("TERM")
    for host in lab.hosts[:2]:
        lab.gateway.eventually(f"{host.node} is ready", lambda h=host: lab.says(h, "Ready") == lab.says(h, "MigrationReady") == "True", 180)


def test_A19_C70_C71_a_screen_moves_to_a_host_that_allows_it_with_its_password(lab, operators):
    source, target = lab.hosts[:2]
    operators(source)
    lab.gateway.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": f"{NAME}-root"},
         "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}}}},
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": NAME},
         "spec": {"cpu": {"cores": 1}, "memory": {"size": "128Mi"}, "graphics": {"listen": "TCP"},
                  "blockDeviceRefs": [{"kind": "VirtualDisk", "name": f"{NAME}-root"}]}}]}))
    here = screen_on(lab, source)  # no other host allows it
    password = json.loads(lab.gateway.gabbro("graphics-password", NAME, "-o", "json").stdout)["password"]
    assert here["address"] == source.address
    assert (answer(lab, here, password), answer(lab, here, "wrong")) == ("2 accepted", "2 refused")

    refused = lab.gateway.gabbro("migrate", "vm", NAME, "--to", target.node, "--dry-run", check=False)
    assert refused.returncode and f"{target.node} allows no screen to listen for TCP" in refused.stderr, refused
    operators(target)
    lab.gateway.eventually("it could be moved", lambda: lab.gateway.gabbro("migrate", "vm", NAME, "--to", target.node, "--dry-run",
                                                                           check=False).returncode == 0, 180)
    lab.gateway.gabbro("migrate", "vm", NAME, "--to", target.node, "--wait", "--timeout", "180", timeout=240)
    there = screen_on(lab, target)
    assert there["address"] == target.address and there["passwordVersion"] == here["passwordVersion"]
    assert (answer(lab, there, password), answer(lab, there, "wrong")) == ("2 accepted", "2 refused")
    assert not [line for line in source.run("ss", "-ltnpH").stdout.splitlines() if "qemu" in line]

    new = json.loads(lab.gateway.gabbro("graphics-password", NAME, "--rotate", "-o", "json", timeout=180).stdout)["password"]
    assert (answer(lab, there, new), answer(lab, there, password)) == ("2 accepted", "2 refused")
    for host in (source, target, lab.gateway):
        logs = b"".join(log.read_bytes() for log in [*(host.demo / "log").glob("*.log"), *(host.host / "log").glob("*.log")])
        assert password.encode() not in logs and new.encode() not in logs
