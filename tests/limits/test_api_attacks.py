# SPDX-License-Identifier: Apache-2.0
"""The attacks on the API, one after the other (13 to 19): what is tried, and that nothing comes of it. Floods and smuggling (19) stand in
test_floods.py and test_raw.py."""
import base64
import json
import threading

import pytest
from front import LIMIT, PATH, Answers, configmap
from reliability import attack

VMS = "/apis/gabbro.dev/v1/namespaces/{}/virtualmachines"
MERGE, JSON = "application/merge-patch+json", "application/json"


def send(gateway, method, path, body=None, kind=JSON, headers=()):
    """(status, object or text)"""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with gateway.connect() as one:
        try:
            one.sendall(gateway.head(method, path, f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers) + data)
        except OSError:
            pass  # refused before all of it was sent
        status, text = Answers(one).next()
    return status, json.loads(text) if text[:1] == b"{" else text


def vm(name, **spec):
    base = {"virtualMachineClassName": "nowhere", "runPolicy": "AlwaysOff", "cpu": {"cores": 1}, "memory": {"size": "1Gi"},
            "blockDeviceRefs": [{"kind": "VirtualDisk", "name": "d"}]}
    return {"apiVersion": "gabbro.dev/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": {**base, **spec}}


def alive(gateway):
    return send(gateway, "GET", PATH)[0] == 200


@pytest.fixture(scope="module")
def tenants(gateway):
    """Two namespaces that have nothing to do with each other."""
    for name in ("red", "blue"):
        assert send(gateway, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})[0] == 201
    return "red", "blue"


# --- 13, 14: words that mean something elsewhere -----------------------------------------------------------------------------------------

REFUSED = {place: (400, 422) for place in ("name", "label", "label-key")} | {place: (400, 422, 201) for place in ("class", "disk", "address", "secret")}
MARKUP = ['"/><qemu:commandline><qemu:arg value="-x"/></qemu:commandline>', "<!ENTITY x SYSTEM 'file:///etc/shadow'>", "]]>", "a\x01b", "a\u0000b",
          "&lol;" * 100]
COMMANDS = ["; rm -rf /", "$(reboot)", "`reboot`", "a\nb", "-rf", "--help", "a b", "a|b", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "%2e%2e"]
# Where a word of a user becomes part of a name, a path, a document or a command line of a host.
PLACES = [("name", lambda w: vm("x") | {"metadata": {"name": w}}),
          ("class", lambda w: vm("x", virtualMachineClassName=w)),
          ("disk", lambda w: vm("x", blockDeviceRefs=[{"kind": "VirtualDisk", "name": w}])),
          ("address", lambda w: vm("x", virtualMachineIPAddressName=w)),
          ("label", lambda w: vm("x") | {"metadata": {"name": "x", "labels": {"a": w}}}),
          ("label-key", lambda w: vm("x") | {"metadata": {"name": "x", "labels": {w: "a"}}}),
          ("secret", lambda w: vm("x", provisioning={"type": "UserDataRef", "userDataRef": {"kind": "Secret", "name": w}}))]




def no_use(gateway, body):
    """Refused; or a reference that finds nothing, as any other name that is not there."""
    status, told = send(gateway, "POST", VMS.format("default"), body)
    if status == 201:
        path = VMS.format("default") + "/" + told["metadata"]["name"]
        gateway.until("it is judged", lambda: send(gateway, "GET", path)[1].get("status", {}).get("conditions"))
        now = send(gateway, "GET", path)[1]
        assert now["status"]["phase"] != "Running" and any(c["status"] == "False" for c in now["status"]["conditions"])
        assert send(gateway, "DELETE", path)[0] == 200
        gateway.until("it is gone", lambda: send(gateway, "GET", path)[0] == 404)
    return status


@pytest.mark.parametrize("place,manifest", PLACES, ids=[p[0] for p in PLACES])
def test_attack_13_markup_is_no_name(gateway, place, manifest):
    for word in MARKUP:
        assert no_use(gateway, manifest(word)) in REFUSED[place], word
    attack(13, "markup, entities and control characters in names, labels and references", "refused, or a name that nothing has")


@pytest.mark.parametrize("place,manifest", PLACES, ids=[p[0] for p in PLACES])
def test_attack_14_a_command_is_no_name(gateway, place, manifest):
    for word in COMMANDS:
        if (place, word) != ("label-key", "a/b"):  # a good key
            assert no_use(gateway, manifest(word)) in REFUSED[place], word
    attack(14, "commands, options and paths in names, labels and references", "refused, or a name that nothing has")


def test_attack_13_free_text_comes_back_as_it_was(gateway):
    """Annotations and data are nobody's markup: they are kept as they are, and written as JSON."""
    words = [w for w in MARKUP + COMMANDS if "\0" not in w]
    for i, word in enumerate(words):
        body = {**configmap(f"free-{i}", word), "metadata": {"name": f"free-{i}", "annotations": {"a": word}}}
        assert send(gateway, "POST", PATH, body)[0] == 201
        told = send(gateway, "GET", f"{PATH}/free-{i}")[1]
        assert told["data"]["text"] == word and told["metadata"]["annotations"]["a"] == word
    attack(13, "the same in annotations and data", "kept byte by byte as text")


# --- 15: bodies that are not what they say -----------------------------------------------------------------------------------------------

ALIASES = b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 12))
BODIES = [
    ("duplicate keys", JSON, b'{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}', (400, 422)),
    ("duplicate metadata", JSON, b'{"metadata":{"name":"x"},"metadata":{"name":"y"}}', (400, 422)),
    ("a depth of 100,000", JSON, b'{"a":' * 100000 + b"1" + b"}" * 100000, (400, 413)),
    ("an array that never ends", JSON, b"[" * 100000, (400, 413)),
    ("NaN", JSON, b'{"metadata":{"name":"x"},"data":{"a":NaN}}', (400,)),
    ("Infinity", JSON, b'{"metadata":{"name":"x"},"data":{"a":-Infinity}}', (400,)),
    ("a number of 10,000 digits", JSON, b'{"metadata":{"name":"x"},"spec":{"cpu":{"cores":' + b"9" * 10000 + b"}}}", (400, 422)),
    ("an exponent without end", JSON, b'{"metadata":{"name":"x"},"spec":{"cpu":{"cores":1e999999999}}}', (400, 422)),
    ("invalid UTF-8", JSON, b'{"metadata":{"name":"x"},"data":{"a":"\xff\xfe"}}', (400,)),
    ("an overlong slash", JSON, b'{"metadata":{"name":"x"},"data":{"a":"\xc0\xaf"}}', (400,)),
    ("half a surrogate pair", JSON, b'{"metadata":{"name":"x"},"data":{"a":"\\ud800"}}', (400,)),
    ("a byte order mark", JSON, b'\xef\xbb\xbf{"metadata":{"name":"x"}}', (400,)),
    ("two documents", JSON, b'{"metadata":{"name":"x"}}{"metadata":{"name":"y"}}', (400,)),
    ("comments", JSON, b'{"metadata":{"name":"x"}} // no', (400,)),
    ("a comma too many", JSON, b'{"metadata":{"name":"x",}}', (400,)),
    ("a string of three megabytes", JSON, b'{"metadata":{"name":"x"},"data":{"a":"' + b"x" * (LIMIT["OBJECT_BYTES"] + 1) + b'"}}', (400, 413, 422)),
    ("an alias bomb", "application/yaml", ALIASES, (400, 413, 415)),
    ("a tag that makes an object", "application/yaml", b"metadata: !!python/object/apply:os.system ['reboot']", (400, 415)),
    ("duplicate keys in YAML", "application/yaml", b"metadata: {name: x}\nmetadata: {name: y}", (400, 422)),
    ("a list for an object", JSON, b"[]", (400,)),
    ("nothing", JSON, b"", (400,)),
]


@pytest.mark.parametrize("kind,body,expected", [b[1:] for b in BODIES], ids=[b[0].replace(" ", "-") for b in BODIES])
def test_attack_15_a_body_means_one_thing_or_nothing(gateway, kind, body, expected):
    memory = gateway.resident()
    path = VMS.format("default") if b"spec" in body else PATH
    status, told = send(gateway, "POST", path + "?fieldValidation=Strict", body, kind)
    assert status in expected and told["kind"] == "Status" and len(json.dumps(told)) < 4096, told
    assert send(gateway, "GET", PATH + "/x")[0] == 404 and send(gateway, "GET", PATH + "/y")[0] == 404
    assert gateway.resident() - memory < 64 << 20
    attack(15, "bodies that are ambiguous, endless, too deep or no text", "refused with a Status, in bounded memory; nothing is made")


@pytest.mark.parametrize("kind,body", [(JSON, b'{"metadata":{"name":"d"},"data":{"a":"1","a":"2"}}'),
                                       ("application/yaml", b"metadata: {name: d}\ndata: {a: '1', a: '2'}")], ids=["JSON", "YAML"])
def test_attack_15_what_is_written_twice_holds_as_last_written_and_is_told(gateway, kind, body):
    """As Kubernetes has it where fieldValidation does not say Strict."""
    with gateway.connect() as one:
        one.sendall(gateway.head("POST", PATH + "?dryRun=All", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close") + body)
        answer = b"".join(iter(lambda: one.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 201") and 'Warning: 299 - "duplicate field \\"data.a\\""' in answer
    assert '"data":{"a":"2"}' in answer
    attack(15, "the same key twice, fieldValidation not Strict", "the last one holds, and a warning names it")


# What a user may put into a patch, and what of it must not be taken.
PROTECTED = [("uid", {"metadata": {"uid": "11111111-2222-3333-4444-555555555555"}}),
             ("creationTimestamp", {"metadata": {"creationTimestamp": "2000-01-01T00:00:00Z"}}),
             ("generation", {"metadata": {"generation": 77}}),
             ("deletionTimestamp", {"metadata": {"deletionTimestamp": "2000-01-01T00:00:00Z"}}),
             ("status", {"status": {"phase": "Running", "ipAddress": "10.0.0.1"}}),
             ("finalizers", {"metadata": {"finalizers": None}}),
             ("name", {"metadata": {"name": "other"}}),
             ("namespace", {"metadata": {"namespace": "kube-system"}}),
             ("kind", {"kind": "Secret"}),
             ("apiVersion", {"apiVersion": "v1"})]


def kept(told):
    meta = told["metadata"]
    names = ("uid", "creationTimestamp", "deletionTimestamp", "finalizers", "name", "namespace")
    return told["kind"], told["apiVersion"], {n: meta.get(n) for n in names}, {k: told.get("status", {}).get(k) for k in ("phase", "ipAddress")}


@pytest.mark.parametrize("field,patch", PROTECTED, ids=[p[0] for p in PROTECTED])
def test_attack_15_what_is_the_systems_stays_the_systems(gateway, field, patch):
    path = VMS.format("default")
    assert send(gateway, "POST", path, vm(f"p-{field.lower()}"))[0] == 201
    path += f"/p-{field.lower()}"
    gateway.until("the controllers have seen it", lambda: send(gateway, "GET", path)[1].get("status", {}).get("phase") == "Stopped")
    before = send(gateway, "GET", path)[1]
    status, told = send(gateway, "PATCH", path, patch, MERGE)
    assert status in (200, 400, 409, 422), told
    after = send(gateway, "GET", path)[1]
    assert kept(after) == kept(before)
    assert after["metadata"]["generation"] < 77
    whole = send(gateway, "PUT", path, {**before, **patch, "metadata": {**before["metadata"], "resourceVersion": None, **patch.get("metadata", {})}})
    assert whole[0] in (200, 400, 409, 422)
    assert kept(send(gateway, "GET", path)[1]) == kept(before)
    attack(15, "a patch or replacement that sets uid, times, status, name, kind or takes our finalizers away", "refused or without effect")


# --- 16: what belongs to others ----------------------------------------------------------------------------------------------------------


def test_attack_16_an_owner_in_another_namespace_takes_nothing_along(gateway, tenants):
    red, blue = tenants
    owner = send(gateway, "POST", f"/api/v1/namespaces/{red}/configmaps", configmap("owner", "x"))[1]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    theirs = {**configmap("theirs", "x"), "metadata": {"name": "theirs", "ownerReferences": [reference]}}
    status, told = send(gateway, "POST", f"/api/v1/namespaces/{blue}/configmaps", theirs)
    assert status in (201, 422), told
    # Nor does a patch make the one the other's dependent, so that its end would be the other's.
    victim = send(gateway, "POST", f"/api/v1/namespaces/{blue}/configmaps", configmap("victim", "x"))[1]
    assert victim["metadata"]["uid"]
    assert send(gateway, "DELETE", f"/api/v1/namespaces/{red}/configmaps/owner", {"propagationPolicy": "Background"})[0] == 200
    assert send(gateway, "GET", f"/api/v1/namespaces/{red}/configmaps/owner")[0] == 404
    assert send(gateway, "GET", f"/api/v1/namespaces/{blue}/configmaps/victim")[0] == 200
    attack(16, "an owner reference to an object of another namespace", "nothing of the other namespace is deleted")


def test_attack_16_a_path_and_its_body_name_one_namespace(gateway, tenants):
    red, blue = tenants
    body = {**configmap("straddle", "x"), "metadata": {"name": "straddle", "namespace": blue}}
    assert send(gateway, "POST", f"/api/v1/namespaces/{red}/configmaps", body)[0] in (400, 422)
    for escape in (f"{red}%2f..%2f{blue}", f"{red}/../{blue}", f"{red}%00", "..", "%2e%2e"):
        assert send(gateway, "GET", f"/api/v1/namespaces/{escape}/configmaps")[0] in (200, 400, 404)
        if (told := send(gateway, "GET", f"/api/v1/namespaces/{escape}/configmaps"))[0] == 200:
            assert told[1]["items"] == [], escape
    assert send(gateway, "GET", f"/api/v1/namespaces/{blue}/configmaps/straddle")[0] == 404
    attack(16, "a body for another namespace than its path, and paths that climb", "refused")


def test_attack_16_selectors_do_not_leave_a_namespace(gateway, tenants):
    red, blue = tenants
    send(gateway, "POST", f"/api/v1/namespaces/{blue}/secrets", {"metadata": {"name": "s", "labels": {"x": "y"}}, "stringData": {"k": "v"}})
    for query in (f"fieldSelector=metadata.namespace%3D{blue}", "labelSelector=x%3Dy", f"fieldSelector=metadata.namespace%3D{blue},metadata.name%3Ds"):
        status, told = send(gateway, "GET", f"/api/v1/namespaces/{red}/secrets?{query}")
        assert status == 200 and told["items"] == [], query
    token = send(gateway, "GET", "/api/v1/secrets?limit=1")[1]["metadata"].get("continue")
    if token:
        told = send(gateway, "GET", f"/api/v1/namespaces/{red}/secrets?limit=9&continue={token}")
        assert told[0] in (400, 410) or all(i["metadata"]["namespace"] == red for i in told[1]["items"])
    attack(16, "field and label selectors and page marks of another namespace", "only what is of the namespace of the path")


def test_attack_16_disks_secrets_and_addresses_are_those_of_the_own_namespace(gateway, tenants):
    red, blue = tenants
    disk = {"metadata": {"name": "d"}, "spec": {"persistentVolumeClaim": {"size": "1Gi"}}}
    assert send(gateway, "POST", f"/apis/gabbro.dev/v1/namespaces/{blue}/virtualdisks", disk)[0] == 201
    address = {"metadata": {"name": "ip"}, "spec": {"type": "Auto"}}
    assert send(gateway, "POST", f"/apis/gabbro.dev/v1/namespaces/{blue}/virtualmachineipaddresses", address)[0] == 201
    secret = {"metadata": {"name": "ci"}, "type": "provisioning.virtualization.deckhouse.io/cloud-init", "stringData": {"userData": "#cloud-config"}}
    assert send(gateway, "POST", f"/api/v1/namespaces/{blue}/secrets", secret)[0] == 201
    thief = vm("thief", runPolicy="AlwaysOn", virtualMachineIPAddressName="ip",
               provisioning={"type": "UserDataRef", "userDataRef": {"kind": "Secret", "name": "ci"}})
    assert send(gateway, "POST", VMS.format(red), thief)[0] == 201
    path = VMS.format(red) + "/thief"

    def told(condition):
        found = [c for c in send(gateway, "GET", path)[1].get("status", {}).get("conditions", []) if c["type"] == condition]
        return found[0]["status"] if found else None

    for condition in ("BlockDevicesReady", "VirtualMachineIPAddressReady", "ProvisioningReady"):
        gateway.until(f"{condition} is told", lambda c=condition: told(c) is not None)
        assert told(condition) == "False", condition
    named = vm("named", blockDeviceRefs=[{"kind": "VirtualDisk", "name": "d", "namespace": blue}])
    assert send(gateway, "POST", VMS.format(red) + "?fieldValidation=Strict", named)[0] in (400, 422)
    attack(16, "a disk, an address and a secret of another namespace, by name", "not found: they are looked for in the own namespace only")


# --- 17: more than one may ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Impersonate-User: system:admin", "Impersonate-Group: system:masters", "Impersonate-Uid: 1",
                                    "impersonate-user: x", "Impersonate-User: "])
def test_attack_17_nobody_is_somebody_else(gateway, header):
    status, told = send(gateway, "GET", PATH, headers=[header])
    assert status == 403 and told["reason"] == "Forbidden"
    attack(17, "impersonation headers", "refused (403)")


@pytest.mark.parametrize("header", ["X-Remote-User: system:admin", "X-Remote-Group: system:masters", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-User: admin",
                                    "X-Original-URL: /livez", "X-HTTP-Method-Override: GET", "X-Rewrite-URL: /livez"])
def test_attack_17_headers_of_proxies_mean_nothing(gateway, header):
    with gateway.connect() as one:
        one.sendall(f"DELETE {PATH} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        assert Answers(one).next()[0] == 401
    attack(17, "headers by which proxies tell user, path or method", "without effect")


def test_attack_17_intents_and_tokens_are_out_of_reach(gateway):
    """Also for an administrator: the intents' only author is a controller."""
    for method, path, body in (("POST", "/apis/host.gabbro.dev/v1/hosttasks", {"metadata": {"name": "x"}, "spec": {"nodeName": "n", "type": "RefreshPool"}}),
                               ("DELETE", "/apis/host.gabbro.dev/v1/instances", None), ("PATCH", "/apis/host.gabbro.dev/v1/volumes/x/status", {}),
                               ("PUT", "/agent/v1/node", {}), ("GET", "/agent/v1/manifest", None)):
        status, told = send(gateway, method, path, body, MERGE if method == "PATCH" else JSON)
        assert status in (401, 403), (method, path, told)
    assert send(gateway, "GET", "/apis/gabbro.dev/v1/tokens")[0] in (403, 404)
    attack(17, "writing intents, or speaking as a host, with a user's credentials", "refused (403)")


# --- 18: at the same time ----------------------------------------------------------------------------------------------------------------


def test_attack_18_of_two_updates_with_one_version_one_is_refused(gateway):
    send(gateway, "POST", PATH, configmap("race", "0"))
    for turn in range(20):
        now = send(gateway, "GET", PATH + "/race")[1]
        answers, gate = [], threading.Barrier(4)

        def update(i):
            body = {**now, "data": {"text": f"{turn}-{i}"}}
            gate.wait()
            answers.append((send(gateway, "PUT", PATH + "/race", body)[0], body["data"]["text"]))

        threads = [threading.Thread(target=update, args=(i,)) for i in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert sorted(a[0] for a in answers) == [200, 409, 409, 409]
        winner = next(text for status, text in answers if status == 200)
        assert send(gateway, "GET", PATH + "/race")[1]["data"]["text"] == winner
    attack(18, "several updates of one resourceVersion at once", "one is taken, the others get 409")


def test_attack_18_of_many_creates_of_one_name_one_is_taken(gateway):
    for turn in range(10):
        answers, gate = [], threading.Barrier(4)

        def create():
            gate.wait()
            answers.append(send(gateway, "POST", PATH, configmap(f"once-{turn}", "x"))[0])

        threads = [threading.Thread(target=create) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert sorted(answers) == [201, 409, 409, 409]
    attack(18, "the same object created several times at once", "one is taken, the others get 409")


# --- 19 and I9: what is left of it -------------------------------------------------------------------------------------------------------


def test_attack_19_selectors_without_end_are_refused_in_time(gateway):
    begun = gateway.cpu()
    for query in ("labelSelector=" + ",".join(f"a in ({','.join('b' * 60 for _ in range(50))})" for _ in range(20)).replace(" ", "%20"),
                  "labelSelector=" + "(" * 10000, "fieldSelector=" + "a%3Db," * 1000, "labelSelector=" + "!" * 10000,
                  "limit=99999999999999999999", "limit=-1", "continue=" + "A" * 8000, "continue=" + base64.b64encode(b"\0" * 100).decode(),
                  "resourceVersion=1e99", "timeoutSeconds=-1"):
        status, told = send(gateway, "GET", f"{PATH}?{query}")
        assert status in (200, 400, 410, 414, 422, 431), (query[:60], told)
    assert alive(gateway) and gateway.cpu() - begun < 3
    attack(19, "selectors, page marks and numbers without end", "refused at once")


def test_attack_35_secrets_are_not_in_refusals_nor_in_the_log(gateway):
    word = "correct-horse-battery-staple"
    text = base64.b64encode(word.encode()).decode()
    path = PATH.replace("configmaps", "secrets")
    assert send(gateway, "POST", path, {"metadata": {"name": "keep"}, "stringData": {"p": word}})[0] == 201
    refusals = [send(gateway, "POST", path, {"metadata": {"name": "keep"}, "stringData": {"p": word}}),
                send(gateway, "POST", path, {"metadata": {"name": "k2"}, "stringData": {"p": [word]}}),
                send(gateway, "POST", path, {"metadata": {"name": "k3"}, "data": {"p": word + "!"}}),
                send(gateway, "POST", path, {"metadata": {"name": "K_4"}, "stringData": {"p": word}}),
                send(gateway, "PATCH", path + "/keep", [{"op": "test", "path": "/data/p", "value": word}], "application/json-patch+json"),
                send(gateway, "POST", path, f'{{"metadata":{{"name":"k5"}},"stringData":{{"p":"{word}"'.encode())]
    for status, told in refusals:
        assert status >= 400 and word not in json.dumps(told) and text not in json.dumps(told), told
    audit = b"".join(p.read_bytes() for p in (gateway.folder / "data").rglob("*audit*") if p.is_file())
    assert b'"name":"keep"' in audit.replace(b" ", b"")
    for place in (gateway.words().encode(), audit):
        assert word.encode() not in place and text.encode() not in place
    attack(35, "secret values in error texts, the log and the audit", "nowhere")
