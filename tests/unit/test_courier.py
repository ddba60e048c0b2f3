"""Deliveries to one sink: in order, one in doubt at most, and whatever the sink does, the rest goes on."""

import asyncio
from dataclasses import replace

import pytest

from rollbook.core.errors import Conflict, SinkRejected, SinkUnauthorized, SinkUnavailable, Unavailable
from rollbook.core.retry import RetryPolicy
from rollbook.core.slot import Cursor, Slot
from rollbook.core.transition import Kind
from rollbook.courier import AGAIN, Courier
from rollbook.delivery import Delivery
from rollbook.gate import Gate
from tests.fakes import FakeSink, eventually, settle
from tests.unit.core import make
from tests.unit.office import Office, open_office, owing

NAME = make.key().object_name
D, S, F, X = "DEPLOYED", "started", "finished", "DECOMMISSIONED"


def slots(number: int) -> list[Slot]:
    return [owing(D, container=f"c{each}") for each in range(number)]


def now() -> float:
    return asyncio.get_running_loop().time()


# In order


async def test_a_slot_is_delivered_in_order_and_one_at_a_time() -> None:
    async with open_office(owing(S, D, F, X, S, D)) as office:
        sink = FakeSink()
        await office.put(sink)
        await office.done()
        assert sink.heard == [
            "1 started",
            "2 DEPLOYED",
            "3 finished",
            "4 DECOMMISSIONED",
            "5 started",
            "6 DEPLOYED",
        ]
        assert office.results() == [f"{seq} accepted" for seq in range(1, 7)]


async def test_a_delivery_is_complete_in_itself() -> None:
    async with open_office(owing(D)) as office:
        sink = FakeSink()
        courier = await office.put(sink)
        await office.done()
        (delivery,) = sink.accepted
        assert (delivery.key, delivery.id) == (make.key(), "uid-1/1")
        assert delivery.transition == make.transition(1, entry=1)
        assert courier.health.last_accepted == office.clock.now()


async def test_slots_are_delivered_side_by_side_up_to_the_width() -> None:
    async with open_office(*slots(20)) as office:
        go = asyncio.Event()
        sink = FakeSink(answers=[go] * 20)
        courier = await office.put(sink)
        await eventually(lambda: len(sink.under_way) == Courier.WIDTH)
        await settle()
        assert courier.backlog == 20
        go.set()
        await office.done()
        assert (len(sink.accepted), sink.most_at_once) == (20, Courier.WIDTH)


async def test_what_is_written_while_a_delivery_is_under_way_follows_it() -> None:
    async with open_office(owing(D)) as office:
        go = asyncio.Event()
        sink = FakeSink(answers=[go])
        await office.put(sink)
        await eventually(lambda: sink.under_way)
        await office.book.change(
            make.key(),
            lambda slot: replace(slot, seq=2, pending=(*slot.pending, make.transition(2, Kind.STARTED))),
        )
        go.set()
        await office.done()
        assert sink.heard == ["1 DEPLOYED", "2 started"]


async def test_a_hint_where_nothing_is_owed_sends_nothing() -> None:
    async with open_office(owing(D, cursors=make.cursors(sink=1))) as office:
        sink = FakeSink()
        courier = await office.put(sink)
        courier.hints.add(NAME)
        courier.hints.add("no such slot")
        await office.done()
        assert sink.tried == []


# What is durable, what is in doubt


async def test_before_the_next_delivery_of_a_channel_the_last_one_is_written() -> None:
    kinds = [D, S, X, F, S, D, D, F]
    async with open_office(owing(*kinds)) as office:
        stored: list[int] = []

        async def note(_: Delivery) -> None:
            stored.append(office.slot(NAME).cursors["sink"].seq)

        sink = FakeSink(answers=[note] * len(kinds))
        await office.put(sink)
        await office.done()
        channels = [Kind(kind).channel for kind in kinds]
        for seq, written in enumerate(stored, start=1):
            in_doubt = channels[written:seq]
            assert len(in_doubt) == len(set(in_doubt)), f"of {seq}, when {written} is written"
        assert len(sink.accepted) == len(kinds)
        assert len(office.ledger.saves) < len(kinds) - 1, "and only then"


async def test_progress_of_the_last_delivery_is_asked_to_be_written_soon() -> None:
    async with open_office(owing(D)) as office:
        await office.put(FakeSink())
        await office.done()
        assert office.flushed == [(make.key(), Courier.LINGER)]
        assert office.ledger.saves == [], "it waits for company"


async def test_while_progress_cannot_be_written_the_next_of_the_channel_is_not_sent() -> None:
    async with open_office(owing(D, X)) as office:
        office.ledger.failures = [Unavailable("down")]
        sink = FakeSink()
        courier = await office.put(sink)
        await eventually(lambda: (make.key(), AGAIN) in office.flushed)
        await settle()
        assert sink.heard == ["1 DEPLOYED"]
        assert courier.backlog == 1
        courier.hints.add(NAME)
        await office.done()
        assert sink.heard == ["1 DEPLOYED", "2 DECOMMISSIONED"]


async def test_what_an_earlier_life_may_have_sent_is_uncertain_and_nothing_else() -> None:
    async with open_office(owing(S, D), earlier={NAME: 2}) as office:
        sink = FakeSink()
        await office.put(sink)
        await office.done()
        await office.book.change(
            make.key(), lambda slot: replace(slot, seq=3, pending=(make.transition(3, Kind.FINISHED),))
        )
        await office.done()
        assert sink.attempts == ["1 started?", "2 DEPLOYED?", "3 finished"]


@pytest.mark.parametrize(("sent", "second"), [(True, "1 DEPLOYED?"), (False, "1 DEPLOYED")])
async def test_only_a_try_that_may_have_taken_effect_makes_the_next_one_uncertain(sent: bool, second: str) -> None:  # noqa: FBT001  # a parameter of the test
    async with open_office(owing(D, S)) as office:
        sink = FakeSink(answers=[SinkUnavailable("no answer", sent=sent)])
        await office.put(sink)
        await office.done()
        assert sink.attempts == ["1 DEPLOYED", second, "2 started"]


async def test_doubt_stays_until_the_delivery_is_accepted() -> None:
    async with open_office(owing(D)) as office:
        sink = FakeSink(
            answers=[
                SinkUnavailable("cut", sent=True),
                SinkUnavailable("refused to connect"),
                SinkUnavailable("503"),
            ]
        )
        await office.put(sink)
        await office.done()
        assert sink.attempts == ["1 DEPLOYED", *["1 DEPLOYED?"] * 3]


async def test_a_delivery_broken_off_by_a_removal_is_uncertain_should_the_sink_come_back() -> None:
    async with open_office(owing(D)) as office:
        sink = FakeSink(answers=[asyncio.Event()])
        await office.put(sink)
        await eventually(lambda: sink.under_way)
        await office.roster.remove("sink")
        assert (sink.under_way, sink.closed) == ([], 1)
        again = FakeSink()
        await office.put(again)
        await office.done()
        assert again.attempts == ["1 DEPLOYED?"]


# Refusals


async def test_what_is_refused_is_parked_and_the_rest_goes_on() -> None:
    async with open_office(owing(D, S, F)) as office:
        office.flushing = True
        sink = FakeSink(answers=[None, SinkRejected("422: version is too long")])
        courier = await office.put(sink)
        await eventually(lambda: not office.slot(NAME).pending)
        assert sink.heard == ["1 DEPLOYED", "3 finished"]
        (parked,) = office.slot(NAME).parked
        assert (parked.sink, parked.transition.seq, parked.message) == ("sink", 2, "422: version is too long")
        assert parked.at == office.clock.now()
        assert (courier.health.state, courier.health.refused) == ("ready", 1)
        assert office.desk.parked == {"sink": 1}
        assert office.results() == ["1 accepted", "2 refused", "3 accepted"]


async def test_refusals_of_earlier_lives_are_counted_on() -> None:
    async with open_office(owing(D)) as office:
        office.desk.parked["sink"] = 4
        courier = await office.put(FakeSink(answers=[SinkRejected("no")]))
        assert courier.health.refused == 4
        await office.done()
        assert courier.health.refused == 5
        await office.roster.remove("sink")
        again = await office.put(FakeSink())
        assert again.health.refused == 5


# Not available


async def test_a_sink_that_is_not_available_gets_the_same_again() -> None:
    async with open_office(owing(S, D)) as office:
        sink = FakeSink(answers=[SinkUnavailable("503")])
        courier = await office.put(sink)
        await office.done()
        assert sink.attempts == ["1 started", "1 started", "2 DEPLOYED"]
        assert office.results() == ["1 unavailable", "1 accepted", "2 accepted"]
        assert (courier.health.state, courier.health.message, courier.oldest) == ("ready", "", None)


async def test_how_long_it_has_been_stuck_is_told() -> None:
    async with open_office(owing(D)) as office:
        courier = await office.put(FakeSink(answers=[SinkUnavailable("429", retry_after=60.0)]))
        await eventually(lambda: office.outcomes)
        assert courier.oldest == make.transition(1).at.time
        assert (courier.health.state, courier.health.message, courier.backlog) == ("unavailable", "429", 1)


async def test_when_a_sink_asks_to_wait_all_wait_that_long() -> None:
    async with open_office(*slots(3)) as office:
        asked = 0.1
        sink = FakeSink(answers=[SinkUnavailable("429", retry_after=asked)] + [None] * 9)
        began = now()
        await office.put(sink)
        await office.done()
        late = [each for each in sink.times if each - began >= asked * 0.95]
        assert len(sink.times) == 4
        assert len(late) >= 1, "the one that was asked to wait"
        assert sink.times[-1] - began >= asked * 0.95


async def test_an_answer_to_what_was_sent_before_does_not_cut_the_wait_short() -> None:
    async with open_office(*slots(2)) as office:
        go = asyncio.Event()
        asked = SinkUnavailable("429", retry_after=60.0)
        sink = FakeSink(
            by_slot={make.key(container="c0").object_name: [go], make.key(container="c1").object_name: [asked]}
        )
        courier = await office.put(sink)
        await eventually(lambda: not courier.gate.is_open)
        go.set()
        await eventually(lambda: sink.accepted)
        await settle()
        assert not courier.gate.is_open
        assert courier.health.state == "unavailable"


async def test_failing_again_and_again_shuts_the_gate_which_opens_by_itself() -> None:
    async with open_office(*slots(30), policy=RetryPolicy(base_ms=400, cap_ms=400)) as office:
        failures = [SinkUnavailable("503") for _ in range(Gate.PATIENCE)]
        sink = FakeSink(answers=[*failures])
        courier = await office.put(sink)
        await eventually(lambda: (courier.gate.is_open, courier.health.state) == (False, "unavailable"))
        await office.done()
        assert len(sink.accepted) == 30
        assert courier.gate.is_open
        assert courier.health.state == "ready"


async def test_a_slot_that_is_stuck_does_not_hold_up_the_others() -> None:
    stuck = owing(D, container="stuck")
    async with open_office(stuck, *slots(20)) as office:
        name = stuck.key.object_name
        sink = FakeSink(by_slot={name: [SinkUnavailable("503") for _ in range(10_000)]})
        await office.put(sink)
        await eventually(lambda: len(sink.accepted) == 20)
        sink.by_slot[name] = []
        await office.done()
        assert len(sink.accepted) == 21


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("x"), TimeoutError(), Unavailable("wrong tree")])
async def test_an_error_that_no_sink_should_raise_is_a_failure_in_doubt(error: Exception) -> None:
    async with open_office(owing(D, S), *slots(12)) as office:
        sink = FakeSink(by_slot={NAME: [error]})
        courier = await office.put(sink)
        await office.done()
        assert len(sink.accepted) == 14, "all workers are still there"
        assert [each for each in sink.attempts if each.endswith("?")] == ["1 DEPLOYED?"]
        (told,) = [each for each in office.outcomes if each.result != "accepted"]
        assert told.message.startswith(f"unexpected {type(error).__name__} in _answer, line ")
        assert "\n" not in told.message
        assert courier.health.state == "ready"


async def test_a_slot_that_cannot_be_read_stops_no_other() -> None:
    async with open_office(owing(D), *slots(12)) as office:

        class Broken:
            uid = "uid-1"

            @property
            def slot(self) -> Slot:
                raise ValueError("no slot")

        sink = FakeSink()
        office.hint()
        office.ledger.mirror[NAME] = Broken()  # type: ignore[assignment]  # a slot that somebody has spoilt
        await office.roster.put(sink, backfill=True, suspended=False)
        (courier,) = office.roster
        for _ in range(Courier.WIDTH + 1):
            courier.hints.add(NAME)
            await settle()
        for each in slots(12):
            courier.hints.add(each.key.object_name)
        await eventually(lambda: len(sink.accepted) == 12)
        assert len(office.bugs) == Courier.WIDTH + 1
        assert {(name, type(error)) for name, error in office.bugs} == {(NAME, ValueError)}
        assert courier.backlog == 1, "it is tried again later"


# The credential


async def test_a_refused_credential_holds_everything_until_there_is_another() -> None:
    async with open_office(*slots(20)) as office:
        sink = FakeSink(answers=[SinkUnauthorized("401") for _ in range(100)])
        courier = await office.put(sink)
        await eventually(lambda: not sink.under_way and sink.tried)
        await settle()
        assert len(sink.tried) <= Courier.WIDTH, "those under way, and no more"
        assert (courier.health.state, courier.health.message) == ("unauthorized", "401")
        assert courier.backlog == 20
        assert courier.oldest is not None
        tried, another = len(sink.tried), FakeSink()
        await office.roster.put(another, backfill=True, suspended=False)
        await office.done()
        assert len(another.accepted) == 20
        assert (len(sink.tried), sink.closed) == (tried, 1)
        assert courier.health.state == "ready"
        assert courier.oldest is None


async def test_a_credential_that_some_deliveries_pass_with_is_refused_all_the_same() -> None:
    async with open_office(*slots(2)) as office:
        go = asyncio.Event()
        first, second = (make.key(container=each).object_name for each in ("c0", "c1"))
        sink = FakeSink(by_slot={first: [go], second: [SinkUnauthorized("403")]})
        courier = await office.put(sink)
        await eventually(lambda: courier.health.state == "unauthorized")
        go.set()
        await eventually(lambda: sink.accepted)
        await settle()
        assert courier.health.state == "unauthorized"
        assert len(sink.tried) == 2, "or it would be asked again and again"


@pytest.mark.parametrize("error", [SinkUnauthorized("401"), SinkUnavailable("closed", retry_after=600)])
async def test_what_becomes_of_the_former_credentials_deliveries_says_nothing_of_the_new(error: Exception) -> None:
    async with open_office(owing(D)) as office:
        go = asyncio.Event()

        async def slow(_: Delivery) -> Exception:
            await go.wait()
            return error

        former, another = FakeSink(answers=[slow]), FakeSink()
        courier = await office.put(former)
        await eventually(lambda: former.under_way)
        await office.roster.put(another, backfill=True, suspended=False)
        assert former.closed == 0, "a delivery is under way with it"
        go.set()
        await office.done()
        assert another.heard == ["1 DEPLOYED"]
        assert former.closed == 1
        assert courier.health.state == "ready"


async def test_a_sink_replaced_during_a_delivery_that_is_accepted_goes_on() -> None:
    async with open_office(owing(D, S)) as office:
        go = asyncio.Event()
        former, another = FakeSink(answers=[go]), FakeSink()
        await office.put(former)
        await eventually(lambda: former.under_way)
        await office.roster.put(another, backfill=True, suspended=False)
        go.set()
        await office.done()
        assert (former.heard, another.heard) == (["1 DEPLOYED"], ["2 started"])
        assert (former.closed, another.closed) == (1, 0)


async def test_another_credential_ends_the_wait() -> None:
    async with open_office(owing(D)) as office:
        courier = await office.put(FakeSink(answers=[SinkUnavailable("429", retry_after=600)]))
        await eventually(lambda: not courier.gate.is_open)
        another = FakeSink()
        await office.roster.put(another, backfill=True, suspended=False)
        courier.hints.add(NAME)
        await office.done()
        assert another.heard == ["1 DEPLOYED"]


# Held


async def test_a_suspended_sink_gets_nothing_and_all_of_it_later() -> None:
    async with open_office(*slots(12)) as office:
        sink = FakeSink()
        courier = await office.put(sink, suspended=True)
        await settle()
        assert (sink.tried, courier.health.state, courier.backlog) == ([], "suspended", 12)
        courier.gate.suspend(suspended=False)
        await office.done()
        assert (len(sink.accepted), courier.health.state) == (12, "ready")


@pytest.mark.parametrize("answer", [None, SinkUnavailable("503"), SinkUnavailable("429", retry_after=0.01)])
async def test_nothing_that_comes_of_a_delivery_under_way_ends_a_suspension(answer: Exception | None) -> None:
    async with open_office(owing(D, S)) as office:
        go = asyncio.Event()

        async def slow(_: Delivery) -> Exception | None:
            await go.wait()
            return answer

        sink = FakeSink(answers=[slow])
        courier = await office.put(sink)
        await eventually(lambda: sink.under_way)
        courier.gate.suspend(suspended=True)
        go.set()
        await eventually(lambda: office.outcomes)
        again = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, again.set)
        await again.wait()
        assert (len(sink.tried), courier.health.state, courier.backlog) == (1, "suspended", 1)


async def test_a_sink_suspended_between_two_deliveries_of_a_slot_goes_on_where_it_was() -> None:
    async with open_office(owing(D, X, D)) as office:
        sink = FakeSink()
        courier = await office.put(sink, suspended=True)
        office.ledger.hold = asyncio.Event()
        courier.gate.suspend(suspended=False)
        await eventually(lambda: office.ledger.writing)
        courier.gate.suspend(suspended=True)
        office.ledger.hold.set()
        await eventually(lambda: not office.ledger.writing)
        await settle()
        assert sink.heard == ["1 DEPLOYED"], "suspended while the progress was being written"
        courier.gate.suspend(suspended=False)
        await office.done()
        assert sink.heard == ["1 DEPLOYED", "2 DECOMMISSIONED", "3 DEPLOYED"]


async def test_finishing_lets_a_delivery_under_way_end_and_begins_no_other() -> None:
    async with open_office(owing(D, S), *slots(12)) as office:
        go = asyncio.Event()
        sink = FakeSink(answers=[go] * 20)
        courier = await office.put(sink)
        await eventually(lambda: len(sink.under_way) == Courier.WIDTH)
        finishing = asyncio.ensure_future(courier.finish(5.0))
        await settle()
        assert not finishing.done()
        go.set()
        await finishing
        assert len(sink.accepted) == Courier.WIDTH
        assert len(sink.tried) == Courier.WIDTH


async def test_finishing_does_not_wait_for_ever() -> None:
    async with open_office(owing(D)) as office:
        sink = FakeSink(answers=[asyncio.Event()])
        courier = await office.put(sink)
        await eventually(lambda: sink.under_way)
        async with asyncio.timeout(5):
            await courier.finish(0.01)
        assert sink.under_way


async def test_a_wait_that_ends_while_we_finish_begins_nothing() -> None:
    async with open_office(owing(D)) as office:
        sink = FakeSink(answers=[SinkUnavailable("429", retry_after=0.3)])
        courier = await office.put(sink)
        await eventually(lambda: office.outcomes)
        await courier.finish(1.0)
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.4, over.set)
        await over.wait()
        assert len(sink.tried) == 1


async def test_nothing_is_sent_without_leadership_and_all_of_it_when_it_is_back() -> None:
    async with open_office(owing(D)) as office:
        office.leading = False
        sink = FakeSink()
        courier = await office.put(sink)
        await eventually(lambda: len(courier.hints) == 0)
        assert (sink.tried, office.outcomes, courier.backlog) == ([], [], 1)
        office.leading = True
        courier.hints.add(NAME)
        await office.done()
        assert sink.attempts == ["1 DEPLOYED"], "not sent before, so nothing is uncertain"


# What is frozen


def rollouts(slot: Slot) -> Cursor:
    return slot.cursors["sink"]


async def test_the_identity_of_a_start_is_carried_to_its_end_over_state_deliveries() -> None:
    async with open_office(owing(S, D, F, S, cursors=make.cursors(sink=0))) as office:
        office.flushing = True
        sink = FakeSink(answers=[{"version": "v1"}, None, None, {"version": "v2"}])
        await office.put(sink)
        await eventually(lambda: not office.slot(NAME).pending)
        assert [each.frozen for each in sink.accepted] == [None, {"version": "v1"}, {"version": "v1"}, None]
        assert rollouts(office.slot(NAME)) == Cursor(seq=4, frozen={"version": "v2"})


async def test_a_frozen_identity_survives_a_restart() -> None:
    frozen = {"version": "v1"}
    async with open_office(owing(F, first=5, cursors={"sink": Cursor(seq=4, frozen=frozen)})) as office:
        sink = FakeSink()
        await office.put(sink)
        await office.done()
        assert sink.accepted[0].frozen == frozen


async def test_a_refused_start_leaves_no_older_identity_to_end_under() -> None:
    old = Cursor(seq=4, frozen={"version": "old"})
    async with open_office(owing(S, F, first=5, cursors={"sink": old})) as office:
        sink = FakeSink(answers=[SinkRejected("no such version")])
        await office.put(sink)
        await office.done()
        assert sink.accepted[0].frozen is None


async def test_a_refused_end_leaves_nothing_open_and_a_refused_state_leaves_it_open() -> None:
    open_one = Cursor(seq=0, frozen={"version": "v1"})
    async with open_office(owing(D, F, S, cursors={"sink": open_one})) as office:
        office.flushing = True
        sink = FakeSink(answers=[SinkRejected("state"), SinkRejected("end"), SinkRejected("start")])
        await office.put(sink)
        await eventually(lambda: not office.slot(NAME).pending)
        assert [each.frozen for each in sink.tried] == [{"version": "v1"}, {"version": "v1"}, None]
        assert rollouts(office.slot(NAME)) == Cursor(seq=3)


async def test_a_sink_whose_selector_stops_matching_is_told_the_end_and_nothing_else() -> None:
    story = owing(S, F, D, S, F)
    pending = tuple(replace(each, entry=1 if each.seq <= 2 else 4) for each in story.pending)
    told = replace(story, pending=pending, cursors={"sink": Cursor(seq=1, frozen={"version": "v1"})})
    async with open_office(told) as office:
        office.flushing = True
        sink = FakeSink(selected=lambda *_: False)
        await office.put(sink)
        await eventually(lambda: not office.slot(NAME).pending)
        assert sink.heard == ["2 finished"]


# What goes away


async def test_a_slot_deleted_during_a_delivery_leaves_nothing_behind() -> None:
    async with open_office(owing(D, S)) as office:
        go = asyncio.Event()
        sink = FakeSink(answers=[go])
        courier = await office.put(sink)
        await eventually(lambda: sink.under_way)
        office.ledger.drop(NAME)
        office.ledger.reread(NAME)
        go.set()
        await office.done()
        assert (sink.heard, office.book.unwritten_keys(), courier.oldest) == (["1 DEPLOYED"], (), None)


async def test_what_is_not_owed_any_more_is_not_called_stuck() -> None:
    async with open_office(owing(D)) as office:
        sink = FakeSink(answers=[SinkUnavailable("503") for _ in range(2)])
        courier = await office.put(sink, suspended=False)
        await eventually(lambda: courier.oldest is not None)
        await office.book.change(make.key(), lambda slot: replace(slot, pending=()))
        courier.hints.add(NAME)
        await office.done()
        assert courier.oldest is None


async def test_a_conflict_while_progress_is_written_is_the_books_affair(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_office(owing(D, X)) as office:
        office.ledger.failures = [Conflict("an editor")]
        sink = FakeSink()
        await office.put(sink)
        await office.done()
        assert sink.heard == ["1 DEPLOYED", "2 DECOMMISSIONED"]
    assert capfd.readouterr() == ("", "")


async def test_an_office_is_quiet_in_the_end() -> None:
    async with open_office(owing(D)) as office:
        sink = FakeSink()
        await office.put(sink)
        await office.done()
    assert isinstance(office, Office)
    assert (sink.closed, list(office.roster)) == (1, [])
