# SPDX-License-Identifier: Apache-2.0
"""Whatever is killed while a machine moves, at the start, in the middle, at the switch: one copy, and nothing left (A24-A26, D133).

Part of long runs (GABBRO_LONG=1): under TCG a guest was seen not to survive a move, and then its cell fails.
GABBRO_MATRIX_CELL='source libvirtd:switch' takes one alone (several by commas).
"""
import os
import sys
import time

import pytest
import reliability
from kills import MOMENTS, Kills

VICTIMS = ("source libvirtd", "target libvirtd", "both libvirtd", "source QEMU", "target QEMU", "source agent", "target agent", "gateway", "link")
CELLS = [(victim, moment) for victim in VICTIMS for moment in MOMENTS]
LONG = os.environ.get("GABBRO_LONG") == "1"
ALONE = [tuple(cell.split(":")) for cell in os.environ.get("GABBRO_MATRIX_CELL", "").split(",") if cell]


@pytest.fixture(scope="module")
def kills(lab):
    made = Kills(lab)
    yield made
    made.close()


def again(victim, moment):
    return f"GABBRO_MATRIX_CELL='{victim}:{moment}' /usr/bin/python3 -m pytest -q -s tests/hosts/test_4_kill_matrix.py"


def take(kills, victim, moment):
    begun = time.monotonic()
    words, wrong = kills.cell(victim, moment)
    print(f"{'FAILED' if wrong else 'ok'} {time.monotonic() - begun:.0f} s {victim}:{moment}: {words}", file=sys.stderr, flush=True)
    assert not wrong, "\n".join([f"{victim}:{moment}", *wrong, f"again: {again(victim, moment)}"])
    return words


if LONG or ALONE:
    @pytest.mark.parametrize("victim,moment", ALONE or CELLS, ids=[":".join(cell) for cell in ALONE or CELLS])
    def test_A26_one_copy_whatever_is_killed_whenever(kills, victim, moment):
        reliability.tell("migration", victim, moment, take(kills, victim, moment))
