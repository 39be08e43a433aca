#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Several hypervisor hosts with one gateway, each in namespaces of its own, joined by a switch. Needs root; nothing of it touches the machine's own
network or libvirt.

usage: lab.py [--dir DIR] up [--hosts N]     start, or add hosts to one that runs; a tiny machine runs in the end
       lab.py enter HOST CMD [ARG...]        run a command on gw, h1, h2, ...
       lab.py cut|heal HOST                  take its link away, or give it back
       lab.py cap HOST MBIT                  no more than that through its link; 0: as fast as it goes
       lab.py down                           end all of it; nothing is left

Every host has its own libvirtd, agent and pools at the same paths; gw holds the gateway (https://10.77.0.1:6443) and the bridge "lab".
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cloud import BIN, HOST, KUBECTL, ROOT, Cloud, Daemon  # noqa: E402

DIR = pathlib.Path(os.environ.get("GABBRO_LAB_DIR", "/var/tmp/gabbro-lab"))
CACHE = "/var/tmp/gabbro-qemu-cache"
NET = "10.77.0"
DEMO = ROOT / "tools/demo.py"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class Host(Cloud):
    """One of the lab's hosts: what Cloud does, done there. Number 0 holds the gateway."""

    def __init__(self, folder, number):
        super().__init__(folder)
        self.name = f"h{number}" if number else "gw"
        self.number, self.address = number, f"{NET}.{number + 1}"
        self.host, self.demo = folder / self.name, folder / f"{self.name}-data"
        self.kubeconfig = folder / "gw-data/gateway/admin.kubeconfig"
        self.node = f"lab-{self.name}"
        self.env.update(GABBRO_DEMO_DIR=str(self.demo), GABBRO_DEMO_KUBECONFIG=str(self.kubeconfig), GABBRO_DEMO_LISTEN=f"{NET}.1:6443",
                        GABBRO_DEMO_POOLS="/var/lib/libvirt/gabbro")

    def up(self, *options):
        subprocess.run([HOST, "up", self.host, *options], check=True, env=self.env, stdin=subprocess.DEVNULL)

    @property
    def asked(self):
        """There when the host was told to reboot: namespaces cannot begin themselves anew, reboot() does."""
        return self.demo / "reboot-asked"

    def reboot(self):
        """All that runs there ends, and it comes up with what its disks held."""
        self.asked.unlink(missing_ok=True)
        subprocess.run([HOST, "down", self.host, "--keep"], check=True, env=self.env, stdin=subprocess.DEVNULL)
        shutil.rmtree(self.host / "run")
        (self.host / "etc/listen").unlink(missing_ok=True)  # its address comes after libvirtd
        self.boot()

    def is_up(self):
        return self.run("true", check=False).returncode == 0

    def down(self):
        subprocess.run([HOST, "down", self.host], env=self.env, stdin=subprocess.DEVNULL)

    def part(self, name):
        """The gateway or the agent, as demo.py starts it."""
        return self.run("/usr/bin/python3", DEMO, name, timeout=300)

    def clock(self, name, offset):
        """The gateway or the agent begins anew with a wall clock of its own: "+2h", "-30m", or None for the machine's."""
        daemon = Daemon(self, name)
        daemon.end("TERM")
        daemon.begin(**({"LD_PRELOAD": FAKETIME, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"} if offset else {}))

    def boot(self):
        """The host comes up with what its disks held: its libvirtd and its agent."""
        command = self.demo / "reboot-command"
        self.demo.mkdir(mode=0o755, exist_ok=True)
        command.write_text(f"#!/bin/sh\nexec touch {self.asked}\n")
        command.chmod(0o755)
        self.env["GABBRO_DEMO_REBOOT"] = str(command)
        self.up("--cache", CACHE)
        subprocess.run([HOST, "plug", self.host, self.folder / "gw", f"{self.address}/24"], check=True, stdin=subprocess.DEVNULL)
        self.part("agent")
        self.open_to_others()

    def open_to_others(self):
        """What doc/how-to/migration-hosts.md has an administrator do: libvirt and QEMU use the certificate that the agent keeps."""
        keys, etc = self.demo / "agent/migration", self.host / "etc"
        self.eventually("a certificate for migrations", lambda: (keys / "clientkey.pem").exists())
        with open(etc / "libvirtd.conf", "a", encoding="ascii") as conf:
            conf.write(f'listen_tls = 1\nlisten_tcp = 0\nlisten_addr = "{self.address}"\nca_file = "{keys}/ca-cert.pem"\n'
                       f'cert_file = "{keys}/server-cert.pem"\nkey_file = "{keys}/server-key.pem"\n')
        with open(etc / "qemu.conf", "a", encoding="ascii") as conf:
            conf.write(f'migrate_tls_x509_cert_dir = "{keys}"\nmigrate_tls_x509_verify = 1\nmigrate_tls_force = 1\n')
        (etc / "listen").touch()
        self.libvirtd("stop")
        self.eventually("libvirtd ends", lambda: not (self.host / "run/libvirtd.pid").exists()
                        or self.run("bash", "-c", "kill -0 $(cat /run/libvirtd.pid)", check=False).returncode)
        self.libvirtd("start")
        self.eventually("libvirtd listens", lambda: self.run("virsh", "-q", "version", check=False).returncode == 0)


class Lab:
    """All of it. The link of a host ends at the gateway's bridge, in a device with the host's name."""

    def __init__(self, folder):
        self.folder = folder
        self.gateway = Host(folder, 0)
        count = len([p for p in folder.glob("h[0-9]*") if not p.name.endswith("-data")])
        self.hosts = [Host(folder, n + 1) for n in range(count)]

    def up(self, count):
        if not self.gateway.is_up():
            self.gateway.up("--bare")
            for words in ("link add lab address 52:54:00:77:00:01 type bridge", f"addr add {self.gateway.address}/24 dev lab", "link set lab up"):
                self.gateway.run("ip", *words.split())
        self.gateway.part("gateway")
        for number in range(1, count + 1):
            if number > len(self.hosts):
                self.hosts.append(Host(self.folder, number))
            host = self.hosts[number - 1]
            if not host.is_up():
                host.boot()
        for host in self.hosts:
            self.gateway.eventually(f"{host.node} is ready", lambda h=host: self.says(h, "Ready") == self.says(h, "MigrationReady") == "True")

    def says(self, host, condition):
        """Status of a condition of the host's Node."""
        conditions = self.gateway.get("node", host.node)["status"].get("conditions", [])
        return next((c["status"] for c in conditions if c["type"] == condition), None)

    def down(self):
        for host in [*self.hosts, self.gateway]:
            host.down()

    def machine(self, name="first-vm"):
        """The demo's machine, running somewhere."""
        self.gateway.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": f"{name}-root"},
             "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}}}},
            {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name},
             "spec": {"cpu": {"cores": 1}, "memory": {"size": "128Mi"}, "blockDeviceRefs": [{"kind": "VirtualDisk", "name": f"{name}-root"}]}}]}))
        self.gateway.wait("vm", name, "phase=Running", 180)

    def cut(self, host):
        self.gateway.run("ip", "link", "set", host.name, "down")

    def heal(self, host):
        self.gateway.run("ip", "link", "set", host.name, "up")

    def cap(self, host, mbit):
        """Both ways through the host's link; what is queued waits, it is not lost."""
        for at, device in ((self.gateway, host.name), (host, "uplink")):
            at.run("tc", "qdisc", "del", "dev", device, "root", check=False)
            if mbit:
                at.run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbit}mbit", "burst", "128k", "latency", "400ms")

    def of(self, name):
        found = [host for host in [self.gateway, *self.hosts] if host.name == name]
        if not found:
            sys.exit(f"lab: no host {name}; there are: gw {' '.join(h.name for h in self.hosts)}")
        return found[0]


@contextlib.contextmanager
def several_hosts(count, prefix="gabbro-lab"):
    """A lab for tests; nothing of it is left afterwards, whatever happens."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix + ".", dir="/var/tmp"))
    folder.chmod(0o755)
    lab = Lab(folder)
    try:
        lab.up(count)
        yield lab
    finally:
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)


def up(args):
    if os.geteuid() != 0:
        sys.exit("lab: needs root")
    check = subprocess.run([HOST, "check"])
    if check.returncode:
        sys.exit(check.returncode)
    args.dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    lab = Lab(args.dir)
    lab.up(args.hosts)
    lab.machine()
    enter = f"tests/lab/lab.py {'' if args.dir == DIR else f'--dir {args.dir} '}enter"
    print(lab.gateway.gabbro("get", "node").stdout)
    print(lab.gateway.gabbro("get", "vm", "-o", "wide").stdout)
    print(f"""kubeconfig: {lab.gateway.kubeconfig} (its server is in the lab's network)

Try next:
  {enter} gw {BIN}/gabbro --kubeconfig {lab.gateway.kubeconfig} get vm -o wide -w
  {enter} gw {KUBECTL} --kubeconfig {lab.gateway.kubeconfig} get node
  {enter} h1 virsh list

make lab-down removes all of it.""")


def down(args):
    if not args.dir.exists():
        print("there is no lab here")
        return
    Lab(args.dir).down()
    shutil.rmtree(args.dir)
    print("nothing is left")


def enter(args):
    host = Lab(args.dir).of(args.host)
    argv = host.argv(*args.command)
    os.execve(argv[0], argv, host.env)


def link(args):
    lab = Lab(args.dir)
    host = lab.of(args.host)
    if args.verb == "cap":
        lab.cap(host, args.mbit)
    else:
        getattr(lab, args.verb)(host)


def main():
    parser = argparse.ArgumentParser(description="Several hosts and one gateway.", usage=__doc__.split("usage: ")[1].split("\n\n")[0])
    parser.add_argument("--dir", type=pathlib.Path, default=DIR)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("up")
    verb.add_argument("--hosts", type=int, default=3, choices=range(1, 51), metavar="N")
    verb.set_defaults(do=up)
    verbs.add_parser("down").set_defaults(do=down)
    verb = verbs.add_parser("enter")
    verb.add_argument("host")
    verb.add_argument("command", nargs=argparse.REMAINDER)
    verb.set_defaults(do=enter)
    for name in ("cut", "heal", "cap"):
        verb = verbs.add_parser(name)
        verb.add_argument("host")
        if name == "cap":
            verb.add_argument("mbit", type=int)
        verb.set_defaults(do=link)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
