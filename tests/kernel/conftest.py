# SPDX-License-Identifier: Apache-2.0
"""What needs a kernel of its own, in a full emulation: minutes each, so they are collected only by long runs."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import own_kernel  # noqa: E402
from cloud import BUILD  # noqa: E402

collect_ignore_glob = [] if os.environ.get("GABBRO_LONG") else ["test_*"]


@pytest.fixture(scope="session")
def kernel():
    return own_kernel.unpack(BUILD)
