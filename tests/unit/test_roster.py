"""Who hears of what: the sinks that are configured now."""

import asyncio

from rollbook.core.outbox import Subscription, enroll
from rollbook.core.slot import Cursor
from rollbook.core.transition import Channel
from tests.fakes import FakeSink, eventually, settle
from tests.unit.core import make
from tests.unit.office import LABELS, PAYMENTS, open_office, owing

NAME = make.key().object_name
FROZEN = {"sink": Cursor(seq=1, frozen={"version": "v1"})}


async def test_a_sink_joins_once_and_goes_on_when_it_is_put_again() -> None:
    async with open_office(owing("DEPLOYED", "DECOMMISSIONED")) as office:
        go = asyncio.Event()
        first, second = FakeSink(answers=[go], name="first"), FakeSink(name="second")
        assert await office.roster.put(first, backfill=True, suspended=False)
        office.hint()
        await eventually(lambda: first.under_way)
        assert not await office.roster.put(second, backfill=True, suspended=False)
        assert office.roster.names == {"sink": "second"}
        go.set()
        await office.done()
        assert (first.heard, second.heard) == (["1 DEPLOYED"], ["2 DECOMMISSIONED"])
        assert (first.closed, second.closed) == (1, 0)


async def test_a_sink_can_be_suspended_and_resumed_by_being_put_again() -> None:
    async with open_office(owing("DEPLOYED")) as office:
        sinks = [FakeSink() for _ in range(3)]
        await office.roster.put(sinks[0], backfill=True, suspended=True)
        office.hint()
        await settle()
        await office.roster.put(sinks[1], backfill=True, suspended=True)
        await settle()
        assert sinks[1].tried == []
        await office.roster.put(sinks[2], backfill=True, suspended=False)
        await office.done()
        assert sinks[2].heard == ["1 DEPLOYED"]


async def test_a_removed_sink_is_closed_and_hears_nothing_more() -> None:
    async with open_office(owing("DEPLOYED"), owing("DEPLOYED", container="b")) as office:
        sink = FakeSink(answers=[asyncio.Event()] * 2)
        await office.put(sink)
        await eventually(lambda: len(sink.under_way) == 2)
        await office.roster.remove("sink")
        assert (sink.closed, sink.accepted, office.roster.names) == (1, [], {})
        slot = office.slot(NAME)
        assert office.roster.subscriptions(slot) == ()
        assert office.roster.subscription("sink", slot) is None
        assert not office.roster.hint(NAME, slot)
        await office.roster.remove("sink")
        assert sink.closed == 1


async def test_a_slow_sink_slows_no_other() -> None:
    cursors = make.cursors(slow=0, quick=0)
    async with open_office(*(owing("DEPLOYED", container=f"c{n}", cursors=cursors) for n in range(12))) as office:
        slow = FakeSink(key="slow", answers=[asyncio.Event()] * 12)
        quick = FakeSink(key="quick")
        await office.put(slow)
        await office.put(quick)
        await eventually(lambda: len(quick.accepted) == 12)
        assert slow.accepted == []


async def test_after_the_end_no_sink_joins() -> None:
    async with open_office(owing("DEPLOYED")) as office:
        before, after = FakeSink(key="before", answers=[asyncio.Event()]), FakeSink()
        await office.put(before)
        await office.roster.close(0.01)
        assert before.closed == 1
        await office.roster.put(after, backfill=True, suspended=False)
        assert (list(office.roster), after.closed) == ([], 1)


async def test_a_subscription_says_what_the_ledger_must_know() -> None:
    async with open_office(owing()) as office:
        sink = FakeSink(channels=frozenset({Channel.STATE}), since=7)
        await office.put(sink, backfill=False)
        wanted = Subscription(key="sink", channels=sink.channels, since=7, backfill=False, closing=False)
        assert office.roster.subscriptions(office.slot(NAME)) == (wanted,)
        assert office.roster.subscription("sink", office.slot(NAME)) == wanted


async def test_the_selector_is_asked_with_the_namespace_and_the_workloads_labels() -> None:
    asked: list[tuple[object, ...]] = []

    def selected(*what: object) -> bool:
        asked.append(what)
        return False

    async with open_office(owing(cursors={})) as office:
        await office.put(FakeSink(selected=selected))
        assert office.roster.subscriptions(office.slot(NAME)) == ()
        assert asked[-1] == (make.key(), PAYMENTS, LABELS)


async def test_a_sink_with_something_open_is_closing_when_its_selector_stops_matching() -> None:
    async with open_office(owing(cursors=FROZEN), owing(container="b")) as office:
        await office.put(FakeSink(selected=lambda *_: False))
        (closing,) = office.roster.subscriptions(office.slot(NAME))
        assert closing.closing
        other = office.slot(make.key(container="b").object_name)
        assert office.roster.subscriptions(other) == ()


async def test_of_a_workload_that_is_gone_those_hear_who_have_heard_of_it() -> None:
    async with open_office(owing(), owing(container="b", cursors={})) as office:
        office.places[make.REF] = (None, None)
        await office.put(FakeSink(selected=lambda *_: False))
        (subscription,) = office.roster.subscriptions(office.slot(NAME))
        assert not subscription.closing
        assert office.roster.subscriptions(office.slot(make.key(container="b").object_name)) == ()


async def test_what_is_owed_is_what_is_pending_and_heard() -> None:
    async with open_office(owing("started", "DEPLOYED", cursors=make.cursors(sink=0))) as office:
        await office.put(FakeSink(channels=frozenset({Channel.STATE})))
        slot = office.slot(NAME)
        owed = office.roster.owed(slot)
        assert [owed("sink", each) for each in slot.pending] == [False, True]
        assert not owed("another", slot.pending[1])


async def test_a_sink_that_is_closing_is_owed_only_the_end_of_what_it_was_told() -> None:
    async with open_office(owing("DEPLOYED", "finished", cursors=FROZEN)) as office:
        await office.put(FakeSink(selected=lambda *_: False))
        slot = office.slot(NAME)
        owed = office.roster.owed(slot)
        assert [owed("sink", each) for each in slot.pending] == [False, True]


async def test_a_sink_that_comes_late_is_brought_to_today_if_it_wants() -> None:
    slot = owing(seq=4, current=make.entry(), cursors={})
    async with open_office(slot) as office:
        eager, lazy = FakeSink(key="eager"), FakeSink(key="lazy")
        await office.put(eager)
        await office.put(lazy, backfill=False)
        await office.book.change(slot.key, lambda slot: enroll(slot, office.roster.subscriptions(slot)))
        await office.done()
        assert (eager.heard, lazy.heard) == (["5 DEPLOYED"], [])
        assert not eager.tried[0].uncertain


async def test_a_hint_tells_whether_anybody_is_owed() -> None:
    async with open_office(owing("DEPLOYED")) as office:
        sink = FakeSink()
        courier = await office.put(sink, suspended=True)
        assert office.roster.hint(NAME, office.slot(NAME))
        assert courier.backlog == 1
        assert not office.roster.hint(NAME, owing(cursors=make.cursors(sink=0)))
