#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs inside the host: print, as JSON, all that a cloud may have left there. usage: look.py DEMO-FOLDER PROGRAM KUBECONFIG"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

DEMO, GABBRO, KUBECONFIG = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
KINDS = ["virtualmachines", "virtualdisks", "virtualimages", "clustervirtualimages", "virtualmachineoperations", "virtualmachineblockdeviceattachments",
         "virtualmachineipaddresses",
         "virtualmachineipaddressleases", "instances.host.gabbro.dev", "volumes.host.gabbro.dev", "ports.host.gabbro.dev", "imageblobs", "secrets",
         "storagepools", "networks", "namespaces"]


def out(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def store(kind):
    text = out(GABBRO, "--kubeconfig", KUBECONFIG, "get", kind, "-A", "-o", "json")
    return json.loads(text)["items"] if text else None


def remembered(path):
    """The record of an upload that has ended: it is kept until its token has ended too, so that nobody uses that again."""
    return path.parent.name == "uploads" and path.suffix == ".record" and not path.with_suffix(".part").exists()


def files(folder):
    return sorted(str(p.relative_to(DEMO)) for p in (DEMO / folder).rglob("*") if not p.is_dir() and not remembered(p) and p.name not in kept)


def disks(root):
    return [d.find("source").get("file") for d in root.iter("disk") if d.find("source") is not None]


def domain(uuid):
    root = ElementTree.fromstring(out("virsh", "-q", "dumpxml", uuid))
    return {"name": root.findtext("name"), "memory": root.findtext("memory"), "vcpu": root.findtext("vcpu"), "uuid": uuid,
            "state": out("virsh", "-q", "domstate", uuid).strip(),
            "disks": disks(root), "defined disks": disks(ElementTree.fromstring(out("virsh", "-q", "dumpxml", "--inactive", uuid))),
            "ours": sorted(n.get("name") for n in root.iter("{https://gabbro.dev/domain/1}disk")),
            "taps": [i.find("target").get("dev") for i in root.iter("interface") if i.find("target") is not None]}


def processes():
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        name = os.path.basename(argv[0])
        if name.startswith("qemu-system"):
            found.append("qemu " + argv[argv.index("-uuid") + 1] if "-uuid" in argv else "qemu")
        elif name in ("dnsmasq", "qemu-img"):
            found.append(name)
    return sorted(found)


def is_stale(path):
    """A pid file that a killed libvirtd left of a guest that has ended: libvirt's own, which it overwrites."""
    try:
        return path.suffix == ".pid" and not pathlib.Path("/proc", path.read_text().strip()).exists()
    except FileNotFoundError:
        return True


with concurrent.futures.ThreadPoolExecutor(4) as threads:
    stored = dict(zip(KINDS, threads.map(store, KINDS)))
for instance in stored.get("instances.host.gabbro.dev", []):
    # libvirt's own word for an end that it did not see; the machine is off as it was asked to be.
    if instance.get("spec", {}).get("power") == "Off" and instance.get("status", {}).get("state") == "crashed":
        instance["status"]["state"] = "shutoff"
# Content that no image names any more is kept for a while, for whoever may want the same.
named = {i.get("status", {}).get("target", {}).get("digest") for kind in ("virtualimages", "clustervirtualimages") for i in stored[kind] or []}
kept = {b["spec"]["digest"] for b in stored["imageblobs"] or []} - named
stored["imageblobs"] = [b for b in stored["imageblobs"] or [] if b["spec"]["digest"] not in kept]
ruleset = out("nft", "list", "ruleset")
look = {
    "store": stored,
    "domains": sorted((domain(u) for u in out("virsh", "-q", "list", "--all", "--uuid").split()), key=lambda d: d["name"]),
    "pools": sorted(out("virsh", "-q", "pool-list", "--all", "--name").split()),
    "files": {folder: files(folder) for folder in ("agent", "pools", "gateway")},
    "links": sorted(line.split()[0].split("@")[0] for line in out("ip", "-br", "link").splitlines()),
    "taps in rules": sorted(set(re.findall(r"gbt[0-9a-z]+", out("nft", "list", "ruleset")))),
    "sizes of sets": {m[0]: len(m[1].split(",")) for m in re.findall(r"(?:set|map|vmap) (\w+) \{[^}]*?elements = \{([^}]*)\}", ruleset)},
    "processes": processes(),
    "run": sorted(p.name for p in pathlib.Path("/run/libvirt/qemu").glob("*") if not p.is_dir() and not is_stale(p)),
    "sockets": sorted(str(p) for p in pathlib.Path("/var/lib/libvirt/qemu").rglob("*") if p.is_socket()),
    "cgroups": sorted(str(p) for c in ("cpu", "memory") for p in pathlib.Path("/sys/fs/cgroup", c).rglob("*qemu*") if p.is_dir()),
}
print(json.dumps(look))
