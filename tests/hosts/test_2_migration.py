# SPDX-License-Identifier: Apache-2.0
"""Machines move between hosts while they run."""
import json
import os
import subprocess
import time

import pytest
from cloud import KUBECTL, Daemon

# --- who may speak to a host (A19) ---------------------------------------------------------------------------------------------------


def openssl(*argv):
    subprocess.run(["openssl", *map(str, argv)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def client_keys(folder, ca, ca_key, trust):
    """A folder as libvirt's client wants it: a certificate signed by @ca, that believes @trust."""
    folder.mkdir()
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "clientkey.pem", "-out", folder / "csr", "-subj",
            "/O=gabbro:nodes/CN=gabbro:node:lab-h1")
    (folder / "ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
                                "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=IP:10.77.0.2\n")
    openssl("x509", "-req", "-in", folder / "csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-CAserial", folder / "serial", "-days", "2",
            "-extfile", folder / "ext", "-out", folder / "clientcert.pem")
    (folder / "cacert.pem").write_bytes(trust.read_bytes())
    return folder


def libvirt_of(lab, there, keys):
    """What comes of calling the libvirt of another host from h1, with the certificate in @keys."""
    return lab.hosts[0].run("virsh", "-c", f"qemu+tls://{there.address}/system?pkipath={keys}", "list", check=False)


def test_A19_hosts_speak_with_certificates_of_their_own_authority_alone(lab, tmp_path):
    there, keys = lab.hosts[1], lab.hosts[0].demo / "agent/migration"
    assert libvirt_of(lab, there, keys).returncode == 0
    trust = keys / "ca-cert.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "ca.key", "-out", tmp_path / "ca.crt", "-days", "2", "-subj",
            "/CN=foreign")
    pki = lab.gateway.demo / "gateway/pki"
    for name, ca, ca_key in (("foreign", tmp_path / "ca.crt", tmp_path / "ca.key"), ("api", pki / "ca.crt", pki / "ca.key")):
        refused = libvirt_of(lab, there, client_keys(tmp_path / name, ca, ca_key, trust))
        assert refused.returncode and "TLS" in refused.stderr + refused.stdout or "certificate" in refused.stderr, (name, refused)
    own = client_keys(tmp_path / "own", pki / "hosts/ca.crt", pki / "hosts/ca.key", trust)
    assert libvirt_of(lab, there, own).returncode == 0  # the folders above fail for their signer alone


def test_A19_a_host_whose_libvirt_is_not_set_up_says_what_is_missing(lab):
    host = lab.hosts[2]
    conf = host.host / "etc/qemu.conf"
    before = conf.read_text()
    said = {}

    def reason():
        conditions = lab.gateway.get("node", host.node)["status"]["conditions"]
        said.update(next((c for c in conditions if c["type"] == "MigrationReady"), {"reason": None}))
        return said["reason"]

    conf.write_text(before.replace("migrate_tls_x509_cert_dir", "#migrate_tls_x509_cert_dir"))
    host.clock("agent", None)  # begins anew, and looks
    lab.gateway.eventually("it is told", lambda: reason() == "MigrationNotConfigured", 30)
    assert said["status"] == "False" and f'migrate_tls_x509_cert_dir = "{host.demo}/agent/migration"' in said["message"]
    conf.write_text(before)
    host.clock("agent", None)
    lab.gateway.eventually("it is ready again", lambda: reason() == "MigrationReady", 30)


# --- moving (A19, A21, D118, D126, D127) ------------------------------------------------------------------------------------------------

VMOP = "virtualmachineoperations.gabbro.dev"


def operate(lab, name, machine="mover", kind="Migrate", **spec):
    """Asks for a move; @spec: migrate={...}, force=..."""
    lab.gateway.kubectl("create", "-f", "-", input=json.dumps(
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineOperation", "metadata": {"name": name},
         "spec": {"type": kind, "virtualMachineName": machine, **spec}}))


def operation(lab, name):
    return lab.gateway.get(VMOP, name)["status"]


def completed(lab, name):
    return next(c for c in operation(lab, name)["conditions"] if c["type"] == "Completed")


def ends(lab, name, seconds=60):
    lab.gateway.eventually(f"{name} ends", lambda: operation(lab, name).get("phase") in ("Completed", "Failed"), seconds)
    return operation(lab, name)["phase"]


def of_node(lab, node):
    return next(h for h in lab.hosts if h.node == node)


def domains(lab, machine="mover"):
    """Node -> states of the machine's domains there."""
    found = {}
    for host in lab.hosts:
        for line in host.virsh("list", "--all").splitlines():
            words = line.split(maxsplit=2)
            if len(words) == 3 and words[1].startswith(machine + "-"):
                found.setdefault(host.node, []).append(words[2])
    return found


def files(host, machine="mover"):
    return [f.name for f in (host.host / "lib/gabbro").glob(f"*/{machine}-root-*")]


def taps(host):
    return [link["ifname"] for link in json.loads(host.run("ip", "-j", "link").stdout) if link["ifname"].startswith("gbt")]


def settled(lab, node, machine="mover"):
    """Exactly one running copy, there, and nothing left of it elsewhere."""
    lab.gateway.eventually("one copy, and nothing left", lambda: domains(lab, machine) == {node: ["running"]} and all(
        bool(files(h, machine)) == (h.node == node) for h in lab.hosts), 30)
    lab.gateway.eventually("no intents stand by", lambda: not [i for kind in ("instances", "ports", "volumes") for i in lab.gateway.get(
        f"{kind}.host.gabbro.dev")["items"] if "gabbro.dev/standby" in i["metadata"].get("annotations", {})], 30)


@pytest.fixture(scope="module")
def mover(lab):
    lab.machine("mover")
    address = lab.gateway.vm("mover")["status"]["ipAddress"]
    host = of_node(lab, lab.gateway.vm("mover")["status"]["nodeName"])
    lab.gateway.eventually("the guest answers", lambda: answers(host, address), 60)
    return "mover"


def answers(host, address):
    return host.run("ping", "-c1", "-W1", address, check=False).returncode == 0


def test_A18_every_reason_is_told_at_once_and_nothing_is_done(lab, mover):
    source = lab.gateway.vm(mover)["status"]["nodeName"]
    others = [h.node for h in lab.hosts if h.node != source]
    lab.gateway.kubectl("cordon", others[0])
    lab.gateway.kubectl("taint", "node", others[0], "rack=b:NoSchedule")
    said = lab.gateway.gabbro("migrate", "vm", mover, "--to", others[0], "--dry-run", check=False)
    assert said.returncode and f"{others[0]} is cordoned" in said.stderr and "has the taint rack=b:NoSchedule" in said.stderr, said
    lab.gateway.kubectl("taint", "node", others[0], "rack-")
    lab.gateway.kubectl("uncordon", others[0])
    for node, words in ((source, "is where the machine runs already"), ("nobody", "does not exist")):
        said = lab.gateway.gabbro("migrate", "vm", mover, "--to", node, "--dry-run", check=False)
        assert said.returncode and words in said.stderr, said
    said = lab.gateway.gabbro("migrate", "vm", mover, "--to", others[0], "--dry-run")
    assert "could be moved" in said.stdout
    name = said.stdout.split("(virtualmachineoperation/")[1].split(")")[0]
    estimate = operation(lab, name)["migration"]["estimate"]
    assert estimate["memoryBytes"] == 128 << 20 and estimate["diskBytes"] > 0 and "dirtyBytesPerSecond" in estimate, estimate
    lab.gateway.kubectl("patch", "vm", mover, "--type=merge", "-p", '{"spec":{"liveMigrationPolicy":"AlwaysSafe"}}')
    said = lab.gateway.gabbro("migrate", "vm", mover, "--force", check=False)  # D120
    assert said.returncode and "policy AlwaysSafe and force: true contradict each other" in said.stderr
    lab.gateway.kubectl("patch", "vm", mover, "--type=merge", "-p", '{"spec":{"liveMigrationPolicy":"PreferSafe"}}')
    settled(lab, source)


def seen_by_guest(hardware):
    """Interfaces are named after their Ports, which the guest does not see."""
    return hardware | {"interfaces": [{k: v for k, v in nic.items() if k != "name"} for nic in hardware["interfaces"]]}


def test_A19_a_machine_moves_with_its_disk_and_is_the_same_one(lab, mover):
    before = lab.gateway.vm(mover)
    status = before["status"]
    source = of_node(lab, status["nodeName"])
    target = next(h for h in lab.hosts if h.node != source.node)
    seen = lab.folder / "watch"
    with open(seen, "w", encoding="ascii") as out:  # it ends with the lab
        subprocess.Popen(lab.gateway.argv(KUBECTL, "--kubeconfig", lab.gateway.kubeconfig, "get", "vm", mover, "-w"),
                         env=lab.gateway.env, stdin=subprocess.DEVNULL, stdout=out)
    operate(lab, "there", migrate={"nodeName": target.node})
    assert ends(lab, "there") == "Completed", operation(lab, "there")
    lab.gateway.eventually("it was seen to run there", lambda: seen.read_text().split()[-4:-2] == ["Running", target.node], 20)
    rows = [row.split()[1] for row in seen.read_text().splitlines() if row.startswith(mover)]
    assert [rows[0], "Migrating", rows[-1]] == ["Running", "Migrating", "Running"] and "Migrating" in rows, rows  # D127
    after = lab.gateway.vm(mover)["status"]
    assert after["nodeName"] == target.node and after["epoch"] == status["epoch"]
    assert seen_by_guest(after["hardware"]) == seen_by_guest(status["hardware"])
    assert [(n["ipAddress"], n["macAddress"]) for n in after["networks"]] == [(n["ipAddress"], n["macAddress"]) for n in status["networks"]]
    assert after["migrationState"]["result"] == "Succeeded" and after["migrationState"]["target"]["node"] == target.node  # D57
    assert after["stats"]["lastStartTime"] == status["stats"]["lastStartTime"]
    settled(lab, target.node)
    assert not taps(source) or not [d for d in domains(lab) if d == source.node]
    lab.gateway.eventually("the guest answers there", lambda: answers(target, status["ipAddress"]), 20)
    path = next((target.host / "lib/gabbro").glob(f"*/{mover}-root-*"))
    info = json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", path], stdout=subprocess.PIPE, check=True).stdout)
    assert info["actual-size"] < info["virtual-size"] / 2, info  # as thin as it was
    progress = operation(lab, "there")
    assert progress["progress"] == "100%" and progress["migration"]["result"] == "Succeeded"
    assert progress["migration"]["estimate"]["memoryBytes"] == 128 << 20  # beside what came of it


def slow(lab, name, mover, mib=3):
    """A move that takes long, under way."""
    operate(lab, name, migrate={"bandwidthMibPerSecond": mib})
    lab.gateway.eventually("it is under way", lambda: lab.gateway.vm(mover)["status"]["phase"] == "Migrating"
                           and operation(lab, name).get("migration", {}).get("processedBytes"), 60)
    return operation(lab, name)["migration"]


def test_D126_deleting_the_operation_ends_the_move_where_the_machine_is(lab, mover):
    status = lab.gateway.vm(mover)["status"]
    slow(lab, "cancelled", mover)
    begin = time.monotonic()
    lab.gateway.kubectl("delete", VMOP, "cancelled", "--wait=false")
    lab.gateway.wait("vm", mover, "phase=Running", 20)
    took = time.monotonic() - begin
    settled(lab, status["nodeName"])
    after = lab.gateway.vm(mover)["status"]
    assert after["epoch"] == status["epoch"] and after["nodeName"] == status["nodeName"] and took < 5, took
    lab.gateway.eventually("the operation is gone", lambda: lab.gateway.kubectl("get", VMOP, "cancelled", check=False).returncode, 20)


# --- whatever is killed (A24-A26) ----------------------------------------------------------------------------------------------------


def test_A26_the_agents_and_the_gateway_are_killed_in_the_middle(lab, mover):
    """The move goes on without them, and they find what came of it."""
    source = of_node(lab, lab.gateway.vm(mover)["status"]["nodeName"])
    epoch = lab.gateway.vm(mover)["status"]["epoch"]
    target = of_node(lab, slow(lab, "killed", mover, 6)["targetNode"])
    for cloud, name in ((source, "agent"), (target, "agent"), (lab.gateway, "gateway")):
        Daemon(cloud, name).again()
    lab.gateway.gateway_serves()
    lab.gateway.gabbro("migrate", "vm", mover, "--change", "--bandwidth", "1000", "--downtime", "900")  # A20
    domain = next(d for d in source.virsh("list", "--name").split() + [""] if d.startswith(mover + "-") or not d)
    if domain:  # libvirt has what was asked for, or the guest has gone meanwhile
        source.eventually("libvirt is told", lambda: source.virsh("migrate-getspeed", domain, check=False).strip() in ("1000", ""))
    assert ends(lab, "killed", 90) == "Completed", operation(lab, "killed")
    settled(lab, target.node)
    after = lab.gateway.vm(mover)["status"]
    assert after["nodeName"] == target.node and after["epoch"] == epoch and after["phase"] == "Running"


def test_A25_the_target_dies_in_the_middle(lab, mover):
    status = lab.gateway.vm(mover)["status"]
    target = of_node(lab, slow(lab, "dies", mover)["targetNode"])
    target.libvirtd("kill")
    assert ends(lab, "dies", 90) == "Failed" and completed(lab, "dies")["message"]
    target.libvirtd("start")
    settled(lab, status["nodeName"])
    after = lab.gateway.vm(mover)["status"]
    assert after["nodeName"] == status["nodeName"] and after["epoch"] == status["epoch"] and after["phase"] == "Running"


def qemu(host, mover):
    """Kills the machine's QEMU there."""
    host.run("bash", "-c", f"kill -9 $(cat /run/libvirt/qemu/{mover}-*.pid)")


if os.environ.get("GABBRO_LONG"):
    @pytest.mark.parametrize("what", ["source libvirtd", "both libvirtd", "target qemu", "source qemu"])
    def test_A26_one_copy_whatever_is_killed(lab, mover, what):
        status = lab.gateway.vm(mover)["status"]
        source = of_node(lab, status["nodeName"])
        name = what.replace(" ", "-")
        target = of_node(lab, slow(lab, name, mover)["targetNode"])
        hosts = {"source": [source], "target": [target], "both": [source, target]}[what.split()[0]]
        for host in hosts:
            if what.endswith("qemu"):
                qemu(host, mover)
            else:
                host.libvirtd("kill")
        if what.endswith("libvirtd"):
            time.sleep(2)  # the other side shall see it gone
            for host in hosts:
                host.libvirtd("start")
        assert ends(lab, name, 150) == "Failed" and completed(lab, name)["message"]
        lab.gateway.wait("vm", mover, "phase=Running", 90)
        settled(lab, source.node)
        after = lab.gateway.vm(mover)["status"]
        assert after["nodeName"] == source.node and after["epoch"] == status["epoch"] + (what == "source qemu")
