"""What a slot still owes to whom. The outbox is part of the slot: it is written with the change itself.

Every sink that hears of a slot has a cursor in it, under the sink's key. A sink is *enrolled* before the change
that it shall hear of; one that comes later is brought to today's state and told nothing of old rollouts.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from rollbook.core.slot import Condition, Cursor, Parked, Slot
from rollbook.core.transition import Cause, Channel, Kind, Millis, Transition

_TOLD: Final = frozenset({Kind.STARTED, Kind.FINISHED, Kind.FAILED, Kind.DEPLOYED, Kind.DECOMMISSIONED})
"""Superseding is the trackers' own; what is no longer tracked is told to nobody."""

MAX_PENDING: Final = 40
"""Transitions a slot keeps for sinks that do not take them; beyond it the outbox is compacted."""

MAX_PARKED: Final = 10
"""Refused deliveries a slot keeps; the oldest go first, since every refusal is logged too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What the ledger must know of a sink that hears of a slot."""

    key: str
    channels: frozenset[Channel]
    since: Millis
    """Rollouts that began earlier are not its business."""
    backfill: bool = True
    """Whether it is told today's state when it is new to a slot."""
    closing: bool = False
    """Its selector no longer matches; it is only told the end of what it was told the start of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a sink has accepted and the stored slot does not say yet."""

    seq: int
    frozen: Mapping[str, str] | None = None
    channels: frozenset[Channel] = field(default_factory=frozenset)
    """The channels it was told on since the slot was last written."""
    refused: tuple[Parked, ...] = ()


def hears(subscription: Subscription, transition: Transition) -> bool:
    """Whether a sink is to be told of a transition."""
    if transition.kind not in _TOLD or transition.kind.channel not in subscription.channels:
        return False
    if transition.only is not None and transition.only != subscription.key:
        return False
    if transition.kind.channel is Channel.STATE:
        return not subscription.closing
    if subscription.closing and transition.kind is Kind.STARTED:
        return False
    return transition.identity.reports and transition.began >= subscription.since


def enroll(slot: Slot, subscriptions: Iterable[Subscription]) -> Slot:
    """Give every new sink its cursor, and forget the cursors of sinks that are no more.

    A slot without history owes a new sink all that comes; one with history owes it only what is DEPLOYED, and
    only if it hears states and wants to be back-filled.
    """
    wanted = {each.key: each for each in subscriptions}
    slot = replace(slot, cursors={key: cursor for key, cursor in slot.cursors.items() if key in wanted})
    for key in sorted(wanted.keys() - slot.cursors.keys()):
        slot = _enroll(slot, wanted[key])
    return slot


def _enroll(slot: Slot, subscription: Subscription) -> Slot:
    slot = replace(slot, cursors={**slot.cursors, subscription.key: Cursor(seq=slot.seq)})
    entry = slot.deployed
    if (
        entry is None
        or not subscription.backfill
        or not slot.tracked
        or Channel.STATE not in subscription.channels
    ):
        return slot
    assert entry.since is not None, "what is DEPLOYED is so since some time"
    today = Transition(
        seq=slot.seq + 1,
        kind=Kind.DEPLOYED,
        at=entry.since,
        artifact=entry.artifact,
        identity=entry.identity,
        entry=entry.number,
        began=entry.since.time,
        cause=Cause.ADOPTED,
        revision=entry.revision,
        only=subscription.key,
    )
    return replace(slot, seq=today.seq, pending=(*slot.pending, today))


def due(slot: Slot, subscription: Subscription) -> Transition | None:
    """The next transition that a sink is owed."""
    return next(iter(owed(slot, subscription)), None)


def owed(slot: Slot, subscription: Subscription) -> tuple[Transition, ...]:
    """All transitions that a sink is owed, oldest first."""
    cursor = slot.cursors.get(subscription.key)
    if cursor is None:
        return ()
    return tuple(each for each in slot.pending if each.seq > cursor.seq and hears(subscription, each))


def settle(slot: Slot, progress: Mapping[str, Progress]) -> Slot:
    """Move the cursors to what the sinks have accepted, and keep what they refused."""
    cursors, parked = dict(slot.cursors), slot.parked
    for key, made in progress.items():
        if key in cursors and made.seq > cursors[key].seq:
            cursors[key] = Cursor(seq=made.seq, frozen=made.frozen)
            parked = (*parked, *made.refused)
    return replace(slot, cursors=cursors, parked=parked[-MAX_PARKED:])


def prune(slot: Slot, subscriptions: Collection[Subscription]) -> Slot:
    """Drop the transitions that nobody is owed any more."""
    wanted = {each.seq for subscription in subscriptions for each in owed(slot, subscription)}
    return replace(slot, pending=tuple(each for each in slot.pending if each.seq in wanted))


def compact(slot: Slot) -> Slot:
    """Keep the outbox bounded when a sink takes nothing for long.

    What goes, oldest first: states that a later state of the slot has made history, and starts together with the
    ends that followed them. What stays: for each sink the latest state, and the end of a start it was told of.
    """
    if len(slot.pending) <= MAX_PENDING:
        return slot
    kept = _newest(slot.pending)
    lost = len(slot.pending) - len(kept)
    said = Condition(type="Truncated", reason="OutboxFull", message=f"{lost} undelivered transitions were dropped")
    others = tuple(each for each in slot.conditions if each.type != said.type)
    return replace(slot, pending=kept, conditions=(*others, said))


def _newest(pending: tuple[Transition, ...]) -> tuple[Transition, ...]:
    keep: set[int] = set()
    states: dict[str | None, int] = {}
    ends: dict[int, int] = {}
    for each in pending:
        if each.kind.channel is Channel.STATE:
            states[each.only] = each.seq
        elif each.kind is not Kind.STARTED:
            ends[each.entry] = each.seq
    keep.update(states.values())
    keep.update(list(ends.values())[:1])
    keep.update(each.seq for each in pending[-MAX_PENDING // 2 :])
    return tuple(each for each in pending if each.seq in keep)
