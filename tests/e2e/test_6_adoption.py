# SPDX-License-Identifier: Apache-2.0
"""Agent, gateway and host end in every way, and what runs is taken over: nothing lost, nothing started twice. GABBRO_LONG=1 adds what takes minutes."""
import json
import os
import re
import shutil
import sqlite3
import time

import pytest

from cloud import BIN, Daemon
from fleet import agent_log, caught_up, fleet, host_boot, print_rows, seen

LONG = os.environ.get("GABBRO_LONG") == "1"
CREDENTIALS = "ca.crt", "node.crt", "node.key", "node.name"
LEASE_S = 40


@pytest.fixture(scope="module")
def machines(cloud):
    with fleet(cloud, **{"on": "AlwaysOn", "hand": "Manual", "keep": "AlwaysOnUnlessStoppedManually"}) as made:
        yield made
    print_rows()


def facts(machines):
    return {name: (m.epoch(), m.pid(), m.phase(), m.vm()["status"].get("hardware")) for name, m in machines.items()}


def milliseconds(line):
    return int(re.search(r"ms=(\d+)", line).group(1)) / 1000


def adopted(cloud, machines, before):
    line = caught_up(cloud)
    running = int(re.search(r"running=(\d+)", line).group(1))
    assert running == int(cloud.virsh("list", "--name").split().__len__()), line
    assert facts(machines) == before
    assert "guest runs" not in agent_log(cloud), "something was started"
    assert "rolled back" not in agent_log(cloud) and "changed outside" not in agent_log(cloud), agent_log(cloud)
    return milliseconds(line)


def test_A4_decision_12_upgraded_agent_without_its_journal_adopts_all(machines, cloud):
    before, agent = facts(machines), Daemon(cloud, "agent")
    agent.end()
    shutil.rmtree(cloud.demo / "agent/journal")
    other = cloud.folder / "upgraded"
    other.mkdir(exist_ok=True)
    shutil.copy(BIN / "gabbro-agent", other / "gabbro-agent")
    agent.begin(program=other / "gabbro-agent")
    seconds = adopted(cloud, machines, before)
    agent.again()
    seen("agent killed and replaced, journal lost", "machines run", seconds, "all are adopted from libvirt; nothing is started, no guest notices")


def test_A4_decision_3_agent_that_lost_all_but_its_credentials_adopts_all(machines, cloud):
    before, agent = facts(machines), Daemon(cloud, "agent")
    volumes = [v["status"]["path"] for v in cloud.get("volumes.host.gabbro.dev")["items"]]
    agent.end()
    for path in (cloud.demo / "agent").iterdir():
        if path.name not in CREDENTIALS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    agent.begin()
    seconds = adopted(cloud, machines, before)
    for kind in ("volumes", "ports"):
        cloud.eventually(f"{kind} are Ready", lambda: {i["status"]["state"] for i in cloud.get(f"{kind}.host.gabbro.dev")["items"]} == {"Ready"}, 30)
    assert [v["status"]["path"] for v in cloud.get("volumes.host.gabbro.dev")["items"]] == volumes
    address = machines["on"].vm()["status"]["ipAddress"]
    cloud.eventually("the guest answers", lambda: cloud.run("ping", "-c1", "-W2", address, check=False).returncode == 0, 30)
    seen("agent lost its folder but its credentials", "machines run", seconds, "all are adopted from libvirt and the gateway; volumes and ports as before")


def deletions(cloud, after):
    """What the agent's own stream says of deletions after a revision: [(revision of the deletion, of the last change)]."""
    agent, gateway = cloud.demo / "agent", "https://127.0.0.1:6443"
    lines = cloud.run("curl", "-sN", "--max-time", "2", "--cacert", agent / "ca.crt", "--cert", agent / "node.crt", "--key", agent / "node.key",
                      f"{gateway}/agent/v1/manifest?watch=1&resourceVersion={after}", check=False).stdout.splitlines()
    events = [json.loads(line) for line in lines]
    return [(int(e["resourceVersion"]), int(e["object"]["metadata"]["resourceVersion"])) for e in events if e["type"] == "DELETED"]


def test_A4_I5_killed_gateway_comes_back_and_the_agent_goes_on(machines, cloud):
    before, gateway = facts(machines), Daemon(cloud, "gateway")
    with fleet(cloud, short="AlwaysOn"):
        ran = int(json.loads(cloud.kubectl("get", "--raw", "/apis/host.gabbro.dev/v1/instances").stdout)["metadata"]["resourceVersion"])
    told = deletions(cloud, ran)
    assert told and all(deleted > changed and deleted > ran for deleted, changed in told), told
    mark = len(agent_log(cloud, False))
    gateway.again()
    cloud.gateway_serves()
    begin = time.monotonic()
    text = lambda: agent_log(cloud, False)[mark:]
    cloud.eventually("the agent goes on", lambda: "the gateway is reached" in text(), 30)
    seconds = time.monotonic() - begin
    went_on = re.search(r"the manifest goes on revision=(\d+)", text())
    assert went_on and "from the beginning" not in text(), text()
    assert int(went_on.group(1)) > ran, "the last event was a deletion, and the agent went on from before it"
    assert facts(machines) == before and "guest runs" not in text()
    cloud.virsh("destroy", machines["on"].domain())
    machines["on"].runs_again(before["on"][0] + 1)
    seen("gateway killed", "agent follows its manifest", seconds, "the agent goes on after its revision, without a new list")


def test_decision_4_guest_ends_while_the_gateway_is_away(machines, cloud):
    on, hand, gateway = machines["on"], machines["hand"], Daemon(cloud, "gateway")
    before = facts(machines)
    for machine in (on, hand):
        cloud.eventually("its guest listens", lambda: machine.vm()["status"].get("guestOSInfo"), 90)
    domains = [on.domain(), hand.domain()]
    mark = len(agent_log(cloud, False))
    gateway.end()
    down = time.monotonic()
    for domain in domains:
        cloud.virsh("shutdown", domain)
    for domain in domains:
        cloud.eventually("the guest is down", lambda: cloud.virsh("domstate", domain).strip() == "shut off", 60)
    if LONG:
        cloud.eventually("the lease ends", lambda: "the node's lease has ended" in agent_log(cloud, False)[mark:], LEASE_S + 20)
        time.sleep(120)
    else:
        time.sleep(3)  # nothing may be started, and nothing tells when nothing happened
    assert "guest runs" not in agent_log(cloud, False)[mark:]
    assert len(cloud.virsh("list", "--name").split()) == 2, "a machine was started without the gateway"
    minutes = time.monotonic() - down
    gateway.begin()
    cloud.gateway_serves()
    begin = time.monotonic()
    on.runs_again(before["on"][0] + 1, 90)
    seconds = time.monotonic() - begin
    hand.until("stopped", lambda m: m.phase() == "Stopped", 30)
    assert hand.epoch() == before["hand"][0] and hand.condition()["reason"] == "GuestShutdown"
    assert machines["keep"].pid() == before["keep"][1]
    print(f"the gateway was away for {minutes:.0f} s")
    seen("gateway away", "guests shut themselves down", seconds, "nothing is started meanwhile; afterwards the run policy decides: AlwaysOn starts, Manual stays off")
    hand.start()


def test_A4_C38_attack_33_a_store_from_a_backup_learns_what_runs(machines, cloud):
    """What happened since the backup is told anew by the agent: nothing is started twice, nothing that runs is ended (doc/how-to/store.md)."""
    on, hand, gateway = machines["on"], machines["hand"], Daemon(cloud, "gateway")
    store, copy = cloud.demo / "gateway/store.db", cloud.folder / "backup.db"
    with sqlite3.connect(store) as live, sqlite3.connect(copy) as backup:
        live.backup(backup)
    cloud.gabbro("restart", "on", "--force", "--wait", "--timeout", "60", timeout=90)
    on.runs_again(on.epoch(), 60)
    cloud.eventually("its guest listens", lambda: on.vm()["status"].get("guestOSInfo"), 90)
    cloud.gabbro("stop", "hand", "--force", "--wait", "--timeout", "60", timeout=90)
    before = facts(machines)
    gateway.end()
    for suffix in ("", "-wal", "-shm"):
        (cloud.demo / f"gateway/store.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, store)
    mark, begin = len(agent_log(cloud, False)), time.monotonic()
    gateway.begin()
    cloud.gateway_serves()
    cloud.eventually("the agent reads its manifest anew", lambda: "from the beginning" in agent_log(cloud, False)[mark:], 30)
    hand.until("stopped", lambda m: m.phase() == "Stopped", 30)
    on.until("known as it runs", lambda m: m.phase() == "Running" and m.vm()["status"]["epoch"] == before["on"][0] and
             m.vm()["status"].get("guestOSInfo"), 60)
    seconds = time.monotonic() - begin
    assert facts(machines)["on"][1:] == before["on"][1:] and facts(machines)["keep"] == before["keep"]
    assert "guest runs" not in agent_log(cloud, False)[mark:], agent_log(cloud, False)[mark:]
    cloud.virsh("destroy", on.domain())
    on.runs_again(before["on"][0] + 1)
    cloud.eventually("the doctor finds nothing", lambda: cloud.gabbro("doctor", check=False).returncode == 0, 30)
    seen("gateway's store restored from a backup", "machines were restarted and stopped since", seconds,
         "the agent tells what runs; nothing is started twice, nothing that runs is ended")
    hand.start()


def test_E21_decision_4_machines_come_back_after_a_boot_of_the_host(machines, cloud):
    before = facts(machines)
    agent, gateway = Daemon(cloud, "agent"), Daemon(cloud, "gateway")
    gateway.end("TERM")
    host_boot(cloud, agent)
    time.sleep(4)  # nothing may be started before the gateway has spoken
    assert cloud.virsh("list", "--name").split() == [] and "guest runs" not in agent_log(cloud)
    gateway.begin()
    cloud.gateway_serves()
    begin = time.monotonic()
    for name in ("on", "keep"):
        machines[name].runs_again(before[name][0] + 1, 90)
    seconds = time.monotonic() - begin
    hand = machines["hand"]
    hand.until("stopped", lambda m: m.phase() == "Stopped", 30)
    said = hand.condition()
    assert said["reason"] == "HostLost" and "went down" in said["message"] and "Manual leaves it off" in said["message"], said
    assert any("went down" in w for w in machines["on"].events("HostLost"))
    for name, m in machines.items():
        assert m.vm()["status"]["hardware"] == before[name][3], "the hardware of a machine has changed"
    address = machines["on"].vm()["status"]["ipAddress"]
    cloud.eventually("the guest answers", lambda: cloud.run("ping", "-c1", "-W2", address, check=False).returncode == 0, 60)
    seen("host boots", "machines ran", seconds, "nothing before the agent has spoken to the gateway; then by run policy, Manual stays off with reason HostLost")
    hand.start()
    cloud.wait("vm", "first-vm", "phase=Running", 60)
