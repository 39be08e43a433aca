# SPDX-License-Identifier: Apache-2.0
"""Firmware and devices on real QEMU: EFI goes on to a kernel, Secure Boot refuses one, a TPM keeps its state, disks boot in their order."""
import json
import os
import pathlib
import re
import subprocess
import threading

import pytest

from cloud import BUILD, Daemon
from fleet import Machine, manifest, remove
from guest import condition

MIB = 1 << 20


def apply(cloud, *items):
    cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}))


def image(cloud, name, files):
    """An unpartitioned FAT disk with these files, as an image."""
    path = cloud.folder / f"{name}.raw"
    path.write_bytes(b"")
    os.truncate(path, 48 * MIB)
    subprocess.run(["/usr/sbin/mkfs.vfat", "-F", "32", path], check=True, stdout=subprocess.DEVNULL)
    for folder in ("EFI", "EFI/BOOT"):
        subprocess.run(["mmd", "-i", path, f"::{folder}"], check=True)
    for inside, source in files.items():
        subprocess.run(["mcopy", "-i", path, source, f"::{inside}"], check=True)
    cloud.gabbro("image", "upload", path, "--name", name, "--cluster", timeout=120)
    path.unlink()


def disk(name, source=None, size="64Mi"):
    spec = {"persistentVolumeClaim": {"size": size}}
    if source:
        spec["dataSource"] = {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": source}}
    return {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name}, "spec": spec}


def machine(name, *refs, **spec):
    made = manifest(name, "Manual", "160Mi")[1]
    made["spec"] |= spec | {"blockDeviceRefs": [{"kind": "VirtualDisk", "name": r} if isinstance(r, str) else r for r in refs]}
    return made


class Serial:
    """What comes from the machine's serial port, read from its start on."""

    def __init__(self, machine):
        tty = machine.cloud.virsh("ttyconsole", machine.uuid()).strip()
        self.reader = subprocess.Popen(machine.cloud.argv("cat", tty), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.text = b""
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while chunk := os.read(self.reader.stdout.fileno(), 4096):
            self.text += chunk

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.kill()
        self.reader.wait()

    def says(self, cloud, words, timeout=240):
        try:
            cloud.eventually(words, lambda: re.search(words.encode(), self.text), timeout)
        except AssertionError:
            raise AssertionError(f"{words!r} is not in\n{self.text.decode(errors='replace')[-3000:]}") from None


@pytest.fixture(scope="module")
def kernel():
    return next(pathlib.Path(BUILD, "images/tiny.work").glob("linux-image-*/boot/vmlinuz-*"))


@pytest.fixture
def made(cloud):
    names = []
    yield names
    remove(cloud, *names)


def start(cloud, name):
    cloud.gabbro("start", name, "--wait", "--timeout", "120", timeout=150)
    return Machine(cloud, name)


def xml(machine):
    return machine.cloud.virsh("dumpxml", machine.uuid())


@pytest.fixture(scope="module")
def efis(cloud, kernel, tmp_path_factory):
    """{name: (machine, what its serial port says)}: both boot at once, for EFI takes its time."""
    script = tmp_path_factory.mktemp("efi") / "startup.nsh"
    script.write_text("fs0:\r\nvmlinuz.efi console=ttyS0 panic=-1 root=/dev/none\r\n")
    image(cloud, "efi-kernel", {"vmlinuz.efi": kernel, "startup.nsh": script})
    image(cloud, "efi-unsigned", {"EFI/BOOT/BOOTX64.EFI": kernel})
    apply(cloud, disk("efi-boot", "efi-kernel"), disk("efi-empty"), disk("safe-boot", "efi-unsigned"),
          machine("efi", "efi-empty", "efi-boot", bootloader="EFI", watchdog={"action": "PowerOff"}), machine("safe", "safe-boot", osId="win11"))
    cloud.gabbro("start", "efi", "safe", "--wait", "--timeout", "120", timeout=250)
    with Serial(Machine(cloud, "efi")) as plain, Serial(Machine(cloud, "safe")) as secure:
        yield {"efi": (Machine(cloud, "efi"), plain), "safe": (Machine(cloud, "safe"), secure)}
    remove(cloud, "vm/efi", "vm/safe", "vd/efi-boot", "vd/efi-empty", "vd/safe-boot", "cvi/efi-kernel", "cvi/efi-unsigned")


def test_D31_D32_EFI_goes_on_to_a_kernel_and_its_variables_stay(cloud, efis):
    efi, serial = efis["efi"]
    serial.says(cloud, r"efi: EFI v2\.\d+ by")
    text = xml(efi)
    assert "OVMF_CODE" in text and "secure='no'" in text and re.search(r"<watchdog model='i6300esb' action='poweroff'", text)
    variables = re.search(r"<nvram[^>]*>([^<]+)</nvram>", text).group(1)
    cloud.gabbro("stop", "efi", "--force", "--wait", timeout=90)
    assert cloud.run("test", "-s", variables, check=False).returncode == 0, "the variables of a stopped machine stay"
    cloud.kubectl("delete", "vm/efi", timeout=60)
    assert cloud.run("test", "-e", variables, check=False).returncode == 1


def test_D31_a_system_that_nobody_knows_is_refused_with_the_nearest(cloud):
    refused = cloud.gabbro("apply", "-f", "-", input=json.dumps(machine("typo", "typo-root", osId="win-11")), check=False)
    assert refused.returncode and 'spec.osId: Invalid value: "win-11"' in refused.stderr and "win11" in refused.stderr, refused.stderr


def test_D31_secure_boot_refuses_what_is_not_signed_and_the_TPM_keeps_its_state(cloud, efis):
    safe, serial = efis["safe"]
    serial.says(cloud, "Access Denied|Security Violation")
    text = xml(safe)
    assert "secure='yes'" in text and "<tpm model='tpm-crb'>" in text and "offset='localtime'" in text
    assert re.search(r"<target dev='sda' bus='sata'", text) and "type='e1000e'" in text, "Windows brings no virtio drivers"
    state = f"/var/lib/libvirt/swtpm/{safe.uuid()}"
    kept = cloud.run("find", state, "-name", "*permall").stdout
    assert kept, "Windows with Secure Boot has a TPM unasked"
    cloud.gabbro("stop", "safe", "--force", "--wait", timeout=90)
    assert cloud.run("find", state, "-name", "*permall").stdout == kept
    cloud.kubectl("delete", "vm/safe", timeout=60)
    assert cloud.run("test", "-e", state, check=False).returncode == 1, "a TPM's state goes with its machine"


def test_D32_C69_the_next_disk_boots_when_one_has_no_boot_loader_and_no_screen_listens(cloud, made):
    made += ["vm/second", "vd/second-empty", "vd/second-root"]
    apply(cloud, disk("second-empty"), disk("second-root", "tiny", "256Mi"),
          machine("second", "second-empty", "second-root", graphics={"protocol": "SPICE"}))
    second = start(cloud, "second")
    cloud.wait("vm", "second", "condition=AgentReady", 240)  # SeaBIOS would not have gone on from the empty disk
    text = xml(second)
    assert re.findall(r"<target dev='(vd.)'.*?<boot order='(.)'/>", text, re.S) == [("vda", "2"), ("vdb", "1")], text
    assert condition(second.vm(), "ConfigurationApplied")["status"] == "True"
    assert "<graphics type='spice'>" in text
    listening = cloud.run("ss", "-ltnpH").stdout
    assert "qemu" not in listening, listening


def boot_sector(cloud, name, source):
    """A disk of nothing but this program, as an image."""
    work = cloud.folder / name
    subprocess.run(["as", "--32", pathlib.Path(__file__).with_name(source), "-o", f"{work}.o"], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "-e", "0x7c00", "--oformat", "binary", f"{work}.o", "-o", f"{work}.raw"],
                   check=True)
    os.truncate(f"{work}.raw", MIB)
    cloud.gabbro("image", "upload", f"{work}.raw", "--name", name, "--cluster", timeout=120)


def test_D31_D32_a_legacy_guest_finds_its_emulated_devices_from_the_disk_that_is_named_first(cloud, made):
    boot_sector(cloud, "legacy", "legacy_boot.s")
    made += ["vm/old", "vd/old-data", "vd/old-root", "cvi/legacy"]
    apply(cloud, disk("old-data", "legacy"), disk("old-root", "legacy"),
          machine("old", "old-data", {"kind": "VirtualDisk", "name": "old-root", "bootOrder": 1}, osType="Legacy"))
    old = start(cloud, "old")
    with Serial(old) as serial:
        serial.says(cloud, "legacy: booted from disk 0, wrote another one, has an e1000e; end")
    text = xml(old)
    assert re.findall(r"<target dev='(sd.)' bus='(.*?)'.*?<boot order='(.)'/>", text, re.S) == [("sda", "sata", "2"), ("sdb", "sata", "1")], text
    assert "<rng" not in text and "offset='localtime'" in text


QEMU = pathlib.Path("/usr/bin/qemu-system-x86_64")


def versions(machine):
    """What its QEMU said when it started, and what the host has now."""
    node = machine.cloud.get("node", machine.vm()["status"]["nodeName"])
    return machine.vm()["status"]["versions"]["qemu"], node["status"]["virtualization"]["qemuVersion"]


@pytest.fixture
def upgraded(cloud):
    """QEMU of the host is a copy that gives 99 as the last number of its version; what runs goes on with the other file."""
    said = subprocess.run([QEMU, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    micro = int(re.search(r"version \d+\.\d+\.(\d+)", said).group(1))
    program = QEMU.read_bytes()
    found = [m.start() for m in re.finditer(rb"\x48\xc7.\x10" + re.escape(bytes([micro, 0, 0, 0])), program, re.S)]
    assert len(found) == 1, "query-version of this QEMU was compiled in another way"
    copy = cloud.folder / "qemu-upgraded"
    copy.write_bytes(program[:found[0] + 4] + b"\x63" + program[found[0] + 5:])
    copy.chmod(0o755)

    def upgrade():
        cloud.run("mount", "--bind", copy, QEMU)
        Daemon(cloud, "agent").again()

    yield upgrade
    cloud.run("umount", QEMU, check=False)
    copy.unlink()
    Daemon(cloud, "agent").again()


def test_D51_a_QEMU_patched_to_say_another_version_leaves_machines_out_of_date_until_they_restart(cloud, made, upgraded):
    boot_sector(cloud, "upgrade", "legacy_boot.s")
    made += ["vm/upgrade", "vd/upgrade-root", "cvi/upgrade"]
    apply(cloud, disk("upgrade-root", "upgrade"), machine("upgrade", "upgrade-root"))
    runs = start(cloud, "upgrade")
    old, host = versions(runs)
    assert old == host and condition(runs.vm(), "FirmwareUpToDate")["status"] == "True"
    pid = runs.pid()
    upgraded()
    said = cloud.eventually("it is told", lambda: (c := condition(runs.vm(), "FirmwareUpToDate"))["status"] == "False" and c, 60)
    new = old.rsplit(".", 1)[0] + ".99"
    assert said["reason"] == "FirmwareOutOfDate" and f"QEMU {old}" in said["message"] and new in said["message"], said
    assert runs.pid() == pid and versions(runs) == (old, new), "what runs goes on as it is"
    cloud.gabbro("restart", "upgrade", "--force", "--wait", "--timeout", "120", timeout=150)
    cloud.eventually("it is up to date", lambda: condition(runs.vm(), "FirmwareUpToDate")["status"] == "True", 90)
    assert versions(runs) == (new, new)
