# SPDX-License-Identifier: Apache-2.0
"""Every verb of a machine's life on real QEMU: libvirt and the guest agree with what is shown after each."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
from shared_cloud import cloud, tell_logs  # noqa: E402, F401


@pytest.fixture(scope="session")
def host_options():
    """Shares of a core need the cpu controller."""
    return ("--cgroup",)
