# SPDX-License-Identifier: Apache-2.0
"""Suspended, resumed and reset by command; the guest keeps its memory or loses it, its QEMU stays, and libvirt says the same after each."""
import json

import pytest

from cloud import Daemon
from fleet import caught_up, fleet, libvirtd


@pytest.fixture(scope="module")
def machines(cloud):
    with fleet(cloud, op="AlwaysOn", hand="Manual") as made:
        for machine in made.values():
            machine.until("its guest answers", lambda m: answers(m), 60)
        yield made


def answers(machine):
    return machine.cloud.run("ping", "-c1", "-W1", machine.vm()["status"]["ipAddress"], check=False).returncode == 0


def ask(machine, execute, **arguments):
    words = json.dumps({"execute": execute, "arguments": arguments})
    result = machine.cloud.run("virsh", "-q", "qemu-agent-command", machine.uuid(), words, "--timeout", "5", check=False)
    return json.loads(result.stdout)["return"] if result.returncode == 0 else None


def boot_id(machine):
    """Of the guest's kernel: the same as long as its memory is."""
    def read():
        handle = ask(machine, "guest-file-open", path="/proc/sys/kernel/random/boot_id")
        found = handle and ask(machine, "guest-file-read", handle=handle)
        return found and found["buf-b64"]

    return machine.cloud.eventually("boot id", read, 60)


def operate(machine, verb, **kwargs):
    return machine.cloud.gabbro(verb, machine.name, "--wait", "--timeout", "60", timeout=90, **kwargs)


def stays_suspended(machine, pid):
    assert (machine.phase(), machine.state(), machine.pid()) == ("Pause", "paused", pid)
    said = machine.condition()
    assert said["reason"] == "Paused" and "an operation suspended it" in said["message"], said


def test_A11_A12_C44_C45_suspended_keeps_its_memory_through_every_restart(machines, cloud):
    machine = machines["op"]
    before, boot = (machine.epoch(), machine.pid()), boot_id(machine)
    assert "is suspended" in operate(machine, "suspend").stdout
    stays_suspended(machine, before[1])
    assert not answers(machine)
    Daemon(cloud, "agent").again()
    caught_up(cloud)
    stays_suspended(machine, before[1])
    for order in ("kill", "start"):
        libvirtd(cloud, order)
    cloud.eventually("libvirt is back", lambda: cloud.run("virsh", "-q", "version", check=False).returncode == 0, 30)
    Daemon(cloud, "gateway").again()
    cloud.gateway_serves()
    machine.until("the host is back", lambda m: m.condition()["status"] == "False", 60)
    stays_suspended(machine, before[1])
    assert "goes on" in operate(machine, "resume").stdout
    assert (machine.phase(), machine.state()) == ("Running", "running")
    machine.until("its guest answers", answers, 20)
    assert (machine.epoch(), machine.pid()) == before and boot_id(machine) == boot
    assert machine.intent()["status"]["orderNumber"] == 2


def test_A17_what_somebody_paused_on_the_host_is_resumed_by_an_operation(machines, cloud):
    machine = machines["op"]
    cloud.virsh("suspend", machine.uuid())
    machine.until("phase Pause", lambda m: m.phase() == "Pause", 20)
    assert machine.condition()["reason"] == "PausedOutside"
    operate(machine, "resume")
    assert (machine.phase(), machine.state()) == ("Running", "running")


def test_C43_reset_starts_the_guest_anew_in_the_same_qemu(machines, cloud):
    machine = machines["hand"]
    before, boot = (machine.epoch(), machine.pid()), boot_id(machine)
    assert "was reset" in operate(machine, "reset").stdout
    machine.until("its guest is away", lambda m: not answers(m), 20)
    machine.until("its guest answers", answers, 60)
    assert boot_id(machine) != boot
    assert (machine.phase(), machine.state(), machine.epoch(), machine.pid()) == ("Running", "running", *before)


def test_A17_what_is_not_possible_is_refused_with_words(machines):
    machine = machines["hand"]
    refused = operate(machine, "resume", check=False)
    assert refused.returncode != 0 and "Resume is not possible while the machine is Running" in refused.stderr
    operate(machine, "suspend")
    for verb, word in (("reset", "Reset"), ("suspend", "Suspend"), ("start", "Start")):
        refused = operate(machine, verb, check=False)
        assert refused.returncode != 0 and f"{word} is not possible while the machine is Pause" in refused.stderr
    assert machine.state() == "paused"


def test_C47_a_suspended_machine_is_stopped_in_an_orderly_way_and_starts_fresh(machines):
    machine = machines["hand"]
    before = machine.epoch()
    operate(machine, "stop")
    assert (machine.phase(), machine.state()) == ("Stopped", "shut off")
    refused = operate(machine, "suspend", check=False)
    assert refused.returncode != 0 and "Suspend is not possible while the machine is Stopped" in refused.stderr
    operate(machine, "start")
    assert (machine.phase(), machine.state(), machine.epoch()) == ("Running", "running", before + 1)
