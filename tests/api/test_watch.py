# SPDX-License-Identifier: Apache-2.0
"""Watches and lists in pages, as kubectl 1.20 and clients on raw connections see them; rows D13 and D127, attacks 16 and 19, invariant I5."""
import base64
import http.client
import json
import re
import select
import signal
import socket
import ssl
import threading
import time
import urllib.parse

import pytest

from conftest import Kubectl, servers, start

AS_TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def one_map(name, text="1", **metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": dict(metadata, name=name), "data": {"text": text}}


class Raw:
    """Requests of one administrator, each on a connection of its own."""

    def __init__(self, kubectl, namespace="default"):
        view = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
        cluster = view["clusters"][0]["cluster"]
        self.host, self.port = cluster["server"].removeprefix("https://").rsplit(":", 1)
        self.context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self.headers = {"Authorization": "Bearer " + view["users"][0]["user"]["token"]}
        self.maps = f"/api/v1/namespaces/{namespace}/configmaps"

    def connect(self):
        return http.client.HTTPSConnection(self.host, int(self.port), context=self.context, timeout=30)

    def ask(self, method, path, body=None, headers=None, connection=None):
        own = connection or self.connect()
        own.request(method, path, json.dumps(body) if body is not None else None,
                    dict(self.headers, **{"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}, **(headers or {})))
        answer = own.getresponse()
        result = answer.status, json.loads(answer.read())
        if not connection:
            own.close()
        return result

    def put(self, name, text="1", **metadata):
        status, answer = self.ask("POST", self.maps, one_map(name, text, **metadata))
        assert status == 201, answer
        return int(answer["metadata"]["resourceVersion"])

    def revision(self):
        return self.ask("GET", self.maps + "?limit=1")[1]["metadata"]["resourceVersion"]

    def watch(self, query="", headers=None):
        return Watch(self, f"{self.maps}?watch=true&{query}", headers)


class Watch:
    def __init__(self, raw, path, headers=None):
        self.connection = raw.connect()
        self.connection.request("GET", path, headers=dict(raw.headers, **(headers or {})))
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def event(self):
        """(type, object); None when the stream has ended in order."""
        line = self.answer.readline()
        if not line:
            return None
        event = json.loads(line)
        return event["type"], event["object"]

    def close(self):
        self.connection.close()
        self.answer.close()


def rv(obj):
    return int(obj["metadata"]["resourceVersion"])


@pytest.fixture
def raw(kubectl):
    return Raw(kubectl, kubectl.namespace)


# --- selectors ---------------------------------------------------------------------------------------------------------------------------


def test_d13_kubectl_sees_what_enters_and_leaves_a_set_selector(kubectl):
    kubectl("create", "configmap", "a", "--from-literal=a=b")
    with kubectl.popen("get", "configmap", "-l", "team in (x,y),!gone", "--watch-only", "--output-watch-events", "-v=6") as watch:
        lines = iter(lambda: watch.line(), None)
        while "watch=true" not in next(lines):
            pass
        for words in (("team=x",), ("other=1",), ("gone=yes",), ("gone-",), ("team=z", "--overwrite")):
            kubectl("label", "configmap", "a", *words)
        events = []
        while len(events) < 5:
            words = next(lines).split()
            if words[0] in ("ADDED", "MODIFIED", "DELETED"):
                events.append(words[0])
    assert events == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


def test_a_field_that_cannot_be_selected_by_is_told_with_those_that_can(kubectl):
    words = kubectl.fails("get", "virtualmachines", "--field-selector", "spec.cpu.cores=2")
    assert "field label not supported: spec.cpu.cores" in words and "metadata.name" in words and "status.phase" in words


# --- bookmarks and beginnings ------------------------------------------------------------------------------------------------------------


def test_bookmarks_come_only_to_those_who_ask(raw):
    raw.put("a")
    asked = raw.watch("resourceVersion=0&timeoutSeconds=1&allowWatchBookmarks=true")
    silent = raw.watch("resourceVersion=0&timeoutSeconds=1")
    assert [silent.event()[0], silent.event()] == ["ADDED", None]
    assert asked.event()[0] == "ADDED"
    kind, mark = asked.event()
    assert kind == "BOOKMARK" and mark["kind"] == "ConfigMap" and asked.event() is None
    # Who goes on from it gets the next event, and nothing twice.
    again = raw.watch(f"resourceVersion={mark['metadata']['resourceVersion']}")
    raw.put("b")
    assert again.event()[1]["metadata"]["name"] == "b"
    again.close()


def test_a_watch_list_of_newer_clients_is_marked_where_it_ends(raw):
    raw.put("a")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=5"
    for headers in (None, AS_TABLE):
        watch = raw.watch(query, headers)
        assert watch.event()[0] == "ADDED"
        kind, mark = watch.event()
        mark = mark["rows"][0]["object"] if headers else mark
        assert kind == "BOOKMARK" and mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        watch.close()
    # A client that gets it wrong is refused as by Kubernetes, and falls back to list and watch.
    status, answer = raw.ask("GET", f"{raw.maps}?watch=true&sendInitialEvents=true")
    assert status == 422 and answer["reason"] == "Invalid"


def test_revisions_that_cannot_be_served_are_refused(raw):
    assert raw.watch("resourceVersion=99999999").status == 410
    assert raw.ask("GET", raw.maps + "?resourceVersion=99999999")[0] == 504
    then = raw.put("a")
    raw.put("b")
    status, answer = raw.ask("GET", f"{raw.maps}?resourceVersion={then}&resourceVersionMatch=Exact")
    assert status == 200 and "b" not in [item["metadata"]["name"] for item in answer["items"]]
    status, answer = raw.ask("GET", f"{raw.maps}?resourceVersion={then}&resourceVersionMatch=NotOlderThan")
    assert status == 200 and "b" in [item["metadata"]["name"] for item in answer["items"]]


# --- ends --------------------------------------------------------------------------------------------------------------------------------


def test_attack16_a_watch_ends_with_its_namespace(server):
    server("create", "namespace", "goes")
    raw = Raw(server, "goes")
    raw.put("a")
    watch = raw.watch("resourceVersion=0")
    assert watch.event()[0] == "ADDED"
    with server.popen("get", "configmap", "-n", "goes", "-w") as following:
        following.line()
        server("delete", "namespace", "goes", "--wait=false")
        seen = []
        while event := watch.event():
            seen.append((event[0], event[1]["metadata"]["name"]))
        assert ("DELETED", "a") in seen
        assert following.wait() == 0


def test_a_client_that_ends_its_tls_stream_alone_is_let_go(raw):
    sock = raw.context.wrap_socket(socket.create_connection((raw.host, int(raw.port))), server_hostname=raw.host)
    sock.settimeout(10)
    sock.sendall(f"GET {raw.maps}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: {raw.headers['Authorization']}\r\n\r\n".encode())
    assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    plain = sock.unwrap()  # close_notify, and the server's answer to it; no end of the TCP connection
    plain.settimeout(10)
    assert plain.recv(1) == b""


def test_attack19_clients_that_do_not_read_are_told_and_hold_up_nobody(raw):
    """40 watches sleep through more than the events that are kept; one that reads gets every event meanwhile."""
    sleepers = []
    for _ in range(40):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((raw.host, int(raw.port)))
        sock = raw.context.wrap_socket(sock, server_hostname=raw.host)
        sock.settimeout(30)
        sock.sendall(f"GET {raw.maps}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: {raw.headers['Authorization']}\r\n\r\n".encode())
        sleepers.append(sock)
    awake = raw.watch("resourceVersion=" + raw.revision())
    writer = raw.connect()
    text, seen = "x" * 700000, []
    raw.put("big", text)
    for n in range(70):
        status, _ = raw.ask("PATCH", raw.maps + "/big", {"data": {"n": str(n)}}, connection=writer)
        assert status == 200
        seen.append(awake.event())
    seen.append(awake.event())
    assert [event[0] for event in seen] == ["ADDED"] + ["MODIFIED"] * 70
    assert [rv(event[1]) for event in seen] == sorted(rv(event[1]) for event in seen)
    for sock in sleepers:
        tail = b""
        while piece := sock.recv(1 << 16):
            tail = (tail + piece)[-4096:]
            if tail.endswith(b"0\r\n\r\n"):
                break
        assert b'{"type":"ERROR"' in tail and b'"code":410' in tail and b'"reason":"Expired"' in tail
        sock.close()
    awake.close()


# --- order -------------------------------------------------------------------------------------------------------------------------------


class Follower(threading.Thread):
    """Watches, leaves after some events, and goes on from the last revision that it saw."""

    def __init__(self, raw, revision, patience, until):
        super().__init__(daemon=True)
        self.raw, self.revision, self.patience, self.until = raw, revision, patience, until
        self.seen = []

    def run(self):
        while True:
            watch = self.raw.watch(f"resourceVersion={self.revision}")
            for _ in range(self.patience):
                kind, obj = watch.event()
                self.revision = obj["metadata"]["resourceVersion"]
                self.seen.append((kind, obj["metadata"]["name"], int(self.revision)))
                if obj["metadata"]["name"] == self.until:
                    watch.close()
                    return
            watch.close()


def write_some(raw, worker):
    connection = raw.connect()
    for n in range(25):
        name = f"w{worker}-{n % 5}"
        raw.ask("POST", raw.maps, one_map(name), connection=connection)
        raw.ask("PATCH", f"{raw.maps}/{name}", {"data": {"n": str(n)}}, connection=connection)
        raw.ask("DELETE", f"{raw.maps}/{name}", connection=connection)
    connection.close()


def test_i5_a_watch_is_ordered_without_gap_or_double(raw):
    revision = raw.revision()
    followers = [Follower(raw, revision, patience, "end") for patience in (1000000, 1000000, 7, 23, 50)]
    writers = [threading.Thread(target=write_some, args=(raw, n)) for n in range(4)]
    for thread in followers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    raw.put("end")
    for follower in followers:
        follower.join(30)
        assert not follower.is_alive()
    whole = followers[0].seen
    assert len(whole) == 4 * 25 * 3 + 1
    assert [event[2] for event in whole] == sorted({event[2] for event in whole})
    assert all(follower.seen == whole for follower in followers[1:])


# --- pages -------------------------------------------------------------------------------------------------------------------------------


def test_kubectl_gets_a_list_in_chunks(kubectl, raw):
    for n in range(7):
        raw.put(f"m{n}")
    out = kubectl("get", "configmap", "--chunk-size=3", "-o", "name").split()
    assert [line for line in out if "/m" in line] == [f"configmap/m{n}" for n in range(7)]


def test_a_list_behind_a_write_contains_it(raw):
    for n in range(20):
        raw.put(f"m{n:02}")
        assert f"m{n:02}" in [item["metadata"]["name"] for item in raw.ask("GET", raw.maps)[1]["items"]]


def test_a_token_that_was_changed_or_belongs_elsewhere_is_refused(raw):
    for n in range(3):
        raw.put(f"m{n}")
    token = raw.ask("GET", raw.maps + "?limit=1")[1]["metadata"]["continue"]
    turned = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    for path in (f"{raw.maps}?continue={turned}", f"{raw.maps}?continue={token}&labelSelector=a", f"/api/v1/configmaps?continue={token}",
                 f"/api/v1/namespaces/default/configmaps?continue={token}", f"{raw.maps.replace('configmaps', 'secrets')}?continue={token}"):
        status, answer = raw.ask("GET", path)
        assert status == 400 and answer["message"] == "continue key is not valid", path
    assert raw.ask("GET", f"{raw.maps}?continue={token}")[0] == 200


def serving_port(log, seconds=30):
    end = time.monotonic() + seconds
    while not (found := re.search(r"serving url=https://127.0.0.1:(\d+)", log.read_text())):
        assert time.monotonic() < end, log.read_text()
        select.select([], [], [], 0.02)
    return found.group(1)


@pytest.mark.parametrize("kind", servers())
def test_pages_go_on_over_a_kill_of_the_gateway(kind, tmp_path):
    """The second page, asked of a gateway that was killed and begun again, shows the state of the first."""
    process, config = start(kind, tmp_path)
    raw = Raw(Kubectl(kind, config, tmp_path))
    for n in range(4):
        raw.put(f"m{n}")
    first = raw.ask("GET", raw.maps + "?limit=2")[1]
    raw.ask("DELETE", raw.maps + "/m2")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process, config = start(kind, tmp_path)
    try:
        if kind == "gateway":
            raw.port = serving_port(tmp_path / "server.log")
        else:
            raw = Raw(Kubectl(kind, config, tmp_path))
        second = raw.ask("GET", f"{raw.maps}?limit=9&continue={urllib.parse.quote(first['metadata']['continue'])}")
        assert second[0] == 200, second
        names = [item["metadata"]["name"] for item in first["items"] + second[1]["items"]]
        assert [name for name in names if name.startswith("m")] == ["m0", "m1", "m2", "m3"]
        assert second[1]["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        # A watch goes on from before the kill, too.
        watch = raw.watch(f"resourceVersion={first['metadata']['resourceVersion']}")
        assert watch.event()[0] == "DELETED"
        watch.close()
    finally:
        process.terminate()
        process.wait()
