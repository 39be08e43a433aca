# SPDX-License-Identifier: Apache-2.0
"""200 agents that come back at the same moment. Their gateway is a real one; they are clients with certificates of their own."""
import asyncio
import ssl
import time

import front
import gateway as killable
import pytest
from conftest import LONG
from herd import Herd
from reliability import outcome

N = 200
ROUNDS = 6 if LONG else 3
WITHIN_S = 20  # all of them, on a machine that is busy with other tests


class Gateway(killable.Gateway):
    """One that can be killed and begun again, with the plain clients that the tests of floods use."""

    tcp, connect, head, ask, descriptors = (getattr(front.Gateway, name) for name in ("tcp", "connect", "head", "ask", "descriptors"))

    def __init__(self, folder):
        super().__init__(folder)
        self.tls = ssl.create_default_context(cadata=self.ca)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    made = Gateway(tmp_path_factory.mktemp("gateway"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def herd(gateway, tmp_path_factory):
    made = Herd(gateway, tmp_path_factory.mktemp("hosts"), N)
    print(f"{N} hosts joined in {made.joined_s:.1f} s")
    return made


async def in_good_company(gateway, coroutine):
    """Somebody with a good reason to be served, meanwhile."""
    client = front.GoodClient(gateway)
    await asyncio.to_thread(client.__enter__)
    try:
        return await coroutine
    finally:
        await asyncio.to_thread(client.__exit__, None)


async def settled(gateway):
    """(MiB, descriptors) once what is closing is closed."""
    end = time.monotonic() + 15
    while gateway.descriptors() > N + 60:
        assert time.monotonic() < end, f"{gateway.descriptors()} descriptors for {N} streams"
        await asyncio.sleep(0.1)
    return gateway.resident() >> 20, gateway.descriptors()


def refusals(herd):
    return [words for agent in herd.agents for words in agent.refusals]


async def kills(gateway, herd):
    await herd.begin()
    await herd.all_in_sync(1, WITHIN_S)
    costs = []
    for n in range(ROUNDS):
        gateway.kill()
        await asyncio.to_thread(gateway.begin)
        took = await in_good_company(gateway, herd.all_in_sync(n + 2, WITHIN_S))
        costs.append(await settled(gateway))
        print(f"gateway killed: {N} hosts in sync {took:.2f} s after it served; {costs[-1][0]} MiB, {costs[-1][1]} descriptors")
    await herd.end()
    return costs


def test_200_agents_come_back_at_once_after_a_kill_of_the_gateway(gateway, herd):
    costs = asyncio.run(kills(gateway, herd))
    assert refusals(herd) == []
    assert all(memory < 160 for memory, _ in costs), costs
    outcome("gateway killed", "200 agents reconnect at once", "all are served, none is refused, and a user of the API beside them")


async def cuts(gateway, herd):
    have = [agent.connected for agent in herd.agents]
    await herd.begin()
    await herd.all_in_sync(max(have) + 1, WITHIN_S)
    costs = []
    for n in range(ROUNDS + 1):
        herd.cut()
        took = await in_good_company(gateway, herd.all_in_sync(max(have) + n + 2, WITHIN_S))
        costs.append(await settled(gateway))
        print(f"all connections cut: in sync again after {took:.2f} s; {costs[-1][0]} MiB, {costs[-1][1]} descriptors")
    await herd.end()
    return costs


def test_nothing_piles_up_when_200_agents_come_back_again_and_again(gateway, herd):
    costs = asyncio.run(cuts(gateway, herd))
    assert refusals(herd) == []
    memory, descriptors = zip(*costs)  # a round differs from the next by some MiB; what piles up is in all that follow
    assert min(memory[2:]) <= max(memory[:2]) + 8 and min(descriptors[2:]) <= max(descriptors[:2]) + 60, costs
