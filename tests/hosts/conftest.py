# SPDX-License-Identifier: Apache-2.0
"""Three hypervisor hosts and a gateway, each in namespaces of its own."""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
from cloud import HOST  # noqa: E402
from lab import several_hosts  # noqa: E402


@pytest.fixture(scope="session")
def lab():
    check = subprocess.run([HOST, "check"], stderr=subprocess.PIPE, text=True)
    if check.returncode == 77:
        pytest.skip(check.stderr.strip())
    with several_hosts(3) as made:
        yield made


@pytest.fixture(autouse=True)
def tell_logs(request, lab):
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        for host in [lab.gateway, *lab.hosts]:
            print(f"===== {host.name}\n{host.logs()}")
