# SPDX-License-Identifier: Apache-2.0
"""Agent, gateway and host end in every way, and what runs is taken over: nothing lost, nothing started twice."""
import re
import shutil
import time

import pytest

from cloud import BIN, Daemon
from fleet import agent_log, caught_up, fleet, print_rows, seen

CREDENTIALS = "ca.crt", "node.crt", "node.key", "node.name"


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


def test_A4_I5_killed_gateway_comes_back_and_the_agent_goes_on(machines, cloud):
    before, gateway = facts(machines), Daemon(cloud, "gateway")
    mark = len(agent_log(cloud, False))
    gateway.again()
    begin = time.monotonic()
    text = lambda: agent_log(cloud, False)[mark:]
    cloud.eventually("the agent goes on", lambda: "the gateway is reached" in text(), 30)
    seconds = time.monotonic() - begin
    assert "the manifest goes on revision=" in text() and "from the beginning" not in text(), text()
    assert facts(machines) == before and "guest runs" not in text()
    cloud.virsh("destroy", machines["on"].domain())
    machines["on"].runs_again(before["on"][0] + 1)
    seen("gateway killed", "agent follows its manifest", seconds, "the agent goes on after its revision, without a new list")
