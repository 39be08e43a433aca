# SPDX-License-Identifier: Apache-2.0
"""What Debian's unmodified kubectl (1.20) must be able to do; see the rows A1, D1-D8, D13, D63, D64 of the requirements."""
import json

VM = """\
apiVersion: {api}
kind: VirtualMachine
metadata:
  name: {name}
  labels:
    app: web
spec:
  virtualMachineClassName: nowhere
  runPolicy: AlwaysOff
  cpu:
    cores: {cores}
    coreFraction: 20%
  memory:
    size: 1Gi
  blockDeviceRefs:
  - kind: VirtualDisk
    name: disk
"""
OWN = "gabbro.dev/v1"
ALIAS = "virtualization.deckhouse.io/v1alpha2"


def vm(name="a", cores=2, api=OWN):
    return VM.format(name=name, cores=cores, api=api)


def apply(kubectl, text, *words):
    return kubectl("apply", "-f", "-", *words, stdin=text)


def headings(table):
    return [word.strip() for word in table.splitlines()[0].split("   ") if word.strip()]


# --- discovery ---------------------------------------------------------------------------------------------------------------------------


def test_version_speaks_both_sides(kubectl):
    assert "Server Version" in kubectl("version")


def test_api_resources_lists_kinds_with_short_names(kubectl):
    lines = {(line.split()[0], line.split()[-3]): line for line in kubectl("api-resources").splitlines()[1:]}
    assert " vm " in lines["virtualmachines", OWN]
    assert " vmop " in lines["virtualmachineoperations", OWN]
    assert " vm " not in lines["virtualmachines", ALIAS]
    assert ("instances", "host.gabbro.dev/v1") in lines
    assert not any(name == "tokens" for name, _ in lines)


def test_get_all_shows_machines_and_no_intents(kubectl):
    apply(kubectl, vm())
    out = kubectl("get", "all", "-o", "name")
    assert "virtualmachine.gabbro.dev/a" in out
    assert "instance" not in out


def test_explain_knows_fields(kubectl):
    out = kubectl("explain", "vm.spec.cpu")
    assert "cores" in out and "class's defaults" in " ".join(out.split())
    assert "-required-" in kubectl("explain", "vm.spec.blockDeviceRefs")
    assert "GROUP" not in kubectl.fails("explain", "vm.spec.nothing")


# --- get ---------------------------------------------------------------------------------------------------------------------------------


def test_get_prints_the_columns_of_machines(kubectl):
    apply(kubectl, vm())
    assert headings(kubectl("get", "vm")) == ["NAME", "PHASE", "NODE", "IPADDRESS", "AGE"]
    assert headings(kubectl("get", "vm", "-o", "wide")) == ["NAME", "PHASE", "CORES", "COREFRACTION", "MEMORY", "NEED RESTART", "AGENT", "MIGRATABLE",
                                                          "NODE", "IPADDRESS", "AGE"]
    assert kubectl("get", "vm", "--no-headers").split()[0] == "a"
    assert "app=web" in kubectl("get", "vm", "--show-labels")
    assert headings(kubectl("get", "vm", "-L", "app"))[-1] == "APP"
    assert headings(kubectl("get", "vm", "-A"))[0] == "NAMESPACE"


def test_get_in_every_output_format(kubectl):
    apply(kubectl, vm())
    assert kubectl("get", "vm", "a", "-o", "name").strip() == "virtualmachine.gabbro.dev/a"
    assert kubectl("get", "vm", "a", "-o", "jsonpath={.spec.cpu.cores}") == "2"
    assert "  cores: 2\n" in kubectl("get", "vm", "a", "-o", "yaml").replace("    cores", "  cores")
    assert kubectl.json("vm", "a")["spec"]["memory"]["size"] == "1Gi"
    assert kubectl("get", "vm", "-o", "custom-columns=N:.metadata.name").split() == ["N", "a"]
    assert kubectl("get", "vm", "--server-print=false").split()[0] == "NAME"
    assert kubectl("get", "vm", "--sort-by=.metadata.name").count("\n") == 2


def test_selectors_and_chunks(kubectl):
    for i in range(5):
        kubectl("create", "configmap", f"c{i}", "--from-literal=a=b")
    kubectl("label", "configmap", "c1", "c3", "odd=yes")
    assert kubectl("get", "cm", "-l", "odd=yes", "-o", "name").split() == ["configmap/c1", "configmap/c3"]
    assert kubectl("get", "cm", "-l", "odd notin (yes)", "-o", "name").count("\n") == 3
    assert kubectl("get", "cm", "--field-selector", "metadata.name=c2", "-o", "name").strip() == "configmap/c2"
    assert kubectl("get", "cm", "--chunk-size=2", "-o", "name").count("\n") == 5
    assert kubectl("get", "cm", "--chunk-size=2", "--no-headers").count("\n") == 5
    assert "field label not supported" in kubectl.fails("get", "cm", "--field-selector", "data.a=b")


def test_absent_things_are_told_as_kubectl_does(kubectl):
    assert 'virtualmachines.gabbro.dev "b" not found' in kubectl.fails("get", "vm", "b")
    assert "doesn't have a resource type" in kubectl.fails("get", "nonsense")
    assert "No resources found" in kubectl.run("get", "vm").stderr


def test_watch_tells_what_happens(kubectl):
    kubectl("create", "configmap", "first", "--from-literal=a=b")
    with kubectl.popen("get", "configmap", "-w", "--output-watch-events", "-o", "name") as watch:
        assert watch.line().split()[-1] == "configmap/first"
        kubectl("create", "configmap", "second", "--from-literal=a=b")
        assert "configmap/second" in watch.line()
        kubectl("delete", "configmap", "second")
        assert "configmap/second" in watch.line()


def test_watch_of_a_table_and_of_one_name(kubectl):
    apply(kubectl, vm())
    with kubectl.popen("get", "vm", "a", "-w") as watch:
        assert watch.line().split()[0] == "NAME"
        assert watch.line().split()[0] == "a"
        kubectl("label", "vm", "a", "x=y")
        assert watch.line().split()[0] == "a"


def test_watch_follows_selectors(kubectl):
    for name in ("a", "first"):
        kubectl("create", "configmap", name, "--from-literal=a=b")
    kubectl("label", "configmap", "first", "team=x")
    with kubectl.popen("get", "configmap", "-l", "team=x", "--watch", "--output-watch-events") as watch:
        assert watch.line().split()[0] == "EVENT"
        assert watch.line().split()[:2] == ["ADDED", "first"]
        kubectl("label", "configmap", "a", "team=x")
        assert watch.line().split()[:2] == ["ADDED", "a"]
        kubectl("annotate", "configmap", "a", "n=1")
        assert watch.line().split()[:2] == ["MODIFIED", "a"]
        kubectl("label", "configmap", "a", "team-")
        assert watch.line().split()[:2] == ["DELETED", "a"]


def test_wait_for_deletion(kubectl):
    kubectl("create", "configmap", "a", "--from-literal=a=b")
    with kubectl.popen("wait", "--for=delete", "configmap/a", "--timeout=30s", "-v=6") as waiting:
        while "watch=true" not in waiting.line():
            pass
        kubectl("delete", "configmap", "a")
        assert waiting.wait() == 0


# --- apply and patch ---------------------------------------------------------------------------------------------------------------------


def test_apply_creates_changes_and_leaves_alone(kubectl):
    assert "created" in apply(kubectl, vm())
    uid = kubectl.json("vm", "a")["metadata"]["uid"]
    assert "unchanged" in apply(kubectl, vm())
    assert "configured" in apply(kubectl, vm(cores=4))
    changed = kubectl.json("vm", "a")
    assert changed["spec"]["cpu"]["cores"] == 4
    assert changed["metadata"]["generation"] == 2
    assert changed["metadata"]["uid"] == uid


def test_apply_keeps_the_last_applied_text_byte_by_byte(kubectl):
    apply(kubectl, vm(api=ALIAS))
    text = kubectl.json("vm", "a")["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert json.loads(text)["apiVersion"] == ALIAS
    assert text.endswith("\n")


def test_apply_through_the_alias_group(kubectl):
    """D1: manifests of the group virtualization.deckhouse.io apply unchanged."""
    assert f"virtualmachine.{ALIAS.split('/')[0]}/a created" in apply(kubectl, vm(api=ALIAS))
    assert "configured" in apply(kubectl, vm(cores=4, api=ALIAS))
    own, alias = kubectl.json("virtualmachines.gabbro.dev", "a"), kubectl.json("virtualmachines.virtualization.deckhouse.io", "a")
    assert own["apiVersion"] == OWN and alias["apiVersion"] == ALIAS
    assert own["metadata"] == alias["metadata"]


def test_apply_dry_run_and_diff(kubectl):
    apply(kubectl, vm())
    before = kubectl.json("vm", "a")["metadata"]["resourceVersion"]
    assert "server dry run" in apply(kubectl, vm(cores=4), "--dry-run=server")
    diff = kubectl.run("diff", "-f", "-", stdin=vm(cores=4), check=False)
    assert diff.returncode == 1, diff.stderr
    assert "+    cores: 4" in diff.stdout
    assert kubectl.json("vm", "a")["metadata"]["resourceVersion"] == before


def test_every_fault_of_a_manifest_is_printed(kubectl):
    bad = vm(cores=17).replace("size: 1Gi", "size: much").replace("runPolicy: AlwaysOff", "runPolicy: Sometimes")
    words = kubectl.fails("apply", "--validate=false", "-f", "-", stdin=bad)
    assert 'The VirtualMachine "a" is invalid' in words
    for field in ("spec.cpu.cores", "spec.memory.size", "spec.runPolicy"):
        assert f"* {field}: " in words, words
    assert "No resources found" in kubectl.run("get", "vm").stderr


def test_client_side_validation_knows_unknown_fields(kubectl):
    words = kubectl.fails("apply", "-f", "-", stdin=vm() + "  nonsense: 1\n")
    assert "nonsense" in words


def test_patch_by_merge_and_json(kubectl):
    apply(kubectl, vm())
    assert "patched" in kubectl("patch", "vm", "a", "--type", "merge", "-p", '{"spec":{"cpu":{"cores":4}}}')
    assert "patched" in kubectl("patch", "vm", "a", "--type", "json", "-p", '[{"op":"replace","path":"/spec/cpu/cores","value":6}]')
    assert kubectl.json("vm", "a")["spec"]["cpu"]["cores"] == 6
    assert "415" in kubectl.fails("patch", "vm", "a", "-p", '{"spec":{}}', "-v=6") or "unknown format" in kubectl.fails("patch", "vm", "a", "-p", '{"spec":{}}')


def test_label_and_annotate(kubectl):
    apply(kubectl, vm())
    kubectl("label", "vm", "a", "tier=db")
    kubectl("annotate", "vm", "a", "note=words with spaces")
    meta = kubectl.json("vm", "a")["metadata"]
    assert meta["labels"] == {"app": "web", "tier": "db"}
    assert meta["annotations"]["note"] == "words with spaces"
    kubectl("label", "vm", "a", "tier-")
    assert kubectl.json("vm", "a")["metadata"]["labels"] == {"app": "web"}
    assert "already has a value" in kubectl.fails("label", "vm", "a", "app=other")


def test_replace_needs_the_newest_version(kubectl):
    apply(kubectl, vm())
    old = kubectl.json("vm", "a")
    kubectl("label", "vm", "a", "x=y")
    assert "the object has been modified" in kubectl.fails("replace", "-f", "-", stdin=json.dumps(old))
    del old["metadata"]["resourceVersion"]
    kubectl("replace", "-f", "-", stdin=json.dumps(old))
    assert "x" not in kubectl.json("vm", "a")["metadata"]["labels"]


def test_edit_without_a_change(kubectl):
    apply(kubectl, vm())
    env, kubectl.env = kubectl.env, dict(kubectl.env, KUBE_EDITOR="true")
    try:
        assert "cancelled" in kubectl.run("edit", "vm", "a").stderr + kubectl.run("edit", "vm", "a").stdout
    finally:
        kubectl.env = env


def test_strategic_patches_of_nodes(kubectl):
    node = f"node-{kubectl.namespace}"[:50].rstrip("-")
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}))
    kubectl("cordon", node)
    assert kubectl.json("node", node)["spec"]["unschedulable"] is True
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    kubectl("taint", "node", node, "a=b:NoSchedule", "c=d:NoExecute")
    assert {t["key"] for t in kubectl.json("node", node)["spec"]["taints"]} >= {"a", "c"}
    kubectl("taint", "node", node, "a-")
    assert "a" not in {t["key"] for t in kubectl.json("node", node)["spec"]["taints"]}
    kubectl("uncordon", node)
    assert "unschedulable" not in kubectl.json("node", node)["spec"]
    kubectl("delete", "node", node)


# --- create and delete -------------------------------------------------------------------------------------------------------------------


def test_create_secret_and_namespace(kubectl):
    kubectl("create", "secret", "generic", "s", "--from-literal=user=root")
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.user}") == "cm9vdA=="
    assert kubectl("get", "secret", "s").split("\n")[1].split()[:3] == ["s", "Opaque", "1"]
    assert "already exists" in kubectl.fails("create", "namespace", kubectl.namespace)
    assert 'namespaces "absent" not found' in kubectl.fails("create", "configmap", "a", "-n", "absent")


def test_create_from_a_file_says_what_exists(kubectl):
    kubectl("create", "-f", "-", stdin=vm())
    assert "AlreadyExists" in kubectl.fails("create", "-f", "-", stdin=vm())


def test_delete_waits_until_it_is_gone(kubectl):
    apply(kubectl, vm())
    assert "deleted" in kubectl("delete", "vm", "a")
    assert "not found" in kubectl.fails("get", "vm", "a")
    assert "not found" in kubectl.fails("delete", "vm", "a")
    kubectl("delete", "vm", "a", "--ignore-not-found")


def test_delete_waits_for_finalizers(kubectl):
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": ["x.io/f"]}}))
    # Of a list: asked for one object by name, this kubectl swallows the first event of its watch, which may be the one awaited here.
    with kubectl.popen("delete", "configmap", "a") as deleting, kubectl.popen(
            "get", "configmap", "--field-selector", "metadata.name=a", "-w", "-o", "jsonpath={.metadata.deletionTimestamp}{\"\\n\"}") as watch:
        while not watch.line().strip():
            pass
        assert deleting.poll() is None
        kubectl("patch", "configmap", "a", "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
        assert deleting.wait() == 0


def test_delete_by_label_and_all(kubectl):
    for name in ("a", "b", "c"):
        kubectl("create", "configmap", name, "--from-literal=a=b")
    kubectl("label", "configmap", "a", "x=y")
    kubectl("delete", "configmap", "-l", "x=y")
    assert kubectl("get", "configmap", "-o", "name").split() == ["configmap/b", "configmap/c"]
    kubectl("delete", "configmap", "--all")
    assert kubectl("get", "configmap", "-o", "name") == ""


def test_the_default_namespace_stays(kubectl):
    assert "may not be deleted" in kubectl.fails("delete", "namespace", "default")


# --- the rest ----------------------------------------------------------------------------------------------------------------------------


def test_describe_shows_spec_and_events(kubectl):
    apply(kubectl, vm())
    uid = kubectl.json("vm", "a")["metadata"]["uid"]
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a.1"}, "reason": "Tested", "message": "seen from outside", "type": "Normal",
             "involvedObject": {"kind": "VirtualMachine", "namespace": kubectl.namespace, "name": "a", "uid": uid, "apiVersion": OWN},
             "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1, "source": {"component": "test"}}
    kubectl("create", "-f", "-", stdin=json.dumps(event))
    out = kubectl("describe", "vm", "a")
    assert "Cores:" in out
    assert "seen from outside" in out


def test_may_i(kubectl):
    assert kubectl("auth", "can-i", "create", "virtualmachines.gabbro.dev").strip() == "yes"
    assert kubectl.run("auth", "can-i", "create", "instances.host.gabbro.dev", check=False).stdout.splitlines()[0].startswith("no")
    assert "*.*" in kubectl("auth", "can-i", "--list")


def test_intents_can_be_read_and_not_written(kubectl):
    intent = {"apiVersion": "host.gabbro.dev/v1", "kind": "HostTask", "metadata": {"name": "t-x-1"}, "spec": {"nodeName": "n", "type": "RefreshPool"}}
    kubectl("get", "hosttasks")
    assert "intents are written by controllers only" in kubectl.fails("create", "--validate=false", "-f", "-", stdin=json.dumps(intent))


def test_a_wrong_token_is_refused(kubectl):
    words = kubectl.fails("get", "vm", "--token=gbt1.aaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    assert "must be logged in" in words


def test_raw_paths(kubectl):
    assert kubectl("get", "--raw", "/livez") == "ok"
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "gabbro_api_requests_total" in kubectl("get", "--raw", "/metrics")
    assert json.loads(kubectl("get", "--raw", "/openapi/v3"))["paths"]
