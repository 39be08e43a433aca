# SPDX-License-Identifier: Apache-2.0
"""The page that operators read says the numbers that the programs are built with."""
import json
import re

import pytest
from front import LIMIT, PATH, ROOT, Answers, configmap

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "s": 1000000, "": 1}


def rows():
    text = (ROOT / "doc/reference/limits.md").read_text()
    return re.findall(r"^\| `(\w+)` \| ([\d,]+) ?(\w*) \| (.*) \| (.*)\|$", text, re.M)


def test_the_page_names_every_limit_with_its_value():
    told = {name: int(number.replace(",", "")) * UNITS[unit] for name, number, unit, *_ in rows()}
    assert told == LIMIT


def test_every_row_says_what_is_bounded():
    assert all(len(row[3]) > 10 or row[3].startswith("age") for row in rows())


def metadata(name, **more):
    return {"apiVersion": "v1", "metadata": {"name": name, **more}}


def vm(name, **spec):
    base = {"cpu": {"cores": 1}, "memory": {"size": "256Mi"}, "virtualMachineClassName": "generic"}
    return {**metadata(name), "apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "spec": {**base, **spec}}


VMS = "/apis/gabbro.dev/v1/namespaces/default/virtualmachines"
SECRETS = PATH.replace("configmaps", "secrets")
NESTED = ("[" * LIMIT["JSON_DEPTH"] + "]" * LIMIT["JSON_DEPTH"]).encode()
REFUSED = [
    # name, method, path, body, status, words of the answer
    ("object", "POST", PATH + "?fieldValidation=Ignore", {**configmap("big", "x"), "new": "x" * LIMIT["OBJECT_BYTES"]}, 413, b"too large"),
    ("annotations", "POST", PATH, {**metadata("a", annotations={f"k{i}": "x" * 1000 for i in range(LIMIT["LABELS_BYTES"] // 1000)}),
                                   "kind": "ConfigMap"}, 422, b"annotations"),
    ("secret", "POST", SECRETS, {**metadata("s"), "kind": "Secret", "stringData": {"x": "x" * (LIMIT["SECRET_BYTES"] + 1)}}, 422, b"Too long"),
    ("depth", "POST", PATH, b'{"a":' + NESTED + b"}", 400, b""),
    ("nodes", "POST", PATH, b'{"a":[0' + b",0" * LIMIT["JSON_NODES"] + b"]}", 400, b""),
    ("selector", "GET", PATH + "?labelSelector=" + ",".join(f"a{i}" for i in range(LIMIT["SELECTOR_TERMS"] + 1)), None, 400, b"selector"),
    ("fields", "GET", PATH + "?fieldSelector=" + ",".join(["metadata.name=a"] * (LIMIT["SELECTOR_TERMS"] + 1)), None, 400, b"selector"),
    ("patch", "PATCH", PATH + "/page", [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * (LIMIT["JSON_PATCH_OPS"] + 1), 400, b"10000"),
    ("user-data", "POST", VMS, vm("u", provisioning={"type": "UserData", "userData": "#" + "x" * LIMIT["USER_DATA_BYTES"]}), 422, b"userData"),
    ("cores", "POST", VMS, vm("c", cpu={"cores": LIMIT["CPU_CORES"] + 1}), 422, b"cores"),
    ("devices", "POST", VMS, vm("d", blockDeviceRefs=[{"kind": "VirtualDisk", "name": f"d{i}"} for i in range(LIMIT["BLOCK_DEVICES"] + 1)]),
     422, b"blockDeviceRefs"),
]


@pytest.mark.parametrize("method,path,body,expected,words", [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_beyond_it_is_seen_what_the_page_says(gateway, method, path, body, expected, words):
    gateway.ask("POST", PATH, configmap("page", "x"))
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    kind = "application/json-patch+json" if method == "PATCH" else "application/json"
    with gateway.connect() as one:
        one.sendall(gateway.head(method, path, f"Content-Type: {kind}", f"Content-Length: {len(data)}") + data)
        status, answer = Answers(one).next()
    assert status == expected and words in answer, answer[:400]


def test_one_refusal_names_so_many_causes(gateway):
    body = vm("f", blockDeviceRefs=[{"kind": "Wrong", "name": "_"} for _ in range(LIMIT["FAULTS"] + 9)])
    status, answer = gateway.ask("POST", VMS, body)
    causes = json.loads(answer)["details"]["causes"]
    assert status == 422 and len(causes) == LIMIT["FAULTS"] + 1 and "more" in causes[-1]["message"], causes[-1]
