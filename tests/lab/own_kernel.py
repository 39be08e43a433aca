# SPDX-License-Identifier: Apache-2.0
"""A machine with a kernel of its own, for what this machine's kernel has not: control groups of version 2, block devices, modules.

Debian's kernel runs in a full emulation. Its root is this machine's root, read-only, with a layer above it that is gone afterwards: every
program, library and build folder is there under its own path. A command runs in it as root and is judged by its exit status.

    with kernel(build) as folder:                   # unpacked once into the build folder; needs Debian's archive the first time
        done = run(folder, ["python3", "-c", "print(1)"], memory="2G", timeout=300)
"""
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]
NET_MODULES = ["tun", "bridge", "veth", "nf_tables", "nft_ct", "nft_chain_nat", "nft_masq", "nft_reject_inet", "nft_meta_bridge"]
INIT = """#!/bin/sh
mount -t devtmpfs d /dev; mount -t proc p /proc; mount -t sysfs s /sys
while read m; do insmod /mods/$m; done </mods/order
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose,access=client root /lower || exec poweroff -f
mount -t tmpfs -o size=80% t /rw; mkdir /rw/u /rw/w
mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w o /new
for d in dev proc sys; do mount -o move /$d /new/$d; done
cp /job /new/.job
exec switch_root /new /bin/sh /.job
"""
JOB = """export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LC_ALL=C.UTF-8
for d in /run /tmp /var/tmp; do mount -t tmpfs -o mode=1777 t $d; done
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts -o mode=620,ptmxmode=666 d /dev/pts; mount -t tmpfs t /dev/shm
mount -t cgroup2 c /sys/fs/cgroup
ip link set lo up
for m in {modules}; do modprobe -d {kernel} $m; done
cd {folder}
exec 3>/dev/hvc0
( {command} ) </dev/null >&3 2>&1
printf '\\n%s %d\\n' {mark} $? >&3
sync
echo o >/proc/sysrq-trigger
while :; do wait; sleep 1; done
"""
MARK = "own-kernel-command-ended"


@dataclasses.dataclass
class Done:
    returncode: int  # None: it did not end
    output: str
    console: str  # of the kernel


def unpack(build):
    """The folder of Debian's kernel and its modules; nothing is installed."""
    folder = pathlib.Path(build) / "own-kernel"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], check=True, capture_output=True, text=True).stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends).group(1)
        subprocess.run(["apt-get", "-q", "download", package], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        (deb,) = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
        deb.unlink()
        subprocess.run(["depmod", "-b", folder, version(folder)], check=True)
        (folder / "done").touch()
    return folder


def version(folder):
    return next((folder / "lib/modules").iterdir()).name


def module_files(folder, names):
    files = []
    for name in names:
        shown = subprocess.run(["modprobe", "-d", folder, "-S", version(folder), "--show-depends", name], check=True, capture_output=True,
                               text=True).stdout
        files += [pathlib.Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod")]
    return list(dict.fromkeys(files))


def first_files(folder, job, into):
    """The first root in memory: busybox, the modules that mount the true one, and the job."""
    tree = into / "tree"
    for name in ("bin", "proc", "sys", "dev", "mods", "lower", "rw", "new"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for name in ("sh", "mount", "insmod", "switch_root", "mkdir", "cp", "poweroff"):
        (tree / "bin" / name).symlink_to("busybox")
    order = module_files(folder, MODULES)
    for file in order:
        shutil.copy(file, tree / "mods" / file.name)
    (tree / "mods/order").write_text("".join(f"{file.name}\n" for file in order))
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    (tree / "job").write_text(job)
    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    with open(into / "initrd", "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), stdout=out, check=True)
    return into / "initrd"


def run(folder, command, memory="2G", processors=2, timeout=600, modules=NET_MODULES, devices=()):
    """Run @command (words) in a machine of its own. What it writes below /var/tmp, /tmp and /run is gone afterwards, as all else."""
    with tempfile.TemporaryDirectory(prefix="gabbro-kernel.", dir="/var/tmp") as made:
        made = pathlib.Path(made)
        job = JOB.format(modules=" ".join(modules), kernel=folder, folder=shlex.quote(os.getcwd()), command=shlex.join(map(str, command)),
                         mark=MARK)
        argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-machine", "q35", "-smp", str(processors),
                "-m", memory, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", next((folder / "boot").glob("vmlinuz-*")), "-initrd", first_files(folder, job, made),
                "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr audit=0 apparmor=0 random.trust_cpu=on tsc=reliable "
                           "no_timer_check nowatchdog",
                "-serial", f"file:{made}/console", "-device", "virtio-rng-pci",
                "-device", "virtio-serial-pci", "-chardev", f"file,id=out,path={made}/output", "-device", "virtconsole,chardev=out",
                "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap", *devices]
        with open(made / "qemu", "wb") as said:
            process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        output = (made / "output").read_text(errors="replace") if (made / "output").exists() else ""
        console = (made / "console").read_text(errors="replace") + (made / "qemu").read_text(errors="replace")
        ended = re.search(rf"\n{MARK} (\d+)\n", output.replace("\r", ""))
        return Done(int(ended.group(1)) if ended else None, output, console)
