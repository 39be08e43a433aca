# SPDX-License-Identifier: Apache-2.0
"""Disks, interfaces and discs that come to a running machine and leave it, each beside the plain libvirt call. Part of run.py (--only plug)."""
import json
import statistics
import struct

from disks import disk, took

VM = "first-vm"
AIM = "<= 1.1x + 20 ms"


def empty_disc():
    """The smallest ISO 9660 volume."""
    both = lambda n: struct.pack("<I", n) + struct.pack(">I", n)  # noqa: E731
    primary, end = bytearray(2048), bytearray(2048)
    primary[0:7], end[0:7] = b"\1CD001\1", b"\xffCD001\1"
    primary[80:88] = both(40)
    primary[128:132] = struct.pack("<H", 2048) + struct.pack(">H", 2048)
    primary[156:174] = bytes([34, 0]) + both(20) + both(2048)
    return (bytes(16 * 2048) + bytes(primary) + bytes(end)).ljust(40 * 2048, b"\0")


def order(bench, networks, discs=None):
    """Applied until the machine runs so."""
    machine = bench.get("vm", VM)
    spec = machine["spec"] | {"disruptions": {"applyMode": "Live"}, "networks": networks}
    if discs is not None:
        spec["blockDeviceRefs"] = [r for r in spec["blockDeviceRefs"] if r["kind"] != "VirtualImage"] + [
            {"kind": "VirtualImage", "name": name} for name in discs]
    text = json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": VM}, "spec": spec})

    def applied():
        bench.gabbro("apply", "-f", "-", input=text)
        bench.gabbro("wait", "vm", VM, "--for", "condition=ConfigurationApplied", "--timeout", "60", "--quiet")

    return took(applied)


def domain_of(bench):
    return bench.get("instances.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={VM}")["items"][0]["status"]["domainName"]


def disks(bench, rounds, domain, show):
    spare = bench.folder / "plugged.raw"
    bench.run("truncate", "-s", "16M", spare)
    bench.run("chmod", "666", spare)
    bench.gabbro("apply", "-f", "-", input=disk("plugged", size=16))
    rows = [[], [], [], []]
    for _ in range(rounds):
        rows[1].append(took(lambda: bench.run("virsh", "attach-disk", domain, spare, "vdy", "--targetbus", "virtio", "--live")))
        rows[3].append(took(lambda: bench.run("virsh", "detach-disk", domain, "vdy", "--live")))
        rows[0].append(took(lambda: bench.gabbro("attach", VM, "plugged", "--wait", "--timeout", "60")))
        rows[2].append(took(lambda: bench.gabbro("detach", VM, "plugged", "--wait", "--timeout", "60")))
    bench.gabbro("delete", "vd", "plugged", "--wait")
    attach, peer, detach, peer_detach = map(statistics.median, rows)
    show("attach a disk beside virsh attach-disk", attach, "ms", peer, aim=AIM)
    show("detach a disk beside virsh detach-disk", detach, "ms", peer_detach, aim=AIM)


def interfaces(bench, rounds, domain, show):
    bench.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "Network", "metadata": {"name": "plugged"},
                                                       "spec": {"cidr": "10.73.0.0/24"}}))
    bench.gabbro("wait", "network", "plugged", "--for", "phase=Ready", check=False)
    bridge = bench.run("virsh", "-q", "domiflist", domain).stdout.split()[2]
    main, mac = [{"type": "Main"}], "52:54:00:00:73:01"
    order(bench, main)
    rows = [[], [], [], []]
    for _ in range(rounds):
        rows[1].append(took(lambda: bench.run("virsh", "attach-interface", domain, "bridge", bridge, "--mac", mac, "--model", "virtio", "--live")))
        rows[3].append(took(lambda: bench.run("virsh", "detach-interface", domain, "bridge", "--mac", mac, "--live")))
        rows[0].append(order(bench, main + [{"type": "Network", "name": "plugged"}]))
        rows[2].append(order(bench, main))
    attach, peer, detach, peer_detach = map(statistics.median, rows)
    show("attach an interface beside virsh attach-interface", attach, "ms", peer, aim=AIM)
    show("detach an interface beside virsh detach-interface", detach, "ms", peer_detach, aim=AIM)


def discs(bench, rounds, domain, show):
    for name in ("disc-a", "disc-b"):
        path = bench.folder / f"{name}.iso"
        path.write_bytes(empty_disc() + name.encode())
        bench.gabbro("image", "upload", path, "--name", name)
        bench.gabbro("wait", "vi", name, "--for", "phase=Ready", "--timeout", "60")
    main = [{"type": "Main"}]
    order(bench, main, [])
    bench.gabbro("force-off", VM, "--wait")
    order(bench, main, ["disc-a"])
    bench.gabbro("start", VM, "--wait", "--timeout", "120", timeout=150)
    rows = bench.run("virsh", "-q", "domblklist", domain).stdout.splitlines()
    drive, path = next(row.split() for row in rows if "seed" in row)  # not the drive that is ours to change
    ours, peers = [], []
    for n in range(rounds):
        ours.append(took(lambda: bench.gabbro("set", "vm", VM, "--disc", ("disc-b", "disc-a")[n % 2], "--wait")))
        peers.append(took(lambda: bench.run("virsh", "change-media", domain, drive, path, "--update", "--live", check=False)))
    show("change a disc beside virsh change-media", statistics.median(ours), "ms", statistics.median(peers), aim=AIM)


def bench_plug(bench, rounds, show):
    domain = domain_of(bench)
    disks(bench, rounds, domain, show)
    interfaces(bench, rounds, domain, show)
    discs(bench, rounds, domain, show)
