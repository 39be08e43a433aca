# SPDX-License-Identifier: Apache-2.0
"""One clear answer with every reason, nothing half-made."""
import copy
import json
import subprocess
import threading

import pytest
from reliability import attack

MACHINE = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": "bad"},
           "spec": {"virtualMachineClassName": "generic", "cpu": {"cores": 1, "coreFraction": "20%"}, "memory": {"size": "128Mi"},
                    "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "bad-root"}]}}


def refused(cloud, manifest, *words):
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    result = cloud.gabbro("apply", "-f", "-", input=text, check=False)
    assert result.returncode != 0
    for word in words:
        assert word in result.stderr, result.stderr
    assert cloud.kubectl("get", "vm", "bad", check=False).returncode != 0
    return result.stderr


def changed(**spec):
    machine = copy.deepcopy(MACHINE)
    machine["spec"].update(spec)
    return machine


@pytest.mark.parametrize("text", ['{"kind": ', "kind: [", "a: b: c", '{"a":1,"a":2}'])
def test_malformed_text(cloud, text):
    refused(cloud, text)


def test_unknown_field(cloud):
    refused(cloud, changed(colour="red"), "spec.colour")


def test_wrong_type(cloud):
    refused(cloud, changed(cpu={"cores": "two"}), "spec.cpu.cores")


def test_D40_D43_cores_17(cloud):
    refused(cloud, changed(cpu={"cores": 17}), "spec.cpu.cores", "18")


def test_memory_0(cloud):
    refused(cloud, changed(memory={"size": "0"}), "spec.memory.size")


def test_D82_user_data_of_3_kB(cloud):
    refused(cloud, changed(provisioning={"type": "UserData", "userData": "#cloud-config\n" + "x" * 3000}), "2048")


def test_two_disks_of_one_name(cloud):
    refused(cloud, changed(blockDeviceRefs=[{"kind": "VirtualDisk", "name": "a"}] * 2), "blockDeviceRefs[1]")


def test_every_reason_at_once(cloud):
    words = refused(cloud, changed(cpu={"cores": 17}, memory={"size": "0"}, colour="red", runPolicy="Sometimes"))
    for path in ("spec.cpu.cores", "spec.memory.size", "spec.colour", "spec.runPolicy"):
        assert path in words, words


def test_the_same_manifest_twice_at_once(cloud):
    text = json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": "twice"},
                       "spec": {"persistentVolumeClaim": {"size": "16Mi"}}})
    results = []
    threads = [threading.Thread(target=lambda: results.append(cloud.gabbro("apply", "-f", "-", input=text, check=False))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.returncode for r in results] == [0] * 4, [r.stderr for r in results]
    assert len([d for d in cloud.get("vd")["items"] if d["metadata"]["name"] == "twice"]) == 1
    cloud.gabbro("delete", "vd", "twice", "--wait")


def upload(cloud, path, name, *more):
    return cloud.gabbro("image", "upload", str(path), "--name", name, "--cluster", *more, check=False, timeout=60)


def make_qcow2(cloud, name, *options):
    path = cloud.folder / name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "16M"], check=True)
    return path


def test_B31_attack_7_wrong_sha256(cloud):
    image = make_qcow2(cloud, "plain.qcow2")
    result = upload(cloud, image, "wrong-digest", "--sha256", "0" * 64)
    assert result.returncode != 0 and "SHA-256" in result.stderr
    cloud.gabbro("delete", "cvi", "wrong-digest", check=False)
    attack(7, "an upload that does not hash to what was promised", "refused, nothing is kept")


def test_attack_1_qcow2_with_backing_file(cloud):
    image = make_qcow2(cloud, "backing.qcow2", "-b", "/etc/passwd", "-F", "raw", "-u")
    result = upload(cloud, image, "backing")
    assert result.returncode != 0 and "ImageHasBackingFile" in result.stderr
    cloud.gabbro("delete", "cvi", "backing", check=False)
    attack(1, "an uploaded qcow2 with a backing file of the host", "refused: ImageHasBackingFile")


def test_attack_2_qcow2_with_data_file(cloud):
    image = make_qcow2(cloud, "data.qcow2", "-o", f"data_file={cloud.folder}/data.raw")
    result = upload(cloud, image, "data")
    assert result.returncode != 0 and "ImageHasDataFile" in result.stderr
    cloud.gabbro("delete", "cvi", "data", check=False)
    attack(2, "an uploaded qcow2 with an external data file", "refused: ImageHasDataFile")


def test_missing_pool_path(cloud):
    pool = {"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "nowhere"},
            "spec": {"type": "Directory", "path": str(cloud.folder / "does/not/exist")}}
    cloud.gabbro("apply", "-f", "-", input=json.dumps(pool))

    def told():
        status = cloud.get("storagepool", "nowhere").get("status", {})
        return "PoolPathMissing" in json.dumps(status) or None

    cloud.eventually("the pool says that its path is missing", told, 30)
    cloud.gabbro("delete", "storagepool", "nowhere", "--wait")


def test_pool_path_of_the_system_is_refused(cloud):
    pool = {"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "etc"}, "spec": {"type": "Directory", "path": "/etc"}}
    result = cloud.gabbro("apply", "-f", "-", input=json.dumps(pool), check=False)
    assert result.returncode != 0 and "spec.path" in result.stderr
