# SPDX-License-Identifier: Apache-2.0
"""Packed images: unpacked as a stream, within bounds (attack 6)."""
import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import subprocess
import tarfile

import pytest
from reliability import attack, outcome

IMAGE = random.Random(9).randbytes(1 << 20) + bytes(3 << 20)
DIGEST = hashlib.sha256(IMAGE).hexdigest()


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


PACK = {"xz": lzma.compress, "gz": gzip.compress, "bz2": bz2.compress, "zst": zstd}


@pytest.mark.parametrize("packing", PACK)
def test_E27_packed_images(gateway, mirror, tmp_path, packing):
    packed = PACK[packing](IMAGE)
    sent = hashlib.sha256(packed).hexdigest()
    mirror.files[f"/a.raw.{packing}"] = packed
    assert gateway.fate(gateway.fetch(f"http://mirror.test/a.raw.{packing}", sha256=sent)) == ("Ready", DIGEST)
    fate = gateway.fate(gateway.fetch(f"http://mirror.test/a.raw.{packing}", sha256=DIGEST))
    assert fate[1] == "ImageDigestMismatch", "the checksum is that of the file that is sent"
    status, answer, name = gateway.upload(packed)
    assert status == 200 and answer["status"]["ingest"]["digest"] == DIGEST, answer
    path = tmp_path / f"a.raw.{packing}"
    path.write_bytes(packed)
    name = gateway.name()
    gateway.gabbro("image", "upload", path, "--name", name, "--cluster", check=True)
    image = gateway.image(name)
    assert image["status"]["ingest"]["digest"] == DIGEST and image["status"]["ingest"]["sizeBytes"] == len(IMAGE)


def test_zeroes_cost_no_space(gateway):
    _, answer, _ = gateway.upload(zstd(b"\1" * 4096 + bytes(200 << 20)))
    blob = gateway.data / "blobs/sha256" / answer["status"]["ingest"]["digest"]
    assert blob.stat().st_size == (200 << 20) + 4096 and blob.stat().st_blocks * 512 < 1 << 20


def bomb(packing, size=1200 << 20):
    """Zeroes, made by the packer's own program."""
    program = {"xz": "xz -0 -T2", "gz": "gzip -9", "bz2": "bzip2", "zst": "zstd -q"}[packing]
    return subprocess.run(f"head -c {size} /dev/zero | {program} -c", shell=True, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("packing", PACK if os.environ.get("GABBRO_LONG") == "1" else ["zst"])
def test_attack_6_bombs(gateway, tmp_path, packing):
    packed = bomb(packing)
    before = gateway.blobs()
    status, answer, _ = gateway.upload(packed)
    assert status == 422 and "ImageTooLarge" in str(answer), answer
    path = tmp_path / "bomb"
    path.write_bytes(packed)
    done = gateway.gabbro("image", "upload", path, "--name", gateway.name(), "--cluster")
    assert done.returncode and "unpacks to more" in done.stderr, done.stderr
    gateway.nothing_left()
    assert gateway.blobs() == before
    assert gateway.peak() < 400 << 20
    attack(6, "a decompression bomb: more than a gigabyte out of some kilobytes", "cut off at its bound: ImageTooLarge; the space is returned")


def test_attack_6_what_unpacks_past_the_quota(gateway, mirror):
    mirror.files["/a.raw.gz"] = gzip.compress(bytes(64 << 20))
    project = gateway.project({"images.storage": "1Mi"})
    fate = gateway.fate(gateway.fetch("http://mirror.test/a.raw.gz", project), project)
    assert fate[1] == "QuotaExceeded", fate
    done = gateway.gabbro("image", "import", "http://mirror.test/a.raw.gz", "--name", "cli", "-n", project)
    assert done.returncode and "quota" in done.stderr
    status, answer, name = gateway.upload(gzip.compress(bytes(64 << 20)), project)
    assert status == 403 and "quota" in answer["message"] and gateway.fate(name, project)[1] == "QuotaExceeded", answer
    gateway.nothing_left()
    attack(6, "an image that unpacks past its project's quota", "cut off there: QuotaExceeded; the space is returned")


@pytest.mark.parametrize("inner", PACK)
def test_attack_6_packed_more_than_once(gateway, tmp_path, inner):
    packed = gzip.compress(PACK[inner](IMAGE))
    status, answer, _ = gateway.upload(packed)
    assert status == 422 and "more than once" in str(answer), answer
    path = tmp_path / "twice.gz"
    path.write_bytes(packed)
    done = gateway.gabbro("image", "upload", path, "--name", gateway.name(), "--cluster")
    assert done.returncode and "more than once" in done.stderr
    attack(6, "an image that is packed more than once", "refused: ImageFormatUnknown")


def test_attack_6_archives(gateway, tmp_path):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("../../etc/cron.d/x")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    for content in (archive.getvalue(), gzip.compress(archive.getvalue())):
        status, answer, _ = gateway.upload(content)
        assert status == 422 and "packed with tar" in str(answer), answer
        path = tmp_path / "archive"
        path.write_bytes(content)
        assert "packed with tar" in gateway.gabbro("image", "upload", path, "--name", gateway.name(), "--cluster").stderr
    attack(6, "tar archives, also packed ones", "never opened: refused as ImageFormatUnknown")


def test_damage_is_told(gateway):
    for packing, pack in PACK.items():
        packed = pack(IMAGE)
        for content in (packed[:-7], packed[:len(packed) // 2], packed[:5000] + b"\0" * 64 + packed[5064:]):
            status, answer, _ = gateway.upload(content)
            assert status == 422 and "ImageCorrupt" in str(answer), (packing, answer)


def test_a_gateway_killed_while_it_unpacks_begins_anew(new_gateway, mirror):
    gateway = new_gateway()
    mirror.files["/a.raw.bz2"] = bz2.compress(IMAGE[:1 << 20]) * 24
    plain = hashlib.sha256(IMAGE[:1 << 20] * 24).hexdigest()
    name = gateway.fetch("http://mirror.test/a.raw.bz2")
    gateway.until("it unpacks", lambda: len(gateway.leftovers()) == 2)
    gateway.kill()
    gateway.begin()
    assert gateway.fate(name) == ("Ready", plain)
    gateway.nothing_left()
    assert gateway.blobs() == {plain}
    outcome("SIGKILL of the gateway", "unpacking of an image", "nothing is left of either file; the import begins anew and ends")
