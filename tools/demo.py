#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A one-host cloud on this machine: gateway, agent, a tiny image, a first machine. usage: demo.py up|down|status|gateway|agent

Everything it makes lies below one folder (GABBRO_DEMO_DIR, default /var/lib/gabbro-demo); `down` removes it again, with the domains,
bridges, taps and rules that came of it. `gateway` and `agent` start one part alone, for clouds of several hosts (tests/lab/lab.py).
"""
import argparse
import base64
import contextlib
import json
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("GABBRO_BIN", ROOT / "build/bin"))
IMAGE = pathlib.Path(os.environ.get("GABBRO_BUILD", ROOT / "build")) / "images/tiny.qcow2"
DIR = pathlib.Path(os.environ.get("GABBRO_DEMO_DIR", "/var/lib/gabbro-demo"))
LISTEN = os.environ.get("GABBRO_DEMO_LISTEN", "127.0.0.1:6443")
POOLS = pathlib.Path(os.environ.get("GABBRO_DEMO_POOLS", DIR / "pools"))
MACHINE = "first-vm"
GUEST_USER = "demo"
KUBECONFIG = pathlib.Path(os.environ.get("GABBRO_DEMO_KUBECONFIG", DIR / "gateway/admin.kubeconfig"))
TERMINAL = sys.stdout.isatty()


def say(words):
    print(f"\033[1m{words}\033[0m" if TERMINAL else words, flush=True)


def fail(words, log=None):
    print(f"demo: {words}", file=sys.stderr)
    if log and log.exists():
        print(f"demo: the end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]), file=sys.stderr)
    sys.exit(1)


# --- processes: each has a file with its pid and start time, so that a reused pid is never signalled ---------------------------------

def start_time(pid):
    """When the process began, or None when it has ended (also when nobody has waited for it yet)."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def recorded(name):
    """Pid of a process that the demo started and that still runs, or None."""
    try:
        pid, started = (DIR / f"run/{name}.pid").read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if start_time(pid) == started else None


def spawn(name, *argv):
    log = DIR / f"log/{name}.log"
    with open(log, "ab") as out:
        process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                   cwd="/")
    (DIR / f"run/{name}.pid").write_text(f"{process.pid} {start_time(process.pid)}\n")
    return process, log


def stop(name, grace_s=15):
    pid = recorded(name)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if not wait_pidfd(descriptor, grace_s):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                wait_pidfd(descriptor, 5)
            os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    (DIR / f"run/{name}.pid").unlink(missing_ok=True)


def wait_pidfd(descriptor, seconds):
    import select
    return bool(select.select([descriptor], [], [], seconds)[0])


def wait_until(what, probe, seconds, process=None, log=None):
    """Ask @probe until it gives something true; the only place that polls, for things that offer no event."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        if process and process.poll() is not None:
            fail(f"{what}: the program ended with code {process.returncode}", log)
        time.sleep(0.2)
    fail(f"{what}: nothing after {seconds} s", log)


def quiet(*argv, **kwargs):
    return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)


def gabbro(*argv, check=True, show=False, **kwargs):
    command = [str(BIN / "gabbro"), "--kubeconfig", str(KUBECONFIG), *argv]
    if show:
        result = subprocess.run(command, **kwargs)
    else:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
    if check and result.returncode:
        fail(f"gabbro {' '.join(argv)}: {(result.stderr or '').strip()}", DIR / "log/gateway.log")
    return result


# --- up ------------------------------------------------------------------------------------------------------------------------------

def libvirt_answers():
    return quiet("virsh", "-c", "qemu:///system", "version").returncode == 0


def ensure_libvirt():
    if libvirt_answers():
        return
    say("starting libvirtd")
    if pathlib.Path("/run/systemd/system").is_dir():
        quiet("systemctl", "start", "libvirtd")
    else:
        if not pathlib.Path("/run/dbus/system_bus_socket").exists():
            pathlib.Path("/run/dbus").mkdir(exist_ok=True)
        for name, program in (("virtlogd", "/usr/sbin/virtlogd"), ("libvirtd", "/usr/sbin/libvirtd")):
            if not recorded(name) and not (name == "virtlogd" and pathlib.Path("/run/libvirt/virtlogd-sock").exists()):
                spawn(name, program)
    wait_until("libvirtd", libvirt_answers, 60, log=DIR / "log/libvirtd.log")


def ensure_gateway():
    if recorded("gateway") and gabbro("version", check=False).returncode == 0:
        return
    say(f"starting the gateway on {LISTEN}")
    process, log = spawn("gateway", BIN / "gabbro-gateway", "--data-dir", DIR / "gateway", "--listen", LISTEN, "--compat-api", "--pool-path",
                        POOLS / "default")
    wait_until("gateway", lambda: KUBECONFIG.exists() and gabbro("version", check=False).returncode == 0, 60, process, log)


def ensure_agent():
    if recorded("agent"):
        return
    say("starting the agent")
    argv = [BIN / "gabbro-agent", "--data-dir", DIR / "agent", "--gateway", f"https://{LISTEN}", "--pool-base", POOLS]
    if not (DIR / "agent/node.crt").exists():
        token = gabbro("node", "join-token").stdout.strip()
        path = DIR / "agent/join-token"
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(token + "\n")
        argv += ["--join-token-file", path]
    if os.environ.get("GABBRO_DEMO_REBOOT"):
        argv += ["--reboot-command", os.environ["GABBRO_DEMO_REBOOT"]]
    process, log = spawn("agent", *argv)

    def ready():
        name = DIR / "agent/node.name"  # written when the host has joined
        node = gabbro("get", "node", name.read_text().strip(), "-o", "json", check=False) if name.exists() else None
        conditions = json.loads(node.stdout).get("status", {}).get("conditions", []) if node and node.returncode == 0 else []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    wait_until("agent", ready, 90, process, log)


def ensure_image():
    found = gabbro("get", "cvi", "tiny", "-o", "json", check=False)
    if found.returncode == 0 and json.loads(found.stdout).get("status", {}).get("phase") == "Ready":
        return
    if found.returncode == 0:
        gabbro("delete", "cvi", "tiny")
    say("importing the tiny image")
    gabbro("image", "upload", str(IMAGE), "--name", "tiny", "--cluster", show=True)


def credentials():
    """Password and key of the guest's user, made once."""
    key = DIR / "guest/id_ed25519"
    password = DIR / "guest/password"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    if not key.exists():
        quiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gabbro-demo", "-f", key)
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(9))
    return password.read_text(), key


def secret_manifest(password, key):
    config = {"hostname": MACHINE, "ssh_pwauth": True,
              "users": [{"name": GUEST_USER, "plain_text_passwd": password, "lock_passwd": False, "shell": "/bin/sh",
                         "ssh_authorized_keys": [key.with_suffix(".pub").read_text().strip()]}],
              "write_files": [{"path": "/etc/motd", "content": "Welcome to your first Gabbro machine.\n"}]}
    user_data = "#cloud-config\n" + json.dumps(config)
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{MACHINE}-cloud-init"},
                       "type": "provisioning.virtualization.deckhouse.io/cloud-init",
                       "data": {"userData": base64.b64encode(user_data.encode()).decode()}})


def machine():
    found = gabbro("get", "vm", MACHINE, "-o", "json", check=False)
    return json.loads(found.stdout) if found.returncode == 0 else None


def ensure_machine(password, key):
    if not machine():
        say("applying examples/first-vm.yaml")
        gabbro("apply", "-f", "-", input=secret_manifest(password, key))
    gabbro("apply", "-f", str(ROOT / "examples/first-vm.yaml"))
    gabbro("wait", "vm", MACHINE, "--for", "phase=Running", "--timeout", "300", show=True)
    return machine()["status"]


def prepare():
    if os.geteuid() != 0:
        fail("needs root (sudo make demo): it talks to libvirt's system socket and makes a bridge")
    for folder in ("", "run", "log", "gateway", "agent"):
        (DIR / folder).mkdir(mode=0o700 if folder else 0o711, parents=True, exist_ok=True)
    POOLS.mkdir(mode=0o711, parents=True, exist_ok=True)


def up():
    prepare()
    ensure_libvirt()
    ensure_gateway()
    ensure_agent()
    ensure_image()
    password, key = credentials()
    status = ensure_machine(password, key)
    address = status.get("ipAddress", "")
    say("waiting for the guest to answer")
    wait_until(f"guest at {address}", lambda: quiet("ping", "-c1", "-W1", address).returncode == 0, 180)
    hand_over()
    print()
    gabbro("get", "vm", "-o", "wide", show=True)
    print(f"""
{MACHINE} runs on {status.get('nodeName')} with the address {address}.
Guest login: {GUEST_USER}   password: {password}

Try next:
  {BIN}/gabbro --kubeconfig {KUBECONFIG} console {MACHINE}      (Ctrl+] leaves)
  ssh -i {key} -o UserKnownHostsFile={DIR}/guest/known_hosts -o StrictHostKeyChecking=accept-new {GUEST_USER}@{address}
  kubectl --kubeconfig {KUBECONFIG} get vm -o wide -w

make demo-down removes all of it.""")


def gateway():
    prepare()
    ensure_gateway()
    ensure_image()


def agent():
    prepare()
    ensure_agent()


def hand_over():
    """Under sudo the caller gets the files that the commands above need."""
    user = os.environ.get("SUDO_USER")
    if not user or user == "root":
        return
    account = pwd.getpwnam(user)
    for path in [KUBECONFIG, DIR / "guest", *(DIR / "guest").iterdir()]:
        os.chown(path, account.pw_uid, account.pw_gid)
    os.chmod(DIR / "gateway", 0o711)


# --- down ----------------------------------------------------------------------------------------------------------------------------

def delete_objects():
    if not recorded("agent") or not recorded("gateway") or gabbro("version", check=False).returncode:
        return
    for kind in ("vm", "vd", "vi", "cvi"):
        scope = [] if kind == "cvi" else ["-A"]
        found = gabbro("get", kind, *scope, "-o", "json", check=False)
        for item in json.loads(found.stdout).get("items", []) if found.returncode == 0 else []:
            meta = item["metadata"]
            place = ["-n", meta["namespace"]] if meta.get("namespace") else []
            gabbro("delete", kind, meta["name"], *place, "--wait", "--timeout", "120", check=False)


def remove_domains():
    """What the agent could not take down any more: our domains, by their metadata, and the pools below our folder."""
    if not libvirt_answers():
        return
    virsh = ("virsh", "-c", "qemu:///system")
    for uuid in quiet(*virsh, "list", "--all", "--uuid").stdout.split():
        if str(DIR) in quiet(*virsh, "dumpxml", uuid).stdout:
            quiet(*virsh, "destroy", uuid)
            quiet(*virsh, "undefine", uuid, "--nvram")
    for pool in quiet(*virsh, "pool-list", "--all", "--name").stdout.split():
        if f"<path>{DIR}/" in quiet(*virsh, "pool-dumpxml", pool).stdout:
            quiet(*virsh, "pool-destroy", pool)
            quiet(*virsh, "pool-undefine", pool)


def remove_network():
    for pid_file in DIR.glob("agent/**/*dnsmasq*.pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_text())
            if str(DIR) in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGTERM)
    for family in ("inet", "bridge", "arp"):
        quiet("nft", "delete", "table", family, "gabbro")
    for link in json.loads(quiet("ip", "-j", "link", "show", "type", "bridge").stdout or "[]"):
        if link.get("ifname", "").startswith("gbr"):
            quiet("ip", "link", "delete", link["ifname"])


def down():
    if os.geteuid() != 0:
        fail("needs root")
    if not DIR.exists():
        print("there is no demo here")
        return
    say("deleting machines, disks and images")
    delete_objects()
    say("stopping agent and gateway")
    stop("agent")
    remove_domains()
    remove_network()
    stop("gateway")
    for name in ("libvirtd", "virtlogd"):
        stop(name)
    shutil.rmtree(DIR)
    say("nothing is left")


def status():
    for name in ("libvirtd", "gateway", "agent"):
        print(f"{name}: {recorded(name) or 'not started by the demo'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A one-host cloud on this machine.")
    parser.add_argument("command", choices=["up", "down", "status", "gateway", "agent"])
    {"up": up, "down": down, "status": status, "gateway": gateway, "agent": agent}[parser.parse_args().command]()
