"""How an attempt begins, goes on and ends: the part of the plan that is about rollouts."""

from dataclasses import replace
from typing import Final

from rollbook.core.draft import Draft
from rollbook.core.image import parse_reference
from rollbook.core.observe import PODS_UNKNOWN, Rollout, Running, Sighting
from rollbook.core.seen import Policy, Seen
from rollbook.core.slot import Entry, Slot
from rollbook.core.stamps import ended, failed_at, observed, started
from rollbook.core.transition import Artifact, Cause, Kind, Millis, Phase, RecordStatus, Stamp

_SILENT: Final = frozenset({Cause.ADOPTED, Cause.RESUMED})
"""Attempts of these causes tell no rollout events: nothing was rolled out."""

_ROWS: Final = {Cause.ADOPTED: "adopted", Cause.RESUMED: "resumed", Cause.TAG_MOVED: "tag moved"}


def first_sight(draft: Draft, seen: Seen, now: Millis) -> None:
    """Of a container we know nothing of: record what ran before the rollout under way."""
    sighting, previous = seen.sighting, seen.sighting.previous
    if draft.slot.seq:
        return
    if seen.moved:
        moved = replace(seen.moved, status=None, cause=Cause.MOVED, replaces=None, rollback=False)
        entry = replace(moved, number=draft.number(), identity=seen.identity)
        draft.deploy(entry, observed(None, now))
    elif sighting.rollout is not Rollout.COMPLETE and previous and previous.resolution.digest:
        draft.deploy(_adopted(draft, seen, previous), observed(None, now))


def _adopted(draft: Draft, seen: Seen, previous: Running) -> Entry:
    digest = previous.resolution.digest
    reference = parse_reference(previous.reference)
    version = reference.tag or (digest or "").partition(":")[2][:12]
    return Entry(
        number=draft.number(),
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
    current, complete = slot.current, sighting.rollout is Rollout.COMPLETE
    if current is None:
        before_us = started(sighting, slot, policy.epoch).time < policy.epoch
        return Cause.ADOPTED if before_us and complete and slot.attempt is None else Cause.ROLLOUT
    if not slot.tracked and complete:
        return Cause.RESUMED if slot.target == sighting.reference else Cause.ADOPTED
    asleep = current.status is RecordStatus.DECOMMISSIONED and current.cause is Cause.SCALED_TO_ZERO
    return Cause.RESUMED if asleep and slot.target == sighting.reference else Cause.ROLLOUT


def begin(draft: Draft, seen: Seen, cause: Cause, now: Millis) -> None:
    """Open an attempt for the reference in sight; one that was under way is interrupted."""
    sighting = seen.sighting
    start = started(sighting, draft.slot, now)
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


def _tell_start(draft: Draft) -> None:
    """Tell the start of the attempt once its version is known."""
    attempt = draft.slot.attempt
    assert attempt is not None
    assert attempt.started is not None
    if not attempt.said and attempt.cause not in _SILENT and attempt.artifact.version:
        seq = attempt.number if draft.slot.seq == attempt.number else None
        draft.say(Kind.STARTED, attempt, attempt.started, seq=seq)
        draft.set(attempt=replace(attempt, said=True))


def attempt(draft: Draft, seen: Seen, now: Millis) -> str:
    """The attempt goes on, fails or is complete."""
    sighting, attempt = seen.sighting, draft.slot.attempt
    assert attempt is not None
    was_said, was_failed = attempt.said, attempt.phase is Phase.FAILED
    digest = sighting.resolution.digest if sighting.rollout is Rollout.COMPLETE else None
    if digest:
        _know(draft, attempt, seen, digest)
    _tell_start(draft)
    if digest:
        row = _complete(draft, sighting, now)
        return "recovered" if was_failed else row
    if sighting.rollout is Rollout.FAILED and not was_failed:
        draft.fail(failed_at(sighting, draft.slot, now), sighting.reason, sighting.message)
        return "failed"
    if sighting.rollout is Rollout.COMPLETE and sighting.resolution.reason != PODS_UNKNOWN:
        return "unresolved"
    return "continued" if was_said or attempt.cause in _SILENT else "started"


def _know(draft: Draft, attempt: Entry, seen: Seen, digest: str) -> None:
    """The attempt shows its digest."""
    artifact = replace(
        attempt.artifact,
        digest=digest,
        running=seen.sighting.resolution.running,
        version=attempt.artifact.version or seen.version(digest),
    )
    draft.set(attempt=replace(attempt, artifact=artifact))


def _complete(draft: Draft, sighting: Sighting, now: Millis) -> str:
    attempt, current = draft.slot.attempt, draft.slot.deployed
    assert attempt is not None
    end = ended(sighting, attempt.started, now)
    if current and current.artifact.digest == attempt.artifact.digest:
        entry = _retagged(current, attempt, draft.in_order(end))
        draft.reassert(entry, end, Cause.RESUMED if attempt.cause is Cause.RESUMED else Cause.RETAGGED)
        row = "retagged"
    else:
        entry = draft.deploy(attempt, end)
        row = "rollback" if entry.rollback else _ROWS.get(entry.cause, "completed")
    if attempt.said:
        draft.say(Kind.FINISHED, replace(attempt, rollback=entry.rollback), end)
    return row


def _retagged(current: Entry, attempt: Entry, end: Stamp) -> Entry:
    return replace(
        current,
        artifact=attempt.artifact,
        identity=attempt.identity,
        phase=Phase.SUCCEEDED,
        started=attempt.started,
        ended=end,
        revision=attempt.revision,
    )


def steady(draft: Draft, seen: Seen, now: Millis) -> str:
    """The reference is the one of what is DEPLOYED: nothing, unless the digest or the presentation changed."""
    current, sighting = draft.slot.deployed, seen.sighting
    assert current is not None, "without an attempt, the target is what is deployed"
    digest = sighting.resolution.digest
    if sighting.rollout is not Rollout.COMPLETE:
        return "continued"
    if digest is None:
        return "drift" if sighting.resolution.reason == "Disagree" else "unresolved"
    if digest != current.artifact.digest:
        begin(draft, seen, Cause.TAG_MOVED, now)
        return attempt(draft, seen, now)
    return _refresh(draft, seen, current, now)


def _refresh(draft: Draft, seen: Seen, current: Entry, now: Millis) -> str:
    """The same artifact under another name or version."""
    version = seen.version(current.artifact.digest)
    artifact = replace(current.artifact, version=version, running=seen.sighting.resolution.running)
    at = observed(draft.slot.clock, now)
    entry = replace(current, artifact=artifact, identity=seen.identity)
    if seen.identity.deployment_name != current.identity.deployment_name:
        draft.decommission(at, Cause.MOVED)
        draft.deploy(replace(entry, number=draft.number(), status=None, cause=Cause.MOVED), at)
        return "moved"
    if version != current.artifact.version:
        draft.reassert(entry, at, Cause.RETAGGED)
        return "retagged"
    draft.set(current=entry)
    return "unchanged"
