# SPDX-License-Identifier: Apache-2.0
"""What a machine has besides memory and disks goes along: variables of EFI, the state of a TPM, disks that were attached (A19)."""
import hashlib
import json
import pathlib

TEMPLATE = pathlib.Path("/usr/share/OVMF/OVMF_VARS_4M.fd")


def content(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(host, status):
    """Content of the machine's variables of EFI and of its TPM on a host, None where there is none."""
    uuid = status["hardware"]["uuid"]
    nvram = host.host / "lib/qemu/nvram" / f"firm-{uuid[:8]}_VARS.fd"
    tpm = host.host / "lib/swtpm" / uuid / "tpm2/tpm2-00.permall"
    return {"variables": content(nvram) if nvram.exists() else None, "tpm": content(tpm) if tpm.exists() else None}


def test_A19_EFI_TPM_and_attached_disks_go_along(lab):
    """They are the same on the other host, and nothing of them stays on the first one."""
    disk = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "spec": {"persistentVolumeClaim": {"size": "32Mi"}}}
    lab.gateway.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        disk | {"metadata": {"name": "firm-root"}}, disk | {"metadata": {"name": "firm-more"}},
        {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": "firm"},
         "spec": {"cpu": {"cores": 1}, "memory": {"size": "160Mi"}, "bootloader": "EFI", "tpm": True, "runPolicy": "Manual",
                  "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "firm-root"}]}}]}))
    lab.gateway.gabbro("start", "firm", "--wait", timeout=150)
    lab.gateway.gabbro("attach", "firm", "firm-more", "--wait", timeout=150)
    before = lab.gateway.vm("firm")["status"]
    source = next(h for h in lab.hosts if h.node == before["nodeName"])
    lab.gateway.eventually("its firmware has written variables", lambda: kept(source, before)["variables"] != content(TEMPLATE), 120)
    there = lab.gateway.gabbro("migrate", "vm", "firm", "--wait", "--timeout", "150", timeout=180)
    after = lab.gateway.vm("firm")["status"]
    target = next(h for h in lab.hosts if h.node == after["nodeName"])
    assert target.node != source.node, there.stdout
    lab.gateway.eventually("nothing is left", lambda: kept(source, before) == {"variables": None, "tpm": None}, 60)
    came = kept(target, after)
    assert came["variables"] not in (None, content(TEMPLATE)) and came["tpm"], came
    lab.gateway.eventually("it has both disks there", lambda: {d["name"] for d in lab.gateway.vm("firm")["status"]["blockDeviceRefs"]} == {
        "firm-root", "firm-more"}, 60)
    assert after["epoch"] == before["epoch"] and lab.gateway.get("vmbda", "firm-firm-more")["status"]["phase"] == "Attached"
    for name in ("firm-root", "firm-more"):
        assert [h.node for h in lab.hosts if list((h.host / "lib/gabbro").glob(f"*/{name}-*"))] == [target.node]
    lab.gateway.gabbro("stop", "firm", "--force", "--wait", timeout=90)
    lab.gateway.kubectl("delete", "vm/firm", "vmbda/firm-firm-more", "--timeout=60s", timeout=90)
    lab.gateway.kubectl("delete", "vd/firm-root", "vd/firm-more", "--timeout=60s", timeout=90)
