"""What a sighting means for a slot: the rules of the ledger, as a pure function.

Rows are named; each has a unit test and a scenario on the real control plane under the same name.

| row | the cluster shows | state | rollout event |
|---|---|---|---|
| adopted | a workload that already ran before us | DEPLOYED, cause Adopted | - |
| started | a new reference, taken up | - | started |
| waiting | paused, or not yet observed by its controller | - | - |
| continued | a new revision with the same reference | - | - |
| completed | complete, digest known, another or none DEPLOYED | DEPLOYED, old SUPERSEDED | finished |
| retagged | complete, the same digest DEPLOYED | re-asserted with version and reference | finished |
| rollback | complete, one of the last digests, not the current one | DEPLOYED, marked as rollback | finished |
| failed | the deadline has passed | the old one stays | failed, with cause |
| recovered | a failed attempt completes after all | as completed | finished |
| interrupted | another reference before the end | - | failed (Interrupted), then started |
| unresolved | complete, but no digest can be trusted | condition DigestResolved=False | - |
| drift | same reference, ready pods disagree | condition DigestDrift | - |
| tag moved | same reference, ready pods agree on another digest | DEPLOYED, old SUPERSEDED | started, finished |
| idle | scaled to zero, within the grace | - | - |
| scaled to zero | ... past the grace | DECOMMISSIONED | failed, if an attempt was open |
| resumed | scaled up again, same reference | DEPLOYED, cause Resumed | - |
| missing | container, workload or namespace gone, within the grace or pods left | - | - |
| removed, deleted | ... past the grace, no pod left | DECOMMISSIONED | failed, if an attempt was open |
| re-created | after that, there again | DEPLOYED | as an attempt |
| untracked | tracking switched off | UNTRACKED | failed (Untracked), if an attempt was open |
| re-tracked | tracking switched on again | DEPLOYED, cause Resumed or Adopted | - |
| moved | the environment (or the deployment name) changed | old DECOMMISSIONED, new DEPLOYED, cause Moved | - |
| held | not allowed, or the name belongs to another | - | - |
"""

from dataclasses import dataclass, field

from rollbook.core import attempts
from rollbook.core.draft import Draft
from rollbook.core.observe import PODS_UNKNOWN, Rollout, Sighting
from rollbook.core.seen import Absent, Held, Policy, Seen
from rollbook.core.slot import Condition, Slot
from rollbook.core.stamps import observed
from rollbook.core.transition import Cause, Kind, Millis, Stamp, Transition


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
    """Decide; `slot` is a fresh one (sequence 0) where none is stored.

    A plan is idempotent: planning again over its outcome with the same sighting changes nothing.
    """
    draft = Draft(slot, history=policy.history)
    match seen:
        case Seen():
            row, wake = _seen(draft, seen, now, policy)
        case Absent():
            row, wake = _absent(draft, seen, now, policy)
        case Held():
            draft.condition(seen.condition)
            row, wake = "held", None
    return Plan(slot=draft.slot, row=row, transitions=tuple(draft.said), wake=wake)


def _seen(draft: Draft, seen: Seen, now: Millis, policy: Policy) -> tuple[str, Millis | None]:
    rollout = seen.sighting.rollout
    if draft.slot.seq == 0 and rollout in {Rollout.IDLE, Rollout.WAITING}:
        return rollout.lower(), None
    draft.set(missing_since=None, idle_since=draft.slot.idle_since if rollout is Rollout.IDLE else None)
    draft.condition(*seen.findings, *_digest_conditions(draft.slot, seen.sighting))
    if rollout is Rollout.IDLE:
        return _idle(draft, now, policy)
    if rollout is Rollout.WAITING:
        return "waiting", None
    attempts.first_sight(draft, seen, now)
    if attempts.is_new(draft.slot, seen.sighting):
        attempts.begin(draft, seen, attempts.cause_of(draft.slot, seen.sighting, policy), now)
    draft.set(workload_uid=seen.sighting.workload_uid)
    row = attempts.attempt(draft, seen, now) if draft.slot.attempt else attempts.steady(draft, seen, now)
    return row, None


def _digest_conditions(slot: Slot, sighting: Sighting) -> tuple[Condition, ...]:
    reason, digests = sighting.resolution.reason, ", ".join(sighting.resolution.digests)
    if sighting.rollout is not Rollout.COMPLETE or reason in {"", PODS_UNKNOWN}:
        return ()
    if slot.deployed and not slot.attempt and slot.target == sighting.reference and reason == "Disagree":
        return (Condition(type="DigestDrift", reason="PodsDisagree", message=f"ready pods run {digests}"),)
    message = f"ready pods run {digests}" if digests else "no ready pod shows a repository digest"
    return (Condition(type="DigestResolved", reason=reason, message=message, status=False),)


def _idle(draft: Draft, now: Millis, policy: Policy) -> tuple[str, Millis | None]:
    since = draft.slot.idle_since or now
    draft.set(idle_since=since)
    if not _alive(draft.slot):
        return "idle", None
    if now < since + policy.idle_grace:
        return "idle", since + policy.idle_grace
    _end(draft, observed(draft.slot.clock, since), Cause.SCALED_TO_ZERO)
    return "scaled to zero", None


def _absent(draft: Draft, absent: Absent, now: Millis, policy: Policy) -> tuple[str, Millis | None]:
    slot = draft.slot
    if not _alive(slot):
        return "gone", None
    if absent.cause is Cause.UNTRACKED:
        _untrack(draft, observed(slot.clock, now))
        return "untracked", None
    if absent.cause is Cause.MOVED:
        _end(draft, observed(slot.clock, now), Cause.MOVED)
        return "moved", None
    since = slot.missing_since or now
    draft.set(missing_since=since)
    if absent.pods_left:
        return "missing", None
    if now < since + policy.missing_grace:
        return "missing", since + policy.missing_grace
    _end(draft, observed(slot.clock, since), absent.cause)
    return absent.cause.lower(), None


def _alive(slot: Slot) -> bool:
    """Whether the slot holds anything that could end."""
    return slot.attempt is not None or (slot.deployed is not None and slot.tracked)


def _end(draft: Draft, at: Stamp, cause: Cause) -> None:
    draft.drop_attempt(at, cause.value)
    if draft.slot.deployed:
        draft.decommission(at, cause)
    draft.set(conditions=())


def _untrack(draft: Draft, at: Stamp) -> None:
    draft.drop_attempt(at, Cause.UNTRACKED.value)
    if draft.slot.deployed:
        draft.say(Kind.UNTRACKED, draft.slot.deployed, at, cause=Cause.UNTRACKED)
    draft.set(tracked=False, conditions=())
