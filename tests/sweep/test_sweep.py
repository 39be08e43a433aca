# SPDX-License-Identifier: Apache-2.0
"""The crash sweep: each operation with a fault at each place that it passes ends as it does without one (A4, A16, A17, C2, C16, C38, C46, C47, E21).

A run without faults tells the places; a case is a place, how often it was passed, and who ends there. Ordinary runs take a sample
within GABBRO_SWEEP_SECONDS (200), chosen by GABBRO_SWEEP_SEED; GABBRO_LONG=1 takes all; GABBRO_SWEEP_CASE=... one alone,
GABBRO_SWEEP_TIMES=N as often;
GABBRO_SWEEP_OPERATIONS=reset,suspend only these; GABBRO_SWEEP_PART=1/2 every second case, for runs beside each other; GABBRO_SWEEP_DONE=LOG leaves out what that log of a run before says
was ok.
"""
import os
import random
import re
import sys
import time

import reliability
from cloud import BUILD
from world import OPERATIONS

SEED = int(os.environ.get("GABBRO_SWEEP_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SECONDS = float(os.environ.get("GABBRO_SWEEP_SECONDS", "200"))
ONLY = os.environ.get("GABBRO_SWEEP_OPERATIONS", "").split(",") if os.environ.get("GABBRO_SWEEP_OPERATIONS") else None
ALONE = os.environ.get("GABBRO_SWEEP_CASE")
PART, PARTS = map(int, os.environ.get("GABBRO_SWEEP_PART", "1/1").split("/"))
DONE = os.environ.get("GABBRO_SWEEP_DONE")
LONG = os.environ.get("GABBRO_LONG") == "1"
NAMES = {"agent": "agent killed at a step", "gateway": "gateway killed at a commit or step", "libvirtd": "libvirtd killed at a step",
         "QEMU": "QEMU killed at a step", "error": "a step fails", "rollback": "agent killed while it rolls back"}
WORDS = {"agent": "the end is as without the fault: nothing left over, never two copies, no start more",
         "gateway": "the end is as without the fault: nothing left over, never two copies, no start more",
         "libvirtd": "the end is as without the fault: nothing left over, never two copies, no start more",
         "QEMU": "the operation ends as asked; a machine that shall run is started once more",
         "error": "rolled back in reverse order and done anew: the end is as without the fault",
         "rollback": "the next agent ends the rolling back and does it anew: the end is as without the fault"}
# A step that fails in the middle of a creation, and where its rolling back is cut off.
FAILING = ["volumes/create/made", "volumes/create/filled", "volumes/pool/there", "ports/put/after", "instances/seed/written",
           "instances/define/defined", "instances/start/paused", "instances/start/policy-seen"]
ROLLBACKS = {"volumes/create/": ["volumes/create/undoing", "volumes/create/undone", "volumes/create/undo.after"],
             "instances/": ["instances/rollback/begun", "instances/rollback/destroyed", "instances/rollback/undefined", "instances/rollback/seed-removed"]}
# Where a QEMU of the machine is there to be killed.
ALIVE = ("instances/start/", "instances/stop/", "instances/destroy/before", "instances/status/", "instances/journal/")


def victims_of(operation, daemon, place):
    if daemon == "gateway":
        return ["gateway", "agent"]
    found = ["agent", "libvirtd", "gateway"]
    if place.startswith(ALIVE) and operation.name in ("create", "start", "restart", "stop", "force off", "redeploy"):
        found.append("QEMU")
    return found


def cases_of(operation, passed):
    """[(kind, daemon, place, number, victim, rollback place)]"""
    found = []
    for daemon, place, times in passed:
        for number in range(1, min(times, 3) + 1):
            for victim in victims_of(operation, daemon, place):
                found.append((victim, daemon, place, number, victim, None))
        if operation.after == "running" and operation.starts and place in FAILING:
            found.append(("error", daemon, place, 1, "error", None))
            found += [("rollback", daemon, place, 1, "error", cut) for prefix, cuts in ROLLBACKS.items() if place.startswith(prefix) for cut in cuts]
    return found


def spell(operation, case):
    _, daemon, place, number, victim, rollback = case
    return ":".join([operation.name, daemon, f"{place}#{number}", victim] + ([rollback] if rollback else []))


def read(words):
    name, daemon, place, victim, *rollback = words.split(":")
    place, number = place.split("#")
    return OPERATIONS[name], ("rollback" if rollback else victim, daemon, place, int(number), victim, rollback[0] if rollback else None)


def alone(words):
    return f"GABBRO_SWEEP_CASE='{words}' /usr/bin/python3 -m pytest -q -s tests/sweep"


def chain():
    """Operations in an order in which each begins where the one before has ended."""
    return [OPERATIONS[n] for n in ("create", "restart", "suspend", "resume", "reset", "redeploy", "redeploy anew", "clone machine",
                                    "delete twin", "attach", "detach", "attach disc", "detach disc", "grow disk", "grow machine", "create", "clone running", "image of running", "stop", "start", "force off", "copy disk", "delete copy", "image of disk",
                                    "undefine", "delete disks", "create", "stop", "delete stopped", "create", "delete with disks", "attach NIC", "detach NIC", "change disc", "change disc back", "create", "delete", "delete namespace", "hold address", "release address", "link disk", "delete link", "upload image",
                                    "delete image")]


class Sweep:
    def __init__(self, world):
        self.world, self.count, self.missed, self.failures, self.good, self.begun = world, 0, [], [], {}, time.monotonic()

    def take(self, operation, case):
        words = spell(operation, case)
        begin = time.monotonic()
        fired, wrong = self.world.case(operation, *case[1:])
        print(f"{'not passed' if not fired else 'FAILED' if wrong else 'ok'} {time.monotonic() - begin:.1f} s {words}", file=sys.stderr, flush=True)
        self.count += 1
        if wrong:
            print("    " + "\n    ".join(w[:600] for w in wrong[:12]), file=sys.stderr, flush=True)
            self.world.mend()
            told, wrong = wrong, wrong if LONG else self.second(operation, case, wrong)
        if wrong:
            self.failures.append(f"{words}\n    " + "\n    ".join(told[:12]) + f"\n    again: {alone(words)}")
        if not fired:
            self.missed.append(words)
        else:
            key = case[0], operation.name
            self.good[key] = self.good.get(key, True) and not wrong

    def second(self, operation, case, first):
        """What is still wrong with a case at its second run. What was wrong only once is told at the end of all tests."""
        fired, wrong = self.world.case(operation, *case[1:])
        if wrong or not fired:
            self.world.mend()
            return wrong or first
        print(f"unsteady: ok at the second time: {spell(operation, case)}", file=sys.stderr, flush=True)
        with open(BUILD / "unsteady.log", "a") as log:
            log.write(f"sweep {spell(operation, case)}: {first[0][:200]}\n")
        return []

    def tell(self):
        for (kind, name), good in self.good.items():
            if good:
                reliability.outcome(NAMES[kind], name, WORDS[kind])
        places = sum(len(p) for p in self.world.passed.values())
        print(f"sweep: {places} places, {self.count} cases, {len(self.missed)} not passed again, {len(self.failures)} failed; seed {SEED}; "
              f"{time.monotonic() - self.begun:.0f} s", file=sys.stderr, flush=True)


def sample(sweep, cases):
    """Round after round over the operations, each time the next victim, until the time is over."""
    chance = random.Random(SEED)
    left = {}
    for name, all_of_it in cases.items():
        kinds = sorted({c[0] for c in all_of_it})
        chance.shuffle(kinds)
        left[name] = [chance.sample([c for c in all_of_it if c[0] == kind], k=sum(c[0] == kind for c in all_of_it)) for kind in kinds]
    while any(map(any, left.values())):
        for operation in chain():
            if not any(left.get(operation.name, [])):
                continue
            if not LONG and time.monotonic() - sweep.begun > SECONDS:
                return
            buckets = left[operation.name]
            bucket = next(b for b in buckets if b)
            buckets.remove(bucket)
            buckets.append(bucket)
            sweep.take(operation, bucket.pop())


def test_A4_C2_C16_every_operation_survives_a_fault_at_every_step(world):
    print(f"\nsweep: GABBRO_SWEEP_SEED={SEED}", file=sys.stderr, flush=True)
    sweep = Sweep(world)
    if ALONE:
        operation, case = read(ALONE)
        world.learn(operation)
        for _ in range(int(os.environ.get("GABBRO_SWEEP_TIMES", "1"))):
            sweep.take(operation, case)
    else:
        for operation in {o.name: o for o in chain() if not ONLY or o.name in ONLY}.values():
            begin = time.monotonic()
            world.learn(operation)
            print(f"sweep: {operation.name}: {len(world.passed[operation.name])} places, {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
        done = set(re.findall(r"^ok [0-9.]+ s (.*)$", open(DONE).read(), re.MULTILINE)) if DONE else set()
        cases = {name: [c for c in cases_of(OPERATIONS[name], passed)[PART - 1::PARTS] if spell(OPERATIONS[name], c) not in done]
                 for name, passed in world.passed.items()}
        print(f"sweep: {sum(map(len, cases.values()))} cases in all", file=sys.stderr, flush=True)
        sample(sweep, cases)
    sweep.tell()
    world.failed = bool(sweep.failures)
    assert not sweep.failures, "\n" + "\n".join(sweep.failures)
    assert sweep.count > len(sweep.missed), "no fault came to pass"
