"""What a slot owes to whom."""

from dataclasses import replace

import pytest

from rollbook.core.outbox import (
    MAX_PARKED,
    MAX_PENDING,
    Progress,
    compact,
    due,
    enroll,
    hears,
    owed,
    prune,
    settle,
)
from rollbook.core.slot import TRUNCATED, Condition, Cursor, Parked, Slot
from rollbook.core.transition import Cause, Channel, Kind, RecordStatus, Transition
from tests.unit.core.make import (
    T,
    artifact,
    cursors,
    entry,
    identity,
    slot,
    subscription,
    transition,
)

STATE = frozenset({Channel.STATE})
ROLLOUT = frozenset({Channel.ROLLOUT})
FROZEN = {"version": "v1"}


def seqs(transitions: tuple[Transition, ...]) -> list[int]:
    return [each.seq for each in transitions]


def rollout(number: int, end: Kind = Kind.FINISHED, digest: str = "") -> tuple[Transition, ...]:
    """The transitions of a whole rollout, from number * 10 on."""
    told = artifact(f"v{number}", digest or f"sha256:{number:064x}")
    return tuple(
        transition(number * 10 + offset, kind, entry=number * 10, artifact=told)
        for offset, kind in enumerate((Kind.STARTED, Kind.DEPLOYED, end), start=1)
    )


def after(count: int, **overrides: object) -> Slot:
    """A slot after so many rollouts that nobody took."""
    pending = tuple(each for number in range(1, count + 1) for each in rollout(number))
    fields = {"seq": count * 10 + 3, "pending": pending, "cursors": cursors(sink=0), "current": entry()}
    return slot(**fields | overrides)


# Hears


@pytest.mark.parametrize(
    ("kind", "state_sink", "rollout_sink"),
    [
        (Kind.STARTED, False, True),
        (Kind.FINISHED, False, True),
        (Kind.FAILED, False, True),
        (Kind.DEPLOYED, True, False),
        (Kind.DECOMMISSIONED, True, False),
        (Kind.SUPERSEDED, False, False),
        (Kind.UNTRACKED, False, False),
    ],
)
def test_a_sink_hears_its_channels_but_no_superseding_and_no_untracking(
    kind: Kind, *, state_sink: bool, rollout_sink: bool
) -> None:
    said = transition(1, kind)
    assert hears(subscription(channels=STATE), said) is state_sink
    assert hears(subscription(channels=ROLLOUT), said) is rollout_sink
    assert hears(subscription(), said) is (state_sink or rollout_sink)


def test_what_is_for_one_sink_is_for_no_other() -> None:
    said = transition(1, only="sink")
    assert hears(subscription("sink"), said)
    assert not hears(subscription("other"), said)


def test_rollouts_that_began_before_a_sink_are_not_its_business_but_states_are() -> None:
    young = subscription(since=T + 1)
    assert not hears(young, transition(1, Kind.FINISHED))
    assert hears(young, transition(1, Kind.FINISHED, began=T + 1))
    assert hears(young, transition(1, Kind.DEPLOYED))


def test_only_the_reporting_container_tells_rollouts() -> None:
    quiet = identity(reports=False)
    assert not hears(subscription(), transition(1, Kind.STARTED, identity=quiet))
    assert hears(subscription(), transition(1, Kind.DEPLOYED, identity=quiet))


def test_a_closing_sink_hears_only_ends() -> None:
    closing = subscription(closing=True)
    assert [kind for kind in Kind if hears(closing, transition(1, kind))] == [Kind.FINISHED, Kind.FAILED]


# Enroll


def test_a_slot_without_history_owes_a_new_sink_all_that_comes() -> None:
    enrolled = enroll(slot(), [subscription()])
    assert enrolled == slot(cursors=cursors(sink=0))
    told = replace(enrolled, seq=13, pending=rollout(1))
    assert owed(told, subscription()) == rollout(1)


def test_a_late_sink_is_told_todays_state_once_and_no_old_rollout() -> None:
    late = enroll(after(2, cursors={}), [subscription("late", since=T + 1)])
    (today,) = owed(late, subscription("late", since=T + 1))
    assert (today.kind, today.cause, today.only, today.seq) == (Kind.DEPLOYED, Cause.ADOPTED, "late", 24)
    assert (today.at, today.artifact, today.entry) == (entry().since, entry().artifact, entry().number)
    assert late.seq == 24


def test_and_no_other_sink_hears_of_that() -> None:
    both = enroll(after(1), [subscription(), subscription("late")])
    assert seqs(owed(both, subscription())) == [11, 12, 13]


@pytest.mark.parametrize(
    ("before", "who"),
    [
        pytest.param({"current": None}, {}, id="nothing is deployed"),
        pytest.param({"current": entry(status=RecordStatus.DECOMMISSIONED)}, {}, id="it is gone"),
        pytest.param({"tracked": False}, {}, id="it is not tracked"),
        pytest.param({}, {"backfill": False}, id="the sink wants no back-fill"),
        pytest.param({}, {"channels": ROLLOUT}, id="the sink hears no states"),
    ],
)
def test_a_late_sink_is_owed_nothing_where(before: dict[str, object], who: dict[str, object]) -> None:
    late = subscription("late", **who)
    enrolled = enroll(after(2, **before), [subscription(), late])
    assert owed(enrolled, late) == ()
    assert enrolled.cursors["late"] == Cursor(seq=23)
    assert enrolled.pending == after(2).pending


def test_enrolling_again_changes_nothing() -> None:
    once = enroll(after(2), [subscription(), subscription("late")])
    assert enroll(once, [subscription(), subscription("late")]) == once


def test_a_sink_that_is_no_more_is_forgotten() -> None:
    assert enroll(after(1), []).cursors == {}


def test_a_sink_that_comes_again_is_told_todays_state_again() -> None:
    again = enroll(enroll(after(1), []), [subscription()])
    assert [each.only for each in owed(again, subscription())] == ["sink"]


def test_the_order_of_sinks_does_not_matter() -> None:
    sinks = [subscription(name) for name in ("c", "a", "b")]
    assert enroll(after(1), sinks) == enroll(after(1), sinks[::-1])


def test_a_closing_sink_is_not_begun_with() -> None:
    assert enroll(after(1, cursors={}), [subscription(closing=True)]) == after(1, cursors={})


# Owed


def test_who_has_no_cursor_is_owed_nothing() -> None:
    assert owed(after(1), subscription("other")) == ()
    assert due(after(1), subscription("other")) is None


def test_what_lies_behind_the_cursor_is_not_owed() -> None:
    there = after(2, cursors=cursors(sink=12))
    assert seqs(owed(there, subscription())) == [13, 21, 22, 23]
    first = due(there, subscription())
    assert first is not None
    assert first.seq == 13


def test_a_sink_that_hears_no_rollouts_skips_them() -> None:
    assert seqs(owed(after(2), subscription(channels=STATE))) == [12, 22]


def test_a_closing_sink_is_owed_the_end_of_what_it_was_told_the_start_of() -> None:
    there = after(2, cursors={"sink": Cursor(seq=11, frozen=FROZEN)})
    assert seqs(owed(there, subscription(closing=True))) == [13]


def test_a_closing_sink_hears_that_a_failed_rollout_recovered() -> None:
    failed = transition(13, Kind.FAILED, entry=10)
    recovered = transition(14, Kind.FINISHED, entry=10)
    there = slot(pending=(failed, recovered), cursors={"sink": Cursor(seq=11, frozen=FROZEN)})
    assert seqs(owed(there, subscription(closing=True))) == [13, 14]


def test_a_closing_sink_that_was_told_no_start_is_owed_no_end() -> None:
    assert owed(after(2), subscription(closing=True)) == ()
    assert owed(slot(cursors={"sink": Cursor(seq=1, frozen=FROZEN)}), subscription(closing=True)) == ()


# Settle


def test_what_a_sink_accepted_is_not_owed_again() -> None:
    settled = settle(after(2), {"sink": Progress(seq=13)})
    assert seqs(owed(settled, subscription())) == [21, 22, 23]


def test_cursors_only_move_forward() -> None:
    there = after(2, cursors={"sink": Cursor(seq=22, frozen=FROZEN)})
    late = Progress(seq=13, refused=(parked(13),))
    assert settle(there, {"sink": late}) == there


def test_settling_twice_is_settling_once() -> None:
    progress = {"sink": Progress(seq=13, refused=(parked(12),))}
    assert settle(settle(after(2), progress), progress) == settle(after(2), progress)


def test_the_frozen_identity_goes_with_the_cursor() -> None:
    open_ = settle(after(2), {"sink": Progress(seq=21, frozen=FROZEN)})
    assert open_.cursors["sink"] == Cursor(seq=21, frozen=FROZEN)
    assert settle(open_, {"sink": Progress(seq=23)}).cursors["sink"].frozen is None


def test_a_sink_that_is_no_more_has_no_progress() -> None:
    assert settle(after(1), {"other": Progress(seq=13)}) == after(1)


def test_refusals_are_kept_the_newest_only() -> None:
    refused = tuple(parked(seq) for seq in range(1, MAX_PARKED + 4))
    settled = settle(slot(cursors=cursors(sink=0)), {"sink": Progress(seq=50, refused=refused)})
    assert settled.parked == refused[3:]


def parked(seq: int) -> Parked:
    return Parked(sink="sink", transition=transition(seq), message="no such project", at=T)


# Prune


def test_what_somebody_is_owed_stays() -> None:
    there = after(2, cursors=cursors(sink=13, slow=12))
    pruned = prune(there, [subscription(), subscription("slow", channels=ROLLOUT)])
    assert seqs(pruned.pending) == [13, 21, 22, 23]


def test_what_nobody_is_owed_goes() -> None:
    assert prune(after(2), []).pending == ()
    done = after(2, cursors=cursors(sink=23))
    assert prune(done, [subscription()]).pending == ()


def test_what_is_told_to_nobody_goes_at_once() -> None:
    quiet = slot(pending=(transition(1, Kind.SUPERSEDED), transition(2, Kind.UNTRACKED)), cursors=cursors(sink=0))
    assert prune(quiet, [subscription()]).pending == ()


def test_a_gap_is_spoken_of_until_all_is_delivered() -> None:
    gap = Condition(type=TRUNCATED, reason="OutboxFull", message="7 undelivered transitions were dropped")
    other = Condition(type="DigestDrift", reason="PodsDisagree")
    there = after(1, conditions=(gap, other))
    assert prune(there, [subscription()]).conditions == (gap, other)
    assert prune(settle(there, {"sink": Progress(seq=13)}), [subscription()]).conditions == (other,)


# Compact


def test_up_to_the_bound_nothing_is_dropped() -> None:
    full = replace(after(20), pending=after(20).pending[:MAX_PENDING])
    assert compact(full) == full


def test_beyond_it_the_newest_stay_with_the_count_of_what_went() -> None:
    full = after(20)
    done = compact(full)
    assert done.pending[-20:] == full.pending[-20:]
    dropped = len(full.pending) - len(done.pending)
    message = f"{dropped} undelivered transitions were dropped"
    assert done.conditions == (Condition(type=TRUNCATED, reason="OutboxFull", message=message),)
    assert compact(done) == done


def test_the_count_goes_on() -> None:
    once = compact(after(20))
    more = tuple(each for number in range(21, 31) for each in rollout(number))
    twice = compact(replace(once, pending=(*once.pending, *more)))
    total = 60 + len(more) - len(twice.pending)
    assert twice.conditions[0].message == f"{total} undelivered transitions were dropped"
    assert len(twice.conditions) == 1


def test_no_end_is_left_without_the_start_that_is_owed_too() -> None:
    """The twentieth newest is the end of a rollout whose start lies before the cut."""
    full = after(20)
    done = compact(replace(full, pending=(*full.pending, transition(204, Kind.FAILED, entry=204))))
    assert seqs(done.pending)[:3] == [141, 143, 151], "the state between them is history"
    starts = {each.entry for each in done.pending if each.kind is Kind.STARTED}
    assert {each.entry for each in done.pending if each.kind is Kind.FINISHED} <= starts


def test_the_end_of_what_a_sink_was_told_the_start_of_stays() -> None:
    done = compact(after(20, cursors={"sink": Cursor(seq=11, frozen=FROZEN)}))
    assert seqs(owed(done, subscription(channels=ROLLOUT)))[0] == 13


def test_of_an_end_that_came_twice_the_last_stays() -> None:
    again = (*rollout(1, Kind.FAILED)[2:], transition(14, Kind.FINISHED, entry=10))
    full = after(20, cursors={"sink": Cursor(seq=11, frozen=FROZEN)})
    done = compact(replace(full, pending=(*again, *full.pending[3:])))
    assert seqs(owed(done, subscription(channels=ROLLOUT)))[0] == 14


def test_each_sink_keeps_its_latest_state() -> None:
    """Back-fills are for one sink each; rollouts of a state that nobody changed drown them."""
    filled = enroll(after(0, cursors={}, seq=3), [subscription(name) for name in ("a", "b")])
    noise = tuple(transition(100 + number, Kind.FAILED, entry=number) for number in range(50))
    full = replace(filled, pending=(*filled.pending, *noise))
    for name in ("a", "b"):
        assert [each.only for each in owed(compact(full), subscription(name, channels=STATE))] == [name]


def test_what_is_told_to_nobody_does_not_stand_for_the_latest_state() -> None:
    noise = tuple(transition(100 + number, Kind.FAILED, entry=number) for number in range(50))
    pending = (transition(1), transition(2, Kind.UNTRACKED), *noise)
    done = compact(slot(pending=pending, cursors=cursors(sink=0)))
    assert seqs(owed(done, subscription(channels=STATE))) == [1]


def test_the_end_of_a_name_that_the_sink_knows_stays() -> None:
    """The deployment's name changed: without its DECOMMISSIONED the old one would stand for ever."""
    old = identity(deployment_name="payments/old")
    renamed = transition(5, Kind.DECOMMISSIONED, identity=old)
    full = after(20)
    done = compact(replace(full, pending=(transition(4, identity=old), renamed, *full.pending)))
    state = owed(done, subscription(channels=STATE))
    assert seqs(state)[:2] == [4, 5]
    assert state[-1] == full.pending[-2]


def test_names_that_came_and_went_meanwhile_are_dropped() -> None:
    """A name per release, while the sink is down: that it never heard of them is right."""
    pending = tuple(
        transition(number * 2 + offset, kind, identity=identity(deployment_name=f"payments/shop-{number}"))
        for number in range(1, 60)
        for offset, kind in enumerate((Kind.DEPLOYED, Kind.DECOMMISSIONED))
    )
    done = compact(slot(pending=pending, cursors=cursors(sink=0)))
    assert seqs(done.pending) == [2, 3, *range(100, 120)]


def test_where_every_sink_needs_all_nothing_is_dropped() -> None:
    many = [subscription(f"s{number}") for number in range(MAX_PENDING + 5)]
    full = enroll(after(0, cursors={}, seq=3), many)
    assert compact(full) == full
    assert all(due(compact(full), each) for each in many)


def test_what_a_sink_has_accepted_already_is_not_kept_for_it() -> None:
    done = compact(after(20, cursors=cursors(sink=203)))
    assert seqs(done.pending)[:3] == [141, 142, 143]
    assert len(done.pending) == 21
