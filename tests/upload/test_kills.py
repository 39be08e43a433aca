# SPDX-License-Identifier: Apache-2.0
"""Client and gateway die at any byte: what was acknowledged is there, and the upload goes on to the right digest. B29, B34; I4."""
import gzip
import hashlib
import http.client
import random
import threading
import time

import pytest
from conftest import image_bytes
from reliability import outcome

DATA = image_bytes(6 << 20, 2)
DIGEST = hashlib.sha256(DATA).hexdigest()


def finish(gateway, upload, offset, step=1 << 20):
    while offset < len(DATA):
        answer = gateway.patch(upload, offset, DATA[offset:offset + step])
        assert answer.status == 204, answer
        offset = answer.offset


def test_the_client_dies_at_random_bytes(gateway, image):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    upload = gateway.create(image, len(DATA), sha256=DIGEST)
    at = 0
    for _ in range(20):
        sent = chance.choice([0, 1, 4095, 65536, chance.randrange(len(DATA) // 20)])
        connection = gateway.begin_patch(upload, at, len(DATA) - at, DATA[at:at + sent])
        connection.sock.close()
        connection.close()
        now = gateway.settled(upload)
        assert at <= now <= at + sent, seed
        at = now
    finish(gateway, upload, at)
    assert gateway.status(image)["ingest"]["digest"] == DIGEST
    outcome("client killed at random bytes, again and again", "image: upload in pieces", "goes on from what came; the digest is right")


def test_the_gateway_dies_at_random_bytes(fresh):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    path = fresh.image("a")
    upload = fresh.create(path, len(DATA), sha256=DIGEST)
    acknowledged = 0
    for _ in range(8):
        step = chance.randrange(1, 400000)
        answer = fresh.patch(upload, acknowledged, DATA[acknowledged:acknowledged + step])
        assert answer.status == 204
        acknowledged = answer.offset
        connection = fresh.begin_patch(upload, acknowledged, len(DATA) - acknowledged, DATA[acknowledged:acknowledged + chance.randrange(300000)])
        if chance.random() < 0.5:
            time.sleep(chance.random() / 50)
        fresh.restart()
        connection.close()
        now = fresh.settled(upload)
        assert now >= acknowledged, f"{now} < {acknowledged}: acknowledged bytes are gone (seed {seed})"
        acknowledged = now
    finish(fresh, upload, acknowledged)
    assert fresh.status(path)["ingest"]["digest"] == DIGEST
    fresh.await_phase(path, "Ready")
    assert fresh.blobs() == [DIGEST]
    fresh.await_uploads([upload[-32:] + ".record"])
    outcome("gateway killed at random bytes, again and again", "image: upload in pieces",
            "every acknowledged byte is there; the upload goes on and ends with the right digest, nothing is left behind")


def test_a_kill_between_creation_and_the_first_byte(fresh):
    path = fresh.image("a")
    upload = fresh.create(path, len(DATA))
    fresh.restart()
    assert fresh.settled(upload) == 0
    finish(fresh, upload, 0)
    assert fresh.status(path)["ingest"]["digest"] == DIGEST


def test_a_kill_in_a_piece_with_a_checksum_leaves_nothing_of_it(fresh):
    path = fresh.image("a")
    upload = fresh.create(path, len(DATA))
    assert fresh.patch(upload, 0, DATA[:1 << 20]).status == 204
    connection = fresh.begin_patch(upload, 1 << 20, 3 << 20, DATA[1 << 20:3 << 20], **{"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="})
    part = fresh.data / f"blobs/uploads/{upload[-32:]}.part"
    end = time.monotonic() + 20
    while part.stat().st_size <= 1 << 20:
        assert time.monotonic() < end
        time.sleep(0.01)
    fresh.restart()
    connection.close()
    assert fresh.settled(upload) == 1 << 20
    finish(fresh, upload, 1 << 20)
    assert fresh.status(path)["ingest"]["digest"] == DIGEST


@pytest.mark.parametrize("delay_ms", [0, 3, 8, 15, 25])
def test_a_kill_around_the_finish(fresh, delay_ms):
    """All bytes are sent; the gateway dies while it syncs, hashes, judges, stores or tells. It ends the work by itself."""
    path = fresh.image("a")
    upload = fresh.create(path, len(DATA), sha256=DIGEST)
    assert fresh.patch(upload, 0, DATA[:-1000]).status == 204
    said = []

    def last():
        try:
            said.append(fresh.patch(upload, len(DATA) - 1000, DATA[-1000:]).status)
        except (OSError, http.client.HTTPException):
            pass

    thread = threading.Thread(target=last)
    thread.start()
    time.sleep(delay_ms / 1000)
    fresh.restart()
    thread.join()
    offset = fresh.settled(upload)
    assert offset == len(DATA) or said != [204]
    finish(fresh, upload, offset)
    fresh.await_phase(path, "Ready")
    assert fresh.status(path)["ingest"]["digest"] == DIGEST and fresh.blobs() == [DIGEST]
    assert fresh.head(upload).offset == len(DATA)
    fresh.restart()
    assert fresh.head(upload).offset == len(DATA)
    fresh.await_uploads([upload[-32:] + ".record"])
    outcome("gateway killed around the end of an upload", "image: upload in pieces",
            "it goes on by itself when it is back: the image is ready, the client hears that all is there")


def test_a_complete_upload_is_finished_without_its_client(fresh):
    """The last byte came, and then both died: nobody has to ask."""
    path = fresh.image("a")
    upload = fresh.create(path, len(DATA))
    assert fresh.patch(upload, 0, DATA[:-1]).status == 204
    fresh.kill()
    with open(fresh.data / f"blobs/uploads/{upload[-32:]}.part", "ab") as part:
        part.write(DATA[-1:])
    fresh.begin()
    fresh.await_phase(path, "Ready")
    assert fresh.status(path)["ingest"]["digest"] == DIGEST


def test_an_upload_survives_an_ordinary_restart(fresh):
    path = fresh.image("a")
    upload = fresh.create(path, len(DATA))
    assert fresh.patch(upload, 0, DATA[:12345]).status == 204
    fresh.end()
    fresh.begin()
    assert fresh.settled(upload) == 12345
    finish(fresh, upload, 12345)
    assert fresh.status(path)["ingest"]["digest"] == DIGEST


def growing(file):
    """A file of the intake that has a megabyte of its own, which may go while it is looked at."""
    try:
        seen = file.stat()
    except FileNotFoundError:
        return False
    return seen.st_nlink == 1 and seen.st_size > 1 << 20


@pytest.mark.parametrize("end", ["kill", "end"])
def test_a_packed_image_is_unpacked_after_a_restart(fresh, end):
    """The gateway dies, or is stopped, while it unpacks what was uploaded: it begins that anew, and leaves nothing behind."""
    plain = DATA * 6
    packed = gzip.compress(plain, 1)
    path = fresh.image("a")
    upload = fresh.create(path, len(packed), sha256=hashlib.sha256(packed).hexdigest())
    assert fresh.patch(upload, 0, packed[:-1]).status == 204
    connection = fresh.begin_patch(upload, len(packed) - 1, 1, packed[-1:])
    intake = fresh.data / "blobs/intake"
    until = time.monotonic() + 20
    while not any(growing(file) for file in intake.iterdir()) and not fresh.blobs():
        assert time.monotonic() < until
    getattr(fresh, end)()
    connection.close()
    fresh.begin()
    fresh.await_phase(path, "Ready")
    assert fresh.status(path)["ingest"]["digest"] == hashlib.sha256(plain).hexdigest()
    assert fresh.blobs() == [hashlib.sha256(plain).hexdigest()] and not list(intake.iterdir())
    assert fresh.head(upload).offset == len(packed)
    fresh.await_uploads([upload[-32:] + ".record"])


@pytest.mark.parametrize("end", ["client", "gateway"])
def test_a_plain_upload_that_breaks_off_leaves_nothing(fresh, end):
    """It cannot be gone on with: the image waits for its file again, and takes it."""
    path, data = fresh.image("plain"), image_bytes(8 << 20, 3)
    fresh.await_phase(path, "WaitForUserUpload")
    connection = fresh.connect()
    connection.putrequest("PUT", f"{path}/upload")
    connection.putheader("Authorization", f"Bearer {fresh.token}")
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()
    connection.send(data[:5 << 20])
    fresh.await_phase(path, "Provisioning")
    intake = fresh.data / "blobs/intake"
    assert len(list(intake.iterdir())) == 1
    if end == "gateway":
        fresh.restart()
    connection.close()
    assert "ingest" not in fresh.await_phase(path, "WaitForUserUpload")
    assert list(intake.iterdir()) == [] and fresh.blobs() == []
    assert fresh.send("PUT", f"{path}/upload", data, {"Authorization": f"Bearer {fresh.token}"}).status == 200
    assert fresh.await_phase(path, "Ready")["ingest"]["digest"] == hashlib.sha256(data).hexdigest()
    outcome(f"{end} killed in the middle", "image: plain upload by PUT", "nothing is left of the half file; the image waits for its file again")
