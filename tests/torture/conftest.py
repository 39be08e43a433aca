# SPDX-License-Identifier: Apache-2.0
"""A real gateway that is killed, filled and starved, on loopback. GABBRO_LONG=1 takes minutes; GABBRO_SEED repeats a run."""
import os
import pathlib
import random
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "lab")]


@pytest.fixture
def seed():
    chosen = int(os.environ.get("GABBRO_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"GABBRO_SEED={chosen}")
    return chosen
