# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the folders whose tests share one cloud: their conftest.py takes them over."""
import pytest

from cloud import one_host_cloud


@pytest.fixture(scope="session")
def cloud(host_options):
    """One emulated hypervisor host with a whole cloud on it, as `make demo` starts it."""
    with one_host_cloud("gabbro-e2e", *host_options) as made:
        yield made


@pytest.fixture(scope="session")
def host_options():
    """Of tests/lab/host.sh; a folder's conftest.py has its own."""
    return ()


@pytest.fixture(autouse=True)
def tell_logs(request, cloud):
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(cloud.logs())
