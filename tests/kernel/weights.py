# SPDX-License-Identifier: Apache-2.0
"""Run inside a kernel of its own: two machines of 20 % and 80 % that want the same core. The last line of output tells, as JSON, what each got.

Their guest is a boot sector that jumps to itself: it is busy from its first instruction on, which no emulation in an emulation makes slow.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lab"))
from cloud import HOST, Cloud  # noqa: E402

START = "import sys; sys.path.insert(0, 'tools'); import demo; demo.prepare(); demo.ensure_gateway(); demo.ensure_agent()"
FRACTIONS = {"small": "20%", "large": "80%"}
SECONDS = 10


def objects():
    yield {"kind": "VirtualMachineClass", "metadata": {"name": "free"}, "spec": {"cpu": {"type": "Model", "model": "qemu64"}}}
    for name, fraction in FRACTIONS.items():
        yield {"kind": "VirtualDisk", "metadata": {"name": name},
               "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "busy"}}}}
        yield {"kind": "VirtualMachine", "metadata": {"name": name},
               "spec": {"virtualMachineClassName": "free", "cpu": {"cores": 1, "coreFraction": fraction}, "memory": {"size": "64Mi"},
                        "blockDeviceRefs": [{"kind": "VirtualDisk", "name": name}]}}


def group_of(cloud, name):
    """The control group of its domain."""
    (found,) = cloud.run("find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", f"qemu-*-{name}-*").stdout.split()
    return found


def used(cloud, group):
    """Seconds of CPU, as the kernel counts them for version 2."""
    return int(cloud.run("cat", f"{group}/cpu.stat").stdout.split()[1]) / 1e6


def measure(cloud, groups):
    begin, before = time.monotonic(), [used(cloud, g) for g in groups]
    time.sleep(SECONDS)  # what is measured is how much of this time each one gets
    after = [used(cloud, g) for g in groups]
    return [(b - a) / (time.monotonic() - begin) for a, b in zip(before, after)]


def told(cloud):
    image = cloud.folder / "busy.img"
    image.write_bytes(b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    cloud.run("/usr/bin/python3", "-c", START, timeout=300)
    cloud.gabbro("image", "upload", image, "--name", "busy", "--cluster", timeout=120)
    cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List",
                                                       "items": [{"apiVersion": "gabbro.dev/v1"} | o for o in objects()]}))
    for name in FRACTIONS:
        cloud.wait("vm", name, "phase=Running", 240)
    groups = [group_of(cloud, name) for name in FRACTIONS]
    for group in groups:
        (pid,) = cloud.run("cat", f"{group}/cgroup.procs").stdout.split()
        cloud.run("taskset", "-a", "-p", "-c", "0", pid)
    weights = [int(cloud.run("cat", f"{group}/cpu.weight").stdout) for group in groups]
    for group in groups:
        cloud.eventually("the guest is busy", lambda: measure(cloud, [group])[0] > 0.05, 120)
    both = measure(cloud, groups)
    cloud.gabbro("force-off", "large", "--wait", "--timeout", "120", timeout=150)
    return {"weights": weights, "both": both, "alone": measure(cloud, groups[:1])[0], "kept": condition(cloud), "lost": lost(cloud)}


def condition(cloud):
    said = cloud.get("nodes")["items"][0]["status"]["conditions"]
    return next(c["reason"] for c in said if c["type"] == "CPUWeights")


def lost(cloud):
    """The host's groups get no controller any more, as below a service manager that hands none on: its machines start without weights."""
    cloud.gabbro("force-off", "small", "--wait", "--timeout", "120", timeout=150)
    cloud.run("sh", "-ec", """cd /sys/fs/cgroup
        find machine -depth -type d -exec rmdir {} +
        for c in $(cat cgroup.subtree_control); do echo -$c >cgroup.subtree_control; done
        echo 1 >cgroup.procs""")
    cloud.gabbro("start", "small", "--wait", "--timeout", "240", timeout=270)
    said = cloud.eventually("the host says so", lambda: condition(cloud) != "CPUWeightsKept" and condition(cloud), 120)
    return [said, (cloud.demo / "log/agent.log").read_text().count("start without their shares")]


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gabbro-weights.", dir="/var/tmp"))
    folder.chmod(0o755)
    cloud = Cloud(folder)
    try:
        subprocess.run([HOST, "up", cloud.host, "--cgroup"], check=True, env=cloud.env)
        print(json.dumps(told(cloud)), flush=True)
    finally:
        print(cloud.logs() if sys.exc_info()[0] else "", file=sys.stderr, flush=True)
        subprocess.run([HOST, "down", cloud.host], env=cloud.env)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
