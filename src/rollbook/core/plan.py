"""What a sighting means for a slot: the rules of the ledger, as a pure function.

Rows are named; each has a unit test and a scenario on the real control plane under the same name.

| row | the cluster shows | state | rollout event |
|---|---|---|---|
| adopted | a workload that already ran before us | DEPLOYED, cause Adopted | - |
| started | a new reference, taken up | - | started |
| waiting | paused, not yet observed by its controller, or its pods not heard of yet | - | - |
| continued | under way, or a new revision with the same reference | - | - |
| unchanged | all as it was: restarts, scaling, label edits | - | - |
| completed | complete, digest known, another or none DEPLOYED | DEPLOYED, old SUPERSEDED | finished |
| retagged | complete, the same digest DEPLOYED | re-asserted with version, reference | finished, if started |
| rollback | complete, one of the last digests, not the current one | DEPLOYED, marked as rollback | finished |
| failed | the deadline has passed, the workload's or ours | the old one stays | failed, with cause |
| recovered | a failed attempt completes after all | as completed | finished |
| interrupted | another reference before the end | - | failed (Interrupted), then started |
| unresolved | complete, no digest to trust | condition DigestResolved=False | - (finished if another follows) |
| drift | same reference, ready pods disagree | condition DigestDrift | - |
| tag moved | same reference, ready pods agree on another digest | DEPLOYED, old SUPERSEDED | started, finished |
| idle | scaled to zero, within the grace | - | - |
| scaled to zero | ... past the grace | DECOMMISSIONED | failed, if an attempt was open |
| resumed | scaled up again, same reference | DEPLOYED, cause Resumed | - |
| missing | container, workload or namespace gone, within the grace or pods left | - | - |
| removed, deleted | ... past the grace, no pod left | DECOMMISSIONED | failed, if an attempt was open |
| gone | ... and nothing left to end | - | - |
| re-created | after that, there again | DEPLOYED | as an attempt |
| untracked | tracking switched off | UNTRACKED | failed (Untracked), if an attempt was open |
| re-tracked | tracking switched on again | DEPLOYED, cause Resumed or Adopted | - |
| moved | the environment (or the deployment name) changed | old DECOMMISSIONED, new DEPLOYED, cause Moved | - |
| held | not allowed, or the name belongs to another | - | - |
"""

from dataclasses import dataclass, field
from typing import Final, assert_never

from rollbook.core import attempts
from rollbook.core.draft import Draft
from rollbook.core.observe import PODS_UNKNOWN, Rollout, Sighting
from rollbook.core.seen import Absent, Held, Policy, Seen
from rollbook.core.slot import Condition, Slot
from rollbook.core.stamps import observed
from rollbook.core.transition import Cause, Kind, Millis, Stamp, Transition

_DRIFT: Final = "DigestDrift"
_RESOLVED: Final = "DigestResolved"
_OF_DIGESTS: Final = frozenset({_DRIFT, _RESOLVED})

_QUIET: Final = frozenset({"waiting", "continued", "unchanged"})
"""Rows in which nothing happens: what was met before is the news then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do about one slot."""

    slot: Slot
    """As it should be; equal to what it was when nothing is to be written."""
    row: str
    """The row of the table that applied: the reason, in metrics and explanations."""
    transitions: tuple[Transition, ...] = field(default=())
    wake: Millis | None = None
    """When to look again although nothing may change."""


def plan(slot: Slot, seen: Seen | Absent | Held, now: Millis, policy: Policy) -> Plan:
    """Decide; `slot` is a fresh one (sequence 0) where none is stored, and stays so while nothing is recorded.

    A plan is idempotent: planning again over its outcome with the same sighting changes nothing.
    """
    draft, wake = Draft(slot, history=policy.history), None
    match seen:
        case Seen():
            row, wake = _seen(draft, seen, now, policy)
        case Absent():
            row, wake = _absent(draft, seen, now, policy)
        case Held():
            row = _held(draft, seen)
        case _:
            assert_never(seen)
    return Plan(slot=draft.slot, row=row, transitions=tuple(draft.said), wake=wake)


def _seen(draft: Draft, seen: Seen, now: Millis, policy: Policy) -> tuple[str, Millis | None]:
    sighting = seen.sighting
    rollout, before = sighting.rollout, draft.slot
    met = attempts.meet(draft, seen, now)
    if draft.slot.seq == 0 and not _recordable(sighting):
        return ("idle" if rollout is Rollout.IDLE else "waiting"), None
    draft.set(workload_uid=sighting.workload_uid, missing_since=None)
    if rollout is Rollout.IDLE:
        row, wake = _idle(draft, now, policy)
    else:
        draft.set(idle_since=None)
        row = "waiting" if rollout is Rollout.WAITING else attempts.advance(draft, seen, now, policy)
        wake = attempts.deadline(draft.slot, sighting, policy)
    draft.condition(*seen.findings, *_digest_conditions(before, draft.slot, sighting))
    return (met if met and row in _QUIET else row), wake


def _recordable(sighting: Sighting) -> bool:
    """Whether a slot begins with this: something runs or is about to, and its pods are not still to be heard."""
    if sighting.rollout is Rollout.COMPLETE:
        return sighting.resolution.reason != PODS_UNKNOWN
    return sighting.rollout not in {Rollout.IDLE, Rollout.WAITING}


def _digest_conditions(before: Slot, after: Slot, sighting: Sighting) -> tuple[Condition, ...]:
    """What the pods tell of digests; while they tell nothing, what was known of the same reference stays."""
    reason = sighting.resolution.reason
    if sighting.rollout is not Rollout.COMPLETE or reason == PODS_UNKNOWN:
        same = before.target == sighting.reference and sighting.rollout is not Rollout.IDLE
        stays = same or sighting.rollout is Rollout.WAITING
        return tuple(each for each in before.conditions if each.type in _OF_DIGESTS) if stays else ()
    if not reason:
        return ()
    digests = ", ".join(sighting.resolution.digests)
    if after.deployed and not after.attempt and reason == "Disagree":
        return (Condition(type=_DRIFT, reason="PodsDisagree", message=f"ready pods run {digests}"),)
    message = f"ready pods run {digests}" if digests else "no ready pod shows a repository digest"
    return (Condition(type=_RESOLVED, reason=reason, message=message, status=False),)


def _idle(draft: Draft, now: Millis, policy: Policy) -> tuple[str, Millis | None]:
    slot = draft.slot
    if slot.attempt is None and slot.deployed is None:
        return "idle", None
    since = slot.idle_since or now
    draft.set(idle_since=since)
    if now < since + policy.idle_grace:
        return "idle", since + policy.idle_grace
    _end(draft, observed(slot.clock, since), Cause.SCALED_TO_ZERO)
    return "scaled to zero", None


def _absent(draft: Draft, absent: Absent, now: Millis, policy: Policy) -> tuple[str, Millis | None]:
    slot = draft.slot
    if slot.attempt is None and (slot.deployed is None or not slot.tracked):
        draft.condition()
        return "gone", None
    if absent.cause is Cause.UNTRACKED:
        _untrack(draft, observed(slot.clock, now))
        return "untracked", None
    if absent.cause is Cause.MOVED:
        _end(draft, observed(slot.clock, now), Cause.MOVED)
        return "moved", None
    since = None if absent.pods_left else slot.missing_since or now
    draft.set(missing_since=since)
    if since is None:
        return "missing", None
    if now < since + policy.missing_grace:
        return "missing", since + policy.missing_grace
    _end(draft, observed(slot.clock, since), absent.cause)
    return absent.cause.lower(), None


def _held(draft: Draft, held: Held) -> str:
    """It is there, so that no grace runs; of what was never recorded, nothing is."""
    if draft.slot.seq:
        draft.set(missing_since=None, idle_since=None)
        draft.condition(held.condition)
    return "held"


def _end(draft: Draft, at: Stamp, cause: Cause) -> None:
    """What ran is gone; it is told so to all, untracked before or not."""
    draft.drop_attempt(at, cause.value)
    if draft.slot.deployed:
        draft.decommission(at, cause)
    draft.set(tracked=True, missing_since=None, idle_since=None)
    draft.condition()


def _untrack(draft: Draft, at: Stamp) -> None:
    draft.drop_attempt(at, Cause.UNTRACKED.value)
    if draft.slot.deployed:
        draft.say(Kind.UNTRACKED, draft.slot.deployed, at, cause=Cause.UNTRACKED)
    draft.set(tracked=False, missing_since=None, idle_since=None)
    draft.condition()
