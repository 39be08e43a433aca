# SPDX-License-Identifier: Apache-2.0
"""Disks beside qemu-img: empty ones, clones of every mode, growth, and one image to many disks of a host. Part of run.py (--only disks)."""
import json
import os
import shutil
import statistics
import subprocess
import time

MIB = 1 << 20
IMAGE_MIB = 64


def disk(name, pool=None, source=None, mode=None, size=None):
    spec = {"persistentVolumeClaim": ({"size": f"{size}Mi"} if size else {}) | ({"storageClassName": pool} if pool else {})}
    if source:
        kind = "VirtualDisk" if mode else "ClusterVirtualImage"
        spec["dataSource"] = {"type": "ObjectRef", "objectRef": {"kind": kind, "name": source}}
    if mode:
        spec["clone"] = {"mode": mode}
    return json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name}, "spec": spec})


def machine(name, disks):
    return json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name},
                       "spec": {"virtualMachineClassName": "generic", "cpu": {"cores": 1, "coreFraction": "10%"}, "memory": {"size": "128Mi"},
                                "blockDeviceRefs": [{"kind": "VirtualDisk", "name": d} for d in disks]}})


def took(call):
    start = time.monotonic()
    call()
    return 1000 * (time.monotonic() - start)


def path_of(bench, name):
    return bench.get("volumes.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={name}")["items"][0]["status"]["path"]


def shared_blocks(bench):
    """A pool on xfs, or None where there is no loop device."""
    image, folder = bench.folder / "blocks.img", bench.folder / "blocks"
    folder.mkdir()
    bench.run("truncate", "-s", "1G", image)
    bench.run("mkfs.xfs", "-q", image)
    loop = subprocess.run(["losetup", "-f", "--show", image], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if loop.returncode:
        return None
    device = loop.stdout.strip()
    bench.run("mknod", device, "b", "7", device[len("/dev/loop"):], check=False)
    bench.run("mount", device, folder)
    bench.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "blocks"},
                                                       "spec": {"type": "Directory", "path": str(folder)}}))
    bench.gabbro("wait", "storagepool", "blocks", "--for", "phase=Ready")
    return device


def beside(bench, rounds, mode, source, pool, peer):
    """Apply until Ready, and the peer's command, each @rounds times."""
    ours, peers = [], []

    def make(name):
        bench.gabbro("apply", "-f", "-", input=disk(name, pool, source, mode))
        bench.gabbro("wait", "vd", name, "--for", "phase=Ready", "--quiet")

    for n in range(rounds):
        ours.append(took(lambda: make(f"clone-{n}")))
        target = os.path.join(os.path.dirname(path_of(bench, source)), "peer.qcow2")
        peers.append(took(lambda: bench.run(*peer(path_of(bench, source), target))))
        bench.run("rm", "-f", target)
        bench.gabbro("delete", "vd", f"clone-{n}", "--wait")
    return statistics.median(ours), statistics.median(peers)


def empty(bench, rounds, size):
    """Applied with its host named, as a machine's start would, until Ready; and qemu-img's own file of that size."""
    node = bench.get("nodes")["items"][0]["metadata"]["name"]
    ours, peers, peer_file = [], [], bench.folder / "empty.qcow2"

    def make(name):
        manifest = json.loads(disk(name, size=size))
        manifest["metadata"]["annotations"] = {"gabbro.dev/selected-node": node}
        bench.gabbro("apply", "-f", "-", input=json.dumps(manifest))
        bench.gabbro("wait", "vd", name, "--for", "phase=Ready", "--quiet")

    for n in range(rounds):
        ours.append(took(lambda: make(f"empty-{n}")))
        peers.append(took(lambda: bench.run("qemu-img", "create", "-q", "-f", "qcow2", peer_file, f"{size}M")))
        bench.run("rm", "-f", peer_file)
        bench.gabbro("delete", "vd", f"empty-{n}", "--wait")
    return statistics.median(ours), statistics.median(peers)


def growth(bench, rounds, name, size, peer):
    """From @size MiB on, 4 MiB each time: applied until the disk says so."""
    ours, peers = [], []

    def grow(mib):
        bench.gabbro("apply", "-f", "-", input=disk(name, None, "tiny", None, mib))
        while bench.get("vd", name)["status"]["capacity"] != f"{mib}Mi":
            pass

    for _ in range(rounds):
        size += 4
        ours.append(took(lambda: grow(size)))
        peers.append(took(lambda: bench.run(*peer(size))))
    return statistics.median(ours), statistics.median(peers)


def of_image(bench, rounds, mode, pool, peer, show):
    """Applied with its host named until Ready, each time with another one that stays, so that the image's copy on the host does; and what the first one took."""
    node = bench.get("nodes")["items"][0]["metadata"]["name"]
    ours, peers = [], []

    def make(name):
        manifest = json.loads(disk(name, pool, "tiny"))
        manifest["metadata"]["annotations"] = {"gabbro.dev/selected-node": node}
        manifest["spec"]["clone"] = {"mode": mode}
        bench.gabbro("apply", "-f", "-", input=json.dumps(manifest))
        bench.gabbro("wait", "vd", name, "--for", "phase=Ready", "--quiet")

    first = took(lambda: make("stays"))
    bases = [v["status"]["path"] for v in bench.get("volumes.host.gabbro.dev")["items"] if v["spec"]["owner"]["kind"] == "ClusterVirtualImage"]
    source = bases[0] if bases else path_of(bench, "stays")
    for n in range(rounds):
        ours.append(took(lambda: make(f"of-image-{n}")))
        target = os.path.join(os.path.dirname(source), "peer.qcow2")
        peers.append(took(lambda: bench.run(*peer(source, target))))
        bench.run("rm", "-f", target)
        bench.gabbro("delete", "vd", f"of-image-{n}", "--wait")
    bench.gabbro("delete", "vd", "stays", "--wait")
    show(f"{mode.lower()} disk of an image beside {peer('', '')[0]}", statistics.median(ours), "ms", statistics.median(peers))
    if mode != "Full":
        show("... the first one on a host, with the copy of the image", first, "ms")


def of_images(bench, rounds, show, shared):
    of_image(bench, rounds, "Full", None, lambda a, b: ("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", a, b), show)
    of_image(bench, rounds, "Linked", None, lambda a, b: ("qemu-img", "create", "-q", "-f", "qcow2", "-b", a, "-F", "qcow2", b), show)
    if shared:
        of_image(bench, rounds, "Reflink", "blocks", lambda a, b: ("cp", "--reflink=always", a, b), show)


def fetched(bench, show):
    """What goes over the host's loopback, on which gateway and agent speak, while ten disks are made of an image that is new there."""
    image = bench.folder / "random.raw"
    bench.run("dd", "if=/dev/urandom", f"of={image}", "bs=1M", f"count={IMAGE_MIB}", "status=none")
    bench.gabbro("image", "upload", str(image), "--name", "random", "--cluster")
    bench.gabbro("wait", "cvi", "random", "--for", "phase=Ready")

    def passed():
        line = next(line for line in bench.run("cat", "/proc/net/dev").stdout.splitlines() if line.strip().startswith("lo:"))
        return int(line.split(":")[1].split()[0])

    names = [f"ten-{n}" for n in range(10)]
    before = passed()
    start = time.monotonic()
    bench.gabbro("apply", "-f", "-", input="\n---\n".join([disk(n, None, "random") for n in names] + [machine("ten", names)]))
    bench.gabbro("wait", "vm", "ten", "--for", "phase=Running", "--quiet")
    seconds, got = time.monotonic() - start, passed() - before
    show("ten disks of one new image, until they run", seconds, "s")
    show("... bytes over the wire, in images", got / (IMAGE_MIB * MIB), "images", aim="<= 1.01, control traffic included")
    bench.gabbro("delete", "vm", "ten", "--wait")
    bench.gabbro("delete", "vd", *names, "--wait")


def bench_disks(bench, rounds, show):
    grows = path_of(bench, "first-vm-root")
    domain = bench.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["status"]["domainName"]
    peer_file = bench.folder / "grown.qcow2"
    spare = bench.folder / "spare.qcow2"
    bench.run("qemu-img", "create", "-q", "-f", "qcow2", spare, "256M")
    bench.run("chmod", "666", spare)
    bench.run("virsh", "attach-disk", domain, spare, "vdz", "--subdriver", "qcow2", "--targetbus", "virtio", check=False)
    ours, peers = empty(bench, rounds, 10240)
    show("create an empty disk beside qemu-img create", ours, "ms", peers)
    ours, peers = growth(bench, rounds, "first-vm-root", 300, lambda mib: ("virsh", "blockresize", domain, spare, f"{mib}M"))
    show("grow a running disk beside virsh blockresize", ours, "ms", peers)
    ours, peers = beside(bench, rounds, "Full", "first-vm-root", None, lambda a, b: ("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "qcow2", a, b))
    show("clone a running disk beside qemu-img convert -U", ours, "ms", peers)
    bench.gabbro("force-off", "first-vm", "--wait")
    shutil.copy(grows, peer_file)

    def resize(mib):
        return "qemu-img", "resize", "-q", "-f", "qcow2", peer_file, f"{mib}M"

    ours, peers = growth(bench, rounds, "first-vm-root", 400, resize)
    show("grow a disk that is off beside qemu-img resize", ours, "ms", peers)
    for mode, peer in (("Full", lambda a, b: ("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", a, b)),
                       ("Linked", lambda a, b: ("qemu-img", "create", "-q", "-f", "qcow2", "-b", a, "-F", "qcow2", b))):
        ours, peers = beside(bench, rounds, mode, "first-vm-root", None, peer)
        show(f"clone {mode.lower()} beside qemu-img", ours, "ms", peers)
    device = shared_blocks(bench)
    if device:
        bench.gabbro("apply", "-f", "-", input=disk("there", "blocks", "first-vm-root", "Full"))
        bench.gabbro("wait", "vd", "there", "--for", "phase=Ready")
        ours, peers = beside(bench, rounds, "Reflink", "there", "blocks", lambda a, b: ("cp", "--reflink=always", a, b))
        show("clone by reflink beside cp --reflink", ours, "ms", peers)
        bench.gabbro("delete", "vd", "there", "--wait")
    of_images(bench, rounds, show, bool(device))
    fetched(bench, show)
    if device:
        bench.run("umount", "-l", bench.folder / "blocks", check=False)
        subprocess.run(["losetup", "-d", device], stdin=subprocess.DEVNULL)
