# SPDX-License-Identifier: Apache-2.0
"""A hundred uploads at once, the bounds of half uploads, and a disk that is full. B29, B30; I8."""
import concurrent.futures
import hashlib
import os
import time

import pytest
from conftest import Gateway, begin_on_copy, image_bytes
from reliability import outcome
from small_disk import SmallDisk

COUNT, SIZE, PIECE = 100, 2 << 20, 300000


def test_100_uploads_at_once(fresh):
    """Each in pieces of its own connection, all interleaved."""
    before = fresh.resident()
    most = [before]

    def upload(n):
        data = image_bytes(SIZE, 1000 + n)
        path = fresh.image(f"image-{n}")
        place = fresh.create(path, SIZE, sha256=hashlib.sha256(data).hexdigest())
        connection = fresh.connect()
        for at in range(0, SIZE, PIECE):
            answer = fresh.patch(place, at, data[at:at + PIECE], connection)
            assert answer.status == 204, answer
        connection.close()
        most.append(fresh.resident())
        return hashlib.sha256(data).hexdigest()

    with concurrent.futures.ThreadPoolExecutor(COUNT) as pool:
        digests = list(pool.map(upload, range(COUNT)))
    assert fresh.blobs() == sorted(digests)
    for n in range(COUNT):
        fresh.await_phase(fresh.path(f"image-{n}"), "Ready")
    assert max(most) - before < 128 << 20, f"{(max(most) - before) >> 20} MiB more"
    outcome("a hundred uploads at once", "image: upload in pieces", "all are taken, in bounded memory")


def test_half_uploads_are_counted(fresh):
    """200 of a project: one more waits until another has ended."""
    for n in range(201):
        fresh.image(f"image-{n}")
    urls = [fresh.url(fresh.path(f"image-{n}"), 1000) for n in range(201)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda url: fresh.tus("POST", url, Upload_Length=1000), urls[:200]))
    assert {answer.status for answer in answers} == {201}
    answer = fresh.tus("POST", urls[200], Upload_Length=1000)
    assert answer.status == 429 and "too many half uploads" in answer.json["message"]
    assert fresh.grant(fresh.path("image-200"), 1000).status == 429
    assert fresh.tus("DELETE", answers[0].headers["Location"]).status == 204
    assert fresh.tus("POST", urls[200], Upload_Length=1000).status == 201


@pytest.mark.parametrize("plural", ["virtualimages", "virtualdisks"])
def test_half_uploads_count_towards_the_quota(fresh, plural):
    """Those for disks too: their files lie in the library until the disk has a volume."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "images"}, "spec": {"hard": {"images.storage": "3Mi"}}}
    assert fresh.ask("POST", "/api/v1/namespaces/default/resourcequotas", quota).status == 201
    first, second = fresh.image("a", plural), fresh.image("b")
    assert fresh.grant(first, 4 << 20).status == 403
    url = fresh.url(second, 2 << 20)
    place = fresh.create(first, 2 << 20)
    refused = fresh.tus("POST", url, Upload_Length=2 << 20)
    assert refused.status == 403 and "images.storage" in refused.json["message"], "the other half upload has its room already"
    assert fresh.tus("DELETE", place).status == 204
    place = fresh.tus("POST", url, Upload_Length=2 << 20).headers["Location"]
    assert fresh.patch(place, 0, image_bytes(2 << 20)).status == 204
    assert fresh.grant(first, 2 << 20).status == 403
    assert fresh.patch(fresh.create(first, 1 << 20), 0, image_bytes(1 << 20, 8)).status == 204, "this is left"
    assert fresh.grant(fresh.image("c", plural), 1).status == 403
    end = time.monotonic() + 10
    while (used := fresh.ask("GET", "/api/v1/namespaces/default/resourcequotas/images").json["status"]["used"]) != {"images.storage": "3Mi"}:
        assert time.monotonic() < end, used
        time.sleep(0.05)  # the status follows


@pytest.fixture
def small_disk(first_start, tmp_path):
    """A gateway on 40 MiB, and its disk."""
    disk = SmallDisk(tmp_path / "disk", 40)
    made = begin_on_copy(first_start, Gateway(tmp_path, disk.prefix, disk.mount / "data", disk.outside / "data"))
    yield made, disk
    made.end()
    disk.end()


def test_a_full_disk(small_disk):
    """507; what came is kept, and with room it goes on."""
    (gateway, disk), data = small_disk, image_bytes(16 << 20, 7)
    digest = hashlib.sha256(data).hexdigest()
    path = gateway.image("a")
    place = gateway.create(path, len(data), sha256=digest)
    assert gateway.patch(place, 0, data[:1 << 20]).status == 204
    disk.leave(8 << 20)
    try:
        answer = gateway.patch(place, 1 << 20, data[1 << 20:])
        assert answer.status == 507 and "full" in answer.json["message"], answer
    except OSError:
        pass  # the connection is closed on who goes on sending
    at = gateway.settled(place)
    assert 1 << 20 <= at < len(data)
    left = os.statvfs(gateway.outside)
    assert left.f_bavail * left.f_frsize >= left.f_blocks * left.f_frsize // 16 - (64 << 10), "a sixteenth stays, but for what the gateway wrote besides"
    assert gateway.ask("GET", "/readyz").status == 200, "the store has room: uploads do not take the last of it"
    gateway.restart()
    assert gateway.settled(place) >= at
    disk.give_back()
    at = gateway.settled(place)
    assert gateway.patch(place, at, data[at:]).status == 204
    assert gateway.status(path)["ingest"]["digest"] == digest
    outcome("the disk of the gateway is full", "image: upload in pieces", "507; what came is kept, and with room it goes on")
