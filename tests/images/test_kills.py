# SPDX-License-Identifier: Apache-2.0
"""An import whose gateway is killed before and after each commit of it: it ends with the right bytes, and nothing is left over. B31, E26."""
import collections
import hashlib
import http.client

import pytest
from gateways import BUILD, Gateway
from reliability import outcome

FAULTY = BUILD / "tests/fault/gabbro-gateway-faulty"


def image(n):
    return hashlib.shake_256(n.to_bytes(8, "big")).digest(1 << 20)


@pytest.fixture
def mortal(world, tmp_path):
    made = Gateway(world, tmp_path, FAULTY, env={"GABBRO_FAULT_FILE": str(tmp_path / "plan"), "GABBRO_FAULT_LOG": str(tmp_path / "log")})
    yield made
    made.end()


def of_images(log):
    """The places around commits of images in their order, each with its number: "store/update-clustervirtualimages/before#2"."""
    seen, places = collections.Counter(), []
    for place in log.read_text().split():
        if place.startswith("store/") and ("virtualimages" in place or "imageblobs" in place):
            seen[place] += 1
            places.append(f"{place}#{seen[place]}")
    return places


def test_an_import_is_killed_around_each_commit(mortal, mirror, tmp_path):
    mirror.files["/0.raw"] = image(0)
    assert mortal.fate(mortal.fetch("http://mirror.test/0.raw"))[0] == "Ready"
    mortal.until("its blob is located", lambda: mortal.ask("GET", f"/apis/gabbro.dev/v1/imageblobs/sha256-{hashlib.sha256(image(0)).hexdigest()}")[1]
                 .get("status", {}).get("locations"))
    places = of_images(tmp_path / "log")
    assert len(places) >= 8 and {"store/create-clustervirtualimages/before#1", "store/update-imageblobs/after#1"} <= set(places), places
    kept = {hashlib.sha256(image(0)).hexdigest()}
    for n, place in enumerate(places, 1):
        mirror.files[f"/{n}.raw"], digest = image(n), hashlib.sha256(image(n)).hexdigest()
        (tmp_path / "plan").write_text(f"{place}=kill\n")
        name = mortal.name()
        try:
            mortal.fetch(f"http://mirror.test/{n}.raw", name=name)
        except (OSError, http.client.HTTPException):
            pass  # it may die before it answers
        mortal.process.wait(30)
        (tmp_path / "plan").write_text("")
        mortal.begin()
        if mortal.ask("GET", mortal.path(name))[0] == 404:
            assert place.startswith("store/create-") and "/before" in place, "what was acknowledged is there"
            mortal.fetch(f"http://mirror.test/{n}.raw", name=name)
        assert mortal.fate(name) == ("Ready", digest), place
        kept.add(digest)
        mortal.nothing_left()
        assert mortal.blobs() == kept, place
    outcome("gateway killed at a commit or step", "image import", "it begins anew, or is there; the digest is right, nothing is left over")
