# SPDX-License-Identifier: Apache-2.0
"""Clients that flood, stall and smuggle, against a real gateway. GABBRO_LONG=1 floods with more of everything."""
import pathlib
import resource
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from front import Gateway  # noqa: E402

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    made = Gateway(tmp_path_factory.mktemp("gateway"))
    yield made
    made.end()


@pytest.fixture
def fresh(tmp_path):
    """A gateway of one's own, where memory is measured."""
    made = Gateway(tmp_path)
    yield made
    made.end()
