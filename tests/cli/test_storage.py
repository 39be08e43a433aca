# SPDX-License-Identifier: Apache-2.0
"""What storage can, asked on the command line, and pools without any host (B11, B13)."""
import json

from conftest import FAILED, NOT_FOUND, OK, USAGE

POOL = {"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "shelf"}, "spec": {"type": "Directory", "path": "/srv/shelf"}}


def test_a_type_is_explained_without_a_gateway(admin):
    nowhere = {"KUBECONFIG": "/nonexistent"}
    said = admin.gabbro("explain", "capability", "RBD", "snapshotExternal", env=nowhere)
    assert said.lines[0] == "RBD: snapshotExternal: Refused" and "MachineSnapshotNotOnRbd" in said.out and "Remedy" in said.out
    table = admin.gabbro("explain", "capability", "Directory", env=nowhere).lines
    assert table[0].split() == ["OPERATION", "VERDICT", "REASON", "MESSAGE"] and len(table) > 15
    answers = json.loads(admin.gabbro("explain", "capability", "NFS", "-o", "json", env=nowhere).out)
    assert {a["operation"] for a in answers} > {"create", "resize", "lock"} and not any(a["verdict"] == "Supported" for a in answers)


def test_wrong_questions_are_told(admin):
    for words, part in [((), "what?"), (("capability",), "what?"), (("capability", "node/a"), "pools, disks and machines"),
                        (("capability", "RBD", "fly"), "there is no operation fly"), (("capability", "vd/root", "migrateLocal"), "is asked of machines"),
                        (("capability", "RBD", "resize", "-o", "xml"), "no output format xml")]:
        assert part in admin.gabbro("explain", *words, code=USAGE).err, words
    admin.gabbro("explain", "capability", "sp/absent", code=NOT_FOUND)


def test_a_pool_without_hosts_is_asked_drained_and_deleted(admin):
    admin.apply(POOL, code=OK)
    admin.gabbro("wait", "sp", "shelf", "--for", "phase=Pending")
    assert json.loads(admin.gabbro("explain", "capability", "sp/shelf", "shrink", "-o", "json").out)["code"] == "ShrinkNotOffered"
    admin.gabbro("pool", "drain", "shelf")
    assert json.loads(admin.gabbro("get", "sp", "shelf", "-o", "json").out)["spec"]["drain"] is True
    admin.gabbro("pool", "resume", "shelf")
    admin.gabbro("pool", "refresh", "shelf")
    plan = admin.gabbro("pool", "delete", "shelf", "--with-disks").lines[-1].split()[-1]
    assert "not those of plan" in admin.gabbro("pool", "delete", "shelf", "--with-disks", "--plan", "f" * 16, code=FAILED).err
    admin.gabbro("pool", "delete", "shelf", "--with-disks", "--plan", plan)
    admin.gabbro("get", "sp", "shelf", code=NOT_FOUND)
    admin.gabbro("pool", "delete", "shelf", code=NOT_FOUND)
    assert "there is no gabbro pool fly" in admin.gabbro("pool", "fly", "shelf", code=USAGE).err
    assert "--plan goes with" in admin.gabbro("pool", "delete", "shelf", "--plan", "x", code=USAGE).err
