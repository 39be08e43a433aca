# SPDX-License-Identifier: Apache-2.0
"""The checker sees each kind of fault: a good history, then the same one broken in one place."""
import copy
import dataclasses

import pytest
from checker import ABSENT, History, List, Read, Watch, Write, faults

A, B = "configmaps/default/a", "configmaps/default/b"


def good():
    """a: created at 2 (red), updated at 4 (blue), deleted at 6; b: created at 3 (red), patched at 5 (red), its answer unknown."""
    writes = [
        Write("create", A, "w1:red:1", 1, 2, "ok", 2, "ua"),
        Write("create", B, "w2:red:1", 1, 2, "ok", 3, "ub"),
        Write("update", A, "w1:blue:2", 3, 4, "ok", 4, "ua", expect=2),
        Write("update", A, "w2:red:9", 3, 4, "refused", expect=2),
        Write("patch", B, "w2:red:2", 5, 6, "unknown"),
        Write("patch", B, "w2:red:3", 5, 6, "unknown"),
        Write("delete", A, None, 7, 8, "ok", uid="ua", expect=4),
    ]
    everything = [("ADDED", A, 2, "w1:red:1", "ua", 2), ("ADDED", B, 3, "w2:red:1", "ub", 2), ("MODIFIED", A, 4, "w1:blue:2", "ua", 4),
                  ("MODIFIED", B, 5, "w2:red:2", "ub", 6), ("DELETED", A, 6, "w1:blue:2", "ua", 8)]
    red = [("ADDED", A, 2, "w1:red:1", "ua", 2), ("ADDED", B, 3, "w2:red:1", "ub", 2), ("DELETED", A, 4, "w1:red:1", "ua", 4),
           ("MODIFIED", B, 5, "w2:red:2", "ub", 6)]
    watches = [Watch("all", "configmaps", None, 1, 6, everything), Watch("red", "configmaps", "red", 1, 6, red),
               Watch("late", "configmaps", None, 3, 6, everything[2:])]
    reads = [Read(A, 0, 0.5, ABSENT), Read(A, 2.5, 2.6, 2, "w1:red:1", "ua"), Read(A, 3.5, 3.6, 2, "w1:red:1", "ua"),
             Read(A, 4.5, 4.6, 4, "w1:blue:2", "ua"), Read(B, 5.5, 5.6, 3, "w2:red:1", "ub"), Read(A, 9, 9.1, ABSENT)]
    lists = [List("configmaps", 4.5, 4.6, 4, {A: (4, "w1:blue:2", "ua"), B: (3, "w2:red:1", "ub")}),
             List("configmaps", 9, 9.1, 6, {B: (5, "w2:red:2", "ub")})]
    return History(writes, reads, lists, watches)


def test_a_good_history_has_no_fault():
    assert faults(good()) == []


def drop(watch, rv):
    def breaks(history):
        history.watches[watch].events = [e for e in history.watches[watch].events if e[2] != rv]
    return breaks


def change(what, index, **fields):
    def breaks(history):
        got = getattr(history, what)
        got[index] = dataclasses.replace(got[index], **fields)
    return breaks


def lose_everywhere(rv):
    """The write is gone as if it had never been; only its acknowledgement is left."""
    def breaks(history):
        for watch in history.watches:
            watch.events = [e for e in watch.events if e[2] != rv]
        history.reads = [r for r in history.reads if r.rv != rv]
        history.lists = []
    return breaks


def event(watch, index, **fields):
    def breaks(history):
        names = ("type", "key", "rv", "value", "uid", "time")
        events = history.watches[watch].events
        events[index] = tuple(fields.get(name, old) for name, old in zip(names, events[index]))
    return breaks


def again(history):
    history.watches[0].events.insert(3, history.watches[0].events[2])


def swap(history):
    events = history.watches[0].events
    events[2], events[3] = events[3], events[2]


def reuse(history):
    history.reads.append(Read(B, 5.5, 5.6, 4, "w2:red:3", "ub"))


def twice(history):
    for watch in history.watches:
        watch.until = 7
        watch.events.append(("MODIFIED", B, 7, "w2:red:2", "ub", 9))


def back(history):
    for watch in history.watches[::2]:
        watch.until = 7
        watch.events.append(("ADDED", A, 7, "w1:green:8", "ua", 9))
    history.writes.append(Write("create", A, "w1:green:8", 8, 9, "unknown"))


BROKEN = [
    ("a lost acknowledgement", lose_everywhere(4), "lost: update"),
    ("a lost acknowledged delete", lose_everywhere(6), "lost: delete"),
    ("an event twice", again, "came 2 times"),
    ("a gap", drop(0, 5), "gap"),
    ("a gap in a selection", drop(1, 3), "gap"),
    ("a gap behind a reconnect", drop(2, 4), "gap"),
    ("events out of order", swap, "came after"),
    ("a removal that the selection is not told of", drop(1, 4), "gap"),
    ("an ADDED for what was in the selection", event(1, 3, type="ADDED"), "should be"),
    ("a delete with the wrong last version", event(0, 4, value="w1:red:1"), "the last version was"),
    ("a stale read", change("reads", 3, rv=2, value="w1:red:1"), "must be of a revision from"),
    ("a read of what was deleted", change("reads", 5, rv=4, value="w1:blue:2", uid="ua"), "must be of a revision from"),
    ("a read that misses what is there", change("reads", 3, rv=ABSENT, value=None, uid=""), "showed it absent"),
    ("a read out of the future", change("reads", 1, rv=4, value="w1:blue:2"), "must be of a revision from"),
    ("half a write", change("reads", 1, value="w1:re"), "two things"),
    ("half a write everywhere", lambda h: [event(0, 3, value="TORN")(h), event(1, 3, value="TORN")(h), event(2, 1, value="TORN")(h),
                                           change("lists", 1, items={B: (5, "TORN", "ub")})(h)], "nobody wrote"),
    ("a refused write that is there", change("writes", 4, outcome="refused"), "was refused and is there"),
    ("a write that committed twice", twice, "committed at"),
    ("a revision with two meanings", reuse, "two things"),
    ("an update over another's write", change("writes", 2, expect=1), "was conditional on 1"),
    ("a create of what exists", change("writes", 2, verb="create", expect=0), "but it existed"),
    ("a uid that comes back", back, "is back"),
    ("a stale list", change("lists", 1, rv=4, items={A: (4, "w1:blue:2", "ua"), B: (3, "w2:red:1", "ub")}), "list of configmaps is of 4"),
    ("a list without one of its objects", change("lists", 0, items={A: (4, "w1:blue:2", "ua")}), "shows configmaps/default/b at 0"),
    ("a list with an older version", change("lists", 1, items={B: (3, "w2:red:1", "ub")}), "shows configmaps/default/b at 3"),
]


@pytest.mark.parametrize("breaks,words", [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_history_is_seen(breaks, words):
    history = copy.deepcopy(good())
    breaks(history)
    found = faults(history)
    assert any(words in sentence for sentence in found), found
