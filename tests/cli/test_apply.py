# SPDX-License-Identifier: Apache-2.0
"""Manifests made so, changed to that, and taken away."""
import json
import threading

import pytest
import yaml

from conftest import FAILED, NOT_FOUND, TIMEOUT, USAGE, config_map, disk, machine

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def test_created_unchanged_configured(user):
    assert user.apply(disk("a")).lines == ["virtualdisk/a created"]
    assert user.apply(disk("a")).lines == ["virtualdisk/a unchanged"]
    assert user.apply(disk("a", size="32Mi")).lines == ["virtualdisk/a configured"]
    assert user.get("vd", "a")["spec"]["persistentVolumeClaim"]["size"] == "32Mi"


def test_defaults_in_lists_are_no_change(user):
    group = {"apiVersion": "gabbro.dev/v1", "kind": "SecurityGroup", "metadata": {"name": "open"},
             "spec": {"rules": [{"direction": "Ingress"}]}}
    assert user.apply(group).lines == ["securitygroup/open created"]
    assert user.get("sg", "open")["spec"]["rules"] != group["spec"]["rules"], "the gateway filled something in"
    assert user.apply(group).lines == ["securitygroup/open unchanged"]


def test_a_field_that_the_manifest_no_longer_has_goes_and_what_others_set_stays(user):
    user.apply(config_map("a", {"kept": "1", "dropped": "2"}, labels={"mine": "1", "gone": "1"}))
    user.kubectl("label", "cm", "a", "theirs=1")
    user.kubectl("patch", "cm", "a", "--type", "merge", "-p", '{"data":{"theirs":"3"}}')
    assert user.apply(config_map("a", {"kept": "1"}, labels={"mine": "1"})).lines == ["configmap/a configured"]
    found = user.get("cm", "a")
    assert found["data"] == {"kept": "1", "theirs": "3"}
    assert found["metadata"]["labels"] == {"mine": "1", "theirs": "1"}
    assert user.apply(config_map("a", {"kept": "1"}, labels={"mine": "1"})).lines == ["configmap/a unchanged"]


def test_changes_of_others_to_fields_of_the_manifest_are_taken_back(user):
    user.apply(config_map("a", {"key": "1"}))
    user.kubectl("patch", "cm", "a", "--type", "merge", "-p", '{"data":{"key":"2"}}')
    assert user.apply(config_map("a", {"key": "1"})).lines == ["configmap/a configured"]
    assert user.get("cm", "a")["data"] == {"key": "1"}


@pytest.mark.parametrize("first, second", [("gabbro", "kubectl"), ("kubectl", "gabbro")])
def test_gabbro_and_kubectl_take_turns(user, first, second):
    def by(program, *manifests):
        text = "---\n".join(yaml.safe_dump(m) for m in manifests)
        run = user.gabbro if program == "gabbro" else user.kubectl
        return [line.split()[-1] for line in run("apply", "-f", "-", input=text).lines]

    before = [config_map("a", {"kept": "<&> ü", "dropped": "2"}), machine("m"), disk("m-root")]
    after = [config_map("a", {"kept": "<&> ü", "new": "3"}), machine("m"), disk("m-root")]
    assert by(first, *before) == ["created"] * 3
    assert by(second, *before) == ["unchanged"] * 3
    assert by(second, *after) == ["configured", "unchanged", "unchanged"]
    assert by(first, *after) == ["unchanged"] * 3
    assert user.get("cm", "a")["data"] == {"kept": "<&> ü", "new": "3"}
    last = json.loads(user.get("cm", "a")["metadata"]["annotations"][LAST_APPLIED])
    assert last["data"] == {"kept": "<&> ü", "new": "3"}


def test_what_get_printed_can_be_changed_and_applied(user):
    user.apply(machine("a"), disk("a-root"))
    printed = user.gabbro("get", "vm,vd", "-o", "yaml").out
    user.gabbro("delete", "vd", "a-root", "--wait")
    user.kubectl("label", "vm", "a", "version=newer")
    result = user.gabbro("apply", "-f", "-", input=printed.replace("cores: 1", "cores: 2"))
    assert result.lines == ["virtualmachine/a configured", "virtualdisk/a-root created"]
    assert user.gabbro("apply", "-f", "-", input=printed.replace("cores: 1", "cores: 2")).lines == [
        "virtualmachine/a unchanged", "virtualdisk/a-root unchanged"]
    found = user.get("vm", "a")
    assert found["spec"]["cpu"]["cores"] == 2 and found["metadata"]["labels"] == {"version": "newer"}
    last = json.loads(found["metadata"]["annotations"][LAST_APPLIED])
    assert last["metadata"]["annotations"] == {} and "status" not in last and "uid" not in last["metadata"]


def test_finalizers_of_the_platform_outlive_a_manifest_that_copied_them(user):
    user.apply(machine("a"))
    user.gabbro("apply", "-f", "-", input=user.gabbro("get", "vm", "a", "-o", "yaml").out)
    user.apply(machine("a"))
    assert user.get("vm", "a")["metadata"]["finalizers"] == ["gabbro.dev/vm-cleanup"]


def test_lists_streams_files_and_folders(user):
    folder = user.folder / "manifests"
    folder.mkdir()
    (folder / "1.yaml").write_text("---\n---\n" + yaml.safe_dump_all([config_map("a", {}), config_map("b", {})]) + "\n---\n# only words\n")
    (folder / "2.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [config_map("c", {}), config_map("d", {})]}))
    (folder / "3.yml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMapList", "items": [
        {"metadata": {"name": "e"}}]}))
    (folder / "readme.txt").write_text("not: [a manifest")
    assert user.gabbro("apply", "-f", folder).lines == [f"configmap/{name} created" for name in "abcde"]
    result = user.gabbro("apply", "-f", folder / "1.yaml", "-f", folder / "2.json")
    assert result.lines == [f"configmap/{name} unchanged" for name in "abcd"]
    assert len(user.gabbro("apply", "-f", folder / "1.yaml", folder / "3.yml").lines) == 3  # what a shell makes of -f *.y*ml


def test_manifests_of_the_alias_group(user):
    user.apply(machine("a", group="virtualization.deckhouse.io/v1alpha2"))
    assert user.get("vm", "a")["apiVersion"] == "gabbro.dev/v1"
    assert user.apply(machine("a", group="virtualization.deckhouse.io/v1alpha2")).lines == ["virtualmachine/a unchanged"]
    assert user.get("virtualmachines.virtualization.deckhouse.io", "a")["metadata"]["name"] == "a"


def test_dry_run_changes_nothing(user):
    assert user.apply(config_map("a", {}), config_map("b", {}), more=["--dry-run"]).lines == [
        "configmap/a created (dry run)", "configmap/b created (dry run)"]
    user.gabbro("get", "cm", "a", code=NOT_FOUND)
    user.apply(config_map("a", {"k": "1"}))
    assert user.apply(config_map("a", {"k": "2"}), more=["--dry-run"]).lines == ["configmap/a configured (dry run)"]
    assert user.get("cm", "a")["data"] == {"k": "1"}


def test_a_namespace_and_what_lies_in_it(admin):
    result = admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "together"}},
                         config_map("inside", {}, namespace="together"))
    assert result.lines == ["namespace/together created", "configmap/inside created"]
    path = admin.folder / "inside.yaml"
    path.write_text(yaml.safe_dump(config_map("inside", {}, namespace="together")))
    result = admin.gabbro("apply", "-f", path, "-n", "default", code=FAILED)
    assert "namespace together" in result.err and "default" in result.err
    assert admin.gabbro("delete", "-f", path).lines == ["configmap/inside deleted"], "in the namespace of the manifest"


def test_an_unknown_namespace_is_told(admin):
    assert '"nowhere"' in admin.gabbro("apply", "-f", "-", input=json.dumps(config_map("a", {}, namespace="nowhere")), code=NOT_FOUND).err


def test_the_same_manifest_many_times_at_once(user):
    text = json.dumps(disk("once"))
    results = []
    threads = [threading.Thread(target=lambda: results.append(user.gabbro("apply", "-f", "-", input=text, code=None))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.code for r in results] == [0] * 6, results
    assert sorted(line for r in results for line in r.lines).count("virtualdisk/once created") == 1


# --- delete


def test_delete_by_name_word_and_manifest(user):
    user.apply(config_map("a", {}), config_map("b", {}), config_map("c", {}), disk("d"))
    assert user.gabbro("delete", "cm", "a").lines == ["configmap/a deleted"]
    assert user.gabbro("delete", "cm/b", "vd/d", "--wait").lines == ["configmap/b deleted", "virtualdisk/d is being deleted",
                                                                    "virtualdisk/d is gone"]
    path = user.folder / "c.yaml"
    path.write_text(yaml.safe_dump_all([config_map("c", {}), config_map("absent", {})]))
    result = user.gabbro("delete", "-f", path, code=NOT_FOUND)
    assert result.lines == ["configmap/c deleted"] and '"absent" not found' in result.err
    assert user.gabbro("delete", "-f", path, "--ignore-not-found").out == ""


def test_delete_goes_on_after_what_is_not_there(user):
    user.apply(config_map("b", {}))
    result = user.gabbro("delete", "cm", "a", "b", code=NOT_FOUND)
    assert result.lines == ["configmap/b deleted"] and '"a" not found' in result.err


def test_delete_waits_and_tells_what_holds_it(user):
    user.apply(config_map("held", {}, finalizers=["example.org/held"]))
    result = user.gabbro("delete", "cm", "held", "--wait", "--timeout", "1", code=TIMEOUT)
    assert result.lines == ["configmap/held is being deleted"] and "was not deleted within 1 s" in result.err
    user.kubectl("patch", "cm", "held", "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
    assert user.gabbro("wait", "cm", "held", "--for", "delete").out == ""


def test_delete_with_nothing_to_delete(user):
    assert "KIND/NAME" in user.gabbro("delete", "cm/a", "b", code=USAGE).err
    user.gabbro("delete", "-f", "/dev/null", code=FAILED)
