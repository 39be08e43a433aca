# SPDX-License-Identifier: Apache-2.0
"""Discs in the CD drive of a machine that runs: another one, none, one again; the guest reads each. Attached, a drive comes with its disc."""
import json
import re

import pytest
from fleet import Machine, gone, manifest
from guest import condition, disc

VM = "cd"
CREW = {"asked": "AlwaysOnUnlessStoppedManually"}


@pytest.fixture(scope="module")
def machine(cloud):
    names = ("DISC-A", "DISC-B", "DISC-C")
    for name in names:
        path = cloud.folder / f"{name}.iso"
        path.write_bytes(disc(name))
        cloud.gabbro("image", "upload", path, "--name", name.lower())
    items = manifest(VM, "AlwaysOn")
    items[1]["spec"]["disruptions"] = {"applyMode": "Live"}
    items[1]["spec"]["blockDeviceRefs"].append({"kind": "VirtualImage", "name": "disc-a"})
    for name in names:
        cloud.wait("vi", name.lower(), "phase=Ready", 90)
    cloud.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    made = Machine(cloud, VM)
    cloud.wait("vm", VM, "phase=Running", 60)
    made.until("its agent answers", lambda m: reads(m) == "DISC-A", 60)
    yield made
    gone(cloud, VM)
    cloud.kubectl("delete", "vi", *[n.lower() for n in names], timeout=60)


def in_guest(machine, script):
    """What it prints; None: the guest does not answer."""
    result = machine.cloud.gabbro("guest", "exec", machine.name, "--", "sh", "-c", script, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def reads(machine, drive="sr0"):
    """The name of the disc that the guest finds in its drive; "": it finds none; None: the guest does not answer."""
    script = f"dd if=/dev/{drive} bs=2048 skip=16 count=1 2>/dev/null | dd bs=1 skip=40 count=32 2>/dev/null"
    return in_guest(machine, script)


def put(machine, *discs):
    """Into the specification; when the machine runs as it says."""
    refs = [{"kind": "VirtualDisk", "name": f"{VM}-root"}] + [{"kind": "VirtualImage", "name": d} for d in discs]
    machine.cloud.kubectl("patch", "vm", VM, "--type", "merge", "-p", json.dumps({"spec": {"blockDeviceRefs": refs}}))
    machine.cloud.gabbro("wait", "vm", VM, "--for", "condition=ConfigurationApplied", "--timeout", "90")


def drives(machine, *flags):
    """Of libvirt: what each CD drive holds."""
    rows = [line.split(None, 1) for line in machine.cloud.virsh("domblklist", machine.uuid(), *flags).splitlines() if line.strip()]
    return [path.strip() for target, path in rows if target.startswith("sd")]


def test_a_disc_is_exchanged_ejected_and_put_in_again(machine):
    """Live, without a restart, in what runs and in its definition (D99, D100; D101 with applyMode Live)."""
    epoch, first = machine.epoch(), drives(machine)
    machine.cloud.gabbro("set", "vm", VM, "--disc", "disc-b", "--wait")
    assert reads(machine) == "DISC-B"
    assert drives(machine) == drives(machine, "--inactive") != first
    seen = {d["name"]: d["attached"] for d in machine.vm()["status"]["blockDeviceRefs"]}
    assert seen == {f"{VM}-root": True, "disc-b": True}, seen
    machine.cloud.gabbro("set", "vm", VM, "--eject", "--wait")
    machine.until("the drive is empty", lambda m: reads(m) == "", 90)
    assert drives(machine) == drives(machine, "--inactive") == ["-"]
    assert machine.cloud.get("vi", "disc-b")["status"]["phase"] == "Ready"
    put(machine, "disc-c")
    assert reads(machine) == "DISC-C"
    assert condition(machine.vm(), "AwaitingRestartToApplyConfiguration")["status"] == "False"
    assert machine.epoch() == epoch and "restartAwaitingChanges" not in machine.vm()["status"]


def test_an_attached_iso_is_a_drive_of_its_own(machine):
    """It comes with its disc and goes with it (D99, D102, D106, D107, D108)."""
    machine.cloud.gabbro("attach", VM, "vi/disc-b", "--wait", "--timeout", "90")
    machine.until("the guest reads it", lambda m: reads(m, "sr1") == "DISC-B", 90)
    assert len(drives(machine)) == 2
    machine.cloud.gabbro("detach", VM, "vi/disc-b", "--wait", "--timeout", "90")
    assert len(drives(machine)) == len(drives(machine, "--inactive")) == 1
    assert reads(machine, "sr1") in ("", None)


def test_a_guest_that_has_locked_the_tray_keeps_its_disc_and_that_is_told(machine):
    """The guest is asked, never robbed: the other disc comes when it lets go (D99, D101)."""
    put(machine, "disc-a")
    assert reads(machine) == "DISC-A"
    assert in_guest(machine, "sleep 600 </dev/sr0 >/dev/null 2>&1 & echo $! | tee /tmp/holder").isdigit(), "an open drive is locked"
    patch = [{"op": "replace", "path": "/spec/blockDeviceRefs/1/name", "value": "disc-b"}]
    machine.cloud.kubectl("patch", "vm", VM, "--type", "json", "-p", json.dumps(patch))
    told = machine.cloud.eventually("it is told", lambda: (c := condition(machine.vm(), "ConfigurationApplied"))["status"] == "False" and
                                    "into the CD drive" in c["message"] and c, 90)
    assert "tray of 'sda'" in told["message"] and reads(machine) == "DISC-A", told
    in_guest(machine, "kill $(cat /tmp/holder)")
    machine.until("the other disc is in", lambda m: reads(m) == "DISC-B", 90)
    machine.cloud.gabbro("wait", "vm", VM, "--for", "condition=ConfigurationApplied", "--timeout", "90")


def test_a_machine_without_a_drive_gets_its_first_while_it_runs(machine, crew):
    """With its controller; both are what the next start has (D99, D102)."""
    made, cloud = crew["asked"], machine.cloud
    made.until("its agent answers", lambda m: in_guest(m, "echo here") == "here", 120)
    try:
        assert "type='scsi'" not in cloud.virsh("dumpxml", made.uuid())
        cloud.gabbro("attach", made.name, "vi/disc-a", "--wait", "--timeout", "90")
        made.until("the guest reads it", lambda m: reads(m) == "DISC-A", 90)
        places = [controllers(made), controllers(made, "--inactive")]
        assert len(places[0]) == 1 and places[0] == places[1], places
        cloud.gabbro("restart", made.name, "--force", "--wait", "--timeout", "120", timeout=150)
        assert controllers(made) == places[0], "the next start has it at the same place"
    finally:
        cloud.gabbro("detach", made.name, "vi/disc-a", "--wait", "--timeout", "90", check=False)


def controllers(machine, *flags):
    """Model and place of each SCSI controller."""
    xml = machine.cloud.virsh("dumpxml", machine.uuid(), *flags)
    return re.findall(r"<controller type='scsi' index='0' model='(virtio-scsi)'>.*?bus='(\w+)' slot='(\w+)'", xml, re.S)


def test_without_live_a_disc_waits_for_the_restart(machine):
    """(D101, D76, D79)"""
    put(machine, "disc-a")
    machine.cloud.kubectl("patch", "vm", VM, "--type", "merge", "-p", '{"spec": {"disruptions": {"applyMode": "Restart"}}}')
    machine.cloud.kubectl("patch", "vm", VM, "--type", "json", "-p",
                          '[{"op": "replace", "path": "/spec/blockDeviceRefs/1/name", "value": "disc-b"}]')
    waits = machine.cloud.eventually("it waits", lambda: machine.vm()["status"].get("restartAwaitingChanges"), 90)
    assert [(w["path"], w["currentValue"]["name"], w["desiredValue"]["name"]) for w in waits] == [("blockDeviceRefs.1", "disc-a", "disc-b")], waits
    assert reads(machine) == "DISC-A"
    machine.cloud.gabbro("restart", VM, "--force", "--wait", "--timeout", "120", timeout=150)
    assert drives(machine) == drives(machine, "--inactive") and "disc-b" in drives(machine)[0], "the new disc is in the drive"
