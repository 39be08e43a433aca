# SPDX-License-Identifier: Apache-2.0
"""Ten thousand connections, slow ones, silent ones: others are served, memory and descriptors are bounded and given back.

Attacks 15 and 19, requirement "Nothing lost: resource exhaustion".
"""
import os
import select
import socket
import subprocess
import time

import pytest
from front import LIMIT, PATH, Answers, Flood, Gateway, GoodClient, configmap
from reliability import attack, outcome

LONG = os.environ.get("GABBRO_LONG") == "1"
MANY = [f"127.0.{a}.{b}" for a in range(1, 5) for b in range(1, 251)]
# What a stranger can make the gateway keep: its TLS session, two records of it, a head, what it sends ahead.
STRANGER_BYTES = 2 * LIMIT["HTTP_HEADER_BYTES"] + (64 << 10)
STRANGERS_BYTES = LIMIT["HTTP_UNAUTHENTICATED"] * STRANGER_BYTES
OWN_DESCRIPTORS = 64
BACK_BYTES = 24 << 20

HALF = b"GET /api HTTP/1.1\r\nHost: x\r\nX-Half: "
WRONG = b"GET /api HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer gbt1.wrongwrong.wrong\r\n\r\n"
FLOODS = [
    ("tcp", "one", 200000 if LONG else 25000, b"", False),
    ("tcp", "many", 200000 if LONG else 25000, b"", False),
    ("tls", "one", 10000 if LONG else 1200, b"", True),
    ("half-head", "many", 10000 if LONG else 2400, HALF + b"x" * 8000, True),
    ("refused", "many", 10000 if LONG else 1200, WRONG, True),
]


@pytest.mark.parametrize("kind,addresses,n,hello,tls", FLOODS, ids=[f"{f[0]}-{f[1]}" for f in FLOODS])
def test_a_flood_of_strangers_is_bounded_and_others_are_served(fresh, kind, addresses, n, hello, tls):
    fresh.ask("GET", PATH)
    memory, descriptors = fresh.resident(), fresh.descriptors()
    with GoodClient(fresh) as good, Flood(fresh, MANY if addresses == "many" else ["127.0.0.1"], hello, tls) as flood:
        begun = time.monotonic()
        flood.connect(n)
        took = time.monotonic() - begun
        peak = fresh.resident()
        assert fresh.descriptors() <= descriptors + LIMIT["HTTP_UNAUTHENTICATED"] + OWN_DESCRIPTORS
        assert peak <= memory + STRANGERS_BYTES
    # What is silent costs no time.
    with Flood(fresh, MANY, hello) as silent:
        silent.connect(500)
        cpu = fresh.cpu()
        select.select([], [], [], 1)
        idle = fresh.cpu() - cpu
        assert idle < 0.5
    fresh.until("descriptors come back", lambda: fresh.descriptors() <= descriptors + 8)
    fresh.until("memory comes back", lambda: fresh.resident() <= memory + BACK_BYTES)
    outcome("a flood of connections without credentials", "reads, writes and new connections of others",
            "served; memory and descriptors are bounded and come back")
    attack(19, "thousands of connections without credentials, silent or slow", "others are served; memory and descriptors are bounded and come back")
    print(f"{kind} from {addresses}: {n} in {took:.1f} s, memory {memory >> 20} -> {peak >> 20} -> {fresh.resident() >> 20} MiB, "
          f"good p99 {good.p99 * 1000:.0f} ms")


def test_an_administrator_gets_in_while_strangers_hold_every_place(fresh):
    """Also from the address that the strangers have."""
    with Flood(fresh, MANY) as others, Flood(fresh, ["127.0.0.1"]) as neighbours:
        others.connect(LIMIT["HTTP_UNAUTHENTICATED"])
        neighbours.connect(LIMIT["HTTP_UNAUTHENTICATED"])
        for source in ("127.0.0.1", "127.9.9.9"):
            with fresh.connect(source) as mine:
                assert fresh.ask("GET", PATH, connection=mine)[0] == 200
                # A connection that proved itself is not pushed out by those who come later.
                neighbours.connect(LIMIT["HTTP_UNAUTHENTICATED"] + 100)
                assert fresh.ask("GET", PATH, connection=mine)[0] == 200
    outcome("a flood of connections without credentials", "an administrator who connects meanwhile", "gets in, from any address, and stays")


def test_few_descriptors_bound_connections_and_nothing_spins(tmp_path):
    small = Gateway(tmp_path, descriptors=1024)
    try:
        with GoodClient(small), Flood(small, MANY) as flood:
            flood.connect(3000)
            assert small.descriptors() < 1024 - 256
        with Flood(small, MANY) as flood:
            flood.connect(1500)
            cpu = small.cpu()
            select.select([], [], [], 1)
            assert small.cpu() - cpu < 0.5
    finally:
        small.end()
    outcome("fewer descriptors than connections", "reads and writes of others", "served; nothing spins")
    assert b"too many open files" not in (tmp_path / "gateway.log").read_bytes().lower()


def test_slow_heads_are_cut_off_and_slow_bodies_hold_nobody_up(gateway):
    """A byte a second. Heads have ten seconds; a body is its user's own business until it is too late as well."""
    body = gateway.head("POST", PATH, length=100000) + b'{"kind":'
    slow = [gateway.connect() for _ in range(60)]
    halves = [gateway.connect() for _ in range(60)]
    try:
        with GoodClient(gateway):
            for one in slow:
                one.sendall(body)
            for one in halves:
                one.sendall(HALF)
            end = time.monotonic() + LIMIT["HTTP_HEADER_TIME_US"] / 1e6 + 2.5
            while time.monotonic() < end:
                select.select([], [], [], 1)
                for one in slow + halves:
                    try:
                        one.sendall(b" ")
                    except OSError:
                        pass
        for one in halves:
            assert b" 408 " in Answers(one).rest()[:20]
        for one in slow[:1]:
            one.settimeout(0.2)
            with pytest.raises(TimeoutError):  # not yet
                one.recv(1)
        if LONG:
            for one in slow:
                one.settimeout(LIMIT["HTTP_BODY_TIME_US"] / 1e6)
                assert b" 408 " in Answers(one).rest()[:20]
    finally:
        for one in slow + halves:
            one.close()


def test_bodies_under_way_are_charged_to_who_sends_them(fresh):
    """Two hundred bodies that are nearly complete would be 600 MB."""
    size = LIMIT["HTTP_BODY_BYTES"]
    memory, refused, held = fresh.resident(), 0, []
    piece = b" " * (size - 1)
    for _ in range(200 if LONG else 90):
        one = fresh.connect()
        try:
            one.sendall(fresh.head("POST", PATH, length=size) + piece)
        except OSError:
            pass  # it ended the connection behind its answer
        held.append(one)
    for one in held:
        one.settimeout(0.01)
        try:
            refused += b" 429 " in one.recv(100)
        except OSError:
            pass
    peak = fresh.resident()
    assert refused > 0
    assert peak - memory < LIMIT["HTTP_MEMORY_PER_PRINCIPAL"] + (64 << 20)
    for one in held:
        one.close()
    fresh.until("memory comes back", lambda: fresh.resident() <= memory + BACK_BYTES)
    assert fresh.ask("POST", PATH, configmap("after", "x"))[0] == 201
    outcome("bodies that never end", "writes of others", "served; who sends them is refused more than 128 MiB of them (429)")
    attack(19, "bodies that never end", "refused beyond a bound for each who sends them")
    print(f"{len(held)} bodies of {size} bytes, {refused} refused, memory {memory >> 20} -> {peak >> 20} -> {fresh.resident() >> 20} MiB")


def test_watches_that_never_read_are_bounded_and_hold_no_writer_up(fresh):
    n, writes, text = (1900, 400, "x" * 20000) if LONG else (1000, 100, "x" * 20000)
    fresh.ask("POST", PATH, configmap("w", "first"))
    memory, descriptors, watches = fresh.resident(), fresh.descriptors(), []
    try:
        for i in range(n):
            one = fresh.connect()
            table = ["Accept: application/json;as=Table;v=v1;g=meta.k8s.io"] if i % 2 else []
            one.sendall(fresh.head("GET", PATH + "?watch=true&includeObject=Object", *table))
            watches.append(one)
        took = []
        with GoodClient(fresh), fresh.connect() as mine:
            for i in range(writes):
                begun = time.monotonic()
                status, body = fresh.ask("PUT", PATH + "/w", configmap("w", text + str(i)), mine)
                took.append(time.monotonic() - begun)
                assert status == 200, body
        took.sort()
        peak = fresh.resident()
        # The ring of events, what waits in queues, and the sessions of all watches.
        bound = LIMIT["STORE_EVENT_RING_BYTES"] + 2 * LIMIT["WATCHES_AHEAD_BYTES"] + n * (96 << 10)
        assert peak - memory < bound
        assert took[-1] < 5
        # Whoever reads again sees all of it, or is told that it must list again.
        answers = Answers(watches[0])
        answers.until(b"\r\n\r\n")
        seen = b""
        while b"xxx" + str(writes - 1).encode() + b'"' not in seen and b'"code":410' not in seen:
            piece = answers.more()
            if not piece:
                break
            seen = seen[-30000:] + piece
        assert b"xxx" + str(writes - 1).encode() + b'"' in seen or b'"code":410' in seen
    finally:
        for one in watches:
            one.close()
    fresh.until("descriptors come back", lambda: fresh.descriptors() <= descriptors + 8)
    fresh.until("memory comes back", lambda: fresh.resident() <= memory + LIMIT["STORE_EVENT_RING_BYTES"] + BACK_BYTES)
    outcome("watches that never read", "writes meanwhile", "acknowledged as before")
    outcome("watches that never read", "those watches", "wait in bounded queues; read on, or are told to list again (410)")
    attack(19, "a thousand watches that never read", "bounded; writers are not held up; those watches read on or list again")
    print(f"{n} watches, {writes} writes: p99 {took[int(writes * .99)] * 1000:.0f} ms, memory {memory >> 20} -> {peak >> 20} -> "
          f"{fresh.resident() >> 20} MiB")


def test_answers_that_nobody_reads_are_charged_to_who_asked(fresh):
    for i in range(8):
        assert fresh.ask("POST", PATH, configmap(f"big-{i}", "x" * 1000000))[0] == 201
    memory, deaf, refused = fresh.resident(), [], 0
    for _ in range(400 if LONG else 200):
        one = fresh.connect()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(fresh.head("GET", PATH))
        deaf.append(one)
    fresh.until("all are answered", lambda: len(select.select(deaf[-20:], [], [], 0.1)[0]) == 20)
    peak = fresh.resident()
    for one in deaf[-20:]:
        refused += b" 429 " in one.recv(100)
    assert peak - memory < LIMIT["HTTP_MEMORY_PER_PRINCIPAL"] + (96 << 20)
    assert refused > 0
    for one in deaf:
        one.close()
    fresh.until("it is served again", lambda: fresh.ask("GET", PATH + "/big-0")[0] == 200)
    outcome("lists that nobody reads", "requests of others", "served; who asks is refused more than 128 MiB of them (429)")
    attack(19, "lists of everything that nobody reads", "refused beyond a bound for each who asks")
    print(f"{len(deaf)} lists that nobody reads: memory {memory >> 20} -> {peak >> 20} MiB")


def test_a_flood_of_handshakes_keeps_nobody_out(gateway):
    """Each is complete and thrown away; TLS 1.2 clients that ask to begin again are not obeyed."""
    with GoodClient(gateway):
        for _ in range(3000 if LONG else 400):
            gateway.connect().close()
    said = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{gateway.port}"], input="R\n", text=True,
                          capture_output=True, timeout=30)
    assert "no renegotiation" in said.stderr, said.stderr[-500:]
    attack(19, "handshakes thrown away, and renegotiation", "others are served; renegotiation is refused")
