# SPDX-License-Identifier: Apache-2.0
"""Guests whose agent is not what it says (attack 23): what it sends is bounded on its way, the host serves others. Takes a whole cloud."""
import json
import re
import time

import pytest
from cloud import one_host_cloud
from front import LIMIT
from reliability import attack, outcome

# In the place of qemu-ga, with the same arguments; $4 is the port.
ENDLESS = r'''exec 3<>$4; while :; do cat /dev/zero | tr '\0' x >&3; done'''
# It answers the handshake as it should, and each question with two megabytes.
LIAR = r'''exec 3<>$4
big=/tmp/big; { printf '{"return":{"id":"'; head -c 2000000 /dev/zero | tr '\0' x; printf '"}}\n'; } >$big
while read -r l <&3; do
case "$l" in
*guest-sync*) i=${l##*\"id\":}; i=${i%%\}*}; printf '\377{"return":%s}\n' "$i" >&3;;
*guest-ping*) printf '{"return":{}}\n' >&3;;
*) cat $big >&3;;
esac; done'''
DEEP = LIAR.replace('printf \'{"return":{"id":"\'; head -c 2000000', 'printf \'{"return":\'; head -c 500000').replace("x; printf '\"}}", "[; printf '")


def user_data(evil):
    lines = "\n".join("      " + line for line in evil.splitlines())
    return ("#cloud-config\nwrite_files:\n  - path: /usr/sbin/evil\n    permissions: '0755'\n    content: |\n      #!/bin/sh\n" + lines +
            "\nruncmd:\n  - cp /usr/sbin/evil /usr/sbin/evil.new; rm /usr/sbin/qemu-ga; mv /usr/sbin/evil.new /usr/sbin/qemu-ga; killall qemu-ga\n")


def machine(name, evil=None):
    disk = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name},
            "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}},
                     "persistentVolumeClaim": {"size": "256Mi"}}}
    spec = {"virtualMachineClassName": "generic", "cpu": {"cores": 1, "coreFraction": "20%"}, "memory": {"size": "192Mi"},
            "blockDeviceRefs": [{"kind": "VirtualDisk", "name": name}]}
    if evil:
        spec["provisioning"] = {"type": "UserData", "userData": user_data(evil)}
    vm = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": spec}
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [disk, vm]})


@pytest.fixture(scope="module")
def cloud():
    with one_host_cloud("gabbro-limits") as made:
        yield made


def condition(cloud, name, kind):
    return next((c for c in cloud.vm(name)["status"].get("conditions", []) if c["type"] == kind), {})


def cost(cloud, program):
    """(bytes of memory, seconds of processor time) of all processes of a program."""
    memory = ticks = 0
    for pid in cloud.run("pgrep", "-x", program).stdout.split():
        memory += int(re.search(r"VmRSS:\s+(\d+)", cloud.run("cat", f"/proc/{pid}/status").stdout).group(1)) << 10
        fields = cloud.run("cat", f"/proc/{pid}/stat").stdout.rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return memory, ticks / 100


def test_a_guest_agent_that_floods_costs_its_host_little(cloud):
    cloud.kubectl("create", "-f", "-", input=machine("endless", ENDLESS))
    cloud.kubectl("create", "-f", "-", input=machine("liar", LIAR))
    cloud.kubectl("create", "-f", "-", input=machine("deep", DEEP))
    before = {program: cost(cloud, program) for program in ("gabbro-agent", "libvirtd")}
    for name in ("endless", "liar", "deep"):
        cloud.wait("vm", name, "phase=Running")
    # They replace their agents when they have booted; then some rounds of questions.
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for program, (memory, _) in before.items():
            bound = memory + (32 << 20 if program == "gabbro-agent" else 128 << 20)
            assert cost(cloud, program)[0] < bound, program
        time.sleep(2)
    for program, (memory, seconds) in before.items():
        now, used = cost(cloud, program)
        print(f"{program}: memory {memory >> 20} -> {now >> 20} MiB, {used - seconds:.1f} s of processor time in 60 s")
        assert used - seconds < 40
    assert LIMIT["GUEST_AGENT_REPLY_BYTES"] < 2000000
    for name in ("endless", "liar", "deep"):
        assert "xxx" not in json.dumps(cloud.vm(name)["status"]) and "[[[" not in json.dumps(cloud.vm(name)["status"])
    assert condition(cloud, "endless", "AgentReady").get("status") != "True"
    cloud.kubectl("create", "-f", "-", input=machine("honest"))
    cloud.wait("vm", "honest", "phase=Running")
    cloud.eventually("the honest one's agent", lambda: condition(cloud, "honest", "AgentReady").get("status") == "True", 90)
    outcome("a guest agent sends without end, or answers of megabytes", "other machines of the host",
            "start and are asked as before; the answers are refused, the agent's memory stays the same")
    attack(23, "a guest agent that floods, answers megabytes or nests without end", "refused in bounded memory; other guests are served")
