# SPDX-License-Identifier: Apache-2.0
"""Where images are fetched from, and where never (attacks 11 and 12), each way of asking: raw HTTP and the CLI."""
import concurrent.futures
import hashlib
import json

import pytest
from gateways import PROXIES
from reliability import attack
from world import GATEWAY, GATEWAY6, MIRROR

IMAGE = b"\1" * 70000
DIGEST = hashlib.sha256(IMAGE).hexdigest()
INSIDE = [
    "http://127.0.0.1:8080/", "http://localhost:8080/", "http://[::1]:8080/", "http://0.0.0.0:8080/", "http://[::]:8080/",
    "http://2130706433:8080/", "http://0177.0.0.1:8080/", "http://0x7f000001:8080/", "http://127.1:8080/",
    "http://[::ffff:127.0.0.1]:8080/", f"http://{GATEWAY}:8080/", f"http://[{GATEWAY6}]:8080/",
    "http://10.9.9.9/", "http://192.168.7.7/", "http://169.254.169.254/latest/meta-data/", "http://100.100.100.200/",
    "http://168.63.129.16/", "http://[::ffff:169.254.169.254]/", "http://inside.test/", "http://meta.test/", "http://loop.test:8080/",
    "http://both.test:8080/",
]


def by_cli(gateway, url, *more):
    name = gateway.name()
    done = gateway.gabbro("image", "import", url, "--name", name, "--cluster", *more)
    return done, name


def each(work, items):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, items))


def test_what_is_allowed_works(gateway, mirror):
    mirror.files["/a.raw"] = IMAGE
    assert gateway.fate(gateway.fetch("http://mirror.test/a.raw")) == ("Ready", DIGEST)
    done, name = by_cli(gateway, "http://mirror.test/a.raw", "--sha256", DIGEST)
    assert done.returncode == 0, done.stderr
    assert gateway.fate(name) == ("Ready", DIGEST)
    assert PROXIES and not gateway.world.trap.caught


def test_attack_11_addresses_inside(gateway, world):
    names = [gateway.fetch(url) for url in INSIDE]
    for url, name in zip(INSIDE, names):
        fate = gateway.fate(name)
        assert fate[1] == "ImageUrlRefused" and "not allowed" in fate[2], (url, fate)
    for url, (done, name) in zip(INSIDE, each(lambda url: by_cli(gateway, url), INSIDE)):
        assert done.returncode and "not allowed" in done.stderr, (url, done.stderr)
        assert gateway.fate(name)[1] == "ImageUrlRefused"
    assert not world.trap.caught, world.trap.caught
    attack(11, "a URL of an address or name inside: loopback, private, link-local, metadata, the gateway's own, in every spelling",
           "refused: ImageUrlRefused; nothing connects")


@pytest.mark.parametrize("url", ["file:///etc/shadow", "gopher://10.9.9.9/_", "ftp://mirror.test/a", "dict://10.9.9.9:11211/", "//mirror.test/a",
                                 "http://mirror.test/a b", "http://", "http://user:hunter2@mirror.test/a.raw", "http://user@mirror.test/a.raw"])
def test_attack_11_what_is_no_url_of_http(gateway, url):
    status, answer, name = gateway.create({"type": "HTTP", "http": {"url": url}})
    assert status == 422 and "spec.dataSource.http.url" in json.dumps(answer) and "hunter2" not in json.dumps(answer), answer
    done, name = by_cli(gateway, url)
    assert done.returncode and "hunter2" not in done.stderr, done.stderr
    assert gateway.ask("GET", gateway.path(name))[0] == 404
    attack(11, "a URL of another scheme, or with a user and password", "refused: 422; a password is not said again")


def redirect(to, status=302):
    def serve(connection, headers):
        connection.sendall(f"HTTP/1.1 {status} Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    return serve


REDIRECTS = [
    # to, reason, words
    ("http://127.0.0.1:8080/", "ImageUrlRefused", "not allowed"),
    ("http://169.254.169.254/", "ImageUrlRefused", "not allowed"),
    ("http://inside.test/", "ImageUrlRefused", "not allowed"),
    ("file:///etc/shadow", "ImageUrlRefused", "file"),
    ("gopher://10.9.9.9/_", "ImageUrlRefused", "gopher"),
    ("http://user:hunter2@mirror.test/a.raw", "ImageUrlRefused", "user name"),
    ("/loop", "ImageFetchFailed", "redirects"),
    ("http://mirror.test/" + "x" * 300000, "ImageFetchFailed", "headers"),
]


def test_attack_11_redirects(gateway, mirror, world):
    mirror.files["/loop"] = redirect("/loop")
    mirror.files["/a.raw"] = IMAGE
    for i, (to, *_) in enumerate(REDIRECTS):
        mirror.files[f"/to-{i}"] = redirect(to)
    urls = [f"http://mirror.test/to-{i}" for i in range(len(REDIRECTS))]
    names = [gateway.fetch(url) for url in urls]
    told = each(lambda url: by_cli(gateway, url), urls)
    for (to, reason, words), name, (done, other) in zip(REDIRECTS, names, told):
        for fate in (gateway.fate(name), gateway.fate(other)):
            assert fate[1] == reason and words in fate[2] and "hunter2" not in fate[2], (to[:99], fate)
        assert done.returncode and words in done.stderr
    assert not world.trap.caught and mirror.count("/loop") <= 2 * 6
    mirror.files["/chain"] = redirect("/chain-2", 307)
    mirror.files["/chain-2"] = redirect("http://mirror.test/a.raw", 308)
    assert gateway.fate(gateway.fetch("http://mirror.test/chain")) == ("Ready", DIGEST), "an honest one is followed"
    attack(11, "redirects: to addresses inside, to other schemes, to a user and password, in a circle, endlessly long",
           "refused, each with its reason; nothing connects")


def test_attack_11_a_name_that_means_something_else_the_next_time(gateway, mirror, world):
    """It breaks off in the middle, so that it is asked for again: by then the name is one of the gateway itself."""
    def half(connection, headers):
        connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nAccept-Ranges: bytes\r\nContent-Length: 70000\r\n\r\n' + IMAGE[:30000])

    mirror.files["/a.raw"] = half
    for i, ask in enumerate((lambda url: gateway.fetch(url), lambda url: by_cli(gateway, url)[1])):
        world.names.table[f"rebind-{i}.test"] = [[MIRROR], ["127.0.0.1"]]
        fate = gateway.fate(ask(f"http://rebind-{i}.test:80/a.raw"))
        assert fate[1] == "ImageUrlRefused" and "127.0.0.1" in fate[2], fate
    mirror.files["/back"] = redirect("http://turning.test:8080/a.raw")
    world.names.table["turning.test"] = [[MIRROR], ["127.0.0.1"]]
    world.names.table["turning.test"].pop(0)
    assert gateway.fate(gateway.fetch("http://mirror.test/back"))[1] == "ImageUrlRefused"
    assert not world.trap.caught
    attack(11, "a name whose address changes between two requests (DNS rebinding)", "the address that is connected to is judged, each time")


def endless(connection, headers):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    piece = b"10000\r\n" + b"\1" * 65536 + b"\r\n"
    while True:
        connection.sendall(piece)


def test_attack_11_an_answer_without_end(hasty, mirror):
    gateway = hasty
    mirror.files["/endless"] = endless
    mirror.files["/huge"] = lambda c, h: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n" + b"\1" * 65536)
    mirror.files["/overflow"] = lambda c, h: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n" + IMAGE)
    mirror.files["/negative"] = lambda c, h: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + IMAGE)
    mirror.files["/headers"] = lambda c, h: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100000)
    mirror.files["/unframed"] = lambda c, h: c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + IMAGE)
    project = gateway.project({"images.storage": "4Mi"})
    fate = gateway.fate(gateway.fetch("http://mirror.test/endless", project), project)
    assert fate[1] == "QuotaExceeded", fate
    done = gateway.gabbro("image", "import", "http://mirror.test/endless", "--name", "cli", "-n", project)
    assert done.returncode and "quota" in done.stderr
    fate = gateway.fate(gateway.fetch("http://mirror.test/huge", project), project)
    assert fate[1] == "QuotaExceeded", fate
    for path, words in (("headers", "headers"), ("unframed", "how long")):
        fate = gateway.fate(gateway.fetch(f"http://mirror.test/{path}"))
        assert fate[1] == "ImageFetchFailed" and words in fate[2], fate
        assert words in by_cli(gateway, f"http://mirror.test/{path}")[0].stderr
    for path in ("overflow", "negative"):
        name = gateway.fetch(f"http://mirror.test/{path}")
        assert gateway.fate(name)[0] == "Failed"
    gateway.nothing_left()
    attack(11, "answers without end, with impossible lengths, with endless headers", "cut off at the quota or a bound; nothing is kept")


# --- 12: TLS

TLS = [(443, None), (444, "wrong"), (445, "expired"), (446, "self-signed")]


def test_attack_12_certificates(gateway, mirror, world):
    mirror.files["/a.raw"] = IMAGE
    ca = world.certificates.ca
    assert gateway.fate(gateway.fetch("https://mirror.test/a.raw", ca=ca)) == ("Ready", DIGEST)
    asked = len(mirror.asked)
    cases = [("https://mirror.test/a.raw", None, "issuer"), ("https://mirror.test:444/a.raw", ca, "host name"),
             ("https://mirror.test:445/a.raw", ca, "expired"), ("https://mirror.test:446/a.raw", ca, "self-signed"),
             (f"https://{MIRROR}/a.raw", ca, MIRROR), ("https://mirror.test/a.raw", "no certificate", "caBundle"),
             ("https://mirror.test/a.raw", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", "")]
    names = [gateway.fetch(url, ca=bundle) for url, bundle, _ in cases]
    for (url, _, words), name in zip(cases, names):
        fate = gateway.fate(name)
        assert fate[1] == "ImageServerUntrusted" and words in fate[2], (url, fate)
    done, _ = by_cli(gateway, "https://mirror.test/a.raw")
    assert done.returncode and "certificate" in done.stderr
    done, _ = by_cli(gateway, "https://mirror.test:444/a.raw", "--ca-bundle", world.certificates.folder / "ca.pem")
    assert done.returncode and "host name" in done.stderr
    assert len(mirror.asked) == asked, "no request leaves before the certificate is right"
    done, _ = by_cli(gateway, "https://mirror.test/a.raw", "--ca-bundle", world.certificates.folder / "ca.pem")
    assert done.returncode == 0, done.stderr
    attack(12, "image servers with an expired, foreign, self-signed or unknown certificate", "refused: ImageServerUntrusted; with its authority in caBundle a good one is taken")


def test_attack_12_a_step_down_to_http(gateway, mirror, world):
    mirror.files["/a.raw"] = IMAGE
    mirror.files["/down"] = redirect("http://mirror.test/a.raw")
    mirror.files["/detour"] = redirect("https://mirror.test/down")
    ca = world.certificates.ca
    for url in ("https://mirror.test/down", "http://mirror.test/detour"):
        fate = gateway.fate(gateway.fetch(url, ca=ca))
        assert fate[1] == "ImageUrlRefused" and "http" in fate[2], fate
    assert mirror.count("/a.raw") == 0
    attack(12, "a redirect from https to http, also by a detour", "refused: ImageUrlRefused")


# --- what is named by the administrator

def test_named_addresses_are_allowed_and_nothing_beside_them(new_gateway, world):
    gateway = new_gateway("--allow-downloads-from", "10.9.0.0/16")
    assert gateway.fate(gateway.fetch("http://10.9.9.9/"))[0] == "Ready"
    assert gateway.fate(gateway.fetch("http://192.168.7.7/"))[1] == "ImageUrlRefused"
    world.trap.caught.clear()


def test_private_ones_without_those_that_are_never_allowed(new_gateway, world):
    gateway = new_gateway("--allow-private-downloads")
    assert gateway.fate(gateway.fetch("http://127.0.0.1:8080/"))[0] == "Ready"
    for url in ("http://169.254.169.254/", "http://168.63.129.16/", "http://0.0.0.0:8080/"):
        assert gateway.fate(gateway.fetch(url))[1] == "ImageUrlRefused"
    world.trap.caught.clear()


# --- what a URL says

def test_attack_35_a_secret_in_an_address_is_said_nowhere_else(hasty, mirror):
    gateway = hasty
    secret = "X-Signature-5f2c8e71"
    mirror.files["/a.raw"] = IMAGE
    mirror.files["/gone"] = lambda c, h: c.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    mirror.files["/away"] = redirect(f"http://10.9.9.9/?{secret}")
    urls = [f"http://mirror.test/{path}?{secret}" for path in ("a.raw", "gone", "away")] + [f"http://nowhere.test/?{secret}"]
    names = [gateway.fetch(url) for url in urls]
    for name in names:
        gateway.settled(name)
        assert secret not in json.dumps(gateway.image(name)["status"])
    _, events = gateway.ask("GET", "/api/v1/events")
    assert secret not in json.dumps(events)
    assert secret not in gateway.log.read_text()
    audits = [f for f in gateway.data.rglob("*audit*") if f.is_file()]
    assert audits and all(secret.encode() not in f.read_bytes() for f in audits)
    attack(35, "a secret in the address of an image", "in no status, event, log or audit")
