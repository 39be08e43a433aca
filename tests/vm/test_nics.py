# SPDX-License-Identifier: Apache-2.0
"""Interfaces that come to a machine while it runs and leave it: seen in the guest, closed by their policy before their link is up."""
import json

import pytest
from cloud import BUILD, Daemon
from reliability import outcome

NETWORK = {"apiVersion": "gabbro.dev/v1", "kind": "Network", "metadata": {"name": "second"}, "spec": {"cidr": "10.71.0.0/24"}}
SECOND = [{"type": "Main"}, {"type": "Network", "name": "second"}]


CREW = {"shared": "AlwaysOnUnlessStoppedManually"}


@pytest.fixture(scope="module")
def machine(crew, cloud):
    cloud.kubectl("apply", "-f", "-", input=json.dumps(NETWORK))
    patch(crew["shared"], {"disruptions": {"applyMode": "Live"}})
    crew["shared"].until("its agent answers", lambda m: run(m, "true") == "", 120)
    yield crew["shared"]
    patch(crew["shared"], {"networks": [{"type": "Main"}]})
    cloud.kubectl("delete", "network", "second", "--wait=false")  # its addresses are kept for their project for a while


def patch(machine, spec):
    machine.cloud.kubectl("patch", "vm", machine.name, "--type", "merge", "-p", json.dumps({"spec": spec}))


def run(machine, script):
    """What the script says in the guest; None: it failed, or the guest did not answer."""
    result = machine.cloud.gabbro("guest", "exec", machine.name, "--", "sh", "-c", script, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def links(machine):
    return sorted(name for name in (run(machine, "ls /sys/class/net") or "").split() if name.startswith("eth"))


def put(machine, networks):
    patch(machine, {"networks": networks})
    machine.cloud.gabbro("wait", "vm", machine.name, "--for", "condition=ConfigurationApplied", "--timeout", "90")


def ports(machine):
    found = machine.cloud.get("ports.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={machine.name}")["items"]
    return sorted(found, key=lambda p: p["metadata"]["name"])


def rules(machine, tap):
    return tap in machine.cloud.run("nft", "list", "ruleset").stdout


def pings(machine, words):
    return run(machine, f"ping -c1 -W1 {words} >/dev/null && echo yes || echo no") == "yes"


def test_an_interface_comes_with_its_address_and_its_rules(machine):
    """Seen in the guest, which gets the address that the status tells; a foreign one is refused (A50, A52, I3, I7)."""
    epoch = machine.epoch()
    assert links(machine) == ["eth0"]
    put(machine, SECOND)
    assert links(machine) == ["eth0", "eth1"]
    told = machine.vm()["status"]["networks"][1]
    assert run(machine, "cat /sys/class/net/eth1/address") == told["macAddress"]
    run(machine, "ip link set eth1 up && udhcpc -i eth1 -s /etc/udhcpc.script -n -q -t 5 -T 1")
    assert told["ipAddress"] in run(machine, "ip -4 addr show eth1"), told
    assert pings(machine, "-I eth1 10.71.0.1")
    run(machine, "ip addr add 10.71.0.99/24 dev eth1")
    assert not pings(machine, "-I 10.71.0.99 10.71.0.1"), "another address is dropped"
    run(machine, "ip addr del 10.71.0.99/24 dev eth1")
    assert pings(machine, f"-I {told['ipAddress']} 10.71.0.1")
    assert machine.epoch() == epoch and "restartAwaitingChanges" not in machine.vm()["status"]
    live, defined = (machine.cloud.virsh("domiflist", machine.uuid(), *more) for more in ((), ("--inactive",)))
    assert told["macAddress"] in live and told["macAddress"] in defined


def test_it_leaves_the_guest_and_nothing_of_it_stays(machine):
    """Tap, rules, Port, address (A51, I8)."""
    port = ports(machine)[1]
    tap, address = port["spec"]["tapName"], port["spec"]["addresses"][0]
    assert rules(machine, tap)
    put(machine, [{"type": "Main"}])
    assert links(machine) == ["eth0"]
    machine.until("its port is gone", lambda m: len(ports(m)) == 1, 90)
    assert not rules(machine, tap) and machine.cloud.run("ip", "link", "show", tap, check=False).returncode != 0
    assert tap not in machine.cloud.virsh("dumpxml", machine.uuid(), "--inactive")
    machine.until("its address is free", lambda m: address not in m.cloud.kubectl("get", "vmip", "-o", "json").stdout, 90)


def packets(machine, tap):
    """(sent by the guest as its host counts, received as the guest counts)"""
    sent = machine.cloud.run("cat", f"/sys/class/net/{tap}/statistics/rx_packets").stdout
    return int(sent), int(run(machine, "cat /sys/class/net/eth0/statistics/rx_packets"))


def link(machine, mac):
    """As the guest, libvirt, its definition and the status have it."""
    virsh = [machine.cloud.virsh("domif-getlink", machine.uuid(), mac, *more).split()[-1] for more in ((), ("--config",))]
    return [run(machine, "cat /sys/class/net/eth0/carrier"), *virsh, machine.vm()["status"]["networks"][0].get("linkState")]


UP, DOWN = ["1", "up", "up", "Up"], ["0", "down", "down", "Down"]


def test_a_link_is_pulled_and_plugged_in(machine):
    """No frame passes either way while it is down, and it comes back with its address; nothing waits for a restart (A50, D75, I3)."""
    port = ports(machine)[0]["spec"]
    mac, tap, address, gateway = port["mac"], port["tapName"], port["addresses"][0], port["network"]["gateway"]
    epoch = machine.epoch()
    assert link(machine, mac) == UP and pings(machine, gateway)
    plan = machine.cloud.gabbro("set", "vm", machine.name, "--link", "down", "--wait", "--timeout", "90").stdout
    assert plan.splitlines()[1].split() == ["spec.networks.linkState", "Up", "Down", "live"], plan
    machine.until("its link is down", lambda m: link(m, mac) == DOWN, 90)
    before = packets(machine, tap)
    run(machine, f"ip neigh flush dev eth0; ping -c1 -W1 {gateway}")
    machine.cloud.run("ping", "-c1", "-W1", address, check=False)
    assert packets(machine, tap) == before, "frames pass while the link is down"
    assert machine.epoch() == epoch and "restartAwaitingChanges" not in machine.vm()["status"]
    machine.cloud.gabbro("set", "vm", machine.name, "--nic", mac, "--link", "up", "--wait", "--timeout", "90")
    machine.until("its link is up", lambda m: link(m, mac) == UP, 90)
    assert machine.until("it is reached again", lambda m: pings(m, gateway), 90)
    assert packets(machine, tap)[0] > before[0] and not machine.events("DefinitionChangedOutside")


def test_a_link_that_somebody_pulled_by_hand_is_put_right(machine):
    """Told once, as all that is changed beside Gabbro (D75, I1)."""
    mac = ports(machine)[0]["spec"]["mac"]
    machine.cloud.virsh("domif-setlink", machine.uuid(), mac, "down")
    Daemon(machine.cloud, "agent").again()
    machine.until("its link is up", lambda m: link(m, mac) == UP, 90)
    machine.until("an event", lambda m: any("link of interface" in text for text in m.events("DefinitionChangedOutside")), 90)


def test_its_link_is_down_until_its_rules_were_seen(machine):
    """An agent that dies right after the interface came leaves it down, and no frame passes; the next one raises it (A52, I7)."""
    agent = Daemon(machine.cloud, "agent")
    plan, fired = (machine.cloud.folder / f"nic-{name}" for name in ("plan", "fired"))
    plan.write_text("instances/plug-nic/attached=kill")
    agent.end()
    agent.begin(BUILD / "tests/fault/gabbro-agent-faulty", GABBRO_FAULT_FILE=plan, GABBRO_FAULT_FIRED=fired)
    patch(machine, {"networks": SECOND})
    machine.until("the agent is dead", lambda m: fired.exists() and m.cloud.run("kill", "-0", agent.pid(), check=False).returncode, 90)
    port = ports(machine)[1]["spec"]
    assert rules(machine, port["tapName"]), "the rules stand before the link does"
    ask = lambda script: machine.cloud.run("virsh", "-q", "qemu-agent-command", machine.uuid(), json.dumps(  # noqa: E731
        {"execute": "guest-exec", "arguments": {"path": "/bin/sh", "arg": ["-c", script]}}))
    seen = f"/sys/class/net/{port['tapName']}/statistics/rx_packets"
    ask("ip link set eth1 up; ip addr add 10.71.0.77/24 dev eth1; for i in 1 2 3; do ping -c1 -W1 10.71.0.1; done")
    machine.cloud.run("sleep", "2")
    assert machine.cloud.run("cat", seen).stdout.strip() == "0", "what the guest sends does not reach the tap"
    agent.begin()
    machine.cloud.gabbro("wait", "vm", machine.name, "--for", "condition=ConfigurationApplied", "--timeout", "90")
    machine.until("its link is up", lambda m: run(m, "cat /sys/class/net/eth1/carrier") == "1", 90)
    assert machine.cloud.virsh("domif-getlink", machine.uuid(), port["mac"]).split()[-1] == "up"
    outcome("SIGKILL of the agent right after an interface came", "attach an interface",
            "its link is down and no frame of the guest reaches the host; the next agent sees its rules, then raises it")
    put(machine, [{"type": "Main"}])
