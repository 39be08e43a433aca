# SPDX-License-Identifier: Apache-2.0
"""Machines that move between two hosts, each beside `virsh migrate` with the same flags between the same two, by turns. Part of run.py (--only migrate)."""
import json
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/lab"))
from cloud import BUILD  # noqa: E402
from fleet import manifest  # noqa: E402
from lab import several_hosts  # noqa: E402

VM, PEER, DRAINED = "first", "peer", 10
POOL = "/var/lib/libvirt/peer"
NETWORK = """<network><name>peer</name><bridge name='brpeer'/><ip address='10.99.0.1' netmask='255.255.255.0'>
<dhcp><range start='10.99.0.10' end='10.99.0.200'/></dhcp></ip></network>"""


def took(call):
    start = time.monotonic()
    call()
    return time.monotonic() - start


class Pings:
    """Of a guest, from both hosts all the time; how long neither heard it."""

    def __init__(self, hosts, address):
        self.hosts, self.files = hosts, [h.demo / "pings" for h in hosts]
        self.parts = [subprocess.Popen(h.argv("bash", "-c", f"echo $$; exec ping -D -i 0.02 -W 1 {address} >{file}"), env=h.env,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for h, file in zip(hosts, self.files)]
        self.pids = [part.stdout.readline().strip() for part in self.parts]  # inside the host

    def end(self):
        heard = []
        for host, pid, part, file in zip(self.hosts, self.pids, self.parts, self.files):
            host.run("kill", "-INT", pid)
            part.wait()
            heard += [float(t) for t in re.findall(r"^\[([0-9.]+)\] \d+ bytes from", file.read_text(), re.M)]
        heard.sort()
        return max((b - a for a, b in zip(heard, heard[1:])), default=0)


class Peers:
    """Domains as libvirt has ours, moved by virsh alone. Libvirt makes their files on the other host, in a pool of its own."""

    def __init__(self, lab, peer_xml):
        self.hosts, self.peer_xml, self.folder = lab.hosts, peer_xml, lab.folder
        for host in self.hosts:
            host.run("mkdir", "-p", POOL)
            host.run("virsh", "pool-define-as", "peer", "dir", "--target", POOL)
            host.run("virsh", "pool-start", "peer")
            host.run("virsh", "net-define", "/dev/stdin", input=NETWORK)
            host.run("virsh", "net-start", "peer")

    def start(self, lab, domain, host, name, number):
        host.run("bash", "-c", f"qemu-img convert -O qcow2 {BUILD}/images/tiny.qcow2 {POOL}/{name}.qcow2 && qemu-img resize -q {POOL}/{name}.qcow2 256M && chmod 666 {POOL}/{name}.qcow2 && virsh -q pool-refresh peer")
        path = self.peer_xml(host, domain, f"{POOL}/{name}.qcow2")
        root = ElementTree.parse(path).getroot()
        root.find("name").text = name
        for interface in root.iter("interface"):
            interface.set("type", "network")
            for tag in ("source", "target", "script", "bandwidth", "filterref"):
                for node in interface.findall(tag):
                    interface.remove(node)
            ElementTree.SubElement(interface, "source", network="peer")
            interface.find("mac").set("address", f"52:54:00:00:be:{number:02x}")
        for disk in root.iter("disk"):
            for tag in ("backingStore", "iotune"):
                for node in disk.findall(tag):
                    disk.remove(node)
        text = ElementTree.tostring(root, encoding="unicode")
        host.run("virsh", "define", "/dev/stdin", input=text)
        host.run("virsh", "start", name)

    def address(self, host, number):
        return host.eventually("the peer has an address", lambda: (re.search(
            rf"52:54:00:00:be:{number:02x}\s+ipv4\s+([0-9.]+)", host.run("virsh", "net-dhcp-leases", "peer").stdout) or [None, None])[1], 120)

    def move(self, name, source, target, check=True, **more):
        keys = source.demo / "agent/migration"
        extra = [word for key, value in more.items() for word in (f"--{key}", str(value))]
        return source.run("virsh", "migrate", "--live", "--p2p", "--persistent", "--undefinesource", "--tls", "--abort-on-error", "--copy-storage-all",
                          *extra, name, f"qemu+tls://{target.address}/system?pkipath={keys}", "--migrateuri", f"tcp://{target.address}", check=check)

    def clean(self, host, name):
        """What libvirt leaves on the host that a domain came from."""
        host.run("rm", "-f", f"{POOL}/{name}.qcow2")
        host.run("virsh", "pool-refresh", "peer")


def downtime(host, domain):
    said = host.run("virsh", "domjobinfo", domain, "--completed", "--keep-completed", check=False).stdout
    found = re.search(r"Total downtime: +(\d+)", said)
    return int(found[1]) if found else None


def make(lab, *names):
    """Machines that leave room for many on two cores; they run in the end."""
    items = [item for name in names for item in manifest(name, "AlwaysOnUnlessStoppedManually", "128Mi")]
    lab.gateway.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for name in names:
        lab.gateway.wait("vm", name, "condition=AgentReady", 300)


def domain_of(lab, name):
    return lab.gateway.get("instances.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={name}")["items"][0]["status"]["domainName"]


def where(lab, name):
    node = lab.gateway.vm(name)["status"]["nodeName"]
    return next(h for h in lab.hosts if h.node == node)


def other(lab, host):
    return next(h for h in lab.hosts if h is not host)


def beside(lab, peers, domain, rounds, show):
    """One machine, one peer, by turns; both answer pings all the time."""
    ours, theirs, our_gap, their_gap, our_down, their_down = [], [], [], [], [], []
    at = where(lab, VM)
    peers.start(lab, domain, at, PEER, 1)
    peer_address, address = peers.address(at, 1), lab.gateway.vm(VM)["status"]["ipAddress"]
    for turn in range(rounds + 1):
        source = at if turn % 2 == 0 else other(lab, at)
        target = other(lab, source)
        pings = Pings(lab.hosts, address)
        mine = took(lambda: lab.gateway.gabbro("migrate", "vm", VM, "--to", target.node, "--wait", timeout=300))
        gap, down = pings.end(), downtime(target, domain)
        pings = Pings(lab.hosts, peer_address)
        other_s = took(lambda: peers.move(PEER, source, target))
        other_gap, other_down = pings.end(), downtime(target, PEER)
        peers.clean(source, PEER)
        print(f"  {source.node} -> {target.node}: {1000 * mine:.0f} ms, {down} ms down, {1000 * gap:.0f} ms silent; virsh {1000 * other_s:.0f}, {other_down}, "
              f"{1000 * other_gap:.0f}", file=sys.stderr, flush=True)
        if turn == 0:
            continue  # the first one of both warms caches
        ours.append(mine)
        theirs.append(other_s)
        our_gap.append(gap)
        their_gap.append(other_gap)
        our_down += [down] if down is not None else []
        their_down += [other_down] if other_down is not None else []
    show("a machine of 128 MiB with its disk moves", 1000 * statistics.median(ours), "ms", 1000 * statistics.median(theirs), "<= 1.05x + 100 ms")
    if our_down and their_down:
        show("  its processors stand still, as QEMU counts", statistics.median(our_down), "ms", statistics.median(their_down), "<= 1.0")
    show("  a peer that pings it every 20 ms hears nothing for", 1000 * statistics.median(our_gap), "ms", 1000 * statistics.median(their_gap), "<= 1.0")


def cancelled(lab, peers, rounds, show):
    """From the deletion of the operation until libvirt has no job of it any more."""
    ours, theirs = [], []
    for n in range(rounds):
        source = where(lab, VM)
        target, uuid = other(lab, source), lab.gateway.vm(VM)["metadata"]["uid"]
        name = f"cancelled-{n}"
        lab.gateway.gabbro("apply", "-f", "-", input=json.dumps(
            {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineOperation", "metadata": {"name": name, "namespace": "default"},
             "spec": {"type": "Migrate", "virtualMachineName": VM, "migrate": {"nodeName": target.node, "bandwidthMibPerSecond": 3}}}))
        lab.gateway.eventually("it moves", lambda: "Data processed" in source.virsh("domjobinfo", uuid, check=False), 60)
        ours.append(took(lambda: (lab.gateway.gabbro("delete", "vmop", name, "--wait", "--timeout", "60"))))
        assert "None" in source.virsh("domjobinfo", uuid, check=False)
        lab.gateway.wait("vm", VM, "phase=Running", 60)
        at = next(h for h in lab.hosts if PEER in h.virsh("list", "--name").split())
        moving = threading.Thread(target=peers.move, args=(PEER, at, other(lab, at)), kwargs={"check": False, "bandwidth": 3})
        moving.start()
        lab.gateway.eventually("the peer moves", lambda: "Data processed" in at.virsh("domjobinfo", PEER, check=False), 60)

        def abort():
            at.run("virsh", "domjobabort", PEER)
            moving.join()

        theirs.append(took(abort))
        peers.clean(other(lab, at), PEER)
    show("a move is ended, nothing of it is left", 1000 * statistics.median(ours), "ms", 1000 * statistics.median(theirs), "< 1000")


def drained(lab, peers, domain, show):
    """Ten leave by `gabbro drain`; virsh in a loop."""
    names = [f"drained-{n}" for n in range(DRAINED)]
    source = where(lab, VM)
    target = other(lab, source)
    lab.gateway.kubectl("cordon", target.node)
    make(lab, *names)
    lab.gateway.kubectl("label", "vm", *names, "drained=yes")
    lab.gateway.kubectl("uncordon", target.node)
    ours = took(lambda: lab.gateway.gabbro("drain", source.node, "--selector", "drained=yes", "--timeout", "300", timeout=330))
    lab.gateway.kubectl("uncordon", source.node)
    for name in names:
        lab.gateway.gabbro("delete", "vm", name, "--with-disks", "--wait", "--timeout", "60")
    at = next(h for h in lab.hosts if PEER in h.virsh("list", "--name").split())
    for n, name in enumerate(names):
        peers.start(lab, domain, at, name, 10 + n)
    for n in range(DRAINED):
        peers.address(at, 10 + n)
    theirs = took(lambda: [peers.move(name, at, other(lab, at)) for name in names])
    show(f"{DRAINED} machines leave a host", ours, "s", theirs, "<= 1.05x + 1 s")


def bench_migrate(rounds, show, peer_xml):
    with several_hosts(2, "gabbro-bench") as lab:
        for n, host in enumerate(lab.hosts):  # one stays on each host, and with it its network
            lab.gateway.kubectl("cordon", other(lab, host).node)
            make(lab, f"stays-{n}")
            lab.gateway.kubectl("uncordon", other(lab, host).node)
        make(lab, VM)
        peers, domain = Peers(lab, peer_xml), domain_of(lab, VM)
        for host in lab.hosts:  # who does not answer is asked for often, so that silence is the guest's own
            for bridge in re.findall(r"^\d+: (gbr\w+|brpeer)", host.run("ip", "-o", "link").stdout, re.M):
                host.run("ip", "ntable", "change", "name", "arp_cache", "dev", bridge, "retrans", "20")
        beside(lab, peers, domain, rounds, show)
        cancelled(lab, peers, rounds, show)
        drained(lab, peers, domain, show)
