# SPDX-License-Identifier: Apache-2.0
"""One clear answer with every reason, nothing half-made."""
import json

import pytest

from conftest import FAILED, NOT_FOUND, config_map, disk, machine


def refused(user, manifest, *words):
    result = user.apply(manifest, code=FAILED)
    assert result.out == ""
    assert result.err.startswith("gabbro: ")
    for word in words:
        assert word in result.err, result
    assert "No virtualmachines found" in user.gabbro("get", "vm").err
    return result.err


@pytest.mark.parametrize("text, words", [
    ('{"kind": ', "standard input line "),
    ("kind: [", "standard input line"),
    ("a: b: c", "standard input line 1"),
    ('{"a":1,"a":2}', 'duplicate key "a"'),
    ("a: &x 1\nb: *x", "standard input line"),
    ("\x00\x01\x02", "standard input line 1"),
    ("", "there is no manifest"),
    ("--- \n---\n# nothing\n", "there is no manifest"),
    ("just words", "no apiVersion and no kind"),
    ("[1, 2]", "no apiVersion and no kind"),
    ("kind: VirtualMachine", "no apiVersion"),
    ("apiVersion: gabbro.dev/v1", "no kind"),
    ("apiVersion: gabbro.dev/v1\nkind: Unicorn\nmetadata: {name: a}", "there is no kind Unicorn in gabbro.dev/v1"),
    ("apiVersion: gabbro.dev/v7\nkind: VirtualMachine\nmetadata: {name: a}", "apiVersion: gabbro.dev/v1"),
    ("apiVersion: gabbro.dev/v1\nkind: Secret\nmetadata: {name: a}", "apiVersion: v1"),
    ("apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {}", "metadata.name"),
    ("apiVersion: gabbro.dev/v1\nkind: VirtualMachine\nmetadata: {name: Bad_Name}\nspec: {}", "metadata.name"),
    ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ..}", ""),
])
def test_malformed_text(user, text, words):
    refused(user, text, words)


def test_no_such_file_and_no_manifest_in_a_folder(user):
    assert "absent.yaml: No such file" in user.gabbro("apply", "-f", "absent.yaml", code=FAILED).err
    assert "there is no manifest" in user.gabbro("apply", "-f", user.folder, code=FAILED).err


def test_too_deep_and_too_long(user):
    refused(user, '{"a":' * 200 + "1" + "}" * 200, "standard input line 1")
    refused(user, "#" * (4 << 20), "3 MiB")


def test_unknown_field(user):
    refused(user, machine("a", colour="red"), "spec.colour")


def test_wrong_type(user):
    refused(user, machine("a", cpu={"cores": "two"}), "spec.cpu.cores")
    refused(user, machine("a", blockDeviceRefs={"kind": "VirtualDisk"}), "spec.blockDeviceRefs")


def test_D40_D43_cores_17(user):
    refused(user, machine("a", cpu={"cores": 17}), "spec.cpu.cores", "18")


def test_memory_0(user):
    refused(user, machine("a", memory={"size": "0"}), "spec.memory.size")


def test_D82_user_data_of_3_kB(user):
    refused(user, machine("a", provisioning={"type": "UserData", "userData": "#cloud-config\n" + "x" * 3000}), "2048")


def test_two_disks_of_one_name(user):
    refused(user, machine("a", blockDeviceRefs=[{"kind": "VirtualDisk", "name": "a"}] * 2), "blockDeviceRefs[1]")


def test_pool_path_of_the_system(admin):
    pool = {"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "etc"}, "spec": {"type": "Directory", "path": "/etc"}}
    assert "spec.path" in admin.apply(pool, code=FAILED).err
    admin.gabbro("get", "sp", "etc", code=NOT_FOUND)


def test_every_reason_at_once_one_a_line(user):
    words = refused(user, machine("a", cpu={"cores": 17}, memory={"size": "0"}, colour="red", runPolicy="Sometimes"))
    lines = words.splitlines()
    assert lines[0] == 'gabbro: VirtualMachine.gabbro.dev "a" is invalid:'
    for path in ("spec.cpu.cores", "spec.memory.size", "spec.colour", "spec.runPolicy"):
        assert len([line for line in lines if line.startswith(f"  * {path}: ")]) == 1, words
    assert len(lines) == 5


def test_nothing_is_made_when_the_last_of_several_is_wrong(user):
    result = user.apply(config_map("first", {}), disk("second"), machine("third", cpu={"cores": 17}), machine("fourth", memory={"size": "0"}),
                        code=FAILED)
    assert result.out == "" and "Nothing was changed." in result.err
    assert "spec.cpu.cores" in result.err and "spec.memory.size" in result.err, "all of them are told"
    user.gabbro("get", "cm", "first", code=NOT_FOUND)
    user.gabbro("get", "vd", "second", code=NOT_FOUND)
    result = user.apply(config_map("first", {}), "kind: Unicorn\napiVersion: v1\nmetadata: {name: a}", code=FAILED)
    assert result.out == "" and "Unicorn" in result.err
    result = user.apply(config_map("first", {}), "a: [", code=FAILED)
    assert result.out == "" and "standard input line" in result.err
    user.gabbro("get", "cm", "first", code=NOT_FOUND)


def test_immutable_fields(user):
    image = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualImage", "metadata": {"name": "a"}, "spec": {"dataSource": {"type": "Upload"}}}
    user.apply(image)
    image["spec"]["dataSource"] = {"type": "HTTP", "http": {"url": "https://example.org/a.qcow2"}}
    assert "spec.dataSource" in user.apply(image, code=FAILED).err
    user.apply(disk("big", size="32Mi"))
    assert "never shrink" in user.apply(disk("big", size="16Mi"), code=FAILED).err


def test_internal_kinds_are_none(admin):
    result = admin.apply({"apiVersion": "gabbro.dev/v1", "kind": "Token", "metadata": {"name": "a"}, "spec": {}}, code=FAILED)
    assert "there is no kind Token" in result.err


def test_an_alias_that_the_gateway_does_not_serve_is_told(user):
    result = user.apply(json.loads(json.dumps(machine("a")).replace("gabbro.dev/v1", "virtualization.deckhouse.io/v1alpha1")), code=FAILED)
    assert "apiVersion: gabbro.dev/v1" in result.err
