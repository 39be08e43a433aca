# SPDX-License-Identifier: Apache-2.0
"""One emulated hypervisor host with a whole cloud on it, as `make demo` starts it, for all tests of this folder."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
from cloud import one_host_cloud  # noqa: E402


@pytest.fixture(scope="session")
def cloud():
    with one_host_cloud("gabbro-e2e") as made:
        yield made


@pytest.fixture(autouse=True)
def tell_logs(request, cloud):
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(cloud.logs())
