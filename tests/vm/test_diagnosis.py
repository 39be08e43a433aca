# SPDX-License-Identifier: Apache-2.0
"""What somebody sees who asks what a machine does, has done, and why not: describe, top, screenshot."""
import json
import re
import struct
import zlib

import pytest

from cloud import BIN, Daemon
from fleet import caught_up


CREW = {"shared": "AlwaysOnUnlessStoppedManually"}


@pytest.fixture(scope="module")
def busy(crew):
    return crew["shared"]


def describe(machine):
    return machine.cloud.gabbro("describe", "vm", machine.name).stdout


def part(text, heading):
    """The lines below a heading."""
    return re.search(rf"^{heading}.*\n((?:  .*\n?)*)", text, re.M).group(1).splitlines()


def test_describe_tells_the_story_in_order(busy):
    """(D58, D73) What happened, how the host sees it, what waits, what to do next."""
    cloud = busy.cloud
    cloud.gabbro("suspend", busy.name, "--wait", "--timeout", "120", timeout=150)
    text = describe(busy)
    story = part(text, "Events, operations and conditions, in order")
    times = [line.split()[0] for line in story]
    assert times == sorted(times) and len(times) > 8
    words = "\n".join(story)
    order = [words.index(it) for it in ("it was made", "Suspend was asked for", "Suspend: Completed")]
    assert order == sorted(order), words
    host = "\n".join(part(text, "Its host's view"))
    begun = f"start {busy.epoch()}"
    assert busy.domain() in host and f"paused, {begun}" in host and f"On, {begun}" in host, host
    assert part(text, "What to do next") == [f"               it stands still: gabbro resume {busy.name}"]
    cloud.gabbro("resume", busy.name, "--wait", "--timeout", "120", timeout=150)
    cloud.kubectl("patch", "vm", busy.name, "--type=merge", "-p", '{"spec":{"cpu":{"cores":2}}}')
    cloud.wait("vm", busy.name, "condition=AwaitingRestartToApplyConfiguration", 90)
    text = describe(busy)
    assert any("cores" in line and "1, will be 2" in line for line in part(text, "Waits for a restart")), text
    assert any(f"gabbro restart {busy.name}" in line for line in part(text, "What to do next")), text
    cloud.kubectl("patch", "vm", busy.name, "--type=merge", "-p", '{"spec":{"cpu":{"cores":1}}}')


def test_describe_says_what_hinders_and_where_to_read_on(cloud):
    """(D58, C38) The first condition that is not met, its cause and the page about it."""
    vm = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": "stuck"},
          "spec": {"virtualMachineClassName": "generic", "cpu": {"cores": 1}, "memory": {"size": "64Mi"},
                   "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "not-there"}]}}
    cloud.kubectl("create", "-f", "-", input=json.dumps(vm))
    cloud.wait("vm", "stuck", "condition=BlockDevicesReady=False", 90)
    text = cloud.gabbro("describe", "vm", "stuck").stdout
    following = "\n".join(part(text, "What to do next"))
    assert "BlockDevicesReady" in following and "not-there" in following and "doc/how-to/disks.md" in following, following
    assert "no host has anything of it" in text
    cloud.kubectl("delete", "vm", "stuck")


def test_top_shows_what_a_machine_and_its_host_use(busy):
    """(D58) A guest that computes shows as a busy core; one that is asked twice costs the host one look."""
    cloud = busy.cloud
    path = f"/apis/gabbro.dev/v1/namespaces/default/virtualmachines/{busy.name}/usage"
    cloud.gabbro("guest", "exec", busy.name, "--", "sh", "-c",
                 "(while :; do :; done) </dev/null >/dev/null 2>&1 3>&- 5>&- 6>&- 7>&- & echo $! >/run/spin")
    cloud.gabbro("guest", "exec", busy.name, "--", "dd", "if=/dev/zero", "of=/spill", "bs=1M", "count=8", "conv=fsync")
    usage = cloud.eventually("a busy core", lambda: (lambda u: u if u["cpuMillicores"] > 100 else None)(json.loads(cloud.kubectl("get", "--raw", path).stdout)), 90)
    assert usage["memoryBytes"] == 96 << 20 and usage["windowMilliseconds"] >= 900
    assert {"readBytesPerSecond", "writeBytesPerSecond", "receivedBytesPerSecond", "sentBytesPerSecond"} <= usage.keys()
    rows = [line.split() for line in cloud.gabbro("top", "vm", busy.name).stdout.splitlines()]
    assert rows[0][:3] == ["NAMESPACE", "NAME", "CPU"] and rows[1][:2] == ["default", busy.name] and int(rows[1][2].rstrip("m")) > 50, rows
    node = cloud.gabbro("top", "node").stdout.splitlines()
    assert node[0].split()[:3] == ["NAME", "CPU", "CPUS"] and int(node[1].split()[1].rstrip("m")) > 50, node
    cloud.gabbro("guest", "exec", busy.name, "--", "sh", "-c", "kill $(cat /run/spin); rm /spill")


def test_kubectl_top_shows_what_is_used(busy):
    """(D58) metrics.k8s.io as kubectl wants it: nodes, and machines as Pods; a host that does not answer is left out."""
    cloud = busy.cloud
    node = cloud.get("nodes")["items"][0]["metadata"]["name"]
    rows = [line.split() for line in cloud.kubectl("top", "node").stdout.splitlines()]
    assert rows[0][0] == "NAME" and rows[1][0] == node and rows[1][1].endswith("m") and rows[1][2].endswith("%") and rows[1][3].endswith("Mi"), rows
    pod = next(p["metadata"] for p in cloud.get("pods")["items"] if p["metadata"]["ownerReferences"][0]["name"] == busy.name)
    rows = {line.split()[0]: line.split()[1:] for line in cloud.kubectl("top", "pod").stdout.splitlines()}
    assert rows[pod["name"]][0].endswith("m") and rows[pod["name"]][1].endswith("Mi"), rows
    assert ["default", pod["name"], "machine"] in [line.split()[:3] for line in cloud.kubectl("top", "pod", "-A", "--containers").stdout.splitlines()]
    assert pod["name"] in cloud.kubectl("top", "pod", "-l", "!team").stdout
    assert pod["name"] not in cloud.kubectl("top", "pod", "-l", "team=red", check=False).stdout
    path = "/apis/metrics.k8s.io/v1beta1"
    one = json.loads(cloud.kubectl("get", "--raw", f"{path}/namespaces/default/pods/{pod['name']}").stdout)
    assert one["kind"] == "PodMetrics" and one["metadata"]["namespace"] == "default" and one["window"].endswith("s")
    assert re.fullmatch(r"\d+Ki", one["containers"][0]["usage"]["memory"]) and re.fullmatch(r"\d+m", one["containers"][0]["usage"]["cpu"])
    refused = cloud.kubectl("get", "--raw", f"{path}/nodes/nowhere", check=False)
    assert refused.returncode == 1 and "NotFound" in refused.stderr, refused.stderr
    agent = Daemon(cloud, "agent")
    agent.end()
    try:
        gone = cloud.eventually("nobody tells of the host", lambda: (lambda d: d if not json.loads(d.stdout)["items"] else None)(cloud.kubectl("get", "--raw", f"{path}/nodes")), 90)
        assert json.loads(gone.stdout)["kind"] == "NodeMetricsList"
    finally:
        agent.begin()
        caught_up(cloud)


def pixels(png):
    """(width, height, colours) of an RGB picture."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size = 8, b"", None
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IHDR":
            size = struct.unpack(">II", png[at + 8:at + 16])
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += length + 12
    return (*size, len(set(zlib.decompress(data))))


def test_screenshot_is_a_picture_and_a_right_of_its_own(busy):
    """(D58) PNG of the guest's screen; whoever may only read machines does not see their screens."""
    cloud = busy.cloud
    file = cloud.folder / "looked.png"
    cloud.eventually("its host is connected", lambda: "shows the screen" in cloud.gabbro("screenshot", busy.name, "-o", file, check=False).stdout, 90)
    width, height, colours = pixels(file.read_bytes())
    assert width >= 320 and height >= 200 and colours > 1, (width, height, colours)
    assert file.stat().st_mode & 0o077 == 0
    cloud.gabbro("user", "create", "vera", "--no-password")
    kubeconfig = cloud.folder / "vera.kubeconfig"
    cloud.gabbro("user", "certificate", "vera", "--to", kubeconfig)
    cloud.gabbro("role", "grant", "viewer", "--user", "vera", "-n", "default")

    def vera(*words):
        return cloud.run(BIN / "gabbro", "--kubeconfig", kubeconfig, "-n", "default", *words, check=False)

    refused = vera("screenshot", busy.name, "-o", cloud.folder / "vera.png")
    assert refused.returncode == 1 and "cannot get" in refused.stderr and not (cloud.folder / "vera.png").exists(), refused.stderr
    assert vera("top", "vm").returncode == 0
    assert "you may not see it" in vera("describe", "vm", busy.name).stdout
