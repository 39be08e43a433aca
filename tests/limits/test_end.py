# SPDX-License-Identifier: Apache-2.0
"""SIGTERM in the middle of work: the gateway ends with 0 (a sanitised one: without a word), whatever was under way."""
import json
import os
import threading
import time

import pytest
from front import PATH, Answers, Gateway, configmap

IMAGES = "/apis/gabbro.dev/v1/clustervirtualimages"
ROUNDS = 40 if os.environ.get("GABBRO_LONG") else 2


def image(name):
    return {"apiVersion": "gabbro.dev/v1", "kind": "ClusterVirtualImage", "metadata": {"name": name},
            "spec": {"dataSource": {"type": "Upload"}}}


class Busy:
    """Threads that write and upload until the gateway is gone."""

    def __init__(self, gateway):
        self.gateway, self.answers, self.faults, self.lock = gateway, {}, [], threading.Lock()
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(turn, n), daemon=True) for turn in (self.write, self.upload) for n in range(4)]

    def run(self, turn, n):
        try:
            connection = self.gateway.connect()
            for i in range(100000):
                status = turn(connection, f"{turn.__name__}-{n}-{i}")
                with self.lock:
                    self.answers[turn.__name__, status] = self.answers.get((turn.__name__, status), 0) + 1
                    if self.answers.get(("write", 201), 0) > 50 and self.answers.get(("upload", 200), 0) > 3:
                        self.enough.set()
        except (OSError, EOFError):
            pass  # the gateway has ended
        except Exception as fault:  # noqa: BLE001: told by the test
            self.faults.append(repr(fault))

    def write(self, connection, name):
        return self.gateway.ask("POST", PATH, configmap(name, "x" * 1000), connection)[0]

    def upload(self, connection, name):
        status, body = self.gateway.ask("POST", IMAGES, image(name), connection)
        assert status == 201, body
        content = os.urandom(8) + bytes((4 << 20) - 8)
        connection.sendall(self.gateway.head("PUT", f"{IMAGES}/{name}/upload", f"Content-Length: {len(content)}") + content)
        return Answers(connection).next()[0]


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_a_gateway_ends_cleanly_in_the_middle_of_work(tmp_path, turn):
    gateway = Gateway(tmp_path)
    busy = Busy(gateway)
    for thread in busy.threads:
        thread.start()
    assert busy.enough.wait(60), (busy.answers, busy.faults)
    time.sleep(turn % 10 / 50)  # another moment each time
    gateway.end()
    for thread in busy.threads:
        thread.join(20)
    assert not busy.faults, (busy.faults, json.dumps(str(busy.answers)))
    assert "Sanitizer" not in gateway.words() and "runtime error" not in gateway.words(), gateway.words()
