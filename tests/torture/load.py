# SPDX-License-Identifier: Apache-2.0
"""Writers, readers and watchers, each a process of some threads, that write down all they were told."""
import base64
import http.client
import json
import multiprocessing
import pickle
import random
import threading
import time

from checker import ABSENT, List, Read, Watch, Write
from gateway import Client, NotSent

KINDS = {"configmaps": "ConfigMap", "secrets": "Secret"}
COLORS = ["red", "blue"]
N_KEYS = 12
LAST = "zz-last"  # written when all is over, so that each watch knows when it has seen everything
BROKEN = (OSError, http.client.HTTPException)


def path_of(key):
    kind, namespace, name = key.split("/")
    return f"/api/v1/namespaces/{namespace}/{kind}" + (f"/{name}" if name else "")


def manifest(key, value, filling=0):
    """The value stands in four places, so that half a write shows."""
    kind, _, name = key.split("/")
    text = base64.b64encode(value.encode()).decode() if kind == "secrets" else value
    return {"apiVersion": "v1", "kind": KINDS[kind],
            "metadata": {"name": name, "labels": {"color": value.split(":")[1]}, "annotations": {"torture/value": value}},
            "data": {"a": text, "b": text, "filling": "QUJD" * filling}}


def told(item, kind):
    """(key, rv, value, uid) of an object as it was answered."""
    meta, data = item["metadata"], item.get("data", {})
    value = meta.get("annotations", {}).get("torture/value", "")
    plain = [base64.b64decode(data.get(n, "")).decode() if kind == "secrets" else data.get(n, "") for n in "ab"]
    color = meta.get("labels", {}).get("color")
    if plain != [value, value] or value.split(":")[1:2] != [color] or set(data["filling"]) > set("QUJD"):
        value = f"TORN {value} {plain} {color}"
    return f"{kind}/{meta['namespace']}/{meta['name']}", int(meta["resourceVersion"]), value, meta["uid"]


class Worker:
    def __init__(self, gateway, who, seed, stop, out):
        self.client, self.who, self.stop, self.out = Client(gateway), who, stop, out
        self.random = random.Random(f"{seed} {who}")
        self.n = 0

    def run(self):
        while not self.stop.is_set():
            try:
                self.turn()
            except NotSent:
                self.stop.wait(0.01)  # the gateway is down; nothing tells when it is back
        self.client.drop()

    def any_key(self):
        return f"{self.random.choice(list(KINDS))}/default/k{self.random.randrange(N_KEYS)}"


class Writer(Worker):
    known = {}  # key -> (rv, uid) as any writer of this process last heard; right or not

    def value(self):
        self.n += 1
        return f"{self.who}-{self.n}:{self.random.choice(COLORS)}:x"

    def turn(self):
        key = self.any_key()
        verb = self.random.choice(["create", "create", "update", "update", "update", "patch", "patch", "delete"])
        # A burst: the same key again and again, before others see it.
        for _ in range(self.random.choice([1, 1, 1, 6])):
            self.one(verb, key)

    def one(self, verb, key):
        value = None if verb == "delete" else self.value()
        rv, _ = self.known.get(key, (0, ""))
        write = Write(verb, key, value, time.monotonic(), 0, "unknown")
        conditional = rv and (verb == "update" or self.random.random() < 0.5)
        if verb in ("update", "delete") and conditional:
            write.expect = rv
        try:
            self.client.connect()
            write.began = time.monotonic()
            status, answer = self.send(write)
        except BROKEN:
            status, answer = 0, {}
        write.ended = time.monotonic()
        self.judge(write, status, answer)
        self.out.append(write)

    def send(self, write):
        key, path = write.key, path_of(write.key)
        filling = self.random.choice([0, 10, 10, 500, 3000])
        if write.verb == "delete":
            wish = {"preconditions": {"resourceVersion": str(write.expect)}} if write.expect else {}
            return self.client.ask("DELETE", path, dict(wish, kind="DeleteOptions", apiVersion="v1"))
        body = manifest(key, write.value, filling)
        if write.verb == "create":
            return self.client.ask("POST", path.rsplit("/", 1)[0], body)
        if write.verb == "patch":
            return self.client.ask("PATCH", path, {k: body[k] for k in ("metadata", "data")}, "application/merge-patch+json")
        if write.expect:
            body["metadata"]["resourceVersion"] = str(write.expect)
        return self.client.ask("PUT", path, body)

    def judge(self, write, status, answer):
        if status in (200, 201):
            write.outcome = "ok"
            if write.verb == "delete":
                write.uid = answer["details"]["uid"]
                self.known.pop(write.key, None)
            else:
                key, write.rv, value, write.uid = told(answer, write.key.split("/")[0])
                assert (key, value) == (write.key, write.value), (answer, write)
                self.known[write.key] = write.rv, write.uid
        elif 400 <= status < 500:
            write.outcome = "refused"
            self.known.pop(write.key, None)
            if status == 409 and write.verb != "delete":
                self.look(write.key)
        elif status:
            self.out.append(f"{write.verb} {write.key}: {status} {answer}")  # an answer that nobody expects

    def look(self, key):
        try:
            status, answer = self.client.ask("GET", path_of(key))
        except (NotSent, *BROKEN):
            return
        if status == 200:
            _, rv, _, uid = told(answer, key.split("/")[0])
            self.known[key] = rv, uid


class Reader(Worker):
    def turn(self):
        key = self.any_key()
        kind = key.split("/")[0]
        try:
            self.client.connect()
            began = time.monotonic()
            if self.random.random() < 0.15:
                status, answer = self.client.ask("GET", path_of(f"{kind}/default/"))
                items = {}
                for item in answer["items"]:
                    name, *rest = told(item, kind)
                    items[name] = tuple(rest)
                self.out.append(List(kind, began, time.monotonic(), int(answer["metadata"]["resourceVersion"]), items))
                return
            status, answer = self.client.ask("GET", path_of(key))
        except BROKEN:
            return
        ended = time.monotonic()
        if status == 404:
            self.out.append(Read(key, began, ended, ABSENT))
        elif status == 200:
            _, rv, value, uid = told(answer, kind)
            self.out.append(Read(key, began, ended, rv, value, uid))
        else:
            self.out.append(f"GET {key}: {status} {answer}")


class Watcher(Worker):
    """Follows one selection until it sees LAST; @pace: how it lags; @moody: hangs up now and then, and sometimes begins anew by a list."""

    def __init__(self, *args, kind, color=None, after=None, pace=0, moody=False, until=None):
        super().__init__(*args)
        self.kind, self.color, self.after, self.pace, self.moody, self.until = kind, color, after, pace, moody, until
        self.watch = None

    def run(self):
        while not self.until.is_set():
            try:
                if self.watch is None:
                    self.start()
                elif self.follow():
                    break
            except NotSent:
                self.until.wait(0.01)
            except BROKEN:
                pass
            self.client.drop()
        else:
            self.out.append(f"{self.who} had not seen the last write at {self.watch and self.watch.until}")
        self.client.drop()

    def start(self):
        after = self.after
        if after is None:
            status, answer = self.client.ask("GET", path_of(f"{self.kind}/default/"))
            assert status == 200, answer
            after = int(answer["metadata"]["resourceVersion"])
        self.n += 1
        self.watch = Watch(f"{self.who}.{self.n}", self.kind, self.color, after, after)
        self.out.append(self.watch)

    def follow(self):
        """Return: whether the last write was seen."""
        query = f"?watch=1&allowWatchBookmarks=true&resourceVersion={self.watch.until}"
        if self.color:
            query += f"&labelSelector=color%3D{self.color}"
        answer = self.client.open("GET", path_of(f"{self.kind}/default/") + query)
        if answer.status == 410:
            return self.gone()
        assert answer.status == 200, answer.read()
        left = self.random.randrange(20, 2000) if self.moody else -1
        while line := answer.readline():
            if not line.endswith(b"\n"):
                return False  # cut off in the middle: nothing was told
            event = json.loads(line)
            if event["type"] == "ERROR":
                return self.gone() if event["object"].get("code") == 410 else self.out.append(f"{self.who}: {event}")
            if event["type"] == "BOOKMARK":
                self.watch.until = int(event["object"]["metadata"]["resourceVersion"])
                continue
            key, rv, value, uid = told(event["object"], self.kind)
            self.watch.events.append((event["type"], key, rv, value, uid, time.monotonic()))
            self.watch.until = max(self.watch.until, rv)
            if key.endswith("/" + LAST):
                return True
            left -= 1
            if left == 0:
                if self.random.random() < 0.3:
                    self.watch = self.after = None  # forget all: list and watch
                return False
            if self.pace:
                self.until.wait(self.pace)
        return False

    def gone(self):
        self.watch = self.after = None
        return False


def process_main(gateway, jobs, path):
    """Threads of one process; what they found goes to a file, for a pipe would need a reader."""
    out, threads = [], []
    for make in jobs:
        mine = []
        out.append(mine)
        threads.append(threading.Thread(target=make(gateway, mine).run))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(path, "wb") as file:
        pickle.dump([entry for mine in out for entry in mine], file)


class Crowd:
    """Processes with their jobs. @jobs: (gateway, out) -> Worker, which ends when its event is set."""

    def __init__(self, gateway, folder, groups):
        self.gateway, self.folder, self.processes = gateway, folder, []
        context = multiprocessing.get_context("fork")
        for n, jobs in enumerate(groups):
            path = folder / f"crowd-{id(self)}-{n}"
            process = context.Process(target=process_main, args=(gateway, jobs, path), daemon=True)
            process.start()
            self.processes.append((process, path))

    def wait(self, seconds):
        """Until all have ended of themselves, or the time is up."""
        end = time.monotonic() + seconds
        for process, _ in self.processes:
            process.join(max(0, end - time.monotonic()))

    def join(self, seconds):
        found, end = [], time.monotonic() + seconds
        for process, path in self.processes:
            process.join(max(0.1, end - time.monotonic()))
            assert not process.is_alive(), "a process of clients is stuck"
            assert process.exitcode == 0
            with open(path, "rb") as file:
                found += pickle.load(file)
        return found


def events():
    return multiprocessing.get_context("fork").Event()
