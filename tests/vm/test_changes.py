# SPDX-License-Identifier: Apache-2.0
"""Changes of a machine that runs, in real guests: what comes live, what waits for a restart, and what libvirt says of both."""
import base64
import json
import re

import pytest

from cloud import Daemon
from fleet import agent_log


def ask(machine, execute, **arguments):
    words = json.dumps({"execute": execute, "arguments": arguments})
    result = machine.cloud.run("virsh", "-q", "qemu-agent-command", machine.uuid(), words, "--timeout", "5", check=False)
    return json.loads(result.stdout)["return"] if result.returncode == 0 else None


def read(machine, path):
    handle = ask(machine, "guest-file-open", path=path)
    found = handle and ask(machine, "guest-file-read", handle=handle, count=65536)
    return base64.b64decode(found["buf-b64"]).decode() if found else None


def boot_id(machine):
    return machine.cloud.eventually("boot id", lambda: read(machine, "/proc/sys/kernel/random/boot_id"), 60)


def processors(machine):
    """As the guest's kernel has them, online or not."""
    return len(ask(machine, "guest-get-vcpus") or [])


def memory_mib(machine):
    """That the guest's kernel knows as memory, online or not."""
    size = int(read(machine, "/sys/devices/system/memory/block_size_bytes"), 16) >> 20
    return len(ask(machine, "guest-get-memory-blocks") or []) * size


def size_in_xml(machine, *words):
    """(processors now, processors at most, MiB) of what runs, or with --inactive of what is defined."""
    xml = machine.cloud.virsh("dumpxml", *words, machine.uuid())
    vcpu = re.search(r"<vcpu placement='static'(?: current='(\d+)')?>(\d+)</vcpu>", xml)
    memory = re.search(r"<memory unit='KiB'>(\d+)</memory>", xml)
    return int(vcpu[1] or vcpu[2]), int(vcpu[2]), int(memory[1]) >> 10


def shown(machine):
    has = machine.vm()["status"]["resources"]
    return has["cpu"]["cores"], has["memory"]["size"]


def agrees(machine, cores, mib):
    """What is shown, what runs and what is defined are one."""
    text = f"{mib >> 10}Gi" if mib % 1024 == 0 else f"{mib}Mi"
    machine.until(f"{cores} cores, {text}", lambda m: shown(m) == (cores, text), 90)
    for words in ((), ("--inactive",)):
        found = size_in_xml(machine, *words)
        assert (found[0], found[2]) == (cores, mib), (words, found)
    condition = machine.condition("ConfigurationApplied")
    assert condition["status"] == "True", condition
    assert not machine.vm()["status"].get("restartAwaitingChanges")
    assert not machine.intent()["status"].get("differs") and not machine.events("DefinitionChangedOutside")


def change(machine, **spec):
    machine.cloud.kubectl("patch", "vm", machine.name, "--type", "merge", "-p", json.dumps({"spec": spec}))


def restart(machine):
    machine.cloud.gabbro("restart", machine.name, "--wait", "--timeout", "120", timeout=150)


CREW = {"grows": "AlwaysOn"}


@pytest.fixture(scope="module")
def machine(crew):
    return crew["grows"]


def test_D78_D79_D80_without_applyMode_a_size_waits_for_a_restart(machine):
    change(machine, cpu={"cores": 2})
    machine.until("NEED RESTART", lambda m: m.condition("AwaitingRestartToApplyConfiguration")["status"] == "True", 90)
    status = machine.vm()["status"]
    assert status["restartAwaitingChanges"] == [{"operation": "replace", "path": "cpu.cores", "currentValue": 1, "desiredValue": 2}]
    wide = machine.cloud.kubectl("get", "vm", machine.name, "-o", "wide").stdout.splitlines()
    assert wide[1].split()[5] == "True", wide
    assert shown(machine) == (1, "96Mi") and size_in_xml(machine) == (1, 1, 96)
    change(machine, cpu={"cores": 1})
    machine.until("nothing waits", lambda m: not m.vm()["status"].get("restartAwaitingChanges"), 90)
    # With room, a guest of Linux keeps 64 MiB to itself.
    change(machine, cpu={"cores": 2, "maxCores": 8}, memory={"size": "256Mi"}, disruptions={"applyMode": "Live"})
    machine.until("no room", lambda m: "not started with room" in m.condition("AwaitingRestartToApplyConfiguration")["message"], 90)
    assert size_in_xml(machine) == (1, 1, 96)
    restart(machine)
    agrees(machine, 2, 256)
    assert size_in_xml(machine)[1] == machine.vm()["status"]["resources"]["cpu"]["maxCores"] == 8


def test_D75_processors_and_memory_come_to_the_guest_while_it_runs(machine):
    boot = boot_id(machine)
    assert (processors(machine), memory_mib(machine)) == (2, 256)
    change(machine, cpu={"cores": 4})
    agrees(machine, 4, 256)
    machine.until("4 processors in the guest", lambda m: processors(m) == 4, 90)
    change(machine, memory={"size": "384Mi"})
    agrees(machine, 4, 384)
    machine.until("more memory in the guest", lambda m: memory_mib(m) == 384, 90)
    assert boot_id(machine) == boot and machine.epoch() == 2
    assert any("4 cores" in text for text in machine.events("ChangesApplied"))


def test_D79_a_processor_is_not_taken_away_and_the_reason_is_told(machine):
    """Nor memory; what is shown, runs and is defined stays what it was, and a wish that is taken back leaves no trace."""
    told = machine.cloud.gabbro("set", "vm", machine.name, "--cores", "3", "--dry-run").stdout
    assert "by a restart" in told and "processors are not taken from a machine that runs" in told, told
    machine.cloud.gabbro("set", "vm", machine.name, "--cores", "3")
    machine.until("the reason", lambda m: "processors are not taken" in m.condition("AwaitingRestartToApplyConfiguration")["message"], 90)
    described = machine.cloud.gabbro("describe", "vm", machine.name).stdout
    assert re.search(r"Changes that wait for a restart\n.*\n  spec.cpu.cores +4 +3", described), described
    assert shown(machine) == (4, "384Mi") and size_in_xml(machine)[0] == size_in_xml(machine, "--inactive")[0] == 4
    machine.cloud.gabbro("set", "vm", machine.name, "--cores", "4", "--wait")
    agrees(machine, 4, 384)


def available_mib(machine):
    return int(re.search(r"MemAvailable: +(\d+) kB", read(machine, "/proc/meminfo"))[1]) >> 10


def in_guest(machine, *words):
    machine.cloud.gabbro("guest", "exec", machine.name, "--", *words)


def test_D75_a_guest_gives_memory_back_and_has_it_again(machine):
    """It keeps running and has less; what it gave stays set aside for it. The definition says the same (I1)."""
    boot, before = boot_id(machine), available_mib(machine)
    told = machine.cloud.gabbro("set", "vm", machine.name, "--memory", "320Mi", "--wait", "--timeout", "90").stdout
    assert re.search(r"spec.memory.size +384Mi +320Mi +live", told), told
    assert shown(machine) == (4, "320Mi") and machine.vm()["status"]["resources"]["memory"]["reservedSize"] == "384Mi"
    assert 44 < before - available_mib(machine) < 84
    for words in ((), ("--inactive",)):
        xml = machine.cloud.virsh("dumpxml", *words, machine.uuid())
        assert f"<currentMemory unit='KiB'>{320 << 10}<" in xml and size_in_xml(machine, *words)[2] == 384, words
    told = machine.cloud.gabbro("set", "vm", machine.name, "--memory", "100Mi", "--dry-run").stdout
    assert "keeps a quarter of its memory" in told, told
    machine.cloud.gabbro("set", "vm", machine.name, "--memory", "384Mi", "--wait", "--timeout", "90")
    agrees(machine, 4, 384)
    assert before - available_mib(machine) < 32 and boot_id(machine) == boot and machine.epoch() == 2


def test_a_guest_without_a_balloon_driver_is_told_and_gives_later(machine):
    """Nothing says that a restart is needed, and what it holds is what is shown; with its driver it gives at once (D75, D80)."""
    in_guest(machine, "rmmod", "virtio_balloon")
    change(machine, memory={"size": "336Mi"})
    machine.until("asked", lambda m: m.intent()["status"].get("balloonMib") == 336, 90)
    assert machine.condition("ConfigurationApplied")["reason"] == "ChangesBeingApplied" and shown(machine) == (4, "384Mi")
    waited = machine.until("told", lambda m: m.condition("ConfigurationApplied")["reason"] == "MemoryNotGivenBack", 90)
    assert "holds 384 MiB of memory instead of 336 MiB" in machine.condition("ConfigurationApplied")["message"] and waited > 5
    assert machine.condition("AwaitingRestartToApplyConfiguration")["status"] == "False" and machine.events("MemoryNotGivenBack")
    in_guest(machine, "insmod", "/lib/modules/virtio_balloon.ko")
    machine.until("it gives", lambda m: shown(m) == (4, "336Mi") and m.condition("ConfigurationApplied")["status"] == "True", 90)
    machine.cloud.gabbro("set", "vm", machine.name, "--memory", "384Mi", "--wait", "--timeout", "90")
    agrees(machine, 4, 384)


def test_what_came_while_the_agent_was_away_is_done_by_the_next_one(machine):
    """And what it has is known to it, however it ended (A4)."""
    agent = Daemon(machine.cloud, "agent")
    agent.end()
    change(machine, cpu={"cores": 5, "coreFraction": "20%"}, memory={"size": "512Mi"})
    machine.until("under way", lambda m: m.condition("ConfigurationApplied")["reason"] == "ChangesBeingApplied", 90)
    assert shown(machine) == (4, "384Mi")
    agent.begin()
    agrees(machine, 5, 512)
    assert machine.epoch() == 2 and machine.vm()["status"]["resources"]["cpu"]["coreFraction"] == "20%"
    told = [line for line in agent_log(machine.cloud).splitlines() if "a running domain was changed" in line]
    assert sum("processors" in line for line in told) == sum("memory" in line for line in told) == 1, told
