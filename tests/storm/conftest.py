# SPDX-License-Identifier: Apache-2.0
"""Much at once: machines, agents, restarts of a guest. GABBRO_LONG=1 runs the full numbers; GABBRO_SEED repeats an order."""
import os
import pathlib
import random
import resource
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("lab", "torture", "limits"))]

LONG = bool(os.environ.get("GABBRO_LONG"))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture
def chance():
    seed = int(os.environ.get("GABBRO_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"GABBRO_SEED={seed}")
    return random.Random(seed)
