# SPDX-License-Identifier: Apache-2.0
"""Storage pools in life: what they can and why not, foreign folders, drains, limits, growth on xfs and btrfs, deletion by a plan.

Attack 31: links in the place of a pool, folders of others.
"""
import json
import subprocess

import pytest
from reliability import attack
from test_8_space import condition, machine, remove

GIB = 1 << 30


def pool(cloud, name, path, **spec):
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": name}, "spec": {"type": "Directory", "path": str(path)} | spec}))


def explain(cloud, what, operation):
    return json.loads(cloud.gabbro("explain", "capability", what, operation, "-o", "json").stdout)


def error_of(cloud, name):
    nodes = cloud.get("sp", name).get("status", {}).get("nodes", [])
    return (nodes[0].get("error") or {}) if nodes else {}


# --- what a pool can


@pytest.mark.parametrize("kind", ["LVM", "LVMThin", "NFS", "ISCSI", "GlusterFS", "RBD", "DRBD"])
def test_B13_a_type_that_is_not_there_is_refused_with_its_reason(cloud, kind):
    wanted = {"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "later"}, "spec": {"type": kind}}
    said = cloud.gabbro("apply", "-f", "-", input=json.dumps(wanted), check=False)
    assert said.returncode == 1 and "cannot be made yet" in said.stderr, said
    raw = cloud.kubectl("create", "--raw", "/apis/gabbro.dev/v1/storagepools", "-f", "-", input=json.dumps(wanted), check=False)
    assert raw.returncode and "cannot be made yet" in raw.stderr + raw.stdout, raw


def test_B24_RBD_offers_no_machine_snapshots_and_says_why(cloud):
    for operation in ("snapshotInternal", "snapshotExternal", "revert"):
        said = explain(cloud, "RBD", operation)
        assert (said["verdict"], said["code"]) == ("Refused", "MachineSnapshotNotOnRbd") and said["remedy"] and said["since"], said


def test_B11_the_pool_tells_what_it_can(cloud):
    told = cloud.get("sp", "default")["status"]
    assert {"create", "resize", "resizeOnline", "lock"} <= set(told["capabilities"]["supported"])
    for group in told["capabilities"]["refused"]:
        assert group["code"] and group["message"] and group["since"] and group["remedy"], group
    assert told["health"] in ("Healthy", "Degraded") and "one host" in told["storageLock"]
    assert explain(cloud, "sp/default", "shrink")["code"] == "ShrinkNotOffered"
    assert cloud.gabbro("explain", "capability", "sp/default", "fly", check=False).returncode == 2
    assert cloud.gabbro("explain", "capability", "sp/absent", check=False).returncode == 3


# --- whose folder it is


def test_a_folder_with_foreign_files_is_refused_and_left_alone(cloud):
    folder = cloud.folder / "foreign"
    folder.mkdir()
    (folder / "holiday.jpg").write_text("mine")
    pool(cloud, "foreign", folder)
    error = cloud.eventually("it says why", lambda: error_of(cloud, "foreign").get("reason") and error_of(cloud, "foreign"), 30)
    assert error["reason"] == "PoolFolderForeign" and "holiday.jpg" in error["message"], error
    assert [f.name for f in folder.iterdir()] == ["holiday.jpg"] and "foreign" not in cloud.virsh("pool-list", "--all", "--name").split()
    log = cloud.demo / "log/agent.log"
    cloud.eventually("its host waits longer each time", lambda: log.read_text().count("holiday.jpg") >= 4, 30)
    (folder / "holiday.jpg").unlink()
    cloud.gabbro("pool", "refresh", "foreign")
    cloud.eventually("it is tried at once", lambda: cloud.get("sp", "foreign")["status"]["phase"] == "Ready", 4)
    cloud.gabbro("pool", "delete", "foreign")
    attack(31, "a folder with the files of others, named as a pool", "refused: PoolFolderForeign; nothing in it is touched")


def test_attack_31_a_link_in_the_place_of_a_pool_is_refused(cloud):
    (cloud.folder / "elsewhere").mkdir()
    (cloud.folder / "link").symlink_to(cloud.folder / "elsewhere")
    pool(cloud, "link", cloud.folder / "link")
    error = cloud.eventually("it says why", lambda: error_of(cloud, "link").get("reason") and error_of(cloud, "link"), 30)
    assert error["reason"] == "PoolPathForbidden" and "symbolic link" in error["message"], error
    cloud.gabbro("pool", "delete", "link")
    attack(31, "a symbolic link in the place of a pool's folder", "refused: PoolPathForbidden")


# --- libvirt deletes and shrinks what is in use; Gabbro does not


FOREIGN = """<domain type='qemu'><name>somebody</name><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""


def volume_of(cloud, disk):
    return cloud.get("volumes.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={disk}")["items"][0]


def grow(cloud, disk, size):
    return cloud.kubectl("patch", "vd", disk, "--type", "merge", "-p", json.dumps({"spec": {"persistentVolumeClaim": {"size": size}}}))


def test_a_file_that_a_foreign_domain_has_is_neither_resized_nor_deleted(cloud):
    cloud.gabbro("apply", "-f", "-", input=machine("kept", [("kept-root", "256Mi", None, "tiny")]))
    cloud.wait("vd", "kept-root", "phase=Ready", 120)
    cloud.gabbro("stop", "kept", "--force", "--wait")
    cloud.gabbro("delete", "vm", "kept", "--wait", timeout=150)
    path = volume_of(cloud, "kept-root")["status"]["path"]
    (cloud.folder / "somebody.xml").write_text(FOREIGN.format(path=path))
    cloud.virsh("create", cloud.folder / "somebody.xml")
    grow(cloud, "kept-root", "300Mi")
    held = lambda: condition(cloud.get("vd", "kept-root"), "Resizing")  # noqa: E731
    cloud.eventually("it does not grow", lambda: held().get("reason") == "ResizeNotSupported", 30)
    cloud.gabbro("delete", "vd", "kept-root")
    cloud.eventually("it is not deleted", lambda: volume_of(cloud, "kept-root")["status"].get("error", {}).get("reason") == "VolumeInUse", 30)
    size = json.loads(cloud.run("qemu-img", "info", "-U", "--output", "json", path).stdout)["virtual-size"]
    assert size == 256 << 20 and cloud.virsh("domstate", "somebody").strip() == "running"
    cloud.virsh("vol-delete", path)  # libvirt itself says nothing
    assert cloud.run("ls", path, check=False).returncode
    cloud.virsh("destroy", "somebody")
    cloud.eventually("the disk is gone", lambda: cloud.kubectl("get", "vd", "kept-root", check=False).returncode, 60)


# --- growth, drain, limit and deletion, on real file systems


def loops():
    return subprocess.run(["losetup", "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def outside(*argv):
    return subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class Mounted:
    """A StoragePool on a file system of its own in a file."""

    def __init__(self, cloud, kind):
        self.cloud, self.kind, self.path, self.file = cloud, kind, cloud.folder / kind, cloud.folder / f"{kind}.img"
        self.path.mkdir()
        cloud.run("truncate", "-s", "1G", self.file)
        cloud.run(f"mkfs.{kind}", "-q", self.file)
        self.device = outside("losetup", "-f", "--show", self.file)
        cloud.run("rm", "-f", self.device)
        cloud.run("mknod", self.device, "b", "7", self.device.removeprefix("/dev/loop"))  # the emulated host has devices of its own
        cloud.run("mount", self.device, self.path)
        pool(cloud, kind, self.path)
        cloud.wait("storagepool", kind, "phase=Ready")

    def grow(self, size):
        self.cloud.run("truncate", "-s", size, self.file)
        outside("losetup", "-c", self.device)
        self.cloud.run(*{"xfs": ["xfs_growfs", self.path], "btrfs": ["btrfs", "filesystem", "resize", "max", self.path]}[self.kind])

    def there(self):
        return self.cloud.get("sp", self.kind)["status"]["nodes"][0]

    def end(self):
        self.cloud.run("umount", "-l", self.path, check=False)
        self.cloud.run("rm", "-f", self.device)
        outside("losetup", "-d", self.device)


@pytest.fixture(scope="module", params=["xfs", "btrfs"])
def mounted(request, cloud):
    if not loops():
        pytest.skip("no loop device: growth of xfs and btrfs is not seen here")
    made = Mounted(cloud, request.param)
    yield made
    made.end()


def test_B9_a_pool_that_grows_under_a_running_machine_is_noticed(cloud, mounted):
    cloud.eventually("what the file system can is told", lambda: mounted.there().get("filesystem") == mounted.kind, 30)
    assert mounted.there()["reflink"] is True
    assert explain(cloud, f"sp/{mounted.kind}", "cloneReflink")["verdict"] == "Supported"
    if not cloud.get("sp", "default")["status"]["nodes"][0]["reflink"]:  # two pools, one question, two answers
        assert explain(cloud, "sp/default", "cloneReflink")["code"] == "ReflinkNotOnFilesystem"
    cloud.gabbro("apply", "-f", "-", input=machine("grows", [("grows-root", "256Mi", mounted.kind, "tiny")]))
    cloud.wait("vm", "grows", "phase=Running", 180)
    flags = cloud.run("sh", "-c", f"lsattr {mounted.path}/grows-root-*", check=False).stdout.split(" ")[0]
    assert ("C" in flags) == (mounted.kind == "btrfs"), flags
    before = mounted.there()["capacityBytes"]
    mounted.grow("2G")
    cloud.gabbro("pool", "refresh", mounted.kind)
    cloud.eventually("the pool is larger", lambda: mounted.there()["capacityBytes"] > before + GIB * 9 // 10, 30)
    assert cloud.domstate("grows") == "running"
    lie_there = [v["spec"]["capacityBytes"] for v in cloud.get("volumes.host.gabbro.dev")["items"] if v["spec"]["pool"]["name"] == mounted.kind]
    assert len(lie_there) == 2 and 256 << 20 in lie_there, "the disk, and the copy of the image whose blocks it shares"
    cloud.eventually("its disks are counted", lambda: mounted.there()["allocatedBytes"] == sum(lie_there), 30)


@pytest.mark.parametrize("into,how", [(None, "Reflink"), ("default", "Full")])
def test_a_disk_is_cloned_within_its_pool_and_into_another(cloud, mounted, into, how):
    assert explain(cloud, "vd/grows-root", "cloneLinked")["code"] == "DiskInUse"
    cloud.gabbro("stop", "grows", "--force", "--wait")
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": "copy"},
        "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualDisk", "name": "grows-root"}},
                 "persistentVolumeClaim": {"size": "300Mi", "storageClassName": into or mounted.kind}}}))
    cloud.wait("vd", "copy", "phase=Ready", 60)
    files = {v["metadata"]["labels"]["gabbro.dev/owner-name"]: v["status"] for v in cloud.get("volumes.host.gabbro.dev")["items"]}
    assert files["copy"]["copied"] == {"mode": how, "consistency": "Stopped"}, files["copy"]
    info = json.loads(cloud.run("qemu-img", "info", "-U", "--output", "json", files["copy"]["path"]).stdout)
    assert info["virtual-size"] == 300 << 20 and "backing-filename" not in info, info
    compared = cloud.run("qemu-img", "compare", "-U", "-f", "qcow2", "-F", "qcow2", files["grows-root"]["path"], files["copy"]["path"], check=False)
    assert "identical" in compared.stdout, compared
    cloud.run("qemu-img", "check", "-q", "-f", "qcow2", files["copy"]["path"])
    cloud.gabbro("delete", "vd", "copy", "--wait")
    cloud.gabbro("start", "grows", "--wait", timeout=150)


def test_a_drained_pool_takes_no_new_disks_and_keeps_the_old(cloud, mounted):
    cloud.gabbro("pool", "drain", mounted.kind)
    cloud.gabbro("apply", "-f", "-", input=json.dumps({
        "apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": "late"},
        "spec": {"persistentVolumeClaim": {"size": "8Mi", "storageClassName": mounted.kind}}}))
    cloud.eventually("the disk says why", lambda: condition(cloud.get("vd", "late"), "StorageClassReady").get("reason") == "PoolDraining", 30)
    assert cloud.domstate("grows") == "running"
    cloud.gabbro("pool", "resume", mounted.kind)
    cloud.wait("vd", "late", "phase=WaitForFirstConsumer", 30)
    cloud.gabbro("delete", "vd", "late", "--wait")


def test_a_pool_goes_when_it_is_empty_or_by_a_plan_and_a_disk_in_use_never(cloud, mounted):
    name = mounted.kind
    refused = cloud.gabbro("pool", "delete", name, check=False)
    assert refused.returncode == 1 and "default/grows-root" in refused.stderr, refused
    raw = cloud.kubectl("delete", "sp", name, check=False)
    assert raw.returncode and "is not empty" in raw.stderr, raw
    used = cloud.gabbro("pool", "delete", name, "--with-disks", check=False)
    assert used.returncode == 1 and "never deleted" in used.stderr and "grows" in used.stdout, used
    assert cloud.domstate("grows") == "running"
    cloud.gabbro("stop", "grows", "--force")
    cloud.gabbro("delete", "vm", "grows", "--wait", timeout=150)
    plan = cloud.gabbro("pool", "delete", name, "--with-disks").stdout.splitlines()[-1].split()[-1]
    wrong = cloud.gabbro("pool", "delete", name, "--with-disks", "--plan", "0" * 16, check=False)
    assert wrong.returncode == 1 and cloud.get("vd", "grows-root")
    cloud.gabbro("pool", "delete", name, "--with-disks", "--plan", plan, timeout=150)
    cloud.eventually("it is gone", lambda: cloud.kubectl("get", "sp", name, check=False).returncode != 0, 60)
    assert [f for f in cloud.run("ls", mounted.path).stdout.split() if f != "lost+found"] == []
    assert cloud.kubectl("get", "vd", "grows-root", check=False).returncode != 0


def test_disks_stay_within_the_limit_of_their_pool(cloud):
    folder = cloud.folder / "limited"
    folder.mkdir()
    cloud.run("mount", "-t", "tmpfs", "-o", "size=64m", "limited", folder)
    pool(cloud, "limited", folder, overcommitPercent=200)
    cloud.wait("storagepool", "limited", "phase=Ready")
    cloud.eventually("its size is known", lambda: cloud.get("sp", "limited")["status"]["nodes"][0].get("capacityBytes"), 90)
    cloud.gabbro("apply", "-f", "-", input=machine("limit", [("limit-root", "256Mi", None, "tiny"), ("limit-data", "129Mi", "limited", None)]))
    cloud.eventually("the machine says why", lambda: "storage pool limited" in condition(cloud.vm("limit"), "Running").get("message", ""), 60)
    assert cloud.run("ls", folder).stdout == ""
    cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "gabbro.dev/v1", "kind": "StoragePool", "metadata": {"name": "limited"},
                                                       "spec": {"type": "Directory", "path": str(folder), "overcommitPercent": 400}}))
    cloud.wait("vm", "limit", "phase=Running", 120)
    remove(cloud, "limit", ["limit-data", "limit-root"])
    cloud.gabbro("pool", "delete", "limited", "--with-disks", "--plan",
                 cloud.gabbro("pool", "delete", "limited", "--with-disks").stdout.splitlines()[-1].split()[-1])
    cloud.run("umount", "-l", folder)
