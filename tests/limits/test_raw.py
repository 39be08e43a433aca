# SPDX-License-Identifier: Apache-2.0
"""Bytes that no honest client sends: each has one answer, and what stands behind it is never taken for another request.

Attacks 15 and 19.
"""
import re
import socket

import pytest
from front import LIMIT, PATH, Answers, configmap
from reliability import attack

HOST = "Host: x\r\n"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
# name, request with @A for the authorisation header, statuses of which one is answered
CORPUS = [
    ("length-and-coding", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    ("coding-and-length", f"POST {PATH} HTTP/1.1\r\n{HOST}@ATransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", {400}),
    ("two-lengths", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: 0\r\nContent-Length: 44\r\n\r\n", {400}),
    ("same-length-twice", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: 0\r\nContent-Length: 0\r\n\r\n", {400}),
    ("list-of-lengths", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: 0, 0\r\n\r\n", {400}),
    ("signed-length", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: +0\r\n\r\n", {400}),
    ("negative-length", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: -1\r\n\r\n", {400}),
    ("hex-length", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: 0x4\r\n\r\n", {400}),
    ("overflowing-length", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Length: 18446744073709551616\r\n\r\n", {400}),
    ("coding-twice", f"POST {PATH} HTTP/1.1\r\n{HOST}@ATransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    ("unknown-coding", f"POST {PATH} HTTP/1.1\r\n{HOST}@ATransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("coding-behind-chunked", f"POST {PATH} HTTP/1.1\r\n{HOST}@ATransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", {400, 501}),
    ("space-before-colon", f"POST {PATH} HTTP/1.1\r\n{HOST}@ATransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", {400}),
    ("tab-coding", f"POST {PATH} HTTP/1.1\r\n{HOST}@ATransfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("coding-in-1.0", f"POST {PATH} HTTP/1.0\r\n{HOST}@ATransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    ("bad-chunk-size", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", {400}),
    ("signed-chunk-size", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", {400}),
    ("huge-chunk-size", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
     "fffffffffffffffff\r\n\r\n", {400}),
    ("chunk-without-end", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
     "2\r\n{}}\r\n0\r\n\r\n", {400}),
    ("chunk-extension", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
     "2;x=1\r\n{}\r\n0\r\n\r\n", {400}),
    ("trailer", f"POST {PATH} HTTP/1.1\r\n{HOST}@AContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0\r\nHost: y\r\n\r\n", {400}),
    ("folded", f"GET {PATH} HTTP/1.1\r\n{HOST}@AX-A: 1\r\n folded\r\n\r\n", {400}),
    ("nul-in-value", f"GET {PATH} HTTP/1.1\r\n{HOST}@AX-A: a\0b\r\n\r\n", {400}),
    ("nul-in-name", f"GET {PATH} HTTP/1.1\r\n{HOST}@AX\0A: ab\r\n\r\n", {400}),
    ("nul-in-target", f"GET {PATH}\0 HTTP/1.1\r\n{HOST}@A\r\n", {400}),
    ("bare-lf", f"GET {PATH} HTTP/1.1\nHost: x\n\n", {400}),
    ("bare-lf-in-head", f"GET {PATH} HTTP/1.1\r\n{HOST}@AX-A: 1\nX-B: 2\r\n\r\n", {400}),
    ("bare-cr", f"GET {PATH} HTTP/1.1\r\n{HOST}@AX-A: 1\rX-B: 2\r\n\r\n", {400}),
    ("no-host", f"GET {PATH} HTTP/1.1\r\n@A\r\n", {400}),
    ("two-hosts", f"GET {PATH} HTTP/1.1\r\n{HOST}{HOST}@A\r\n", {400}),
    ("two-authorisations", f"GET {PATH} HTTP/1.1\r\n{HOST}@A@A\r\n", {400}),
    ("empty-name", f"GET {PATH} HTTP/1.1\r\n{HOST}@A: x\r\n\r\n", {400}),
    ("http-2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 501, 505}),
    ("http-0.9", f"GET {PATH}\r\n", {400, 505}),
    ("http-1.2", f"GET {PATH} HTTP/1.2\r\n{HOST}@A\r\n", {400, 505}),
    ("unknown-method", f"BREW {PATH} HTTP/1.1\r\n{HOST}@A\r\n", {400, 501}),
    ("connect", f"CONNECT x:1 HTTP/1.1\r\n{HOST}@A\r\n", {400, 501}),
    ("dots", f"GET /api/../metrics HTTP/1.1\r\n{HOST}@A\r\n", {400}),
    ("escaped-slash", f"GET /api%2fv1 HTTP/1.1\r\n{HOST}@A\r\n", {400}),
    ("header-of-a-megabyte", f"GET {PATH} HTTP/1.1\r\n{HOST}@AX-A: {'a' * (1 << 20)}\r\n\r\n", {431}),
    ("ten-thousand-headers", f"GET {PATH} HTTP/1.1\r\n{HOST}@A" + "X-A: 1\r\n" * 10000 + "\r\n", {431}),
    ("long-target", f"GET /{'a' * LIMIT['HTTP_HEADER_BYTES']} HTTP/1.1\r\n{HOST}@A\r\n", {414, 431}),
    ("long-query", f"GET {PATH}?labelSelector={'a' * (1 << 20)} HTTP/1.1\r\n{HOST}@A\r\n", {414, 431}),
    ("hello-again", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x" * 500, {400}),
]


def statuses(answer):
    return [int(s) for s in re.findall(rb"(?:^|\n|\})HTTP/1\.1 (\d+) ", answer)]


@pytest.mark.parametrize("request_text,expected", [c[1:] for c in CORPUS], ids=[c[0] for c in CORPUS])
def test_what_is_not_clear_is_refused_and_nothing_behind_it_is_read(gateway, request_text, expected):
    text = request_text.replace("@A", f"Authorization: Bearer {gateway.token}\r\n")
    with gateway.connect() as one:
        try:
            one.sendall((text + SMUGGLED).encode("latin-1"))
        except OSError:
            pass  # it was answered and ended before all was sent
        answer = Answers(one).rest()
    found = statuses(answer)
    assert len(found) == 1 and found[0] in expected, answer[:600]
    attack(19, "requests of two meanings (lengths, codings, folded and bare lines, doubled headers)", "one refusal, the connection ends, nothing behind it is read")


def test_a_thousand_pipelined_requests_are_answered_in_order(gateway):
    names = [f"pipe-{i % 7}" for i in range(1000)]
    for i in range(7):
        assert gateway.ask("POST", PATH, configmap(f"pipe-{i}", "x"))[0] == 201
    with gateway.connect() as one:
        one.sendall(b"".join(gateway.head("GET", f"{PATH}/{name}") for name in names))
        answers = Answers(one)
        for name in names:
            status, body = answers.next()
            assert status == 200 and f'"name":"{name}"'.encode() in body
    attack(19, "a thousand pipelined requests", "answered in order")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_over_the_limit_is_refused(gateway, framing):
    size = LIMIT["HTTP_BODY_BYTES"] + 1
    head = gateway.head("POST", PATH, "Content-Type: application/json", "Transfer-Encoding: chunked")
    with gateway.connect() as one:
        try:
            if framing == "length":
                one.sendall(gateway.head("POST", PATH, length=size))
            else:
                one.sendall(head + b"%x\r\n" % size + b" " * size)
        except OSError:
            pass
        assert statuses(Answers(one).rest()) == [413]


def test_a_stranger_is_refused_before_its_body_is_read(gateway):
    with gateway.connect() as one:
        one.sendall(f"POST {PATH} HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: 3000000\r\n\r\n".encode())
        assert statuses(Answers(one).rest()) == [401]
    attack(19, "a large body without credentials", "refused before it is read")


def test_plain_http_is_told_where_it_is(gateway):
    with gateway.tcp() as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTPS" in Answers(one).rest()


def test_a_peer_that_resets_or_halves_its_connection_leaves_nothing(gateway):
    before = gateway.descriptors()
    for how in range(60):
        one = gateway.connect()
        one.sendall(gateway.head("GET", PATH + ("?watch=true" if how % 2 else "")))
        if how % 3 == 0:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif how % 3 == 1:
            one.shutdown(socket.SHUT_WR)
        one.close()
    gateway.until("descriptors come back", lambda: gateway.descriptors() <= before)


def test_a_second_request_would_be_seen(gateway):
    """What the corpus looks for is there to be found: behind a clear request stands another one."""
    with gateway.connect() as one:
        one.sendall(gateway.head("GET", PATH) + SMUGGLED.replace("Host: x\r\n", "Host: x\r\nConnection: close\r\n").encode())
        assert statuses(Answers(one).rest()) == [200, 401]
