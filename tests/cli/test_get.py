# SPDX-License-Identifier: Apache-2.0
"""Looking at objects."""
import json

import pytest
import yaml

from conftest import NOT_FOUND, USAGE, config_map, disk, machine

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b31m\x7f\u202edrawkcab\r\nnext line\tend"
RAW = ("\x1b", "\x07", "\x9b", "\x7f", "\r")


@pytest.fixture
def pair(user):
    user.apply(machine("web", labels={"app": "web"}), machine("db", labels={"app": "db"}), disk("web-root"))
    return user


def test_table(pair):
    result = pair.gabbro("get", "vm")
    assert result.lines[0].split() == ["NAME", "PHASE", "NODE", "IPADDRESS", "AGE"]
    assert [row[:2] for row in result.rows] == [["db", "Stopped"], ["web", "Stopped"]]
    starts = [line.index(line.split()[1]) for line in result.lines]
    assert len(set(starts)) == 1, "columns are aligned"


def test_wide_table(pair):
    result = pair.gabbro("get", "vm", "-o", "wide")
    assert "NEED RESTART" in result.lines[0] and "COREFRACTION" in result.lines[0]
    assert ["db", "Stopped", "1", "20%"] == result.rows[0][:4]


def test_no_headers(pair):
    assert pair.gabbro("get", "vm", "--no-headers").lines[0].split()[0] == "db"


def test_json_yaml_and_names(pair):
    assert pair.get("vm", "web")["spec"]["cpu"] == {"cores": 1, "coreFraction": "20%"}
    listed = pair.get("vm")
    assert listed["kind"] == "VirtualMachineList" and [i["metadata"]["name"] for i in listed["items"]] == ["db", "web"]
    as_yaml = yaml.safe_load(pair.gabbro("get", "vm", "web", "-o", "yaml").out)
    assert as_yaml["metadata"] == pair.get("vm", "web")["metadata"]
    assert pair.gabbro("get", "vm", "-o", "name").lines == ["virtualmachine/db", "virtualmachine/web"]


def test_names_can_be_given_back(pair):
    names = pair.gabbro("get", "vm,vd", "-o", "name").lines
    assert names == ["virtualmachine/db", "virtualmachine/web", "virtualdisk/web-root"]
    assert [i["metadata"]["name"] for i in pair.get(*names)["items"]] == ["db", "web", "web-root"]


def test_selectors(pair):
    assert [r[0] for r in pair.gabbro("get", "vm", "-l", "app=web").rows] == ["web"]
    assert [r[0] for r in pair.gabbro("get", "vm", "-l", "app in (web,db),app!=web").rows] == ["db"]
    assert [r[0] for r in pair.gabbro("get", "vm", "--field-selector", "metadata.name=db").rows] == ["db"]
    assert "app==web==" in pair.gabbro("get", "vm", "-l", "app==web==", code=1).err


def test_all_namespaces(pair):
    result = pair.gabbro("get", "vm", "-A")
    assert result.lines[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert [pair.project, "web"] in [r[:2] for r in result.rows]


def test_several_names_show_what_is_there_and_tell_what_is_not(pair):
    result = pair.gabbro("get", "vm", "web", "absent", "db", code=NOT_FOUND)
    assert [r[0] for r in result.rows] == ["web", "db"] and '"absent" not found' in result.err
    several = pair.gabbro("get", "vm", "web", "absent", "db", "-o", "json", code=NOT_FOUND).json
    assert several["kind"] == "List" and len(several["items"]) == 2


def test_several_kinds_and_categories(pair):
    out = pair.gabbro("get", "vm,vd").out
    assert "virtualmachine/web" in out and "virtualdisk/web-root" in out and out.count("NAME ") == 2
    assert "virtualmachine/web" in pair.gabbro("get", "virtualization").out
    assert pair.gabbro("get", "all").rows[0][0] == "db"
    kinds = {i["kind"] for i in yaml.safe_load(pair.gabbro("get", "vm,vd", "-o", "yaml").out)["items"]}
    assert kinds == {"VirtualMachine", "VirtualDisk"}


def test_nothing_is_said_in_words_and_is_no_failure(user):
    for words in (["vm"], ["vm,vd"], ["vm", "-l", "a=b"]):
        result = user.gabbro("get", *words)
        assert result.out == "" and f"found in {user.project}." in result.err


def test_watch_follows_a_change(pair):
    with pair.follow("get", "vm", "-w") as watch:
        header = watch.until("web ").splitlines()[0]
        pair.apply(machine("later"))
        text = watch.until("later")
        assert text.count("NAME") == 1
        line = next(l for l in text.splitlines() if l.startswith("later"))
        assert line.startswith("later  ") and len(header) > 0
    with pair.follow("get", "vm", "web", "-w", "-o", "json") as watch:
        watch.until('"name": "web"')
        pair.kubectl("label", "vm", "web", "seen=yes")
        assert "later" not in watch.until('"seen": "yes"')
    assert "not found" in pair.gabbro("get", "vm", "absent", "-w", code=NOT_FOUND).err


def test_describe(pair):
    pair.apply(config_map("settings", {"key": "value"}))
    pair.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"password": "hunter2"}})
    out = pair.gabbro("describe", "vm", "web").out
    for words in ("Name           web", "Labels         app=web", "Spec\n", "coreFraction: 20%", "Conditions\n", "VirtualMachineClassReady",
                  "no node has joined yet"):
        assert words in out.replace('"20%"', "20%"), out
    assert "last-applied" not in out
    assert "key: value" in pair.gabbro("describe", "cm/settings").out
    secret = pair.gabbro("describe", "secret", "hidden").out
    assert "password: 7 bytes" in secret and "hunter2" not in secret and "aHVudGVyMg" not in secret
    both = pair.gabbro("describe", "vm", "web", "absent", "db", code=NOT_FOUND)
    assert both.out.count("Conditions") == 2 and "absent" in both.err
    assert pair.gabbro("describe", "vm").out.count("Conditions") == 2
    pair.gabbro("describe", "vm", "/", code=USAGE)


def test_events_are_in_order_and_described(pair):
    pair.gabbro("stop", "web", code=1)
    events = pair.gabbro("events")
    assert events.lines[0].split() == ["TIME", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    times = [row[0] for row in events.rows]
    assert times == sorted(times) and times[0].endswith("Z")
    name = pair.get("vmop")["items"][0]["metadata"]["name"]
    assert "Events\n" in pair.gabbro("describe", "vmop", name).out
    with pair.follow("events", "-w") as watch:
        watch.until("VirtualMachineOperation/")
        pair.gabbro("stop", "db", code=1)
        watch.until("stop-db-")
    assert "stop-db-" in pair.gabbro("events", "-A").out


def hostile_event(project):
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "hostile", "namespace": project},
            "involvedObject": {"kind": "VirtualMachine", "name": "odd\x1b[0m", "namespace": project}, "type": "Warning", "reason": "Odd",
            "message": HOSTILE, "lastTimestamp": "2026-01-01T00:00:00Z"}


def test_control_characters_of_others_never_reach_the_terminal(user):
    user.apply(machine("odd", annotations={"note": HOSTILE}), config_map("odd", {"key": HOSTILE}))
    user.apply(hostile_event(user.project))
    assert json.loads(user.gabbro("get", "vm", "odd", "-o", "json").out)["metadata"]["annotations"]["note"] == HOSTILE
    for words in (["get", "vm", "-o", "wide"], ["get", "vm", "odd", "-o", "json"], ["get", "vm", "odd", "-o", "yaml"], ["describe", "vm", "odd"],
                  ["describe", "cm", "odd"], ["get", "cm,events"], ["events"], ["get", "vm", "\x1b[31mabsent"], ["get", "\x1b[31mkind"]):
        result = user.gabbro(*words, code=None)
        both = result.out + result.err
        assert not [c for c in RAW if c in both], (words, both)
