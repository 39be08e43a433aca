# SPDX-License-Identifier: Apache-2.0
"""What somebody sees who types it for the first time."""
import re
import subprocess

import pytest

from conftest import BIN, OK, ROOT, USAGE

VERBS = ["get", "describe", "apply", "delete", "create", "start", "stop", "restart", "force-off", "suspend", "resume", "reset", "redeploy", "clone", "migrate", "drain", "cordon", "uncordon",
         "undefine",
         "attach", "detach", "wait", "console", "screenshot", "graphics-password", "top", "guest", "image", "disk", "callbacks",
         "events", "pool", "node", "role", "login", "logout", "whoami", "user", "token", "audit", "storage", "doctor", "set", "explain",
         "version", "completion"]


def test_no_word_at_all_prints_the_verbs(admin):
    result = admin.gabbro(code=USAGE)
    assert result.out == "" and "Verbs:" in result.err
    assert admin.gabbro("--help").out == result.err
    assert admin.gabbro("help").out == result.err


def test_the_list_of_verbs_is_whole(admin):
    listed = re.findall(r"^  ([a-z-]+) ", admin.gabbro("--help").out.split("Options of every verb")[0], re.M)
    assert listed == VERBS
    table = re.findall(r'^        \{"([a-z-]+)", ', (ROOT / "src/cli/main.c").read_text(), re.M)
    assert table == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(admin, verb):
    result = admin.gabbro(verb, "--help", env={"KUBECONFIG": "/nonexistent", "LC_ALL": "C"})
    assert result.out.startswith(f"Usage:\n  gabbro {verb} [OPTION...]")
    assert "--kubeconfig" in result.out and result.err == ""
    assert all(len(line) <= 140 for line in result.lines), max(result.lines, key=len)
    assert admin.gabbro("help", verb, env={"LC_ALL": "C"}).out == result.out
    example = re.search(r"^Examples:\n((?:  .*\n?)+)", result.out, re.M)
    assert example and f"gabbro {verb}" in example.group(1), "no example"


def test_the_page_of_the_command_line_is_current():
    done = subprocess.run(["/usr/bin/python3", ROOT / "tools/cli_manual.py", "--check", BIN / "gabbro"], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def test_options_may_stand_before_the_verb(admin):
    assert admin.gabbro("--kubeconfig", admin.gateway.kubeconfig, "-n", "default", "version").code == OK


@pytest.mark.parametrize("words, next_step", [
    (["frobnicate"], "gabbro --help"),
    (["get"], "gabbro get vm"),
    (["get", "--frobnicate", "vm"], "gabbro get --help"),
    (["get", "nonsense"], "gabbro get --help"),
    (["get", "vm", "-o", "xml"], "wide, json, yaml and name"),
    (["get", "vm", "a", "-A"], "-n"),
    (["get", "vm", "a", "-l", "b=c"], "either names or selectors"),
    (["get", "vm,vd", "-w"], "-w follows one"),
    (["get", "vm/a", "vd"], "KIND/NAME"),
    (["describe"], "gabbro describe vm NAME"),
    (["apply"], "gabbro apply -f FILE"),
    (["delete", "vm"], "gabbro delete vm NAME"),
    (["create", "disk", "a"], "gabbro apply -f FILE"),
    (["create", "vm", "a"], "--image"),
    (["start"], "gabbro start NAME"),
    (["start", "vd/a"], "no machine"),
    (["start", "a", "--force"], "no --force"),
    (["wait", "vm", "a"], "--for phase=Running"),
    (["wait", "vm", "a", "--for", "luck"], "phase=X, condition=TYPE"),
    (["wait", "vm", "a", "--for", "phase=Flying"], "Pending, Starting, Running"),
    (["wait", "secret", "a", "--for", "phase=Ready"], "condition"),
    (["drain"], "gabbro drain NODE"),
    (["drain", "a", "--wait", "--no-wait"], "either --wait or --no-wait"),
    (["drain", "a", "--timeout", "0"], "seconds"),
    (["cordon"], "gabbro cordon NODE"),
    (["uncordon"], "gabbro uncordon NODE"),
    (["console"], "gabbro console NAME"),
    (["image"], "gabbro image upload FILE"),
    (["image", "import", "ftp://x/y"], "http"),
    (["image", "import", "/etc/hostname"], "gabbro image upload"),
    (["image", "upload", "https://x/y"], "gabbro image import"),
    (["image", "upload", "/etc/hostname", "--sha256", "abc"], "64"),
    (["image", "upload", "/___.qcow2"], "--name"),
    (["image", "from-disk"], "gabbro image from-disk DISK"),
    (["image", "from-disk", "a/b"], "gabbro get vd"),
    (["image", "from-disk", "a", "--sha256", "0" * 64], "--sha256"),
    (["disk"], "gabbro disk upload FILE"),
    (["disk", "import", "https://x/y"], "gabbro disk upload FILE"),
    (["disk", "upload", "https://x/y"], "gabbro image import"),
    (["node"], "gabbro node join-token"),
    (["node", "join-token", "--ttl", "0"], "seconds"),
    (["node", "reboot"], "gabbro node reboot NAME"),
    (["node", "reboot", "a", "--timeout", "0"], "seconds"),
    (["events", "vm"], "gabbro describe"),
    (["callbacks", "frobnicate"], "list|deliveries"),
    (["callbacks", "retry"], "--all"),
    (["callbacks", "drop", "a", "--all"], "--all"),
    (["completion"], "bash|zsh|fish"),
    (["completion", "tcsh"], "bash, zsh and fish"),
])
def test_wrong_words_are_usage_errors_that_tell_what_to_type(admin, words, next_step):
    result = admin.gabbro(*words, code=USAGE)
    assert result.out == ""
    assert result.err.startswith("gabbro: ") and next_step in result.err, result


def test_every_kind_is_listed_and_known(admin):
    listed = re.findall(r"^  ([a-z,]*) +([a-z]+) ", admin.gabbro("get", "--help").out.split("Kinds:")[1], re.M)
    assert len(listed) >= 15
    for short, singular in listed:
        for word in [singular, singular.upper()] + [s for s in short.split(",") if s]:
            admin.gabbro("get", word)
    for word in ("virtualmachines", "VirtualMachine", "vm.gabbro.dev", "vm.virtualization.deckhouse.io"):
        admin.gabbro("get", word)


def test_version(admin):
    lines = admin.gabbro("version").lines
    assert lines[0].startswith("gabbro ") and lines[1].startswith("gateway ") and "https://127.0.0.1" in lines[1]
    assert admin.gabbro("version", "--client", env={"KUBECONFIG": "/nonexistent"}).lines == lines[:1]
    assert admin.gabbro("--version").lines == lines[:1]


def complete(admin, *words, kubeconfig=None):
    script = 'source <(gabbro completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gabbro; echo "${COMPREPLY[@]}"'
    return admin.run(["/bin/bash", "-euc", script, "bash", *words], OK).out.split()


def test_bash_completes_verbs_kinds_and_names(user):
    user.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "completed-ns"}})
    assert complete(user, "gabbro", "st") == ["start", "stop", "storage"]
    assert complete(user, "gabbro", "") == VERBS
    assert "virtualmachine" in complete(user, "gabbro", "get", "virtualm")
    assert complete(user, "gabbro", "get", "ns", "completed") == ["completed-ns"]
    assert complete(user, "gabbro", "image", "") == ["upload", "import", "from-disk"]
    assert complete(user, "gabbro", "disk", "") == ["upload"]
    assert complete(user, "gabbro", "callbacks", "") == ["list", "deliveries", "retry", "drop"]
    assert complete(user, "gabbro", "node", "") == ["join-token", "reboot"]
    assert complete(user, "gabbro", "node", "reboot", "rack-7", "--m") == ["--move"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(admin, shell):
    text = admin.gabbro("completion", shell).out
    assert all(verb in text for verb in VERBS)


def test_as_a_plug_in_of_kubectl(admin):
    """The installed name kubectl-gabbro is the same program."""
    link = admin.folder / "kubectl-gabbro"
    link.symlink_to(BIN / "gabbro")
    assert subprocess.run([link, "version", "--client"], stdout=subprocess.PIPE, check=True).stdout.startswith(b"gabbro ")
