"""How an attempt begins, goes on and ends: the part of the plan that is about rollouts."""

from dataclasses import replace
from typing import Final

from rollbook.core.draft import Draft
from rollbook.core.image import is_moving, parse_reference, short
from rollbook.core.observe import PODS_UNKNOWN, Rollout, Running, Sighting
from rollbook.core.seen import Policy, Seen
from rollbook.core.slot import Entry, Slot
from rollbook.core.stamps import ended, failed_at, is_without_deadline, moved, observed, started
from rollbook.core.transition import Artifact, Cause, Kind, Millis, Phase, RecordStatus, Stamp

_SILENT: Final = frozenset({Cause.ADOPTED, Cause.RESUMED})
"""Attempts of these causes tell no rollout events: nothing was rolled out."""

_ROWS: Final = {Cause.ADOPTED: "adopted", Cause.RESUMED: "resumed", Cause.TAG_MOVED: "tag moved"}


def meet(draft: Draft, seen: Seen, now: Millis) -> str:
    """Where nothing is recorded as running: record what ran before the rollout in sight, if anything did.

    Returns:
        The row of the table, empty if there was nothing to record.
    """
    slot, sighting = draft.slot, seen.sighting
    if slot.deployed or slot.attempt or sighting.rollout is Rollout.IDLE:
        return ""
    if seen.moved:
        entry = _again(seen.moved, draft.number(), seen, Cause.MOVED)
        draft.deploy(entry, observed(slot.clock, now))
        return "moved"
    previous = sighting.previous
    if slot.seq or sighting.rollout is Rollout.COMPLETE or previous is None or not previous.resolution.digest:
        return ""
    by = now if sighting.rollout is Rollout.WAITING else started(sighting, slot, now).time
    entry = _adopted(draft.number(), seen, previous, previous.resolution.digest)
    draft.deploy(entry, observed(None, by))
    return "adopted"


def _adopted(number: int, seen: Seen, previous: Running, digest: str) -> Entry:
    reference = parse_reference(previous.reference)
    tag = reference.tag
    version = tag if tag and not is_moving(tag, ()) else short(digest)
    if previous.reference == seen.sighting.reference:
        version = seen.version(digest)
    return Entry(
        number=number,
        artifact=Artifact(
            name=reference.repository,
            reference=previous.reference,
            version=version,
            digest=digest,
            running=previous.resolution.running,
        ),
        identity=seen.identity,
        phase=Phase.SUCCEEDED,
        cause=Cause.ADOPTED,
    )


def _again(entry: Entry, number: int, seen: Seen, cause: Cause) -> Entry:
    """What is DEPLOYED, to be deployed under another key or name: the same artifact, a life of its own."""
    return Entry(
        number=number,
        artifact=entry.artifact,
        identity=seen.identity,
        phase=Phase.SUCCEEDED,
        cause=cause,
        revision=entry.revision,
    )


def is_new(slot: Slot, sighting: Sighting) -> bool:
    """Whether this is another attempt: another reference, or there again after it was gone."""
    if slot.target != sighting.reference:
        return True
    current = slot.current
    if slot.attempt or current is None:
        return False
    return current.status is RecordStatus.DECOMMISSIONED or not slot.tracked


def cause_of(slot: Slot, sighting: Sighting, policy: Policy) -> Cause:
    """Why a new attempt is there: a rollout, or something that ran before without one."""
    current = slot.current
    same, complete = slot.target == sighting.reference, sighting.rollout is Rollout.COMPLETE
    if not slot.tracked and same:
        return Cause.RESUMED
    if not slot.tracked and complete:
        return Cause.ADOPTED
    if current is None and slot.attempt is None and complete:
        before_us = started(sighting, slot, policy.epoch).time < policy.epoch
        return Cause.ADOPTED if before_us else Cause.ROLLOUT
    asleep = current is not None and current.cause is Cause.SCALED_TO_ZERO and slot.deployed is None
    return Cause.RESUMED if asleep and same else Cause.ROLLOUT


def advance(draft: Draft, seen: Seen, now: Millis, policy: Policy) -> str:
    """The workload runs what it is asked for, or is on the way to it. Returns the row."""
    slot, sighting = draft.slot, seen.sighting
    if not is_new(slot, sighting):
        return _attempt(draft, seen, now, policy) if slot.attempt else _steady(draft, seen, now, policy)
    interrupts = slot.attempt is not None and slot.attempt.said and slot.attempt.phase is Phase.PROGRESSING
    cause = cause_of(slot, sighting, policy)
    begin(draft, seen, cause, started(sighting, slot, now))
    row = _attempt(draft, seen, now, policy)
    if row != "continued" or cause in _SILENT:
        return row
    return "interrupted" if interrupts else "started"


def begin(draft: Draft, seen: Seen, cause: Cause, start: Stamp) -> None:
    """Open an attempt for the reference in sight; one that was under way is interrupted."""
    sighting = seen.sighting
    draft.drop_attempt(start, "Interrupted", f"replaced by {sighting.reference}")
    draft.set(
        attempt=Entry(
            number=draft.number(),
            artifact=Artifact(
                name=parse_reference(sighting.reference).repository,
                reference=sighting.reference,
                version=seen.version(None),
            ),
            identity=seen.identity,
            phase=Phase.PROGRESSING,
            started=draft.in_order(start),
            cause=cause,
            revision=sighting.revision,
        )
    )


def deadline(slot: Slot, sighting: Sighting, policy: Policy) -> Millis | None:
    """When the attempt under way takes too long, where nobody but us will say so."""
    attempt = slot.attempt
    if attempt is None or attempt.phase is not Phase.PROGRESSING or not is_without_deadline(sighting):
        return None
    return _start(attempt).time + policy.deadline


def _start(attempt: Entry) -> Stamp:
    assert attempt.started is not None, "an attempt began at some time"
    return attempt.started


def _tell_start(draft: Draft, attempt: Entry) -> Entry:
    """Tell the start of the attempt once its version is known. Returns the attempt."""
    if not attempt.said and attempt.cause not in _SILENT and attempt.artifact.version:
        draft.say(Kind.STARTED, attempt, _start(attempt))
        attempt = replace(attempt, said=True)
    draft.set(attempt=attempt)
    return attempt


def _attempt(draft: Draft, seen: Seen, now: Millis, policy: Policy) -> str:
    """The attempt goes on, fails or is complete."""
    sighting, attempt = seen.sighting, draft.slot.attempt
    assert attempt is not None, "there is one"
    complete, digest = sighting.rollout is Rollout.COMPLETE, sighting.resolution.digest
    if complete and digest:
        return _complete(draft, seen, _knowing(attempt, seen, digest), now)
    attempt = _tell_start(draft, attempt)
    if complete and sighting.resolution.reason != PODS_UNKNOWN:
        return _unresolved(draft, sighting, attempt, now)
    failed = failed_at(sighting, _start(attempt), now, policy.deadline)
    if failed and attempt.phase is Phase.PROGRESSING:
        draft.fail(failed, sighting.reason, sighting.message)
        return "failed"
    return "continued"


def _unresolved(draft: Draft, sighting: Sighting, attempt: Entry, now: Millis) -> str:
    """It succeeded, whatever it is; its end is told when its digest is known, or another reference follows."""
    if attempt.phase is not Phase.SUCCEEDED:
        end = draft.in_order(ended(sighting, _start(attempt), now))
        draft.set(attempt=replace(attempt, phase=Phase.SUCCEEDED, ended=end, reason="", message=""))
    return "unresolved"


def _knowing(attempt: Entry, seen: Seen, digest: str) -> Entry:
    """The attempt with the digest that it shows."""
    artifact = replace(
        attempt.artifact,
        digest=digest,
        running=seen.sighting.resolution.running,
        version=attempt.artifact.version or seen.version(digest),
    )
    return replace(attempt, artifact=artifact)


def _complete(draft: Draft, seen: Seen, attempt: Entry, now: Millis) -> str:
    before, current = draft.slot, draft.slot.deployed
    attempt = _tell_start(draft, attempt)
    succeeded = attempt.ended if attempt.phase is Phase.SUCCEEDED else None
    end = succeeded or ended(seen.sighting, _start(attempt), now)
    if current and current.artifact.digest == attempt.artifact.digest:
        silent = attempt.cause in _SILENT
        entry = current if silent else replace(current, started=attempt.started, ended=draft.in_order(end))
        entry = replace(entry, artifact=attempt.artifact, identity=attempt.identity, revision=attempt.revision)
        draft.reassert(entry, end, attempt.cause if silent else Cause.RETAGGED)
    else:
        entry = draft.deploy(attempt, end)
    if attempt.said:
        draft.say(Kind.FINISHED, replace(attempt, rollback=entry.rollback), end)
    _refresh(draft, seen, entry, now)
    return _row(before, attempt, entry)


def _row(before: Slot, attempt: Entry, entry: Entry) -> str:
    """The row of an attempt that is complete."""
    if attempt.phase is Phase.FAILED:
        return "recovered"
    if not before.tracked:
        return "re-tracked"
    if entry.number != attempt.number:
        return "retagged"
    if attempt.cause in _ROWS:
        return _ROWS[attempt.cause]
    if entry.rollback:
        return "rollback"
    return "re-created" if before.current and before.deployed is None else "completed"


def _steady(draft: Draft, seen: Seen, now: Millis, policy: Policy) -> str:
    """The reference is the one of what is DEPLOYED: nothing, unless the digest or the presentation changed."""
    current, sighting = draft.slot.deployed, seen.sighting
    assert current is not None, "without an attempt, the target is what is deployed"
    digest, reason = sighting.resolution.digest, sighting.resolution.reason
    if sighting.rollout is not Rollout.COMPLETE or reason == PODS_UNKNOWN:
        return "continued"
    if digest is None:
        return "drift" if reason == "Disagree" else "unresolved"
    if digest != current.artifact.digest:
        begin(draft, seen, Cause.TAG_MOVED, moved(sighting, draft.slot, now))
        return _attempt(draft, seen, now, policy)
    return _refresh(draft, seen, current, now)


def _refresh(draft: Draft, seen: Seen, current: Entry, now: Millis) -> str:
    """The same artifact under another name or version."""
    version = seen.version(current.artifact.digest)
    artifact = replace(current.artifact, version=version, running=seen.sighting.resolution.running)
    at = observed(draft.slot.clock, now)
    entry = replace(current, artifact=artifact, identity=seen.identity)
    if seen.identity.deployment_name != current.identity.deployment_name:
        draft.decommission(at, Cause.MOVED)
        draft.deploy(_again(entry, draft.number(), seen, Cause.MOVED), at)
        return "moved"
    if version != current.artifact.version:
        draft.reassert(entry, at, Cause.RETAGGED)
        return "retagged"
    draft.set(current=entry)
    return "unchanged"
