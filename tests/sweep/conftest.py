# SPDX-License-Identifier: Apache-2.0
"""One host with a whole cloud, whose gateway and agent end, stop or fail wherever a plan says (tests/fault)."""
import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lab"), str(pathlib.Path(__file__).resolve().parent)]
from cloud import one_host_cloud  # noqa: E402
from world import World  # noqa: E402


@pytest.fixture(scope="module")
def world():
    with one_host_cloud("gabbro-sweep", "--cgroup") as cloud:
        made = World(cloud)
        try:
            yield made
        finally:
            made.close()
            if made.failed:
                print(cloud.logs())
