# SPDX-License-Identifier: Apache-2.0
"""Gateways that fetch images from servers of a network that is made for them, where addresses look public and names mean what the
test wants."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from gateways import HASTY, PROGRAM, Gateway  # noqa: E402
from world import World  # noqa: E402


@pytest.fixture(scope="session")
def world():
    with World() as made:
        yield made


@pytest.fixture(scope="session")
def new_gateway(world, tmp_path_factory):
    """A function that starts one more gateway in the world."""
    made = []

    def start(*options, program=PROGRAM):
        made.append(Gateway(world, tmp_path_factory.mktemp("gateway"), program, options))
        return made[-1]

    yield start
    for gateway in made:
        gateway.end()


@pytest.fixture(scope="session")
def gateway(new_gateway):
    """As it is installed: public addresses only."""
    return new_gateway()


@pytest.fixture(scope="session")
def hasty(new_gateway):
    """The same with less patience (tests/images/gateway_hasty.c)."""
    return new_gateway(program=HASTY)


@pytest.fixture
def mirror(world):
    """A web server at a public address, without any files yet."""
    world.mirror.clear()
    yield world.mirror
    world.mirror.clear()


@pytest.fixture(autouse=True)
def tell_log(request):
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        for name in ("gateway", "hasty"):
            if name in request.fixturenames:
                print(request.getfixturevalue(name).words())
