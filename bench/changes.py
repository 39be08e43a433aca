# SPDX-License-Identifier: Apache-2.0
"""Changes of a machine that runs, each beside the plain call of libvirt on another domain of the same make."""
import shutil
import statistics
import time

from disks import path_of

DIMM = "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>"


def took(do):
    start = time.monotonic()
    do()
    return 1000 * (time.monotonic() - start)


def domain_of(bench, name):
    return bench.get("instances.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={name}")["items"][0]["status"]["domainName"]


def bench_changes(bench, rounds, show, peer_xml):
    rounds = min(rounds, 10)
    bench.gabbro("set", "vm", "first-vm", "--live", "--cores", "1", "--memory", "192Mi")
    bench.gabbro("restart", "first-vm", "--wait")
    domain, copy = domain_of(bench, "first-vm"), bench.folder / "peer.qcow2"
    shutil.copy(path_of(bench, "first-vm-root"), copy)
    copy.chmod(0o666)
    bench.run("virsh", "define", peer_xml(bench, domain, copy))
    bench.run("virsh", "start", "peer")
    module = bench.folder / "dimm.xml"
    module.write_text(DIMM)

    ours, peers = [], []

    def until(cores, memory):
        ours.append(took(lambda: bench.gabbro("set", "vm", "first-vm", "--cores", str(cores), "--memory", memory, "--wait")))
        has = bench.get("vm", "first-vm")["status"]["resources"]
        assert (has["cpu"]["cores"], has["memory"]["size"]) == (cores, memory), has

    for n in range(rounds):
        until(2 + n, "192Mi")
        peers.append(took(lambda: bench.run("virsh", "setvcpus", "peer", str(2 + n), "--live", "--config")))
    show("a processor more, live, until it is told", statistics.median(ours), "ms", statistics.median(peers), "<= 1.1 + 20 ms")
    ours.clear()
    peers.clear()
    for n in range(rounds):
        until(1 + rounds, f"{320 + 128 * n}Mi")
        peers.append(took(lambda: bench.run("virsh", "attach-device", "peer", module, "--live", "--config")))
    show("128Mi more, live, until it is told", statistics.median(ours), "ms", statistics.median(peers), "<= 1.1 + 20 ms")
    bench.run("virsh", "destroy", "peer")
    bench.run("virsh", "undefine", "peer")
