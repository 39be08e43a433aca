# SPDX-License-Identifier: Apache-2.0
"""Deleting a machine leaves nothing of it; taking the demo down leaves nothing at all."""
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_E43_delete_leaves_no_domain_volume_tap_or_rule(cloud):
    """Deleted, nothing of it is left, neither on the host nor among the records (A15, C76)."""
    port = cloud.get("ports.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm")["items"][0]
    volume = cloud.get("volumes.host.gabbro.dev", "-l", "gabbro.dev/owner-name=first-vm-root")["items"][0]
    tap, mac = port["spec"]["tapName"], port["spec"]["mac"]
    cloud.kubectl("delete", "vm", "first-vm", timeout=180)
    assert cloud.virsh("list", "--all", "--name").split() == []
    assert cloud.run("ip", "link", "show", tap, check=False).returncode != 0
    rules = cloud.run("nft", "list", "ruleset").stdout
    assert tap not in rules and mac not in rules
    assert pathlib.Path(volume["status"]["path"]).exists(), "disks outlive machines"
    cloud.kubectl("delete", "vd", "first-vm-root", timeout=120)
    assert not pathlib.Path(volume["status"]["path"]).exists()
    assert list((cloud.demo / "agent").glob("**/*.iso")) == []
    for kind in ("instances", "volumes", "ports"):
        left = [i["metadata"]["name"] for i in cloud.get(f"{kind}.host.gabbro.dev")["items"]]
        assert left == [], left


def test_demo_down_removes_every_trace(cloud):
    cloud.run("/usr/bin/python3", ROOT / "tools/demo.py", "down", timeout=240)
    assert not cloud.demo.exists()
    assert cloud.virsh("list", "--all", "--name").split() == []
    assert cloud.virsh("pool-list", "--all", "--name").split() == []
    links = [link["ifname"] for link in json.loads(cloud.run("ip", "-j", "link").stdout)]
    assert [name for name in links if name.startswith("gb")] == []
    assert "gabbro" not in cloud.run("nft", "list", "ruleset").stdout
    commands = "\n".join(line for line in cloud.run("ps", "-eo", "stat,args").stdout.splitlines() if not line.startswith("Z"))
    assert "gabbro-gateway" not in commands and "gabbro-agent" not in commands and "dnsmasq" not in commands
