#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Build the tiny test guest: Debian's cloud kernel, busybox, dropbear, qemu-guest-agent, and a reader of cloud-init seeds.

usage: build.py --seed-reader PROGRAM --output IMAGE.qcow2 [--work DIR]

The image boots by BIOS from an MBR disk: partition 1 (FAT, syslinux, kernel, initramfs), partition 2 (ext4 root, grown to the end of
the disk at every boot). Everything comes from Debian packages that `apt-get download` fetches or that are installed here. The result
is kept while its inputs are the same.
"""
import argparse
import hashlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
BOOT_MIB = 40
ROOT_MIB = 56
SECTOR = 512
BOOT_START = 2048

INITRAMFS_MODULES = ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod"]
ROOT_MODULES = ["virtio_net", "virtio_console", "virtio_balloon", "virtio-rng", "button", "evdev", "sr_mod", "isofs", "acpiphp"]
BUSYBOX = "/bin/busybox"
PROGRAMS = {"/usr/sbin/qemu-ga": "usr/sbin/qemu-ga", "/usr/sbin/dropbear": "usr/sbin/dropbear", "/sbin/resize2fs": "sbin/resize2fs"}


def run(*argv, **kwargs):
    return subprocess.run([str(a) for a in argv], check=True, stdout=kwargs.pop("stdout", subprocess.DEVNULL), **kwargs)


def out(*argv):
    return run(*argv, stdout=subprocess.PIPE, text=True).stdout


def kernel_package():
    for line in out("apt-cache", "depends", "linux-image-cloud-amd64").splitlines():
        found = re.match(r"\s*Depends: (linux-image-\S+)", line)
        if found:
            return found.group(1)
    sys.exit("images/tiny: apt knows no linux-image-cloud-amd64; run apt-get update")


def unpack_kernel(work):
    """Return (tree, release) of the unpacked kernel package, fetched once."""
    package = kernel_package()
    tree = work / package
    if not (tree / ".complete").exists():
        shutil.rmtree(tree, ignore_errors=True)
        download = work / "download"
        download.mkdir(parents=True, exist_ok=True)
        run("apt-get", "download", "-q", package, cwd=download, stderr=subprocess.DEVNULL)
        deb = sorted(download.glob(package + "_*.deb"))[-1]
        run("dpkg", "-x", deb, tree)
        release = next((tree / "lib/modules").iterdir()).name
        run("depmod", "-b", tree, release)
        (tree / ".complete").touch()
    return tree, next((tree / "lib/modules").iterdir()).name


def module_order(tree, release, wanted):
    """The modules' files with everything they need, in the order of loading."""
    base = tree / "lib/modules" / release
    needs, by_name = {}, {}
    for line in (base / "modules.dep").read_text().splitlines():
        path, deps = line.split(":", 1)
        needs[path] = deps.split()
        by_name[pathlib.Path(path).name.removesuffix(".ko").replace("-", "_")] = path
    order = []

    def add(path, depth=0):
        if depth > 20 or path in order:
            return
        for dep in needs[path]:
            add(dep, depth + 1)
        order.append(path)

    for name in wanted:
        path = by_name.get(name.replace("-", "_"))
        if path:
            add(path)
    return [base / p for p in order]


def install_modules(files, root):
    folder = root / "lib/modules"
    folder.mkdir(parents=True, exist_ok=True)
    for f in files:
        shutil.copy(f, folder / f.name)
    (folder / "order").write_text("".join(f.name + "\n" for f in files))


def install_program(source, target, root):
    """Copy a program with the shared libraries it needs."""
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, root / target)
    (root / target).chmod(0o755)
    for line in subprocess.run(["ldd", str(source)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines():
        found = re.search(r"(/\S+)\s+\(0x", line)
        if found:
            library = pathlib.Path(found.group(1))
            place = root / str(library).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                shutil.copy(library.resolve(), place)
                run("strip", "--strip-unneeded", place, stderr=subprocess.DEVNULL)


def install_busybox(root):
    for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "run", "tmp", "mnt", "root", "etc", "var/log", "var/lib"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for path in out(BUSYBOX, "--list-full").split():
        link = root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists() and not link.is_symlink():
            link.symlink_to("/bin/busybox")


def build_initramfs(work, tree, release):
    root = work / "initramfs"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("bin", "dev", "proc", "sys", "newroot"):
        (root / folder).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    install_modules(module_order(tree, release, INITRAMFS_MODULES), root)
    shutil.copy(HERE / "initramfs-init", root / "init")
    (root / "init").chmod(0o755)
    names = subprocess.run(["find", ".", "-print0"], cwd=root, check=True, stdout=subprocess.PIPE).stdout
    archive = subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet", "--reproducible", "-R", "0:0"], cwd=root, input=names,
                             check=True, stdout=subprocess.PIPE).stdout
    target = work / "initrd.gz"
    target.write_bytes(subprocess.run(["gzip", "-n", "-6"], input=archive, check=True, stdout=subprocess.PIPE).stdout)
    return target


def build_boot(work, tree, release):
    boot = work / "boot.img"
    boot.write_bytes(b"")
    os.truncate(boot, BOOT_MIB * MIB)
    run("mkfs.vfat", "-F", "16", "-n", "GABBROBOOT", "-h", BOOT_START, boot)
    config = work / "syslinux.cfg"
    config.write_text("SERIAL 0 115200\nDEFAULT tiny\nPROMPT 0\nTIMEOUT 0\nLABEL tiny\n  LINUX vmlinuz\n"
                      "  APPEND initrd=initrd.gz console=tty0 console=ttyS0,115200 quiet panic=10 random.trust_cpu=on cryptomgr.notests "
                      "mitigations=off nokaslr\n")
    run("mcopy", "-i", boot, tree / f"boot/vmlinuz-{release}", "::vmlinuz")
    run("mcopy", "-i", boot, build_initramfs(work, tree, release), "::initrd.gz")
    run("mcopy", "-i", boot, config, "::syslinux.cfg")
    run("syslinux", "--install", boot)
    return boot


def build_root(work, tree, release, seed_reader):
    root = work / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    install_busybox(root)
    shutil.copytree(HERE / "root", root, dirs_exist_ok=True, symlinks=True)
    for script in ("etc/rc", "etc/udhcpc.script", "sbin/gabbro-shutdown", "sbin/gabbro-ga", "etc/acpi/PWRF/00000080"):
        (root / script).chmod(0o755)
    for source, target in PROGRAMS.items():
        install_program(source, target, root)
    install_program(seed_reader, "usr/sbin/gabbro-tiny-seed", root)
    install_modules(module_order(tree, release, ROOT_MODULES), root)
    (root / "etc/shadow").chmod(0o600)
    (root / "root").chmod(0o700)
    (root / "tmp").chmod(0o1777)
    (root / "bin/busybox").chmod(0o4755)
    for name in ("shutdown", "poweroff", "reboot", "halt"):
        link = root / "sbin" / name
        link.unlink(missing_ok=True)
        link.symlink_to("gabbro-shutdown")
    image = work / "root.img"
    image.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-L", "gabbroroot", "-O", "has_journal,^64bit,resize_inode", "-J", "size=4", "-E", "root_owner=0:0,resize=4G,lazy_itable_init=1",
        "-m", "0", "-d", root, image, f"{ROOT_MIB}M", stderr=subprocess.DEVNULL)
    return image


def partition_entry(kind, active, start, sectors):
    chs = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", 0x80 if active else 0, chs, kind, chs, start, sectors)


def assemble(work, boot, root, output):
    disk = work / "disk.raw"
    boot_sectors = BOOT_MIB * MIB // SECTOR
    root_start = BOOT_START + boot_sectors
    root_sectors = ROOT_MIB * MIB // SECTOR
    mbr = pathlib.Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes().ljust(440, b"\0")
    mbr += b"GBRO\0\0" + partition_entry(0x0e, True, BOOT_START, boot_sectors) + partition_entry(0x83, False, root_start, root_sectors)
    with open(disk, "wb") as f:
        f.write(mbr.ljust(510, b"\0") + b"\x55\xaa")
        for start, image in ((BOOT_START, boot), (root_start, root)):
            f.seek(start * SECTOR)
            with open(image, "rb") as content:
                shutil.copyfileobj(content, f, MIB)
        f.truncate((root_start + root_sectors) * SECTOR)
    part = output.with_suffix(".part")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compat=1.1", disk, part)
    part.replace(output)


def fingerprint(seed_reader):
    digest = hashlib.sha256(kernel_package().encode())
    for f in sorted(p for p in HERE.rglob("*") if p.is_file()) + [pathlib.Path(BUSYBOX), seed_reader] + [pathlib.Path(p) for p in PROGRAMS]:
        digest.update(str(f).encode() + f.read_bytes())
    return digest.hexdigest()


def main():
    parser = argparse.ArgumentParser(description="Build the tiny test guest image.")
    parser.add_argument("--seed-reader", required=True, type=pathlib.Path, help="the gabbro-tiny-seed program")
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, help="scratch folder (default: OUTPUT.work)")
    args = parser.parse_args()
    work = args.work or args.output.with_suffix(".work")
    work.mkdir(parents=True, exist_ok=True)
    stamp = args.output.with_suffix(".stamp")
    wanted = fingerprint(args.seed_reader)
    if args.output.exists() and stamp.exists() and stamp.read_text() == wanted:
        print(f"{args.output} is up to date")
        return
    tree, release = unpack_kernel(work)
    boot = build_boot(work, tree, release)
    root = build_root(work, tree, release, args.seed_reader)
    assemble(work, boot, root, args.output)
    stamp.write_text(wanted)
    print(f"{args.output}: {args.output.stat().st_size >> 20} MiB, Linux {release}")


if __name__ == "__main__":
    main()
