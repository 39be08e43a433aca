# SPDX-License-Identifier: Apache-2.0
"""Every verb of a machine's life on real QEMU: libvirt and the guest agree with what is shown after each."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
from crew import Crew  # noqa: E402
from shared_cloud import cloud, tell_logs  # noqa: E402, F401


@pytest.fixture(scope="session")
def host_options():
    """Shares of a core need the cpu controller."""
    return ("--cgroup",)


@pytest.fixture(scope="session", autouse=True)
def everybody(cloud, request):  # noqa: F811
    return Crew(cloud, list(dict.fromkeys(item.module for item in request.session.items)))


@pytest.fixture(scope="module")
def crew(everybody, request):
    """The machines that the file names in CREW, by name and policy."""
    with everybody.borrowed(request.module) as machines:
        yield machines
