# SPDX-License-Identifier: Apache-2.0
"""A machine that is moved between two hosts while a part is killed: what is killed, when, and what is seen meanwhile and afterwards."""
import base64
import json
import os
import pathlib
import re
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "sweep"))
from cloud import Daemon  # noqa: E402
from test_2_migration import completed, domains, ends, files, of_node, operate, operation  # noqa: E402
from world import Faulty  # noqa: E402

MACHINE = "killed"
COUNTER = "setsid sh -c 'n=0; while :; do n=$((n+1)); echo $n >/run/n; sleep 0.2; done' </dev/null >/dev/null 2>&1 &"
SWITCH_S = 25  # libvirt gives a peer up that has said nothing for 30 s
# libvirt itself lets the guest run on at the source when it has not heard that it runs on the target; until the agent has stopped it again.
MOMENT_S = 5
MOMENTS = ("start", "middle", "switch")


def empty(lab):
    """What files before have left running takes the room that machines need to come to a host."""
    lab.gateway.kubectl("delete", "vm", "--all", "--timeout=120s", timeout=150)
    lab.gateway.kubectl("delete", "vd", "--all", "--timeout=60s", timeout=90)


class Running(threading.Thread):
    """Looks all the time for a second copy that runs (I1): what libvirt last knew of each QEMU that is there. A QEMU stops by itself at the switch, it
    runs only when its libvirt has told it to, and that has been noted before."""

    def __init__(self, lab, uuid):
        super().__init__(daemon=True)
        self.lab, self.uuid, self.twice, self.ended = lab, uuid, [], threading.Event()
        self.spaces = {os.readlink(f"/proc/{(h.host / 'init.pid').read_text().split()[0]}/ns/pid"): h for h in lab.hosts}

    def state(self, host):
        """running, paused, ...; None: libvirt has no such domain there."""
        for path in (host.host / "run/libvirt/qemu").glob(f"{MACHINE}-*.xml"):
            try:
                text = path.read_text()
            except OSError:
                continue
            found = re.search(r"<domstatus state='(\w+)'", text)
            if found and self.uuid in text:
                return found[1]
        return None

    def has_sent_all(self, host):
        """Of the guest, by libvirt's own note of how far a move is."""
        return any("phase='perform3_done'" in path.read_text() for path in (host.host / "run/libvirt/qemu").glob(f"{MACHINE}-*.xml"))

    def alive(self):
        """Hosts that have a QEMU of the machine."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                argv = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                space = os.readlink(f"/proc/{pid}/ns/pid") if argv[0].startswith("/usr/bin/qemu-system") and self.uuid in argv else None
            except OSError:
                continue
            if space in self.spaces:
                found.append(self.spaces[space])
        return found

    def copies(self):
        said = [host for host in self.lab.hosts if self.state(host) == "running"]
        return [host.node for host in self.alive() if host in said] if len(said) > 1 else []

    def run(self):
        while not self.ended.wait(0.02):
            if len(self.copies()) > 1 and len(self.copies()) > 1:  # one may have stopped between two looks
                begun = time.monotonic()
                while len(self.copies()) > 1 and not self.ended.wait(0.002):
                    pass
                self.twice.append(time.monotonic() - begun)


class Agent(Faulty):
    """An agent that stops where it is told to; the others go on."""

    def at(self, place, seconds=60):
        """Waits until it stands there."""
        self.cloud.eventually(f"the agent comes to {place}", lambda: place in self.told(), seconds)

    def go_on(self):
        self.arm()
        self.cloud.run("kill", "-CONT", str(self.pid()))


class Kills:
    """The machine goes to and fro between the first two hosts."""

    def __init__(self, lab):
        self.lab, self.serial = lab, 0
        empty(lab)
        lab.machine(MACHINE)
        lab.gateway.wait("vm", MACHINE, "condition=AgentReady", 120)
        self.uuid = lab.gateway.vm(MACHINE)["metadata"]["uid"]
        if self.where() not in lab.hosts[:2]:
            operate(lab, "come", MACHINE, migrate={"nodeName": lab.hosts[0].node})
            assert ends(lab, "come", 120) == "Completed", operation(lab, "come")
        self.agents = {host.node: Agent(host, "agent") for host in lab.hosts[:2]}
        for agent in self.agents.values():
            agent.again("TERM")
        self.running = Running(lab, self.uuid)
        self.running.start()
        self.count()

    def close(self):
        self.running.ended.set()
        for agent in self.agents.values():
            agent.end("TERM")
            Daemon.begin(agent)
            agent.fired.unlink()
        self.lab.gateway.kubectl("delete", f"vm/{MACHINE}", f"vd/{MACHINE}-root", "--timeout=60s", timeout=90)

    def where(self):
        return of_node(self.lab, self.lab.gateway.vm(MACHINE)["status"]["nodeName"])

    # --- the guest

    def ask(self, host, command, **arguments):
        words = json.dumps({"execute": command, "arguments": arguments})
        said = host.run("virsh", "-q", "qemu-agent-command", self.uuid, words, "--timeout", "10", check=False)
        return json.loads(said.stdout)["return"] if said.returncode == 0 else None

    def script(self, host, text):
        """What a script in the guest writes; None: it cannot be asked now."""
        begun = self.ask(host, "guest-exec", path="/bin/sh", arg=["-c", text], **{"capture-output": True})
        while begun and (said := self.ask(host, "guest-exec-status", pid=begun["pid"])):
            if said["exited"]:
                return base64.b64decode(said.get("out-data", "")).decode()
        return None

    def counted(self, host):
        """How far the guest has counted; 0: it has booted since. An emulated guest is damaged now and then by a move (its kernel runs round in a list of
        its own; whether it is one moved by virsh alone was not tried): that is told apart from what is looked for here by its processor, which is never idle again."""
        end = time.monotonic() + 90
        while (said := self.script(host, "echo n$(cat /run/n 2>/dev/null)")) is None:
            if time.monotonic() > end:
                registers = host.virsh("qemu-monitor-command", self.uuid, "--hmp", "info registers", check=False)
                raise Hung(f"the guest does not answer any more: {re.findall('RIP=.*', registers)}")
        return int(said.strip()[1:] or 0)

    def count(self):
        host = self.where()
        self.script(host, COUNTER)
        self.lab.gateway.eventually("it counts", lambda: self.counted(host), 30)

    # --- when

    def start(self, name, source, target, victim):
        if victim == "target QEMU":
            operate(self.lab, name, MACHINE, migrate={"nodeName": target.node, "bandwidthMibPerSecond": 3})
            self.lab.gateway.eventually("a QEMU awaits it", lambda: target in self.running.alive(), 60)
            return None
        agent = self.agents[source.node]
        agent.told()
        agent.arm("instances/migrate/before=stop")
        operate(self.lab, name, MACHINE, migrate={"nodeName": target.node})
        agent.at("instances/migrate/before")
        return agent.go_on

    def middle(self, name, source, target, victim):
        operate(self.lab, name, MACHINE, migrate={"nodeName": target.node, "bandwidthMibPerSecond": 3})
        self.lab.gateway.eventually("it is under way", lambda: operation(self.lab, name).get("migration", {}).get("processedBytes"), 60)

    def switch(self, name, source, target, victim):
        """All of the guest is there and it stands still here; the target's libvirt has been told to let it run, and has not read that yet."""
        operate(self.lab, name, MACHINE, migrate={"nodeName": target.node, "bandwidthMibPerSecond": 24})
        self.lab.gateway.eventually("its memory goes", lambda: re.search(r"Memory processed: +[1-9]", source.virsh("domjobinfo", self.uuid, check=False)), 60)
        target.libvirtd("freeze")
        end = time.monotonic() + SWITCH_S
        while not (self.running.has_sent_all(source) and self.was_asked(target)):
            if time.monotonic() > end or operation(self.lab, name).get("phase") in ("Completed", "Failed"):
                self.thaw(target)
                raise Missed(f"the switch of {name}")
        return lambda: self.thaw(target)

    @staticmethod
    def was_asked(host):
        """Something waits for its libvirtd to read it."""
        return any(int(line.split()[0]) > 0 for line in host.run("ss", "-Htn", "state", "established", "sport = :16514").stdout.splitlines())

    @staticmethod
    def thaw(host):
        """Unless it was killed meanwhile."""
        host.run("bash", "-c", "kill -CONT $(cat /run/libvirtd.pid)", check=False)

    # --- what

    def end_libvirtd(self, *hosts):
        for host in hosts:
            host.libvirtd("kill")

    def begin_libvirtd(self, *hosts):
        for host in hosts:
            self.lab.gateway.eventually("libvirtd has ended", lambda h=host: h.run("bash", "-c", "kill -0 $(cat /run/libvirtd.pid)", check=False).returncode, 10)
            host.libvirtd("start")

    @staticmethod
    def end_qemu(host):
        host.run("bash", "-c", f"kill -KILL $(cat /run/libvirt/qemu/{MACHINE}-*.pid)")

    def cut_for_long(self, go_on, target):
        """Longer than libvirt waits for its peer, so that each side decides alone."""
        self.lab.cut(target)
        if go_on:
            go_on()
        time.sleep(45)
        self.lab.heal(target)

    def strike(self, victim, source, target, go_on):
        """The fault, and what an administrator or the system would do then: whatever has died is begun anew."""
        go_on = go_on or (lambda: None)
        hosts = {"source": [source], "target": [target], "both": [source, target]}.get(victim.split()[0], [])
        if victim == "link":
            self.cut_for_long(go_on, target)
        elif victim == "gateway":
            daemon = Daemon(self.lab.gateway, "gateway")
            daemon.end()
            go_on()
            daemon.begin()
            self.lab.gateway.gateway_serves()
        elif victim.endswith("agent"):
            agent = self.agents[hosts[0].node]
            agent.end()
            agent.begin()
            agent.arm()
            go_on()
        elif victim.endswith("QEMU"):
            self.end_qemu(hosts[0])
            go_on()
        else:
            self.end_libvirtd(*hosts)
            go_on()
            self.begin_libvirtd(*hosts)

    # --- one cell

    def prepare(self):
        host = self.where()
        if self.counted(host) == 0:
            self.count()
        self.running.twice.clear()
        return host

    def cell(self, victim, moment):
        """Return: words for what came of it, and what is wrong."""
        for _ in range(4):
            try:
                return self.once(victim, moment)
            except (Missed, Hung) as why:
                print(f"  {victim} × {moment}: again, {why}", file=sys.stderr, flush=True)
                ends(self.lab, f"m{self.serial}", 120)
                self.lab.gateway.wait("vm", MACHINE, "phase=Running", 60)
                if isinstance(why, Hung):
                    self.lab.gateway.gabbro("restart", MACHINE, "--force", "--wait", "--timeout", "90", timeout=120)
        raise AssertionError(f"the {moment} was missed four times")

    def once(self, victim, moment):
        source = self.prepare()
        target = next(h for h in self.lab.hosts[:2] if h is not source)
        epoch, self.serial = self.lab.gateway.vm(MACHINE)["status"]["epoch"], self.serial + 1
        name = f"m{self.serial}"
        before = self.counted(source)
        go_on = getattr(self, moment)(name, source, target, victim)
        self.strike(victim, source, target, go_on)
        if moment == "middle":  # what goes on need not be slow any more
            source.run("virsh", "-q", "migrate-setspeed", self.uuid, "1000", check=False)
        phase = ends(self.lab, name, 240)
        said = completed(self.lab, name)["message"]
        self.lab.gateway.wait("vm", MACHINE, "phase=Running", 120)
        wrong = self.left_over()
        if wrong:
            return phase, wrong
        host = self.where()
        status = self.lab.gateway.vm(MACHINE)["status"]
        after = self.counted(host)
        restarts = status["epoch"] - epoch
        print(f"  {victim} × {moment}: {phase} ({said}); {source.node} -> {host.node}, {restarts} starts, counted {before} -> {after}", file=sys.stderr)
        both = sum(self.running.twice)
        wrong += [f"two copies ran at once for {both:.3f} s"] if both > (MOMENT_S if victim == "link" else 0) else []
        wrong += ["it was started anew"] if restarts > (victim.endswith("source QEMU")) else []
        wrong += [f"the guest counted {before} and then {after}"] if not restarts and after <= before else []
        wrong += [f"{phase} is not where it is"] if (phase == "Completed") != (host is target) else []
        words = "it runs on the target" if host is target else "it runs on the source"
        if both:
            print(f"  both ran for {both:.3f} s", file=sys.stderr)
        return words + (", started anew there with the next epoch" if restarts else ""), wrong

    def left_over(self):
        """Exactly one copy, store and libvirt agree, and nothing of it is anywhere else; waits for that, then says what is not so."""
        end, wrong = time.monotonic() + 90, []
        while time.monotonic() < end:
            wrong = self.look()
            if not wrong:
                return []
            time.sleep(0.2)
        return wrong

    def look(self):
        get, node = self.lab.gateway.get, self.where().node
        found = domains(self.lab, MACHINE)
        wrong = [] if found == {node: ["running"]} else [f"domains {found}, the store says {node}"]
        wrong += [f"files on {h.node}: {files(h, MACHINE)}" for h in self.lab.hosts if len(files(h, MACHINE)) != (h.node == node)]
        intents = [i for kind in ("instances", "ports", "volumes") for i in get(f"{kind}.host.gabbro.dev")["items"]]
        ours = [i for i in intents if i["metadata"]["labels"].get("gabbro.dev/owner-name") in (MACHINE, f"{MACHINE}-root")]
        wrong += [f"{i['metadata']['name']} stands by" for i in intents if "gabbro.dev/standby" in i["metadata"].get("annotations", {})]
        wrong += [f"intents {[i['metadata']['name'] for i in ours]}"] if sorted(i["spec"]["nodeName"] for i in ours) != [node] * 3 else []
        if not wrong:
            report = self.lab.gateway.gabbro("doctor", "-o", "json", check=False)
            wrong += [f"doctor: {report.stdout}{report.stderr}"] if report.returncode else []
        return wrong


class Missed(Exception):
    """It was over before the moment came."""


class Hung(Exception):
    """The guest itself stands."""
