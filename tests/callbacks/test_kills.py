# SPDX-License-Identifier: Apache-2.0
"""B32: SIGKILL at any moment; each event arrives at least once, under one id, and none is missed."""
import time

import pytest
from reliability import outcome

from conftest import Gateway, Project, until

TOLD = "each event arrives at least once, under one id and in order; none is missed"


@pytest.fixture
def mortal(tmp_path):
    made = Gateway(tmp_path, "--allow-private-downloads")
    yield made
    made.end()


def prepare(gateway, image, endpoint):
    project = Project(gateway, "kills", image)
    project.callback("hook", endpoint.url("/hook"))
    until(lambda: project.condition("hook"))
    project.image("a")
    until(lambda: project.phase("a") == "WaitForUserUpload")
    return project


def check(project, endpoint, least):
    """Everything arrives, the same event under one id, in order; and then nothing is left."""
    until(lambda: project.phase("a") == "Ready")
    endpoint.wait("/hook", least)
    until(lambda: [d["status"]["state"] for d in project.deliveries()] == ["Delivered"])
    project.delete("virtualimages", "a")
    until(lambda: "ImageDeleted" in [t["type"] for t in endpoint.told("/hook")])
    until(lambda: project.deliveries() == [])
    told = endpoint.told("/hook")
    assert [t["type"] for t in told] == ["ImageReady"] * (len(told) - 1) + ["ImageDeleted"]
    assert len({t["id"] for t in told}) == 2 and len(told) >= least + 1
    return told


@pytest.mark.parametrize("place,posts", [("create-callbackdeliveries/before", 0), ("create-callbackdeliveries/after", 0),
                                         ("update-callbackdeliveries/before", 1), ("update-callbackdeliveries/after", 1)])
def test_B32_killed_around_each_write(mortal, image, endpoint, place, posts):
    mortal.begin(f"store/{place}=kill")
    project = prepare(mortal, image, endpoint)
    try:
        project.upload("a")
    except OSError:
        pass  # it may die before it answers
    mortal.process.wait(30)
    assert len(endpoint.seen) == posts
    mortal.begin()
    told = check(project, endpoint, 1)
    assert len(told) == 2 + (place == "update-callbackdeliveries/before")  # its answer was not durable, so it was sent again
    outcome("gateway killed at a commit or step", "an endpoint is told of an image", TOLD)


def test_B32_killed_while_the_endpoint_listens(mortal, image, endpoint):
    """SIGKILL between the request and its answer."""
    mortal.begin()
    project = prepare(mortal, image, endpoint)
    endpoint.answers["/hook"] = [lambda handler: mortal.kill(), 204]
    try:
        project.upload("a")
    except OSError:
        pass
    mortal.process.wait(30)
    mortal.begin()
    assert len(check(project, endpoint, 2)) == 3
    outcome("gateway killed while an endpoint answers", "an endpoint is told of an image", TOLD)


@pytest.mark.parametrize("when", ["told", "untold"])
def test_B32_a_deletion_that_the_gateway_did_not_survive_is_told(mortal, image, endpoint, when):
    """The image is gone for good, and the gateway before anybody has looked at that."""
    endpoint.answers["/hook"] = 204 if when == "told" else 500
    mortal.begin("store/delete-virtualimages/after=kill")
    project = prepare(mortal, image, endpoint)
    project.upload("a")
    endpoint.wait("/hook")
    if when == "told":
        until(lambda: [d["status"]["state"] for d in project.deliveries()] == ["Delivered"])
    try:
        project.delete("virtualimages", "a")
    except OSError:
        pass
    mortal.process.wait(30)
    endpoint.answers["/hook"] = 204
    mortal.begin()
    until(lambda: "ImageDeleted" in [t["type"] for t in endpoint.told("/hook")])
    until(lambda: project.deliveries() == [])
    told = endpoint.told("/hook")
    assert [t["sequence"] for t in told] == sorted(t["sequence"] for t in told) and {t["sequence"] for t in told} == {1, 2}
    assert len({t["id"] for t in told}) == 2
    outcome("gateway killed at a commit or step", "an image goes of which an endpoint was told", TOLD)


def test_B32_killed_again_and_again(mortal, image, endpoint):
    """Ten kills at moments of no plan while images come and go: each is told from its beginning to its end, in order."""
    mortal.begin()
    project = prepare(mortal, image, endpoint)
    endpoint.answers["/hook"] = [500, 204, 204, 500, 204]
    uids = set()
    for i in range(5):
        uids.add(project.ready_image(f"i{i}"))
        if i % 2 == 0:
            time.sleep(0.02 * i)
            mortal.kill()
            mortal.begin()
        project.delete("virtualimages", f"i{i}")
        if i % 2:
            mortal.kill()
            mortal.begin()
    until(lambda: {t["object"]["uid"] for t in endpoint.told("/hook") if t["type"] == "ImageDeleted"} == uids)
    until(lambda: project.deliveries() == [])
    for uid in uids:
        told = [t for t in endpoint.told("/hook") if t["object"]["uid"] == uid]
        events = [(t["type"], t["sequence"]) for t in told]
        assert events == sorted(events, key=lambda e: e[1]) and set(events) == {("ImageReady", 1), ("ImageDeleted", 2)}
        assert len({t["id"] for t in told}) == 2
