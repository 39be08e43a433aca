# SPDX-License-Identifier: Apache-2.0
"""gabbro storage doctor knows half uploads: those that go on, and what nobody can go on with. B29, A57."""
import json
import os
import re
import time

import pytest
from conftest import image_bytes

DATA = image_bytes(3 << 20, 9)
LONG_AGO = 1000000000


def doctor(gateway, *words):
    done = gateway.gabbro("storage", "doctor", *words)
    out, err = done.communicate(timeout=60)
    assert done.returncode in (0, 1), out + err
    return done.returncode, out


def findings(gateway):
    code, out = doctor(gateway, "-o", "json")
    return code, {(finding["severity"], finding["code"], finding.get("object")): finding for finding in json.loads(out)["findings"]}


def half(gateway, name):
    place = gateway.create(gateway.image(name), len(DATA))
    assert gateway.patch(place, 0, DATA[:1 << 20]).status == 204
    return place, gateway.data / "blobs/uploads" / f"{place[-32:]}.part"


def test_half_uploads_are_told_with_age_and_end_and_what_is_over_is_collected(fresh):
    folder = fresh.data / "blobs/uploads"
    strange = [folder / ("0" * 31 + f"1.{ending}") for ending in ("record", "part")]
    for path in strange:
        path.write_text("not of ours")  # a record that cannot be read is left alone at every start
        os.utime(path, (LONG_AGO, LONG_AGO))
    begun = time.monotonic()
    fresh.restart()
    (young, young_part), (old, old_part), (gone, _) = [half(fresh, name) for name in ("young", "old", "gone")]
    kept = [part.with_suffix(ending).name for part in (young_part, old_part) for ending in (".part", ".mark", ".record")]
    os.utime(old_part, (LONG_AGO, LONG_AGO))
    assert fresh.ask("DELETE", fresh.path("gone")).status == 200
    fresh.await_uploads(sorted([*kept, f"{gone[-32:]}.record", *(path.name for path in strange)]))  # what is deleted is over at once
    code, found = findings(fresh)
    if time.monotonic() - begun > 28:
        pytest.skip("too slow: the gateway looks by itself every 30 s, and has collected them")
    assert code == 1 and set(found) == {("Note", "HalfUpload", "VirtualImage/default/young"), ("Warning", "StrayUpload", "VirtualImage/default/old"),
                                        ("Warning", "StrayUpload", None)}
    told = found["Note", "HalfUpload", "VirtualImage/default/young"]
    assert "fix" not in told and young[-32:] not in json.dumps(told), "its address is a secret of its client"
    assert re.search(r"1Mi of 3Mi have come, the last at 20\d\d-", told["evidence"][0]) and re.search(r"begun by \S+; .* goes at 20\d\d-", told["evidence"][1])
    assert "for too long" in found["Warning", "StrayUpload", "VirtualImage/default/old"]["evidence"][2]

    code, out = doctor(fresh, "--fix", "--yes")
    assert code == 0 and "HalfUpload" in out, out
    fresh.await_uploads(sorted([*kept[:3], *(f"{place[-32:]}.record" for place in (old, gone))]))
    assert [fresh.head(place).status for place in (young, old, gone)] == [200, 410, 410]
    assert all((fresh.data / "blobs/lost+found" / path.name).read_text() == "not of ours" for path in strange)
    assert fresh.patch(young, 1 << 20, DATA[1 << 20:]).status == 204, "and the young one goes on"
    assert findings(fresh) == (0, {})
