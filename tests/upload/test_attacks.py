# SPDX-License-Identifier: Apache-2.0
"""Attack 7: uploads that lie about their hash, size, place, time or owner, and two that come at once. I5, I10."""
import base64
import concurrent.futures
import hashlib
import json
import os
import time

from conftest import BYTES, image_bytes
from reliability import attack

DATA = image_bytes(1 << 20, 3)
DIGEST = hashlib.sha256(DATA).hexdigest()


def halves(gateway, upload):
    return [name for name in gateway.uploads() if name.startswith(upload[-32:])]


def test_attack_7_a_wrong_hash(gateway, image):
    upload = gateway.create(image, len(DATA), sha256="0" * 64)
    answer = gateway.patch(upload, 0, DATA)
    assert answer.status == 422 and DIGEST in answer.json["message"]
    assert answer.json["details"]["causes"][0]["reason"] == "ImageDigestMismatch"
    gateway.await_phase(image, "Failed")
    assert gateway.head(upload).status == 410 and DIGEST not in gateway.blobs()
    end = time.monotonic() + 10
    while halves(gateway, upload) != [upload[-32:] + ".record"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert gateway.patch(gateway.create(image, len(DATA), sha256=DIGEST.upper()), 0, DATA).status == 204, "the right one is taken afterwards"
    gateway.await_phase(image, "Ready")
    attack(7, "an upload in pieces that does not hash to what was promised", "refused (422), nothing is kept; the object says why")


def test_attack_7_a_piece_that_was_cut_off(gateway, image):
    upload = gateway.create(image, len(DATA), sha256=DIGEST)
    connection = gateway.begin_patch(upload, 0, len(DATA), DATA[:300000])
    connection.sock.close()
    connection.close()
    at = gateway.settled(upload, lambda offset: offset > 0)
    assert at <= 300000
    connection = gateway.begin_patch(upload, at, 1000, DATA[at:at + 500], **{"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="})
    connection.sock.close()
    connection.close()
    time.sleep(0.05)
    assert gateway.settled(upload) == at, "with a checksum all or nothing counts"
    assert gateway.patch(upload, at, DATA[at:]).status == 204
    assert gateway.status(image)["ingest"]["digest"] == DIGEST
    attack(7, "a piece that is cut off", "counts as far as it came, with a checksum not at all; the digest of the whole is right in the end")


def test_attack_7_pieces_that_overlap_or_leave_a_gap(gateway, image):
    upload = gateway.create(image, len(DATA))
    assert gateway.patch(upload, 0, DATA[:1000]).status == 204
    for offset in (0, 1, 999, 1001, len(DATA) - 1, len(DATA)):
        assert gateway.patch(upload, offset, b"\0" * 10).status == 409
    assert gateway.head(upload).offset == 1000
    assert gateway.patch(upload, 1000, DATA[1000:]).status == 204
    assert gateway.status(image)["ingest"]["digest"] == DIGEST
    attack(7, "pieces that overlap, come out of order or leave a gap", "refused (409), the bytes stay as they were")


def test_attack_7_more_bytes_than_were_announced(gateway, image):
    upload = gateway.create(image, len(DATA))
    assert gateway.patch(upload, 0, DATA[:1000]).status == 204
    assert gateway.patch(upload, 1000, DATA).status == 413
    assert gateway.head(upload).offset == 1000
    try:
        answer = gateway.patch(upload, 1000, (DATA[at:at + 50000] for at in range(0, len(DATA), 50000)))
        assert answer.status == 413
    except OSError:
        pass  # the connection is closed on who goes on sending
    assert gateway.settled(upload) == 1000, "of a body without a length nothing counts either"
    for length in ("-1", "18446744073709551616", "1e3", "0x10", "5, 6"):
        connection = gateway.connect()
        connection.putrequest("PATCH", upload)
        for name, value in {"Tus-Resumable": "1.0.0", "Upload-Offset": "1000", "Content-Type": BYTES, "Content-Length": length}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 400
        connection.close()
    assert gateway.patch(upload, 1000, DATA[1000:]).status == 204
    attack(7, "bodies that reach beyond the announced size, and lengths that are none", "refused (413, 400), nothing of them counts")


def test_attack_7_two_uploaders(gateway, image):
    upload = gateway.create(image, len(DATA))
    first = gateway.begin_patch(upload, 0, len(DATA), DATA[:1000])
    end = time.monotonic() + 20
    while gateway.head(upload).status != 423:
        assert time.monotonic() < end
    assert gateway.patch(upload, 0, b"\0" * len(DATA)).status == 423
    assert gateway.tus("DELETE", upload).status == 423
    assert gateway.tus("POST", gateway.url(image, len(DATA)), Upload_Length=len(DATA)).status == 423, "nor one with a token of its own"
    put = gateway.send("PUT", f"{image}/upload", b"x", {"Authorization": f"Bearer {gateway.token}"})
    assert put.status == 409
    first.send(DATA[1000:])
    assert first.getresponse().status == 204
    first.close()
    assert gateway.status(image)["ingest"]["digest"] == DIGEST
    attack(7, "two who upload at once, by one address, two tokens, or the plain upload", "the second is refused (423, 409); the first one's bytes stand")


def test_attack_7_one_token_many_creations(gateway, image):
    url = gateway.url(image, len(DATA))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: gateway.tus("POST", url, Upload_Length=len(DATA)), range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [403] * 19
    upload = next(answer for answer in answers if answer.status == 201).headers["Location"]
    assert gateway.patch(upload, 0, DATA).status == 204
    for _ in range(2):
        assert gateway.tus("POST", url, Upload_Length=len(DATA)).status == 403, "nor when it is complete"
    attack(7, "a token used twice, also at once, after completion, and after a restart", "makes one upload; refused (403)")


def test_attack_7_a_token_after_a_restart(fresh):
    path = fresh.image("a")
    url = fresh.url(path, len(DATA))
    upload = fresh.tus("POST", url, Upload_Length=len(DATA)).headers["Location"]
    fresh.restart()
    assert fresh.tus("POST", url, Upload_Length=len(DATA)).status == 403
    assert fresh.patch(upload, 0, DATA).status == 204
    fresh.restart()
    assert fresh.tus("POST", url, Upload_Length=len(DATA)).status == 403
    assert fresh.tus("POST", fresh.url(fresh.image("b"), 5), Upload_Length=5).status == 201, "tokens of this gateway are good after a restart"


def test_attack_7_an_expired_token(gateway, image):
    url = gateway.url(image, len(DATA), life=1)
    time.sleep(1.1)
    answer = gateway.tus("POST", url, Upload_Length=len(DATA))
    assert answer.status == 403 and "expired" in answer.json["message"]
    attack(7, "an expired token", "refused (403)")


def forge(token, **change):
    head, body, mac = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return ".".join([head, base64.urlsafe_b64encode(json.dumps({**said, **change}).encode()).decode().rstrip("="), mac])


def test_attack_7_a_token_for_another_image(gateway, image, name):
    other = gateway.image(name + "-2")
    uid = gateway.ask("GET", other).json["metadata"]["uid"]
    token = gateway.url(image, len(DATA)).split("token=")[1]
    for change in ({"name": name + "-2"}, {"uid": uid}, {"name": name + "-2", "uid": uid}, {"namespace": "kube-system"}, {"kind": "VirtualDisk"},
                   {"size": 5}, {"user": "gabbro:admin", "groups": ["gabbro:administrators"]}, {"expires": 2 ** 60}, {"id": "0" * 32}):
        answer = gateway.tus("POST", f"/uploads/v1/?token={forge(token, **change)}", Upload_Length=change.get("size", len(DATA)))
        assert answer.status == 401, change
    for bad in ("", "gbu1", "gbu1.e30.e30", token[:-5], token + "A" * 20, gateway.token):
        assert gateway.tus("POST", f"/uploads/v1/?token={bad}", Upload_Length=len(DATA)).status == 401
    assert gateway.status(other)["phase"] == "WaitForUserUpload"
    attack(7, "a token that was changed to name another image, size, user or time", "refused (401): its HMAC is wrong")


def test_attack_7_a_token_for_an_image_that_was_made_anew(gateway, image, name):
    url, upload = gateway.url(image, 5), gateway.create(image, len(DATA))
    assert gateway.patch(upload, 0, DATA[:1000]).status == 204
    assert gateway.ask("DELETE", image).status == 200
    end = time.monotonic() + 20
    while gateway.ask("GET", image).status != 404:
        assert time.monotonic() < end
        time.sleep(0.02)
    gateway.image(name)
    assert gateway.tus("POST", url, Upload_Length=5).status == 409
    assert gateway.patch(upload, 1000, DATA[1000:]).status == 410
    assert gateway.status(image).get("phase") in (None, "WaitForUserUpload")
    attack(7, "a token and a half upload for an image that was deleted and made anew", "refused (409, 410): they are for the old one's uid")


def test_attack_7_an_expired_half_upload(fresh):
    path = fresh.image("a")
    upload = fresh.create(path, len(DATA))
    assert fresh.patch(upload, 0, DATA[:1000]).status == 204
    part = fresh.data / f"blobs/uploads/{upload[-32:]}.part"
    day_old = time.time() - 86401
    os.utime(part, (day_old, day_old))
    assert fresh.patch(upload, 1000, DATA[1000:]).status == 410 and fresh.head(upload).status == 410
    assert not part.exists()
    fresh.await_phase(path, "WaitForUserUpload")
    second = fresh.create(path, len(DATA))
    part = fresh.data / f"blobs/uploads/{second[-32:]}.part"
    os.utime(part, (day_old, day_old))
    fresh.restart()
    end = time.monotonic() + 20
    while part.exists():
        assert time.monotonic() < end, "nobody asked for it, and it went"
        time.sleep(0.02)
    attack(7, "half uploads that nobody goes on with", "removed after a day; refused (410)")


def make_user(gateway, name, groups=(), project="default", role="gabbro:project-admin"):
    """A service account with a role in the project: its token."""
    assert gateway.ask("POST", f"/api/v1/namespaces/{project}/serviceaccounts", {"metadata": {"name": name}}).status == 201
    binding = {"metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
               "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": project}]}
    answer = gateway.ask("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{project}/rolebindings", binding)
    assert answer.status == 201, answer
    answer = gateway.ask("POST", f"/api/v1/namespaces/{project}/serviceaccounts/{name}/token", {"spec": {}})
    assert answer.status == 201, answer
    return answer.json["status"]["token"]


def test_attack_7_another_users_upload(gateway, image):
    anna, ben = make_user(gateway, "anna"), make_user(gateway, "ben")
    viewer = make_user(gateway, "viewer", role="gabbro:viewer")
    assert gateway.grant(image, len(DATA), token=viewer).status == 403
    url = gateway.grant(image, len(DATA), token=anna, sha256=DIGEST).json["path"]
    upload = gateway.tus("POST", url, Upload_Length=len(DATA)).headers["Location"]
    assert gateway.patch(upload, 0, DATA[:1000]).status == 204
    granted = gateway.grant(image, len(DATA), token=ben, sha256=DIGEST).json
    assert "resume" not in granted, "the address of a half upload is for who began it"
    assert gateway.tus("POST", granted["path"], Upload_Length=len(DATA)).status == 423, "and it is not pushed out while it is young"
    assert gateway.ask("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/anna").status == 200
    end = time.monotonic() + 10
    while gateway.head(upload).status != 403:
        assert time.monotonic() < end
    assert gateway.patch(upload, 1000, DATA[1000:]).status == 403
    attack(7, "another user's half upload, and one whose user has lost the right", "not told of, not pushed out; refused (403) at the next piece")


def test_attack_7_a_slow_client_is_given_up_for_who_goes_on(gateway, image):
    upload = gateway.create(image, len(DATA), sha256=DIGEST)
    slow = gateway.begin_patch(upload, 0, len(DATA), DATA[:1000])
    begun = time.monotonic()
    at = gateway.settled(upload)
    assert at == 1000 and 4 < time.monotonic() - begun < 15
    assert gateway.patch(upload, at, DATA[at:]).status == 204
    slow.close()
    assert gateway.status(image)["ingest"]["digest"] == DIGEST
    attack(7, "an uploader that falls silent", "keeps others out for five seconds; then who asks goes on from what came")
