# SPDX-License-Identifier: Apache-2.0
"""B32: a disk that is full when an endpoint was told, or is to be told: nothing is forgotten, and it goes on by itself."""
import threading

import pytest
from conftest import Gateway, until
from reliability import outcome
from small_disk import SmallDisk
from test_kills import check, prepare


@pytest.fixture
def cramped(tmp_path):
    disk = SmallDisk(tmp_path / "disk", 64)
    made = Gateway(tmp_path, "--allow-private-downloads")
    made.prefix, made.data, made.config = disk.prefix, disk.mount / "data", disk.outside / "data/admin.kubeconfig"
    yield made.begin(), disk
    made.end()
    disk.end()


def takes(gateway, size):
    body = {"metadata": {"generateName": "filler-"}, "data": {"a": "x" * size}}
    return gateway.ask("POST", "/api/v1/namespaces/default/configmaps", body)[0] < 500


def fill(gateway, disk):
    """Until not even the least is taken: the store's own files have room inside for a while."""
    disk.leave(0)
    for size in (100000, 3000, 10, 10, 10):
        while takes(gateway, size):
            disk.leave(0)


def test_B32_the_disk_is_full_when_the_endpoint_has_answered(cramped, image, endpoint):
    """What came of the call cannot be noted: it is made again, under the same id, once there is room."""
    gateway, disk = cramped
    project = prepare(gateway, image, endpoint)

    def fill_and_answer(handler):
        fill(gateway, disk)
        handler.send_response(204)
        handler.end_headers()
        handler.wfile.flush()
        filled.set()

    filled = threading.Event()
    endpoint.answers["/hook"] = [fill_and_answer, 204]
    project.upload("a")
    endpoint.wait("/hook", 1)
    assert filled.wait(60)
    assert not takes(gateway, 3000) and [d["status"]["state"] for d in project.deliveries()] == ["Pending"], "nothing says that it was told"
    assert gateway.ask("GET", "/readyz")[0] in (200, 503) and not gateway.ended(), "a full disk is no end of the gateway"
    disk.give_back()
    until(lambda: takes(gateway, 100000))
    told = check(project, endpoint, 2)
    assert told[0]["id"] == told[1]["id"]
    outcome("the disk of the gateway is full", "an endpoint is told of an image", "told again under the same id once there is room; nothing is forgotten")
