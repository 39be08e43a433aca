# SPDX-License-Identifier: Apache-2.0
"""Bringing images into the library."""
import hashlib
import http.server
import shutil
import subprocess
import threading
import time

import pytest

from conftest import FAILED, NOT_FOUND, User

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img")


def make(user, name, *options, format_="qcow2", size="16M"):
    path = user.folder / name
    subprocess.run(["qemu-img", "create", "-q", "-f", format_, *options, str(path), size], check=True)
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_upload(user):
    path = make(user, "Debian_12.qcow2")
    result = user.gabbro("image", "upload", path)
    assert result.lines == ["virtualimage/debian-12 created", "virtualimage/debian-12 is ready"]
    assert "uploading: 100 %" in result.err and "\r" not in result.err and "hashing" not in result.err
    image = user.get("vi", "debian-12")
    assert image["status"]["phase"] == "Ready" and image["status"]["ingest"]["digest"] == digest(path)


@pytest.mark.parametrize("size", [1, 511, 1 << 20, (1 << 20) + 1, 4 << 20])
def test_upload_of_every_size_ends(user, size):
    path = user.folder / "disk.raw"
    path.write_bytes(b"\1" * size)
    user.gabbro("image", "upload", path, "--no-checksum", timeout=30)
    assert user.get("vi", "disk")["status"]["ingest"]["digest"] == digest(path)


def test_upload_twice(user):
    path, other = make(user, "a.qcow2"), make(user, "b.qcow2", size="32M")
    user.gabbro("image", "upload", path, "--cluster", "--name", f"{user.project}-twice")
    again = user.gabbro("image", "upload", path, "--cluster", "--name", f"{user.project}-twice")
    assert again.lines == [f"clustervirtualimage/{user.project}-twice has this content already"]
    result = user.gabbro("image", "upload", other, "--cluster", "--name", f"{user.project}-twice", code=FAILED)
    assert "other content already" in result.err and f"gabbro delete clustervirtualimage {user.project}-twice" in result.err


def test_B31_wrong_sha256(user):
    path = make(user, "a.qcow2")
    result = user.gabbro("image", "upload", path, "--sha256", "0" * 64, code=FAILED)
    assert digest(path) in result.err and "nothing was sent" in result.err
    user.gabbro("get", "vi", "a", code=NOT_FOUND)
    result = user.gabbro("image", "upload", path, "--sha256", "0" * 64, "--no-checksum", code=FAILED)
    assert digest(path) in result.err, "and the gateway sees it by itself"
    user.gabbro("wait", "vi", "a", "--for", "phase=Failed", "--timeout", "10")
    user.gabbro("image", "upload", path, "--sha256", digest(path).upper())
    assert user.get("vi", "a")["status"]["phase"] == "Ready", "the right file mends it"


@pytest.mark.parametrize("options, words", [
    (["-b", "/etc/passwd", "-F", "raw", "-u"], "backing file"),
    (["-o", "data_file=data.raw"], "data file"),
])
def test_images_that_could_read_the_host_are_refused(user, options, words):
    path = make(user, "bad.qcow2", *[o.replace("data.raw", str(user.folder / "data.raw")) for o in options])
    result = user.gabbro("image", "upload", path, code=FAILED)
    assert result.err.count(words) == 1 and "qemu-img convert" in result.err
    user.gabbro("wait", "vi", "bad", "--for", "phase=Failed", "--timeout", "10")


def test_what_is_no_image(user):
    (user.folder / "empty.raw").write_bytes(b"")
    assert "is empty" in user.gabbro("image", "upload", "empty.raw", code=FAILED).err
    assert "No such file" in user.gabbro("image", "upload", "absent.raw", code=FAILED).err
    assert "is no file" in user.gabbro("image", "upload", user.folder, code=FAILED).err
    (user.folder / "disk.vmdk").write_bytes(b"KDMV" + bytes(1020))
    assert "VMDK" in user.gabbro("image", "upload", "disk.vmdk", code=FAILED).err
    (user.folder / "short.qcow2").write_bytes(make(user, "whole.qcow2").read_bytes()[:80])
    user.gabbro("image", "upload", "short.qcow2", code=FAILED)


def test_upload_into_an_object_of_another_source(user):
    user.apply({"apiVersion": "gabbro.dev/v1", "kind": "VirtualImage", "metadata": {"name": "a"},
                "spec": {"dataSource": {"type": "ObjectRef", "objectRef": {"kind": "VirtualImage", "name": "b"}}}})
    assert "spec.dataSource" in user.gabbro("image", "upload", make(user, "a.qcow2"), code=FAILED).err


# --- import


class Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files.get(self.path.split("?")[0])
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        content, half = content or b"", len(content or b"") // 2
        self.wfile.write(content[:half])
        self.server.asked.set()
        self.server.rest.wait(60)
        self.wfile.write(content[half:])

    def do_HEAD(self):
        self.send_error(405)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.files, server.rest, server.asked = {}, threading.Event(), threading.Event()
    server.rest.set()
    server.url = "http://127.0.0.1:%d" % server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def remote(name, url):
    return {"apiVersion": "gabbro.dev/v1", "kind": "ClusterVirtualImage", "metadata": {"name": name},
            "spec": {"dataSource": {"type": "HTTP", "http": {"url": url}}}}


def test_an_import_ends_with_its_image_or_with_the_gateway(new_gateway, web, tmp_path):
    """A mirror that sends half a file and then nothing holds up neither the deletion nor the end of the gateway."""
    gateway = new_gateway("--allow-private-downloads")
    admin, blobs = User(gateway, tmp_path), gateway.folder / "data/blobs"
    web.files["/a.qcow2"] = make(admin, "a.qcow2", size="64M").read_bytes()
    web.rest.clear()
    admin.apply(remote("gone", f"{web.url}/a.qcow2"))
    assert web.asked.wait(20) and list((blobs / "intake").iterdir())
    admin.gabbro("delete", "cvi", "gone", "--wait")
    end = time.monotonic() + 20
    while list((blobs / "intake").iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not list((blobs / "intake").iterdir()) and not list((blobs / "sha256").iterdir())

    web.asked.clear()
    admin.apply(remote("held", f"{web.url}/a.qcow2"))
    assert web.asked.wait(20)
    begun = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - begun < 15
    web.rest.set()


def test_import(user, web):
    path = make(user, "a.qcow2")
    web.files["/images/Alpine-3.qcow2"] = path.read_bytes()
    result = user.gabbro("image", "import", f"{web.url}/images/Alpine-3.qcow2?mirror=1", "--sha256", digest(path))
    assert result.lines == ["virtualimage/alpine-3 created", "virtualimage/alpine-3 is ready"]
    assert "alpine-3: Ready" in result.err
    assert user.get("vi", "alpine-3")["status"]["ingest"]["digest"] == digest(path)
    again = user.gabbro("image", "import", f"{web.url}/images/Alpine-3.qcow2?mirror=1", "--sha256", digest(path))
    assert again.lines == ["virtualimage/alpine-3 unchanged", "virtualimage/alpine-3 is ready"]


def test_import_that_fails_tells_why(user, web):
    web.files["/a.qcow2"] = make(user, "a.qcow2").read_bytes()
    result = user.gabbro("image", "import", f"{web.url}/absent.qcow2", code=FAILED)
    assert "virtualimage/absent is Failed" in result.err and "404" in result.err
    result = user.gabbro("image", "import", f"{web.url}/a.qcow2", "--sha256", "0" * 64, code=FAILED)
    assert "SHA-256" in result.err
    web.files["/page.qcow2"] = b"<!DOCTYPE html>\n<html><title>Choose a mirror</title></html>"
    result = user.gabbro("image", "import", f"{web.url}/page.qcow2", code=FAILED)
    assert "web page" in result.err


def test_import_shows_how_far_it_is(user, web):
    path = user.folder / "a.raw"
    path.write_bytes(bytes(1 << 20))
    web.files["/a.raw"], web.rest = path.read_bytes(), threading.Event()
    shown = []
    thread = threading.Thread(target=lambda: shown.append(user.on_terminal("image", "import", f"{web.url}/a.raw")))
    thread.start()
    with user.follow("get", "vi", "-w", "-o", "json") as watch:
        watch.until('"progress": "50%"')
        web.rest.set()
        thread.join()
    assert "\ra [###############               ]  50 %" in shown[0].out and shown[0].code == 0
    assert "a: Ready\n" in shown[0].out


def test_private_addresses_are_refused_unless_allowed(new_gateway, web, tmp_path):
    user = User(new_gateway(), tmp_path)
    web.files["/a.qcow2"] = make(user, "a.qcow2").read_bytes()
    for host in ("127.0.0.1", "localhost"):
        result = user.gabbro("image", "import", web.url.replace("127.0.0.1", host) + "/a.qcow2", "--name", host.replace(".", "-"), code=FAILED)
        assert "not allowed" in result.err and "is Failed" in result.err and "--allow-private-downloads" in result.err
