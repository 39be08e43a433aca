# SPDX-License-Identifier: Apache-2.0
"""A gateway whose disk gives errors below SQLite: it acknowledges nothing more, says why, ends, and comes back clean.

Requirement "Nothing lost: the store's disk fails", invariant I4, attack 33.
"""
import http.client

import load
import pytest
import reliability
from gateway import BUILD, PROGRAM, Client, Gateway, NotSent

FAULTY = BUILD / "tests/torture/gabbro-gateway-disk"


@pytest.mark.parametrize("way,nth,words", [("sync", 40, "commit"), ("write", 1000, ""), ("checkpoint", 1, "checkpoint")])
def test_an_error_of_the_disk_ends_the_gateway_and_nothing_acknowledged_is_missing(tmp_path, way, nth, words):
    gateway = Gateway(tmp_path)
    gateway.end()
    gateway.program, gateway.env = FAULTY, {"GABBRO_DISK_FAULT": f"{way} {nth}"}
    gateway.begin()
    client, there = Client(gateway), {}
    try:
        for n in range(100):
            value = f"w:red:{n}"
            status, answer = client.ask("POST", load.path_of("configmaps/default/"), load.manifest(f"configmaps/default/k{n}", value, 60000))
            if status != 201:
                assert status in (500, 503), answer
                break
            there[f"configmaps/default/k{n}"] = (int(answer["metadata"]["resourceVersion"]), value)
    except (OSError, http.client.HTTPException, NotSent):
        pass  # cut off: the outcome is unknown
    assert gateway.process.wait(30) == 70, gateway.words()
    said = gateway.words()
    assert "the store has failed; ending" in said and words in said and "store.db" in said and "error" in said, said
    assert there
    client.drop()
    gateway.program, gateway.env = PROGRAM, None
    gateway.begin()
    items = client.ask("GET", load.path_of("configmaps/default/"))[1]["items"]
    found = {key: (rv, value) for key, rv, value, _ in (load.told(i, "configmaps") for i in items if i["metadata"]["name"].startswith("k"))}
    assert there.items() <= found.items() and len(found) <= len(there) + 1
    assert client.ask("POST", load.path_of("configmaps/default/"), load.manifest("configmaps/default/after", "w:red:x"))[0] == 201
    client.drop()
    gateway.end()
    reliability.outcome("the gateway's disk gives an error", "write over the API",
                        "nothing is acknowledged from then on; the gateway ends and says which file and error; started again, nothing acknowledged is missing")
    reliability.attack(33, "an error of the disk under the gateway's store", "it ends; nothing that was acknowledged is missing")
