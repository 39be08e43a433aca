# SPDX-License-Identifier: Apache-2.0
"""Newer kubectls: those that this machine has (kubectl.1.27 and on, beside the one in the path), and, on every machine, the requests that
distinguish 1.27 to 1.33 from 1.20, replayed. GABBRO_LONG=1 takes every version that is there, otherwise the oldest and the newest."""
import json
import os
import pathlib
import re
import shutil

import pytest
from conftest import Kubectl
from test_kubectl import apply, vm
from test_kubectl_walk import CONFIGMAP, Raw, maps

PROTOBUF = b"k8s\0"


def there():
    """Version -> program."""
    found = {}
    for name in filter(None, [shutil.which("kubectl"), os.environ.get("GABBRO_NEWER_KUBECTL")]):
        for path in pathlib.Path(name).resolve().parent.glob("kubectl.1.*"):
            if (minor := int(path.name.split(".")[-1])) >= 27:
                found[minor] = path
    versions = sorted(found)
    chosen = versions if os.environ.get("GABBRO_LONG") == "1" else versions[:1] + versions[1:][-1:]
    return {f"1.{v}": found[v] for v in chosen}


NEWER = there()


class Newer(Kubectl):
    def argv(self, *words):
        return [str(self.program), *[str(word) for word in words]]


@pytest.fixture
def raw(kubectl):
    with Raw(kubectl) as opened:
        yield opened


if NEWER:
    @pytest.fixture(params=NEWER)
    def newer(request, kubectl):
        made = Newer(kubectl.kind, kubectl.config, kubectl.folder)
        made.program, made.namespace, made.version = NEWER[request.param], kubectl.namespace, tuple(map(int, request.param.split(".")))
        return made

    def test_a_newer_kubectl_makes_and_changes(newer):
        assert "created" in apply(newer, vm())
        assert "unchanged" in apply(newer, vm())
        changed = newer.run("apply", "-f", "-", stdin=vm(cores=4))
        assert "configured" in changed.stdout and "warning" not in changed.stderr.lower(), changed.stderr
        assert newer("get", "vm", "--no-headers").split()[0] == "a"
        diff = newer.run("diff", "-f", "-", stdin=vm(cores=6), check=False)
        assert diff.returncode == 1 and re.search(r"^\+\s+cores: 6$", diff.stdout, re.M) and "warning" not in diff.stderr.lower(), diff.stderr
        assert "dry run" in apply(newer, vm(cores=6), "--dry-run=server")
        assert newer.json("vm", "a")["spec"]["cpu"]["cores"] == 4
        newer("patch", "vm", "a", "--type=merge", "-p", '{"spec":{"cpu":{"cores":2}}}')
        newer("label", "vm", "a", "x=y")
        newer("annotate", "vm", "a", "x=y")
        assert "deleted" in newer("delete", "vm", "a")

    def test_a_newer_kubectl_makes_built_in_kinds(newer):
        """From 1.32 on these bodies are protobuf, and nothing else is tried."""
        for words in (["create", "namespace", f"{newer.namespace[:40]}-x"], ["create", "secret", "generic", "s", "--from-literal=a=b"],
                      ["create", "configmap", "c", "--from-literal=a=b"]):
            assert "created" in newer(*words)
        assert newer("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
        assert newer("auth", "can-i", "create", "vm").strip() == "yes"
        assert "*.*" in newer("auth", "can-i", "--list")
        newer("delete", "namespace", f"{newer.namespace[:40]}-x")

    def test_a_newer_kubectl_explains_and_refuses_unknown_fields(newer):
        assert "coreFraction" in newer("explain", "vm.spec.cpu") and "cores" in newer("explain", "vm", "--recursive")
        assert "spec.nonsense: Unknown field" in newer.fails("apply", "-f", "-", stdin=vm() + "  nonsense: 1\n")
        assert "created" in newer("apply", "--validate=ignore", "-f", "-", stdin=vm("b") + "  nonsense: 1\n")

    def test_a_newer_kubectl_waits_and_watches(newer):
        apply(newer, vm())
        assert "condition met" in newer("wait", "vm/a", "--for=condition=VirtualMachineClassReady=false", "--timeout=20s")
        assert "condition met" in newer("wait", "vm/a", "--for=jsonpath={.status.phase}=Stopped", "--timeout=20s")
        with newer.popen("get", "vm", "-w", "--output-watch-events") as watch:
            assert watch.line().split()[:2] == ["EVENT", "NAME"]
            assert watch.line().split()[:2] == ["ADDED", "a"]
            newer("delete", "vm", "a", "--wait=false")
            while watch.line().split()[0] != "DELETED":
                pass
        newer("wait", "--for=delete", "vm/a", "--timeout=20s")


# --- replayed ----------------------------------------------------------------------------------------------------------------------------

AGGREGATED = ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
              "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json")


def message(number, *parts):
    """A protobuf field of bytes."""
    body = b"".join(parts)
    size, rest = b"", len(body)
    while True:
        size += bytes([rest & 127 | (128 if rest > 127 else 0)])
        rest >>= 7
        if not rest:
            return bytes([number << 3 | 2]) + size + body


def enveloped(api_version, kind, *parts):
    return PROTOBUF + message(1, message(1, api_version.encode()), message(2, kind.encode())) + message(2, *parts)


def test_replay_of_aggregated_discovery(raw):
    for path, single in (("/api", "APIVersions"), ("/apis", "APIGroupList")):
        status, told = raw("GET", path, Accept=AGGREGATED)
        assert status == 200 and told["kind"] in (single, "APIGroupDiscoveryList")


def test_replay_of_the_openapi_index_and_its_documents(raw):
    index = raw("GET", "/openapi/v3")[1]["paths"]
    url = index["apis/gabbro.dev/v1"]["serverRelativeURL"]
    assert re.search(r"\?hash=\w+$", url)
    document = raw("GET", url)[1]
    machine = next(s for s in document["components"]["schemas"].values()
                   if {"group": "gabbro.dev", "version": "v1", "kind": "VirtualMachine"} in s.get("x-kubernetes-group-version-kind", []))
    assert machine["properties"]["spec"]
    patch = document["paths"]["/apis/gabbro.dev/v1/namespaces/{namespace}/virtualmachines/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"], "what it says it takes, it takes"
    assert {"dryRun", "fieldValidation"} <= {p["name"] for p in patch["parameters"]}
    core = raw("GET", index["api/v1"]["serverRelativeURL"])[1]
    assert "application/strategic-merge-patch+json" in core["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"]["requestBody"]["content"]


@pytest.mark.parametrize("level,code", [("Strict", 422), ("Ignore", 201), ("Nonsense", 422)])
def test_replay_of_field_validation(kubectl, raw, level, code):
    body = {**CONFIGMAP, "nonsense": {"a": 1}}
    with raw.open("POST", maps(kubectl, f"?fieldManager=kubectl-create&fieldValidation={level}"), body, Content_Type="application/json") as answer:
        assert answer.status == code, answer.read()
        text = json.loads(answer.read())
    if level == "Strict":
        assert text["reason"] == "Invalid" and text["details"]["causes"][0]["field"] == "nonsense"


def test_replay_of_protobuf_bodies(kubectl, raw):
    """create namespace, secret and configmap, and can-i, of 1.32 and on; the answers may be JSON."""
    kind = {"Content_Type": "application/vnd.kubernetes.protobuf", "Accept": "application/vnd.kubernetes.protobuf,application/json"}
    name = kubectl.namespace[:40] + "-pb"
    status, told = raw("POST", "/api/v1/namespaces?fieldManager=kubectl-create&fieldValidation=Strict",
                       enveloped("v1", "Namespace", message(1, message(1, name.encode()))), **kind)
    assert status == 201 and told["metadata"]["name"] == name
    data = message(2, message(1, b"a"), message(2, b"b"))
    status, told = raw("POST", f"/api/v1/namespaces/{name}/secrets", enveloped("v1", "Secret", message(1, message(1, b"s")), data, message(3, b"Opaque")), **kind)
    assert status == 201 and told["data"] == {"a": "Yg=="} and told["type"] == "Opaque"
    status, told = raw("POST", f"/api/v1/namespaces/{name}/configmaps", enveloped("v1", "ConfigMap", message(1, message(1, b"c")), data), **kind)
    assert status == 201 and told["data"] == {"a": "b"}
    attributes = message(1, message(2, b"create"), message(3, b"gabbro.dev"), message(5, b"virtualmachines"))
    status, told = raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                       enveloped("authorization.k8s.io/v1", "SelfSubjectAccessReview", message(1, b""), message(2, attributes)), **kind)
    assert status == 201 and told["status"]["allowed"] is True
    for broken in (PROTOBUF, PROTOBUF + b"\xff" * 40, b"k8s", enveloped("v1", "ConfigMap", b"\x0a\xff\xff\xff\xff\x0f"), b"\x0a" * 5000):
        assert raw("POST", f"/api/v1/namespaces/{name}/configmaps", broken, **kind)[0] == 400
    kubectl("delete", "namespace", name, "--wait=false")


def test_replay_of_the_rules_review(kubectl, raw):
    status, told = raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                       {"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {"namespace": kubectl.namespace}},
                       Content_Type="application/json")
    assert status == 201 and told["status"]["resourceRules"] and told["status"]["incomplete"] is False


def test_replay_of_a_wait_by_name(kubectl, raw):
    kubectl("create", "configmap", "a", "--from-literal=a=b")
    listed = raw("GET", maps(kubectl, "?fieldSelector=metadata.name%3Da"))[1]
    assert listed["kind"] == "ConfigMapList" and len(listed["items"]) == 1
    query = f"?allowWatchBookmarks=true&fieldSelector=metadata.name%3Da&resourceVersion={listed['metadata']['resourceVersion']}&timeoutSeconds=60&watch=true"
    with raw.open("GET", maps(kubectl, query)) as stream:
        kubectl("delete", "cm", "a")
        assert json.loads(stream.readline())["type"] == "DELETED"
