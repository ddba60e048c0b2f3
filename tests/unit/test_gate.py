"""When deliveries to a sink may begin."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from rollbook.core.retry import RetryPolicy
from rollbook.gate import Gate
from tests.fakes import FakeClock

POLICY = RetryPolicy(base_ms=1000, cap_ms=60_000)
SOON = 0.02


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    made = Gate(POLICY, FakeClock())
    yield made
    made.close()


async def opens(gate: Gate, within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        await gate.opened()


async def test_failures_wait_longer_each_time_and_the_last_that_it_bears_shuts_it(gate: Gate) -> None:
    delays = [gate.unavailable("503", None) for _ in range(Gate.PATIENCE - 1)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert gate.is_open
    gate.unavailable("503", None)
    assert not gate.is_open


async def test_an_answer_starts_the_count_again(gate: Gate) -> None:
    for _ in range(Gate.PATIENCE - 1):
        gate.unavailable("503", None)
    gate.answered()
    assert gate.health.state == "ready"
    assert gate.unavailable("503", None) == 0.5
    assert gate.is_open


async def test_it_is_shut_for_as_long_as_the_sink_asks(gate: Gate) -> None:
    began = asyncio.get_running_loop().time()
    gate.unavailable("429", 0.5 + SOON)
    assert not gate.is_open
    assert (gate.health.state, gate.health.message) == ("unavailable", "429")
    await opens(gate)
    assert asyncio.get_running_loop().time() - began >= 0.5
    gate.answered()
    assert (gate.health.state, gate.health.message) == ("ready", "")


async def test_the_longest_wait_asked_for_counts(gate: Gate) -> None:
    assert gate.unavailable("429", 900.0) == 900.0
    gate.unavailable("429", 0.6)
    with pytest.raises(TimeoutError):
        await opens(gate, 0.8)


async def test_another_credential_ends_every_wait(gate: Gate) -> None:
    gate.unavailable("429", 900.0)
    gate.unauthorized("401")
    gate.renew()
    await opens(gate)
    assert gate.health.state == "ready"


async def test_what_ends_in_the_meantime_opens_it_when_the_last_reason_ends(gate: Gate) -> None:
    gate.suspend(suspended=True)
    gate.unauthorized("401")
    assert (gate.health.state, gate.health.message) == ("suspended", "401")
    gate.suspend(suspended=False)
    assert (gate.is_open, gate.health.state) == (False, "unauthorized")
    gate.unavailable("a straggler", None)
    gate.answered()
    assert (gate.is_open, gate.health.message) == (False, "401"), "only another credential helps"
    gate.suspend(suspended=True)
    gate.renew()
    assert not gate.is_open
    gate.suspend(suspended=False)
    assert gate.is_open
