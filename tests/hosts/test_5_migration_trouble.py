# SPDX-License-Identifier: Apache-2.0
"""Moves that meet with trouble: a foreign certificate, a full disk, a deletion, another move; and twenty in a row."""
import contextlib
import os
import re

import pytest
from cloud import Daemon
from kills import empty
from test_2_migration import VMOP, completed, domains, ends, files, of_node, openssl, operate, operation, settled

NAME = "troubled"


@pytest.fixture(scope="module")
def machine(lab):
    empty(lab)
    lab.machine(NAME)
    yield NAME
    lab.gateway.kubectl("delete", "--ignore-not-found", f"vm/{NAME}", f"vd/{NAME}-root", "--timeout=60s", timeout=90)


def of_machine(lab, name=NAME):
    """(host, epoch)"""
    status = lab.gateway.vm(name)["status"]
    return of_node(lab, status["nodeName"]), status["epoch"]


def other(lab, host):
    return next(h for h in lab.hosts if h is not host)


def flows(lab, name, machine=NAME, **migrate):
    """A move under way, slow enough to be met in the middle."""
    operate(lab, name, machine, migrate={"bandwidthMibPerSecond": 3, **migrate})
    lab.gateway.eventually("it is under way", lambda: operation(lab, name).get("migration", {}).get("processedBytes"), 90)


def stays(lab, name, host, epoch):
    assert ends(lab, name, 150) == "Failed", completed(lab, name)
    lab.gateway.wait("vm", NAME, "phase=Running", 90)
    settled(lab, host.node, NAME)
    assert of_machine(lab) == (host, epoch)
    return completed(lab, name)["message"]


@contextlib.contextmanager
def foreign_keys(host, folder):
    """What QEMU shows there is signed by somebody else; libvirtd still shows what it has read."""
    keys = host.demo / "agent/migration"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-days", "2", "-subj", "/CN=foreign")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key", "-out", folder / "csr", "-subj", f"/CN={host.node}")
    (folder / "ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
                                f"extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=IP:{host.address}\n")
    openssl("x509", "-req", "-in", folder / "csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", folder / "ext", "-out", folder / "cert")
    before = {name: (keys / name).read_bytes() for name in ("server-cert.pem", "server-key.pem")}
    try:
        (keys / "server-cert.pem").write_bytes((folder / "cert").read_bytes())
        (keys / "server-key.pem").write_bytes((folder / "key").read_bytes())
        yield
    finally:
        for name, content in before.items():
            (keys / name).write_bytes(content)


def test_A19_memory_and_disks_go_to_no_foreign_certificate(lab, machine, tmp_path):
    source, epoch = of_machine(lab)
    target = other(lab, source)
    with foreign_keys(target, tmp_path):
        operate(lab, "foreign", NAME, migrate={"nodeName": target.node})
        words = stays(lab, "foreign", source, epoch)
    assert "certificate" in words.lower() or "TLS" in words, words


# What a folder is to others: its owner, its mode, the pool that it is.
LIKE = """import os, sys
old, new = sys.argv[1:]
stat = os.stat(old)
os.chown(new, stat.st_uid, stat.st_gid)
os.chmod(new, stat.st_mode)
for name in os.listxattr(old):
    if name.startswith("user."):
        os.setxattr(new, name, os.getxattr(old, name))
"""


@contextlib.contextmanager
def small_pool(host, mib):
    """The host's pool on a small file system; what was there stays below."""
    path = f"/var/lib/libvirt/gabbro/{next((host.host / 'lib/gabbro').iterdir()).name}"
    host.run("bash", "-c", f"mkdir -p /run/small && mount -t tmpfs -o size={mib}m tmpfs /run/small")
    host.run("/usr/bin/python3", "-c", LIKE, path, "/run/small")
    host.run("mount", "--bind", "/run/small", path)
    try:
        yield path
    finally:
        host.run("umount", "-l", path)
        host.run("umount", "-l", "/run/small")


def test_D119_a_disk_that_is_full_in_the_middle_leaves_the_machine_where_it_is(lab, machine):
    """What was free at the beginning is not any more: the guest notices nothing."""
    source, epoch = of_machine(lab)
    target = next(h for h in reversed(lab.hosts) if h is not source)
    with small_pool(target, 600) as path:
        flows(lab, "full", nodeName=target.node)
        target.run("bash", "-c", f"dd if=/dev/zero of={path}/ballast bs=1M 2>/dev/null; true")
        words = stays(lab, "full", source, epoch)
        target.run("rm", f"{path}/ballast")
        assert re.search("No space left|full|mirror|block", words), words


def awaited(host):
    """Addresses at which a QEMU of the host awaits machines and their disks."""
    heard = [line.split()[3] for line in host.run("ss", "-Hltn").stdout.splitlines()]
    return {at.rsplit(":", 1)[0] for at in heard if 49152 <= int(at.rsplit(":", 1)[1]) <= 49215}


def test_A27_of_two_moves_the_second_waits(lab, machine):
    """Of one machine the second is refused, of two from one host it waits until the first is over. QEMU listens at one address, and no longer than a
    machine comes."""
    source, epoch = of_machine(lab)
    target = other(lab, source)
    away = [h.node for h in lab.hosts if h is not source]
    lab.gateway.kubectl("cordon", *away)
    lab.machine("second")
    lab.gateway.kubectl("uncordon", *away)
    flows(lab, "first-move", nodeName=target.node)
    assert awaited(target) == {target.address} and not awaited(source)
    operate(lab, "same-machine", NAME, migrate={"nodeName": source.node})
    operate(lab, "other-machine", "second", migrate={"nodeName": target.node})
    assert ends(lab, "same-machine") == "Failed" and "first-move of the machine is not finished" in completed(lab, "same-machine")["message"]
    lab.gateway.eventually("it waits", lambda: operation(lab, "other-machine").get("phase") == "Pending", 30)
    assert completed(lab, "other-machine")["reason"] == "MigrationQueued" and source.node in completed(lab, "other-machine")["message"]
    lab.gateway.kubectl("delete", VMOP, "first-move", "--timeout=60s", timeout=90)
    assert ends(lab, "other-machine", 120) == "Completed", completed(lab, "other-machine")
    settled(lab, source.node, NAME)
    settled(lab, target.node, "second")
    assert of_machine(lab) == (source, epoch) and not awaited(target)
    lab.gateway.kubectl("delete", "vm/second", "vd/second-root", "--timeout=60s", timeout=90)


def test_A26_a_machine_is_deleted_while_it_moves(lab):
    """Neither host keeps anything of it."""
    lab.machine("leaving")
    flows(lab, "deleted", "leaving")
    lab.gateway.kubectl("delete", "vm/leaving", "--timeout=120s", timeout=150)
    lab.gateway.kubectl("delete", "vd/leaving-root", "--timeout=60s", timeout=90)
    lab.gateway.eventually("no domain and no file is left", lambda: not domains(lab, "leaving") and not any(files(h, "leaving") for h in lab.hosts), 60)
    left = [i["metadata"]["name"] for kind in ("instances", "ports", "volumes") for i in lab.gateway.get(f"{kind}.host.gabbro.dev")["items"]
            if i["metadata"]["labels"].get("gabbro.dev/owner-name", "").startswith("leaving")]
    assert not left
    report = lab.gateway.gabbro("doctor", check=False)
    assert report.returncode == 0, report.stdout


if os.environ.get("GABBRO_LONG") == "1":
    def test_A19_twenty_times_to_and_fro(lab, machine):
        """Nothing grows: names, files, intents, interfaces are as after the first time; agents and gateway go on."""
        source, epoch = of_machine(lab)
        target, sizes = other(lab, source), []
        daemons = [Daemon(h, "agent").pid() for h in lab.hosts] + [Daemon(lab.gateway, "gateway").pid()]
        for n in range(20):
            to = target if n % 2 == 0 else source
            operate(lab, f"to-and-fro-{n}", NAME, migrate={"nodeName": to.node})
            assert ends(lab, f"to-and-fro-{n}", 120) == "Completed", completed(lab, f"to-and-fro-{n}")
            settled(lab, to.node, NAME)
            assert of_machine(lab) == (to, epoch)
            sizes.append(len(lab.gateway.kubectl("get", "instances.host.gabbro.dev,ports.host.gabbro.dev,volumes.host.gabbro.dev", "-o", "name").stdout.split()))
        assert len(set(sizes)) == 1, sizes
        assert daemons == [Daemon(h, "agent").pid() for h in lab.hosts] + [Daemon(lab.gateway, "gateway").pid()]
        assert lab.gateway.gabbro("doctor", check=False).returncode == 0
