# SPDX-License-Identifier: Apache-2.0
"""Suspended, resumed and reset by command; the guest keeps its memory or loses it, its QEMU stays, and libvirt says the same after each."""
import json

import pytest

from cloud import Daemon
from fleet import caught_up, fleet, libvirtd


CREW = {"op": "AlwaysOn", "hand": "Manual"}


@pytest.fixture(scope="module")
def machines(crew):
    for machine in crew.values():
        machine.until("its guest answers", lambda m: answers(m), 120)
    return crew


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
    return machine.cloud.gabbro(verb, machine.name, "--wait", "--timeout", "120", timeout=150, **kwargs)


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
    cloud.eventually("libvirt is back", lambda: cloud.run("virsh", "-q", "version", check=False).returncode == 0, 90)
    Daemon(cloud, "gateway").again()
    cloud.gateway_serves()
    machine.until("the host is back", lambda m: m.condition()["status"] == "False", 60)
    stays_suspended(machine, before[1])
    assert "goes on" in operate(machine, "resume").stdout
    assert (machine.phase(), machine.state()) == ("Running", "running")
    machine.until("its guest answers", answers, 90)
    assert (machine.epoch(), machine.pid()) == before and boot_id(machine) == boot
    assert machine.intent()["status"]["orderNumber"] == 2


def test_A17_what_somebody_paused_on_the_host_is_resumed_by_an_operation(machines, cloud):
    machine = machines["op"]
    cloud.virsh("suspend", machine.uuid())
    machine.until("phase Pause", lambda m: m.phase() == "Pause", 90)
    assert machine.condition()["reason"] == "PausedOutside"
    operate(machine, "resume")
    assert (machine.phase(), machine.state()) == ("Running", "running")


def test_C43_reset_starts_the_guest_anew_in_the_same_qemu(machines):
    machine = machines["hand"]
    before = machine.epoch(), machine.pid()
    assert "was reset" in operate(machine, "reset").stdout
    machine.until("its guest is away", lambda m: not answers(m), 90)
    assert (machine.phase(), machine.state(), machine.epoch(), machine.pid()) == ("Running", "running", *before)


def test_A14_redeploy_makes_the_disk_anew_and_keeps_the_identity(machines, cloud):
    machine = machines["op"]

    def volume():
        found = machine.cloud.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=op-root")["items"][0]
        return found["metadata"]["uid"], cloud.run("stat", "-c", "%i %W", found["status"]["path"]).stdout

    def identity():
        vm = machine.vm()
        return vm["metadata"]["uid"], vm["status"]["networks"][0]["macAddress"], vm["status"]["hardware"], machine.domain()

    before, who, epoch, pid = volume(), identity(), machine.epoch(), machine.pid()
    assert "was redeployed" in operate(machine, "redeploy").stdout
    expect(machine, "Running")
    after = volume()
    assert after[0] != before[0] and after[1] != before[1], "the old disk is there still"
    assert identity() == who and machine.epoch() == epoch + 1 and machine.pid() != pid

    address = machine.vm()["status"]["ipAddress"]
    cloud.gabbro("redeploy", "op", "--new-identity", "--wait", "--timeout", "120", timeout=150)
    expect(machine, "Running")
    uid, mac, *rest = identity()
    assert mac != who[1] and [uid, *rest] == [who[0], *who[2:]] and machine.vm()["status"]["ipAddress"] != address
    assert mac in cloud.virsh("domiflist", machine.uuid())
    machine.until("its guest answers at its new address", answers, 60)


STATES = {"Running": "running", "Pause": "paused", "Stopped": "shut off"}
ALLOWED = {"Running": {"Stop", "Restart", "ForceOff", "Suspend", "Reset", "Redeploy"},
           "Pause": {"Stop", "Restart", "ForceOff", "Resume", "Redeploy"}, "Stopped": {"Start", "Redeploy"}}
VERBS = {"start": "Start", "stop": "Stop", "restart": "Restart", "force-off": "ForceOff", "suspend": "Suspend", "resume": "Resume", "reset": "Reset",
         "redeploy": "Redeploy"}
WALK = [("reset", "Running"), ("suspend", "Pause"), ("resume", "Running"), ("restart --force", "Running"), ("suspend", "Pause"),
        ("restart --force", "Running"), ("suspend", "Pause"), ("force-off", "Stopped"), ("start", "Running"), ("stop --force", "Stopped"),
        ("start", "Running"), ("force-off", "Stopped"), ("start", "Running"), ("suspend", "Pause"), ("stop --force", "Stopped"),
        ("redeploy", "Running"), ("suspend", "Pause"), ("redeploy", "Running"), ("redeploy", "Running"), ("force-off", "Stopped")]


def expect(machine, phase):
    assert (machine.phase(), machine.state()) == (phase, STATES[phase])


def refuses_the_rest(machine):
    phase = machine.phase()
    for verb, kind in VERBS.items():
        if kind not in ALLOWED[phase]:
            refused = machine.cloud.gabbro(verb, machine.name, check=False, timeout=30)
            assert refused.returncode != 0 and f"{kind} is not possible while the machine is {phase}: " in refused.stderr, refused
    expect(machine, phase)


def test_A16_A17_every_move_between_running_paused_and_off(machines):
    """Every cell of these three phases; libvirt says the same after each move."""
    machine, seen, taken = machines["hand"], set(), set()
    machine.until("its guest answers after the reset", answers, 60)
    for move, phase in [(None, "Running"), *WALK]:
        if move:
            taken.add((machine.phase(), VERBS[move.split()[0]]))
            machine.cloud.gabbro(*move.split(), machine.name, "--wait", "--timeout", "120", timeout=150)
        expect(machine, phase)
        if phase not in seen:
            refuses_the_rest(machine)
            seen.add(phase)
    assert taken == {(phase, kind) for phase, kinds in ALLOWED.items() for kind in kinds}


def test_C46_undefined_and_its_disk_stays(machines, cloud):
    machine = machines["hand"]
    refused = cloud.gabbro("undefine", "op", check=False)
    assert refused.returncode != 0 and "virtualmachine/op is Running; stop it first" in refused.stderr
    domain = machine.domain()
    assert "virtualdisk/hand-root stays" in (lambda r: r.stdout + r.stderr)(cloud.gabbro("undefine", "hand", "--wait", timeout=150))
    assert domain not in cloud.virsh("list", "--all", "--name").split()
    disk = cloud.get("vd", "hand-root")
    assert disk["status"]["phase"] == "Ready"
    with fleet(cloud, hand="Manual") as made:  # the same disk again
        assert made["hand"].phase() == "Running" and cloud.get("vd", "hand-root")["metadata"]["uid"] == disk["metadata"]["uid"]
        cloud.gabbro("force-off", "hand", "--wait", timeout=150)  # a guest that boots does not hear that it shall end
        cloud.gabbro("delete", "vm", "hand", "--with-disks", "--wait", timeout=150)
        names = cloud.kubectl("get", "vm,vd", "-o", "name").stdout
        assert "/hand" not in names and "/op-root" in names
