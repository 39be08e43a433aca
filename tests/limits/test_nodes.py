# SPDX-License-Identifier: Apache-2.0
"""What a host with a certificate of its own may not do to others, and what is left of it once it is refused. Attacks 27, 28 and 34."""
import json
import re
import ssl
import subprocess

import pytest
from front import Answers
from reliability import attack

MANIFEST = "/agent/v1/manifest"


class Node:
    """A host that has joined, as far as the gateway can tell."""

    def __init__(self, gateway, folder, name, addresses=(), bound=False):
        self.gateway, self.name = gateway, name
        self.key, self.crt = folder / f"{name}.key", folder / f"{name}.crt"
        status, body = gateway.ask("POST", "/admin/v1/join-tokens", {"nodeName": name} if bound else {})
        assert status == 201, body
        argv = ["openssl", "req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", self.key,
                "-subj", "/CN=whatever", "-addext", "subjectAltName=DNS:localhost"]
        csr = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        status, body = gateway.ask("POST", "/agent/v1/join", {"token": json.loads(body)["token"], "nodeName": name, "protocol": 1,
                                                              "csr": csr, "addresses": list(addresses)})
        assert status == 200, body
        self.crt.write_text(json.loads(body)["certificate"])
        self.tls = ssl.create_default_context(cadata=gateway.ca)
        self.tls.load_cert_chain(self.crt, self.key)

    def names(self):
        argv = ["openssl", "x509", "-in", self.crt, "-noout", "-ext", "subjectAltName"]
        text = subprocess.run(argv, capture_output=True, text=True).stdout
        return re.findall(r"(?:DNS|IP Address):([^,\s]+)", text)

    def connect(self):
        return self.tls.wrap_socket(self.gateway.tcp(), server_hostname="127.0.0.1")

    def send(self, connection, method, path, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)

    def ask(self, method, path, body=None):
        with self.connect() as connection:
            self.send(connection, method, path, body)
            status, text = Answers(connection).next()
            return status, text.decode()

    def follow(self):
        connection = self.connect()
        self.send(connection, "GET", MANIFEST)
        answers = Answers(connection)
        assert " 200 " in answers.until(b"\r\n\r\n").decode()
        answers.until(b"SYNCED")
        return connection, answers


def ended(answers):
    answers.until(b"\r\n0\r\n\r\n")  # the last chunk; the connection itself may go on
    return True


def disable(gateway, name):
    path = f"/apis/gabbro.dev/v1/nodeidentities/{name}"
    status, body = gateway.ask("GET", path)
    assert status == 200, body
    identity = json.loads(body)
    identity.setdefault("spec", {})["disabled"] = True
    status, body = gateway.ask("PUT", path, identity)
    assert status == 200, body


def test_a_node_gets_no_name_of_the_gateway_nor_of_another_node(fresh, tmp_path):
    one = Node(fresh, tmp_path, "n1", ["192.0.2.7", "127.0.0.1", "::1", "127.1.2.3", "::ffff:127.0.0.1", "0.0.0.0"])
    assert one.names() == ["n1", "192.0.2.7"]
    assert one.ask("PUT", "/agent/v1/node", {"addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]})[0] == 200
    assert Node(fresh, tmp_path, "n2", ["192.0.2.7", "192.0.2.8"]).names() == ["n2", "192.0.2.8"]
    assert Node(fresh, tmp_path, "localhost", ["192.0.2.9"]).names() == ["192.0.2.9"]
    attack(27, "a host that asks for a certificate of the gateway or of another host", "it gets its own name only")


def test_a_new_join_voids_the_old_certificate_and_ends_its_stream(fresh, tmp_path):
    (tmp_path / "new").mkdir()
    old = Node(fresh, tmp_path, "n1")
    assert old.ask("PUT", "/agent/v1/lease")[0] == 200
    _, stream = old.follow()
    new = Node(fresh, tmp_path / "new", "n1", bound=True)
    assert ended(stream)
    assert old.ask("PUT", "/agent/v1/lease")[0] == 401
    assert new.ask("PUT", "/agent/v1/lease")[0] == 200
    attack(27, "a host that joins under the name of one that is there", "needs a token for it; the old certificate is void, its stream ends")


def test_the_streams_of_a_disabled_node_end_at_once(fresh, tmp_path):
    one, two = Node(fresh, tmp_path, "n1"), Node(fresh, tmp_path, "n2")
    _, stream = one.follow()
    other, _ = two.follow()
    disable(fresh, "n1")
    assert ended(stream)
    assert one.ask("GET", MANIFEST)[0] == 401
    other.settimeout(1)
    with pytest.raises(TimeoutError):
        other.recv(1)  # goes on
    attack(27, "a host that was disabled, with its streams open", "the streams end at once, requests are refused")


def test_the_newest_streams_of_a_node_win(fresh, tmp_path):
    one = Node(fresh, tmp_path, "n1")
    streams = [one.follow() for _ in range(5)]
    assert ended(streams[0][1])
    streams[4][0].settimeout(1)
    with pytest.raises(TimeoutError):
        streams[4][0].recv(1)


@pytest.mark.parametrize("revision", ["99999999", "18446744073709551615", "-1", "x", ""])
def test_a_revision_that_has_not_been_is_gone(gateway, tmp_path, revision):
    name = "r" + str(abs(hash(revision)))[:6]
    assert Node(gateway, tmp_path, name).ask("GET", f"{MANIFEST}?resourceVersion={revision}")[0] == 410


def test_an_agent_of_another_protocol_version_is_told_so(fresh, tmp_path):
    node = Node(fresh, tmp_path, "n1")
    status, text = node.ask("GET", MANIFEST + "?watch=1&protocol=2")
    assert status == 409 and "protocol version 1" in text
    connection = node.connect()
    node.send(connection, "GET", MANIFEST + "?watch=1&protocol=1")
    assert " 200 " in Answers(connection).until(b"\r\n\r\n").decode()
    attack(34, "an agent of another version of the protocol", "refused, with both versions in words")


def test_a_node_tells_of_itself_what_the_schema_allows_and_no_more(fresh, tmp_path):
    node = Node(fresh, tmp_path, "n1")
    good = {"nodeInfo": {"architecture": "amd64"}, "labels": {"kubernetes.io/arch": "amd64", "host.gabbro.dev/rack": "r-1"}}
    assert node.ask("PUT", "/agent/v1/node", good)[0] == 200
    for report, words in (
            ({"labels": {"example.com/tier": "gold"}}, "labels.example.com/tier"),
            ({"labels": {"node-role.kubernetes.io/master": ""}}, "labels.node-role"),
            ({"labels": {"host.gabbro.dev/rack": "a b<script>"}}, "labels.host.gabbro.dev/rack"),
            ({"labels": {"kubernetes.io/" + "x" * 100: "a"}}, "labels.kubernetes.io/"),
            ({"labels": {"host.gabbro.dev/n": 7}}, "labels.host.gabbro.dev/n"),
            ({"labels": ["a"]}, "labels"),
            ({"conditions": "fine"}, "status.conditions"),
            ({"addresses": [{"type": 1}]}, "status.addresses"),
            ({"capacity": 5, "nodeInfo": []}, "status.nodeInfo")):
        status, text = node.ask("PUT", "/agent/v1/node", report)
        assert status == 422 and words in text, (report, status, text)
    status, body = fresh.ask("GET", "/api/v1/nodes/n1")
    labels = json.loads(body)["metadata"]["labels"]
    assert labels["host.gabbro.dev/rack"] == "r-1" and "example.com/tier" not in labels and "conditions" in json.loads(body)["status"]
    attack(28, "a host that writes labels and status that are not its own to write", "refused")
