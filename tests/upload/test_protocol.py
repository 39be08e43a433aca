# SPDX-License-Identifier: Apache-2.0
"""The tus 1.0 protocol, header by header, over plain HTTP. B29, B30."""
import base64
import email.utils
import hashlib
import os
import subprocess
import time

import pytest
from conftest import BYTES, image_bytes

DATA = image_bytes(3 << 20)


def b64(data):
    return base64.b64encode(data).decode()


def test_options_tell_what_is_spoken(gateway):
    for path in ("/uploads/v1/", "/uploads/v1/" + "0" * 32):
        answer = gateway.tus("OPTIONS", path, Tus_Resumable=None)
        assert answer.status == 204 and answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,checksum,expiration,termination"
        assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,sha512" and answer.headers["Tus-Max-Size"] == str(4 << 40)


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1"])
def test_another_version_is_refused(gateway, version):
    for method, path in (("POST", "/uploads/v1/"), ("HEAD", "/uploads/v1/" + "0" * 32), ("PATCH", "/uploads/v1/x")):
        answer = gateway.tus(method, path, Tus_Resumable=version)
        assert answer.status == 412 and answer.headers["Tus-Version"] == "1.0.0"


@pytest.mark.parametrize("plural", ["virtualimages", "clustervirtualimages", "virtualdisks"])
def test_an_image_comes_in_pieces(gateway, name, plural):
    path = gateway.image(name, plural)
    granted = gateway.grant(path, len(DATA)).json
    assert granted["url"] == f"https://127.0.0.1:{gateway.port}{granted['path']}" and granted["size"] == len(DATA) and "resume" not in granted
    answer = gateway.tus("POST", granted["path"], Upload_Length=len(DATA), Upload_Metadata=f"filename {b64(b'a.raw')}")
    assert answer.status == 201 and answer.offset == 0
    upload = answer.headers["Location"]
    connection = gateway.connect()
    for offset in range(0, len(DATA), 700000):
        seen = gateway.head(upload)
        assert (seen.status, seen.offset, seen.headers["Upload-Length"]) == (200, offset, str(len(DATA)))
        assert seen.headers["Upload-Metadata"] == f"filename {b64(b'a.raw')}" and "no-store" in seen.headers.get_all("Cache-Control")
        expires = email.utils.parsedate_to_datetime(seen.headers["Upload-Expires"]).timestamp()
        assert 86000 < expires - time.time() <= 86401
        answer = gateway.patch(upload, offset, DATA[offset:offset + 700000], connection)
        assert answer.status == 204 and answer.offset == min(offset + 700000, len(DATA)), answer
    connection.close()
    ingest = gateway.status(path)["ingest"]
    assert ingest["digest"] == hashlib.sha256(DATA).hexdigest() and ingest["sizeBytes"] == len(DATA)
    if plural != "virtualdisks":
        gateway.await_phase(path, "Ready")
    assert gateway.head(upload).offset == len(DATA), "a client whose answer was lost hears that all is there"
    assert gateway.patch(upload, len(DATA), b"").status == 410


def test_creation_with_upload(gateway, image):
    url = gateway.url(image, len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
    answer = gateway.tus("POST", url, DATA[:1000], Upload_Length=len(DATA), Content_Type=BYTES)
    assert answer.status == 201 and answer.offset == 1000
    assert gateway.patch(answer.headers["Location"], 1000, DATA[1000:]).status == 204
    gateway.await_phase(image, "Ready")


def test_creation_with_all_of_it(gateway, image):
    answer = gateway.tus("POST", gateway.url(image, len(DATA)), DATA, Upload_Length=len(DATA), Content_Type=BYTES)
    assert answer.status == 201 and answer.offset == len(DATA)
    gateway.await_phase(image, "Ready")


def test_a_chunked_body_and_an_overridden_method(gateway, image):
    upload = gateway.create(image, len(DATA))
    pieces = (DATA[at:at + 10000] for at in range(0, len(DATA), 10000))
    answer = gateway.tus("POST", upload, pieces, Upload_Offset=0, Content_Type=BYTES, X_HTTP_Method_Override="PATCH")
    assert answer.status == 204 and answer.offset == len(DATA)
    gateway.await_phase(image, "Ready")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_checksums(gateway, image, algorithm):
    upload = gateway.create(image, len(DATA))
    at = 0
    for piece in (DATA[:1 << 20], DATA[1 << 20:]):
        good = f"{algorithm} {b64(hashlib.new(algorithm, piece).digest())}"
        wrong = f"{algorithm} {b64(hashlib.new(algorithm, b'other').digest())}"
        assert gateway.patch(upload, at, piece, Upload_Checksum=wrong).status == 460
        assert gateway.head(upload).offset == at, "nothing of it was taken"
        assert gateway.patch(upload, at, piece, Upload_Checksum="crc32 AAAAAA==").status == 400
        assert gateway.patch(upload, at, piece, Upload_Checksum=good).status == 204
        at += len(piece)
    gateway.await_phase(image, "Ready")


@pytest.mark.parametrize("headers, status", [
    ({"Upload_Offset": 1}, 409), ({"Upload_Offset": len(DATA)}, 409), ({"Upload_Offset": len(DATA) + 1}, 409), ({"Upload_Offset": -1}, 400),
    ({"Upload_Offset": "0x0"}, 400), ({"Upload_Offset": 2 ** 64}, 400), ({"Upload_Offset": None}, 400), ({"Content_Type": "application/octet-stream"}, 415),
    ({"Content_Type": None}, 415)])
def test_what_a_patch_needs(gateway, image, headers, status):
    upload = gateway.create(image, len(DATA))
    answer = gateway.tus("PATCH", upload, b"x", **{"Upload_Offset": 0, "Content_Type": BYTES, **headers})
    assert answer.status == status and answer.json["kind"] == "Status"
    assert gateway.head(upload).offset == 0


@pytest.mark.parametrize("headers, status", [
    ({"Upload_Length": None}, 400), ({"Upload_Length": None, "Upload_Defer_Length": 1}, 400), ({"Upload_Length": -1}, 400), ({"Upload_Length": 2 ** 63}, 400),
    ({"Upload_Length": (4 << 40) + 1}, 413), ({"Upload_Length": 999}, 403), ({"Upload_Metadata": "a !"}, 400), ({"Upload_Metadata": "a " + "A" * 8000}, 400)])
def test_what_a_creation_needs(gateway, image, headers, status):
    url = gateway.url(image, 1000)
    assert gateway.tus("POST", url, **{"Upload_Length": 1000, **headers}).status == status
    assert gateway.tus("POST", url, Upload_Length=1000).status == 201, "and the token is still good"


@pytest.mark.parametrize("query, status", [("size=0", 400), ("", 400), ("size=x", 400), ("size=5&sha256=12", 400), (f"size={5 << 40}", 413), ("size=5&life=0", 400),
                                           ("size=5&life=99999", 400)])
def test_what_a_token_needs(gateway, image, query, status):
    assert gateway.ask("GET", f"{image}/upload?{query}").status == status


def test_termination(gateway, image):
    upload = gateway.create(image, len(DATA))
    assert gateway.patch(upload, 0, DATA[:1000]).status == 204
    gateway.await_phase(image, "Provisioning")
    assert gateway.tus("DELETE", upload).status == 204
    assert [gateway.tus(method, upload).status for method in ("HEAD", "DELETE")] == [410, 410]
    assert gateway.patch(upload, 1000, DATA[1000:]).status == 410
    assert not [name for name in gateway.uploads() if upload[-32:] + ".part" == name]
    gateway.await_phase(image, "WaitForUserUpload")
    assert gateway.patch(gateway.create(image, len(DATA)), 0, DATA).status == 204, "and another one can be begun"


def test_unknown_uploads_and_methods(gateway, image):
    for method in ("HEAD", "PATCH", "DELETE"):
        for bad in ("0" * 32, "x", "..%2f..%2fstore.db", "a/b"):
            assert gateway.tus(method, "/uploads/v1/" + bad).status in (400, 404)
    upload = gateway.create(image, 5)
    assert gateway.tus("GET", upload).status == 405 and gateway.tus("PUT", upload).status == 405 and gateway.tus("GET", "/uploads/v1/").status == 405


def test_a_user_finds_a_half_upload_again(gateway, image):
    sha256 = hashlib.sha256(DATA).hexdigest()
    upload = gateway.create(image, len(DATA), sha256=sha256)
    assert gateway.patch(upload, 0, DATA[:1000]).status == 204
    found = gateway.grant(image, len(DATA), sha256=sha256).json["resume"]
    assert found["path"] == upload and found["offset"] == 1000
    for other in ({"sha256": "0" * 64}, {}, {"sha256": "0" * 64, "resume": 1}):
        assert "resume" not in gateway.grant(image, len(DATA), **other).json, "of another file, or not known"
    assert gateway.grant(image, len(DATA), resume=1).json["resume"]["path"] == upload, "unless its user says so"
    assert "resume" not in gateway.grant(image, len(DATA) + 1, resume=1).json
    again = gateway.create(image, len(DATA), sha256=sha256)
    assert gateway.head(upload).status == 410 and gateway.head(again).offset == 0, "a new one takes the place of it"


def test_put_still_works_and_ends_what_was_begun(gateway, image):
    upload = gateway.create(image, len(DATA))
    assert gateway.patch(upload, 0, DATA[:1000]).status == 204
    put = gateway.send("PUT", f"{image}/upload", DATA, {"Authorization": f"Bearer {gateway.token}"})
    assert put.status == 200, put
    assert gateway.patch(upload, 1000, DATA[1000:]).status == 410
    assert gateway.grant(image, len(DATA)).status == 409


@pytest.mark.parametrize("plural, ready", [("virtualimages", "Ready"), ("clustervirtualimages", "Ready"), ("virtualdisks", "WaitForFirstConsumer")])
def test_the_status_tells_how_to_send_the_file(gateway, name, plural, ready, tmp_path):
    path = gateway.image(name, plural)
    status = gateway.await_phase(path, "WaitForUserUpload")
    assert status["imageUploadURLs"] == {"external": f"{path}/upload"}
    (tmp_path / "FILE").write_bytes(DATA)
    (tmp_path / "ca.pem").write_text(gateway.ca)
    env = dict(os.environ, TOKEN=gateway.token, GATEWAY=f"https://127.0.0.1:{gateway.port}", CURL_CA_BUNDLE=str(tmp_path / "ca.pem"))
    subprocess.run(["sh", "-ec", status["uploadCommand"] + " -sf"], cwd=tmp_path, env=env, check=True, stdout=subprocess.DEVNULL, timeout=60)
    status = gateway.await_phase(path, ready)
    assert status["ingest"]["digest"] == hashlib.sha256(DATA).hexdigest() and "uploadCommand" not in status and "imageUploadURLs" not in status


def test_it_is_written_who_uploaded(gateway, image):
    before = (gateway.data / "audit.log").read_text()
    upload = gateway.create(image, len(DATA))
    for at in range(0, 10000, 1000):
        assert gateway.patch(upload, at, DATA[at:at + 1000]).status == 204
    end = time.monotonic() + 10
    while upload[-32:] not in (written := (gateway.data / "audit.log").read_text()[len(before):]):
        assert time.monotonic() < end
        time.sleep(0.05)
    lines = [line for line in written.splitlines() if '"upload"' in line and image.rsplit("/", 1)[1] in line]
    assert len(lines) == 2 and all('"gabbro:admin"' in line for line in lines), "the token and the upload, no line for each piece"
