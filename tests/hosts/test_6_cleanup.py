# SPDX-License-Identifier: Apache-2.0
"""What a migration has left that was interrupted beside Gabbro is removed (A22)."""
import json


def domains(host, machine):
    return [name for name in host.virsh("list", "--all", "--name").split() if name.startswith(machine + "-")]


def disks(host, machine):
    return list((host.host / "lib/gabbro").glob(f"*/{machine}-root-*"))


def test_A22_stale_definitions_and_files_are_removed_and_the_machine_stays(lab):
    """As `virsh migrate --persistent` without its other half leaves them: on a host that the machine is not on."""
    lab.machine("neat")
    status = lab.gateway.vm("neat")["status"]
    here = next(h for h in lab.hosts if h.node == status["nodeName"])
    there = next(h for h in lab.hosts if h.node != status["nodeName"])
    there.virsh("define", "/dev/stdin", input=here.virsh("dumpxml", "--inactive", domains(here, "neat")[0]))
    own = disks(here, "neat")[0]
    left = there.host / "lib/gabbro" / own.parent.name / own.name
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half a disk")
    other = left.with_name("not-of-it.qcow2")
    other.write_bytes(b"somebody's")
    lab.gateway.gabbro("migrate", "vm", "neat", "--cleanup", "--wait", "--timeout", "280", timeout=310)
    said = [c["message"] for o in lab.gateway.get("vmop")["items"] for c in o["status"]["conditions"]
            if o["spec"]["virtualMachineName"] == "neat" and c["type"] == "Completed"]
    assert domains(there, "neat") == [] and not left.exists(), said
    assert (left.parent / "lost+found" / left.name).exists() and other.exists(), said
    assert domains(here, "neat") and own.exists() and here.node in json.dumps(status), said
    after = lab.gateway.vm("neat")["status"]
    assert (after["phase"], after["nodeName"], after["epoch"]) == ("Running", here.node, status["epoch"]) and "Removed: " in said[0], said
    other.unlink()
    (left.parent / "lost+found" / left.name).unlink()
    lab.gateway.kubectl("patch", "vm", "neat", "--type=merge", "-p", '{"spec":{"runPolicy":"Manual"}}')
    lab.gateway.gabbro("stop", "neat", "--force", "--wait", timeout=90)
    lab.gateway.kubectl("delete", "vm/neat", "vd/neat-root", "--timeout=60s", timeout=90)
