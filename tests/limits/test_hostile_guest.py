# SPDX-License-Identifier: Apache-2.0
"""Guests whose agent is not what it says (attack 23; D49, D61): what it sends is bounded on its way, the host serves others. Takes a whole cloud.

Every guest begins with Debian's qemu-ga and puts its own program in its place when it has booted. The cases wait for what each program
makes its host say, so that none is judged before it is there.
"""
import concurrent.futures
import json
import os
import re
import threading
import time

import pytest
from cloud import one_host_cloud
from front import LIMIT
from reliability import attack, outcome

# In the place of qemu-ga, with the same arguments; $4 is the port. The first three never get through libvirt's handshake. Each keeps its port
# open while nobody listens: libvirt comes some time after it was opened, and would find it closed again.
ENDLESS = r"""exec 3<>$4; while :; do cat /dev/zero | tr '\0' x >&3; done"""
SILENT = r"""exec 3<>$4; while :; do read -r l <&3 || usleep 100000; done"""
WRONG_IDS = r"""exec 3<>$4
while :; do read -r l <&3 && printf '{"return":4711}\n{"return":{"id":"stolen"}}\n' >&3 || usleep 100000; done"""
PING = r"""*guest-ping*) printf '{"return":{}}\n' >&3;;"""


def liar(*answers, prepare=":", begin=":"):
    """It shakes hands as it should; the rest is a matter of @answers."""
    return "\n".join([prepare, "exec 3<>$4", begin, "while :; do", "read -r l <&3 || { usleep 100000; continue; }", 'case "$l" in',
                      r"*guest-sync*) i=${l##*\"id\":}; i=${i%%\}*}", r"""case "$l" in *delimited*) printf '\377' >&3;; esac""",
                      r"""printf '{"return":%s}\n' "$i" >&3;;""", *answers, "esac", "done"])


def says(pattern, answer):
    return f"*{pattern}*) printf '%s\\n' '{answer}' >&3;;"


DRIP = liar(PING, """*) while :; do printf ' ' >&3; sleep 1; done;;""")
GIGABYTE = liar(PING, r"""*) { printf '{"return":{"id":"'; head -c 1073741824 /dev/zero | tr '\0' x; printf '"}}\n'; } >&3;;""")
# Two megabytes pass libvirt's bound and not ours.
LIAR = liar(PING, "*guest-exec*) cat /tmp/deep >&3;;", "*) cat /tmp/big >&3;;",
            prepare=r"""{ printf '{"return":{"id":"'; head -c 2000000 /dev/zero | tr '\0' x; printf '"}}\n'; } >/tmp/big
{ printf '{"return":'; head -c 500000 /dev/zero | tr '\0' '['; printf '\n'; } >/tmp/deep""")
# It begins with replies to calls that were never made.
PAINTED = liar(PING,
               says("osinfo", r'{"return":{"id":"\u001b[31mred","name":"<script>alert(1)</script>\u001b]0;owned\u0007","pretty-name":"A\nB\u202eC"}}'),
               says("host-name", r'{"return":{"host-name":"\u001b[2Jhost"}}'),
               says("network", r'{"return":[{"name":"\u001b[5meth0","hardware-address":"\r\n","ip-addresses":[{"ip-address":"1.2.3.4\u001b[0m","prefix":7}]}]}'),
               says("", r'{"return":{"version":"\u009b31m8","id":"1"}}'),
               begin=r"""printf '{"return":{"id":"stolen"}}\n{"error":{"class":"x","desc":"stolen"}}\n{"return":7}\n' >&3""")
# What it is told to freeze it never says; what it is told to begin goes on until it is told to kill it, and the second never ends.
WINDOWS = liar(PING, "*fsfreeze*) :;;", says("osinfo", '{"return":{"id":"mswindows","name":"Windows"}}'),
               says("'\"/PID\",\"7\"'", '{"return":{"pid":9}}').replace("printf", ">/tmp/killed; printf", 1),
               """*'"pid":7}'*) x=false; [ -e /tmp/killed ] && x=true; printf '{"return":{"exited":%s,"exitcode":1}}\\n' $x >&3;;""",
               says("exec-status", '{"return":{"exited":false}}'), says("stubborn", '{"return":{"pid":8}}'), says("guest-exec", '{"return":{"pid":7}}'),
               says("", '{"return":{}}'))
EVIL = {"endless": ENDLESS, "wrong-ids": WRONG_IDS, "drip": DRIP, "gigabyte": GIGABYTE, "liar": LIAR, "painted": PAINTED, "windows": WINDOWS}
if os.environ.get("GABBRO_LONG") == "1":  # the windows do not answer either, when they are to freeze
    EVIL["silent"] = SILENT
# Those whose own program is known by what their host says of it.
CUT_OFF = "not available (for now|due to an error)"
REFUSED = {name: CUT_OFF for name in ("endless", "silent", "wrong-ids", "drip", "gigabyte") if name in EVIL} | {"liar": "too long, too deep"}
BOOTED_S = 240  # on a machine that does much else; alone a tenth of it


def user_data(evil):
    lines = "\n".join("      " + line for line in evil.splitlines())
    return ("#cloud-config\nwrite_files:\n  - path: /usr/sbin/evil\n    permissions: '0755'\n    content: |\n      #!/bin/sh\n" + lines +
            "\nruncmd:\n  - cp /usr/sbin/evil /usr/sbin/evil.new; rm /usr/sbin/qemu-ga; mv /usr/sbin/evil.new /usr/sbin/qemu-ga; killall qemu-ga\n")


def machine(name, evil=None):
    disk = {"apiVersion": "gabbro.dev/v1", "kind": "VirtualDisk", "metadata": {"name": name},
            "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "ClusterVirtualImage", "name": "tiny"}},
                     "persistentVolumeClaim": {"size": "256Mi"}}}
    spec = {"virtualMachineClassName": "generic", "cpu": {"cores": 1, "coreFraction": "10%"}, "memory": {"size": "96Mi"},
            "blockDeviceRefs": [{"kind": "VirtualDisk", "name": name}]}
    if evil:
        spec["provisioning"] = {"type": "UserData", "userData": user_data(evil)}
    return [disk, {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": spec}]


@pytest.fixture(scope="module")
def cloud():
    with one_host_cloud("gabbro-limits") as made:
        yield made


def condition(cloud, name, kind="AgentReady"):
    return next((c for c in cloud.vm(name)["status"].get("conditions", []) if c["type"] == kind), {})


def asked(cloud, name, *words):
    """(exit code, output, complaints, seconds) of a command about a guest."""
    begun = time.monotonic()
    done = cloud.gabbro("guest", words[0], name, *words[1:], check=False)
    return done.returncode, done.stdout, done.stderr, time.monotonic() - begun


def cost(cloud, program):
    """(bytes of memory, seconds of processor time) of all processes of a program."""
    memory = ticks = 0
    for pid in cloud.run("pgrep", "-x", program).stdout.split():
        memory += int(re.search(r"VmRSS:\s+(\d+)", cloud.run("cat", f"/proc/{pid}/status").stdout).group(1)) << 10
        fields = cloud.run("cat", f"/proc/{pid}/stat").stdout.rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return memory, ticks / 100


def besiege(cloud, name):
    """Ask an evil guest until its own program is the one that does not answer as it must; the last answer."""
    end = time.monotonic() + BOOTED_S
    while time.monotonic() < end:
        last = asked(cloud, name, "info")
        if last[0] == 1 and re.search(REFUSED[name], last[2]):
            return last
        time.sleep(1)
    raise AssertionError(f"{name}: {last}")


def try_windows(cloud):
    """What is told of commands that go on, and of freezes that are not answered: it takes a while, beside the others."""
    cloud.eventually("it is heard", lambda: cloud.vm("windows")["status"].get("guestOSInfo", {}).get("name") == "Windows", BOOTED_S)
    # The exchange of its agent may yet end the one that was heard.
    cloud.eventually("it stays", lambda: asked(cloud, "windows", "info")[0] == 0, 90)
    commands = [asked(cloud, "windows", "exec", "--timeout", "2", "--", program) for program in ("notepad", "stubborn")]
    return commands, [asked(cloud, "windows", "freeze") for _ in range(2)]


@pytest.fixture(scope="module")
def siege(cloud):
    """All of them at once, beside an honest one.

    {evil name: its refusal}, {program: (memory before, at most, processor time)}, answers of the honest one, those of try_windows()."""
    begun = time.monotonic()
    before = {program: cost(cloud, program) for program in ("gabbro-agent", "libvirtd")}
    most = {program: 0 for program in before}
    over = threading.Event()

    def watch():
        while not over.wait(1):
            for program in before:
                most[program] = max(most[program], cost(cloud, program)[0])

    items = [item for name in [*EVIL, "honest"] for item in machine(name, EVIL.get(name))]
    cloud.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    with concurrent.futures.ThreadPoolExecutor(12) as crowd:
        crowd.submit(watch)
        try:
            for name in [*EVIL, "honest"]:
                cloud.wait("vm", name, "phase=Running")
            refusals = {name: crowd.submit(besiege, cloud, name) for name in REFUSED}
            windows = crowd.submit(try_windows, cloud)
            cloud.wait("vm", "honest", "condition=AgentReady", BOOTED_S)
            honest = []
            while not all(one.done() for one in [windows, *refusals.values()]):
                honest.append(asked(cloud, "honest", "exec", "--", "id"))
                over.wait(1)
            refusals, windows = {name: one.result() for name, one in refusals.items()}, windows.result()
        finally:
            over.set()
    after = {program: cost(cloud, program) for program in before}
    costs = {program: (before[program][0], most[program], after[program][1] - before[program][1]) for program in before}
    print(f"\nafter {time.monotonic() - begun:.1f} s: {costs}\nhonest: {[round(one[3], 1) for one in honest]}")
    return refusals, costs, honest, windows


@pytest.mark.parametrize("program, more", [("gabbro-agent", 32 << 20), ("libvirtd", 128 << 20)])
def test_memory_stays_flat_beside_all_of_them(siege, program, more):
    """(attack 23) Lines without end and of a gigabyte are read up to a bound and no further."""
    memory, most, seconds = siege[1][program]
    assert memory < most < memory + more
    assert seconds < 60


@pytest.mark.parametrize("name", [name for name in ("endless", "silent", "wrong-ids", "drip") if name in EVIL])
def test_an_agent_that_does_not_answer_as_it_must_is_refused_in_time(cloud, siege, name):
    """(attack 23, D61) It floods, is silent, answers with other ids, or one byte a second."""
    _, _, words, seconds = siege[0][name]
    assert seconds < 60, "answers that never come are waited for without a bound"
    assert "troubleshooting" in words and "stolen" not in words and "xxx" not in words
    assert "stolen" not in json.dumps(cloud.vm(name)["status"])
    if name != "drip":
        cloud.eventually("it is told", lambda: condition(cloud, name).get("status") == "False", 90)


@pytest.mark.parametrize("name, order", [("gigabyte", ("info",)), ("liar", ("info",)), ("liar", ("exec", "--", "id"))])
def test_answers_beyond_the_bounds_are_refused(cloud, siege, name, order):
    """(attack 23) A gigabyte in one line, two megabytes, half a million levels."""
    assert LIMIT["GUEST_AGENT_REPLY_BYTES"] < 2000000
    code, out, words, _ = asked(cloud, name, *order)
    status = json.dumps(cloud.vm(name)["status"])
    assert code == 1 and "agent" in words, (out, words)
    for text in (out, words, status):
        assert "xxx" not in text and "[[[" not in text, text


def heard(cloud):
    cloud.eventually("it is heard", lambda: "script" in json.dumps(cloud.vm("painted")["status"].get("guestOSInfo", {})), BOOTED_S)


def test_replies_to_calls_that_were_never_made_are_dropped(cloud, siege):
    """(attack 23) They do not become the answers of the calls after them, nor those of another guest."""
    heard(cloud)
    for _ in range(5):
        code, out, words, _ = asked(cloud, "painted", "info")
        assert code == 0 and "A B C" in out and "stolen" not in out + words, (out, words)
    for name in ("honest", "painted"):
        assert "stolen" not in json.dumps(cloud.vm(name)["status"])


def test_markup_and_escapes_of_a_guest_reach_no_terminal(cloud, siege):
    """(attack 23, D49) What a guest calls itself is plain text wherever it is shown."""
    heard(cloud)
    shown = [cloud.gabbro("guest", "info", "painted").stdout, cloud.gabbro("get", "vm", "painted", "-o", "wide").stdout,
             cloud.gabbro("describe", "vm", "painted").stdout, cloud.gabbro("guest", "info", "painted", "-o", "yaml").stdout,
             cloud.kubectl("get", "vm", "painted", "-o", "wide").stdout, cloud.kubectl("describe", "vm", "painted").stdout,
             cloud.kubectl("get", "events").stdout]
    for text in shown:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), text
    info = cloud.vm("painted")["status"]["guestOSInfo"]
    assert info["name"].startswith("<script>alert(1)</script>") and not re.search(r"[\x00-\x1f]", "".join(info.values()))
    assert "1.2.3.4" not in json.dumps(cloud.vm("painted")["status"])


def test_a_command_without_a_shell_in_the_guest_is_killed_when_its_time_is_up(cloud, siege):
    """(D61) Windows: the agent is told to kill it; when that does nothing the caller is told in time all the same."""
    for (code, _, words, seconds), least, most in zip(siege[3][0], (2, 7), (60, 60)):
        assert (code, least <= seconds <= most) == (5, True), (code, words, seconds)
        assert "after 2 seconds" in words


def test_a_freeze_that_is_never_answered_is_refused_and_thawed(cloud, siege):
    """(attack 23, D60) It is taken for frozen, and others are frozen and thawed beside it."""
    (code, _, words, seconds), again = siege[3][1]
    assert code == 1 and "agent" in words and seconds < 70, words
    assert again[0] == 1 and "frozen already" in again[2]
    code, out, words, seconds = asked(cloud, "honest", "freeze")
    assert code == 0 and seconds < 60, words
    code, _, words, seconds = asked(cloud, "honest", "thaw")
    assert code == 0 and seconds < 60, words


def test_other_guests_are_served_beside_them(cloud, siege):
    """(attack 23) The honest guest is asked again and again while all of them are."""
    assert len(siege[2]) >= 3
    for code, out, words, seconds in siege[2]:
        assert code == 0 and "uid=0" in out and seconds < 60, (words, seconds)
    assert condition(cloud, "honest")["status"] == "True"
    outcome("a guest agent sends without end, or answers of megabytes", "other machines of the host",
            "start and are asked as before; the answers are refused, the agent's memory stays the same")
    outcome("a guest agent takes what it is asked and never answers", "other machines of the host",
            "are asked beside it; guests that let their host wait share two of six threads")
    attack(23, "a guest agent that floods, answers megabytes or nests without end", "refused in bounded memory; other guests are served")
    attack(23, "a guest agent that answers slowly, wrongly or what it was not asked", "refused in bounded time; other guests are served")
    attack(23, "a guest agent that gives names with markup, escapes or turned lines", "plain text wherever it is shown")
