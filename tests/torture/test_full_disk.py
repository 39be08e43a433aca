# SPDX-License-Identifier: Apache-2.0
"""The gateway's data folder on a real file system that is full: writes are refused in words, reads go on, and with room it goes on.

Requirement "Nothing lost: the gateway's disk is full", invariant I4, attack 33.
"""
import ctypes
import os
import pathlib
import subprocess
import time

import load
import pytest
import reliability
from gateway import Client, Gateway

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
DISK_BYTES = 24 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs in a mount namespace of its own, that a helper process holds; this process sees it through /proc."""
    mount = tmp_path / "disk"
    mount.mkdir()

    def alone():
        libc = ctypes.CDLL(None, use_errno=True)
        for r in (libc.unshare(CLONE_NEWNS), libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None),
                  libc.mount(b"tmpfs", str(mount).encode(), b"tmpfs", 0, f"size={DISK_BYTES},mode=0700".encode())):
            if r:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    try:
        holder = subprocess.Popen(["cat"], stdin=subprocess.PIPE, preexec_fn=alone)
    except subprocess.SubprocessError as error:
        pytest.skip(f"no mount namespace: {error}")
    yield pathlib.Path(f"/proc/{holder.pid}/root{mount}"), ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"], mount
    holder.stdin.close()
    holder.wait()


class Disk(Gateway):
    """Its data on the small disk, its log not."""

    def __init__(self, folder, small_disk):
        self.outside, prefix, mount = small_disk
        super().__init__(folder, prefix=prefix)

    data = property(lambda self: self.outside / "data", lambda self, _: None)

    def spawn(self):
        self.said = self.log.stat().st_size if self.log.exists() else 0
        argv = [*self.prefix, self.program, "--data-dir", str(self.outside).split("/root", 1)[1] + "/data", "--listen", f"127.0.0.1:{self.port}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def fill(self):
        with open(self.outside / "ballast", "ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 4096)
            except OSError:
                pass

    def make_room(self):
        (self.outside / "ballast").unlink()


def create(client, n, filling=2000):
    key = f"configmaps/default/k{n}"
    return client.ask("POST", load.path_of("configmaps/default/"), load.manifest(key, f"w:red:{n}", filling))


def until_refused(client, there):
    """Writes until one is refused; @there: those that were acknowledged."""
    while True:
        n = max(there, default=-1) + 1
        status, answer = create(client, n)
        if status != 201:
            return n, status, answer
        there.add(n)


def names(client):
    return {int(item["metadata"]["name"][1:]) for item in client.ask("GET", load.path_of("configmaps/default/"))[1]["items"]
            if item["metadata"]["name"].startswith("k")}


def ready(client, seconds=30):
    end = time.monotonic() + seconds
    while client.ask("GET", "/readyz")[0] != 200:
        assert time.monotonic() < end, client.ask("GET", "/readyz")
        time.sleep(0.2)


def test_a_full_disk_refuses_writes_in_words_and_goes_on_when_there_is_room(tmp_path, small_disk):
    gateway = Disk(tmp_path, small_disk)
    client, there = Client(gateway), set()
    for n in range(20):
        assert create(client, n)[0] == 201
        there.add(n)
    gateway.fill()
    n, status, answer = until_refused(client, there)
    assert status == 507 and answer["reason"] == "InsufficientStorage" and "disk of the gateway is full" in answer["message"], answer
    for _ in range(20):
        assert create(client, n)[0] == 507
    assert names(client) == there  # reads go on, and show nothing that was refused
    status, answer = client.ask("GET", "/readyz")
    assert status == 503 and "disk of the gateway is full" in str(answer), answer
    assert gateway.words().count("the disk is full") == 1 and "No space left on device" in gateway.words()
    gateway.make_room()
    ready(client)
    assert create(client, n)[0] == 201
    there.add(n)
    assert "has room again" in gateway.words()
    assert gateway.process.poll() is None
    # The same through a kill while the disk is full: nothing that was acknowledged is missing.
    gateway.fill()
    n, status, answer = until_refused(client, there)
    assert status == 507, answer
    gateway.kill()
    gateway.make_room()
    client.drop()
    gateway.begin()
    assert names(client) == there
    assert create(client, n)[0] == 201
    client.drop()
    gateway.end()
    reliability.outcome("the disk of the gateway is full", "write over the API",
                        "refused with 507 and the cause; reads and watches go on; with room again writes are taken, nothing was lost")


def test_a_gateway_that_begins_on_a_full_disk_reads_or_says_why_not(tmp_path, small_disk):
    gateway = Disk(tmp_path, small_disk)
    client, there = Client(gateway), {0}
    assert create(client, 0)[0] == 201
    gateway.kill()
    gateway.fill()
    client.drop()
    gateway.begin()
    assert names(client) == there
    n, status, answer = until_refused(client, there)
    assert status == 507, answer
    gateway.make_room()
    assert create(client, n)[0] == 201
    there.add(n)
    client.drop()
    gateway.end()  # in order: the files that it needs beside the database are gone
    gateway.fill()
    gateway.spawn()
    code = gateway.process.wait(30)
    assert code == 1 and "cannot open the store" in gateway.words() and "store.db" in gateway.words(), (code, gateway.words())
    gateway.make_room()
    gateway.begin()
    assert names(client) == there
    client.drop()
    gateway.end()
    reliability.outcome("the disk of the gateway is full", "start of the gateway",
                        "serves reads after a kill; after an orderly end it ends again and says why; starts when there is room, nothing was lost")
