# SPDX-License-Identifier: Apache-2.0
"""Images and the store lie on one disk: images never take the last of it."""
import os
import pathlib

import pytest
from gateways import PROGRAM, Gateway
from reliability import outcome


@pytest.fixture
def small(world, tmp_path):
    """A gateway whose disk has 96 MiB; the tests see it through the name space of its mounts."""
    disk = tmp_path / "disk"
    disk.mkdir()
    world.inside.run("mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk)
    made = Gateway(world, pathlib.Path(f"/proc/{world.inside.process.pid}/root") / disk.relative_to("/"), PROGRAM)
    yield made
    made.end()
    world.inside.run("umount", disk)


def test_a_full_disk_ends_the_image_and_not_the_gateway(small, mirror):
    least = []

    def endless(connection, headers):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            disk = os.statvfs(small.data)
            least.append(disk.f_bavail * disk.f_frsize)
            connection.sendall(b"10000\r\n" + b"\1" * 65536 + b"\r\n")

    mirror.files["/endless"] = endless
    fate = small.fate(small.fetch("http://mirror.test/endless"))
    assert fate[1] == "DiskFull", fate
    status, answer, _ = small.upload(b"\1" * (100 << 20))
    assert status == 507, answer
    small.nothing_left()
    text = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "x" * 100000}}
    assert small.ask("POST", "/api/v1/namespaces/default/configmaps", text)[0] == 201
    assert small.fate(small.fetch("http://mirror.test/endless"))[1] == "DiskFull", "once more: the space came back"
    small.nothing_left()
    assert 3 << 20 < min(least) < 20 << 20, "a sixteenth, but for what is written between two looks"
    outcome("disk of the gateway full", "image import and upload", "the image is refused while the store still has room; the space is returned")
