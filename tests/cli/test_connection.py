# SPDX-License-Identifier: Apache-2.0
"""Which gateway, as whom; and every exit code."""
import base64
import re
import socket
import subprocess

import pytest
import yaml

from conftest import FAILED, NOT_FOUND, OK, TIMEOUT, UNREACHABLE, USAGE, User, config_map, machine


@pytest.fixture
def config(admin):
    return yaml.safe_load(admin.gateway.kubeconfig.read_text())


def write(admin, config, name="kubeconfig"):
    path = admin.folder / name
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return {"KUBECONFIG": str(path)}


def server_of(config):
    return config["clusters"][0]["cluster"]["server"]


def ca_of(config):
    return base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])


def test_every_exit_code_is_what_the_help_says(user):
    told = re.search(r"Exit codes: (.*)\.", user.gabbro("--help").out).group(1)
    assert told == "0 done, 1 refused or failed, 2 usage, 3 not found, 4 not reachable, 5 time is up"
    user.apply(machine("codes"))
    user.gabbro("get", "vm", "codes", code=OK)
    user.apply(machine("codes", cpu={"cores": 17}), code=FAILED)
    user.gabbro("get", "vm", "--nonsense", code=USAGE)
    user.gabbro("get", "vm", "absent", code=NOT_FOUND)
    user.gabbro("get", "vm", "--server", "https://127.0.0.1:1", code=UNREACHABLE)
    user.gabbro("wait", "vm", "codes", "--for", "phase=Running", "--timeout", "0", code=TIMEOUT)


def test_nobody_listens(admin):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = "https://127.0.0.1:%d" % free.getsockname()[1]
        for words in (["get", "vm"], ["get", "vm", "-w"], ["apply", "-f", "-"], ["start", "a"], ["version"], ["node", "join-token"]):
            result = admin.gabbro(*words, "--server", server, code=UNREACHABLE, input='{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}')
            assert f"cannot reach {server}" in result.err and "Is gabbro-gateway running there?" in result.err, result


def test_a_name_that_does_not_resolve(admin):
    assert "cannot reach" in admin.gabbro("get", "vm", "--server", "https://gabbro.invalid:6443", code=UNREACHABLE).err


def test_a_server_that_speaks_plain_http(admin):
    assert "https://" in admin.gabbro("get", "vm", "--server", "http://127.0.0.1:1", code=USAGE).err


def test_wrong_token(admin, config):
    config["users"][0]["user"]["token"] = "gbt1.aaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    result = admin.gabbro("get", "vm", env=write(admin, config), code=UNREACHABLE)
    assert "Unauthorized" in result.err and "--admin-reset" in result.err
    assert "aaaaaaaa" not in result.err


def test_certificate_of_another_authority(admin, config):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
                    "-out", str(admin.folder / "other.pem"), "-subj", "/CN=other"], check=True, stderr=subprocess.DEVNULL)
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode((admin.folder / "other.pem").read_bytes()).decode()
    for words in (["get", "vm"], ["get", "vm", "-w"], ["version"]):
        result = admin.gabbro(*words, env=write(admin, config), code=UNREACHABLE)
        assert "certificate" in result.err and "--certificate-authority" in result.err, result
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(b"no certificate").decode()
    assert "CA" in admin.gabbro("get", "vm", env=write(admin, config), code=UNREACHABLE).err


def test_server_and_token_without_a_kubeconfig(admin, config):
    (admin.folder / "ca.pem").write_bytes(ca_of(config))
    where = ["--server", server_of(config), "--token", config["users"][0]["user"]["token"]]
    nowhere = {"KUBECONFIG": "/nonexistent"}
    admin.gabbro("get", "ns", *where, "--certificate-authority", admin.folder / "ca.pem", env=nowhere)
    admin.gabbro("get", "ns", *where, "--insecure", env=nowhere)
    assert "--certificate-authority" in admin.gabbro("get", "ns", *where, env=nowhere, code=UNREACHABLE).err
    assert "absent.pem" in admin.gabbro("get", "ns", *where, "--certificate-authority", "absent.pem", env=nowhere, code=USAGE).err


def test_kubeconfig_by_option_variable_list_and_home(admin, config):
    kubeconfig = admin.gateway.kubeconfig
    admin.gabbro("get", "ns", "--kubeconfig", kubeconfig, env={"KUBECONFIG": "/nonexistent"})
    admin.gabbro("get", "ns", env={"KUBECONFIG": f"/nonexistent:{kubeconfig}"})
    (admin.folder / ".kube").mkdir()
    (admin.folder / ".kube/config").write_text(kubeconfig.read_text())
    admin.gabbro("get", "ns", env={"KUBECONFIG": ""})


def test_no_kubeconfig_tells_where_one_is(admin):
    result = admin.gabbro("get", "vm", env={"KUBECONFIG": "", "HOME": "/nonexistent"}, code=UNREACHABLE)
    assert "/nonexistent/.kube/config" in result.err and "admin.kubeconfig" in result.err and "--kubeconfig" in result.err


def test_files_beside_the_kubeconfig(admin, config):
    cluster = config["clusters"][0]["cluster"]
    (admin.folder / "ca.pem").write_bytes(ca_of(config))
    del cluster["certificate-authority-data"]
    cluster["certificate-authority"] = "ca.pem"
    admin.gabbro("get", "ns", env=write(admin, config))
    cluster["certificate-authority"] = "absent.pem"
    assert "absent.pem" in admin.gabbro("get", "ns", env=write(admin, config), code=UNREACHABLE).err


def test_contexts(admin, config):
    config["contexts"].append({"name": "second", "context": {**config["contexts"][0]["context"], "namespace": "second-ns"}})
    env = write(admin, config)
    assert "in second-ns" in admin.gabbro("get", "vm", "--context", "second", env=env).err
    assert "in third-ns" in admin.gabbro("get", "vm", "--context", "second", "-n", "third-ns", env=env).err
    result = admin.gabbro("get", "vm", "--context", "third", env=env, code=USAGE)
    assert "has no context third" in result.err and "gabbro, second" in result.err
    config["current-context"] = ""
    assert "--context" in admin.gabbro("get", "vm", env=write(admin, config), code=USAGE).err


@pytest.mark.parametrize("text", ["a: [", "", "just words", "{}"])
def test_a_kubeconfig_that_is_none(admin, text):
    result = admin.gabbro("get", "vm", env=write(admin, text), code=USAGE)
    assert str(admin.folder) in result.err


def test_namespace_of_the_command_line(user, admin):
    user.apply(machine("here"))
    assert admin.gabbro("get", "vm", "here", code=NOT_FOUND)
    assert admin.gabbro("get", "vm", "here", "--namespace", user.project).rows[0][0] == "here"
    assert "No virtualmachines found in elsewhere." in admin.gabbro("get", "vm", "-n", "elsewhere").err


@pytest.mark.parametrize("words", [["get", "secret", ".."], ["delete", "secret", ".."], ["get", "vm", "-n", ".."], ["delete", "vm", "a/../.."]])
def test_dots_lead_nowhere_else(admin, words):
    assert admin.gabbro(*words, code=None).code in (FAILED, USAGE)
    assert admin.gabbro("get", "ns", "default").rows[0][1] == "Active"


def test_join_token(admin):
    first, second = admin.gabbro("node", "join-token"), admin.gabbro("node", "join-token", "--ttl", "60", "--name", "host-1")
    assert len(first.out.split()) == 1 and first.out.startswith("gbj1.") and first.err == ""
    assert second.out != first.out


def test_what_follows_or_waits_outlives_a_restart_of_the_gateway(new_gateway, tmp_path):
    user = User(new_gateway(), tmp_path)
    user.apply(config_map("a", {}, finalizers=["example.org/held"]))
    user.gabbro("delete", "cm", "a")
    with user.follow("get", "cm", "-w") as watch, user.follow("wait", "cm", "a", "--for", "delete") as waiting:
        watch.until("a ")
        user.kubectl("label", "cm", "a", "seen=yes")  # both have begun when this has come
        watch.until("a ", count=2)
        user.gateway.restart()
        user.apply(config_map("later", {}))
        watch.until("later", timeout=20)
        user.kubectl("patch", "cm", "a", "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
        assert waiting.process.wait(20) == OK
        assert user.gateway.stop() == 0
