# SPDX-License-Identifier: Apache-2.0
"""The walk: what Debian's unmodified kubectl 1.20 asks and does, command by command (D11-D19, D63, D64).

test_kubectl.py says what comes out; here is what goes over the wire for it, and what the commands do that are rarer.
"""
import concurrent.futures
import json
import pathlib
import re
import subprocess
import urllib.parse
import urllib.request

import pytest
from test_kubectl import ALIAS, OWN, apply, vm

CONFIGMAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}


def asked(kubectl, *words, stdin=None, code=0):
    """(method, path with its query, status) of every request that a command makes."""
    result = kubectl.run(*words, "-v=6", stdin=stdin, check=False)
    assert result.returncode == code, result.stderr
    found = re.findall(r"\] (GET|POST|PUT|PATCH|DELETE) https://[^/ ]+(\S+) (\d+)", result.stderr)
    return [(method, urllib.parse.unquote(path), int(status)) for method, path, status in found]


def resource_requests(requests):
    """Without what kubectl looks up about the server itself."""
    return [r for r in requests if not re.match(r"/(openapi|version|apis?(\?|$)|api/v1\?|apis/[^/]+/[^/?]+\?)", r[1])]


class Raw:
    """Plain requests with the headers that one wants, over kubectl's own proxy: credentials and TLS are its business."""

    def __init__(self, kubectl):
        self.proxy = kubectl.popen("proxy", "--port=0", "--accept-hosts=.*", "--reject-methods=^$", "--reject-paths=^$")
        self.base = "http://" + re.search(r"(127\.0\.0\.1:\d+)", self.proxy.line()).group(1)

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.proxy.__exit__(*details)

    def open(self, method, path, body=None, **headers):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
        try:
            return urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            return error

    def __call__(self, method, path, body=None, **headers):
        with self.open(method, path, body, **headers) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] in b"{[" else text


@pytest.fixture
def raw(kubectl):
    with Raw(kubectl) as opened:
        yield opened


def maps(kubectl, rest=""):
    return f"/api/v1/namespaces/{kubectl.namespace}/configmaps{rest}"


# --- discovery and what is about the server ----------------------------------------------------------------------------------------------


def test_version_is_words(kubectl):
    told = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    assert all(isinstance(value, str) for value in told.values())
    assert re.fullmatch(r"v\d+\.\d+\.\d+\S*", told["gitVersion"]) and told["major"] == "1"


def test_discovery_has_what_a_mapper_needs(kubectl):
    groups = json.loads(kubectl("get", "--raw", "/apis"))
    assert groups["kind"] == "APIGroupList"
    assert {g["name"] for g in groups["groups"]} >= {"gabbro.dev", "virtualization.deckhouse.io", "authorization.k8s.io", "coordination.k8s.io"}
    assert json.loads(kubectl("get", "--raw", "/api"))["versions"] == ["v1"]
    for group in groups["groups"]:
        for version in group["versions"]:
            listed = json.loads(kubectl("get", "--raw", "/apis/" + version["groupVersion"]))
            assert listed["kind"] == "APIResourceList" and listed["groupVersion"] == version["groupVersion"]
            for resource in listed["resources"]:
                assert {"name", "singularName", "namespaced", "kind", "verbs"} <= resource.keys(), resource
    own = {r["name"]: r for r in json.loads(kubectl("get", "--raw", "/apis/gabbro.dev/v1"))["resources"]}
    assert own["virtualmachines"]["shortNames"] == ["vm"] and own["virtualmachines"]["categories"][0] == "all"
    assert set(own["virtualmachines/status"]["verbs"]) == {"get", "patch", "update"}


def test_discovery_is_cached_and_a_full_name_is_enough(kubectl):
    kubectl("get", "vm")
    assert [r[:2] for r in asked(kubectl, "get", "vm")] == [("GET", f"/apis/gabbro.dev/v1/namespaces/{kubectl.namespace}/virtualmachines?limit=500")]
    assert "No resources" in kubectl.run("get", "virtualmachines.v1.gabbro.dev").stderr
    assert "No resources" in kubectl.run("get", "virtualmachines.v1alpha2.virtualization.deckhouse.io").stderr


def test_api_resources_by_group_verb_and_scope(kubectl):
    names = kubectl("api-resources", "--api-group=gabbro.dev", "--namespaced=true", "--verbs=create", "-o", "name").split()
    assert "virtualmachines.gabbro.dev" in names and "virtualmachineclasses.gabbro.dev" not in names
    assert "virtualmachineclasses.gabbro.dev" in kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    assert {OWN, ALIAS, "v1"} <= set(kubectl("api-versions").split())


def test_the_openapi_document_is_protobuf_by_its_name(raw):
    wanted = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    with raw.open("GET", "/openapi/v2", Accept=wanted) as answer:
        assert answer.status == 200 and answer.headers["Content-Type"] == wanted.replace("@", ".")
        assert answer.read(1) == b"\n"
    assert raw("GET", "/openapi/v2", Accept="application/json")[1]["swagger"] == "2.0"


def test_explain_goes_through_every_level(kubectl):
    for path in ("vm", "vm.spec", "vm.spec.blockDeviceRefs", "vm.status.conditions.reason", "vmclass.spec.sizingPolicies", "node.spec.taints", "secret.data"):
        assert "DESCRIPTION:" in kubectl("explain", path), path
    assert "coreFraction\t<string>" in kubectl("explain", "vm", "--recursive")
    assert "VERSION:  virtualization.deckhouse.io/v1alpha2" in kubectl("explain", "vm", "--api-version=" + ALIAS)


def test_what_the_server_does_not_have_is_said(kubectl):
    """Commands of Kubernetes' own workloads: each ends at once, with words and not with a stack."""
    for words in (["cluster-info"], ["rollout", "status", "vm/a"], ["create", "deployment", "x", "--image=y"],
                  ["scale", "vm/a", "--replicas=2"]):
        said = kubectl.fails(*words)
        assert re.search(r"doesn't have|no kind|NotFound|could not find|not found|no matches|not registered", said, re.I), (words, said)
    assert "pods show the machines that hosts hold" in kubectl.fails("run", "x", "--image=y")


# --- reading -----------------------------------------------------------------------------------------------------------------------------


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"


def test_tables_are_as_a_printer_needs_them(kubectl, raw):
    apply(kubectl, vm())
    status, table = raw("GET", f"/apis/gabbro.dev/v1/namespaces/{kubectl.namespace}/virtualmachines?limit=500", Accept=TABLE)
    assert status == 200 and (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["metadata"]["resourceVersion"]
    columns = table["columnDefinitions"]
    assert columns[0]["format"] == "name" and all({"name", "type", "format", "description", "priority"} <= c.keys() for c in columns)
    assert any(c["priority"] > 0 for c in columns)
    row = table["rows"][0]
    assert len(row["cells"]) == len(columns) and row["object"]["kind"] == "PartialObjectMetadata" and "spec" not in row["object"]
    assert re.fullmatch(r"\d+[smhd]", row["cells"][[c["name"].lower() for c in columns].index("age")])
    for include, expected in (("Object", "VirtualMachine"), ("None", None)):
        table = raw("GET", f"/apis/gabbro.dev/v1/namespaces/{kubectl.namespace}/virtualmachines?includeObject={include}", Accept=TABLE)[1]
        assert (table["rows"][0].get("object") or {}).get("kind") == expected


def test_sorting_asks_for_whole_objects(kubectl):
    for name in ("b", "a"):
        kubectl("create", "configmap", name, "--from-literal=a=b")
    requests = asked(kubectl, "get", "cm", "--sort-by=.metadata.name")
    assert requests[-1][1] == maps(kubectl, "?includeObject=Object")
    assert kubectl("get", "cm", "--sort-by=.metadata.name", "--no-headers").split()[0] == "a"


def test_pages_go_on_and_stay_valid(kubectl, raw):
    for i in range(5):
        kubectl("create", "configmap", f"c{i}", "--from-literal=a=b")
    assert len(asked(kubectl, "get", "cm", "--chunk-size=2", "-o", "json")) == 3
    first = raw("GET", maps(kubectl, "?limit=2"))[1]
    assert first["metadata"]["remainingItemCount"] == 3
    kubectl("delete", "cm", "c1", "c2")
    kubectl("create", "configmap", "c9", "--from-literal=a=b")
    status, rest = raw("GET", maps(kubectl, "?limit=9&continue=" + urllib.parse.quote(first["metadata"]["continue"])))
    assert status == 200 and {i["metadata"]["name"] for i in rest["items"]} >= {"c3", "c4"}


def test_selectors_of_every_form(kubectl):
    for name, labels in (("a", ["x=1", "y=2"]), ("b", ["x=2"]), ("c", ["y=1"])):
        kubectl("create", "configmap", name, "--from-literal=a=b")
        kubectl("label", "configmap", name, *labels)
    for selector, names in (("x", "ab"), ("!x", "c"), ("x=1", "a"), ("x==1", "a"), ("x!=1", "bc"), ("x in (1,2)", "ab"), ("x notin (1)", "bc"),
                            ("x,y", "a"), ("y in (1),!x", "c")):
        assert kubectl("get", "cm", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}").split() == list(names), selector
    for selector, names in (("metadata.name=a", "a"), ("metadata.name==a", "a"), ("metadata.name!=a", "bc"),
                            (f"metadata.namespace={kubectl.namespace},metadata.name!=a", "bc")):
        assert kubectl("get", "cm", "--field-selector", selector, "-o", "jsonpath={.items[*].metadata.name}").split() == list(names), selector
    assert "unable to parse" in kubectl.fails("get", "cm", "-l", "x in (") or "BadRequest" in kubectl.fails("get", "cm", "-l", "x in (")


def test_get_of_several_kinds_and_files(kubectl, tmp_path):
    apply(kubectl, vm())
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    assert set(kubectl("get", "vm,cm", "-o", "name").split()) == {"virtualmachine.gabbro.dev/a", "configmap/c"}
    assert kubectl("get", "vm/a", "cm/c", "-o", "name").count("\n") == 2
    path = tmp_path / "vm.yaml"
    path.write_text(vm())
    assert kubectl("get", "-f", path, "-o", "name").strip() == "virtualmachine.gabbro.dev/a"
    assert "a" in kubectl("get", "vm", "--all-namespaces", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert kubectl("get", "vm", "a", "-o", "go-template={{.spec.memory.size}}") == "1Gi"


def test_a_watch_lists_and_goes_on_from_there(kubectl):
    kubectl("create", "configmap", "a", "--from-literal=a=b")
    with kubectl.popen("get", "cm", "-w", "-v=6") as watch:
        lines = [watch.line() for _ in range(2)]
        while "watch=true" not in lines[-1]:
            lines.append(watch.line())
    listed, watched = [re.search(r"https://[^/]+(\S+)", line).group(1) for line in lines if " GET https" in line]
    assert listed.endswith("configmaps?limit=500") and re.search(r"\?resourceVersion=[1-9]\d*&watch=true$", watched)


def test_watching_one_name_begins_with_it(raw, kubectl):
    kubectl("create", "configmap", "a", "--from-literal=a=b")
    kubectl("create", "configmap", "b", "--from-literal=a=b")
    with raw.open("GET", maps(kubectl, "?fieldSelector=metadata.name%3Da&resourceVersion=0&watch=true&timeoutSeconds=1")) as stream:
        events = [json.loads(line) for line in stream]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "a")]


def test_no_bookmark_is_sent_to_those_who_do_not_ask(raw, kubectl):
    """This kubectl prints one as an object that is not there."""
    kubectl("create", "configmap", "a", "--from-literal=a=b")
    with raw.open("GET", maps(kubectl, "?watch=true&resourceVersion=0&timeoutSeconds=1")) as stream:
        assert [json.loads(line)["type"] for line in stream] == ["ADDED"]


def test_a_watch_that_the_server_ends_is_no_fault(raw, kubectl, tmp_path_factory):
    from conftest import Kubectl, start
    folder = tmp_path_factory.mktemp("ending")
    process, config = start(kubectl.kind, folder)
    other = Kubectl(kubectl.kind, config, folder)
    with other.popen("get", "ns", "-w") as watch:
        assert watch.line().split()[0] == "NAME"
        other("create", "ns", "one-more")
        while "one-more" not in watch.line():
            pass
        process.terminate()
        assert process.wait(20) == 0
        assert watch.wait(20) == 0


def test_revisions_that_are_no_more_are_gone(raw, kubectl):
    status, told = raw("GET", maps(kubectl, "?watch=true&resourceVersion=999999999"))
    assert status == 410 or told.get("code") == 410, told
    assert raw("GET", maps(kubectl, "?resourceVersion=nonsense"))[0] in (400, 422)


def test_wait_for_a_condition(kubectl):
    apply(kubectl, vm())
    assert "condition met" in kubectl("wait", "vm/a", "--for=condition=VirtualMachineClassReady=false", "--timeout=20s")
    assert "condition met" in kubectl("wait", "vm", "--all", "--for=condition=SizingPolicyMatched=False", "--timeout=20s")
    assert "timed out" in kubectl.fails("wait", "vm/a", "--for=condition=Nonsense", "--timeout=1s")
    assert "no matching resources" in kubectl.fails("wait", "vm", "-l", "none=here", "--for=condition=x", "--timeout=1s")


# --- writing -----------------------------------------------------------------------------------------------------------------------------


def test_apply_asks_for_no_more_than_it_must(kubectl):
    text, path = json.dumps(CONFIGMAP), maps(kubectl)
    requests = resource_requests(asked(kubectl, "apply", "-f", "-", stdin=text))
    assert [(r[0], r[2]) for r in requests if r[1].startswith(path)] == [("GET", 404), ("POST", 201)]
    assert requests[-1][1].endswith("?fieldManager=kubectl-client-side-apply")
    requests = resource_requests(asked(kubectl, "apply", "-f", "-", stdin=text))
    assert [(r[0], r[2]) for r in requests] == [("GET", 200)]
    requests = resource_requests(asked(kubectl, "apply", "-f", "-", stdin=json.dumps({**CONFIGMAP, "data": {"k": "w"}})))
    assert [(r[0], r[2]) for r in requests] == [("GET", 200), ("PATCH", 200)]


def test_apply_of_own_kinds_replaces_lists_and_of_core_kinds_merges_them(kubectl):
    apply(kubectl, vm())
    said = kubectl.run("apply", "-f", "-", "-v=8", stdin=vm(cores=4)).stderr
    assert "Content-Type: application/merge-patch+json" in said
    said = kubectl.run("apply", "-f", "-", stdin=json.dumps(CONFIGMAP)).stderr
    said = kubectl.run("apply", "-f", "-", "-v=8", stdin=json.dumps({**CONFIGMAP, "data": {"k": "w"}})).stderr
    assert "Content-Type: application/strategic-merge-patch+json" in said


def test_apply_takes_away_what_the_file_no_longer_has(kubectl):
    apply(kubectl, vm().replace("    app: web", "    app: web\n    gone: soon"))
    kubectl("label", "vm", "a", "mine=stays")
    apply(kubectl, vm())
    assert kubectl.json("vm", "a")["metadata"]["labels"] == {"app": "web", "mine": "stays"}


def test_apply_a_folder_and_prune(kubectl, tmp_path):
    (tmp_path / "one.yaml").write_text(vm("one") + "---\n" + vm("two"))
    (tmp_path / "two.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [CONFIGMAP]}))
    assert kubectl("apply", "-f", tmp_path).count("created") == 3
    (tmp_path / "one.yaml").write_text(vm("one"))
    out = kubectl("apply", "-f", tmp_path, "--prune", "-l", "app=web", "--prune-whitelist=gabbro.dev/v1/VirtualMachine")
    assert "virtualmachine.gabbro.dev/two pruned" in out
    assert "one" in kubectl("get", "vm", "-o", "name") and "two" not in kubectl("get", "vm", "-o", "name")


def test_conflicts_are_retried_by_apply(kubectl):
    """Eight at once: each tries again until its patch is in."""
    apply(kubectl, json.dumps(CONFIGMAP))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(kubectl, "annotate", "cm", "a", f"n{i}=x") for i in range(8)]
        assert all("annotated" in job.result() for job in jobs)
    assert len([k for k in kubectl.json("cm", "a")["metadata"]["annotations"] if k.startswith("n")]) == 8


def test_a_body_without_a_type_is_json(kubectl):
    """create secret and create namespace of 1.20 send none."""
    said = kubectl.run("create", "secret", "generic", "s", "--from-literal=a=b", "-v=8").stderr
    request = said[said.index("POST https"):]
    assert "Content-Type" not in request[:request.index("Response Status")]
    assert "201 Created" in request


def test_create_variants_of_secrets_and_maps(kubectl, tmp_path):
    (tmp_path / "file").write_bytes(b"\x00\xff binary")
    kubectl("create", "configmap", "c", f"--from-file=x={tmp_path}/file", "--from-literal=y=z")
    made = kubectl.json("cm", "c")
    assert made["data"] == {"y": "z"} and made["binaryData"] == {"x": "AP8gYmluYXJ5"}
    kubectl("create", "secret", "docker-registry", "d", "--docker-username=u", "--docker-password=p", "--docker-server=s.example")
    assert kubectl.json("secret", "d")["type"] == "kubernetes.io/dockerconfigjson"
    key, cert = tmp_path / "k", tmp_path / "c"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                    "-subj", "/CN=x", "-days", "1"], check=True, capture_output=True)
    kubectl("create", "secret", "tls", "t", f"--key={key}", f"--cert={cert}")
    assert kubectl("get", "secret", "t", "-o", "jsonpath={.type}") == "kubernetes.io/tls"
    assert "dry run" in kubectl("create", "configmap", "n", "--dry-run=server")
    assert "not found" in kubectl.fails("get", "cm", "n")


def test_edit_with_a_change(kubectl):
    apply(kubectl, vm())
    env, kubectl.env = kubectl.env, dict(kubectl.env, KUBE_EDITOR="sed -i 's/cores: 2/cores: 4/'")
    try:
        assert "edited" in kubectl("edit", "vm", "a")
        assert kubectl.json("vm", "a")["spec"]["cpu"]["cores"] == 4
        kubectl.env["KUBE_EDITOR"] = "sed -i 's/cores: 4/cores: 17/'"
        said = kubectl.run("edit", "vm", "a", check=False)
        assert said.returncode and '"a" is invalid' in said.stderr
        stored = pathlib.Path(re.search(r'stored to "(\S+)"', said.stderr).group(1))
        assert "# * spec.cpu.cores: Invalid value: 17" in stored.read_text()
        stored.unlink()
    finally:
        kubectl.env = env


def test_patch_kinds_and_their_refusals(kubectl):
    apply(kubectl, vm())
    apply(kubectl, json.dumps(CONFIGMAP))
    assert "patched" in kubectl("patch", "cm", "a", "-p", '{"data":{"k":null,"m":"1"}}')
    assert kubectl.json("cm", "a")["data"] == {"m": "1"}
    kubectl("patch", "vm", "a", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/n","value":"1"},{"op":"test","path":"/spec/cpu/cores","value":2}]')
    assert "(no change)" in kubectl("patch", "vm", "a", "--type=merge", "-p", "{}")
    assert kubectl.fails("patch", "vm", "a", "-p", "{}").startswith("error: ") or "UnsupportedMediaType" in kubectl.fails("patch", "vm", "a", "-p", "{}")


def test_owner_references_are_taken_away_by_null(kubectl):
    """D15."""
    kubectl("create", "configmap", "owner", "--from-literal=a=b")
    uid = kubectl.json("cm", "owner")["metadata"]["uid"]
    owned = {**CONFIGMAP, "metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]}}
    kubectl("create", "-f", "-", stdin=json.dumps(owned))
    assert kubectl.json("cm", "a")["metadata"]["ownerReferences"][0]["uid"] == uid
    kubectl("patch", "cm", "a", "--type", "merge", "-p", '{"metadata":{"ownerReferences":null}}')
    assert "ownerReferences" not in kubectl.json("cm", "a")["metadata"]


def test_replace_by_force_makes_a_new_object(kubectl):
    apply(kubectl, vm())
    old = kubectl.json("vm", "a")["metadata"]["uid"]
    assert "replaced" in kubectl("replace", "--force", "-f", "-", stdin=vm(cores=4))
    assert kubectl.json("vm", "a")["metadata"]["uid"] != old


def test_delete_by_file_and_with_every_option(kubectl):
    for words in (["--cascade=background"], ["--cascade=orphan"], ["--grace-period=0", "--force"], ["--wait=false"], ["--now"]):
        apply(kubectl, json.dumps(CONFIGMAP))
        requests = asked(kubectl, "delete", "-f", "-", *words, stdin=json.dumps(CONFIGMAP))
        assert ("DELETE", 200) in [(r[0], r[2]) for r in requests]
        assert "not found" in kubectl.fails("get", "cm", "a")
    apply(kubectl, json.dumps(CONFIGMAP))
    kubectl("delete", "cm", "a", "--dry-run=server")
    kubectl("get", "cm", "a")


def test_a_delete_meant_for_another_object_is_refused(kubectl, raw):
    apply(kubectl, json.dumps(CONFIGMAP))
    status, told = raw("DELETE", maps(kubectl, "/a"), {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}, Content_Type="application/json")
    assert status == 409 and told["reason"] == "Conflict"
    uid = kubectl.json("cm", "a")["metadata"]["uid"]
    status, told = raw("DELETE", maps(kubectl, "/a"), {"preconditions": {"uid": uid}}, Content_Type="application/json")
    assert status == 200 and told["status"] == "Success" and told["details"]["uid"] == uid


def test_taints_are_merged_by_their_key(kubectl):
    node = f"node-{kubectl.namespace}"[:50].rstrip("-")
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}))
    try:
        kubectl("taint", "node", node, "a=b:NoSchedule", "a=c:NoExecute")
        assert "already has" in kubectl.fails("taint", "node", node, "a=d:NoSchedule")
        kubectl("taint", "node", node, "a=d:NoSchedule", "--overwrite")
        kubectl("taint", "node", node, "a:NoExecute-")
        assert [(t["key"], t["value"], t["effect"]) for t in kubectl.json("node", node)["spec"]["taints"] if t["key"] == "a"] == [("a", "d", "NoSchedule")]
        kubectl("label", "node", node, "rack=r1")
        assert node in kubectl("get", "node", "-l", "rack=r1", "-o", "name")
    finally:
        kubectl("delete", "node", node)


# --- errors and TLS ----------------------------------------------------------------------------------------------------------------------


def test_every_error_is_a_status(kubectl, raw):
    path = maps(kubectl)
    raw("POST", path, CONFIGMAP, Content_Type="application/json")
    table = [("POST", path, CONFIGMAP, 409, "AlreadyExists"), ("GET", path + "/none", None, 404, "NotFound"), ("POST", path, b"{", 400, "BadRequest"),
             ("POST", path, {**CONFIGMAP, "metadata": {"name": "A_"}}, 422, "Invalid"), ("POST", path + "/a", {}, 405, "MethodNotAllowed"),
             ("PUT", path + "/a", {**CONFIGMAP, "metadata": {"name": "a", "resourceVersion": "1"}}, 409, "Conflict")]
    for method, where, body, code, reason in table:
        status, told = raw(method, where, body, Content_Type="application/json")
        assert (status, told["kind"], told["status"], told["reason"], told["code"]) == (code, "Status", "Failure", reason, code) and told["message"]
    assert raw("PATCH", path + "/a", {}, Content_Type="application/nonsense")[1]["reason"] == "UnsupportedMediaType"
    causes = raw("POST", path, {**CONFIGMAP, "metadata": {"name": "A_"}}, Content_Type="application/json")[1]["details"]["causes"]
    assert causes[0]["field"] == "metadata.name" and causes[0]["reason"] and causes[0]["message"]


def rewritten(kubectl, tmp_path, change):
    """A kubeconfig with one change, as a person has it who mistook something."""
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    change(config["clusters"][0]["cluster"], config["users"][0]["user"])
    path = tmp_path / "other.kubeconfig"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return f"--kubeconfig={path}"


def test_tls_as_clients_want_it(kubectl, tmp_path):
    other = tmp_path / "other.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", tmp_path / "k", "-out", other,
                    "-subj", "/CN=x", "-days", "1"], check=True, capture_output=True)

    def wrong_authority(cluster, _):
        cluster.pop("certificate-authority-data")
        cluster["certificate-authority"] = str(other)

    def insecure(cluster, _):
        cluster.pop("certificate-authority-data")
        cluster["insecure-skip-tls-verify"] = True

    def no_token(_, user):
        user.clear()

    assert "certificate signed by unknown authority" in kubectl.fails(rewritten(kubectl, tmp_path, wrong_authority), "get", "ns")
    assert "default" in kubectl(rewritten(kubectl, tmp_path, insecure), "get", "ns", "-o", "name")
    said = kubectl.run(rewritten(kubectl, tmp_path, no_token), "get", "ns", check=False, stdin="\n\n")
    assert said.returncode and ("Unauthorized" in said.stderr or "must be logged in" in said.stderr or "username" in said.stdout.lower())


def test_a_kubeconfig_is_changed_by_config(kubectl):
    """Not by set-credentials, which in this kubectl ends with SIGSEGV: a token is set as `users.NAME.token`."""
    user = json.loads(kubectl("config", "view", "-o", "json"))["users"][0]["name"]
    kubectl("config", "set", "users.other.token", "x")
    kubectl("config", "set-context", "two", "--cluster=" + json.loads(kubectl("config", "view", "-o", "json"))["clusters"][0]["name"], "--user=" + user)
    kubectl("config", "use-context", "two")
    assert "default" in kubectl("get", "ns", "-o", "name")


def test_the_proxy_serves_and_watches(kubectl, raw):
    with raw.open("GET", maps(kubectl, "?watch=true")) as stream:
        kubectl("create", "configmap", "a", "--from-literal=a=b")
        assert json.loads(stream.readline())["object"]["metadata"]["name"] == "a"
