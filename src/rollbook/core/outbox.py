"""What a slot still owes to whom. The outbox is part of the slot: it is written with the change itself.

Every sink that hears of a slot has a cursor in it, under the sink's key. A sink is *enrolled* before the change
that it shall hear of; one that comes later is brought to today's state and told nothing of old rollouts.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rollbook.core.slot import TRUNCATED, Condition, Cursor, Parked, Slot
from rollbook.core.transition import Cause, Channel, Kind, Millis, Transition

_TOLD: Final = frozenset({Kind.STARTED, Kind.FINISHED, Kind.FAILED, Kind.DEPLOYED, Kind.DECOMMISSIONED})
"""Superseding is the trackers' own; what is no longer tracked is told to nobody."""

_ENDS: Final = frozenset({Kind.FINISHED, Kind.FAILED})

MAX_PENDING: Final = 40
"""Transitions a slot keeps for sinks that do not take them; beyond it the outbox is compacted."""

_NEWEST: Final = MAX_PENDING // 2
"""How many of the newest transitions a compaction keeps in any case."""

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
    only if it hears states and wants to be back-filled. One that is closing is not begun with.
    """
    wanted = {each.key: each for each in subscriptions}
    slot = replace(slot, cursors={key: cursor for key, cursor in slot.cursors.items() if key in wanted})
    for key in sorted(wanted.keys() - slot.cursors.keys()):
        if not wanted[key].closing:
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
    ahead = tuple(each for each in slot.pending if each.seq > cursor.seq and hears(subscription, each))
    if not subscription.closing:
        return ahead
    return tuple(each for each in ahead if cursor.frozen is not None and each.entry == ahead[0].entry)


def settle(slot: Slot, progress: Mapping[str, Progress]) -> Slot:
    """Move the cursors to what the sinks have accepted, and keep what they refused."""
    cursors, parked = dict(slot.cursors), slot.parked
    for key, made in progress.items():
        if key in cursors and made.seq > cursors[key].seq:
            cursors[key] = Cursor(seq=made.seq, frozen=made.frozen)
            parked = (*parked, *made.refused)
    return replace(slot, cursors=cursors, parked=parked[-MAX_PARKED:])


def prune(slot: Slot, subscriptions: Collection[Subscription]) -> Slot:
    """Drop the transitions that nobody is owed any more; when all are gone, so is what was said of a gap."""
    wanted = {each.seq for subscription in subscriptions for each in owed(slot, subscription)}
    slot = replace(slot, pending=tuple(each for each in slot.pending if each.seq in wanted))
    return slot if slot.pending else replace(slot, conditions=_without(slot.conditions, TRUNCATED))


def compact(slot: Slot) -> Slot:
    """Keep the outbox bounded when a sink takes nothing for long.

    What stays: the newest transitions; for each sink the latest state, also of a name that it knows as DEPLOYED
    and that is no longer used; the last end of what it was told the start of; and with an end its beginning. The
    rest is a gap, counted in the condition `Truncated`.
    """
    if len(slot.pending) <= MAX_PENDING:
        return slot
    keep = {each.seq for each in slot.pending[-_NEWEST:]}
    keep.update(seq for key, cursor in slot.cursors.items() for seq in _needed(slot.pending, key, cursor))
    ended = {each.entry for each in slot.pending if each.seq in keep and each.kind in _ENDS}
    kept = tuple(
        each for each in slot.pending if each.seq in keep or (each.kind is Kind.STARTED and each.entry in ended)
    )
    lost = len(slot.pending) - len(kept)
    if lost == 0:
        return slot
    message = f"{lost + _lost(slot)} undelivered transitions were dropped"
    said = Condition(type=TRUNCATED, reason="OutboxFull", message=message)
    return replace(slot, pending=kept, conditions=(*_without(slot.conditions, TRUNCATED), said))


def _needed(pending: Sequence[Transition], key: str, cursor: Cursor) -> Iterator[int]:
    """What one sink must still hear for its picture to be right in the end."""
    ahead = [each for each in pending if each.seq > cursor.seq and each.kind in _TOLD and each.only in {None, key}]
    states = [each for each in ahead if each.kind.channel is Channel.STATE]
    for name in {each.identity.deployment_name for each in (*states[:1], *states[-1:])}:
        latest = {each.kind: each.seq for each in states if each.identity.deployment_name == name}
        yield max(latest.values())
        yield latest.get(Kind.DEPLOYED, 0)  # what is DECOMMISSIONED without it would leave an older one DEPLOYED
    course = [each for each in ahead if each.kind.channel is Channel.ROLLOUT]
    if course and course[0].kind in _ENDS:
        yield max(each.seq for each in course if each.entry == course[0].entry)


def _lost(slot: Slot) -> int:
    """How many were dropped before and are still spoken of."""
    said = next((each.message for each in slot.conditions if each.type == TRUNCATED), "0")
    return int(said.partition(" ")[0])


def _without(conditions: Sequence[Condition], name: str) -> tuple[Condition, ...]:
    return tuple(each for each in conditions if each.type != name)
