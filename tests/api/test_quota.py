# SPDX-License-Identifier: Apache-2.0
"""Quotas of projects as kubectl sees them. D11, D59; attack 18."""
import concurrent.futures
import json
import time

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
