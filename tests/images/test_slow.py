# SPDX-License-Identifier: Apache-2.0
"""Image servers that are slow, break off or lie about lengths and ranges."""
import hashlib
import random
import re
import threading
import time

from reliability import outcome

IMAGE = random.Random(7).randbytes(6 << 20)
OTHER = random.Random(8).randbytes(6 << 20)
DIGEST, OTHER_DIGEST = hashlib.sha256(IMAGE).hexdigest(), hashlib.sha256(OTHER).hexdigest()
STEP = (5 << 20) // 2


def head(status, length, *more):
    return ("\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {length}", "Connection: close", *more]) + "\r\n\r\n").encode()


class Breaking:
    """A server that sends STEP bytes of a file and hangs up; it knows ranges, and may lie about them."""

    def __init__(self, content, tag='"1"', lie=None, length=None):
        self.content, self.tag, self.lie, self.length, self.ranges = content, tag, lie, length, []

    def __call__(self, connection, headers):
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        first = int(wanted.group(1)) if wanted and headers.get("if-range") == self.tag else 0
        self.ranges.append(first)
        more = [f"ETag: {self.tag}"] if self.tag else []
        if first and self.lie:
            self.lie(connection, self.content, first, more)
            return
        status = 200
        if first:
            status = 206
            more.append(f"Content-Range: bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        connection.sendall(head(status, self.length or len(self.content) - first, *more) + self.content[first:first + STEP])


def test_what_breaks_off_is_gone_on_with(hasty, mirror):
    server = mirror.files["/a.raw"] = Breaking(IMAGE)
    assert hasty.fate(hasty.fetch("http://mirror.test/a.raw")) == ("Ready", DIGEST)
    assert server.ranges == [0, STEP, 2 * STEP]
    outcome("an image server breaks off", "image import", "goes on by a range where it stopped")


def test_a_file_that_changes_meanwhile_is_begun_anew(hasty, mirror):
    old, new = Breaking(IMAGE), Breaking(OTHER, '"2"')
    asked = []

    def serve(connection, headers):
        asked.append(headers.get("range"))
        if len(asked) == 1:
            old(connection, headers)
        else:
            new(connection, headers)

    mirror.files["/a.raw"] = serve
    assert hasty.fate(hasty.fetch("http://mirror.test/a.raw")) == ("Ready", OTHER_DIGEST)
    assert new.ranges[0] == 0, "by If-Range the server saw that the rest of the old one is not wanted"


def whole(connection, content, first, more):
    connection.sendall(head(206, len(content), *more, f"Content-Range: bytes 0-{len(content) - 1}/{len(content)}") + content)


def other_total(connection, content, first, more):
    connection.sendall(head(206, 5, *more, f"Content-Range: bytes {first}-{first + 4}/{first + 5}") + b"wrong")


def no_range(connection, content, first, more):
    connection.sendall(head(206, len(content) - first, *more) + content[first:])


def nonsense(connection, content, first, more):
    connection.sendall(head(206, 5, *more, "Content-Range: bytes 9-3/x") + b"wrong")


def parts(connection, content, first, more):
    connection.sendall(head(206, 5, *more, "Content-Type: multipart/byteranges; boundary=x") + b"wrong")


def gone(connection, content, first, more):
    connection.sendall(head(416, 0, *more))


def nothing(connection, content, first, more):
    connection.sendall(head(206, 0, *more, f"Content-Range: bytes {first}-{len(content) - 1}/{len(content)}"))


def test_lies_about_ranges_never_become_an_image(hasty, mirror):
    """Only the lie is answered to a range; without one the server hands out all of the file, after its first try."""
    lies = [whole, other_total, no_range, nonsense, parts, gone, nothing]
    names = []
    for lie in lies:
        server = Breaking(IMAGE, lie=lie)

        def serve(connection, headers, server=server):
            if "range" in headers or not server.ranges:
                server(connection, headers)
            else:
                connection.sendall(head(200, len(IMAGE)) + IMAGE)

        mirror.files[f"/{lie.__name__}"] = serve
        names.append(hasty.fetch(f"http://mirror.test/{lie.__name__}"))
    for lie, name in zip(lies, names):
        assert hasty.fate(name) == ("Ready", DIGEST), lie.__name__
    mirror.files["/unasked"] = lambda c, h: whole(c, IMAGE, 0, [])
    fate = hasty.fate(hasty.fetch("http://mirror.test/unasked"))
    assert fate[1] == "ImageFetchFailed" and "another part" in fate[2]
    outcome("an image server lies about ranges", "image import", "begun anew without ranges; never a mixture")


def test_lengths_that_are_not_kept(hasty, mirror):
    mirror.files["/more"] = lambda c, h: c.sendall(head(200, len(IMAGE)) + IMAGE + b"and more")
    assert hasty.fate(hasty.fetch("http://mirror.test/more")) == ("Ready", DIGEST), "what is beyond is not read"
    mirror.files["/less"] = lambda c, h: c.sendall(head(200, 1000) + b"\1" * 999)
    mirror.files["/chunk"] = lambda c, h: c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n\1\1\1")
    names = [hasty.fetch("http://mirror.test/less"), hasty.fetch("http://mirror.test/chunk")]
    for name in names:
        fate = hasty.fate(name)
        assert fate[1] == "ImageFetchFailed", fate
    assert mirror.count("/less") == 4
    hasty.nothing_left()


def test_servers_that_send_a_byte_now_and_then(hasty, mirror):
    def drip(connection, headers):
        connection.sendall(head(200, 100000))
        while True:
            connection.sendall(b"x")
            time.sleep(0.2)

    silence = threading.Event()
    mirror.files["/drip"] = drip
    mirror.files["/silent"] = lambda c, h: silence.wait(60)
    mirror.files["/good"] = IMAGE
    project = hasty.project()
    held = [hasty.fetch(f"http://mirror.test/{'drip' if i % 2 else 'silent'}", project) for i in range(10)]
    begun = time.monotonic()
    assert hasty.fate(hasty.fetch("http://mirror.test/good")) == ("Ready", DIGEST)
    assert time.monotonic() - begun < 10, "another project's have room beside them"
    silence.set()
    fates = [hasty.fate(name, project, 90)[1] for name in held[:2]]
    assert fates == ["ImageFetchFailed"] * 2
    for name in held[2:]:
        assert hasty.ask("DELETE", hasty.path(name, project))[0] == 200
    hasty.nothing_left()
    outcome("image servers that stall", "image import", "ends with words after a bounded time; other projects' downloads go on")


def test_a_gateway_killed_in_the_middle_begins_anew(new_gateway, mirror):
    gateway = new_gateway()
    half, rest = threading.Event(), threading.Event()

    def serve(connection, headers):
        connection.sendall(head(200, len(IMAGE)) + IMAGE[:3 << 20])
        half.set()
        rest.wait(60)
        connection.sendall(IMAGE[3 << 20:])

    mirror.files["/a.raw"] = serve
    name = gateway.fetch("http://mirror.test/a.raw")
    assert half.wait(20)
    gateway.until("a half file is there", gateway.leftovers)
    gateway.kill()
    rest.set()
    gateway.begin()
    assert gateway.fate(name) == ("Ready", DIGEST)
    gateway.nothing_left()
    assert gateway.blobs() == {DIGEST}
    outcome("SIGKILL of the gateway", "image import", "nothing is left of the half file; the import begins anew and ends")


def test_C12_the_rate_is_told_while_it_is_fetched_and_the_mean_afterwards(hasty, mirror):
    go_on = threading.Event()

    def serve(connection, headers):
        connection.sendall(head(200, len(IMAGE)) + IMAGE[:2 << 20])
        go_on.wait(20)
        connection.sendall(IMAGE[2 << 20:])

    mirror.files["/rate.raw"] = serve
    name = hasty.fetch("http://mirror.test/rate.raw")

    def speed():
        return hasty.image(name).get("status", {}).get("downloadSpeed", {})

    hasty.until("a rate is told", lambda: speed().get("avgBytes", 0) > 0)
    assert {"avg", "avgBytes", "current", "currentBytes"} == set(speed()) and speed()["avg"].endswith("/s")
    go_on.set()
    assert hasty.fate(name) == ("Ready", DIGEST)
    assert set(speed()) == {"avg", "avgBytes"} and speed()["avgBytes"] > 0, "nothing comes any more"
