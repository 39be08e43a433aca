# SPDX-License-Identifier: Apache-2.0
"""A cloud whose daemons carry plans of faults, the operations that are swept, and the state that each must end in."""
import json
import os
import pathlib
import re
import select
import shutil
import subprocess
import threading
import time

from cloud import BIN, BUILD, ROOT, Daemon
from guest import disc

MACHINE = "swept"
TWIN = f"{MACHINE}-twin"
SETTLE_S = 60  # an intent that failed waits up to this long before it is tried again
TINY = BUILD / "images/tiny.qcow2"
MANIFEST = f"""
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {MACHINE}-root}}
spec:
  persistentVolumeClaim: {{size: 256Mi}}
  dataSource: {{type: ObjectRef, objectRef: {{kind: ClusterVirtualImage, name: tiny}}}}
---
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {MACHINE}-data}}
spec:
  persistentVolumeClaim: {{size: 64Mi}}
---
apiVersion: gabbro.dev/v1
kind: VirtualMachine
metadata: {{name: {MACHINE}}}
spec:
  virtualMachineClassName: generic
  cpu: {{cores: 1, coreFraction: 10%}}
  memory: {{size: 128Mi}}
  terminationGracePeriodSeconds: 4
  provisioning: {{type: UserData, userData: "#cloud-config\\nhostname: {MACHINE}\\n"}}
  blockDeviceRefs:
  - {{kind: VirtualDisk, name: {MACHINE}-root}}
  - {{kind: VirtualDisk, name: {MACHINE}-data}}
"""
PROJECT = f"{MACHINE}-project"
COPY = f"""
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {MACHINE}-copy}}
spec:
  persistentVolumeClaim: {{size: 300Mi}}
  dataSource: {{type: ObjectRef, objectRef: {{kind: VirtualDisk, name: {MACHINE}-root}}}}
"""
CLONE = f"""
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {MACHINE}-copy}}
spec:
  dataSource: {{type: ObjectRef, objectRef: {{kind: VirtualDisk, name: {MACHINE}-root}}}}
  clone: {{consistency: Crash}}
"""
OF_DISK = f"""
apiVersion: gabbro.dev/v1
kind: VirtualImage
metadata: {{name: {MACHINE}-image}}
spec:
  dataSource: {{type: ObjectRef, objectRef: {{kind: VirtualDisk, name: {MACHINE}-data}}}}
"""
LINKED = f"""
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {MACHINE}-copy, annotations: {{gabbro.dev/selected-node: NODE}}}}
spec:
  persistentVolumeClaim: {{size: 300Mi}}
  dataSource: {{type: ObjectRef, objectRef: {{kind: ClusterVirtualImage, name: tiny}}}}
  clone: {{mode: Linked}}
"""
GROWN = f"""
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {MACHINE}-data}}
spec:
  persistentVolumeClaim: {{size: 96Mi}}
"""
# Room to grow is asked for at a start, and costs a guest of Linux 64 MiB.
SIZE = "cpu: {cores: 1, coreFraction: 10%}\n  memory: {size: 128Mi}"
ROOMY = MANIFEST.replace(SIZE, "cpu: {cores: 1, coreFraction: 10%}\n  memory: {size: 256Mi}\n  disruptions: {applyMode: Live}")
LARGER = ROOMY.replace("cores: 1", "cores: 2").replace("256Mi}\n  disr", "384Mi}\n  disr")
assert MANIFEST != ROOMY != LARGER
MORE = f"""
apiVersion: gabbro.dev/v1
kind: VirtualDisk
metadata: {{name: {MACHINE}-more}}
spec:
  persistentVolumeClaim: {{size: 16Mi}}
---
apiVersion: gabbro.dev/v1
kind: VirtualMachineBlockDeviceAttachment
metadata: {{name: {MACHINE}-more}}
spec:
  virtualMachineName: {MACHINE}
  blockDeviceRef: {{kind: VirtualDisk, name: {MACHINE}-more}}
"""
# With a disc in its drive, and what is changed in it at once.
PLUGGABLE = MANIFEST.replace("  terminationGrace", "  disruptions: {applyMode: Live}\n  terminationGrace") + f"  - {{kind: VirtualImage, name: {MACHINE}-disc-a}}\n"
TWO_NICS = PLUGGABLE.replace("  blockDeviceRefs:", f"  networks: [{{type: Main}}, {{type: Network, name: {MACHINE}-second}}]\n  blockDeviceRefs:")
ONE_NIC = PLUGGABLE.replace("  blockDeviceRefs:", "  networks: [{type: Main}]\n  blockDeviceRefs:")
OTHER_DISC = ONE_NIC.replace("disc-a", "disc-b")
assert len({MANIFEST, PLUGGABLE, TWO_NICS, ONE_NIC, OTHER_DISC}) == 5
SECOND = f"apiVersion: gabbro.dev/v1\nkind: Network\nmetadata: {{name: {MACHINE}-second}}\nspec: {{cidr: 10.66.11.0/24}}\n"
DISC = f"""
apiVersion: gabbro.dev/v1
kind: VirtualMachineBlockDeviceAttachment
metadata: {{name: {MACHINE}-disc}}
spec:
  virtualMachineName: {MACHINE}
  blockDeviceRef: {{kind: VirtualImage, name: {MACHINE}-disc-b}}
"""
SPACE = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {PROJECT}}}\n---" + MANIFEST
ADDRESS = f"""
apiVersion: gabbro.dev/v1
kind: VirtualMachineIPAddress
metadata: {{name: {MACHINE}-held}}
spec: {{type: Auto}}
"""


# --- what is compared ----------------------------------------------------------------------------------------------------------------

SCRUB = [(re.compile(pattern), word) for pattern, word in [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"), (r"\b[0-9a-f]{64}\b", "DIGEST"), (r"\b[0-9a-f]{20}\b", "SERIAL"),
    (r"\bgbt[0-9a-z]+\b", "TAP"), (r"\b(domain|qemu)-\d+-", r"\1-N-"), (r"52:54:00(:[0-9a-f]{2}){3}", "MAC"), (r"\b10\.66\.1[01]\.\d+\b", "ADDRESS"), (r"\bip-10-66-1[01]-\d+\b", "LEASE"),
    (rf"\b({MACHINE}|{MACHINE}-root|{MACHINE}-data|{MACHINE}-copy|{MACHINE}-more|{TWIN}|{TWIN}-root|{TWIN}-data)-[0-9a-f]{{8}}\b", r"\1-UID"), (rf"\b({MACHINE}|{TWIN})-[a-z0-9]{{5}}\"", r'\1-SUFFIX"'),
]]
# Times, counters, what the guest says by itself, and versions: not part of an end state.
DROP = {"uid", "resourceVersion", "creationTimestamp", "generation", "observedGeneration", "epoch", "stats", "startedAt", "lastStartTime",
        "lastTransitionTime", "message", "guestOSInfo", "guestOS", "addresses", "agentConnected", "annotations", "launchTimeDuration", "allocationBytes",
        "usage", "used", "free", "allocation", "available", "usedBytes", "freeBytes", "availableBytes", "allocatedBytes", "allocated", "step", "managedFields",
        "guest", "hostname", "order", "orderNumber", "downloadSpeed"}


def essence(value):
    if isinstance(value, dict):
        return {k: essence(v) for k, v in value.items() if k not in DROP}
    if isinstance(value, list):
        return [essence(v) for v in value if not (isinstance(v, dict) and v.get("type") in ("AgentReady", "AgentVersionReady"))]
    return value


def normal(look):
    """The look without what differs between two runs that went well."""
    store = {kind: essence(items) for kind, items in look["store"].items() if kind not in ("virtualmachineoperations", "storagepools")}
    for instance in store["instances.host.gabbro.dev"] or []:
        instance.get("spec", {}).pop("hardware", None)  # recorded by the first start, handed back with the next decision to start
    # A released lease keeps its address from others for a while.
    leases = "virtualmachineipaddressleases"
    store[leases] = [lease for lease in store[leases] or [] if lease.get("status", {}).get("phase") != "Released"]
    files = {folder: [f for f in names if not re.search(r"agent/seeds/|agent/images/[0-9a-f]{64}$|agent/join-token|audit\.log(\.checkpoint)?$|/store\.db|/leases$|dnsmasq\.pid$", f)]
             for folder, names in look["files"].items()}
    text = json.dumps({**look, "store": store, "files": files, "seeds": seeds_of_none(look),
                       "run": [n for n in look["run"] if n.startswith(MACHINE)]}, sort_keys=True)
    for pattern, word in SCRUB:
        text = pattern.sub(word, text)
    scrubbed = json.loads(text)
    for items in scrubbed["store"].values():
        (items or []).sort(key=lambda item: json.dumps(item, sort_keys=True))  # names that were uids had an order of their own
    return scrubbed


def seeds_of_none(look):
    """Seeds that belong to no running machine: a seed goes when its guest has booted."""
    running = {i["metadata"]["uid"] for i in look["store"]["instances.host.gabbro.dev"] or [] if i.get("status", {}).get("state") == "running"}
    return [f for f in look["files"]["agent"] if f.startswith("agent/seeds/") and pathlib.Path(f).stem not in running]


def differences(was, now, where=""):
    if isinstance(was, dict) and isinstance(now, dict):
        return [d for key in sorted(was.keys() | now.keys()) for d in differences(was.get(key), now.get(key), f"{where}/{key}")]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [d for i, (a, b) in enumerate(zip(was, now)) for d in differences(a, b, f"{where}/{i}")]
    return [] if was == now else [f"{where}: {json.dumps(was)[:400]} has become {json.dumps(now)[:400]}"]


# Commits that come with time, or with the doctor, and not with an operation; and Pods, which are made anew from what is there.
BESIDE = re.compile(r"^store/(idle|compact|[a-z]+-(storagepools|virtualmachineclasses|hosttasks|pods))/")

# --- daemons with a plan -------------------------------------------------------------------------------------------------------------

class Faulty(Daemon):
    """gateway or agent as tests/fault builds it; its plan may change while it runs."""

    def __init__(self, cloud, name):
        super().__init__(cloud, name)
        folder = cloud.demo / "fault"
        folder.mkdir(exist_ok=True)
        self.program = BUILD / f"tests/fault/gabbro-{name}-faulty"
        self.plan, self.fired, self.passed = (folder / f"{name}.{part}" for part in ("plan", "fired", "passed"))
        self.serial = 0
        self.plan.write_text("")
        self.passed.write_text("")
        os.mkfifo(self.fired)
        self.events = os.open(self.fired, os.O_RDWR | os.O_NONBLOCK)

    def begin(self, program=None, **env):
        mark = self.log.stat().st_size
        super().begin(program or self.program, GABBRO_FAULT_FILE=self.plan, GABBRO_FAULT_FIRED=self.fired, GABBRO_FAULT_LOG=self.passed)
        words = b"serving" if self.name == "gateway" else b"the agent runs"
        end = time.monotonic() + 30
        while words not in self.log.read_bytes()[mark:]:
            assert time.monotonic() < end, f"{self.name} does not come up"
            time.sleep(0.02)

    def arm(self, *faults):
        """A plan that differs from every one before counts anew."""
        self.serial += 1
        text = ";".join([*faults, f"plan/{self.serial}/=stop"])
        fresh = self.plan.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.plan)

    def told(self):
        """Places of faults that came to pass since the last look."""
        try:
            return os.read(self.events, 65536).decode().split()
        except BlockingIOError:
            return []

    def mark(self):
        return self.passed.stat().st_size

    def places(self, mark):
        return self.passed.read_text()[mark:].split()

    def runs(self):
        return self.cloud.run("kill", "-0", str(self.pid()), check=False).returncode == 0


class Copies(threading.Thread):
    """Looks all the time for a second QEMU of one machine (I1)."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.twice, self.ended = str(folder), [], threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            seen = []
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/comm") as comm:
                        if not comm.read().startswith("qemu-system"):
                            continue
                    with open(f"/proc/{pid}/cmdline") as line:
                        argv = line.read().split("\0")
                except OSError:
                    continue
                if "-uuid" in argv and self.folder in "".join(argv) and "-incoming" not in argv:
                    seen.append(argv[argv.index("-uuid") + 1])
            self.twice += sorted({uuid for uuid in seen if seen.count(uuid) > 1})


# --- operations ----------------------------------------------------------------------------------------------------------------------

class Operation:
    def __init__(self, name, before, after, command, waits, fetch=False, starts=0):
        self.name, self.before, self.after, self.command, self.waits, self.fetch, self.starts = name, before, after, command, waits, fetch, starts


def action(kind, **spec):
    def command(world):
        manifest = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachineOperation", "metadata": {"name": f"swept-{world.serial}", "namespace": "default"},
                    "spec": {"type": kind, "virtualMachineName": MACHINE, **spec}}
        return ["apply", "-f", "-"], json.dumps(manifest)
    return command


APPLIED = [["vm", MACHINE, "--for", "condition=ConfigurationApplied"]]
DONE = [["vmop", "swept-{serial}", "--for", "phase=Completed"]]
GONE = [[kind, name, "--for", "delete"] for kind, name in (("vm", MACHINE), ("vd", f"{MACHINE}-root"), ("vd", f"{MACHINE}-data"))]
RUNS = [["vm", MACHINE, "--for", "phase=Running"]]
OFF = [["vm", MACHINE, "--for", "phase=Stopped"]]
OPERATIONS = {o.name: o for o in [
    Operation("create", "absent", "running", lambda w: (["apply", "-f", "-"], MANIFEST), RUNS, fetch=True, starts=1),
    Operation("restart", "running", "running", action("Restart"), DONE + RUNS, starts=1),
    Operation("stop", "running", "stopped", action("Stop"), DONE + OFF),
    Operation("start", "stopped", "running", action("Start"), DONE + RUNS, starts=1),
    Operation("force off", "running", "stopped", action("ForceOff"), DONE + OFF),
    Operation("suspend", "running", "paused", action("Suspend"), DONE + [["vm", MACHINE, "--for", "phase=Pause"]]),
    Operation("resume", "paused", "running", action("Resume"), DONE + RUNS),
    Operation("reset", "running", "running", action("Reset"), DONE + RUNS),
    Operation("redeploy", "running", "running", action("Redeploy"), DONE + RUNS, starts=1),
    Operation("redeploy anew", "running", "running", action("Redeploy", identity="New"), DONE + RUNS, starts=1),
    Operation("clone machine", "running", "twins", action("Clone", clone={"name": TWIN, "runPolicy": "Manual", "consistency": "Crash"}),
              DONE + [["vm", TWIN, "--for", "phase=Stopped"]]),
    Operation("delete twin", "twins", "running", lambda w: (["delete", f"vm/{TWIN}", f"vd/{TWIN}-root", f"vd/{TWIN}-data", "--ignore-not-found"], None),
              [[kind, name, "--for", "delete"] for kind, name in (("vm", TWIN), ("vd", f"{TWIN}-root"), ("vd", f"{TWIN}-data"))]),
    Operation("undefine", "stopped", "undefined", lambda w: (["delete", f"vm/{MACHINE}", "--ignore-not-found"], None), GONE[:1]),
    Operation("delete disks", "undefined", "absent", lambda w: (["delete", f"vd/{MACHINE}-root", f"vd/{MACHINE}-data", "--ignore-not-found"], None), GONE[1:]),
    Operation("delete stopped", "stopped", "absent", lambda w: (["delete", f"vm/{MACHINE}", f"vd/{MACHINE}-root", f"vd/{MACHINE}-data", "--ignore-not-found"], None), GONE),
    Operation("delete", "running", "absent", lambda w: (["delete", f"vm/{MACHINE}", f"vd/{MACHINE}-root", f"vd/{MACHINE}-data", "--ignore-not-found"], None), GONE),
    # Brought about like any creation; what is swept is its end.
    Operation("make project", "absent", "project", lambda w: (["apply", "-n", PROJECT, "-f", "-"], SPACE),
              [["vm", MACHINE, "-n", PROJECT, "--for", "phase=Running"]], fetch=True, starts=1),
    Operation("delete namespace", "project", "absent", lambda w: (["delete", f"namespace/{PROJECT}", "--ignore-not-found"], None),
              [["namespace", PROJECT, "--for", "delete"]]),
    Operation("hold address", "absent", "held", lambda w: (["apply", "-f", "-"], ADDRESS), [["vmip", f"{MACHINE}-held", "--for", "phase=Bound"]]),
    Operation("release address", "held", "absent", lambda w: (["delete", "vmip", f"{MACHINE}-held", "--ignore-not-found"], None),
              [["vmip", f"{MACHINE}-held", "--for", "delete"]]),
    Operation("delete with disks", "running", "absent", lambda w: (["delete", "vm", MACHINE, "--with-disks", "--ignore-not-found"], None), GONE),
    Operation("make pluggable", "absent", "pluggable", lambda w: (["apply", "-f", "-"], ONE_NIC), RUNS, fetch=True, starts=1),
    Operation("attach NIC", "pluggable", "two nics", lambda w: (["apply", "-f", "-"], TWO_NICS), APPLIED),
    Operation("detach NIC", "two nics", "pluggable", lambda w: (["apply", "-f", "-"], ONE_NIC), APPLIED),
    Operation("change disc", "pluggable", "other disc", lambda w: (["apply", "-f", "-"], OTHER_DISC), APPLIED),
    Operation("change disc back", "other disc", "pluggable", lambda w: (["apply", "-f", "-"], ONE_NIC), APPLIED),
    Operation("attach disc", "running", "with disc", lambda w: (["apply", "-f", "-"], DISC), [["vmbda", f"{MACHINE}-disc", "--for", "phase=Attached"]]),
    Operation("detach disc", "with disc", "running", lambda w: (["delete", f"vmbda/{MACHINE}-disc", "--ignore-not-found"], None),
              [["vmbda", f"{MACHINE}-disc", "--for", "delete"]]),
    Operation("grow disk", "running", "grown", lambda w: (["apply", "-f", "-"], GROWN), [["vd", f"{MACHINE}-data", "--for", "phase=Ready"]]),
    Operation("make roomy", "absent", "roomy", lambda w: (["apply", "-f", "-"], ROOMY), RUNS, fetch=True, starts=1),
    Operation("grow machine", "roomy", "larger", lambda w: (["apply", "-f", "-"], LARGER), [["vm", MACHINE, "--for", "condition=ConfigurationApplied"]]),
    Operation("clone running", "running", "cloned", lambda w: (["apply", "-f", "-"], CLONE), [["vd", f"{MACHINE}-copy", "--for", "phase=Ready"]]),
    Operation("delete clone", "cloned", "running", lambda w: (["delete", "vd", f"{MACHINE}-copy", "--ignore-not-found"], None),
              [["vd", f"{MACHINE}-copy", "--for", "delete"]]),
    Operation("attach", "running", "plugged", lambda w: (["apply", "-f", "-"], MORE), [["vmbda", f"{MACHINE}-more", "--for", "phase=Attached"]]),
    Operation("detach", "plugged", "running", lambda w: (["delete", f"vmbda/{MACHINE}-more", f"vd/{MACHINE}-more", "--ignore-not-found"], None),
              [[kind, f"{MACHINE}-more", "--for", "delete"] for kind in ("vmbda", "vd")]),
    Operation("copy disk", "stopped", "copied", lambda w: (["apply", "-f", "-"], COPY), [["vd", f"{MACHINE}-copy", "--for", "condition=Ready"]]),
    Operation("delete copy", "copied", "stopped", lambda w: (["delete", "vd", f"{MACHINE}-copy", "--ignore-not-found"], None),
              [["vd", f"{MACHINE}-copy", "--for", "delete"]]),
    # With the copy of its image that a linked disk needs, and that goes with it.
    Operation("link disk", "absent", "linked", lambda w: (["apply", "-f", "-"], LINKED.replace("NODE", w.cloud.get("nodes")["items"][0]["metadata"]["name"])),
              [["vd", f"{MACHINE}-copy", "--for", "phase=Ready"]], fetch=True),
    Operation("delete link", "linked", "absent", lambda w: (["delete", "vd", f"{MACHINE}-copy", "--ignore-not-found"], None),
              [["vd", f"{MACHINE}-copy", "--for", "delete"]]),
    Operation("image of disk", "stopped", "imaged", lambda w: (["apply", "-f", "-"], OF_DISK), [["vi", f"{MACHINE}-image", "--for", "phase=Ready"]]),
    Operation("image of running", "running", "imaged running", lambda w: (["apply", "-f", "-"], OF_DISK), [["vi", f"{MACHINE}-image", "--for", "phase=Ready"]]),
    Operation("delete image of disk", "imaged", "stopped", lambda w: (["delete", "vi", f"{MACHINE}-image", "--ignore-not-found"], None),
              [["vi", f"{MACHINE}-image", "--for", "delete"]]),
    Operation("delete image of running", "imaged running", "running", lambda w: (["delete", "vi", f"{MACHINE}-image", "--ignore-not-found"], None),
              [["vi", f"{MACHINE}-image", "--for", "delete"]]),
    Operation("upload image", "absent", "image", lambda w: (["image", "upload", str(TINY), "--name", f"{MACHINE}-image"], None),
              [["vi", f"{MACHINE}-image", "--for", "phase=Ready"]]),
    Operation("delete image", "image", "absent", lambda w: (["delete", "vi", f"{MACHINE}-image", "--ignore-not-found"], None),
              [["vi", f"{MACHINE}-image", "--for", "delete"]]),
]}
WAY = {("absent", "running"): "create", ("running", "absent"): "delete", ("running", "stopped"): "force off", ("stopped", "running"): "start",
       ("stopped", "absent"): "delete stopped", ("absent", "held"): "hold address", ("held", "absent"): "release address",
       ("absent", "project"): "make project", ("project", "absent"): "delete namespace",
       ("absent", "pluggable"): "make pluggable", ("pluggable", "absent"): "delete", ("pluggable", "two nics"): "attach NIC", ("two nics", "pluggable"): "detach NIC",
       ("pluggable", "other disc"): "change disc", ("other disc", "pluggable"): "change disc back", ("running", "with disc"): "attach disc", ("with disc", "running"): "detach disc",
       ("running", "grown"): "grow disk", ("grown", "absent"): "delete",
       ("absent", "roomy"): "make roomy", ("roomy", "larger"): "grow machine", ("roomy", "absent"): "delete", ("larger", "absent"): "delete", ("running", "cloned"): "clone running", ("cloned", "running"): "delete clone",
       ("running", "paused"): "suspend", ("paused", "running"): "resume", ("running", "twins"): "clone machine", ("twins", "running"): "delete twin",
       ("stopped", "undefined"): "undefine", ("undefined", "absent"): "delete disks",
       ("running", "plugged"): "attach", ("plugged", "running"): "detach",
       ("absent", "linked"): "link disk", ("linked", "absent"): "delete link", ("stopped", "imaged"): "image of disk", ("imaged", "stopped"): "delete image of disk",
       ("running", "imaged running"): "image of running", ("imaged running", "running"): "delete image of running",
       ("stopped", "copied"): "copy disk", ("copied", "stopped"): "delete copy", ("absent", "image"): "upload image", ("image", "absent"): "delete image"}


class Doing(threading.Thread):
    """A user who says an operation until it is taken, and waits until it is done."""

    def __init__(self, world, operation, timeout_s):
        super().__init__(daemon=True)
        self.world, self.operation, self.end = world, operation, time.monotonic() + timeout_s
        self.words, self.done = "", threading.Event()

    def persist(self, argv, text):
        while time.monotonic() < self.end:
            try:
                result = self.world.cloud.gabbro(*argv, check=False, timeout=max(1, self.end - time.monotonic()), **({"input": text} if text else {}))
            except subprocess.TimeoutExpired:
                return False
            if result.returncode == 0:
                return True
            self.words = result.stderr.strip()
            advice = re.search(r"may stay: gabbro (delete vd .*)", self.words)
            argv = advice[1].split() if advice else argv
            if self.operation.name == "upload image" and argv[0] == "image" and "exist" in self.words:
                self.world.cloud.gabbro("delete", "vi", f"{MACHINE}-image", "--ignore-not-found", "--wait", "--timeout", "20", check=False)
            self.done.wait(0.1)
        return False

    def run(self):
        argv, text = self.operation.command(self.world)
        good = self.persist(argv, text)
        for wait in self.operation.waits if good else []:
            wait = [word.replace("{serial}", str(self.world.serial)) for word in wait]
            good = good and self.persist(["wait", *wait, "--quiet", "--timeout", str(max(1, int(self.end - time.monotonic())))], None)
        self.good = good
        self.done.set()


class World:
    def __init__(self, cloud):
        self.cloud, self.failed, self.serial, self.state = cloud, False, 0, "absent"
        cloud.gabbro("delete", "vm/first-vm", "vd/first-vm-root", "secret/first-vm-cloud-init", "--wait", "--timeout", "120")
        self.provide()
        self.daemons = {name: Faulty(cloud, name) for name in ("gateway", "agent")}
        for daemon in self.daemons.values():
            daemon.again("TERM")
        self.copies = Copies(cloud.demo)
        self.copies.start()
        self.ends = {}    # operation -> how it ends without a fault
        self.passed = {}  # operation -> [(daemon, place, number of times)]

    def provide(self):
        """What some operations need and all find the same: a second network, two discs."""
        self.cloud.gabbro("apply", "-f", "-", input=SECOND)
        for name in ("disc-a", "disc-b"):
            path = self.cloud.folder / f"{name}.iso"
            path.write_bytes(disc(name))
            self.cloud.gabbro("image", "upload", path, "--name", f"{MACHINE}-{name}")
            self.cloud.wait("vi", f"{MACHINE}-{name}", "phase=Ready", 30)

    def close(self):
        self.copies.ended.set()

    # --- looking

    def look(self):
        text = self.cloud.run("/usr/bin/python3", ROOT / "tests/sweep/look.py", self.cloud.demo, BIN / "gabbro", self.cloud.kubeconfig).stdout
        return json.loads(text)

    def doctor(self):
        result = self.cloud.gabbro("doctor", "-o", "json", check=False)
        if result.returncode == 0:
            return []
        report = json.loads(result.stdout) if result.stdout else {}
        return [f"doctor: {json.dumps(f)}" for f in report.get("findings", []) + report.get("unlooked", [])] or [f"doctor: {result.stderr.strip()}"]

    def epoch(self, look):
        return max((vm["status"].get("epoch", 0) for vm in look["store"]["virtualmachines"] if vm["metadata"]["name"] == MACHINE), default=0)

    def forget_operations(self):
        """They stay for a day, as history; only the machine's state is compared."""
        names = [i["metadata"]["name"] for i in self.look()["store"]["virtualmachineoperations"]]
        if names:
            self.cloud.gabbro("delete", "vmop", *names, "--ignore-not-found", "--wait", "--timeout", "30")

    def settle(self, operation, victim):
        """Wait until the end state is that of a run without a fault. Return: (differences, the last look)."""
        end = time.monotonic() + SETTLE_S
        while True:
            look = self.look()
            now = normal(look)
            for instance in now["store"]["instances.host.gabbro.dev"] if victim == "QEMU" and operation.after == "stopped" else []:
                if instance["status"].get("state") == "crashed":
                    instance["status"]["state"] = "shutoff"  # off as asked; how it came to that is told truly
            found = differences(self.ends[operation.name], now)
            if not found or time.monotonic() > end:
                return found, look
            time.sleep(0.1)

    # --- doing

    def prepare(self, operation):
        if operation.fetch:
            for image in (self.cloud.demo / "agent/images").iterdir():
                image.unlink()

    def bring(self, state):
        """To the state that an operation begins in, without faults."""
        ways = [[self.state]]  # the shortest one
        while ways[0][-1] != state:
            ways += [ways[0] + [after] for before, after in WAY if before == ways[0][-1] and after not in ways[0]]
            ways.pop(0)
        for before, after in zip(ways[0], ways[0][1:]):
            self.do(OPERATIONS[WAY[before, after]])

    def do(self, operation):
        self.serial += 1
        doing = Doing(self, operation, 120)
        doing.start()
        doing.join()
        assert doing.good, f"{operation.name} without a fault: {doing.words}"
        self.state = operation.after

    def learn(self, operation):
        """Once without a fault: the places that it passes and how it ends."""
        self.bring(operation.before)
        self.prepare(operation)
        marks = {name: daemon.mark() for name, daemon in self.daemons.items()}
        self.do(operation)
        look, calm = None, 0
        while calm < 3:  # what follows by itself is over when nothing has moved for three looks, no work is noted and nothing is being deleted
            fresh = normal(self.look())
            going = [i for items in fresh["store"].values() for i in items or [] if "deletionTimestamp" in i["metadata"]]
            calm = calm + 1 if fresh == look and not going and not any("/journal/" in f for f in fresh["files"]["agent"]) else 0
            look = fresh
        self.ends[operation.name] = look
        counts = {}
        for name, daemon in self.daemons.items():
            for place in daemon.places(marks[name]):
                if not BESIDE.search(place):
                    counts[name, place] = counts.get((name, place), 0) + 1
        self.passed[operation.name] = sorted((*key, n) for key, n in counts.items())

    def victims(self, victim):
        run = self.cloud.demo / "run"
        return {"gateway": f"kill:{run}/gateway.pid", "agent": f"kill:{run}/agent.pid", "libvirtd": "kill:/run/libvirtd.pid",
                "QEMU": f"kill:/run/libvirt/qemu/{MACHINE}-*.pid", "error": "error:5"}[victim]

    def restart(self, victim):
        if victim == "libvirtd":
            self.cloud.run("bash", "-c", "while kill -0 $(cat /run/libvirtd.pid); do :; done 2>/dev/null; true")
            self.cloud.libvirtd("start")
        elif victim in self.daemons:
            self.daemons[victim].end("KILL")
            self.daemons[victim].begin()

    def case(self, operation, name, place, number, victim, rollback=None):
        """One fault. Return: (it came to pass, what is wrong)."""
        self.bring(operation.before)
        self.prepare(operation)
        self.copies.twice.clear()
        epoch = self.epoch(self.look())
        for daemon in self.daemons.values():
            daemon.told()
        faults = [f"{place}#{number}={self.victims(victim)}"] + ([f"{rollback}=kill"] if rollback else [])
        armed = self.daemons[name]
        mark = armed.mark()
        armed.arm(*faults)
        self.serial += 1
        doing = Doing(self, operation, 150)
        doing.start()
        fired = self.await_fault(armed, doing, len(faults))
        armed.arm()
        for dead in ([victim] if fired else []) + (["agent"] if rollback and len(fired) == len(faults) else []):
            self.restart(dead)
        doing.join()
        wrong = [] if doing.good else [f"{operation.name} did not end: {doing.words}"]
        found, look = self.settle(operation, victim)
        wrong += found + self.doctor()
        wrong += [f"two copies of {uuid} ran at once" for uuid in sorted(set(self.copies.twice))]
        allowed = operation.starts + (1 if victim == "QEMU" else 0)
        if operation.before != "absent" and operation.after != "absent" and self.epoch(look) - epoch > allowed:
            wrong.append(f"started {self.epoch(look) - epoch} times")
        if operation.before == "absent" and self.epoch(look) > allowed:
            wrong.append(f"started {self.epoch(look)} times")
        self.state = operation.after if not wrong else "broken"
        if victim == "error" and not rollback and fired:
            wrong += self.order_of_rollback(place, armed.places(mark))
        return len(fired) == len(faults), wrong

    @staticmethod
    def order_of_rollback(place, passed):
        """C16: what was begun last is undone first, and the journal forgets it last."""
        for prefix, order in (("instances/", ["begun", "destroyed", "undefined", "seed-removed"]), ("volumes/create/", ["undoing", "undone", "undo.before", "undo.after"])):
            steps = [f"instances/rollback/{step}" if prefix == "instances/" else f"volumes/create/{step}" for step in order]
            seen = [p for p in passed if p in steps]
            if place.startswith(prefix) and seen[:4] != steps:
                return [f"rolled back in the order {seen}"]
        return []

    def await_fault(self, daemon, doing, wanted):
        """The faults that came to pass until all have, or until the operation and what follows it is over."""
        fired, over = [], None
        while len(fired) < wanted and (over is None or time.monotonic() < over):
            select.select([daemon.events], [], [], 0.1)
            fired += daemon.told()
            if doing.done.is_set() and over is None:
                over = time.monotonic() + 1.5
        return fired

    def mend(self):
        """After a failure: to an empty host again, so that the next case is judged by itself."""
        self.cloud.gabbro("delete", f"vmbda/{MACHINE}-more", f"vmbda/{MACHINE}-disc", f"vm/{MACHINE}", f"vd/{MACHINE}-root", f"vd/{MACHINE}-data", f"vd/{MACHINE}-copy", f"vd/{MACHINE}-more", f"vmip/{MACHINE}-held", f"vi/{MACHINE}-image",
                          "--ignore-not-found", "--wait", "--timeout", "90", check=False)
        self.cloud.gabbro("delete", f"namespace/{PROJECT}", "--ignore-not-found", "--wait", "--timeout", "90", check=False)
        self.cloud.gabbro("doctor", "--fix", "--yes", check=False)
        for aside in self.cloud.demo.rglob("lost+found"):
            shutil.rmtree(aside)
        self.state = "absent"
