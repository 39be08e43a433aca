# SPDX-License-Identifier: Apache-2.0
"""A namespace takes everything in it along, of every kind that the server knows."""
import json

OWN = "gabbro.dev/v1"
RBAC = "rbac.authorization.k8s.io/v1"
SIZE = {"persistentVolumeClaim": {"size": "1Gi"}}
UPLOAD = {"dataSource": {"type": "Upload"}}


def contents(namespace):
    about = {"kind": "VirtualMachine", "name": "m", "namespace": namespace}
    table = [("v1", "ConfigMap", {"data": {"a": "b"}}), ("v1", "Secret", {"stringData": {"a": "b"}}),
             ("v1", "ServiceAccount", {}),
             ("v1", "Event", {"involvedObject": about, "reason": "Made", "message": "by hand", "type": "Normal"}),
             ("coordination.k8s.io/v1", "Lease", {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 40}}),
             ("v1", "ResourceQuota", {"spec": {"hard": {"cores": "100"}}}),
             (RBAC, "Role", {"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}),
             (RBAC, "RoleBinding", {"roleRef": {"kind": "Role", "name": "m"}, "subjects": [{"kind": "User", "name": "m"}]}),
             (OWN, "SecurityGroup", {"spec": {}}), (OWN, "VirtualDisk", {"spec": SIZE}), (OWN, "VirtualImage", {"spec": UPLOAD}),
             (OWN, "Callback", {"spec": {"url": "https://example.org/hook"}}),
             (OWN, "VirtualMachineIPAddress", {"spec": {"type": "Auto"}}),
             (OWN, "VirtualMachine", {"spec": {"virtualMachineClassName": "nowhere", "cpu": {"cores": 1}, "memory": {"size": "1Gi"},
                                               "virtualMachineIPAddressName": "m", "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "m"}]}}),
             (OWN, "VirtualMachineBlockDeviceAttachment", {"spec": {"virtualMachineName": "m", "blockDeviceRef": {"kind": "VirtualImage", "name": "m"}}}),
             (OWN, "VirtualMachineOperation", {"spec": {"virtualMachineName": "m", "type": "Start"}})]
    return [{"apiVersion": api, "kind": kind, "metadata": {"name": "m", "namespace": namespace}, **more} for api, kind, more in table]


def namespaced_kinds(kubectl):
    return sorted(set(kubectl("api-resources", "--namespaced", "--verbs=list,create", "-o", "name").split()))


def left(kubectl, kinds, namespace):
    found = {}
    for kind in kinds:
        items = json.loads(kubectl("get", kind, "-n", namespace, "-o", "json"))["items"]
        if items:
            found[kind] = [item["metadata"]["name"] for item in items]
    return found


def test_a_namespace_takes_one_of_every_kind_along(kubectl):
    kinds = namespaced_kinds(kubectl)
    kubectl("create", "namespace", "full")
    for manifest in contents("full"):
        kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    assert set(left(kubectl, kinds, "full")) == set(kinds), "one of each kind is there before"
    kubectl("delete", "namespace", "full", "--timeout=60s")
    assert left(kubectl, kinds, "full") == {}
    assert "namespace/full" not in kubectl("get", "namespaces", "-o", "name").split()
