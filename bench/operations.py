# SPDX-License-Identifier: Apache-2.0
"""Operations beside virsh, many starts at once and in sequence, and what idle guests cost the agent. Part of run.py (--only operations)."""
import json
import re
import statistics
import threading
import time

AT_ONCE = 20
IDLE_S = 20


def items(name):
    """A machine on a small empty disk: its firmware finds nothing to boot and waits."""
    disk = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name}, "spec": {"persistentVolumeClaim": {"size": "1Mi"}}}
    machine = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name},
               "spec": {"virtualMachineClassName": "generic", "cpu": {"cores": 1, "coreFraction": "5%"}, "memory": {"size": "64Mi"}, "terminationGracePeriodSeconds": 0,
                        "blockDeviceRefs": [{"kind": "VirtualDisk", "name": name}]}}
    return [disk, machine]


def manifest(*names):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [i for name in names for i in items(name)]})


def quantiles(seconds):
    ordered = sorted(seconds)
    return 1000 * statistics.median(ordered), 1000 * ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]


def remove(bench, *names):
    for name in names:
        bench.gabbro("delete", "vm", name, "--with-disks", "--wait", "--timeout", "120")


class Peers:
    """Domains as libvirt has ours, each under a name and with a disk of its own, defined and started by virsh alone."""

    def __init__(self, bench, xml, domain):
        self.bench, self.text, self.domain = bench, xml(bench, domain, bench.folder / "peer-0.img").read_text(), domain

    def write(self, n):
        text = self.text.replace("<name>peer</name>", f"<name>peer-{n}</name>").replace("peer-0.img", f"peer-{n}.img")
        text = text.replace("52:54:00:00:be:ef", f"52:54:00:00:be:{n:02x}").replace("gbtpeer", f"gbtpeer{n}")
        path = self.bench.folder / f"peer-{n}.xml"
        path.write_text(text)
        self.disk(n)
        return path

    def disk(self, n):
        image = self.bench.folder / f"peer-{n}.img"
        self.bench.run("qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
        image.chmod(0o666)

    def start(self, n, path, disk=False):
        """As a script by hand does; @disk: its disk is made first, as ours is."""
        if disk:
            self.disk(n)
        self.bench.run("virsh", "define", path)
        self.bench.run("virsh", "start", f"peer-{n}")

    def end(self, n):
        self.bench.run("virsh", "destroy", f"peer-{n}", check=False)
        self.bench.run("virsh", "undefine", f"peer-{n}", check=False)


def took(call):
    start = time.monotonic()
    call()
    return time.monotonic() - start


# The peer is one call of virsh; both are processes that end when it is done.
BESIDE = [("suspend", "suspend"), ("resume", "resume"), ("reset", "reset"), ("force-off", "destroy"), ("start", "start")]


def each(bench, rounds, peers, show):
    bench.gabbro("apply", "-f", "-", input=manifest("one").replace('"virtualMachineClassName"', '"runPolicy": "Manual", "virtualMachineClassName"'))
    bench.gabbro("start", "one", "--wait")
    peers.start(0, peers.write(0))
    ours, theirs = {v: [] for v, _ in BESIDE}, {v: [] for v, _ in BESIDE}
    for _ in range(rounds):
        for verb, plain in BESIDE:
            ours[verb].append(took(lambda: bench.gabbro(verb, "one", "--wait")))
            theirs[verb].append(took(lambda: bench.run("virsh", plain, "peer-0")))
    for verb, plain in BESIDE:
        show(f"gabbro {verb} --wait, beside virsh {plain}", 1000 * statistics.median(ours[verb]), "ms", 1000 * statistics.median(theirs[verb]),
             "<= 1.1x + 20 ms")
    asked = [took(lambda: bench.gabbro("get", "vm", "one")) for _ in range(rounds)]
    plain = [took(lambda: bench.run("virsh", "domstate", "peer-0")) for _ in range(rounds)]
    show("  of each: a call that only asks, beside virsh domstate", 1000 * statistics.median(asked), "ms", 1000 * statistics.median(plain))
    peers.end(0)


def resumed(events, since, names, seconds=300):
    """When each machine ran first."""
    found, end = {}, time.monotonic() + seconds
    while len(found) < len(names):
        with events.changed:
            for when, line in events.seen:
                domain = re.search(r"domain '([^']+)'", line)
                name = domain and re.sub(r"-[0-9a-f]{8}$", "", domain.group(1))
                if when >= since and name in names and "Resumed" in line:
                    found.setdefault(name, when - since)
            if len(found) < len(names) and not events.changed.wait(max(0, end - time.monotonic())):
                raise SystemExit(f"bench: {len(found)} of {len(names)} machines run after {seconds} s")
    return list(found.values())


def all_peers(peers, paths, disk):
    """Started all at once; when each one runs."""
    seconds, start = [], time.monotonic()

    def one(n):
        peers.start(n, paths[n], disk)
        seconds.append(time.monotonic() - start)

    threads = [threading.Thread(target=one, args=(n,)) for n in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in paths:
        peers.end(n)
    return quantiles(seconds)


def at_once(bench, rounds, events, peers, show):
    """Ours and the peers by turns: on a machine that others use too, one of them alone says nothing."""
    paths = {n: peers.write(n) for n in range(1, AT_ONCE + 1)}
    ours, theirs, bare = [], [], []
    for turn in range(rounds):
        names = [f"many-{turn}-{n}" for n in range(AT_ONCE)]
        start = time.monotonic()
        bench.gabbro("apply", "-f", "-", input=manifest(*names))
        ours.append(quantiles(resumed(events, start, set(names))))
        if turn == 0:
            idle(bench, show)
        remove(bench, *names)
        theirs.append(all_peers(peers, paths, disk=True))
        bare.append(all_peers(peers, paths, disk=False))
    for which, n in (("p50", 0), ("p95", 1)):
        mine, other, least = (statistics.median(row[n] for row in rows) for rows in (ours, theirs, bare))
        show(f"{AT_ONCE} machines at once, apply -> running {which}", mine, "ms", other, f"<= 1.1x + {20 * AT_ONCE} ms")
        show("  beside virsh whose disks are there", mine, "ms", least)


def idle(bench, show):
    """The agent's share of a core while all guests are there and nothing is asked."""
    time.sleep(10)  # what the starts have caused is over
    pid = int(bench.run("sh", "-c", f"cut -d' ' -f1 {bench.demo}/run/agent.pid").stdout)

    def ticks():
        return sum(map(int, bench.run("cat", f"/proc/{pid}/stat").stdout.rsplit(")", 1)[1].split()[11:13]))

    before = ticks()
    time.sleep(IDLE_S)
    show(f"agent, {AT_ONCE} idle guests", 100 * (ticks() - before) / 100 / IDLE_S, "% of core")


def in_sequence(bench, events, peers, show, count):
    ours, theirs = [], []
    for n in range(count):
        start = time.monotonic()
        bench.gabbro("apply", "-f", "-", input=manifest(f"next-{n}"))
        ours += resumed(events, start, {f"next-{n}"})
        remove(bench, f"next-{n}")
        path = peers.write(1)
        theirs.append(took(lambda: peers.start(1, path)))
        peers.end(1)
    for which, ours_ms, theirs_ms in zip(("p50", "p95"), quantiles(ours), quantiles(theirs)):
        show(f"{count} machines in sequence, apply -> running {which}", ours_ms, "ms", theirs_ms)


def bench_operations(bench, rounds, show, events, peer_xml):
    bench.gabbro("apply", "-f", "-", input=manifest("model"))
    bench.gabbro("wait", "vm", "model", "--for", "phase=Running")
    domain = bench.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=model")["items"][0]["status"]["domainName"]
    peers = Peers(bench, peer_xml, domain)
    remove(bench, "model")
    bench.gabbro("delete", "vm", "first-vm", "--wait")
    each(bench, rounds, peers, show)  # its machine stays: the network's bridge is there for the peers too
    in_sequence(bench, events, peers, show, 20 * rounds if rounds > 1 else 5)
    at_once(bench, rounds, events, peers, show)
    remove(bench, "one")
