# SPDX-License-Identifier: Apache-2.0
"""The host agent under faults: killed at any instant, beside a dead libvirtd, rules broken from outside. Guests go on; nothing is half made."""
import json
import os
import pathlib
import random
import time

from cloud import Daemon
from fleet import caught_up

MACHINES = ["k0", "k1", "k2"]


def manifest(name):
    return f"""
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {name}-root}}
spec:
  persistentVolumeClaim: {{size: 256Mi}}
  dataSource: {{type: ObjectRef, objectRef: {{kind: ClusterVirtualImage, name: tiny}}}}
---
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {name}-data}}
spec:
  persistentVolumeClaim: {{size: 64Mi}}
---
apiVersion: gabbro.dev/v1
kind: VirtualMachine
metadata: {{name: {name}}}
spec:
  virtualMachineClassName: generic
  runPolicy: AlwaysOn
  cpu: {{cores: 1, coreFraction: 10%}}
  memory: {{size: 128Mi}}
  terminationGracePeriodSeconds: 3
  provisioning: {{type: UserData, userData: "#cloud-config\\nhostname: {name}\\n"}}
  blockDeviceRefs:
  - {{kind: VirtualDisk, name: {name}-root}}
  - {{kind: VirtualDisk, name: {name}-data}}
"""


def machines(cloud, names):
    return {v["metadata"]["name"]: v.get("status", {}).get("phase") for v in cloud.get("vm")["items"] if v["metadata"]["name"] in names}


def epoch(cloud, name):
    return cloud.get("instances.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={name}")["items"][0]["status"]["epoch"]


def pids(cloud, program):
    return cloud.run("pgrep", "-f", program, check=False).stdout.split()


def answers(cloud, name):
    address = cloud.vm(name)["status"]["ipAddress"]
    return cloud.run("ping", "-c1", "-W2", address, check=False).returncode == 0


def ensure_running(cloud):
    if cloud.vm("first-vm")["status"]["phase"] != "Running":
        cloud.gabbro("start", "first-vm", "--wait", "--timeout", "120", timeout=150)
    cloud.eventually("the guest answers", lambda: answers(cloud, "first-vm"), 120)


def test_A4_decision_12_guest_and_network_outlive_the_agent(cloud):
    ensure_running(cloud)
    agent = Daemon(cloud, "agent")
    before = (pids(cloud, "qemu-system"), pids(cloud, "dnsmasq --conf"), epoch(cloud, "first-vm"))
    assert len(before[0]) == 1 and len(before[1]) == 1
    for signal in ("TERM", "KILL"):
        agent.end(signal)
        assert answers(cloud, "first-vm")
        agent.begin()
        cloud.eventually("the agent is back", lambda: "catching up" in (cloud.demo / "log/agent.log").read_text().rsplit("the agent runs", 1)[1], 20)
    assert before == (pids(cloud, "qemu-system"), pids(cloud, "dnsmasq --conf"), epoch(cloud, "first-vm"))
    assert answers(cloud, "first-vm")


def test_A4_rules_flushed_while_the_agent_was_down_come_back(cloud):
    agent = Daemon(cloud, "agent")
    agent.end("KILL")
    cloud.run("nft", "flush", "ruleset")
    agent.begin()
    tap = cloud.get("ports.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]["spec"]["tapName"]
    cloud.eventually("rules", lambda: tap in cloud.run("nft", "list", "ruleset").stdout, 20)
    cloud.eventually("the guest answers", lambda: answers(cloud, "first-vm"), 20)


def test_C21_the_folder_of_first_boot_images_can_be_set(cloud):
    agent, own = Daemon(cloud, "agent"), cloud.demo / "seed-base"
    usual = list(agent.argv)
    own.mkdir()
    agent.end()
    agent.argv += ["--seed-base", str(own)]
    try:
        (own / "gabbro-seeds").mkdir()
        (own / "gabbro-seeds").chmod(0o777)
        refused = cloud.run("timeout", "30", *agent.argv, check=False)
        assert refused.returncode not in (0, 124) and "gabbro-seeds" in refused.stderr, refused.stderr
        (own / "gabbro-seeds").rmdir()
        agent.begin()
        cloud.kubectl("create", "-f", "-", input=manifest("seeded"))
        cloud.eventually("it runs", lambda: machines(cloud, ["seeded"]) == {"seeded": "Running"}, 120)
        discs = cloud.virsh("domblklist", cloud.get("instances.host.gabbro.dev", "-l", "gabbro.dev/owner-name=seeded")["items"][0]["status"]["domainName"])
        assert f"{own}/gabbro-seeds/" in discs, discs
        cloud.kubectl("delete", "vm/seeded", "vd/seeded-root", "vd/seeded-data", "--timeout=90s", timeout=120)
        assert not list((own / "gabbro-seeds").iterdir())
    finally:
        agent.end()
        agent.argv = usual
        agent.begin()


def test_decision_13_libvirtd_dies_and_comes_back(cloud):
    log = cloud.demo / "log/agent.log"
    caught_up(cloud)  # one that begins just then would find it for the first time
    mark = len(log.read_text())
    before = pids(cloud, "qemu-system"), epoch(cloud, "first-vm")
    for order in ("kill", "start"):
        os.spawnv(os.P_WAIT, str(cloud.argv()[0]), [str(cloud.argv()[0]), "libvirtd", str(cloud.host), order])
    cloud.eventually("libvirt is back", lambda: "libvirt is back" in log.read_text()[mark:], 60)
    cloud.gabbro("stop", "first-vm", "--wait", "--timeout", "120", timeout=150)
    assert cloud.domstate("first-vm") == "shut off"
    cloud.gabbro("start", "first-vm", "--wait", "--timeout", "120", timeout=150)
    assert pids(cloud, "qemu-system") != before[0] and epoch(cloud, "first-vm") == before[1] + 1


def test_C2_C16_agent_killed_at_any_instant_of_creation_and_teardown(cloud):
    agent, chance = Daemon(cloud, "agent"), random.Random(20261121)

    def kill_for(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.05, 0.7))
            agent.again()

    cloud.gabbro("apply", "-f", "-", input="---".join(manifest(name) for name in MACHINES))
    kill_for(5)
    cloud.eventually("all run", lambda: set(machines(cloud, MACHINES).values()) == {"Running"}, 120)
    assert [epoch(cloud, name) for name in MACHINES] == [1, 1, 1], "a machine was started twice"
    for name in MACHINES:
        cloud.kubectl("delete", "vm", name, "--wait=false")
        cloud.kubectl("delete", "vd", f"{name}-root", f"{name}-data", "--wait=false")
    kill_for(3)

    def left():
        kinds = "instances.host.gabbro.dev,volumes.host.gabbro.dev,ports.host.gabbro.dev"
        return [i["metadata"]["name"] for i in json.loads(cloud.kubectl("get", kinds, "-o", "json").stdout)["items"]
                if i["metadata"]["labels"]["gabbro.dev/owner-name"][:2] in MACHINES]

    cloud.eventually("all intents are gone", lambda: not left(), 150)
    assert [n for n in cloud.virsh("list", "--all", "--name").split() if n[:2] in MACHINES] == []
    assert [p.name for p in pathlib.Path(cloud.demo / "pools").glob("*/*") if p.name[:2] in MACHINES] == []
    assert list((cloud.demo / "agent/journal").iterdir()) == []
    taps = [p["spec"]["tapName"] for p in cloud.get("ports.host.gabbro.dev")["items"]]
    links = [line.split()[0] for line in cloud.run("ip", "-br", "link").stdout.splitlines() if line.startswith("gbt")]
    assert sorted(links) == sorted(taps)


def test_E35_images_are_fetched_once_and_kept(cloud):
    images = list((cloud.demo / "agent/images").iterdir())
    digest = cloud.get("cvi", "tiny")["status"]["target"]["digest"]
    assert [p.name for p in images].count(digest) == 1 and all(len(p.name) == 64 for p in images), images
    assert all(p.stat().st_mode & 0o077 == 0 for p in images)


def test_decision_6_seeds_are_private_and_short_lived(cloud):
    cloud.gabbro("restart", "first-vm", "--wait", "--timeout", "120", timeout=150)
    seeds = list((cloud.demo / "agent/seeds").glob("*.iso"))
    assert len(seeds) == 1 and seeds[0].stat().st_mode & 0o177 == 0
    log = (cloud.demo / "log/agent.log").read_text()
    assert (cloud.demo / "guest/password").read_text() not in log
    cloud.eventually("the seed is removed after the first boot", lambda: not seeds[0].exists(), 120)
