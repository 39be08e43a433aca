# SPDX-License-Identifier: Apache-2.0
"""Another machine of a machine that runs, and what is left when that is cut off in the middle."""
import json

import pytest
from cloud import BUILD, Daemon
from fleet import Machine
from test_operations import answers, ask


CREW = {"shared": "AlwaysOnUnlessStoppedManually"}


@pytest.fixture(scope="module")
def source(crew):
    crew["shared"].until("its agent answers", lambda m: ask(m, "guest-info") is not None, 120)
    return crew["shared"]


def written(machine):
    handle = ask(machine, "guest-file-open", path="/mark")
    found = ask(machine, "guest-file-read", handle=handle) if handle else None
    return found and found["buf-b64"]


def look(cloud):
    """Machines, disks, volumes and the files of the pool."""
    names = cloud.kubectl("get", "vm,vd,volumes.host.gabbro.dev,vmip", "-o", "name").stdout.split()
    path = next(p for v in cloud.get("volumes.host.gabbro.dev")["items"] if (p := v.get("status", {}).get("path")))
    return sorted(names), cloud.run("ls", path.rsplit("/", 1)[0]).stdout


def test_A55_a_clone_of_a_running_machine_has_its_data_and_an_identity_of_its_own(source, cloud):
    handle = ask(source, "guest-file-open", path="/mark", mode="w")
    ask(source, "guest-file-write", handle=handle, **{"buf-b64": "d2FzIGhlcmU="})
    ask(source, "guest-file-close", handle=handle)
    before, pid = look(cloud), source.pid()
    assert "was cloned" in cloud.gabbro("clone", "vm", "shared", "twin", "--consistency", "Agent", "--wait", timeout=90).stdout
    twin = Machine(cloud, "twin")
    twin.until("its guest answers", answers, 60)
    twin.until("its agent answers", lambda m: ask(m, "guest-info") is not None, 60)
    assert written(twin) == written(source) == "d2FzIGhlcmU="
    assert cloud.get("vd", "twin-root")["status"]["clone"]["consistency"] == "Agent"
    a, b = source.vm()["status"], twin.vm()["status"]
    assert a["ipAddress"] != b["ipAddress"] and a["networks"][0]["macAddress"] != b["networks"][0]["macAddress"]
    assert (source.phase(), source.state(), source.pid()) == ("Running", "running", pid) and twin.state() == "running"
    cloud.gabbro("delete", "vm", "twin", "--with-disks", "--wait", timeout=90)
    cloud.eventually("nothing is left of it", lambda: look(cloud) == before, 90)


@pytest.mark.parametrize("end", ["both", "cancel"])
def test_a_clone_that_is_cut_off_is_whole_or_nothing(source, cloud, end, request):
    """Killed while the copy is made and begun again it is made whole; cancelled it leaves nothing (I5)."""
    before = look(cloud)
    agent = Daemon(cloud, "agent")
    agent.end("TERM")
    request.addfinalizer(lambda: agent.again())
    agent.begin(BUILD / "tests/fault/gabbro-agent-faulty", GABBRO_FAULT="volumes/copy/begun=kill")
    cloud.gabbro("clone", "vm", "shared", "twin", "--run-policy", "Manual")
    cloud.eventually("the agent is killed", lambda: cloud.run("kill", "-0", str(agent.pid()), check=False).returncode, 60)
    operation = next(o["metadata"]["name"] for o in cloud.get("vmop")["items"] if o["spec"]["type"] == "Clone" and o["status"]["phase"] == "InProgress")
    assert "/twin\n" not in cloud.kubectl("get", "vm", "-o", "name").stdout
    if end == "both":
        Daemon(cloud, "gateway").again()
        cloud.gateway_serves()
    if end == "cancel":
        cloud.kubectl("delete", "vmop", operation, "--wait=false")
    agent.begin()
    if end != "cancel":
        cloud.wait("vmop", operation, "phase=Completed", 60)
        twin = cloud.vm("twin")
        assert [d["name"] for d in twin["spec"]["blockDeviceRefs"]] == ["twin-root"]
        cloud.gabbro("delete", "vm", "twin", "--with-disks", "--wait", timeout=90)
    cloud.eventually("nothing is left of it", lambda: look(cloud) == before, 90)
    assert (source.phase(), source.state()) == ("Running", "running")
    assert json.loads(cloud.virsh("qemu-agent-command", source.uuid(), '{"execute": "guest-fsfreeze-status"}'))["return"] == "thawed"
