# SPDX-License-Identifier: Apache-2.0
"""What goes with what: owners, propagation, namespaces, as Debian's kubectl asks for it (requirements D15, D17; attacks 15, 16)."""
import json
import os
import subprocess
import time


def configmap(kubectl, name, *owners, namespace=None, **metadata):
    refs = [{"apiVersion": "v1", "kind": "ConfigMap", "name": o["metadata"]["name"], "uid": o["metadata"]["uid"], "blockOwnerDeletion": True} for o in owners]
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": refs, **metadata}}
    words = ["-n", namespace] if namespace else []
    return json.loads(kubectl("create", "-f", "-", "-o", "json", *words, stdin=json.dumps(manifest)))


def names(kubectl, *words):
    return set(kubectl("get", "configmap", "-o", "jsonpath={.items[*].metadata.name}", *words).split())


def gone(kubectl, *there):
    """Deleted in the background: by the garbage collector, in its own time."""
    end = time.monotonic() + 10
    while names(kubectl) & set(there):
        assert time.monotonic() < end, names(kubectl)
        time.sleep(0.02)


def test_D15_cascade_in_the_background_is_the_default(kubectl):
    owner = configmap(kubectl, "owner")
    configmap(kubectl, "one", owner)
    kept = configmap(kubectl, "kept", owner)
    kubectl("patch", "configmap", "kept", "--type", "merge", "-p", '{"metadata":{"ownerReferences":null}}')
    kubectl("delete", "configmap", "owner")
    gone(kubectl, "owner", "one")
    assert names(kubectl) == {"kept"}
    assert "OwnerGone" in kubectl("get", "events", "--field-selector", "involvedObject.name=one,reason=OwnerGone")
    assert kubectl.json("configmap", "kept")["metadata"]["uid"] == kept["metadata"]["uid"]


def test_D17_cascade_orphan_and_its_old_spelling_leave_dependents(kubectl):
    for name, word in (("a", "--cascade=orphan"), ("b", "--cascade=false")):
        configmap(kubectl, f"{name}-child", configmap(kubectl, name))
        kubectl("delete", "configmap", name, word)
    assert names(kubectl) == {"a-child", "b-child"}
    assert "ownerReferences" not in kubectl.json("configmap", "a-child")["metadata"]


def test_D17_cascade_foreground_ends_when_the_last_dependent_is_gone(kubectl):
    owner = configmap(kubectl, "owner")
    child = configmap(kubectl, "child", owner)
    configmap(kubectl, "grandchild", child, finalizers=["example.com/slow"])
    with kubectl.popen("delete", "configmap", "owner", "--cascade=foreground") as deleting:
        end = time.monotonic() + 10
        while "deletionTimestamp" not in kubectl.json("configmap", "grandchild")["metadata"]:
            assert time.monotonic() < end
        assert names(kubectl) == {"owner", "child", "grandchild"}
        assert deleting.poll() is None
        assert "being deleted" in kubectl.fails("patch", "configmap", "owner", "--type", "merge", "-p", '{"metadata":{"finalizers":["foregroundDeletion","a.b/c"]}}')
        kubectl("patch", "configmap", "grandchild", "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
        assert deleting.wait() == 0
    assert names(kubectl) == set()


def test_attack_15_16_the_uid_of_another_project_gives_no_power(kubectl):
    other = f"{kubectl.namespace}-o"
    kubectl("create", "namespace", other)
    victim = configmap(kubectl, "victim", namespace=other)
    configmap(kubectl, "stray", victim)
    gone(kubectl, "stray")
    assert "Warning" not in kubectl("get", "events", "--field-selector", "type=Warning,involvedObject.name=stray", "--no-headers")
    mine = configmap(kubectl, "mine")
    kubectl("patch", "configmap", "mine", "--type", "merge", "-p", json.dumps({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "victim", "uid": victim["metadata"]["uid"], "blockOwnerDeletion": True}]}}))
    gone(kubectl, "mine")
    assert names(kubectl, "-n", other) == {"victim"}
    assert mine["metadata"]["uid"]
    kubectl("delete", "configmap", "victim", "-n", other, "--cascade=foreground", "--timeout=10s")
    kubectl("delete", "namespace", other, "--timeout=20s")


def test_a_namespace_says_why_it_hangs(kubectl):
    name = f"{kubectl.namespace}-h"
    kubectl("create", "namespace", name)
    configmap(kubectl, "held", namespace=name, finalizers=["example.com/never"])
    kubectl("create", "secret", "generic", "s", "--from-literal=a=b", "-n", name)
    kubectl("delete", "namespace", name, "--wait=false")
    kubectl("wait", f"namespace/{name}", "--for=condition=NamespaceFinalizersRemaining", "--timeout=20s")
    space = kubectl.json("namespace", name)
    told = {c["type"]: c for c in space["status"]["conditions"]}
    assert space["status"]["phase"] == "Terminating"
    assert "configmaps: 1" in told["NamespaceContentRemaining"]["message"]
    assert told["NamespaceFinalizersRemaining"]["message"] == "content waits for: example.com/never on 1"
    assert "is being terminated" in kubectl.fails("create", "configmap", "late", "-n", name)
    result = kubectl.run("get", "namespace", name)
    assert "Terminating" in result.stdout
    finalize = subprocess.run(kubectl.argv("replace", "--raw", f"/api/v1/namespaces/{name}/finalize", "-f", "-"), env=kubectl.env, text=True,
                              input=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}}), capture_output=True)
    assert finalize.returncode and "namespace controller" in finalize.stderr, finalize
    assert names(kubectl, "-n", name) == {"held"}
    kubectl("patch", "configmap", "held", "-n", name, "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=20s")
    kubectl("create", "namespace", name)
    assert kubectl.run("get", "events,configmaps,secrets", "-n", name).stdout == ""
    kubectl("delete", "namespace", name, "--timeout=20s")


def test_gabbros_own_namespaces_stay(kubectl):
    for name in ("default", "kube-system", "kube-node-lease"):
        assert "may not be deleted" in kubectl.fails("delete", "namespace", name)


def test_names_are_generated_and_collide_with_nobody(kubectl):
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x" * 70 + "-"}}
    made = [kubectl("create", "-f", "-", "-o", "name", stdin=json.dumps(manifest)).strip() for _ in range(3)]
    assert len(set(made)) == 3
    assert all(len(name.split("/")[1]) == 63 for name in made)
    assert "generateName" in kubectl.fails("create", "-f", "-", stdin=json.dumps({**manifest, "metadata": {"generateName": "No_"}}))


def test_a_user_tells_events_of_the_own_project_only(kubectl):
    def event(name, namespace, **more):
        about = {"kind": "ConfigMap", "apiVersion": "v1", "name": "a", "namespace": namespace}
        return json.dumps({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": about, "reason": "Told", "message": "by hand",
                           "type": "Normal", **more})
    kubectl("create", "-f", "-", stdin=event("mine", kubectl.namespace, reason="Other", type="Warning"))
    kubectl("create", "-f", "-", stdin=event("another", kubectl.namespace))
    assert "involvedObject.namespace" in kubectl.fails("create", "-f", "-", stdin=event("foreign", "default"))
    for selector in ("reason=Other", "type=Warning", "involvedObject.name=a,reason=Other", "involvedObject.kind=ConfigMap,type!=Normal"):
        assert kubectl("get", "events", "--field-selector", selector, "-o", "name").strip() == "event/mine", selector


if os.environ.get("GABBRO_LONG"):
    def test_a_thousand_dependents_go(kubectl):
        owner = configmap(kubectl, "owner")
        refs = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]
        many = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c-{i}", "ownerReferences": refs}} for i in range(1000)]
        kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": many}))
        kubectl("delete", "configmap", "owner", "--cascade=foreground", "--timeout=60s")
        gone(kubectl, *(m["metadata"]["name"] for m in many))
