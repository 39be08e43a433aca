# SPDX-License-Identifier: Apache-2.0
"""Requests that are carried out once, also across a gateway that is killed between commit and answer. D12, D70; attack 18, I4."""
import concurrent.futures
import http.client
import json
import os
import re
import select
import ssl
import subprocess
import time

import pytest

from conftest import BIN, BUILD, GATEWAY, await_file

FAULTY = BUILD / "tests/fault/gabbro-gateway-faulty"
CONFIGS = "/api/v1/namespaces/default/configmaps"
ID = "Gabbro-Request-Id"


class Gateway:
    """A gateway without hosts that can be begun again on its data and its port."""

    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "data/admin.kubeconfig"
        self.port = 0
        self.process = None

    def begin(self, program=GATEWAY, fault=""):
        self.log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen([program, "--data-dir", self.folder / "data", "--listen", f"127.0.0.1:{self.port}"], stdout=self.log,
                                        stderr=self.log, stdin=subprocess.DEVNULL, env=dict(os.environ, GABBRO_FAULT=fault))
        await_file(self.config, self.process)
        text = self.config.read_text()
        self.port = int(re.search(r"server: https://[^:]+:(\d+)", text).group(1))
        self.token = re.search(r"token: (\S+)", text).group(1)
        self.await_answer()

    def await_answer(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                assert self.process.poll() is None, "the gateway ended"
                select.select([], [], [], 0.02)
        raise AssertionError("the gateway does not answer")

    def ask(self, method, path, body=None, request_id=None):
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if request_id:
            headers[ID] = request_id
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] == b"{" else text
        finally:
            connection.close()

    def put(self, path, data):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl._create_unverified_context(), timeout=30)
        try:
            connection.request("PUT", path, data, {"Authorization": f"Bearer {self.token}", "Content-Type": "application/octet-stream"},
                               encode_chunked=not isinstance(data, bytes))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def names(self):
        return [item["metadata"]["name"] for item in self.ask("GET", CONFIGS)[1]["items"]]

    def gabbro(self, *words, **kwargs):
        return subprocess.Popen([BIN / "gabbro", *words], env=dict(os.environ, KUBECONFIG=str(self.config)), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.end()


CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "c-"}, "data": {"a": "b"}}


@pytest.mark.parametrize("place", ["before", "after"])
def test_attack_18_a_kill_around_the_commit_leaves_one_object(gateway, place):
    gateway.begin(FAULTY, f"store/create-configmaps/{place}=kill")
    with pytest.raises((OSError, http.client.HTTPException)):
        gateway.ask("POST", CONFIGS, CONFIG, "kill-1")
    gateway.process.wait(30)
    gateway.begin()
    assert len(gateway.names()) == (place == "after")
    status, first = gateway.ask("POST", CONFIGS, CONFIG, "kill-1")
    assert status == 201, first
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: gateway.ask("POST", CONFIGS, CONFIG, "kill-1"), range(50)))
    assert {(status, answer["metadata"]["uid"]) for status, answer in answers} == {(201, first["metadata"]["uid"])}
    assert gateway.names() == [first["metadata"]["name"]]
    status, other = gateway.ask("POST", CONFIGS, dict(CONFIG, data={"a": "c"}), "kill-1")
    assert status == 422 and "belongs to another request" in other["message"]


def test_attack_18_the_command_line_sends_again_under_the_same_name(gateway):
    """D70: gabbro's write is lost with the gateway; it waits for the next one and sends the same once more."""
    gateway.begin(FAULTY, "store/create-configmaps/after=kill")
    manifest = json.dumps(dict(CONFIG, metadata={"name": "settings"}))
    with gateway.gabbro("apply", "-f", "-", stdin=subprocess.PIPE) as apply:
        apply.stdin.write(manifest)
        apply.stdin.close()
        gateway.process.wait(30)
        gateway.begin()
        out, err = apply.stdout.read(), apply.stderr.read()
        assert apply.wait(30) == 0, out + err
    assert "sending the request again under the same name" in err
    assert "created" in out
    assert gateway.names() == ["settings"]


def test_d12_a_command_that_is_run_again_under_its_name_does_nothing_twice(gateway):
    """--request-id: the same run of a script, twice."""
    gateway.begin()
    gateway.ask("POST", "/apis/gabbro.dev/v1/namespaces/default/virtualdisks",
                {"metadata": {"name": "d"}, "spec": {"persistentVolumeClaim": {"size": "1Mi"}}})
    gateway.ask("POST", "/apis/gabbro.dev/v1/namespaces/default/virtualmachines",
                {"metadata": {"name": "m"}, "spec": {"virtualMachineClassName": "generic", "cpu": {"cores": 1}, "memory": {"size": "64Mi"},
                                                     "runPolicy": "Manual", "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "d"}]}})
    for _ in range(2):
        with gateway.gabbro("start", "m", "--request-id", "nightly-1") as start:
            start.wait(30)
    operations = gateway.ask("GET", "/apis/gabbro.dev/v1/namespaces/default/virtualmachineoperations")[1]["items"]
    assert len(operations) == 1
