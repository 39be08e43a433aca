# SPDX-License-Identifier: Apache-2.0
"""Run policies on real guests: QEMU killed, powered off, rebooted and panicked guests, with the agent or libvirtd away meanwhile."""
import json
import struct

import pytest

from cloud import Daemon
from fleet import caught_up, libvirtd
from reliability import outcome

CREW = {"on": "AlwaysOn", "keep": "AlwaysOnUnlessStoppedManually", "manual": "Manual"}


@pytest.fixture(scope="module")
def machines(crew):
    for machine in crew.values():  # one that is cut off while it makes its first disk's table has none
        booted(machine)
    return crew


def ask(machine, execute, **arguments):
    words = json.dumps({"execute": execute, "arguments": arguments})
    result = machine.cloud.run("virsh", "-q", "qemu-agent-command", machine.uuid(), words, "--timeout", "5", check=False)
    return json.loads(result.stdout)["return"] if result.returncode == 0 else None


def answers(cloud, address):
    return cloud.run("ping", "-c1", "-W1", address, check=False).returncode == 0


def boot_id(machine):
    def read():
        handle = ask(machine, "guest-file-open", path="/proc/sys/kernel/random/boot_id")
        found = handle is not None and ask(machine, "guest-file-read", handle=handle)
        return found and found["buf-b64"]

    return machine.cloud.eventually(f"{machine.name}: boot id", read, 60)


def booted(machine):
    machine.cloud.eventually(f"{machine.name}: its guest agent", lambda: ask(machine, "guest-ping") is not None, 150)


def in_guest(machine, command):
    """Begin a command of the guest's shell."""
    booted(machine)
    assert ask(machine, "guest-exec", path="/bin/sh", arg=["-c", command]), f"{machine.name}: {command}"


# ioperm(0x505, 1, 1); outb(1, 0x505); exit(0): what a driver of pvpanic does when its kernel panics.
CODE = bytes.fromhex("b8ad000000 bf05050000 be01000000 ba01000000 0f05 66ba0505 b001 ee b83c000000 31ff 0f05")
PANIC = (b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 64, 0, 0) +
         struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(CODE), 120 + len(CODE), 4096) + CODE)


def panic(machine):
    words = "".join(f"\\{byte:03o}" for byte in PANIC)
    in_guest(machine, f"printf '{words}' >/tmp/panic; chmod +x /tmp/panic; /tmp/panic")


def kill(cloud, *machines):
    pids = [str(pid) for pid in (machine.pid() for machine in machines) if pid]
    cloud.run("kill", "-KILL", *pids, check=False)


def fresh(*machines):
    """Started anew by operations, all at once: nothing is counted against them. Return: their epochs."""
    for machine in machines:
        verb = ["start"] if machine.phase() == "Stopped" else ["restart", "--force"]
        machine.cloud.gabbro(*verb, machine.name)
    for machine in machines:
        machine.until("runs anew", lambda m: m.phase() == "Running" and m.intent()["status"]["epoch"] == m.epoch(), 60)
    return [machine.epoch() for machine in machines]


def stays_off(machine, epoch, reason):
    machine.until("stopped", lambda m: m.phase() == "Stopped", 90)
    said = machine.condition()
    assert (said["status"], said["reason"]) == ("False", reason), said
    assert (machine.state(), machine.pid(), machine.epoch()) == ("shut off", None, epoch)
    assert machine.events(reason)


def starts_again(machine, epoch, reason):
    machine.runs_again(epoch + 1, 90)
    assert machine.state() == "running" and machine.events(reason), machine.events(reason)


def test_D66_D67_D68_guest_reboots_or_powers_off(machines, cloud):
    """A reboot is nobody's business (C42); a shutdown is seen also when agent or libvirtd was dead at that moment (D66, D67, D68)."""
    on, keep, hand = machines["on"], machines["keep"], machines["manual"]
    before, boot = (on.epoch(), on.pid()), boot_id(on)
    in_guest(on, "reboot -f")

    agent = Daemon(cloud, "agent")
    agent.end("KILL")
    in_guest(keep, "poweroff -f")
    cloud.eventually("libvirt knows", lambda: keep.state() == "shut off", 90)
    agent.begin()
    caught_up(cloud)
    stays_off(keep, 1, "GuestShutdown")
    outcome("SIGKILL of the agent", "a guest powers itself off meanwhile",
            "told as GuestShutdown by the next agent; the run policy decides")

    address = hand.vm()["status"]["ipAddress"]
    cloud.eventually("the guest answers", lambda: answers(cloud, address), 90)
    in_guest(hand, "sleep 1; poweroff -f")
    libvirtd(cloud, "kill")
    cloud.eventually("powered off", lambda: not answers(cloud, address), 30)  # its QEMU waits for libvirtd then, and nobody tells
    libvirtd(cloud, "start")
    stays_off(hand, 1, "GuestShutdown")
    outcome("SIGKILL of libvirtd", "a guest powers itself off meanwhile",
            "told as GuestShutdown when libvirtd is back; the run policy decides")

    on.until("another boot", lambda m: boot_id(m) != boot, 60)
    assert (on.phase(), on.epoch(), on.pid()) == ("Running", *before)
    in_guest(on, "poweroff -f")
    starts_again(on, 1, "GuestShutdown")


def test_D66_D67_D68_qemu_is_killed(machines, cloud):
    """A crash is a failure of every policy but Manual, which leaves it off (D66, D67, D68); again and again it waits longer."""
    on, keep, hand = machines["on"], machines["keep"], machines["manual"]
    epochs = dict(zip(machines, fresh(on, keep, hand)))
    kill(cloud, *machines.values())
    starts_again(on, epochs["on"], "Crashed")
    starts_again(keep, epochs["keep"], "Crashed")
    stays_off(hand, epochs["manual"], "Crashed")
    outcome("QEMU of a machine is killed", "run policies AlwaysOn, AlwaysOnUnlessStoppedManually, Manual",
            "started again, started again, left off; reason Crashed")

    kill(cloud, keep)
    keep.until("back-off", lambda m: m.condition().get("reason") == "BackOff", 90)
    said = keep.condition()["message"]
    assert "it ended 2 times in a row" in said and "is started again at" in said, said
    assert any("2 times in a row, it is started again at" in words for words in keep.events("Crashed"))
    Daemon(cloud, "gateway").again()
    cloud.gateway_serves()
    assert keep.condition()["message"] == said and keep.phase() == "Pending", "the count did not outlive the gateway"
    cloud.gabbro("start", "keep", "--wait", "--timeout", "120", timeout=150)
    assert keep.epoch() == epochs["keep"] + 2
    kill(cloud, keep)
    starts_again(keep, epochs["keep"] + 2, "Crashed")
    assert not any("3 times in a row" in words for words in keep.events("Crashed")), "what was counted before counts still"
    outcome("QEMU of a machine is killed again and again, SIGKILL of the gateway", "its next start waits",
            "the count and the time of the next start are kept; a start that is asked for ends the count")


def test_D66_D67_D68_guest_panics(machines):
    """Told as what it is; its QEMU is ended before anything starts anew (D66, D67, D68)."""
    on, hand = machines["on"], machines["manual"]
    epochs, pids = fresh(on, hand), {on.pid(), hand.pid()}
    panic(on)
    panic(hand)
    starts_again(on, epochs[0], "GuestPanicked")
    stays_off(hand, epochs[1], "GuestPanicked")
    assert on.pid() not in pids
    outcome("the kernel of a guest panics", "run policies AlwaysOn, Manual",
            "reason GuestPanicked; its QEMU is ended, then started again, or left off")
