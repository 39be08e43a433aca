# SPDX-License-Identifier: Apache-2.0
"""Quotas of projects as kubectl sees them. D11, D59; attacks 18, 19."""
import concurrent.futures
import json
import select
import time

import pytest

from test_once import Gateway

MACHINE = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine",
           "spec": {"virtualMachineClassName": "sized", "cpu": {"cores": 2, "coreFraction": "50%"}, "memory": {"size": "1Gi"},
                    "runPolicy": "Manual", "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "d"}]}}


def machine(name):
    return json.dumps(dict(MACHINE, metadata={"name": name}))


def used(kubectl, quota, expect):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        said = kubectl.json("quota", quota).get("status", {}).get("used")
        if said == expect:
            return
    raise AssertionError(f"{said}, not {expect}")


def test_d59_kubectl_makes_and_describes_a_quota(kubectl):
    kubectl("create", "quota", "q", "--hard=machines=2,cores=5,cpu=2500m,memory=8Gi,count/secrets=1")
    for name in "a", "b":
        kubectl("create", "-f", "-", stdin=machine(name))
    used(kubectl, "q", {"machines": "2", "cores": "4", "cpu": "2", "memory": "2Gi", "count/secrets": "0"})
    lines = [line.split() for line in kubectl("describe", "quota", "q").splitlines()]
    for row in ["machines", "2", "2"], ["cores", "4", "5"], ["cpu", "2", "2500m"], ["memory", "2Gi", "8Gi"]:
        assert row in lines, lines
    assert "machines: 2/2" in kubectl("get", "quota")
    said = kubectl.fails("create", "-f", "-", stdin=machine("c"))
    assert 'virtualmachines.gabbro.dev "c" is forbidden: exceeded quota: q, requested: ' in said
    assert "exceeded quota: q, requested: machines=1, used: machines=2, limited: machines=2" in said
    assert "requested: cores=2, used: cores=4, limited: cores=5" in said and "requested: cpu=1, used: cpu=2, limited: cpu=2500m" in said
    assert "forbidden" in kubectl.fails("create", "--dry-run=server", "-f", "-", stdin=machine("c"))
    kubectl("delete", "vm", "a", "--wait")
    kubectl("create", "-f", "-", stdin=machine("c"))
    said = kubectl.fails("create", "quota", "other", "--hard=pods=3")
    assert "nothing is counted under this name" in said


def test_attack_18_of_many_machines_at_once_as_many_pass_as_fit(kubectl):
    kubectl("create", "quota", "q", "--hard=machines=3")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: kubectl.run("create", "-f", "-", stdin=machine(f"m-{i}"), check=False), range(8)))
    assert sum(result.returncode == 0 for result in results) == 3
    assert all("exceeded quota" in result.stderr for result in results if result.returncode)
    used(kubectl, "q", {"machines": "3"})


def test_d33_a_class_gives_sizes_and_refuses_all_that_breaks_its_policies(kubectl):
    """vm-api 2.5, 3.5: also that kubectl sends a manifest that leaves class and sizes out."""
    name = kubectl.namespace
    kubectl("create", "-f", "-", stdin=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineClass", "metadata": {"name": name},
        "spec": {"cpu": {"type": "Host"}, "defaults": {"cores": 2, "memory": "2Gi"},
                 "sizingPolicies": [{"cores": {"min": 1, "max": 4}, "memory": {"min": "1Gi", "max": "4Gi"}, "coreFractions": ["20%", "100%"],
                                     "defaultCoreFraction": "20%"}]}}))
    kubectl("annotate", "namespace", name, f"gabbro.dev/default-class={name}")
    bare = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": "a"},
            "spec": {"runPolicy": "Manual", "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "d"}]}}
    shown = json.loads(kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(bare)))["spec"]
    assert (shown["virtualMachineClassName"], shown["cpu"], shown["memory"]) == (name, {"cores": 2, "coreFraction": "20%"}, {"size": "2Gi"})
    kubectl("apply", "-f", "-", stdin=json.dumps(bare))
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=json.dumps(bare))
    said = kubectl.fails("patch", "vm", "a", "--type=merge", "-p", json.dumps({"spec": {"cpu": {"coreFraction": "50%"}, "memory": {"size": "8Gi"}}}))
    assert "spec.cpu.coreFraction" in said and "spec.memory.size" in said
    if kubectl.kind == "gateway":
        kubectl("wait", "vm/a", "--for=condition=SizingPolicyMatched", "--timeout=20s")
        kubectl("patch", "vmclass", name, "--type=merge", "-p", json.dumps({"spec": {"defaults": None, "sizingPolicies": [{"cores": {"min": 3, "max": 4}}]}}))
        kubectl("wait", "vm/a", "--for=condition=SizingPolicyMatched=False", "--timeout=20s")
        assert "cores are in no sizing policy" in kubectl.fails("patch", "vm", "a", "--type=merge", "-p", '{"spec":{"osType":"Windows"}}')
        kubectl("label", "vm", "a", "x=y")
    kubectl("delete", "vm", "a")


@pytest.mark.parametrize("told", [True, False])
def test_attack_6_an_image_that_exceeds_the_quota_leaves_nothing(tmp_path, told):
    """images.storage: refused before the first byte when the length is told, else at the end; the space is returned."""
    gateway = Gateway(tmp_path)
    try:
        gateway.begin()
        project = "/api/v1/namespaces/default/resourcequotas"
        images = "/apis/gabbro.dev/v1/namespaces/default/virtualimages"
        assert gateway.ask("POST", project, {"metadata": {"name": "q"}, "spec": {"hard": {"images.storage": "1Ki"}}})[0] == 201
        assert gateway.ask("POST", images, {"metadata": {"name": "i"}, "spec": {"dataSource": {"type": "Upload"}}})[0] == 201
        phase(gateway, images, "WaitForUserUpload")
        data = bytes(4096)
        status, said = gateway.put(f"{images}/i/upload", data if told else iter([data]))
        assert status == 403, said
        assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.read_bytes() == data]
        if not told:
            failed = phase(gateway, images, "Failed")
            assert "exceeded quota: q, requested: images.storage=" in json.dumps(failed["status"]["conditions"])
    finally:
        gateway.end()


def phase(gateway, images, wanted):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        image = gateway.ask("GET", f"{images}/i")[1]
        if image.get("status", {}).get("phase") == wanted:
            return image
        select.select([], [], [], 0.05)
    raise AssertionError(f"{image}, not {wanted}")
