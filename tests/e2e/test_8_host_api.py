# SPDX-License-Identifier: Apache-2.0
"""Hosts and the machines on them by paths that name the host first (E46-E52, E54, E56): the same operations, the same rights."""
import json

import pytest
from cloud import KUBECTL

PERMISSIONS = {"start": "Start Child Host", "stop": "Stop Child Host", "restart": "Restart Child Host"}


@pytest.fixture(scope="module")
def machine(cloud):
    if cloud.vm("first-vm")["status"]["phase"] != "Running":
        cloud.gabbro("start", "first-vm", "--wait", timeout=150)
    cloud.wait("vm", "first-vm", "phase=Running", 180)
    return cloud.vm("first-vm")


def post(cloud, path, **more):
    """kubectl sends what it is given to any path of the server."""
    return cloud.kubectl("create", "--raw", path, "-f", "-", input="{}", **more)


def post_as(cloud, token, path):
    """The same with a token alone."""
    server = json.loads(cloud.kubectl("config", "view", "-o", "json").stdout)["clusters"][0]["cluster"]["server"]
    return cloud.run(KUBECTL, "--kubeconfig", "/dev/null", "--server", server, "--certificate-authority", cloud.demo / "gateway/pki/ca.crt",
                     "--token", token, "create", "--raw", path, "-f", "-", input="{}", check=False)


def made(cloud, path):
    return json.loads(post(cloud, path).stdout)["operation"]


def finished(cloud, operation, seconds=120):
    kind, name = operation.split("/")
    cloud.wait(kind, name, "phase=Completed", seconds)
    return cloud.get(kind, name)["spec"]


def test_E50_what_a_host_can_run(cloud, machine):
    node = machine["status"]["nodeName"]
    by_name = json.loads(cloud.kubectl("get", "--raw", f"/api/host/{node}/virtualization/status").stdout)
    by_uid = json.loads(cloud.kubectl("get", "--raw", f"/api/host/{cloud.get('node', node)['metadata']['uid']}/virtualization/status").stdout)
    emulates = cloud.get("node", node)["status"]["virtualization"]["type"] != "kvm"
    assert by_name == by_uid and set(by_name) == {"kvm", "bhyve", "vmm", "lxd", "wsl"}
    assert by_name["kvm"]["capable"] is by_name["kvm"]["ready"] is (not emulates) and ("reason" in by_name["kvm"]) is emulates
    assert not by_name["bhyve"]["capable"] and "FreeBSD" in by_name["bhyve"]["reason"]


def test_E49_what_cannot_be_enabled_says_why(cloud, machine):
    node = machine["status"]["nodeName"]
    for name in ("bhyve", "vmm", "lxd", "wsl"):
        said = post(cloud, f"/api/host/{node}/virtualization/{name}/enable", check=False)
        assert said.returncode and said.stderr, name
    kvm = post(cloud, f"/api/host/{node}/virtualization/kvm/enable", check=False)
    assert kvm.returncode == 0 or "modprobe" in kvm.stderr, kvm


def test_E46_E48_E52_E54_E56_children_are_stopped_started_and_restarted_by_those_who_may(cloud, machine):
    node, uid = machine["status"]["nodeName"], machine["metadata"]["uid"]
    cloud.kubectl("create", "serviceaccount", "stopper")
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = "/api/v1/namespaces/default/serviceaccounts/stopper/token"
    token = json.loads(cloud.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(asked)).stdout)["status"]["token"]
    cloud.kubectl("create", "role", "only-stops", "--verb=create", "--resource=virtualmachineoperations.gabbro.dev/stop")
    cloud.kubectl("create", "rolebinding", "only-stops", "--role=only-stops", "--serviceaccount=default:stopper")
    before = {o["metadata"]["name"] for kind in ("vmop", "nodeop") for o in cloud.get(kind)["items"]}
    for path, permission in ((f"children/{uid}/start", PERMISSIONS["start"]), (f"children/{uid}/restart", PERMISSIONS["restart"]),
                             ("virtualization/kvm/enable", "Enable KVM"), ("virtualization/wsl/enable", "Enable WSL"), ("reboot", "Reboot Host")):
        said = post_as(cloud, token, f"/api/host/{node}/{path}")
        assert said.returncode and f'the permission "{permission}" is missing' in said.stderr, (path, said)
    assert not {o["metadata"]["name"] for kind in ("vmop", "nodeop") for o in cloud.get(kind)["items"]} - before
    children = f"/api/host/{node}/children/{uid}"
    said = post_as(cloud, token, f"{children}/stop")
    assert said.returncode == 0, said
    for verb, phase, operation in (("stop", "Stopped", json.loads(said.stdout)["operation"]), ("start", "Running", None), ("restart", "Running", None)):
        spec = finished(cloud, operation or made(cloud, f"{children}/{verb}"))
        assert (spec["type"], spec["virtualMachineName"]) == (verb.capitalize(), "first-vm")
        cloud.wait("vm", "first-vm", f"phase={phase}", 60)
    assert cloud.vm("first-vm")["status"]["epoch"] == machine["status"]["epoch"] + 2
    for missing in (f"/api/host/{node}/children/{node}/start", "/api/host/nobody/reboot", f"/api/host/{node}/nonsense"):
        assert "NotFound" in post(cloud, missing, check=False).stderr, missing
    cloud.kubectl("delete", "serviceaccount/stopper", "role/only-stops", "rolebinding/only-stops")
