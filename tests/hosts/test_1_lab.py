# SPDX-License-Identifier: Apache-2.0
"""Several hosts: they join, machines are spread, a host out of reach is told as such and nothing is started twice (A3, A59, D130)."""
import subprocess
import sys
import time

from cloud import ROOT

# Sends what it is told to whoever connects, or counts what comes in a second.
SERVE = "import socket,sys;s=socket.create_server(('',9000));print('up',flush=True);c,_=s.accept();c.sendall(bytes(int(sys.argv[1])))"
COUNT = "import socket,sys\nc=socket.create_connection((sys.argv[1],9000))\nwhile c.recv(1<<16): pass"


def ready(lab, host):
    node = lab.gateway.get("node", host.node)
    return next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")


def running_on(lab):
    """Host -> names of the domains that its libvirt runs."""
    return {host.node: host.virsh("list", "--name").split() for host in lab.hosts}


def test_A3_hosts_join_and_machines_are_spread(lab):
    assert [ready(lab, host) for host in lab.hosts] == ["True"] * 3
    for name in ("one", "two", "three"):
        lab.machine(name)
    placed = {name: lab.gateway.vm(name)["status"]["nodeName"] for name in ("one", "two", "three")}
    domains = running_on(lab)
    for name, node in placed.items():
        assert [d for d in domains[node] if d.startswith(f"{name}-")], (placed, domains)
    assert sum(len(names) for names in domains.values()) == 3 and len(set(placed.values())) == 3, placed


def throughput(lab, host, size):
    """Bytes a second from the gateway's namespace to the host."""
    argv = lab.gateway.argv("/usr/bin/python3", "-c", SERVE, size)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline().strip() == "up"
        begin = time.monotonic()
        host.run("/usr/bin/python3", "-c", COUNT, lab.gateway.address)
        return size / (time.monotonic() - begin)


def test_a_link_is_as_fast_as_it_is_told_to_be(lab):
    host, size = lab.hosts[2], 3_000_000
    lab.cap(host, 8)
    capped = throughput(lab, host, size)
    lab.cap(host, 0)
    assert capped < 1_300_000 and throughput(lab, host, size) > 2 * capped


def test_A59_a_host_out_of_reach_is_told_and_nothing_is_started_twice(lab):
    """Its machines are Unknown, run on, and are the same ones when it is back."""
    machine = lab.gateway.vm("one")["status"]
    host = next(h for h in lab.hosts if h.node == machine["nodeName"])
    before = running_on(lab)
    lab.cut(host)
    lab.gateway.wait("vm", "one", "condition=Running=Unknown", 120)
    said = next(c for c in lab.gateway.vm("one")["status"]["conditions"] if c["type"] == "Running")
    assert said["reason"] == "NodeLost" and host.node in said["message"] and "nothing is started elsewhere" in said["message"]
    unknown = {c["type"] for c in lab.gateway.vm("one")["status"]["conditions"] if (c["status"], c["reason"]) == ("Unknown", "NodeLost")}
    assert unknown >= {"Running", "AgentReady", "Migratable", "NetworkReady", "ConfigurationApplied", "FirmwareUpToDate"}, unknown
    described = lab.gateway.gabbro("describe", "node", host.node).stdout
    assert "AutomaticRestart" in described and "NoFencing" in described and "not started elsewhere" in described, described
    assert ready(lab, host) == "Unknown" and running_on(lab) == before
    lab.heal(host)
    lab.gateway.wait("vm", "one", "condition=Running=True", 60)
    assert ready(lab, host) == "True" and running_on(lab) == before and lab.gateway.vm("one")["status"]["epoch"] == machine["epoch"]


def test_A4_a_host_whose_clock_is_wrong_goes_on(lab):
    """Two hours ahead, then half an hour behind (certificates are backdated by one): its lease is by the gateway's clock, its machines are told as they are."""
    machine = lab.gateway.vm("two")["status"]
    host = next(h for h in lab.hosts if h.node == machine["nodeName"])
    for offset in ("+2h", "-30m", None):
        host.clock("agent", offset)
        lab.gateway.gabbro("restart", "two", "--force", "--wait", "--timeout", "60", timeout=90)
        status = lab.gateway.vm("two")["status"]
        assert (status["phase"], status["nodeName"], ready(lab, host)) == ("Running", host.node, "True")
    assert status["epoch"] == machine["epoch"] + 3 and sum(len(names) for names in running_on(lab).values()) == 3


def test_nothing_is_left_of_a_lab(tmp_path):
    """By hand: up, and down to the last file and process, also when a part of it has died."""
    lab = [sys.executable, ROOT / "tests/lab/lab.py", "--dir", "/var/tmp/gabbro-lab-left"]
    up = subprocess.run([*lab, "up", "--hosts", "1"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200)
    assert up.returncode == 0 and "first-vm" in up.stdout and "kubeconfig: " in up.stdout, up.stdout
    inits = [int((ROOT / f"/var/tmp/gabbro-lab-left/{name}/init.pid").read_text().split()[0]) for name in ("gw", "h1")]
    down = subprocess.run([*lab, "down"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60)
    assert down.returncode == 0 and "nothing is left" in down.stdout
    assert subprocess.run(["ls", "/var/tmp/gabbro-lab-left"], stderr=subprocess.DEVNULL).returncode != 0
    alive = subprocess.run(["ps", "-o", "pid=,args=", "-p", ",".join(map(str, inits))], stdout=subprocess.PIPE, text=True).stdout
    assert "host.sh" not in alive, alive
