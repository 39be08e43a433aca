# SPDX-License-Identifier: Apache-2.0
"""Writers, readers and watchers while the gateway is killed again and again; then every answer is held against the others.

Requirement "Nothing lost", invariants I4 and I5, attack 33.
"""
import os
import random
import statistics
import time

import load
import reliability
from checker import History, List, Read, Watch, Write, faults
from gateway import Client, Gateway

SECONDS = 240 if os.environ.get("GABBRO_LONG") == "1" else 18
N_WRITERS, N_WRITER_THREADS, N_READERS = 2, 5, 4


def crowds_of(gateway, seed, begin_at, stop, until, folder):
    def writer(who):
        return lambda g, out: load.Writer(g, who, seed, stop, out)

    def reader(who):
        return lambda g, out: load.Reader(g, who, seed, stop, out)

    def watcher(who, **options):
        return lambda g, out: load.Watcher(g, who, seed, stop, out, until=until, **options)

    watchers = [watcher(f"all-{kind}", kind=kind, after=begin_at) for kind in load.KINDS]
    watchers += [watcher("red", kind="configmaps", color="red", after=begin_at),
                 watcher("slow", kind="configmaps", after=begin_at, pace=0.0005),
                 watcher("moody", kind="configmaps", moody=True), watcher("moody-red", kind="secrets", color="red", moody=True)]
    writers = [[writer(f"w{p}.{t}") for t in range(N_WRITER_THREADS)] for p in range(N_WRITERS)]
    return (load.Crowd(gateway, folder, writers + [[reader(f"r{t}") for t in range(N_READERS)]]),
            load.Crowd(gateway, folder, [watchers[:3], watchers[3:]]))


def write_last(gateway, kind, out):
    client, value = Client(gateway), f"main-{kind}:red:x"
    began = time.monotonic()
    status, answer = client.ask("POST", load.path_of(f"{kind}/default/"), load.manifest(f"{kind}/default/{load.LAST}", value))
    assert status == 201, answer
    key, rv, _, uid = load.told(answer, kind)
    out.append(Write("create", key, value, began, time.monotonic(), "ok", rv, uid))
    client.drop()


def torture(gateway, seed, folder, seconds):
    """Return: (what everybody was told, seconds of each start)."""
    stop, until, dice = load.events(), load.events(), random.Random(f"{seed} kills")
    client = Client(gateway)
    begin_at = int(client.ask("GET", "/api/v1/configmaps")[1]["metadata"]["resourceVersion"])
    busy, watching = crowds_of(gateway, seed, begin_at, stop, until, folder)
    starts, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        stop.wait(dice.choice([0.02, 0.1, 0.3, 0.6, 1.2]) * dice.random())  # a moment that nothing announces
        gateway.kill()
        starts.append(gateway.begin())
    stop.set()
    client.drop()
    found = busy.join(60)
    for kind in load.KINDS:
        write_last(gateway, kind, found)
    final = load.Reader(gateway, "final", seed, stop, found)
    for _ in range(60):
        final.turn()
    final.client.drop()
    watching.wait(30)
    until.set()
    return found + watching.join(30), starts


def sorted_out(entries):
    history, odd = History(), []
    for entry in entries:
        where = {Write: history.writes, Read: history.reads, List: history.lists, Watch: history.watches}.get(type(entry), odd)
        where.append(entry)
    return history, odd


def test_nothing_is_lost_doubled_or_out_of_order_under_kills(tmp_path, seed):
    gateway = Gateway(tmp_path)
    entries, starts = torture(gateway, seed, tmp_path, SECONDS)
    gateway.end()
    history, odd = sorted_out(entries)
    outcomes = {o: sum(w.outcome == o for w in history.writes) for o in ("ok", "refused", "unknown")}
    print(f"{len(starts)} kills, start {1000 * statistics.median(starts):.0f} ms (longest {1000 * max(starts):.0f}); writes {outcomes}, "
          f"{len(history.reads)} reads, {len(history.lists)} lists, {sum(len(w.events) for w in history.watches)} events in "
          f"{len(history.watches)} watches")
    found = faults(history)
    assert not odd, odd[:10]
    assert not found, "\n".join(found[:40])
    assert len(starts) >= 12 and outcomes["ok"] > 500 and outcomes["refused"] and outcomes["unknown"] and history.lists
    reliability.outcome("gateway killed again and again", "concurrent writes, reads and watches over the API",
                        "what was acknowledged is there, nothing is half there; watches are ordered, without gap and without double")
