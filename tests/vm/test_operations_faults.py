# SPDX-License-Identifier: Apache-2.0
"""Operations when guest, agent or libvirtd do not play along."""
import os
import time

import pytest
from cloud import BUILD, Daemon
from fleet import libvirtd
from reliability import outcome
from test_operations import answers, ask


CREW = {"shared": "AlwaysOnUnlessStoppedManually"}


@pytest.fixture(scope="module")
def machine(crew):
    crew["shared"].until("its agent answers", lambda m: ask(m, "guest-info") is not None, 120)
    return crew["shared"]


def operation(cloud, kind):
    found = [o for o in cloud.get("vmop")["items"] if o["spec"]["type"] == kind and o["spec"]["virtualMachineName"] == "shared"]
    return max(found, key=lambda o: o["metadata"]["creationTimestamp"])


@pytest.mark.parametrize("place", ["done", "kept", "resumed"] if os.environ.get("GABBRO_LONG") == "1" else ["done", "resumed"])
def test_C43_a_guest_is_reset_once_though_its_agent_is_killed_in_between(machine, cloud, place, request):
    """It does not run between the reset and the note of it, so a second reset is none to it (I5)."""
    before = machine.epoch(), machine.pid()
    agent = Daemon(cloud, "agent")
    request.addfinalizer(lambda: agent.again())
    agent.end("TERM")
    agent.begin(BUILD / "tests/fault/gabbro-agent-faulty", GABBRO_FAULT=f"instances/reset/{place}=kill")
    cloud.gabbro("reset", "shared")
    cloud.eventually("the agent is killed", lambda: cloud.run("kill", "-0", str(agent.pid()), check=False).returncode, 60)
    assert machine.state() == ("running" if place == "resumed" else "paused")
    agent.begin()
    name = operation(cloud, "Reset")["metadata"]["name"]
    cloud.wait("vmop", name, "phase=Completed", 90)
    assert (machine.phase(), machine.state(), machine.epoch(), machine.pid()) == ("Running", "running", *before)
    assert "resetting" not in cloud.virsh("dumpxml", machine.uuid())
    outcome("SIGKILL of the agent in the middle", "reset", "the guest stands still until the next agent comes, and begins anew once")


def test_D45_a_reboot_storm_starts_nothing_anew(machine, cloud):
    before = machine.epoch(), machine.pid()
    for _ in range(12):
        cloud.virsh("reset", machine.uuid())
    machine.until("its guest answers", answers, 60)
    assert (machine.phase(), machine.state(), machine.epoch(), machine.pid()) == ("Running", "running", *before)


def test_C40_a_guest_that_ignores_acpi_is_cut_off_after_its_grace_period(machine, cloud):
    machine.until("its agent answers", lambda m: ask(m, "guest-info") is not None, 60)
    for path in ("/etc/acpi/PWRF/00000080", "/sbin/gabbro-shutdown"):
        handle = ask(machine, "guest-file-open", path=path, mode="w")
        ask(machine, "guest-file-write", handle=handle, **{"buf-b64": "IyEvYmluL3NoCg=="})  # a script that does nothing
        ask(machine, "guest-file-close", handle=handle)
    cloud.kubectl("patch", "vm", "shared", "--type=merge", "-p", '{"spec":{"terminationGracePeriodSeconds":4}}')
    begin = time.monotonic()
    assert "was stopped" in cloud.gabbro("stop", "shared", "--wait", "--timeout", "120", timeout=150).stdout
    assert (machine.phase(), machine.state()) == ("Stopped", "shut off")
    assert time.monotonic() - begin >= 2
    outcome("a guest that ignores ACPI", "stop", "it is cut off after its grace period, the operation is done")


if os.environ.get("GABBRO_LONG") == "1":
    def test_an_operation_on_a_hung_libvirtd_ends_with_a_reason(machine, cloud):
        """C39: bounded by the operation's own time; what it asked for is withdrawn."""
        machine.start()
        libvirtd(cloud, "freeze")
        try:
            begin = time.monotonic()
            result = cloud.gabbro("suspend", "shared", "--wait", "--timeout", "120", check=False, timeout=150)
            assert result.returncode != 0 and time.monotonic() - begin < 100
            said = next(c for c in operation(cloud, "Suspend")["status"]["conditions"] if c["type"] == "Completed")
            assert "was not suspended within 60 seconds: " in said["message"], said
        finally:
            libvirtd(cloud, "thaw")
        machine.until("runs", lambda m: m.condition()["status"] == "True", 60)
        assert (machine.phase(), machine.state()) == ("Running", "running")
        outcome("libvirtd hangs", "suspend", "the operation fails after a minute and says why; nothing is done when libvirtd goes on")
