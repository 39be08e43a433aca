# SPDX-License-Identifier: Apache-2.0
"""Stop, start, restart and forced off by operation and by command; after each move libvirt says the same."""
import json


STATES = {"Running": "running", "Stopped": "shut off"}


def started_at(cloud):
    return cloud.vm("first-vm")["status"]["stats"]["lastStartTime"]


def epoch(cloud):
    return cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["spec"]["epoch"]


def agent_ready(cloud):
    return any(c["type"] == "AgentReady" and c["status"] == "True" for c in cloud.vm("first-vm")["status"]["conditions"])


def expect(cloud, phase):
    cloud.wait("vm", "first-vm", f"phase={phase}", 180)
    assert cloud.domstate("first-vm") == STATES[phase]


def test_C40_D71_stop_is_an_acpi_shutdown(cloud):
    cloud.eventually("guest agent", lambda: agent_ready(cloud), 90)
    cloud.gabbro("stop", "first-vm", "--wait", "--timeout", "120", timeout=150)
    expect(cloud, "Stopped")


def test_C39_start(cloud):
    before = epoch(cloud)
    cloud.gabbro("start", "first-vm", "--wait", timeout=150)
    expect(cloud, "Running")
    assert epoch(cloud) == before + 1
    assert not agent_ready(cloud), "nothing is said of a guest agent that cannot have spoken yet"


def test_D70_restart_by_operation_object(cloud):
    """A restart keeps the machine and makes it boot anew (A10)."""
    cloud.eventually("guest agent", lambda: agent_ready(cloud), 90)
    before, first = epoch(cloud), started_at(cloud)
    operation = {"apiVersion": "virtualization.deckhouse.io/v1alpha2", "kind": "VirtualMachineOperation", "metadata": {"name": "again"},
                 "spec": {"virtualMachineName": "first-vm", "type": "Restart"}}
    cloud.kubectl("apply", "-f", "-", input=json.dumps(operation))
    cloud.wait("vmop", "again", "phase=Completed", 180)
    expect(cloud, "Running")
    assert epoch(cloud) == before + 1 and started_at(cloud) != first


def test_D74_columns_of_operations(cloud):
    header = cloud.kubectl("get", "vmop").stdout.splitlines()[0].split()
    assert header == ["NAME", "PHASE", "TYPE", "VIRTUALMACHINE", "AGE"]


def test_C41_force_off(cloud):
    cloud.gabbro("force-off", "first-vm", "--wait", timeout=90)
    expect(cloud, "Stopped")


def test_operation_that_does_not_apply_says_why(cloud):
    result = cloud.gabbro("stop", "first-vm", "--wait", check=False, timeout=90)
    assert result.returncode != 0
    assert "Stopped" in result.stderr + result.stdout


def test_D53_D79_changed_cores_wait_for_a_restart(cloud):
    cloud.gabbro("start", "first-vm", "--wait", timeout=150)
    cloud.kubectl("patch", "vm", "first-vm", "--type", "merge", "-p", '{"spec":{"cpu":{"cores":2}}}')

    def awaiting():
        return cloud.vm("first-vm")["status"].get("restartAwaitingChanges")

    changes = cloud.eventually("restartAwaitingChanges", awaiting, 30)
    assert changes == [{"operation": "replace", "path": "cpu.cores", "currentValue": 1, "desiredValue": 2}]
    assert "True" in cloud.kubectl("get", "vm", "first-vm", "-o", "wide").stdout.splitlines()[1]
    cloud.eventually("guest agent", lambda: agent_ready(cloud), 90)
    cloud.gabbro("restart", "first-vm", "--wait", timeout=200)
    cloud.eventually("nothing awaits", lambda: not awaiting(), 30)
    domain = cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["status"]["domainName"]
    assert cloud.virsh("vcpucount", domain, "--live", "--active").strip() == "2"
