# SPDX-License-Identifier: Apache-2.0
"""Roles from outside, with kubectl, `gabbro role` and the tokens of service accounts: rows D11 to D17, D70 to D72, E52 to E56; attack
groups 15 to 17."""
import base64
import itertools
import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from conftest import BIN

GABBRO = BIN / "gabbro"
OWN, OTHER = "team-own", "team-other"
ROLES = {"viewer": "gabbro:viewer", "operator": "gabbro:operator", "boss": "gabbro:project-admin", "nobody": None}
OWN_GROUP = "/apis/gabbro.dev/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def namespaced(group, plural):
    return lambda namespace: f"{group}/namespaces/{namespace}/{plural}"


class People:
    """One service account for each role, and requests with their tokens."""

    def __init__(self, server):
        self.server = server
        config = server("config", "view", "--raw", "-o", "json")
        cluster = json.loads(config)["clusters"][0]["cluster"]
        self.url = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        self.tokens = {name: self.account(name) for name in ROLES}
        for name, role in ROLES.items():
            if role:
                server("create", "rolebinding", f"of-{name}", "-n", OWN, f"--clusterrole={role}", f"--serviceaccount={OWN}:{name}")

    def account(self, name):
        self.server("create", "serviceaccount", name, "-n", OWN)
        path = f"/api/v1/namespaces/{OWN}/serviceaccounts/{name}/token"
        answer = self.server("create", "--raw", path, "-f", "-",
                             stdin=json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}))
        return json.loads(answer)["status"]["token"]

    def ask(self, name, method, path, body=None):
        """(status, answer) of one request."""
        headers = {"Authorization": "Bearer " + self.tokens[name], "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, headers=headers, data=data)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def kubectl(self, name, *words, stdin=None):
        result = self.server.run("--token", self.tokens[name], *words, stdin=stdin, check=False)
        return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def people(server):
    for namespace in (OWN, OTHER):
        server("create", "namespace", namespace)
    return People(server)


# --- role x verb x kind x own or other project -> answer, asked of the review and tried ------------------------------------------

READ, WRITE = {"get", "list"}, {"create", "update", "delete"}
KINDS = [
    # group, plural, path of a collection, what viewer, operator and boss may with it in their own project
    ("gabbro.dev", "virtualmachines", namespaced(OWN_GROUP, "virtualmachines"), READ, READ, READ | WRITE),
    ("gabbro.dev", "virtualmachineoperations", namespaced(OWN_GROUP, "virtualmachineoperations"), READ, READ | {"create", "delete"},
     READ | WRITE),
    ("", "configmaps", namespaced("/api/v1", "configmaps"), READ, READ, READ | WRITE),
    ("", "secrets", namespaced("/api/v1", "secrets"), set(), set(), READ | WRITE),
    ("", "resourcequotas", namespaced("/api/v1", "resourcequotas"), READ, READ, READ),
    ("rbac.authorization.k8s.io", "rolebindings", namespaced(RBAC, "rolebindings"), READ, READ, READ | WRITE),
    ("", "nodes", lambda namespace: "/api/v1/nodes", set(), set(), set()),
    ("rbac.authorization.k8s.io", "clusterroles", lambda namespace: RBAC + "/clusterroles", set(), set(), set()),
    ("host.gabbro.dev", "instances", lambda namespace: "/apis/host.gabbro.dev/v1/instances", set(), set(), set()),
]
METHODS = {"get": ("GET", "/none"), "list": ("GET", ""), "create": ("POST", ""), "update": ("PUT", "/none"), "delete": ("DELETE", "/none")}


@pytest.mark.parametrize("name", ROLES)
def test_each_right_both_ways_D11_D17_E53_E54_E55(people, name):
    for (group, plural, path, *rights), verb, namespace in itertools.product(KINDS, METHODS, (OWN, OTHER)):
        given = dict(zip(("viewer", "operator", "boss"), rights)).get(name, set())
        cluster = "/namespaces/" not in path(namespace)
        expected = namespace == OWN and verb in given
        attributes = {"verb": verb, "group": group, "resource": plural, "namespace": "" if cluster else namespace}
        status, review = people.ask(name, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                    {"spec": {"resourceAttributes": attributes}})
        assert status == 201
        assert review["status"]["allowed"] is expected, (name, verb, plural, namespace, review["status"])
        method, rest = METHODS[verb]
        status, answer = people.ask(name, method, path(namespace) + rest, [] if verb in ("create", "update") else None)
        assert (status != 403) is expected, (name, method, path(namespace) + rest, answer)
        if status == 403:
            assert answer["kind"] == "Status" and f"cannot {verb} resource \"{plural}\"" in answer["message"]


# --- kubectl ---------------------------------------------------------------------------------------------------------------------

def test_kubectl_makes_and_shows_roles(server):
    server("create", "role", "reader", "-n", OWN, "--verb=get,list,watch", "--resource=virtualmachines.gabbro.dev,virtualdisks.gabbro.dev/status",
           "--resource-name=web")
    server("create", "rolebinding", "reader", "-n", OWN, "--role=reader", "--user=bob", "--group=staff", f"--serviceaccount={OWN}:viewer")
    server("create", "clusterrole", "metrics", "--verb=get", "--non-resource-url=/metrics")
    server("create", "clusterrole", "together", "--aggregation-rule=example.com/part=yes")
    server("create", "clusterrolebinding", "metrics", "--clusterrole=metrics", "--user=prometheus")
    described = server("describe", "role", "reader", "-n", OWN)
    assert "virtualmachines.gabbro.dev" in described and "[web]" in described and "[get list watch]" in described
    described = server("describe", "rolebinding", "reader", "-n", OWN)
    assert "bob" in described and "staff" in described and "ServiceAccount" in described
    wide = server("get", "rolebinding", "reader", "-n", OWN, "-o", "wide")
    assert "role/reader" in wide and "bob" in wide and "staff" in wide and f"{OWN}/viewer" in wide
    assert "gabbro:project-admin" in server("get", "clusterroles")
    assert "/metrics" in server("describe", "clusterrole", "metrics")
    server("delete", "clusterrole/metrics", "clusterrole/together", "clusterrolebinding/metrics")
    server("delete", "-n", OWN, "role/reader", "rolebinding/reader")


def test_kubectl_auth_can_i(people):
    assert people.kubectl("viewer", "auth", "can-i", "get", "vm", "-n", OWN) == (0, "yes\n")
    code, words = people.kubectl("viewer", "auth", "can-i", "delete", "vm", "-n", OWN)
    assert code == 1 and words.startswith("no")
    code, words = people.kubectl("operator", "auth", "can-i", "--list", "-n", OWN)
    assert code == 0 and "virtualmachineoperations.gabbro.dev" in words and "secrets" not in words
    code, words = people.kubectl("nobody", "auth", "can-i", "--list", "-n", OTHER)
    assert code == 0 and "virtualmachineclasses.gabbro.dev" in words and "virtualmachines.gabbro.dev" not in words


def test_a_refusal_says_where_it_is_allowed_attack_16(people):
    code, words = people.kubectl("viewer", "get", "vm", "-A")
    assert code != 0 and "at the cluster scope; it is allowed in the namespaces" in words and OWN in words and OTHER not in words
    for selector in (["--field-selector", f"metadata.namespace={OTHER}"], ["-l", "a=b"]):
        code, words = people.kubectl("viewer", "get", "vm", "-A", *selector)
        assert code != 0 and "forbidden" in words


def test_nobody_gives_what_they_lack_attack_17(people):
    code, words = people.kubectl("boss", "create", "role", "more", "-n", OWN, "--verb=get,delete", "--resource=nodes,secrets")
    assert code != 0 and "attempting to grant RBAC permissions not currently held: delete nodes" in words and "secrets" not in words.split("held:")[1]
    code, words = people.kubectl("boss", "create", "rolebinding", "all", "-n", OWN, "--clusterrole=gabbro:admin", "--user=bob")
    assert code != 0 and "* *.*" in words
    assert people.kubectl("boss", "create", "rolebinding", "bob", "-n", OWN, "--clusterrole=gabbro:operator", "--user=bob")[0] == 0
    assert people.kubectl("boss", "create", "rolebinding", "bob", "-n", OTHER, "--clusterrole=gabbro:viewer", "--user=bob")[0] != 0
    assert people.kubectl("boss", "delete", "rolebinding", "bob", "-n", OWN)[0] == 0


def test_start_is_not_force_off_attack_17_D70_D71_D72(people, server):
    server("create", "role", "starter", "-n", OWN, "--verb=create", "--resource=virtualmachineoperations.gabbro.dev/start")
    server("create", "rolebinding", "starter", "-n", OWN, "--role=starter", f"--serviceaccount={OWN}:nobody")
    answers = {}
    for kind in ("Start", "Stop", "Restart", "ForceOff", "Suspend", "Resume", "Reset"):
        manifest = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineOperation", "metadata": {"generateName": "op-", "namespace": OWN},
                    "spec": {"type": kind, "virtualMachineName": "web"}}
        answers[kind] = people.kubectl("nobody", "create", "-f", "-", stdin=json.dumps(manifest))
    assert answers["Start"][0] == 0, answers
    for kind in ("Stop", "Restart", "ForceOff", "Suspend", "Resume", "Reset"):
        assert answers[kind][0] != 0 and f"virtualmachineoperations/{kind.lower()}" in answers[kind][1]
    server("delete", "-n", OWN, "role/starter", "rolebinding/starter")


# --- a right that goes -----------------------------------------------------------------------------------------------------------

def test_a_watch_ends_within_a_second_attack_16(people, server):
    server("create", "rolebinding", "watcher", "-n", OTHER, "--clusterrole=gabbro:viewer", f"--serviceaccount={OWN}:nobody")
    request = urllib.request.Request(f"{people.url}/api/v1/namespaces/{OTHER}/configmaps?watch=1&resourceVersion=0",
                                     headers={"Authorization": "Bearer " + people.tokens["nobody"]})
    with urllib.request.urlopen(request, context=people.tls, timeout=30) as stream:
        server("create", "configmap", "seen", "-n", OTHER)
        while json.loads(stream.readline())["object"]["metadata"]["name"] != "seen":
            pass
        server("delete", "rolebinding", "watcher", "-n", OTHER)
        deleted = time.monotonic()
        last = json.loads(stream.readline())
        waited = time.monotonic() - deleted
        assert last["type"] == "ERROR" and last["object"]["code"] == 403 and "cannot watch" in last["object"]["message"]
        assert stream.readline() == b"" and waited < 1


# --- names do not reach into another project -------------------------------------------------------------------------------------

def test_names_in_a_specification_stay_in_their_project_attack_16(people, server):
    if server.kind != "gateway":
        return  # nobody follows names in the door alone
    for manifest in [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "seed"}, "stringData": {"userData": "#cloud-config"},
         "type": "provisioning.virtualization.deckhouse.io/cloud-init"},
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": "theirs"}, "spec": {"persistentVolumeClaim": {"size": "1Gi"}}},
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualImage", "metadata": {"name": "theirs"}, "spec": {"dataSource": {"type": "Upload"}}},
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineIPAddress", "metadata": {"name": "theirs"}, "spec": {"type": "Auto"}},
    ]:
        manifest["metadata"]["namespace"] = OTHER
        server("create", "-f", "-", stdin=json.dumps(manifest))
    machine = {"virtualMachineClassName": "generic", "cpu": {"cores": 1}, "memory": {"size": "64Mi"}, "runPolicy": "AlwaysOn",
               "virtualMachineIPAddressName": "theirs", "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "theirs"}],
               "provisioning": {"type": "UserDataRef", "userDataRef": {"kind": "Secret", "name": "seed"}}}
    for name, spec in [("vm", machine), ("slash", {**machine, "blockDeviceRefs": [{"kind": "VirtualDisk", "name": f"{OTHER}/theirs"}]})]:
        status, answer = people.ask("boss", "POST", f"{OWN_GROUP}/namespaces/{OWN}/virtualmachines", {"metadata": {"name": name}, "spec": spec})
        assert status in (201, 422), answer
    elsewhere = {**machine, "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "theirs", "namespace": OTHER}]}
    status, answer = people.ask("boss", "POST", f"{OWN_GROUP}/namespaces/{OWN}/virtualmachines?fieldValidation=Strict",
                                {"metadata": {"name": "named"}, "spec": elsewhere})
    assert 400 <= status < 500 and "namespace" in json.dumps(answer), answer
    disk = {"persistentVolumeClaim": {"size": "1Gi"}, "dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualImage", "name": "theirs"}}}
    status, answer = people.ask("boss", "POST", f"{OWN_GROUP}/namespaces/{OWN}/virtualdisks", {"metadata": {"name": "copy"}, "spec": disk})
    assert status == 201, answer
    server("wait", "vm/vm", "-n", OWN, "--for=condition=BlockDevicesReady=False", "--timeout=20s")
    found = server.json("vm/vm", "-n", OWN)
    conditions = {c["type"]: c for c in found["status"]["conditions"]}
    assert "theirs" in conditions["BlockDevicesReady"]["message"], conditions
    assert conditions.get("VirtualMachineIPAddressReady", {"status": "False"})["status"] != "True", conditions
    lost = server.json("virtualdisk/copy", "-n", OWN)
    assert lost.get("status", {}).get("phase") != "Ready"
    assert "InUse" not in [c["type"] for c in server.json("virtualdisk/theirs", "-n", OTHER)["status"].get("conditions", [])
                           if c["status"] == "True"]
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stolen", "namespace": OTHER}}
    assert people.ask("boss", "POST", f"/api/v1/namespaces/{OTHER}/configmaps", owned)[0] == 403
    assert people.ask("boss", "POST", f"/api/v1/namespaces/{OWN}/configmaps", owned)[0] == 400


# --- gabbro role -----------------------------------------------------------------------------------------------------------------

def gabbro(server, *words, code=0):
    env = dict(os.environ, KUBECONFIG=str(server.config))
    result = subprocess.run([GABBRO, *words], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert result.returncode == code, (words, result.stdout, result.stderr)
    return result.stdout + result.stderr


def test_gabbro_role_grants_tells_and_takes_away(people, server):
    account = f"{OWN}:nobody"
    granted = gabbro(server, "role", "grant", "viewer", "--service-account", account, "-n", OTHER)
    assert "has gabbro:viewer in project team-other" in granted
    assert "already" in gabbro(server, "role", "grant", "viewer", "--service-account", account, "-n", OTHER)
    assert people.ask("nobody", "GET", f"{OWN_GROUP}/namespaces/{OTHER}/virtualmachines")[0] == 200
    assert account in gabbro(server, "role", "list", "-n", OTHER)
    assert f"serviceaccount {account}" in gabbro(server, "role", "who-can", "list", "vm", "-n", OTHER)
    assert account not in gabbro(server, "role", "who-can", "delete", "vm", "-n", OTHER)
    assert account not in gabbro(server, "role", "who-can", "list", "vm", "-n", "default")
    undo = next(line for line in granted.splitlines() if "to undo:" in line).split("to undo: gabbro ")[1].replace("'", "").split()
    assert "no longer has" in gabbro(server, *undo)
    assert people.ask("nobody", "GET", f"{OWN_GROUP}/namespaces/{OTHER}/virtualmachines")[0] == 403
    gabbro(server, *undo, code=3)


def test_gabbro_role_in_the_whole_cloud_E52_E56(people, server):
    server("create", "clusterrole", "rebooter", "--verb=create", "--resource=nodes/reboot")
    gabbro(server, "role", "grant", "rebooter", "--service-account", f"{OWN}:nobody", "--cluster")
    told = gabbro(server, "role", "who-can", "Reboot Host")
    assert f"serviceaccount {OWN}:nobody" in told and "group gabbro:administrators" in told
    assert f"{OWN}:nobody" not in gabbro(server, "role", "who-can", "Enable KVM")
    assert people.kubectl("nobody", "auth", "can-i", "create", "nodes", "--subresource=reboot")[1].startswith("yes\n")
    assert people.kubectl("nobody", "auth", "can-i", "update", "nodes", "--subresource=kvm")[0] == 1
    gabbro(server, "role", "revoke", "rebooter", "--service-account", f"{OWN}:nobody", "--cluster")
    server("delete", "clusterrole", "rebooter")


@pytest.mark.parametrize("words", [("role",), ("role", "grant"), ("role", "grant", "viewer"), ("role", "grant", "viewer", "--user", "a", "--group", "b"),
                                   ("role", "grant", "viewer", "--service-account", "x"), ("role", "who-can", "get"),
                                   ("role", "grant", "r", "--local", "--cluster", "--user", "a"), ("role", "who-can", "get", "nonsense")])
def test_gabbro_role_says_what_is_missing(server, words):
    assert gabbro(server, *words, code=2)


def test_gabbro_role_grants_no_role_that_is_not_there(server):
    assert "no role nonsense" in gabbro(server, "role", "grant", "nonsense", "--user", "bob", code=3)
