# SPDX-License-Identifier: Apache-2.0
"""What is told to endpoints, in which order, and what becomes of what they do not take. B32, B33; attacks 11, 12 and 16."""
import base64
import contextlib
import hashlib
import hmac
import json
import re
import socket
import threading
import time

import pytest
from reliability import attack

from conftest import Endpoint, Project, until

KEY = "correct horse battery staple"


def hang(handler):
    handler.connection.settimeout(60)
    with contextlib.suppress(OSError):
        handler.connection.recv(1)  # until the gateway leaves


def endless(handler):
    with contextlib.suppress(OSError):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)


def verify(request, key):
    """What a receiver does, as doc/how-to/callbacks.md says."""
    parts = dict(part.split("=", 1) for part in request["headers"]["Gabbro-Signature"].split(","))
    expect = hmac.new(key.encode(), parts["t"].encode() + b"." + request["raw"], hashlib.sha256).hexdigest()
    return hmac.compare_digest(expect, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300


def test_B32_an_image_is_told_and_signed(gateway, project, certificate, bundle):
    endpoint = Endpoint(certificate)
    gateway.ask("POST", f"/api/v1/namespaces/{project.name}/secrets", {"metadata": {"name": "hook"}, "stringData": {"key": KEY}})
    project.callback("hook", endpoint.url("/hook?a=b"), caBundle=bundle, signing={"secretName": "hook", "key": "key"})
    uid = project.ready_image("debian")
    told = endpoint.wait("/hook?a=b")[0]
    assert told["type"] == "ImageReady" == told["headers"]["Gabbro-Event"] and told["headers"]["Content-Type"] == "application/json"
    assert told["id"] == told["headers"]["Gabbro-Delivery"] and told["sequence"] == told["attempt"] == 1
    assert told["object"] == {"kind": "VirtualImage", "namespace": project.name, "name": "debian", "uid": uid}
    assert told["facts"]["digest"] == hashlib.sha256(project.bytes).hexdigest() and told["facts"]["phase"] == "Ready"
    assert told["facts"]["storedBytes"] == len(project.bytes) and told["facts"]["unpackedBytes"] == 1 << 20
    assert verify(told, KEY) and not verify(told, "another key")
    until(lambda: project.status("hook").get("delivered") == 1)
    project.delete("virtualimages", "debian")
    gone = endpoint.wait("/hook?a=b", 2)[1]
    assert (gone["type"], gone["sequence"]) == ("ImageDeleted", 2) and gone["object"]["uid"] == uid and verify(gone, KEY)
    until(lambda: project.deliveries() == [])
    assert project.condition("hook") == ("True", "Delivering") and project.status("hook")["lastDeliveryTime"]
    # The key is nowhere but in its Secret.
    kinds = [gateway.ask("GET", f"/apis/gabbro.dev/v1/{kind}")[1] for kind in ("callbacks", "callbackdeliveries")]
    everything = gateway.log() + json.dumps(kinds + [gateway.ask("GET", "/api/v1/events")[1]])
    assert KEY not in everything and base64.b64encode(KEY.encode()).decode() not in everything
    endpoint.close()


def test_a_key_that_is_not_there_sends_nothing(gateway, project, endpoint):
    project.callback("hook", endpoint.url("/hook"), signing={"secretName": "later", "key": "key"})
    project.ready_image("a")
    until(lambda: project.condition("hook") == ("False", "DeliveryRetrying"))
    assert endpoint.seen == [] and "secret later has no value key" in project.deliveries()[0]["status"]["lastError"]
    gateway.ask("POST", f"/api/v1/namespaces/{project.name}/secrets", {"metadata": {"name": "later"}, "stringData": {"key": KEY}})
    assert "1 tried again" in gateway.gabbro("callbacks", "retry", "hook", "-n", project.name)
    assert verify(endpoint.wait("/hook")[0], KEY)


def test_B33_order_is_kept_while_the_endpoint_fails_and_asks_for_time(project, endpoint):
    endpoint.answers["/hook"] = [500, (503, {"Retry-After": "2"}), 500, 204]
    project.callback("hook", endpoint.url("/hook"))
    project.image("a")
    status, answer = project.upload("a", good=False)
    assert status >= 400, answer
    endpoint.wait("/hook")
    until(lambda: project.phase("a") == "Failed")
    project.delete("virtualimages", "a")
    told = endpoint.wait("/hook", 5)
    assert [(t["type"], t["sequence"], t["attempt"]) for t in told] == [
        ("ImageFailed", 1, 1), ("ImageFailed", 1, 2), ("ImageFailed", 1, 3), ("ImageFailed", 1, 4), ("ImageDeleted", 2, 1)]
    assert len({t["id"] for t in told[:4]}) == 1 and told[4]["id"] != told[0]["id"]
    assert told[2]["at"] - told[1]["at"] >= 2
    assert told[0]["facts"]["message"]


def test_B33_what_is_given_up_is_seen_tried_again_or_dropped(gateway, project, endpoint):
    endpoint.answers["/hook"] = 500
    endpoint.answers["/gone"] = 410
    project.callback("hook", endpoint.url("/hook"), maxAttempts=1)
    project.callback("gone", endpoint.url("/gone"))
    project.ready_image("a")
    until(lambda: project.condition("hook") == ("False", "DeliveriesDead") == project.condition("gone"))
    assert len(endpoint.told("/gone")) == 1  # it is not asked again, though nine attempts were left
    table = gateway.gabbro("callbacks", "deliveries", "hook", "--dead", "-n", project.name)
    assert "Dead" in table and "status 500" in table and "gone" not in table
    assert "DeliveriesDead" in gateway.gabbro("callbacks", "-n", project.name)
    until(lambda: "DeliveriesDead" in gateway.gabbro("events", "-n", project.name))
    endpoint.answers["/hook"] = 204
    assert gateway.gabbro("callbacks", "retry", "hook", "-n", project.name) == "callback/hook: 1 tried again\n"
    first, second = endpoint.wait("/hook", 2)
    assert first["id"] == second["id"]
    until(lambda: project.condition("hook") == ("True", "Delivering"))
    assert gateway.gabbro("callbacks", "drop", "--all", "-n", project.name) == "callback/gone: 1 dropped\ncallback/hook: 0 dropped\n"
    until(lambda: project.condition("gone") == ("True", "Delivering"))
    assert len(endpoint.told("/gone")) == 1 and [d["status"]["state"] for d in project.deliveries("gone")] == ["Skipped"]
    metrics = gateway.ask("GET", "/metrics")[1].decode()
    assert int(re.search(r"^gabbro_callback_dead_total (\d+)", metrics, re.M).group(1)) >= 2
    for word in ("retry", "drop", "deliveries"):
        gateway.gabbro("callbacks", word, "nonsense", "-n", project.name, code=3)


def test_suspended_callbacks_keep_what_happens(gateway, project, endpoint):
    project.callback("hook", endpoint.url("/hook"), suspended=True)
    project.ready_image("a")
    project.ready_image("b")
    until(lambda: project.status("hook").get("pending") == 2)
    assert endpoint.seen == []
    gateway.ask("PATCH", project.path("callbacks", "hook"), {"spec": {"suspended": False}})
    endpoint.wait("/hook", 2)


def test_a_deleted_callback_hears_nothing_more(project, endpoint):
    endpoint.answers["/hook"] = 500
    project.callback("hook", endpoint.url("/hook"))
    project.ready_image("a")
    endpoint.wait("/hook")
    project.delete("callbacks", "hook")
    until(lambda: project.deliveries() == [])
    n = len(endpoint.seen)
    project.callback("other", endpoint.url("/other"), events=["ImageDeleted"])
    project.delete("virtualimages", "a")
    endpoint.wait("/other")
    assert len(endpoint.told("/hook")) == n


def test_a_slow_endpoint_holds_up_nobody_else(gateway, project, endpoint, image):
    """Five callbacks of another project that never answer have all their places taken."""
    other = Project(gateway, "slow-neighbour", image)
    endpoint.answers["/slow"] = hang
    for i in range(5):
        other.callback(f"slow-{i}", endpoint.url("/slow"))
    project.callback("slow", endpoint.url("/slow"))
    project.callback("quick", endpoint.url("/quick"))
    for name in ("a", "b", "c"):
        other.ready_image(name)
    endpoint.wait("/slow", 4)
    begun = time.monotonic()
    for name in ("a", "b", "c"):
        project.ready_image(name)
    endpoint.wait("/quick", 3)
    assert time.monotonic() - begun < 8  # while all that was sent to the slow ones is without an answer
    assert all("lastError" not in d.get("status", {}) for d in other.deliveries())
    assert len(endpoint.told("/slow")) <= 4 + 2  # of the project, and of the callback
    for i in range(5):
        other.delete("callbacks", f"slow-{i}")
    project.delete("callbacks", "slow")


def test_attack_11_hostile_endpoints_end_as_words(gateway, project, endpoint):
    target, silent, garbage = Endpoint(), socket.socket(), socket.socket()
    for listener in (silent, garbage):
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)

    def speak_garbage():
        while True:
            with contextlib.suppress(OSError):
                connection, _ = garbage.accept()
                connection.sendall(b"\x16\x03\x01\xff\xff" + b"A" * 100000)
                connection.close()
                continue
            return

    threading.Thread(target=speak_garbage, daemon=True).start()
    endpoint.answers.update({"/redirect": (302, {"Location": target.url("/secret")}), "/see-other": (303, {"Location": target.url("/secret")}),
                             "/endless": endless, "/headers": (200, {f"X-{i}": "x" * 60000 for i in range(10)}), "/hang": hang})
    port = {name: listener.getsockname()[1] for name, listener in (("silent", silent), ("garbage", garbage))}
    urls = {
        "redirect": (endpoint.url("/redirect"), "redirects are not followed"),
        "see-other": (endpoint.url("/see-other"), "redirects are not followed"),
        "hang": (endpoint.url("/hang"), "timed out"),
        "silent-tls": (f"https://127.0.0.1:{port['silent']}/", "timed out"),
        "garbage-tls": (f"https://127.0.0.1:{port['garbage']}/", ""),
        "plain-for-tls": (endpoint.url("/x").replace("http:", "https:"), ""),
        "nobody": ("http://127.0.0.1:1/", "connect"),
    }
    for name, (url, _) in urls.items():
        project.callback(name, url, maxAttempts=1)
    for name in ("endless", "headers"):  # they say 200; what else they say does not matter
        project.callback(name, endpoint.url(f"/{name}"), maxAttempts=1)
    begun = time.monotonic()
    project.ready_image("a")
    until(lambda: all(project.condition(name) == ("False", "DeliveriesDead") for name in urls), 60, 0.2)
    assert time.monotonic() - begun < 40
    errors = {d["spec"]["callback"]["name"]: d["status"].get("lastError", "") for d in project.deliveries()}
    assert [name for name, (_, words) in urls.items() if words not in errors[name] or not errors[name]] == [], errors
    assert project.status("endless")["delivered"] == 1 == project.status("headers")["delivered"]
    assert target.connections == 0
    attack(11, "endpoints of callbacks that redirect inside, never answer, answer without end or speak no TLS",
           "not followed; given up at a bound, with words; others are served meanwhile")
    for listener in (silent, garbage):
        listener.close()
    target.close()


def test_attack_12_a_certificate_that_nobody_vouches_for(project, certificate, endpoint):
    tls = Endpoint(certificate)
    project.callback("hook", tls.url("/hook"), maxAttempts=1)
    project.ready_image("a")
    until(lambda: project.condition("hook") == ("False", "DeliveriesDead"))
    assert tls.seen == [] and "certificate" in project.deliveries("hook")[0]["status"]["lastError"]
    attack(12, "an endpoint of callbacks whose certificate nobody vouches for", "nothing is sent")
    tls.close()


def test_attack_16_a_project_hears_nothing_of_another(gateway, project, endpoint, image):
    other = Project(gateway, "neighbour", image)
    other.callback("spy", endpoint.url("/spy"), kinds=["VirtualImage", "ClusterVirtualImage", "VirtualDisk"])
    project.callback("own", endpoint.url("/own"))
    project.ready_image("secret-plans")
    endpoint.wait("/own")
    other.ready_image("mine")
    assert [t["object"]["name"] for t in endpoint.wait("/spy")] == ["mine"]
    # Deliveries are read, not written: nobody makes one that tells of another project.
    delivery = project.deliveries("own")[0]
    forged = {**delivery, "metadata": {"name": "forged"}}
    for method, path, body in (("POST", "", forged), ("DELETE", "/" + delivery["metadata"]["name"], None), ("DELETE", "", None),
                               ("PUT", "/" + delivery["metadata"]["name"] + "/status", delivery)):
        status, answer = gateway.ask(method, project.path("callbackdeliveries") + path, body)
        assert status == 405 and "only read" in answer["message"], (method, path, answer)
    attack(16, "a callback that asks for all images, and deliveries made by hand", "it hears of its own project's alone; refused (405)")


def test_a_project_takes_along_all_that_was_still_to_be_told(gateway, project, endpoint):
    endpoint.answers["/hook"] = 500
    project.callback("hook", endpoint.url("/hook"))
    project.callback("dead", endpoint.url("/hook"), maxAttempts=1)
    project.callback("quiet", endpoint.url("/hook"), suspended=True)
    for name in ("a", "b"):
        project.ready_image(name)
    until(lambda: project.condition("dead") == ("False", "DeliveriesDead"))
    assert gateway.ask("DELETE", f"/api/v1/namespaces/{project.name}")[0] == 200
    until(lambda: gateway.ask("GET", f"/api/v1/namespaces/{project.name}")[0] == 404)
    n = len(endpoint.seen)
    status, answer = gateway.ask("GET", "/apis/gabbro.dev/v1/callbackdeliveries")
    assert [i for i in answer["items"] if i["metadata"]["namespace"] == project.name] == []
    assert "ImageDeleted" not in [t["type"] for t in endpoint.seen[:n]]


def person(gateway, project, name, role):
    accounts = f"/api/v1/namespaces/{project.name}/serviceaccounts"
    gateway.ask("POST", accounts, {"metadata": {"name": name}})
    binding = {"metadata": {"name": name}, "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": project.name}],
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}}
    status, answer = gateway.ask("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{project.name}/rolebindings", binding)
    assert status == 201, answer
    return gateway.ask("POST", f"{accounts}/{name}/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
                       )[1]["status"]["token"]


def test_attack_17_viewers_and_operators_read_callbacks_and_change_nothing(gateway, project, endpoint):
    project.callback("hook", endpoint.url("/hook"), suspended=True)
    ways = [("POST", "/hook/retry", {}), ("POST", "/hook/drop", {}), ("PATCH", "/hook", {"spec": {"suspended": True}}),
            ("POST", "", {"metadata": {"name": "own"}, "spec": {"url": endpoint.url("/own")}}), ("DELETE", "/hook", None)]
    for name, role, may in (("rose", "gabbro:viewer", False), ("otto", "gabbro:operator", False), ("berta", "gabbro:project-admin", True)):
        token = person(gateway, project, name, role)
        assert until(lambda: gateway.ask("GET", project.path("callbackdeliveries"), token=token)[0]) == 200
        for method, path, body in ways:
            status, answer = gateway.ask(method, project.path("callbacks") + path, body, token)
            assert (status in (200, 201)) == may and (may or status == 403), (name, method, path, answer)
        assert gateway.ask("GET", "/apis/gabbro.dev/v1/namespaces/default/callbackdeliveries", token=token)[0] == 403
    attack(17, "callbacks made, changed, retried or dropped by viewers and operators", "refused (403)")


BAD = [
    ({"url": "ftp://example.org/"}, "spec.url"),
    ({"url": "https://user:password@example.org/"}, "spec.url"),
    ({"url": "https://example.org/", "events": ["ImageEaten"]}, "spec.events"),
    ({"url": "https://example.org/", "kinds": ["Secret"]}, "spec.kinds"),
    ({"url": "https://example.org/", "maxAttempts": 31}, "spec.maxAttempts"),
    ({"url": "https://example.org/", "maxAttempts": 0}, "spec.maxAttempts"),
    ({"url": "https://example.org/", "signing": {"secretName": "a"}}, "spec.signing.key"),
    ({"url": "https://example.org/", "caBundle": base64.b64encode(b"no certificate").decode()}, "spec.caBundle"),
    ({"url": "http://example.org/", "caBundle": base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()}, "spec.caBundle"),
]


@pytest.mark.parametrize("spec,field", BAD)
def test_bad_callbacks_are_refused_with_the_field(gateway, spec, field):
    status, answer = gateway.ask("POST", "/apis/gabbro.dev/v1/namespaces/default/callbacks", {"metadata": {"name": "bad"}, "spec": spec})
    assert status == 422 and field in [c["field"].split("[")[0] for c in answer["details"]["causes"]], answer
