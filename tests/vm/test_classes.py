# SPDX-License-Identifier: Apache-2.0
"""Classes on real QEMU: the processor that libvirt gives, that it stays, what nodes lack, and shares of a core that is wanted by two."""
import json
import os
import re
import time

import pytest

from fleet import Machine, gone, manifest


def apply(cloud, *items, check=True):
    return cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}), check=check)


def vmclass(name, **cpu):
    return {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineClass", "metadata": {"name": name}, "spec": {"cpu": cpu}}


def condition(cloud, kind, name, wanted):
    found = cloud.get(kind, name).get("status", {}).get("conditions", [])
    return next((c for c in found if c["type"] == wanted), {})


def judged(cloud, name):
    """The class once its controller has looked at it."""
    return cloud.eventually(f"class {name} is judged", lambda: condition(cloud, "vmclass", name, "Ready"), 90)


def cpu_of(cloud, machine):
    """Mode, model and required features of the definition, as libvirt has it."""
    text = cloud.virsh("dumpxml", "--inactive", machine.uuid())
    cpu = re.search(r"<cpu mode='([^']+)'.*?</cpu>", text, re.S)
    model = re.search(r"<model[^>]*>([^<]+)", cpu.group(0))
    return cpu.group(1), model and model.group(1), re.findall(r"<feature policy='require' name='([^']+)'", cpu.group(0))


SHARES = {"small": "20%", "large": "80%"}


@pytest.fixture(scope="module")
def classes(cloud):
    node = cloud.get("nodes")["items"][0]["status"]["virtualization"]["cpu"]
    names = ["own", "common", "through", "rare", "some", "free"]
    lacking = next(m for m in node["otherModels"] if m.get("missing"))
    apply(cloud, vmclass("own", type="Host"), vmclass("common", type="Discovery"), vmclass("through", type="HostPassthrough"),
          vmclass("rare", type="Model", model=lacking["name"]), vmclass("some", type="Features", features=["sse4.2", "popcnt"]),
          vmclass("free", type="Model", model="qemu64"))
    items = []
    for name, fraction in SHARES.items():  # they boot meanwhile
        disk, machine = manifest(name, "AlwaysOn")
        machine["spec"]["virtualMachineClassName"] = "free"
        machine["spec"]["cpu"]["coreFraction"] = fraction
        items += [disk, machine]
    apply(cloud, *items)
    yield node | {"lacking": lacking}
    gone(cloud, *SHARES)
    cloud.kubectl("delete", "--ignore-not-found", "vmclass", *names, timeout=60)


def test_D145_what_a_node_cannot_give_is_named(cloud, classes):
    assert {"sse4.2", "popcnt"} <= set(classes["features"]), "features of the named model are told too"
    said = judged(cloud, "rare")
    missing = classes["lacking"]["missing"]
    assert said["status"] == "False" and missing[0] in said["message"] and missing[0] not in classes["features"], said
    through = cloud.get("vmclass", "through")["status"]
    judged(cloud, "through")
    assert "not eligible" in through["unavailableNodes"][0]["message"] and not through.get("availableNodes"), through
    assert condition(cloud, "vmclass", "through", "Migratable")["status"] == "False"
    disk, machine = manifest("never", "AlwaysOn")
    machine["spec"]["virtualMachineClassName"] = "rare"
    apply(cloud, disk, machine)
    never = Machine(cloud, "never")
    told = cloud.eventually("never says why", lambda: never.condition("VirtualMachineClassReady"), 90)
    assert told["status"] == "False" and missing[0] in told["message"] and never.phase() == "Pending", told
    gone(cloud, "never")


def test_D24_D145_a_machine_keeps_the_processor_of_its_class_until_it_is_given_another(cloud, classes):
    for name in ("own", "common", "some"):
        assert judged(cloud, name)["status"] == "True"
    found = cloud.get("vmclass", "common")["status"]["cpuFeatures"]
    assert found["enabled"] == classes["features"]
    assert set(cloud.get("vmclass", "some")["status"]["cpuFeatures"]["notEnabledCommon"]) == set(classes["features"]) - {"sse4.2", "popcnt"}
    disk, machine = manifest("first", "AlwaysOn")
    machine["spec"]["virtualMachineClassName"] = "own"
    apply(cloud, disk, machine)
    first = Machine(cloud, "first")
    try:
        first.until("its record is kept", lambda m: m.vm()["status"].get("hardware"), 60)
        (mode, model, features), record = cpu_of(cloud, first), first.vm()["status"]["hardware"]["cpu"]
        assert mode == "custom" and model == classes["model"] == record["model"], "host-model is resolved, not handed on"
        assert record["requires"] == classes["features"]
        cloud.kubectl("patch", "vm/first", "--type=merge", "-p", json.dumps({"spec": {"virtualMachineClassName": "some"}}))
        first.until("waits for a restart", lambda m: m.condition("AwaitingRestartToApplyConfiguration").get("status") == "True", 90)
        assert cpu_of(cloud, first) == (mode, model, features)
        cloud.gabbro("restart", "first", "--force", "--wait", "--timeout", "120", timeout=150)
        first.until("the record follows", lambda m: m.vm()["status"]["hardware"]["asked"]["cpu"]["mode"] == "Features", 90)
        mode, model, features = cpu_of(cloud, first)
        assert (mode, model) == ("custom", "qemu64") and sorted(features) == ["popcnt", "sse4.2"]
        assert first.condition("AwaitingRestartToApplyConfiguration")["status"] == "False"
        cloud.kubectl("delete", "vmclass", "some", "--wait=false")
        cloud.eventually("a class in use stays", lambda: cloud.get("vmclass", "some")["status"]["phase"] == "Terminating", 90)
        first.until("its class is told to go", lambda m: "being deleted" in m.condition("VirtualMachineClassReady").get("message", ""), 90)
        assert first.phase() == "Running"
    finally:
        gone(cloud, "first")


# --- shares of a core


def agent(machine, execute, **arguments):
    words = json.dumps({"execute": execute, "arguments": arguments})
    result = machine.cloud.run("virsh", "-q", "qemu-agent-command", machine.uuid(), words, "--timeout", "5", check=False)
    return json.loads(result.stdout)["return"] if result.returncode == 0 else None


def keep_busy(machine):
    def begin():
        said = agent(machine, "guest-exec", path="/bin/sh", arg=["-c", "while :; do :; done"])
        return said and said["pid"]

    return machine.cloud.eventually("the guest is busy", begin, 120)


def cpu_seconds(machine, pid):
    """Of all threads of its QEMU."""
    text = machine.cloud.run("cat", f"/proc/{pid}/stat").stdout.rsplit(")", 1)[1].split()
    return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")


def measure(machines, seconds):
    pids = [m.pid() for m in machines]
    begin, before = time.monotonic(), [cpu_seconds(m, p) for m, p in zip(machines, pids)]
    time.sleep(seconds)  # what is measured is how much of this time each one gets
    after = [cpu_seconds(m, p) for m, p in zip(machines, pids)]
    return [(b - a) / (time.monotonic() - begin) for a, b in zip(before, after)]


def test_D26_coreFraction_is_the_share_of_a_core_that_two_want_and_no_cap(cloud, classes):
    if cloud.run("test", "-d", "/sys/fs/cgroup/cpu", check=False).returncode:
        pytest.skip("this machine's cpu controller is not of version 1")
    weights = condition(cloud, "node", cloud.get("nodes")["items"][0]["metadata"]["name"], "CPUWeights")
    assert weights["status"] == "True" and "version 1" in weights["message"], weights
    small, large = [Machine(cloud, name) for name in ("small", "large")]
    for machine in (small, large):
        cloud.wait("vm", machine.name, "phase=Running", 120)
    busy = [keep_busy(m) for m in (small, large)]
    for machine in (small, large):
        cloud.run("taskset", "-a", "-p", "-c", "0", machine.pid())
    both = measure((small, large), 4)
    agent(large, "guest-exec", path="/bin/kill", arg=[str(busy[1])])
    alone = measure((small,), 2)
    print(f"shares of one core: 20 % {both[0]:.2f}, 80 % {both[1]:.2f}, 20 % alone {alone[0]:.2f}")
    assert 2.8 <= both[1] / both[0] <= 5.5, both
    assert alone[0] > 2 * both[0], (both, alone)
