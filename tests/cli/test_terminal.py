# SPDX-License-Identifier: Apache-2.0
"""What is only for people: colours, bars and hints, on a terminal and nowhere else."""
import re
import shutil
import subprocess

import pytest

from conftest import OK, TIMEOUT, USAGE, config_map, disk, machine

RED = "\x1b[31m"


def test_colour_only_on_a_terminal(admin):
    assert RED in admin.on_terminal("get", "nonsense").out
    assert RED not in admin.gabbro("get", "nonsense", code=USAGE).err
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        result = admin.on_terminal("get", "nonsense", env=env)
        assert "\x1b" not in result.out and result.code == USAGE
    assert RED in admin.on_terminal("get", "nonsense", env={"NO_COLOR": ""}).out
    assert "\x1b" not in admin.on_terminal("get", "ns").out


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img")
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_bars_of_an_upload(user, env):
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", str(user.folder / "a.raw"), "4M"], check=True)
    result = user.on_terminal("image", "upload", "a.raw", env=env)
    assert result.code == OK, result
    assert "\rhashing   [" in result.out and "\ruploading [" in result.out
    last = [line for line in result.out.split("\r") if "uploading" in line][-1]
    assert re.match(r"uploading \[#{30}\] 100 %(, [\d.]+ MiB/s)?\n", last)
    assert "virtualimage/a is ready" in result.out and "\x1b" not in result.out


def test_hints_are_for_people(user):
    result = user.on_terminal("create", "vm", "a", "--disk-size", "16Mi")
    assert "gabbro console a" in result.out
    assert user.gabbro("create", "vm", "b", "--disk-size", "16Mi").err == ""
    result = user.on_terminal("wait", "vm", "a", "--for", "phase=Running", "--timeout", "0")
    assert "gabbro describe virtualmachine a" in result.out and result.code == TIMEOUT
    result = user.on_terminal("node", "join-token")
    assert result.out.startswith("gbj1.") and "--gateway https://127.0.0.1" in result.out


def test_a_password_is_asked_for_and_not_shown(user):
    result = user.on_terminal("create", "vm", "a", "--disk-size", "16Mi", "--password-stdin", typed="hunter2\n", prompt="Password")
    assert result.code == OK and "hunter2" not in result.out
    assert user.get("secret", "a-cloud-init")["data"]["userData"]


def test_nothing_of_others_moves_the_cursor(user):
    hostile = "\x1b[2J\x9b2J\x07\r"
    user.apply(machine("a", annotations={"note": hostile}), config_map("a", {"key": hostile}), disk("a-root", annotations={"n": hostile}))
    for words in (["get", "vm", "-o", "wide"], ["get", "cm", "a", "-o", "json"], ["get", "cm", "a", "-o", "yaml"], ["describe", "vm", "a"],
                  ["describe", "cm", "a"], ["describe", "vd"], ["get", "vm", hostile]):
        out = user.on_terminal(*words).out.replace(RED, "").replace("\x1b[0m", "")
        assert not [c for c in "\x1b\x9b\x07\r" if c in out], (words, out)
