# SPDX-License-Identifier: Apache-2.0
"""gabbro doctor: finds one planted leak of each sort with its evidence, changes nothing without a plan, removes exactly these. I1 I3 I7 I8."""
import json
import re
import uuid

import pytest

from cloud import Daemon

HEALTHY, FINDINGS, BLIND = 0, 1, 2
TAP = "gbtdeadbeef0001"
FOREIGN_UUID, STRAY_UUID, STRAY_MACHINE = (str(uuid.uuid4()) for _ in range(3))

DOMAIN = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory><metadata>{metadata}</metadata>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"""
OURS = ("<g:instance xmlns:g='https://gabbro.dev/domain/1' machineUid='{0}' instanceUid='{0}' generation='1' epoch='1' "
        "namespace='default' name='forgotten'/>")


def doctor(cloud, *words, code, **kwargs):
    result = cloud.gabbro("doctor", *words, check=False, **kwargs)
    assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def report(cloud, *words, code):
    return json.loads(doctor(cloud, *words, "-o", "json", code=code))


def bad(seen):
    return {(f["code"], f["subject"]) for f in seen["findings"] if f["severity"] != "Note"}


def qemu(cloud, uid):
    return cloud.run("pgrep", "-f", f"qemu-system.*{uid}").stdout


@pytest.fixture(scope="module")
def first(cloud):
    if cloud.vm("first-vm")["status"]["phase"] != "Running":
        cloud.gabbro("start", "first-vm", "--wait", "--timeout", "120", timeout=150)
    instance = cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]
    return {"domain": instance["status"]["domainName"], "epoch": instance["status"]["epoch"], "qemu": qemu(cloud, instance["status"]["domainUuid"])}


class Plants:
    """What somebody, or a crash that nobody thought of, may leave on a host."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.pool = cloud.demo / "pools/default"
        uid = str(uuid.uuid4())
        self.volume, self.used = self.pool / "forgotten.qcow2", self.pool / "somebodys.qcow2"
        self.seed = cloud.demo / f"agent/seeds/{uid}.iso"
        self.journal = cloud.demo / f"agent/journal/{uid}-1.json"
        self.image = cloud.demo / "agent/images/half.tmp"
        self.expected = {
            ("StrayDomain", f"domain/{STRAY_UUID}"), ("StrayVolume", str(self.volume)), ("StraySeed", str(self.seed)),
            ("StrayJournal", str(self.journal)), ("StrayImageFile", str(self.image)), ("StrayTap", f"tap/{TAP}"),
            ("StrayRules", "chain/bridge gabbro d_deadbeef0001"), ("StrayRules", f"elements/{TAP}")}
        self.entry = {"version": 1, "kind": "volumes", "name": "v-gone-0", "uid": uid, "generation": 1, "steps": {"create": "begun"}}

    def define(self, name, uid, metadata, devices=""):
        path = self.cloud.demo / f"{name}.xml"
        path.write_text(DOMAIN.format(name=name, uuid=uid, metadata=metadata, devices=devices))
        self.cloud.virsh("define", path)

    def plant(self):
        self.rules()
        self.volume.write_bytes(b"nobody knows what this is")
        self.used.write_bytes(b"a disk of somebody else")
        self.seed.write_bytes(b"a password")
        self.journal.write_text(json.dumps(self.entry))
        self.image.write_bytes(b"half")
        self.cloud.run("ip", "tuntap", "add", "dev", TAP, "mode", "tap")
        self.define("forgotten", STRAY_UUID, OURS.format(STRAY_MACHINE))
        self.cloud.virsh("start", "forgotten")
        disk = f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{self.used}'/><target dev='vda' bus='virtio'/></disk>"
        self.define("somebodys", FOREIGN_UUID, "", disk)

    def rules(self):
        """The agent looks at its rules every half minute, and may put them right before the doctor sees them."""
        self.repairs = self.agent_repairs()
        self.cloud.run("nft", f'add chain bridge gabbro d_deadbeef0001; add element bridge gabbro taps {{ "{TAP}" }}')

    def agent_repairs(self):
        return (self.cloud.demo / "log/agent.log").read_text().count("rules were changed from outside")

    def look(self, *words):
        while True:
            seen = report(self.cloud, *words, code=FINDINGS)
            if self.agent_repairs() == self.repairs:
                return seen
            self.rules()


@pytest.fixture(scope="module")
def plants(cloud):
    return Plants(cloud)


def test_I8_a_healthy_cloud_has_no_findings(cloud, first):
    assert "Nothing is lost" in doctor(cloud, code=HEALTHY)
    seen = report(cloud, code=HEALTHY)
    assert seen["findings"] == [] and seen["unlooked"] == [] and [n["state"] for n in seen["nodes"]] == ["Succeeded"]


def test_only_administrators_call_the_doctor_and_it_is_audited(cloud, first):
    report(cloud, code=HEALTHY)
    assert "/admin/v1/doctor" in (cloud.demo / "gateway/audit.log").read_text()
    refused = cloud.gabbro("--token", "gbt1.nobody.nothing", "doctor", check=False)
    assert refused.returncode == BLIND and refused.stdout == ""


def test_I8_no_false_alarm_while_machines_come_and_go(cloud, first):
    manifest = "\n---\n".join(f"""apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: busy-{i}}}
spec: {{persistentVolumeClaim: {{size: 256Mi}}, dataSource: {{type: ObjectRef, objectRef: {{kind: ClusterVirtualImage, name: tiny}}}}}}
---
apiVersion: gabbro.dev/v1
kind: VirtualMachine
metadata: {{name: busy-{i}}}
spec:
  virtualMachineClassName: generic
  cpu: {{cores: 1, coreFraction: 5%}}
  memory: {{size: 64Mi}}
  terminationGracePeriodSeconds: 1
  provisioning: {{type: UserData, userData: "#cloud-config\\n"}}
  blockDeviceRefs: [{{kind: VirtualDisk, name: busy-{i}}}]""" for i in range(2))
    cloud.gabbro("apply", "-f", "-", input=manifest)
    report(cloud, code=HEALTHY)
    cloud.wait("vm", "busy-0", "phase=Running")
    cloud.wait("vm", "busy-1", "phase=Running")
    report(cloud, code=HEALTHY)
    for kind in ("vm", "vd"):
        cloud.kubectl("delete", kind, "busy-1", "--wait=false")
    report(cloud, code=HEALTHY)
    cloud.gabbro("wait", "vm", "busy-1", "--for", "delete", "--timeout", "90")
    report(cloud, code=HEALTHY)


def test_I8_every_planted_leak_is_found_with_its_evidence(cloud, first, plants):
    plants.plant()
    seen = plants.look()
    assert bad(seen) == plants.expected
    by_code = {f["code"]: f for f in seen["findings"]}
    assert any(f"domain forgotten ({STRAY_UUID}) is running" in e for e in by_code["StrayDomain"]["evidence"])
    assert any(f"no machine has the UID {STRAY_MACHINE}" in e for e in by_code["StrayDomain"]["evidence"])
    assert any("steps {\"create\":\"begun\"}" in e for e in by_code["StrayJournal"]["evidence"])
    assert all(f["fix"] and f["safe"] for f in seen["findings"] if f["severity"] != "Note")
    notes = {(f["code"], f["subject"]) for f in seen["findings"] if f["severity"] == "Note"}
    assert notes == {("ForeignDomain", f"domain/{FOREIGN_UUID}"), ("StrayVolume", str(plants.used))}
    assert not any("fix" in f for f in seen["findings"] if f["severity"] == "Note")


def test_I8_the_doctor_of_storage_tells_of_storage_alone(cloud, first, plants):
    """B31: and with --verify of a file whose bytes are not what was stored."""
    def look(*words):
        result = cloud.gabbro("storage", "doctor", *words, "-o", "json", check=False)
        assert result.returncode == FINDINGS, result
        return {(f["code"], f["subject"]) for f in json.loads(result.stdout)["findings"] if f["severity"] != "Note"}

    storage = {(code, subject) for code, subject in plants.expected if code in ("StrayVolume", "StrayImageFile", "StrayBlob", "StrayJournal")}
    assert storage and look() == storage
    blob = next((cloud.demo / "gateway/blobs/sha256").glob("[0-9a-f]*[0-9a-f]"))
    good = blob.read_bytes()
    mode = blob.stat().st_mode
    blob.chmod(0o600)
    try:
        blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        assert look() == storage
        assert look("--verify") == storage | {("BlobDamaged", f"imageblobs/sha256-{blob.name}")}
    finally:
        blob.write_bytes(good)
        blob.chmod(mode)


def test_I8_the_plan_comes_first_and_changes_nothing(cloud, first, plants):
    printed = doctor(cloud, "--fix", code=FINDINGS)
    assert re.search(r"The plan:\n +1\. node/\S+: StrayDomain", printed), printed
    for word in ("does:", "safe:", "undo:", TAP, str(plants.volume), "cut it off"):
        assert word in printed.split("The plan:")[1]
    assert plants.volume.exists() and plants.seed.exists() and cloud.virsh("domstate", "forgotten").strip() == "running"


def test_I8_fix_removes_exactly_what_was_planted(cloud, first, plants):
    before = set(plants.pool.iterdir())
    printed = doctor(cloud, "--fix", "--yes", code=HEALTHY)
    assert "Done  StrayDomain" in printed and "Failed" not in printed and "Refused" not in printed
    assert not plants.seed.exists() and not plants.journal.exists() and not plants.image.exists()
    assert (plants.pool / "lost+found/forgotten.qcow2").read_bytes() == b"nobody knows what this is"
    assert f"mv '{plants.pool}/lost+found/forgotten.qcow2' '{plants.volume}'" in printed
    assert plants.used.read_bytes() == b"a disk of somebody else"
    assert before - set(plants.pool.iterdir()) == {plants.volume}
    assert TAP not in cloud.run("ip", "link").stdout and "deadbeef" not in cloud.run("nft", "list", "ruleset").stdout
    domains = cloud.virsh("list", "--all", "--name").split()
    assert first["domain"] in domains and "somebodys" in domains and "forgotten" not in domains
    assert bad(report(cloud, code=HEALTHY)) == set()


def test_I8_a_domain_lost_while_the_agent_stood_still(cloud, first):
    """A host that does not answer is told as not looked at; what was lost there meanwhile is put right by the agent, or found."""
    agent = Daemon(cloud, "agent").pid()
    cloud.run("kill", "-STOP", str(agent))
    try:
        seen = report(cloud, "--timeout", "2", code=BLIND)
        assert any("did not end the look within 2 s" in u for u in seen["unlooked"]), seen["unlooked"]
        cloud.virsh("destroy", next(d for d in cloud.virsh("list", "--name").split() if d.startswith("busy-0")))
    finally:
        cloud.run("kill", "-CONT", str(agent))
    cloud.eventually("no finding", lambda: cloud.gabbro("doctor", check=False).returncode == HEALTHY, 30)
    for kind in ("vm", "vd"):
        cloud.kubectl("delete", kind, "busy-0", "--wait=false")
    cloud.gabbro("wait", "vm", "busy-0", "--for", "delete", "--timeout", "90")
    report(cloud, code=HEALTHY)


def test_I8_a_libvirtd_that_was_started_again_is_looked_at(cloud, first):
    """One that is away is told as not looked at; one that has just come back is waited for."""
    cloud.run("bash", "-c", "pid=$(cat /run/libvirtd.pid); kill -KILL $pid; while kill -0 $pid; do :; done 2>/dev/null; true")
    try:
        assert any("libvirt" in u for u in report(cloud, code=BLIND)["unlooked"])
    finally:
        cloud.libvirtd("start")
    seen = report(cloud, code=HEALTHY)
    assert seen["unlooked"] == [] and bad(seen) == set()


def test_I8_the_first_machine_was_not_touched(cloud, first):
    instance = cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["status"]
    assert qemu(cloud, instance["domainUuid"]) == first["qemu"] and instance["epoch"] == first["epoch"]
    assert cloud.domstate("first-vm") == "running"
    cloud.virsh("undefine", "somebodys")
    for name in ("lost+found/forgotten.qcow2", "somebodys.qcow2"):
        (cloud.demo / "pools/default" / name).unlink()
