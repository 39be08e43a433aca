# SPDX-License-Identifier: Apache-2.0
"""gabbro image upload: what has come is never sent again. B29, B34."""
import hashlib
import re
import signal
import socket
import time

import pytest
from conftest import image_bytes
from reliability import outcome

DATA = image_bytes(20 << 20, 5)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "debian.raw"
    path.write_bytes(DATA)
    return path


def half(gateway):
    """Bytes of the half upload there."""
    parts = list((gateway.data / "blobs/uploads").glob("*.part"))
    return parts[0].stat().st_size if parts else 0


def await_half(gateway, size):
    end = time.monotonic() + 30
    while half(gateway) < size:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_connection_that_breaks_again_and_again(fresh, wire, file):
    broken = wire(fresh, limit=8 << 20)
    run = fresh.gabbro("--server", f"https://127.0.0.1:{broken.own_port}", "image", "upload", file)
    end = time.monotonic() + 30
    for limit in (13 << 20, 17 << 20, None):
        while broken.passed < broken.limit:
            assert time.monotonic() < end and run.poll() is None, (run.kill(), run.communicate(), broken.passed)
            time.sleep(0.01)
        time.sleep(0.3)
        broken.limit = limit
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    assert "the upload goes on when it is back" in err and out.splitlines()[-1] == "virtualimage/debian is ready"
    assert re.search(r"uploading: 100 %, [\d.]+ MiB/s", err)
    assert broken.passed < len(DATA) * 1.5, "what had come was not sent again"
    assert fresh.blobs() == [DIGEST]
    outcome("connection broken again and again", "image: gabbro image upload", "goes on by itself; what has come is not sent again")


def test_the_command_is_killed_and_run_again(fresh, wire, file):
    slow = wire(fresh)
    server = f"https://127.0.0.1:{slow.own_port}"
    run = fresh.gabbro("--server", server, "image", "upload", file)
    await_half(fresh, 6 << 20)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    run = fresh.gabbro("--server", server, "image", "upload", file)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    assert re.search(r"Going on with the upload that broke off at [1-9]\d %", err)
    assert slow.passed < len(DATA) * 1.3 and fresh.blobs() == [DIGEST]
    outcome("command killed in the middle", "image: gabbro image upload", "the same command goes on from what came")


def test_resume_without_a_checksum(fresh, wire, file):
    slow = wire(fresh)
    words = ["--server", f"https://127.0.0.1:{slow.own_port}", "image", "upload", file, "--no-checksum"]
    run = fresh.gabbro(*words)
    await_half(fresh, 6 << 20)
    run.kill()
    run.communicate()
    run = fresh.gabbro(*words, "--resume")
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0 and "Going on with the upload" in err, out + err
    assert fresh.blobs() == [DIGEST]


def test_without_a_checksum_nothing_is_taken_for_the_same_file(fresh, wire, file):
    slow = wire(fresh)
    words = ["--server", f"https://127.0.0.1:{slow.own_port}", "image", "upload", file, "--no-checksum"]
    run = fresh.gabbro(*words)
    await_half(fresh, 6 << 20)
    run.kill()
    run.communicate()
    other = image_bytes(len(DATA), 6)
    file.write_bytes(other)
    run = fresh.gabbro(*words)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0 and "Going on" not in err, out + err
    assert fresh.blobs() == [hashlib.sha256(other).hexdigest()]


def test_a_disk_is_uploaded_killed_and_resumed(fresh, wire, file):
    """The same for a disk of the source Upload, whose status tells of it as that of an image does. B29, B34."""
    slow = wire(fresh)
    words = ["--server", f"https://127.0.0.1:{slow.own_port}", "disk", "upload", file, "--name", "data", "--size", "1Gi"]
    run = fresh.gabbro(*words)
    await_half(fresh, 6 << 20)
    status = fresh.await_phase(fresh.path("data", "virtualdisks"), "Provisioning")
    assert status["imageUploadURLs"]["external"].endswith("/virtualdisks/data/upload") and "virtualdisks/data/upload" in status["uploadCommand"]
    run.kill()
    run.communicate()
    run = fresh.gabbro(*words)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0 and "Going on with the upload" in err and out.splitlines()[-1] == "virtualdisk/data has its content", out + err
    assert fresh.blobs() == [DIGEST] and slow.passed < len(DATA) * 1.3
    path = fresh.path("data", "virtualdisks")
    assert fresh.ask("GET", path).json["spec"]["persistentVolumeClaim"] == {"size": "1Gi"}
    status = fresh.status(path)
    assert status["ingest"]["digest"] == DIGEST and not {"uploadCommand", "imageUploadURLs"} & set(status)
    assert fresh.ask("GET", f"/apis/gabbro.dev/v1/imageblobs/sha256-{DIGEST}").status == 200, "the library keeps it for the disk"
    run = fresh.gabbro(*words)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0 and out == "virtualdisk/data has this content already\n", out + err


def test_the_gateway_is_killed(fresh, wire, file):
    slow = wire(fresh)
    run = fresh.gabbro("--server", f"https://127.0.0.1:{slow.own_port}", "image", "upload", file)
    for size in (4 << 20, 9 << 20):
        await_half(fresh, size)
        fresh.restart()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    assert fresh.blobs() == [DIGEST] and slow.passed < len(DATA) * 1.5
    outcome("gateway killed in the middle", "image: gabbro image upload", "goes on by itself when the gateway is back")


def test_a_gateway_that_is_not_there_is_told_at_once(fresh, file):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    begun = time.monotonic()
    run = fresh.gabbro("--server", f"https://127.0.0.1:{port}", "image", "upload", file)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 4 and "cannot reach" in err and time.monotonic() - begun < 5


def test_a_refused_file_is_told_with_its_reason(fresh, tmp_path):
    path = tmp_path / "bad.qcow2"
    path.write_bytes(b"QFI\xfb\0\0\0\x03" + bytes(504))
    run = fresh.gabbro("image", "upload", path)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 1 and "Image" in err, out + err
    end = time.monotonic() + 10
    while any(name.endswith(".part") for name in fresh.uploads()):
        assert time.monotonic() < end
        time.sleep(0.02)
