# SPDX-License-Identifier: Apache-2.0
"""How Debian's unmodified kubectl (1.20) writes: apply from both sides, patches, dry runs, validation. Rows D12, D14-D16, D76, D78."""
import json

import test_kubectl

ALIAS = test_kubectl.ALIAS
vm = test_kubectl.vm


def config_map(name="c", **data):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def apply(kubectl, text, *words):
    return kubectl("apply", "-f", "-", *words, stdin=text)


def serve_side(kubectl, text, *words):
    return apply(kubectl, text, "--server-side", *words)


def managers(kubectl, *what):
    return {(part["manager"], part["operation"]): part for part in kubectl.json(*what)["metadata"]["managedFields"]}


def revision(kubectl, *what):
    return kubectl.json(*what)["metadata"]["resourceVersion"]


# --- server-side apply -------------------------------------------------------------------------------------------------------------------


def test_server_side_apply_creates_changes_and_leaves_alone(kubectl):
    """D12: the same manifest twice writes nothing."""
    assert "serverside-applied" in serve_side(kubectl, vm())
    first = kubectl.json("vm", "a")
    serve_side(kubectl, vm())
    assert kubectl.json("vm", "a") == first
    assert "kubectl.kubernetes.io/last-applied-configuration" not in first["metadata"].get("annotations", {})
    serve_side(kubectl, vm(cores=4))
    changed = kubectl.json("vm", "a")
    assert changed["spec"]["cpu"]["cores"] == 4 and changed["metadata"]["generation"] == 2
    part = managers(kubectl, "vm", "a")["kubectl", "Apply"]
    assert part["apiVersion"] == "gabbro.dev/v1" and "f:cores" in part["fieldsV1"]["f:spec"]["f:cpu"]


def test_server_side_apply_removes_what_is_left_out(kubectl):
    serve_side(kubectl, config_map(a="1", b="2"))
    kubectl("patch", "cm", "c", "--type=merge", "-p", '{"data":{"theirs":"3"}}')
    serve_side(kubectl, config_map(a="1"))
    assert kubectl.json("cm", "c")["data"] == {"a": "1", "theirs": "3"}


def test_conflicts_are_told_and_forced(kubectl):
    """D78: who else set what is told in one go."""
    serve_side(kubectl, vm(), "--field-manager=ci")
    words = kubectl.fails("apply", "--server-side", "-f", "-", stdin=vm(cores=4).replace("AlwaysOff", "Manual"))
    assert 'conflicts with "ci"' in words and ".spec.cpu.cores" in words and ".spec.runPolicy" in words, words
    assert kubectl.json("vm", "a")["spec"]["cpu"]["cores"] == 2
    serve_side(kubectl, vm(cores=4), "--force-conflicts")
    assert kubectl.json("vm", "a")["spec"]["cpu"]["cores"] == 4
    assert managers(kubectl, "vm", "a")["ci", "Apply"]["fieldsV1"]["f:spec"]["f:cpu"] == {"f:coreFraction": {}}


def test_server_side_apply_through_the_alias(kubectl):
    serve_side(kubectl, vm(api=ALIAS))
    before = revision(kubectl, "vm", "a")
    serve_side(kubectl, vm())
    assert revision(kubectl, "vm", "a") == before


def test_from_client_side_to_server_side_and_back(kubectl):
    """No conflict with oneself, what is left out goes, and the older way goes on from there."""
    apply(kubectl, config_map(a="1", b="2"))
    serve_side(kubectl, config_map(a="5"))
    assert kubectl.json("cm", "c")["data"] == {"a": "5"}
    assert ("kubectl-client-side-apply", "Update") not in managers(kubectl, "cm", "c")
    assert "configured" in apply(kubectl, config_map(d="6"))
    assert kubectl.json("cm", "c")["data"] == {"d": "6"}


# --- client-side apply and its kin -------------------------------------------------------------------------------------------------------


def test_apply_prunes_by_label(kubectl):
    def labelled(*names):
        items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"set": "x"}}} for name in names]
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})

    prune = ["--prune", "-l", "set=x", "--prune-whitelist=core/v1/ConfigMap", "-n", kubectl.namespace]
    apply(kubectl, labelled("a", "b"), *prune)
    kubectl("create", "configmap", "other")
    assert "configmap/b pruned" in apply(kubectl, labelled("a"), *prune)
    assert set(kubectl("get", "cm", "-o", "name").split()) == {"configmap/a", "configmap/other"}


def test_replace_and_replace_by_force(kubectl):
    apply(kubectl, vm())
    uid = kubectl.json("vm", "a")["metadata"]["uid"]
    assert "replaced" in kubectl("replace", "-f", "-", stdin=vm(cores=4))
    assert kubectl.json("vm", "a")["metadata"]["uid"] == uid
    stale = kubectl.json("vm", "a")
    kubectl("label", "vm", "a", "x=y")
    assert "the object has been modified" in kubectl.fails("replace", "-f", "-", stdin=json.dumps(stale))
    kubectl("replace", "--force", "-f", "-", stdin=vm(cores=6))
    assert kubectl.json("vm", "a")["metadata"]["uid"] != uid
    assert "not found" in kubectl.fails("replace", "-f", "-", stdin=vm(name="absent"))


def test_edit_writes_what_the_editor_leaves(kubectl, tmp_path):
    """D14."""
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/cores: 2/cores: 8/' \"$1\"\n")
    editor.chmod(0o755)
    apply(kubectl, vm())
    kubectl.env["KUBE_EDITOR"] = str(editor)
    assert "edited" in kubectl("edit", "vm", "a")
    assert kubectl.json("vm", "a")["spec"]["cpu"]["cores"] == 8
    assert ("kubectl-edit", "Update") in managers(kubectl, "vm", "a")


def test_labels_annotations_and_patches_have_their_managers(kubectl):
    """D15, D16, D76."""
    apply(kubectl, vm())
    kubectl("label", "vm", "a", "l=1")
    kubectl("annotate", "vm", "a", "n=1")
    kubectl("patch", "vm", "a", "--type=json", "-p", '[{"op":"add","path":"/spec/cpu/cores","value":4}]')
    kubectl("patch", "vm", "a", "--type=merge", "-p", '{"metadata":{"ownerReferences":null}}')
    found = managers(kubectl, "vm", "a")
    assert found["kubectl-label", "Update"]["fieldsV1"]["f:metadata"]["f:labels"] == {"f:l": {}}
    assert "f:cpu" in found["kubectl-patch", "Update"]["fieldsV1"]["f:spec"]
    assert "f:cores" not in json.dumps(found["kubectl-client-side-apply", "Update"])
    # Strategic: kinds of Kubernetes have it, ours have not.
    apply(kubectl, config_map(a="1"))
    kubectl("patch", "cm", "c", "-p", '{"data":{"a":null,"b":"2"}}')
    assert kubectl.json("cm", "c")["data"] == {"b": "2"}
    assert "unknown format" in kubectl.fails("patch", "vm", "a", "-p", '{"spec":{}}')


# --- dry runs ----------------------------------------------------------------------------------------------------------------------------


def test_dry_runs_answer_as_real_and_write_nothing(kubectl):
    apply(kubectl, vm())
    before = kubectl.json("vm", "a")
    assert "server dry run" in apply(kubectl, vm(cores=4), "--dry-run=server")
    assert "server dry run" in serve_side(kubectl, vm(cores=4), "--dry-run=server")
    assert "server dry run" in kubectl("delete", "vm", "a", "--dry-run=server")
    assert "server dry run" in kubectl("delete", "vm", "--all", "--dry-run=server")
    assert "server dry run" in apply(kubectl, vm(name="b"), "--dry-run=server")
    kubectl("label", "vm", "a", "x=y", "--dry-run=server")
    kubectl("annotate", "vm", "a", "x=y", "--dry-run=server")
    kubectl("patch", "vm", "a", "--type=merge", "-p", '{"spec":{"cpu":{"cores":4}}}', "--dry-run=server")
    kubectl("replace", "-f", "-", "--dry-run=server", stdin=vm(cores=4))
    kubectl("create", "configmap", "c", "--from-literal=a=b", "--dry-run=server")
    # Full validation, as real.
    assert "is invalid" in kubectl.fails("apply", "--dry-run=server", "-f", "-", stdin=vm(cores=17))
    assert kubectl.json("vm", "a") == before
    assert kubectl("get", "vm,cm", "-o", "name").split() == ["virtualmachine.gabbro.dev/a"]


def test_diff_shows_and_leaves_alone(kubectl):
    apply(kubectl, vm())
    assert kubectl.run("diff", "-f", "-", stdin=vm()).returncode == 0
    for words in ([], ["--server-side"]):
        diff = kubectl.run("diff", *words, "-f", "-", stdin=vm(cores=4), check=False)
        assert diff.returncode == 1 and "+    cores: 4" in diff.stdout, (words, diff.stdout, diff.stderr)


# --- validation --------------------------------------------------------------------------------------------------------------------------


def test_unknown_fields_are_warned_of(kubectl):
    out = kubectl.run("apply", "--validate=false", "-f", "-", stdin=vm() + "  tpyo: 1\n")
    assert 'Warning: unknown field "spec.tpyo"' in out.stderr
    assert "tpyo" not in kubectl.json("vm", "a")["spec"]


# --- what the documents say --------------------------------------------------------------------------------------------------------------


def test_explain_tells_of_every_kind_and_field(kubectl):
    for kind in ("vm", "vd", "cm", "node", "secret", "storagepool"):
        assert "DESCRIPTION:" in kubectl("explain", kind)
        assert "metadata" in kubectl("explain", kind, "--recursive")
    assert "Which manager set which field" in kubectl("explain", "vm.metadata")
    assert "fieldsV1" in kubectl("explain", "vm.metadata.managedFields")


def test_what_does_not_scale_says_so(kubectl):
    apply(kubectl, vm())
    assert "virtualmachines" in kubectl.fails("scale", "vm/a", "--replicas=2")
    path = f"/apis/gabbro.dev/v1/namespaces/{kubectl.namespace}/virtualmachines/a/scale"
    assert "do not scale" in kubectl.fails("get", "--raw", path)
