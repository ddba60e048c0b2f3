"""The one writer of slots: nothing accepted is forgotten, nothing is written that need not be."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from rollbook.book import MAX_CONFLICTS, Book, Change
from rollbook.core.errors import Conflict, Unavailable
from rollbook.core.outbox import Progress, Subscription
from rollbook.core.slot import Cursor, Parked, Slot
from rollbook.core.transition import Channel, Kind
from tests.fakes import FakeLedger, eventually, settle
from tests.unit.core import make

KEY = make.key()
NAME = KEY.object_name


class Desk:
    """A book over a fake ledger."""

    def __init__(self, *slots: Slot) -> None:
        self.ledger = FakeLedger(*slots)
        self.changes: list[Change] = []
        self.audience: tuple[Subscription, ...] = (make.subscription("a"), make.subscription("b"))
        self.book = Book(self.ledger, lambda _: self.audience, self.changes.append)

    def told(self, sink: str, seq: int, *channels: Channel, refused: tuple[Parked, ...] = ()) -> None:
        """A sink has accepted everything up to `seq`."""
        uid = self.ledger.mirror[NAME].uid
        progress = Progress(seq=seq, channels=frozenset(channels or {Channel.STATE}), refused=refused)
        self.book.told(NAME, sink, progress, uid=uid)

    @property
    def slot(self) -> Slot:
        """As it is stored."""
        return self.ledger.server[NAME].slot

    @property
    def seqs(self) -> dict[str, int]:
        """The stored cursors."""
        return {key: cursor.seq for key, cursor in self.slot.cursors.items()}


def owing(*seqs: int, **overrides: object) -> Slot:
    """A slot that owes these to both sinks."""
    fields = {
        "seq": max(seqs),
        "pending": tuple(make.transition(seq) for seq in seqs),
        "cursors": make.cursors(a=0, b=0),
    }
    return make.slot(**fields | overrides)


def refusal(seq: int) -> Parked:
    return Parked(sink="a", transition=make.transition(seq), message="no", at=1)


def next_fact(slot: Slot) -> Slot:
    """A change that adds one transition."""
    fact = make.transition(slot.seq + 1)
    return replace(slot, seq=fact.seq, pending=(*slot.pending, fact))


def once(change: Callable[[Slot], Slot], unless: int) -> Callable[[Slot], Slot]:
    """An idempotent change: nothing where the slot has got so far already."""
    return lambda slot: slot if slot.seq >= unless else change(slot)


async def test_a_slot_that_is_not_stored_is_made_by_the_change() -> None:
    desk = Desk()
    assert desk.book.look(NAME) is None
    after = await desk.book.change(KEY, next_fact)
    assert desk.slot == after
    assert desk.book.look(NAME) == (after, "uid-1")
    assert [(each.before.seq, each.after.seq, each.uid) for each in desk.changes] == [(0, 1, "uid-1")]


async def test_what_does_not_differ_is_not_written() -> None:
    desk = Desk(owing(1))
    assert await desk.book.change(KEY, lambda slot: slot) == owing(1)
    assert desk.ledger.saves == []
    assert desk.changes == []


async def test_nothing_is_made_where_nothing_is_recorded() -> None:
    desk = Desk()
    await desk.book.change(KEY, lambda slot: slot)
    await desk.book.flush(KEY)
    assert desk.ledger.server == {}


async def test_writes_of_one_slot_follow_each_other_and_each_sees_the_one_before() -> None:
    desk = Desk(make.slot(seq=1))
    await asyncio.gather(*(desk.book.change(KEY, next_fact) for _ in range(5)))
    assert desk.slot.seq == 6
    assert desk.ledger.most_at_once == {NAME: 1}


async def test_writes_of_two_slots_do_not_wait_for_each_other() -> None:
    desk = Desk(make.slot(seq=1))
    desk.ledger.hold = asyncio.Event()
    other = make.key(container="sidecar")
    both = [asyncio.ensure_future(desk.book.change(key, next_fact)) for key in (KEY, other)]
    await eventually(lambda: len(desk.ledger.writing) == 2)
    desk.ledger.hold.set()
    await asyncio.gather(*both)
    assert set(desk.ledger.server) == {NAME, other.object_name}


async def test_progress_is_seen_at_once_and_written_with_the_next_change() -> None:
    desk = Desk(owing(1, 2))
    desk.told("a", 2)
    found = desk.book.look(NAME)
    assert found is not None
    assert found[0].cursors["a"].seq == 2
    assert desk.ledger.saves == []
    await desk.book.change(KEY, next_fact)
    assert desk.seqs == {"a": 2, "b": 0}
    assert [each.seq for each in desk.slot.pending] == [1, 2, 3]
    assert desk.book.unwritten(NAME, "a") is None


async def test_progress_alone_is_not_written_unless_it_is_flushed() -> None:
    desk = Desk(owing(1))
    desk.told("a", 1)
    await desk.book.change(KEY, lambda slot: slot)
    assert desk.ledger.saves == []
    assert desk.book.unwritten_keys() == (KEY,)
    await desk.book.flush(KEY)
    assert desk.seqs == {"a": 1, "b": 0}
    assert desk.book.unwritten_keys() == ()
    await desk.book.flush(KEY)
    assert len(desk.ledger.saves) == 1


async def test_what_everybody_has_is_dropped() -> None:
    desk = Desk(owing(1, 2))
    desk.told("a", 2)
    desk.told("b", 1)
    await desk.book.flush(KEY)
    assert [each.seq for each in desk.slot.pending] == [2]


async def test_the_channels_told_since_the_last_write_add_up() -> None:
    desk = Desk(owing(1, 2))
    desk.told("a", 1, Channel.STATE)
    desk.told("a", 2, Channel.ROLLOUT)
    unwritten = desk.book.unwritten(NAME, "a")
    assert unwritten is not None
    assert (unwritten.seq, unwritten.channels) == (2, frozenset(Channel))


async def test_progress_that_arrives_during_a_write_is_not_forgotten() -> None:
    desk = Desk(owing(1, 2))
    desk.told("a", 1)
    desk.ledger.hold = asyncio.Event()
    writing = asyncio.ensure_future(desk.book.flush(KEY))
    await eventually(lambda: desk.ledger.writing)
    desk.told("a", 2)
    desk.told("b", 1)
    desk.ledger.hold.set()
    await writing
    assert desk.seqs == {"a": 1, "b": 0}
    found = desk.book.look(NAME)
    assert found is not None
    assert {key: cursor.seq for key, cursor in found[0].cursors.items()} == {"a": 2, "b": 1}
    await desk.book.flush(KEY)
    assert desk.seqs == {"a": 2, "b": 1}


async def test_a_refusal_that_was_written_is_not_written_again_with_later_progress() -> None:
    desk = Desk(owing(1, 2, 3))
    desk.told("a", 1, refused=(refusal(1),))
    desk.ledger.hold = asyncio.Event()
    writing = asyncio.ensure_future(desk.book.flush(KEY))
    await eventually(lambda: desk.ledger.writing)
    desk.told("a", 2, refused=(refusal(2),))
    desk.ledger.hold.set()
    await writing
    await desk.book.flush(KEY)
    assert [each.transition.seq for each in desk.slot.parked] == [1, 2]


async def test_a_failing_write_loses_neither_progress_nor_the_slot() -> None:
    desk = Desk(owing(1))
    desk.told("a", 1)
    desk.ledger.failures = [Unavailable("down")]
    with pytest.raises(Unavailable):
        await desk.book.change(KEY, next_fact)
    assert desk.slot == owing(1)
    assert desk.changes == []
    unwritten = desk.book.unwritten(NAME, "a")
    assert unwritten is not None
    assert unwritten.seq == 1
    await desk.book.change(KEY, next_fact)
    assert desk.seqs == {"a": 1, "b": 0}


async def test_a_conflict_is_read_again_and_planned_again() -> None:
    desk = Desk(owing(1))
    desk.ledger.edit(owing(1, 2, 3))
    planned: list[int] = []

    def change(slot: Slot) -> Slot:
        planned.append(slot.seq)
        return next_fact(slot)

    await desk.book.change(KEY, change)
    assert planned == [1, 3]
    assert desk.slot.seq == 4


async def test_progress_survives_a_conflict() -> None:
    desk = Desk(owing(1, 2))
    desk.told("a", 2, refused=(refusal(1),))
    desk.ledger.edit(owing(1, 2, tracked=False))
    await desk.book.flush(KEY)
    assert desk.seqs == {"a": 2, "b": 0}
    assert not desk.slot.tracked
    assert [each.transition.seq for each in desk.slot.parked] == [1]


async def test_others_who_keep_writing_are_told_of() -> None:
    desk = Desk(owing(1))
    desk.ledger.failures = [Conflict("again") for _ in range(MAX_CONFLICTS)]
    with pytest.raises(Conflict):
        await desk.book.change(KEY, next_fact)
    await desk.book.change(KEY, next_fact)
    assert desk.slot.seq == 2


@pytest.mark.parametrize("slots", [(), (owing(1),)], ids=["create", "update"])
async def test_a_write_whose_answer_was_lost_is_found_by_the_next_and_what_it_owes_is_due(
    slots: tuple[Slot, ...],
) -> None:
    desk = Desk(*slots)
    before = slots[0].seq if slots else 0
    desk.ledger.lost = [Unavailable("no answer")]
    with pytest.raises(Unavailable):
        await desk.book.change(KEY, once(next_fact, before + 1))
    assert desk.changes == []
    await desk.book.change(KEY, once(next_fact, before + 1))
    assert desk.slot.seq == before + 1, "planned once, written once"
    assert [each.after.seq for each in desk.changes] == [before + 1], "its transitions are due"
    assert desk.ledger.saves == []


async def test_a_refusal_in_a_write_whose_answer_was_lost_is_parked_once() -> None:
    desk = Desk(owing(1, 2, 3))
    desk.told("a", 1, refused=(refusal(1),))
    desk.told("b", 1)
    desk.ledger.lost = [Unavailable("no answer")]
    with pytest.raises(Unavailable):
        await desk.book.flush(KEY)
    desk.told("a", 2, refused=(refusal(2),))
    await desk.book.flush(KEY)
    assert [each.transition.seq for each in desk.slot.parked] == [1, 2]
    assert desk.seqs == {"a": 2, "b": 1}
    assert desk.book.unwritten_keys() == ()


async def test_progress_of_a_sink_that_the_slot_does_not_know_any_more_is_let_go() -> None:
    desk = Desk(owing(1))
    desk.told("gone", 1)
    desk.ledger.edit(owing(1, tracked=False))
    await desk.book.flush(KEY)
    assert desk.seqs == {"a": 0, "b": 0}
    assert desk.book.unwritten_keys() == ()


async def test_a_slot_that_was_deleted_and_made_again_starts_anew() -> None:
    desk = Desk(owing(*range(1, 9)))
    former = desk.ledger.mirror[NAME].uid
    desk.told("a", 8)
    desk.ledger.drop(NAME)

    def enrolled(slot: Slot) -> Slot:
        return replace(next_fact(slot), cursors={"a": Cursor(seq=0), "b": Cursor(seq=0)})

    await desk.book.change(KEY, enrolled)
    desk.book.told(NAME, "a", Progress(seq=8), uid=former)
    found = desk.book.look(NAME)
    assert found is not None
    assert (found[0].seq, found[0].cursors["a"].seq) == (1, 0), "what the former was told is not this one's"
    await desk.book.flush(KEY)
    assert desk.seqs == {"a": 0, "b": 0}


async def test_a_slot_that_somebody_deleted_is_told_nothing_and_not_made_again_by_progress() -> None:
    desk = Desk(owing(1))
    desk.told("a", 1)
    desk.ledger.drop(NAME)
    await desk.book.flush(KEY)
    assert desk.ledger.server == {}
    desk.book.told(NAME, "a", Progress(seq=1), uid="uid-1")
    assert desk.book.unwritten(NAME, "a") is None
    assert desk.book.unwritten_keys() == ()


async def test_the_outbox_is_compacted_with_the_write() -> None:
    desk = Desk(owing(*range(1, 41)))
    await desk.book.change(KEY, next_fact)
    assert len(desk.slot.pending) < 41
    assert desk.slot.pending[-1].seq == 41
    assert [each.type for each in desk.slot.conditions] == ["Truncated"]


async def test_a_slot_is_removed_only_while_it_is_so() -> None:
    desk = Desk(owing(1))
    assert not await desk.book.remove(NAME, when=lambda slot: not slot.pending)
    assert not await desk.book.remove("another", when=lambda _: True)
    desk.told("a", 1)
    assert await desk.book.remove(NAME, when=lambda slot: slot.cursors["a"].seq == 1)
    assert desk.ledger.server == {}
    assert desk.book.unwritten(NAME, "a") is None


async def test_a_removal_waits_for_the_write_under_way_and_looks_again() -> None:
    desk = Desk(make.slot(seq=1, cursors=make.cursors(a=1)))
    desk.ledger.hold = asyncio.Event()
    writing = asyncio.ensure_future(desk.book.change(KEY, next_fact))
    await eventually(lambda: desk.ledger.writing)
    removing = asyncio.ensure_future(desk.book.remove(NAME, when=lambda slot: not slot.pending))
    await settle()
    desk.ledger.hold.set()
    await writing
    assert not await removing
    assert desk.slot.seq == 2


async def test_an_end_that_is_told_clears_what_was_frozen() -> None:
    cursor = Cursor(seq=1, frozen={"version": "v1"})
    ended = make.transition(2, Kind.FINISHED)
    desk = Desk(make.slot(seq=2, pending=(ended,), cursors={"a": cursor}))
    desk.told("a", 2, Channel.ROLLOUT)
    await desk.book.flush(KEY)
    assert desk.slot.cursors == {"a": Cursor(seq=2)}
