# SPDX-License-Identifier: Apache-2.0
"""A few small machines on a one-host cloud, and what the tests of faults ask about them."""
import contextlib
import json
import os
import time

from reliability import outcome


def manifest(name, policy, memory="96Mi"):
    disk = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": f"{name}-root"},
            "spec": {"persistentVolumeClaim": {"size": "256Mi"},
                     "dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}}}}
    machine = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name},
               "spec": {"virtualMachineClassName": "generic", "runPolicy": policy, "cpu": {"cores": 1, "coreFraction": "5%"},
                        "memory": {"size": memory}, "terminationGracePeriodSeconds": 20,
                        "blockDeviceRefs": [{"kind": "VirtualDisk", "name": f"{name}-root"}]}}
    return [disk, machine]


class Machine:
    """One machine: its objects, its domain, and the time until something was seen of it."""

    def __init__(self, cloud, name):
        self.cloud, self.name = cloud, name

    def vm(self):
        return self.cloud.vm(self.name)

    def intent(self, kind="instances"):
        return self.cloud.get(f"{kind}.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={self.name}")["items"][0]

    def epoch(self):
        return self.intent()["spec"]["epoch"]

    def domain(self):
        return self.intent()["status"]["domainName"]

    def uuid(self):
        return self.vm()["metadata"]["uid"]

    def state(self):
        return self.cloud.virsh("domstate", self.uuid()).strip()

    def pid(self):
        """Of its QEMU inside the host; None: it does not run."""
        found = self.cloud.run("pgrep", "-f", f"qemu-system.*guest={self.domain()},", check=False).stdout.split()
        assert len(found) <= 1, "two processes of one machine"
        return int(found[0]) if found else None

    def condition(self, kind="Running"):
        return next(({"status": c["status"], "reason": c["reason"], "message": c["message"]} for c in
                     self.vm().get("status", {}).get("conditions", []) if c["type"] == kind), {})

    def events(self, reason):
        found = self.cloud.get("events", "--field-selector", f"involvedObject.name={self.name}")["items"]
        return [e["message"] for e in found if e["reason"] == reason]

    def phase(self):
        """None: nobody has looked at it yet."""
        return self.vm().get("status", {}).get("phase")

    def start(self):
        if self.phase() != "Running":
            self.cloud.gabbro("start", self.name, "--wait", "--timeout", "120", timeout=150)

    def until(self, what, probe, timeout=60):
        """Seconds until @probe(self) is true."""
        begin = time.monotonic()
        self.cloud.eventually(f"{self.name}: {what}", lambda: probe(self), timeout)
        return time.monotonic() - begin

    def runs_again(self, epoch, timeout=60):
        return self.until("runs again", lambda m: m.phase() == "Running" and m.epoch() == epoch and m.intent()["status"].get("epoch") == epoch,
                          timeout)


def remove(cloud, *things):
    """Away with kind/name, without asking guests whether they like to end: one that still boots would not hear it."""
    cloud.gabbro("delete", "--ignore-not-found", *[thing for thing in things if thing.startswith("vm/")])
    for item in cloud.get("vm")["items"]:
        if f"vm/{item['metadata']['name']}" in things:
            cloud.virsh("destroy", item["metadata"]["uid"], check=False)
    cloud.gabbro("delete", "--ignore-not-found", "--wait", "--timeout", "90", *things, timeout=100 * len(things))


def gone(cloud, *names):
    """Machines and their first disks."""
    remove(cloud, *[f"vm/{name}" for name in names], *[f"vd/{name}-root" for name in names])


@contextlib.contextmanager
def fleet(cloud, **policies):
    """Machines by name; all of them gone afterwards."""
    items = [item for name, policy in policies.items() for item in manifest(name, policy)]
    cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    machines = {name: Machine(cloud, name) for name in policies}
    try:
        for name, policy in policies.items():
            if policy == "Manual":
                cloud.gabbro("start", name, timeout=60)
        for name in policies:
            cloud.wait("vm", name, "phase=Running", 120)
        yield machines
    finally:
        gone(cloud, *policies)


def libvirtd(cloud, order):
    """start, stop, kill, freeze or thaw the host's libvirtd."""
    host = str(cloud.argv()[0])
    assert os.spawnv(os.P_WAIT, host, [host, "libvirtd", str(cloud.host), order]) == 0


def agent_log(cloud, since_start=True):
    """Of the agent that runs now, or all of it."""
    text = (cloud.demo / "log/agent.log").read_bytes()
    if since_start:
        text = text[cloud.began.get("agent", 0):].rsplit(b"the agent runs", 1)[-1]
    return text.decode(errors="replace")


def caught_up(cloud, timeout=60):
    """Wait until the agent that runs now has looked at every machine; its line of the log."""
    line = cloud.eventually("caught up", lambda: next((at for at in agent_log(cloud).splitlines() if "caught up" in at), None), timeout)
    return line


def host_boot(cloud, agent):
    """What a boot of the host leaves: no process of libvirt, QEMU, agent or DHCP, no interface, no rule, an empty /run; the files stay.

    The gateway is thought of as another machine and goes on.
    """
    agent.end()
    cloud.run("bash", "-c", r"""
        for name in libvirtd virtlogd; do kill -KILL $(cat /run/$name.pid) 2>/dev/null; done
        for pid in $(pgrep -x 'qemu-system-x86|dnsmasq'); do kill -KILL $pid 2>/dev/null; done
        nft flush ruleset
        for link in $(ip -o link | grep -oE '(gbr|gbt)[^:@ ]*' | sort -u); do ip link delete $link 2>/dev/null; done
        rm -rf /run/libvirt /run/virtlogd.pid /run/libvirtd.pid
        true""")
    cloud.eventually("no guest is left", lambda: cloud.run("pgrep", "-x", "qemu-system-x86", check=False).stdout == "", 10)
    libvirtd(cloud, "start")
    cloud.eventually("libvirt answers", lambda: cloud.run("virsh", "-q", "version", check=False).returncode == 0, 30)
    agent.begin()


ROWS = []


def seen(fault, operation, seconds, words):
    """A row of doc/reliability.md, and of the table with times that print_rows() shows."""
    outcome(fault, operation, words)
    ROWS.append((fault, operation, f"{seconds:.1f} s" if seconds is not None else "-", words))


def print_rows():
    print("\nfault -> seen after -> outcome")
    for fault, operation, seconds, words in ROWS:
        print(f"  {fault:<44} {operation:<28} {seconds:>7}  {words}")
    ROWS.clear()
