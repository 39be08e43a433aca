# SPDX-License-Identifier: Apache-2.0
"""Machines where no host has joined: what can be said of them without one."""
import base64
import json
import time

import pytest
import yaml

from conftest import FAILED, NOT_FOUND, OK, TIMEOUT, UNREACHABLE, USAGE, disk, machine

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb1 someone@example"


def cloud_image(name):
    return {"apiVersion": "gabbro.dev/v1", "kind": "ClusterVirtualImage", "metadata": {"name": name},
            "spec": {"dataSource": {"type": "Upload"}}}


def user_data(secret):
    text = base64.b64decode(secret["data"]["userData"]).decode()
    assert text.startswith("#cloud-config\n")
    return yaml.safe_load(text)


# --- create


def test_create_vm_makes_disk_secret_and_machine(user):
    user.apply(cloud_image("tiny"))
    (user.folder / "key.pub").write_text(f"# mine\n{KEY}\n\n{KEY}2\n")
    result = user.gabbro("create", "vm", "web", "--image", "tiny", "--cores", "2", "--core-fraction", "20%", "--memory", "256Mi", "--disk-size",
                         "64Mi", "--ssh-key", "key.pub", "--user", "me", "--hostname", "web-1")
    assert result.lines == ["secret/web-cloud-init created", "virtualdisk/web-root created", "virtualmachine/web created"]
    spec = user.get("vm", "web")["spec"]
    assert spec["cpu"] == {"cores": 2, "coreFraction": "20%"} and spec["memory"]["size"] == "256Mi"
    assert user.get("vd", "web-root")["spec"]["dataSource"]["objectRef"] == {"kind": "ClusterVirtualImage", "name": "tiny"}
    config = user_data(user.get("secret", "web-cloud-init"))
    assert config["hostname"] == "web-1"
    assert config["users"][0]["name"] == "me" and config["users"][0]["ssh_authorized_keys"] == [KEY, KEY + "2"]
    again = user.gabbro("create", "vm", "web", "--image", "tiny", "--cores", "4", code=FAILED)
    assert "virtualmachine/web already" in again.err and "gabbro apply" in again.err
    assert user.get("vm", "web")["spec"]["cpu"]["cores"] == 2


def test_create_vm_with_a_password(user):
    user.gabbro("create", "vm", "a", "--disk-size", "16Mi", "--password-stdin", input="hunter2 hunter2\n")
    config = user_data(user.get("secret", "a-cloud-init"))
    assert config["users"][0]["plain_text_passwd"] == "hunter2 hunter2" and config["users"][0]["lock_passwd"] is False
    assert "no password" in user.gabbro("create", "vm", "b", "--disk-size", "16Mi", "--password-stdin", input="\n", code=USAGE).err
    user.gabbro("get", "vm", "b", code=NOT_FOUND)


def test_create_vm_with_user_data_of_ones_own(user):
    (user.folder / "data").write_text("#cloud-config\nruncmd: [ls]\n")
    user.gabbro("create", "vm", "a", "--disk-size", "16Mi", "--user-data", "data")
    assert user_data(user.get("secret", "a-cloud-init")) == {"runcmd": ["ls"]}
    assert "--user-data" in user.gabbro("create", "vm", "b", "--disk-size", "16Mi", "--user-data", "data", "--user", "me", code=USAGE).err


def test_create_vm_keeps_private_keys_here(user):
    (user.folder / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n")
    result = user.gabbro("create", "vm", "a", "--disk-size", "16Mi", "--ssh-key", "key", code=USAGE)
    assert "key.pub" in result.err
    assert "key.pub: No such file" in user.gabbro("create", "vm", "a", "--disk-size", "16Mi", "--ssh-key", "key.pub", code=FAILED).err
    user.gabbro("get", "secret", "a-cloud-init", code=NOT_FOUND)


def test_create_vm_from_an_image_that_is_not_there(user):
    result = user.gabbro("create", "vm", "a", "--image", "absent", code=NOT_FOUND)
    assert "no image absent" in result.err and "gabbro get vi,cvi" in result.err


def test_create_vm_of_wrong_size_makes_nothing(user):
    (user.folder / "key.pub").write_text(KEY)
    result = user.gabbro("create", "vm", "a", "--disk-size", "16Mi", "--cores", "17", "--ssh-key", "key.pub", code=FAILED)
    assert "spec.cpu.cores" in result.err
    for kind, name in (("secret", "a-cloud-init"), ("vd", "a-root"), ("vm", "a")):
        user.gabbro("get", kind, name, code=NOT_FOUND)


def test_dry_run_of_create_needs_no_gateway_and_applies(user):
    (user.folder / "key.pub").write_text(KEY)
    printed = user.gabbro("create", "vm", "dry", "--disk-size", "16Mi", "--ssh-key", "key.pub", "--dry-run",
                          env={"KUBECONFIG": "/nonexistent"}).out
    assert [d["kind"] for d in yaml.safe_load_all(printed)] == ["Secret", "VirtualDisk", "VirtualMachine"]
    assert all(d["metadata"]["namespace"] == user.project for d in yaml.safe_load_all(printed))
    user.gabbro("get", "vm", "dry", code=NOT_FOUND)
    assert user.gabbro("apply", "-f", "-", input=printed).lines[-1] == "virtualmachine/dry created"
    assert user.kubectl("get", "vm", "dry", "-o", "jsonpath={.spec.provisioning.type}").out == "UserDataRef"


# --- start and stop


def test_operations_on_a_machine_that_does_not_run(user):
    user.apply(machine("a"), disk("a-root"))
    for verb, type_ in (("stop", "Stop"), ("restart", "Restart"), ("force-off", "ForceOff"), ("suspend", "Suspend"), ("resume", "Resume"),
                        ("reset", "Reset")):
        for more in ([], ["--wait"]):
            result = user.gabbro(verb, "a", *more, code=FAILED)
            assert f"{type_} of a is refused: {type_} is not possible while the machine is Stopped" in result.err, result
            assert result.out == ""


def test_operations_on_a_machine_that_is_not_there(user):
    for verb in ("start", "stop", "restart", "force-off", "suspend", "resume", "reset", "redeploy"):
        assert '"absent" not found' in user.gabbro(verb, "absent", code=NOT_FOUND).err
    assert "No virtualmachineoperations" in user.gabbro("get", "vmop").err


def test_A55_clone_says_what_it_makes_and_what_is_wrong(user):
    user.apply(machine("a", runPolicy="Manual"), disk("a-root"))
    user.gabbro("wait", "vm", "a", "--for", "phase=Stopped", "--timeout", "10")
    assert "virtualmachine/a was cloned" in user.gabbro("clone", "vm", "a", "b", "--dry-run", "--wait").out
    user.gabbro("get", "vm", "b", code=NOT_FOUND)
    assert "virtualmachine/a was cloned" in user.gabbro("clone", "vm", "a", "b", "--disk", "a-root=other", "--wait").out
    made = user.get("vm", "b")
    assert made["spec"]["blockDeviceRefs"] == [{"kind": "VirtualDisk", "name": "other"}] and made["spec"]["runPolicy"] == "Manual"
    assert "machine b exists already" in user.gabbro("clone", "vm", "a", "b", code=FAILED).err
    assert "spec.clone.diskMode" in user.gabbro("clone", "vm", "a", "c", "--disk-mode", "Half", code=FAILED).err
    for words in (["a", "b"], ["vd", "a", "b"], ["vm", "a"], ["vm", "a", "c", "--disk", "x"]):
        user.gabbro("clone", *words, code=USAGE)


def test_start_that_cannot_be_tells_why(user):
    user.apply(machine("a"), disk("a-root"))
    result = user.gabbro("start", "a", "--wait", "--timeout", "1", code=TIMEOUT)
    assert "did not reach phase=Completed within 1 s" in result.err
    assert "virtualmachine/a is Pending: VirtualMachineClass generic is not ready" in result.err
    again = user.gabbro("start", "a", code=FAILED)
    assert "Start of a is refused" in again.err


def test_start_can_be_taken_back(user):
    user.apply(machine("a"), disk("a-root"))
    assert "virtualmachine/a is being started" in user.gabbro("start", "vm/a").out
    assert "virtualmachine/a was stopped" in user.gabbro("stop", "a", "--wait").out
    user.gabbro("wait", "vm", "a", "--for", "phase=Stopped", "--timeout", "10")


def test_C46_undefine_is_for_machines_that_are_off_and_keeps_disks(user):
    user.apply(machine("a"), disk("a-root"))
    user.gabbro("wait", "vm", "a", "--for", "phase=Stopped", "--timeout", "10")
    user.gabbro("start", "a")
    refused = user.gabbro("undefine", "a", code=FAILED)
    assert "virtualmachine/a is Pending; stop it first: gabbro stop a" in refused.err and refused.out == ""
    user.gabbro("stop", "a", "--wait")
    user.gabbro("wait", "vm", "a", "--for", "phase=Stopped", "--timeout", "10")
    result = user.gabbro("undefine", "vm/a", "--wait")
    assert "virtualmachine/a" in result.out and "virtualdisk/a-root stays" in result.err
    assert '"a" not found' in user.gabbro("get", "vm", "a", code=NOT_FOUND).err
    user.gabbro("get", "vd", "a-root")
    assert '"a" not found' in user.gabbro("undefine", "a", code=NOT_FOUND).err
    assert "which machine" in user.gabbro("undefine", code=USAGE).err


def test_delete_with_disks_leaves_those_of_others(user):
    shared = machine("b", blockDeviceRefs=[{"kind": "VirtualDisk", "name": "b-root"}, {"kind": "VirtualDisk", "name": "shared"}])
    user.apply(machine("a", disk="shared"), shared, disk("b-root"), disk("shared"))
    user.gabbro("wait", "vm", "b", "--for", "phase=Stopped", "--timeout", "10")
    for _ in range(50):
        if len(user.get("vd", "shared").get("status", {}).get("attachedToVirtualMachines", [])) == 2:
            break
        time.sleep(0.1)
    result = user.gabbro("delete", "vm", "b", "--with-disks", "--wait")
    assert "virtualdisk/shared stays: virtualmachine/a has it" in result.err and "virtualdisk/b-root" in result.out
    assert user.gabbro("get", "vd", "-o", "name").lines == ["virtualdisk/shared"]
    assert "--with-disks goes with names" in user.gabbro("delete", "--with-disks", "-f", "/dev/null", code=USAGE).err


def test_several_machines_at_once(user):
    user.apply(machine("a"), machine("b"))
    result = user.gabbro("stop", "a", "absent", "b", code=None)
    assert result.code != OK
    assert [word in result.err for word in ("Stop of a", '"absent"', "Stop of b")] == [True] * 3


def test_an_operation_that_another_replaced_ends_its_wait(user):
    user.apply(machine("a"))
    user.gabbro("start", "a")
    first = user.get("vmop")["items"][0]["metadata"]["name"]
    user.gabbro("stop", "a")
    result = user.gabbro("wait", "vmop", first, "--for", "phase=Completed", "--timeout", "20", code=FAILED)
    assert "is Superseded" in result.err


def test_console_of_a_machine_that_does_not_run(user):
    user.apply(machine("a"))
    result = user.gabbro("console", "a", code=FAILED)
    assert "machine a does not run (it is Stopped)" in result.err and "gabbro start a" in result.err
    user.gabbro("console", "absent", code=NOT_FOUND)
    user.gabbro("console", "vm/a", "--insecure", "--server", "https://127.0.0.1:1", "--token", "x", code=USAGE)
    user.gabbro("console", "a", "--server", "https://127.0.0.1:1", code=UNREACHABLE)


# --- wait


def test_wait(user):
    user.apply(machine("a"))
    assert user.gabbro("wait", "vm", "a", "--for", "phase=stopped").err == "a: Stopped\n"
    assert user.gabbro("wait", "vm", "a", "--for", "condition=SizingPolicyMatched", "--quiet").err == ""
    user.gabbro("wait", "vm/a", "--for", "condition=Running=False")
    result = user.gabbro("wait", "vm", "a", "--for", "phase=Running", "--timeout", "1", code=TIMEOUT)
    assert "virtualmachine/a did not reach phase=Running within 1 s; it is Stopped: " in result.err
    user.gabbro("wait", "vm", "absent", "--for", "phase=Running", code=NOT_FOUND)
    user.gabbro("wait", "vm", "absent", "--for", "delete")


def test_wait_sees_the_change_and_the_end(user):
    user.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": ["example.org/a"]}})
    user.gabbro("delete", "cm", "a")
    with user.follow("wait", "cm", "a", "--for", "delete") as waiting:
        user.kubectl("patch", "cm", "a", "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
        assert waiting.process.wait(10) == OK
    user.apply(machine("b"))
    with user.follow("wait", "vm", "b", "--for", "phase=Running") as waiting:
        waiting.until("b: ")
        user.gabbro("delete", "vm", "b", "--wait")
        waiting.until("virtualmachine/b was deleted meanwhile")
        assert waiting.process.wait(10) == FAILED


def test_how_a_change_comes_to_a_machine_is_explained_without_a_gateway(admin):
    """(D75, D76, D78) gabbro explain change says it by the table that decides."""
    nowhere = {"KUBECONFIG": "/nonexistent"}
    said = admin.gabbro("explain", "change", env=nowhere).out
    for part in ("spec.runPolicy", "at once", "spec.bootloader", "by a restart", "metadata.name", "never"):
        assert part in said, said
    assert "spec.cpu.cores" in admin.gabbro("explain", "change", "cpu", env=nowhere).out
    one = json.loads(admin.gabbro("explain", "change", "spec.disruptions.applyMode", "-o", "json", env=nowhere).out)
    assert (one["field"], one["restart"]) == ("spec.disruptions", "at once")
    for words in (["change", "spec.colour"], ["change", "cpu", "memory"], ["weather"]):
        assert "gabbro explain change" in admin.gabbro("explain", *words, code=USAGE).err, words


# --- attach and detach


def test_attach_names_what_is_attached_to_which_machine(user):
    user.apply(disk("data"))
    result = user.gabbro("attach", "web", "data", "cvi/tools")
    assert result.lines == ["virtualdisk/data is being attached to web (virtualmachineblockdeviceattachment/web-data)",
                            "clustervirtualimage/tools is being attached to web (virtualmachineblockdeviceattachment/web-cvi-tools)"]
    assert user.get("vmbda", "web-cvi-tools")["spec"] == {"virtualMachineName": "web", "blockDeviceRef": {"kind": "ClusterVirtualImage", "name": "tools"}}
    assert "already" in user.gabbro("attach", "web", "data", code=FAILED).err
    late = user.gabbro("attach", "web", "other", "--name", "mine", "--wait", "--timeout", "1", code=TIMEOUT)
    assert "mine is Pending" in late.err and "does not exist" in late.err
    assert user.gabbro("detach", "vm/web", "vd/data", "--wait").lines == ["virtualdisk/data was detached from web"]
    assert "is not attached to web" in user.gabbro("detach", "web", "data", code=NOT_FOUND).err


@pytest.mark.parametrize("words", [["attach"], ["attach", "web"], ["attach", "web", "vm/other"], ["attach", "vd/web", "data"],
                                   ["attach", "web", "vd/"], ["attach", "web", "a", "b", "--name", "x"], ["attach", "web", "a", "--wait", "--timeout", "0"],
                                   ["detach", "web"], ["detach", "web", "nokind/x"]])
def test_attach_and_detach_refuse_what_they_do_not_understand(user, words):
    user.gabbro(*words, code=USAGE)


def test_an_attachment_cannot_be_changed(user):
    user.gabbro("attach", "web", "data")
    changed = user.get("vmbda", "web-data")
    changed["spec"]["virtualMachineName"] = "db"
    assert "immutable" in user.gabbro("apply", "-f", "-", input=json.dumps(changed), code=FAILED).err


def test_set_tells_how_it_comes_and_changes_what_it_says(user):
    """(D75, D78) A machine that is off takes its size with the next start; a dry run changes nothing, and what is refused is not half done."""
    user.apply(machine("sized"), disk("sized-root"))
    def spec():
        return json.loads(user.gabbro("get", "vm", "sized", "-o", "json").out)["spec"]
    before = spec()
    told = user.gabbro("set", "vm", "sized", "--cores", "4", "--memory", "2Gi", "--dry-run").out
    assert "spec.cpu.cores" in told and "with the next start" in told and "dry run" in told
    assert spec() == before
    told = user.gabbro("set", "vm/sized", "--cores", "4", "--memory", "2Gi", "--grace-period", "5", "--live").out
    assert "virtualmachine/sized changed" in told
    now = spec()
    assert (now["cpu"]["cores"], now["memory"]["size"], now["terminationGracePeriodSeconds"]) == (4, "2Gi", 5)
    assert now["disruptions"]["applyMode"] == "Live" and now["blockDeviceRefs"] == before["blockDeviceRefs"]
    assert "as it is" in user.gabbro("set", "vm", "sized", "--cores", "4").out
    for words in (["--cores", "17"], ["--memory", "lots"], ["--core-fraction", "half"]):
        assert user.gabbro("set", "vm", "sized", *words, code=FAILED).err, words
    for words in (["vm", "sized"], ["vm", "sized", "--cores", "-1"], ["vd", "sized-root", "--cores", "2"], ["--cores", "2"],
                  ["vm", "sized", "--eject"], ["vm", "sized", "--disc", "vd/data"], ["vm", "sized", "--disc", "vi/"], ["vm", "sized", "--disc", "a", "--eject"],
                  ["vm", "sized", "--nic", "Main"], ["vm", "sized", "--link", "loose"], ["vm", "sized", "--link", "up", "--nic", "dmz"]):
        user.gabbro("set", *words, code=USAGE)
    user.gabbro("set", "vm", "absent", "--cores", "2", code=NOT_FOUND)
    assert spec() == now
    told = user.gabbro("set", "vm", "sized", "--link", "down", "--nic", "main").out
    assert "spec.networks.linkState" in told and spec()["networks"] == [{"type": "Main", "linkState": "Down"}]
    user.gabbro("set", "vm", "sized", "--link", "up")
    assert spec()["networks"] == [{"type": "Main", "linkState": "Up"}]
    root = before["blockDeviceRefs"][0]
    for words, refs in ((["--disc", "tools"], [root, {"kind": "VirtualImage", "name": "tools"}]),
                        (["--disc", "cvi/more", "--link", "down"], [root, {"kind": "ClusterVirtualImage", "name": "more"}]),
                        (["--eject"], [root])):
        told = user.gabbro("set", "vm", "sized", *words).out
        assert "spec.blockDeviceRefs" in told and spec()["blockDeviceRefs"] == refs, told
    assert spec()["networks"] == [{"type": "Main", "linkState": "Down"}]
