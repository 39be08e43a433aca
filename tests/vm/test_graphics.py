# SPDX-License-Identifier: Apache-2.0
"""A screen that listens for TCP: where the host allows it, with a password that is a second factor and in no text, changed while it runs.

Clients of VNC and SPICE (tests/lab/rfb.py, spice.py) knock inside the host's namespace.
"""
import base64
import json
import os
import re

import pytest
from cloud import BUILD, ROOT, Daemon
from fleet import Machine, caught_up, manifest
from reliability import attack, outcome

NAME = "scr"
PATH = f"/apis/gabbro.dev/v1/namespaces/default/virtualmachines/{NAME}/graphicspassword"
BY_HAND = "by-h4nd!"
SEEN = {BY_HAND}  # every password of this file


class Screen:
    def __init__(self, cloud):
        self.cloud, self.machine = cloud, Machine(cloud, NAME)

    def heard(self, text):
        said = json.loads(text)
        SEEN.add(said["password"])
        return said

    def password(self, *words):
        return self.heard(self.cloud.gabbro("graphics-password", NAME, "-o", "json", *words, timeout=180).stdout)["password"]

    def secret(self):
        return self.machine.vm()["status"]["graphics"]["secretName"]

    def knock(self, password):
        """What the server offers and says: 2 is VNC's password, 1 would be none at all."""
        where = self.machine.vm()["status"]["graphics"]
        program = {"VNC": "rfb.py", "SPICE": "spice.py"}[where["protocol"]]
        client = self.cloud.run("/usr/bin/python3", ROOT / "tests/lab" / program, where["address"], where["port"], input=password + "\n",
                                timeout=200)
        return client.stdout.strip()

    def lets_in(self, password):
        said = self.knock(password)
        assert said.startswith(("2 accepted ", "2 refused ")) or said in ("accepted", "refused 7"), said
        return "accepted" in said

    def until(self, reason):
        self.machine.until(f"GraphicsReady says {reason}", lambda m: m.condition("GraphicsReady").get("reason") == reason, 90)

    def write(self, password):
        data = {"data": {"password": base64.b64encode(password.encode()).decode()}}
        self.cloud.kubectl("patch", "secret", self.secret(), "--type=merge", "-p", json.dumps(data))


@pytest.fixture(scope="module")
def operator(cloud):
    """Of the host, who lets its agent begin with other options; as it was afterwards."""
    agent = Daemon(cloud, "agent")
    ordinary = agent.argv

    def says(*options):
        agent.argv = [*ordinary, *options]
        agent.again("TERM")
        return agent
    yield says
    says()
    caught_up(cloud)  # the next file asks guests at once


@pytest.fixture(scope="module")
def wanted(cloud, operator):
    """The machine asks for a port; nobody has allowed one."""
    disk, machine = manifest(NAME, "AlwaysOnUnlessStoppedManually")
    machine["spec"]["graphics"] = {"listen": "TCP"}
    cloud.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [disk, machine]}))
    yield Screen(cloud)
    cloud.kubectl("delete", "--ignore-not-found", "vm", NAME, timeout=90)
    cloud.kubectl("delete", "--ignore-not-found", "vd", f"{NAME}-root", timeout=60)


@pytest.fixture(scope="module")
def screen(wanted, operator):
    operator("--graphics-address", "127.0.0.1")
    wanted.until("GraphicsReady")
    wanted.password()
    return wanted


def test_C23_a_host_that_allows_no_port_does_not_start_the_machine_and_says_why(cloud, wanted, operator):
    wanted.until("GraphicsNotAllowed")
    running = wanted.machine.condition()
    assert (running["status"], running["reason"]) == ("False", "NoSuitableNode"), running
    assert "allows no screen to listen for TCP" in running["message"] and "--graphics-address" in running["message"]
    assert not cloud.get("instances.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={NAME}")["items"]
    assert "allows no screen" in cloud.gabbro("describe", "vm", NAME).stdout

    # An address that the host does not have: what libvirt was told is shown, its password is not.
    agent = operator("--graphics-address", "192.0.2.1")
    wanted.machine.until("QEMU cannot listen there", lambda m: "assign requested address" in m.condition()["message"], 90)
    wanted.password()
    log = cloud.eventually("the log shows what was refused", lambda: re.findall(r".*libvirt refused the domain.*", agent.log.read_text()), 60)[-1]
    assert "192.0.2.1" in log and "********" in log
    attack(36, "a screen that listens where the operator of the host has not allowed it", "the machine does not start, and says why")


def test_C69_C70_C71_C72_it_listens_where_it_is_told_and_lets_nobody_in_without_the_password(cloud, screen):
    where, password = screen.machine.vm()["status"]["graphics"], screen.password()
    uuid = screen.machine.uuid()
    assert where["protocol"] == "VNC" and where["address"] == "127.0.0.1" and where["port"] >= 5900
    assert cloud.virsh("domdisplay", uuid).strip() == f"vnc://127.0.0.1:{where['port'] - 5900}"
    listening = [line.split()[3] for line in cloud.run("ss", "-ltnpH").stdout.splitlines() if "qemu" in line]
    assert listening == [f"127.0.0.1:{where['port']}"]
    assert cloud.gabbro("graphics-password", f"vm/{NAME}").stdout == password + "\n"
    assert screen.lets_in(password)
    for other in ("", "wrong", password[:-1], password.swapcase()):
        assert not screen.lets_in(other), other
    assert password not in cloud.virsh("dumpxml", uuid) and password in cloud.virsh("dumpxml", "--security-info", uuid)
    attack(36, "a screen that listens, without its password, with a wrong one and with a part of it",
           "refused by QEMU; a way in without a password is not offered")


def test_C70_a_new_password_holds_at_once_and_the_old_one_no_more(cloud, screen):
    before, qemu = screen.password(), screen.machine.pid()
    after = screen.password("--rotate")
    assert after != before and screen.lets_in(after) and not screen.lets_in(before)

    screen.write(BY_HAND)
    screen.machine.until("it holds what was written", lambda _: screen.lets_in(BY_HAND), 90)
    assert not screen.lets_in(after)
    screen.write("far too long to be one")
    screen.until("GraphicsPasswordInvalid")
    assert screen.lets_in(BY_HAND)
    assert "make a new one" in cloud.gabbro("graphics-password", NAME, check=False).stderr
    last = screen.password("--rotate")
    screen.until("GraphicsReady")
    assert screen.lets_in(last) and not screen.lets_in(BY_HAND) and screen.machine.pid() == qemu
    attack(36, "a screen that listens, with a password that was replaced", "refused as soon as the new one is told")


@pytest.mark.parametrize("place", ["fetched", "set", "noted"] if os.environ.get("GABBRO_LONG") == "1" else ["set"])
def test_C70_an_agent_that_is_killed_in_between_loses_no_password(cloud, screen, operator, place):
    before = screen.password()
    agent = operator("--graphics-address", "127.0.0.1")
    agent.end("TERM")
    agent.begin(BUILD / "tests/fault/gabbro-agent-faulty", GABBRO_FAULT=f"instances/graphics/{place}=kill")
    after = screen.heard(cloud.kubectl("create", "--raw", PATH, "-f", "-", input="{}").stdout)["password"]
    cloud.eventually("the agent is killed", lambda: cloud.run("kill", "-0", str(agent.pid()), check=False).returncode, 90)
    agent.begin()
    screen.until("GraphicsReady")
    assert screen.lets_in(after) and not screen.lets_in(before)
    outcome("SIGKILL of the agent in the middle", "graphics password", "the next agent sets what the Secret holds, and notes it")


def test_C70_who_may_open_consoles_may_read_it_and_a_viewer_may_not(cloud, screen):
    cloud.kubectl("create", "serviceaccount", "looker")
    try:
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        asked = cloud.kubectl("create", "--raw", "/api/v1/namespaces/default/serviceaccounts/looker/token", "-f", "-", input=json.dumps(request))
        token = json.loads(asked.stdout)["status"]["token"]
        for role, may in (("viewer", False), ("operator", True)):
            cloud.kubectl("create", "rolebinding", f"looker-{role}", f"--clusterrole=gabbro:{role}", "--serviceaccount=default:looker")
            for words in ([], ["--rotate"]):
                said = cloud.gabbro("--token", token, "graphics-password", NAME, *words, check=False, timeout=180)
                assert (said.returncode == 0) is may and (said.stdout == "") is not may, (role, words, said.stderr)
                SEEN.update(said.stdout.split())
            assert cloud.gabbro("--token", token, "get", "secret", screen.secret(), check=False).returncode != 0
            assert cloud.gabbro("--token", token, "get", "vm", NAME).returncode == 0
    finally:
        cloud.kubectl("delete", "--ignore-not-found", "serviceaccount/looker", "rolebinding/looker-viewer", "rolebinding/looker-operator")
    attack(36, "the password of a screen, asked for by a viewer", "refused (403); whoever may open consoles may read it, which is noted for audit")


def test_C69_C70_a_restart_brings_spice_with_the_same_password(cloud, screen):
    cloud.kubectl("patch", "vm", NAME, "--type=merge", "-p", '{"spec":{"graphics":{"protocol":"SPICE"}}}')
    before = screen.password()
    cloud.gabbro("restart", NAME, "--force", "--wait", "--timeout", "120", timeout=150)
    screen.machine.until("SPICE listens", lambda m: m.vm()["status"].get("graphics", {}).get("protocol") == "SPICE", 90)
    screen.until("GraphicsReady")
    assert screen.lets_in(before) and not screen.lets_in("wrong")
    after = screen.password("--rotate")
    assert screen.lets_in(after) and not screen.lets_in(before)


def test_C70_the_password_is_in_no_text_but_the_secret_and_libvirts_own_files(cloud, screen):
    """Logs, the audit log, the store, what is told of machine, intents and events; also the ones before (I9)."""
    SEEN.add(screen.password())
    forms = sorted(SEEN | {base64.b64encode(p.encode()).decode() for p in SEEN})
    patterns = "".join(f"{form}\n" for form in forms)

    def holding(*places):
        found = cloud.run("grep", "-rlaF", "-f", "-", *places, input=patterns, check=False, timeout=120)
        assert found.returncode in (0, 1), found.stderr
        return found.stdout.splitlines()
    assert holding(cloud.demo, "/var/log/libvirt") == []
    own = holding("/etc/libvirt", "/run/libvirt")
    assert own and all(path.endswith(f"/{screen.machine.domain()}.xml") for path in own), own
    assert set(cloud.run("stat", "-c", "%U %a", *own).stdout.split("\n")[:-1]) == {"root 600"}
    told = [cloud.gabbro("get", kind, "-A", "-o", "json").stdout for kind in ("vm", "instances.host.gabbro.dev", "events", "nodes")]
    told += [cloud.gabbro("describe", kind, name).stdout for kind, name in (("vm", NAME), ("secret", screen.secret()))]
    told += [cloud.run("cat", f"/proc/{screen.machine.pid()}/cmdline").stdout, cloud.virsh("dumpxml", screen.machine.uuid())]
    assert not [form for form in forms for text in told if form in text]
    audit = (cloud.demo / "gateway/audit.log").read_text()
    assert '"subresource":"graphicspassword"' in audit
    attack(36, "the password of a screen in logs, audit, events, intents, the store's files and the arguments of QEMU", "nowhere")
