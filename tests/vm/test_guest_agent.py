# SPDX-License-Identifier: Apache-2.0
"""The agent in a guest: what it tells, what is asked of it, who may ask. Debian's qemu-ga in the tiny guest answers."""
import json
import subprocess
import time

import pytest

from cloud import BIN, Daemon
from fleet import caught_up

SECRET = "kept-to-itself-4711"
# The agent calls chpasswd, which this guest's busybox has not.
CHPASSWD = r"""cat >/usr/sbin/chpasswd <<'END'
#!/bin/sh
IFS=: read -r user word
grep -q "^$user:" /etc/shadow || { echo "no user $user" >&2; exit 1; }
[ "$1" = -e ] || word='$word$'$(printf %s "$word" | sha256sum | cut -c1-20)
awk -F: -v OFS=: -v u="$user" -v w="$word" '$1 == u { $2 = w } { print }' /etc/shadow >/run/shadow && cat /run/shadow >/etc/shadow
END
chmod 755 /usr/sbin/chpasswd; grep ^root: /etc/shadow"""


CREW = {"asked": "AlwaysOnUnlessStoppedManually"}


@pytest.fixture(scope="module")
def guest(crew):
    crew["asked"].domain_uuid = crew["asked"].uuid()
    return crew["asked"]


def run(guest, *words, **kwargs):
    return guest.cloud.gabbro("guest", "exec", guest.name, *words, check=False, **kwargs)


def test_a_command_runs_in_the_guest_and_its_exit_code_is_passed_on(guest):
    """(D60, D61) exec: both streams, what it reads, how it ended."""
    done = run(guest, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert run(guest, "-i", "--", "sha256sum", input="abc").stdout.startswith("ba7816bf")
    done = run(guest, "--", "no-such-program")
    assert done.returncode == 127 and "no-such-program" in done.stderr


def test_a_command_is_bounded_in_size_and_time(guest):
    """(D61) What a command writes and how long it takes is bounded inside the guest; its agent serves on."""
    done = run(guest, "--", "cat", "/dev/zero")
    assert done.returncode == 141 and len(done.stdout) == 256 << 10 and "more than 256 KiB" in done.stderr
    begun = time.monotonic()
    done = run(guest, "--timeout", "2", "--", "sh", "-c", "sleep 1000; echo never")
    assert done.returncode == 5 and "after 2 seconds" in done.stderr and time.monotonic() - begun < 90
    assert "sleep 1000" not in run(guest, "--", "ps").stdout


def test_each_thing_asked_of_a_guest_is_a_right_of_its_own_and_audited(guest):
    """(D61) An operator opens consoles and may not run commands in guests; the log tells who did."""
    cloud = guest.cloud
    cloud.gabbro("user", "create", "otto", "--no-password")
    kubeconfig = cloud.folder / "otto.kubeconfig"
    cloud.gabbro("user", "certificate", "otto", "--to", kubeconfig)
    cloud.gabbro("role", "grant", "operator", "--user", "otto", "-n", "default")

    def otto(*words, **kwargs):
        return cloud.run(BIN / "gabbro", "--kubeconfig", kubeconfig, "-n", "default", "guest", *words, check=False, **kwargs)

    assert "Kernel" in otto("info", guest.name).stdout
    for words, given in ((("exec", guest.name, "--", "id"), ""), (("password", guest.name, "--password-stdin"), "x\n")):
        refused = otto(*words, input=given)
        assert refused.returncode == 1 and "otto" in refused.stderr and "cannot create" in refused.stderr, refused.stderr
    cloud.kubectl("create", "role", "runner", "--verb=create", "--resource=virtualmachines.gabbro.dev/exec")
    cloud.kubectl("create", "rolebinding", "runner", "--role=runner", "--user=otto")
    assert "uid=0" in otto("exec", guest.name, "--", "id").stdout
    lines = [json.loads(line) for line in (cloud.demo / "gateway/audit.log").read_text().splitlines()]
    told = [(line["allowed"], line["name"]) for line in lines if line.get("subresource") == "exec" and line["user"] == "otto"]
    assert told == [(False, guest.name), (True, guest.name)]


def test_a_command_whose_answer_is_lost_is_not_sent_again(guest):
    """(A4) The agent, then the gateway is killed while a command runs: the caller is told, and it ran once."""
    cloud = guest.cloud
    for i, (name, code, words) in enumerate((("agent", 1, "whether it was done is not known"), ("gateway", 4, "cannot reach"))):
        daemon = Daemon(cloud, name)
        argv = cloud.argv(BIN / "gabbro", "--kubeconfig", cloud.kubeconfig, "guest", "exec", guest.name, "--", "sh", "-c",
                          f"echo x >>/run/once{i}; sleep 3")
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
            cloud.eventually("it runs", lambda: run(guest, "--", "cat", f"/run/once{i}").stdout, 90)
            daemon.end()
            _, complaints = asked.communicate(timeout=60)
        daemon.begin()
        cloud.gateway_serves()
        assert asked.returncode == code and words in complaints, complaints
        cloud.eventually("asked again", lambda: run(guest, "--", "true").returncode == 0, 90)
        assert run(guest, "--", "cat", f"/run/once{i}").stdout == "x\n"


def test_a_password_is_set_and_kept_nowhere(guest):
    """(D60) guest-set-user-password; the word stands in no log, no object, no file of ours."""
    cloud = guest.cloud
    before = run(guest, "--", "sh", "-c", CHPASSWD).stdout
    cloud.gabbro("guest", "password", guest.name, "--password-stdin", input=SECRET + "\n")
    after = run(guest, "--", "grep", "^root:", "/etc/shadow").stdout
    assert after != before and after.startswith("root:$word$")
    hashed = "$6$salt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
    cloud.gabbro("guest", "password", guest.name, "--hashed", "--password-stdin", input=hashed + "\n")
    assert f"root:{hashed}:" in run(guest, "--", "grep", "^root:", "/etc/shadow").stdout
    found = cloud.run("grep", "-rlaF", SECRET, cloud.demo / "log", cloud.demo / "gateway", cloud.demo / "agent", "/var/log/libvirt", check=False)
    assert found.stdout == "", found.stdout
    refused = cloud.gabbro("guest", "password", guest.name, "--user", "nobody-here", "--password-stdin", input="x\n", check=False)
    assert refused.returncode == 1 and refused.stderr


def marks(cloud):
    return list((cloud.demo / "agent/frozen").iterdir())


def guards(cloud):
    return cloud.run("pgrep", "-f", "^gabbro-agent thaw ", check=False).stdout.split()


def asleep(guest):
    """Whether it is frozen, as its agent tells."""
    return "frozen" in guest.cloud.virsh("qemu-agent-command", guest.domain_uuid, '{"execute":"guest-fsfreeze-status"}')


def freeze(guest, seconds):
    assert "1 file systems" in guest.cloud.gabbro("guest", "freeze", guest.name, "--seconds", seconds).stdout
    assert asleep(guest) and len(marks(guest.cloud)) == 1


def test_a_freeze_ends_by_order_or_by_its_bound(guest):
    """(D60) The guest's file systems are still, no longer than was said."""
    cloud = guest.cloud
    freeze(guest, 60)
    refused = cloud.gabbro("guest", "freeze", guest.name, check=False)
    assert refused.returncode == 1 and "frozen already" in refused.stderr
    assert "is thawed" in cloud.gabbro("guest", "thaw", guest.name).stdout
    assert not asleep(guest) and marks(cloud) == []
    begun = time.monotonic()
    freeze(guest, 2)
    cloud.eventually("thawed", lambda: not asleep(guest), 90)
    assert time.monotonic() - begun > 1
    cloud.eventually("no mark, no guard", lambda: not marks(cloud) and not guards(cloud), 90)


def test_a_freeze_does_not_outlast_gateway_and_agent(guest):
    """(D60) Both are killed: the guard thaws. The guard is killed, too: the agent thaws when it is back."""
    cloud = guest.cloud
    agent, gateway = Daemon(cloud, "agent"), Daemon(cloud, "gateway")
    freeze(guest, 60)
    agent.end()
    gateway.end()
    try:
        cloud.eventually("thawed by the guard", lambda: not asleep(guest), 45)  # its bound would come later
    finally:
        gateway.begin()
        cloud.gateway_serves()
        agent.begin()
    caught_up(cloud)
    cloud.eventually("no mark", lambda: not marks(cloud), 90)
    freeze(guest, 60)
    cloud.run("kill", "-KILL", *guards(cloud))
    agent.end()
    assert asleep(guest)
    agent.begin()
    cloud.eventually("thawed on adoption", lambda: not asleep(guest), 45)
    cloud.eventually("no mark", lambda: not marks(cloud), 90)


def test_the_clock_of_a_guest_that_stood_still_is_set(guest):
    """(A11, A12) Suspend and resume: its time is the host's again."""
    cloud = guest.cloud

    def late():
        """Seconds."""
        return abs(time.time() - int(cloud.eventually("its clock", lambda: run(guest, "--", "date", "+%s").stdout, 20)))

    run(guest, "--", "date", "-s", "@" + str(int(time.time()) - 5000))  # so that standing still for a moment shows
    assert late() > 4000
    cloud.gabbro("suspend", guest.name, "--wait", "--timeout", "120", timeout=150)
    cloud.gabbro("resume", guest.name, "--wait", "--timeout", "120", timeout=150)
    cloud.eventually("its clock is set", lambda: late() < 60, 90)


def test_a_guest_tells_of_itself(guest):
    """(D49, D61) What it tells now, and what of that its status keeps."""
    cloud = guest.cloud
    told = json.loads(cloud.gabbro("guest", "info", guest.name, "-o", "json").stdout)
    status = cloud.vm(guest.name)["status"]
    assert told["os"]["name"] == status["guestOSInfo"]["name"] and told["agentVersion"]
    assert {"mountPoint": "/", "type": "ext4"}.items() <= told["filesystems"][0].items()
    assert any(status["ipAddress"] in " ".join(it.get("addresses", [])) for it in told["interfaces"])
    words = cloud.gabbro("guest", "info", guest.name).stdout
    assert "Kernel" in words and status["ipAddress"] in words and "MOUNTED ON" in words


def test_what_cannot_be_asked_is_refused_with_words(guest):
    """(D58) A machine that is off, a guest without an agent, a body that is wrong."""
    cloud = guest.cloud
    path = f"/apis/gabbro.dev/v1/namespaces/default/virtualmachines/{guest.name}"
    for body, words in (({"command": []}, "1 to 256 words"), ({"command": ["id"], "shell": True}, 'unknown field "shell"'),
                        ({"command": ["id"], "timeoutSeconds": 601}, "1 to 600"), ({"command": ["x" * 70000]}, "64 KiB")):
        refused = cloud.kubectl("create", "--raw", path + "/exec", "-f", "-", input=json.dumps(body), check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr
    run(guest, "--", "sh", "-c", "sed -i /gabbro-ga/d /etc/inittab; kill -HUP 1; killall qemu-ga")
    done = run(guest, "--", "id")
    assert done.returncode == 1 and "agent" in done.stderr, done.stderr
    cloud.gabbro("force-off", guest.name, "--wait", "--timeout", "120", timeout=150)
    done = run(guest, "--", "id")
    assert done.returncode == 1 and "does not run" in done.stderr, done.stderr
