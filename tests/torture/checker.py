# SPDX-License-Identifier: Apache-2.0
"""What a history of writes, reads, lists and watches says about the store: a pure function over plain data.

All revisions stand in one order, so the store is one register per key on one line of revisions. The log of that line is put together
from everything that anybody was told; then every answer is held against it:

  - a revision is one write of one key; nobody sees what nobody wrote, or part of it; nothing commits twice, nor after a refusal;
  - an acknowledged write is in the log, behind the version that it was conditional on;
  - a watch gives exactly the log between where it began and where it ended: in order, no gap, no event twice, across reconnects; with a
    selector, what comes into the selection is ADDED and what leaves it DELETED;
  - a read or list shows the state at one revision, not older than anything that anybody knew before it was asked, and not newer than
    what was asked for after it was answered (linearizability); a list names that revision.
"""
import bisect
import collections
import dataclasses

ABSENT = 0


@dataclasses.dataclass
class Write:
    verb: str  # create, update, patch, delete
    key: str  # "<plural>/<namespace>/<name>"
    value: str | None  # unique to the attempt; None of a delete
    began: float
    ended: float
    outcome: str  # ok, refused, unknown
    rv: int = 0  # of an acknowledged write; a delete has none
    uid: str = ""
    expect: int = 0  # the revision it was conditional on


@dataclasses.dataclass
class Read:
    key: str
    began: float
    ended: float
    rv: int  # ABSENT
    value: str | None = None
    uid: str = ""


@dataclasses.dataclass
class List:
    kind: str
    began: float
    ended: float
    rv: int
    items: dict  # key -> (rv, value, uid)


@dataclasses.dataclass
class Watch:
    """One watch from its first revision on, however often it was connected again."""
    who: str
    kind: str
    color: str | None  # what it selects; None: all
    after: int
    until: int = 0
    events: list = dataclasses.field(default_factory=list)  # (type, key, rv, value, uid, time)


@dataclasses.dataclass
class History:
    writes: list = dataclasses.field(default_factory=list)
    reads: list = dataclasses.field(default_factory=list)
    lists: list = dataclasses.field(default_factory=list)
    watches: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Version:
    rv: int
    key: str
    value: str | None  # None: the key is gone from here on
    uid: str


def color_of(value):
    """Values read "<who>:<color>:<anything>"."""
    return value.split(":")[1] if value and value.count(":") >= 2 else None


class Log:
    """The line of revisions."""

    def __init__(self, history, say):
        self.say = say
        self.at = {}
        self.source(history)
        self.line = [self.at[rv] for rv in sorted(self.at)]
        self.chains = collections.defaultdict(list)
        self.before = {}  # rv -> the version of the key before it
        for version in self.line:
            chain = self.chains[version.key]
            self.before[version.rv] = chain[-1] if chain else None
            chain.append(version)
        self.revisions = {key: [v.rv for v in chain] for key, chain in self.chains.items()}

    def source(self, history):
        for write in history.writes:
            if write.outcome == "ok" and write.verb != "delete":
                self.add(write.rv, write.key, write.value, write.uid)
        for read in history.reads:
            if read.rv != ABSENT:
                self.add(read.rv, read.key, read.value, read.uid)
        for listing in history.lists:
            for key, (rv, value, uid) in listing.items.items():
                self.add(rv, key, value, uid)
        for watch in history.watches:
            for kind, key, rv, value, uid, _ in watch.events:
                if kind != "DELETED":
                    self.add(rv, key, value, uid)
                elif watch.color is None:
                    self.add(rv, key, None, uid)

    def add(self, rv, key, value, uid):
        new, old = Version(rv, key, value, uid), self.at.get(rv)
        if old is None:
            self.at[rv] = new
        elif old != new:
            self.say(f"revision {rv} is two things: {old} and {new}")

    def next(self, version):
        """Of the same key, or None."""
        chain, revisions = self.chains[version.key], self.revisions[version.key]
        place = bisect.bisect_right(revisions, version.rv)
        return chain[place] if place < len(chain) else None

    def state(self, key, rv):
        """The version that @key has at revision @rv, or None."""
        place = bisect.bisect_right(self.revisions.get(key, []), rv)
        version = self.chains[key][place - 1] if place else None
        return version if version and version.value is not None else None


def check_chains(log, say):
    for key, chain in log.chains.items():
        uids, held = set(), None
        for version in chain:
            gone = version.value is None
            if gone and (held is None or held != version.uid):
                say(f"{key}: deleted at {version.rv} as {version.uid}, but it was {held}")
            if not gone and held is None and version.uid in uids:
                say(f"{key}: {version.uid} is back at {version.rv} after its delete")
            if not gone and held is not None and held != version.uid:
                say(f"{key}: at {version.rv} {version.uid} took the place of {held} without a delete")
            uids.add(version.uid)
            held = None if gone else version.uid


def check_writes(history, log, say):
    by_value = collections.defaultdict(list)
    for version in log.line:
        if version.value is not None:
            by_value[version.value].append(version)
    attempts = {write.value: write for write in history.writes if write.value is not None}
    for value, versions in by_value.items():
        write = attempts.get(value)
        if write is None or write.key != versions[0].key:
            say(f"{versions[0].key} at {versions[0].rv}: nobody wrote {value!r} there (half a write?)")
        elif write.outcome == "refused":
            say(f"{write.key} at {versions[0].rv}: {value!r} was refused and is there")
        if len(versions) > 1:
            say(f"{versions[0].key}: {value!r} was written once and committed at {[v.rv for v in versions]}")
    ends = {version.uid: version for version in log.line if version.value is None}
    seen = {event[2] for watch in history.watches for event in watch.events}
    for write in history.writes:
        if write.outcome == "ok":
            check_acknowledged(write, log, ends, seen, say)


def check_acknowledged(write, log, ends, seen, say):
    version = ends.get(write.uid) if write.verb == "delete" else log.at.get(write.rv)
    if version is None:
        say(f"lost: {write.verb} of {write.key} ({write.uid}) was acknowledged and is in no watch")
        return
    if version.rv not in seen:
        say(f"lost: {write.verb} of {write.key} at {version.rv} was acknowledged and is in no watch")
    before = log.before[version.rv]
    there = before.rv if before and before.value is not None else ABSENT
    if write.verb == "create" and there != ABSENT:
        say(f"{write.key}: created at {version.rv}, but it existed since {there}")
    if write.verb != "create" and there == ABSENT:
        say(f"{write.key}: {write.verb} at {version.rv}, but it did not exist")
    if write.expect and write.expect != there:
        say(f"{write.key}: {write.verb} at {version.rv} was conditional on {write.expect}, but came after {there}")


def expected_events(watch, log):
    events = []
    revisions = [version.rv for version in log.line]
    for version in log.line[bisect.bisect_right(revisions, watch.after):bisect.bisect_right(revisions, watch.until)]:
        if version.key.split("/")[0] != watch.kind:
            continue
        old = log.before[version.rv]
        was = old is not None and old.value is not None and watch.color in (None, color_of(old.value))
        now = version.value is not None and watch.color in (None, color_of(version.value))
        if was or now:
            events.append(("MODIFIED" if was and now else "ADDED" if now else "DELETED", version.key, version.rv))
    return events


def check_watch(watch, log, say):
    last, times = watch.after, collections.Counter(event[2] for event in watch.events)
    for rv, n in times.items():
        if n > 1:
            say(f"{watch.who}: revision {rv} came {n} times")
    for kind, key, rv, value, _, _ in watch.events:
        if rv < last:
            say(f"{watch.who}: revision {rv} came after {last}")
        last = max(last, rv)
        old = log.before.get(rv)
        if kind == "DELETED" and watch.color is None and old is not None and value != old.value:
            say(f"{watch.who}: the delete of {key} at {rv} shows {value!r}, the last version was {old.value!r}")
    got = {event[2]: (event[0], event[1], event[2]) for event in watch.events}
    expected = {event[2]: event for event in expected_events(watch, log)}
    for rv in sorted(expected.keys() - got.keys()):
        say(f"{watch.who}: gap: no {expected[rv]} between {watch.after} and {watch.until}")
    for rv in sorted(got.keys() - expected.keys()):
        say(f"{watch.who}: {got[rv]} should not be in what it selects")
    for rv in sorted(expected.keys() & got.keys()):
        if expected[rv] != got[rv]:
            say(f"{watch.who}: {got[rv]} should be {expected[rv]}")


class Bounds:
    """What revision an answer may show: at least what anybody knew before, at most what nobody asked for only later."""

    def __init__(self, history, log):
        values = {version.value: version.rv for version in log.line if version.value is not None}
        ends = {version.uid: version.rv for version in log.line if version.value is None}
        known, asked = [], []
        for write in history.writes:
            rv = ends.get(write.uid, 0) if write.verb == "delete" else values.get(write.value, 0)
            if write.outcome == "ok":
                known.append((write.ended, rv))
            if rv and write.verb != "delete":
                asked.append((write.began, rv))
        known += [(read.ended, read.rv) for read in history.reads]
        known += [(listing.ended, listing.rv) for listing in history.lists]
        known += [(event[5], event[2]) for watch in history.watches for event in watch.events]
        self.known = self.running(sorted(known), max)
        self.asked = self.running(sorted(asked, reverse=True), min)
        self.asked[0].reverse()
        self.asked[1].reverse()

    @staticmethod
    def running(pairs, choose):
        times, best = [], []
        for time, rv in pairs:
            times.append(time)
            best.append(choose(best[-1], rv) if best else rv)
        return times, best

    def least(self, began):
        place = bisect.bisect_left(self.known[0], began)
        return self.known[1][place - 1] if place else 0

    def most(self, ended):
        place = bisect.bisect_right(self.asked[0], ended)
        return self.asked[1][place] - 1 if place < len(self.asked[0]) else float("inf")


def spans(read, log):
    """The revisions between which the state is what the read showed: (first, the one that ends it or infinity)."""
    if read.rv != ABSENT:
        version = log.at[read.rv]
        after = log.next(version)
        return [(version.rv, after.rv if after else float("inf"))]
    chain, found, begun = log.chains.get(read.key, []), [], 0
    for version in chain:
        if version.value is None:
            begun = version.rv
        elif begun is not None:
            found.append((begun, version.rv))
            begun = None
    return found if begun is None else found + [(begun, float("inf"))]


def check_reads(history, log, bounds, say):
    for read in history.reads:
        least, most = bounds.least(read.began), bounds.most(read.ended)
        candidates = spans(read, log)
        if not any(first <= most and end > least for first, end in candidates):
            what = "absent" if read.rv == ABSENT else f"at {read.rv}"
            say(f"read of {read.key} showed it {what}, which held in {candidates[-3:]}; it must be of a revision from {least} to {most}")


def check_lists(history, log, bounds, say):
    keys = collections.defaultdict(list)
    for key in log.chains:
        keys[key.split("/")[0]].append(key)
    for listing in history.lists:
        least, most = bounds.least(listing.began), bounds.most(listing.ended)
        if not least <= listing.rv <= most:
            say(f"list of {listing.kind} is of {listing.rv}; it must be of a revision from {least} to {most}")
        for key in keys[listing.kind]:
            state = log.state(key, listing.rv)
            there = state.rv if state else ABSENT
            shown = listing.items.get(key, (ABSENT,))[0]
            if shown != there:
                say(f"list of {listing.kind} at {listing.rv} shows {key} at {shown}, it was at {there}")


def faults(history):
    """What is wrong, as sentences; an empty list: nothing."""
    found = []
    log = Log(history, found.append)
    bounds = Bounds(history, log)
    check_chains(log, found.append)
    check_writes(history, log, found.append)
    for watch in history.watches:
        check_watch(watch, log, found.append)
    check_reads(history, log, bounds, found.append)
    check_lists(history, log, bounds, found.append)
    return found
