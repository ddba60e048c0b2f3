"""The queue of keys: coalesced, in hand once, never lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, strategies as st

from rollbook.hints import Hints
from tests.fakes import settle
from tests.unit.core.strategies import unhurried

SOON = 0.02
LATE = 600.0


@pytest.fixture
async def hints() -> AsyncIterator[Hints[str]]:
    queue: Hints[str] = Hints()
    yield queue
    queue.close()


async def taken(hints: Hints[str], within: float = 5.0) -> str:
    async with asyncio.timeout(within):
        return await hints.get()


async def test_hints_are_coalesced_and_come_in_the_order_of_the_first(hints: Hints[str]) -> None:
    for key in "abab":
        hints.add(key)
    assert len(hints) == 2
    assert [await taken(hints), await taken(hints)] == ["a", "b"]


async def test_a_key_in_hand_is_not_handed_out_again_until_it_is_done(hints: Hints[str]) -> None:
    hints.add("a")
    assert await taken(hints) == "a"
    hints.add("a")
    hints.add("a")
    hints.add("b")
    assert await taken(hints) == "b"
    second = asyncio.ensure_future(hints.get())
    await settle()
    assert not second.done()
    hints.done("a")
    assert await second == "a"
    hints.done("a")
    hints.done("b")
    assert hints.pending == 0


async def test_a_hint_that_waited_for_a_time_also_comes_again_after_the_key_in_hand(hints: Hints[str]) -> None:
    hints.add("a")
    await taken(hints)
    hints.add("a", delay=SOON)
    hints.add("later", delay=2 * SOON)
    assert await taken(hints) == "later", "the time of the first has come, and it is still in hand"
    hints.done("a")
    assert await taken(hints) == "a"


async def test_the_earlier_of_two_delays_counts(hints: Hints[str]) -> None:
    began = asyncio.get_running_loop().time()
    hints.add("a", delay=LATE)
    hints.add("a", delay=SOON)
    hints.add("a", delay=LATE)
    assert hints.pending == 1
    assert len(hints) == 0
    assert await taken(hints) == "a"
    assert asyncio.get_running_loop().time() - began >= SOON * 0.9
    hints.done("a")
    assert hints.pending == 0


async def test_a_hint_without_delay_overtakes_a_delayed_one_and_replaces_it(hints: Hints[str]) -> None:
    hints.add("a", delay=LATE)
    hints.add("a")
    assert await taken(hints) == "a"
    hints.done("a")
    assert hints.pending == 0


async def test_what_waits_already_is_looked_at_again_at_the_time_asked_for(hints: Hints[str]) -> None:
    hints.add("a")
    hints.add("a", delay=SOON)
    assert await taken(hints) == "a"
    hints.done("a")
    assert await taken(hints) == "a"


async def test_one_hint_wakes_one_of_many_workers_and_none_is_lost(hints: Hints[str]) -> None:
    seen: list[str] = []

    async def work() -> None:
        while True:
            key = await hints.get()
            await asyncio.sleep(0)
            seen.append(key)
            hints.done(key)

    workers = [asyncio.ensure_future(work()) for _ in range(5)]
    try:
        await settle(3)
        for number in range(40):
            hints.add(str(number))
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await hints.drained()
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(map(int, seen)) == list(range(40))


async def test_a_worker_cancelled_while_it_waits_takes_no_key_along(hints: Hints[str]) -> None:
    waiting = asyncio.ensure_future(hints.get())
    await settle(3)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hints.add("a")
    assert await taken(hints) == "a"


async def test_drained_means_nothing_waits_or_is_in_hand(hints: Hints[str]) -> None:
    await hints.drained()
    hints.add("a")
    drained = asyncio.ensure_future(hints.drained())
    await taken(hints)
    hints.add("a")
    hints.done("a")
    await settle()
    assert not drained.done()
    await taken(hints)
    hints.done("a")
    await drained


async def test_drained_does_not_wait_for_what_waits_for_a_time(hints: Hints[str]) -> None:
    hints.add("a", delay=LATE)
    await hints.drained()
    await hints.idle()


async def test_idle_means_nothing_is_in_hand_whatever_waits(hints: Hints[str]) -> None:
    hints.add("a")
    hints.add("b")
    await hints.idle()
    await taken(hints)
    idle = asyncio.ensure_future(hints.idle())
    await settle()
    assert not idle.done()
    hints.done("a")
    await idle


async def test_closing_drops_what_waits_for_a_time(hints: Hints[str]) -> None:
    hints.add("a", delay=SOON)
    hints.add("b")
    hints.close()
    hints.add("c", delay=2 * SOON)
    assert [await taken(hints), await taken(hints)] == ["b", "c"]


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.sampled_from("abc")), max_size=40))
def test_no_hint_is_lost_and_no_key_is_in_hand_twice(steps: list[tuple[str, str]]) -> None:
    async def play() -> None:
        hints: Hints[str] = Hints()
        in_hand: list[str] = []
        owed: set[str] = set()
        for what, key in steps:
            if what == "add":
                hints.add(key)
                owed.add(key)
            elif what == "get" and owed - set(in_hand):
                got = await taken(hints)
                assert got not in in_hand
                in_hand.append(got)
                owed.discard(got)
            elif what == "done" and key in in_hand:
                in_hand.remove(key)
                hints.done(key)
        for key in in_hand:
            hints.done(key)
        while owed:
            got = await taken(hints)
            owed.remove(got)
            hints.done(got)
        assert len(hints) == 0
        await hints.drained()

    asyncio.run(play())
