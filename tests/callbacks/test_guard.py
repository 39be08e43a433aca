# SPDX-License-Identifier: Apache-2.0
"""Attack 11: callbacks of a gateway as it is installed reach no internal address, however it is written."""
import pytest
from reliability import attack

from conftest import Gateway, Project, until


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    made = Gateway(tmp_path_factory.mktemp("strict")).begin()
    yield made
    made.end()


def test_attack_11_internal_addresses_are_not_connected_to(strict, image, endpoint):
    project = Project(strict, "ssrf", image)
    port = endpoint.server.server_address[1]
    hosts = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
    for i, host in enumerate(hosts):
        project.callback(f"hook-{i}", f"http://{host}:{port}/", maxAttempts=1)
    project.ready_image("a")
    until(lambda: all(project.condition(f"hook-{i}") == ("False", "DeliveriesDead") for i in range(len(hosts))), 60, 0.1)
    errors = {d["spec"]["callback"]["name"]: d["status"]["lastError"] for d in project.deliveries()}
    assert [host for i, host in enumerate(hosts) if "--allow-downloads-from" not in errors[f"hook-{i}"]] == [], errors
    assert endpoint.connections == 0
    attack(11, "an endpoint of callbacks at an address inside, in every spelling", "nothing connects; the event is given up with the reason")
