# SPDX-License-Identifier: Apache-2.0
"""The Pod of a machine that a host holds, and what kubectl drain makes of it (requirements D18, D19; attack A18)."""
import pytest


@pytest.fixture(scope="module")
def node(cloud):
    if cloud.vm("first-vm")["status"]["phase"] != "Running":
        cloud.gabbro("start", "first-vm", "--wait", timeout=150)
    cloud.wait("vm", "first-vm", "phase=Running", 180)
    yield cloud.vm("first-vm")["status"]["nodeName"]
    cloud.kubectl("uncordon", cloud.vm("first-vm")["status"].get("nodeName") or cloud.get("nodes")["items"][0]["metadata"]["name"])


def refused(cloud, *words, **more):
    result = cloud.kubectl(*words, check=False, **more)
    assert result.returncode != 0, result.stdout
    return result.stderr


def test_D18_pods_show_what_a_host_holds(cloud, node):
    pod = cloud.get("pod", "first-vm")
    machine = cloud.vm("first-vm")
    assert pod["spec"]["nodeName"] == node and pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"] == machine["status"]["ipAddress"]
    assert [(o["kind"], o["uid"], o["controller"]) for o in pod["metadata"]["ownerReferences"]] == [("VirtualMachine", machine["metadata"]["uid"], True)]
    shown = cloud.kubectl("get", "pods").stdout.split("\n")[1].split()
    assert shown[:4] == ["first-vm", "True", "Running", str(pod["status"]["containerStatuses"][0]["restartCount"])]
    assert "first-vm" in cloud.kubectl("describe", "node", node).stdout.split("Non-terminated Pods")[1]
    assert "VirtualMachine/first-vm" in cloud.kubectl("describe", "pod", "first-vm").stdout
    assert "pod/" not in cloud.kubectl("get", "all", "-o", "name").stdout


def test_pods_are_written_by_nobody(cloud, node):
    for words in (("delete", "pod", "first-vm"), ("label", "pod", "first-vm", "a=b"), ("run", "x", "--image=y")):
        assert "gabbro stop" in refused(cloud, *words)


@pytest.mark.parametrize("words,answer", [
    (("logs", "first-vm"), "gabbro console first-vm -n default"), (("exec", "first-vm", "--", "ls"), "gabbro console first-vm -n default"),
    (("attach", "first-vm"), "gabbro console first-vm -n default"), (("port-forward", "first-vm", "8080:80"), "address"),
    (("cp", "first-vm:/etc/hostname", "/tmp/x"), "gabbro console first-vm -n default")])
def test_what_is_for_containers_gets_one_clear_answer(cloud, node, words, answer):
    said = refused(cloud, *words)
    assert answer in said, said


def test_D18_a_drain_says_why_the_machine_stays(cloud, node):
    drain = refused(cloud, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
    assert "there is no other host" in drain and "gabbro stop first-vm -n default" in drain and "timeout reached" not in drain, drain
    own = cloud.gabbro("drain", node, check=False)
    assert own.returncode == 1 and "nothing was begun" in own.stderr and "--stop" in own.stderr, own
    assert "default/first-vm stays: there is no other host" in own.stdout
    assert cloud.get("node", node)["spec"]["unschedulable"] is True
    assert cloud.vm("first-vm")["status"]["phase"] == "Running"


def test_D18_D19_a_drain_stops_machines_that_allow_it(cloud, node):
    """A18: asked twice, it is stopped once; uncordoned in the middle, it ends all the same."""
    cloud.kubectl("annotate", "vm", "first-vm", "gabbro.dev/eviction-policy=Stop")
    assert "evicting pod default/first-vm (server dry run)" in cloud.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
                                                                             "--dry-run=server").stdout
    assert cloud.vm("first-vm")["status"]["phase"] == "Running"
    said = cloud.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s").stdout
    assert "pod/first-vm evicted" in said
    assert cloud.vm("first-vm")["status"]["phase"] == "Stopped"
    assert cloud.domstate("first-vm") == "shut off"
    orders = [o for o in cloud.get("vmop")["items"] if o["metadata"]["name"].startswith("evict-")]
    assert [o["spec"]["type"] for o in orders] == ["Stop"]
    start = cloud.gabbro("start", "first-vm", check=False)
    assert start.returncode == 0, start.stderr
    cloud.kubectl("uncordon", node)
    cloud.wait("vm", "first-vm", "phase=Running", 120)
    cloud.kubectl("annotate", "vm", "first-vm", "gabbro.dev/eviction-policy-")
