"""The rows of the table in `plan`, one test each under the row's name. Life stories are in `test_stories`."""

import re
import sys
from typing import Any

import pytest

from rollbook.core import plan as rules
from rollbook.core.image import Resolution
from rollbook.core.observe import Rollout
from rollbook.core.seen import Absent, Held
from rollbook.core.slot import TRUNCATED, Condition
from rollbook.core.transition import Cause, Kind, Phase, RecordStatus, Stamp, TimeSource
from tests.unit.core.make import (
    HOUR,
    MINUTE,
    SECOND,
    WEEKS_AGO,
    A,
    B,
    C,
    Story,
    T,
    entry,
    events,
    failure,
    identity,
    policy,
    progress,
    resolution,
    running,
    seen,
    sighting,
    slot,
    states,
    story,
)

LATER = T + HOUR
IDLE = sighting(rollout=Rollout.IDLE, resolution=resolution(None, reason="PodsUnknown"), pods_created=())
DELETED = Absent(cause=Cause.DELETED)
UNTRACKED = Absent(cause=Cause.UNTRACKED)
MOVED = Absent(cause=Cause.MOVED)
REFUSED = Condition(type="NotAllowed", reason="EnvironmentNotAllowed")
V2 = sighting("v2", began=LATER, revision="2")
DISAGREE = resolution(None, reason="Disagree", digests=(A, B))

GRACE = policy().idle_grace
MISSING = policy().missing_grace


def deployed() -> Story:
    """v1 was rolled out, and nothing since."""
    return story(sighting())


def failed_upgrade() -> Story:
    """v1 is DEPLOYED, v2 failed an hour later."""
    return story(sighting(), progress("v2", began=LATER, revision="2"), failure("v2", began=LATER, revision="2"))


def exact(time: int, source: TimeSource = TimeSource.PROGRESSING_CONDITION) -> Stamp:
    return Stamp(time=time, source=source)


def bounded(earliest: int | None, latest: int) -> Stamp:
    return Stamp(time=latest, source=TimeSource.OBSERVED, not_before=earliest, not_after=latest)


def table() -> set[str]:
    """The rows that the docstring names."""
    found = re.findall(r"^\| ([a-z][a-z, -]*) \|", rules.__doc__ or "", re.MULTILINE)
    return {name for row in found if row != "row" for name in row.split(", ")}


def test_every_row_of_the_table_has_its_test() -> None:
    tests = vars(sys.modules[__name__])
    assert len(table()) > 20
    assert {row for row in table() if f"test_{re.sub('[ -]', '_', row)}" not in tests} == set()


def test_adopted() -> None:
    met = Story(policy=policy(epoch=LATER))
    done = met.see(sighting(), at=LATER)
    assert (done.row, states(done), events(done)) == ("adopted", ["DEPLOYED Adopted"], [])
    current = met.slot.deployed
    assert current is not None
    assert (current.cause, current.artifact.digest, current.artifact.version) == (Cause.ADOPTED, A, "v1")
    assert current.since == exact(T + 30 * SECOND)
    assert current.started == exact(T, TimeSource.REPLICA_SET_CREATION)
    assert (met.slot.attempt, met.slot.digests, met.slot.workload_uid) == (None, (A,), "d1")


def test_started() -> None:
    upgraded = deployed()
    done = upgraded.see(progress("v2", began=LATER, revision="2"))
    assert (done.row, states(done), events(done)) == ("started", [], ["started"])
    (start,) = done.transitions
    assert start.at == exact(LATER, TimeSource.REPLICA_SET_CREATION)
    assert (start.artifact.version, start.artifact.digest, start.revision) == ("v2", None, "2")
    attempt = upgraded.slot.attempt
    assert attempt is not None
    assert (attempt.phase, attempt.said, attempt.status) == (Phase.PROGRESSING, True, None)
    assert start.entry == attempt.number
    assert upgraded.slot.deployed is not None
    assert upgraded.slot.deployed.artifact.version == "v1"


def test_waiting() -> None:
    paused = deployed()
    done = paused.see(sighting("v2", rollout=Rollout.WAITING, available=False))
    assert (done.row, done.transitions, done.wake) == ("waiting", (), None)
    assert paused.slot.target == "registry.example/shop:v1"


@pytest.mark.parametrize("under_way", [progress(revision="2", began=LATER), failure(revision="2", began=LATER)])
def test_continued(under_way: object) -> None:
    """A new revision with the same reference is no attempt, even if it fails."""
    told = deployed()
    before = told.slot
    done = told.see(seen(under_way))  # type: ignore[arg-type]  # parametrize knows no types
    assert (done.row, done.transitions) == ("continued", ())
    assert told.slot == before


def test_continued_attempt() -> None:
    """Another revision of the same reference while an attempt is under way is the same attempt."""
    told = story(sighting(), progress("v2", began=LATER, revision="2"))
    before = told.slot
    done = told.see(progress("v2", began=LATER + MINUTE, revision="3"))
    assert (done.row, done.transitions) == ("continued", ())
    assert told.slot == before


def test_unchanged() -> None:
    told = deployed()
    before = told.slot
    restarted = sighting(revision="2", began=LATER, pods_created=(LATER,))
    done = told.see(restarted)
    assert (done.row, done.transitions, done.slot) == ("unchanged", (), before)


def test_completed() -> None:
    told = deployed()
    told.see(progress("v2", began=LATER, revision="2"))
    done = told.see(V2)
    assert done.row == "completed"
    assert (states(done), events(done)) == (["SUPERSEDED Rollout", "DEPLOYED Rollout"], ["finished"])
    _, new, end = done.transitions
    assert (new.replaces, new.rollback, new.artifact.digest) == (A, False, B)
    assert new.at == end.at == exact(LATER + 30 * SECOND)
    assert end.entry == new.entry
    current, (old,) = told.slot.deployed, told.slot.closed
    assert current is not None
    assert (current.number, current.replaces, current.phase) == (new.entry, A, Phase.SUCCEEDED)
    assert current.since == current.ended == exact(LATER + 30 * SECOND)
    assert (old.status, old.since) == (RecordStatus.SUPERSEDED, exact(LATER + 30 * SECOND))
    assert (told.slot.attempt, told.slot.digests) == (None, (B, A))


def test_retagged() -> None:
    told = deployed()
    before = told.slot.deployed
    assert before is not None
    told.see(progress("v1-final", began=LATER, revision="2"))
    done = told.see(sighting("v1-final", digest=A, began=LATER, revision="2"))
    assert (done.row, states(done), events(done)) == ("retagged", ["DEPLOYED Retagged"], ["finished"])
    current = told.slot.deployed
    assert current is not None
    assert (current.number, current.since) == (before.number, before.since)
    assert (current.artifact.version, current.artifact.reference) == (
        "v1-final",
        "registry.example/shop:v1-final",
    )
    assert (current.revision, current.ended) == ("2", exact(LATER + 30 * SECOND))
    assert (told.slot.closed, told.slot.digests, told.slot.attempt) == ((), (A,), None)


def test_rollback() -> None:
    told = story(sighting(), V2)
    again = {"began": LATER + HOUR, "revision": "3", "reused": True, "replica_set_created": T}
    told.see(progress("v1", **again))
    done = told.see(sighting("v1", **again))
    assert done.row == "rollback"
    assert (states(done), events(done)) == (["SUPERSEDED Rollout", "DEPLOYED Rollout"], ["finished"])
    assert [each.rollback for each in done.transitions if each.kind in {Kind.DEPLOYED, Kind.FINISHED}] == [
        True,
        True,
    ]
    current = told.slot.deployed
    assert current is not None
    assert (current.rollback, current.replaces) == (True, B)
    assert current.started == exact(LATER + HOUR + SECOND, TimeSource.POD_CREATION)
    assert told.slot.digests == (A, B)


def test_failed() -> None:
    told = story(sighting(), progress("v2", began=LATER, revision="2"))
    done = told.see(failure("v2", began=LATER, revision="2"))
    assert (done.row, states(done), events(done)) == ("failed", [], ["failed ImagePullBackOff"])
    (end,) = done.transitions
    assert (end.at, end.message) == (exact(LATER + 10 * MINUTE), "has timed out progressing")
    attempt = told.slot.attempt
    assert attempt is not None
    assert (attempt.phase, attempt.reason, attempt.ended) == (Phase.FAILED, "ImagePullBackOff", end.at)
    assert told.slot.deployed is not None
    assert told.slot.deployed.artifact.version == "v1"


def test_failed_by_our_deadline() -> None:
    """A Deployment without one of its own."""
    told = deployed()
    slow = progress("v2", began=LATER, condition_updated=None, has_deadline=False, reason="ImagePullBackOff")
    limit = LATER + policy().deadline
    assert told.see(slow, at=LATER + SECOND).wake == limit
    assert told.see(slow, at=limit - 1).row == "continued"
    done = told.see(slow, at=limit + 5)
    assert (done.row, events(done), done.wake) == ("failed", ["failed ImagePullBackOff"], None)
    assert done.transitions[0].at == bounded(limit, limit + 5)


def test_recovered() -> None:
    told = failed_upgrade()
    done = told.see(sighting("v2", began=LATER, revision="2", condition_updated=LATER + 20 * MINUTE))
    assert done.row == "recovered"
    assert (states(done), events(done)) == (["SUPERSEDED Rollout", "DEPLOYED Rollout"], ["finished"])
    current = told.slot.deployed
    assert current is not None
    assert (current.phase, current.reason, current.message) == (Phase.SUCCEEDED, "", "")
    assert current.ended == exact(LATER + 20 * MINUTE)


def test_interrupted() -> None:
    told = story(sighting(), progress("v2", began=LATER, revision="2"))
    done = told.see(progress("v3", began=LATER + MINUTE, revision="3"))
    assert (done.row, states(done), events(done)) == ("interrupted", [], ["failed Interrupted", "started"])
    end, start = done.transitions
    assert end.message == "replaced by registry.example/shop:v3"
    assert end.at == start.at == exact(LATER + MINUTE, TimeSource.REPLICA_SET_CREATION)
    assert start.entry > end.entry


@pytest.mark.parametrize(
    ("why", "message"),
    [
        (Resolution(reason="Empty"), "no ready pod shows a repository digest"),
        (Resolution(reason="ConfigDigest"), "no ready pod shows a repository digest"),
        (Resolution(reason="LocalImport"), "no ready pod shows a repository digest"),
        (Resolution(reason="Unrecognised"), "no ready pod shows a repository digest"),
        (DISAGREE, f"ready pods run {A}, {B}"),
    ],
    ids=lambda value: value.reason if isinstance(value, Resolution) else "",
)
def test_unresolved(why: Resolution, message: str) -> None:
    told = deployed()
    done = told.see(sighting("v2", began=LATER, revision="2", resolution=why))
    assert (done.row, states(done), events(done)) == ("unresolved", [], ["started"])
    condition = Condition(type="DigestResolved", reason=why.reason, message=message, status=False)
    assert told.slot.conditions == (condition,)
    attempt = told.slot.attempt
    assert attempt is not None
    assert (attempt.phase, attempt.artifact.digest) == (Phase.SUCCEEDED, None)
    assert attempt.ended == exact(LATER + 30 * SECOND)
    assert told.slot.deployed is not None
    assert told.slot.deployed.artifact.digest == A


def test_drift() -> None:
    told = deployed()
    before = told.slot.current
    done = told.see(sighting(resolution=DISAGREE), at=LATER)
    assert (done.row, done.transitions) == ("drift", ())
    drift = Condition(type="DigestDrift", reason="PodsDisagree", message=f"ready pods run {A}, {B}")
    assert (told.slot.conditions, told.slot.current) == ((drift,), before)


def test_tag_moved() -> None:
    told = deployed()
    done = told.see(sighting(digest=C, container_started=LATER), at=LATER + MINUTE)
    assert done.row == "tag moved"
    assert states(done) == ["SUPERSEDED TagMoved", "DEPLOYED TagMoved"]
    assert events(done) == ["started", "finished"]
    old, new = (each for each in done.transitions if each.kind in {Kind.SUPERSEDED, Kind.DEPLOYED})
    assert (old.artifact.digest, new.artifact.digest, new.cause) == (A, C, Cause.TAG_MOVED)
    start = done.transitions[0]
    assert start.at == bounded(T + 30 * SECOND, LATER)
    assert new.at == exact(LATER, TimeSource.CONTAINER_START)
    assert told.slot.digests == (C, A)


def test_idle() -> None:
    told = deployed()
    done = told.see(IDLE, at=LATER)
    assert (done.row, done.transitions, done.wake) == ("idle", (), LATER + GRACE)
    assert told.slot.idle_since == LATER
    assert told.see(IDLE, at=LATER + GRACE - 1).wake == LATER + GRACE
    assert told.slot.deployed is not None


def test_scaled_to_zero() -> None:
    told = deployed()
    told.see(IDLE, at=LATER)
    done = told.see(IDLE, at=LATER + GRACE)
    assert (done.row, states(done), events(done)) == ("scaled to zero", ["DECOMMISSIONED ScaledToZero"], [])
    assert done.transitions[0].at == bounded(T + 30 * SECOND, LATER)
    current = told.slot.current
    assert current is not None
    assert (current.status, current.since) == (RecordStatus.DECOMMISSIONED, done.transitions[0].at)
    assert told.see(IDLE, at=LATER + HOUR).row == "idle"


def test_resumed() -> None:
    told = deployed()
    told.see(IDLE, at=LATER)
    told.see(IDLE, at=LATER + GRACE)
    up: dict[str, Any] = {"pods_created": (LATER + HOUR,), "container_started": LATER + HOUR + SECOND}
    starting = told.see(progress(available=True, **up | {"container_started": None}), at=LATER + HOUR)
    assert (starting.row, starting.transitions) == ("continued", ())
    done = told.see(sighting(**up), at=LATER + HOUR + MINUTE)
    assert (done.row, states(done), events(done)) == ("resumed", ["DEPLOYED Resumed"], [])
    current = told.slot.deployed
    assert current is not None
    assert current.started == exact(LATER + HOUR, TimeSource.POD_CREATION)
    assert current.since == exact(LATER + HOUR + SECOND, TimeSource.CONTAINER_START)
    assert (current.replaces, current.rollback, told.slot.idle_since) == (None, False, None)


def test_missing() -> None:
    told = deployed()
    done = told.see(DELETED, at=LATER)
    assert (done.row, done.transitions, done.wake) == ("missing", (), LATER + MISSING)
    assert told.slot.missing_since == LATER
    assert told.slot.deployed is not None


@pytest.mark.parametrize("cause", [Cause.DELETED, Cause.REMOVED])
def test_deleted(cause: Cause) -> None:
    told = deployed()
    told.see(Absent(cause=cause), at=LATER)
    done = told.see(Absent(cause=cause), at=LATER + MISSING)
    assert (done.row, states(done), events(done)) == (cause.lower(), [f"DECOMMISSIONED {cause}"], [])
    assert done.transitions[0].at == bounded(T + 30 * SECOND, LATER)
    assert told.slot.current is not None
    assert told.slot.current.status is RecordStatus.DECOMMISSIONED
    assert told.slot.missing_since is None


test_removed = test_deleted


@pytest.mark.parametrize("attempt", ["under way", "failed before"])
def test_deleted_with_an_attempt(attempt: str) -> None:
    told = failed_upgrade() if attempt == "failed before" else story(sighting(), progress("v2", began=LATER))
    told.see(DELETED, at=LATER + HOUR)
    done = told.see(DELETED, at=LATER + 2 * HOUR)
    assert states(done) == ["DECOMMISSIONED Deleted"]
    assert events(done) == (["failed Deleted"] if attempt == "under way" else [])
    assert told.slot.attempt is None


def test_gone() -> None:
    told = deployed()
    told.see(DELETED, at=LATER)
    told.see(DELETED, at=LATER + MISSING)
    before = told.slot
    done = told.see(DELETED, at=LATER + HOUR)
    assert (done.row, done.transitions, done.slot, done.wake) == ("gone", (), before, None)


@pytest.mark.parametrize("what", [DELETED, UNTRACKED, MOVED, Held(condition=REFUSED)])
def test_of_what_was_never_there_nothing_is_recorded(what: Absent | Held) -> None:
    assert Story().see(what, at=T).slot == slot()


def test_re_created() -> None:
    told = deployed()
    told.see(DELETED, at=LATER)
    told.see(DELETED, at=LATER + MISSING)
    starting = told.see(progress(began=LATER + HOUR, workload_uid="d2"))
    assert (starting.row, events(starting)) == ("started", ["started"])
    done = told.see(sighting(began=LATER + HOUR, workload_uid="d2"))
    assert (done.row, states(done), events(done)) == ("re-created", ["DEPLOYED Rollout"], ["finished"])
    current = told.slot.deployed
    assert current is not None
    assert (current.rollback, current.replaces, told.slot.workload_uid) == (False, None, "d2")
    assert current.started == exact(LATER + HOUR, TimeSource.REPLICA_SET_CREATION)
    (before,) = told.slot.closed
    assert before.status is RecordStatus.DECOMMISSIONED


def test_untracked() -> None:
    told = story(sighting(), progress("v2", began=LATER, revision="2"))
    done = told.see(UNTRACKED, at=LATER + MINUTE)
    assert (done.row, states(done), events(done)) == (
        "untracked",
        ["UNTRACKED Untracked"],
        ["failed Untracked"],
    )
    assert done.transitions[0].at == bounded(LATER, LATER + MINUTE)
    assert (told.slot.tracked, told.slot.attempt) == (False, None)
    assert told.slot.current is not None
    assert told.slot.current.status is RecordStatus.DEPLOYED
    assert told.see(UNTRACKED, at=LATER + HOUR).row == "gone"


@pytest.mark.parametrize(
    ("again", "row_states"),
    [
        pytest.param(sighting(), ["DEPLOYED Resumed"], id="as it was"),
        pytest.param(sighting(digest=B), ["SUPERSEDED Resumed", "DEPLOYED Resumed"], id="another digest"),
        pytest.param(V2, ["SUPERSEDED Adopted", "DEPLOYED Adopted"], id="another reference"),
        pytest.param(sighting("v9", digest=A), ["DEPLOYED Adopted"], id="another reference, same digest"),
    ],
)
def test_re_tracked(again: object, row_states: list[str]) -> None:
    told = deployed()
    told.see(UNTRACKED, at=LATER)
    done = told.see(seen(again), at=LATER + HOUR)  # type: ignore[arg-type]  # parametrize knows no types
    assert (done.row, states(done), events(done)) == ("re-tracked", row_states, [])
    assert told.slot.tracked
    assert told.slot.attempt is None


def test_moved() -> None:
    """The environment of the namespace changed: the new slot begins with what the old one had."""
    old, new = deployed(), Story()
    had = old.slot.deployed
    done = new.see(seen(sighting(), moved=had, identity=identity(application="till")), at=LATER)
    assert (done.row, states(done), events(done)) == ("moved", ["DEPLOYED Moved"], [])
    assert done.transitions[0].at == bounded(None, LATER)
    current = new.slot.deployed
    assert current is not None
    assert (current.artifact.digest, current.identity.application) == (A, "till")
    assert current.started == current.since == current.ended == bounded(None, LATER)
    ended = old.see(MOVED, at=LATER)
    assert (ended.row, states(ended), events(ended)) == ("moved", ["DECOMMISSIONED Moved"], [])
    assert ended.transitions[0].at == bounded(T + 30 * SECOND, LATER)


def test_moved_to_another_deployment_name() -> None:
    told = deployed()
    done = told.see(seen(sighting(), identity=identity(deployment_name="payments/till")), at=LATER)
    assert (done.row, states(done)) == ("moved", ["DECOMMISSIONED Moved", "DEPLOYED Moved"])
    assert [each.identity.deployment_name for each in done.transitions] == ["payments/shop/web", "payments/till"]
    assert events(done) == []
    current, (before,) = told.slot.deployed, told.slot.closed
    assert current is not None
    assert (current.since, current.started, current.rollback) == (
        bounded(T + 30 * SECOND, LATER),
        bounded(T + 30 * SECOND, LATER),
        False,
    )
    assert (before.status, before.cause) == (RecordStatus.DECOMMISSIONED, Cause.MOVED)


def test_held() -> None:
    told = deployed()
    before = told.slot
    done = told.see(Held(condition=REFUSED), at=LATER)
    assert (done.row, done.transitions, done.wake) == ("held", (), None)
    assert (told.slot.conditions, told.slot.current) == ((REFUSED,), before.current)
    assert told.see(sighting(), at=LATER).slot == before


def test_what_is_held_is_there_so_that_no_grace_runs() -> None:
    told = deployed()
    told.see(DELETED, at=LATER)
    told.see(Held(condition=REFUSED), at=LATER + SECOND)
    assert told.see(DELETED, at=LATER + HOUR).wake == LATER + HOUR + MISSING


def test_what_the_outbox_says_of_itself_outlives_all_rows() -> None:
    gap = Condition(type=TRUNCATED, reason="OutboxFull", message="3 undelivered transitions were dropped")
    told = Story(slot=slot(seq=1, current=entry(), conditions=(gap,), digests=(A,)))
    held = told.see(Held(condition=REFUSED), at=LATER)
    assert held.slot.conditions == (REFUSED, gap)
    for what in (seen(sighting()), DELETED, UNTRACKED):
        told.see(what, at=LATER + HOUR)
        assert told.slot.conditions == (gap,)


def test_findings_stand_beside_what_the_digests_say() -> None:
    shared = Condition(type="ApplicationShared", reason="ReportedByAnother")
    told = deployed()
    told.see(seen(sighting(resolution=DISAGREE), findings=(shared,)), at=LATER)
    assert [each.type for each in told.slot.conditions] == ["ApplicationShared", "DigestDrift"]


# First sight


def test_first_sight_complete_since_we_lead_is_told_as_a_rollout() -> None:
    met = Story(policy=policy(epoch=T - 1))
    done = met.see(sighting(), at=LATER)
    assert (done.row, states(done), events(done)) == (
        "completed",
        ["DEPLOYED Rollout"],
        ["started", "finished"],
    )
    assert [each.at.time for each in done.transitions] == [T, T + 30 * SECOND, T + 30 * SECOND]


@pytest.mark.parametrize(("epoch", "row"), [(T, "completed"), (T + 1, "adopted")])
def test_first_sight_what_began_before_we_led_is_adopted(epoch: int, row: str) -> None:
    assert Story(policy=policy(epoch=epoch)).see(sighting(), at=LATER).row == row


def test_first_sight_in_progress_what_ran_before_is_adopted() -> None:
    met = Story(policy=policy(epoch=LATER))
    done = met.see(progress("v2", began=LATER, previous=running()), at=LATER + MINUTE)
    assert (done.row, states(done), events(done)) == ("started", ["DEPLOYED Adopted"], ["started"])
    adopted, start = done.transitions
    assert (adopted.artifact.version, adopted.artifact.digest) == ("v1", A)
    assert adopted.at == bounded(None, LATER)
    assert start.at == exact(LATER, TimeSource.REPLICA_SET_CREATION)
    finished = met.see(sighting("v2", began=LATER))
    assert states(finished) == ["SUPERSEDED Rollout", "DEPLOYED Rollout"]


def test_first_sight_failed_what_ran_before_is_adopted_too() -> None:
    done = Story().see(failure("v2", began=LATER, previous=running()))
    assert (done.row, states(done)) == ("failed", ["DEPLOYED Adopted"])
    assert events(done) == ["started", "failed ImagePullBackOff"]


def test_first_sight_in_progress_with_the_same_reference_is_adopted_and_no_attempt() -> None:
    """A restart is under way when we come."""
    met = Story()
    under_way = seen(progress(began=LATER, previous=running()), version="2026.1")
    done = met.see(under_way, at=LATER + MINUTE)
    assert (done.row, states(done), events(done)) == ("adopted", ["DEPLOYED Adopted"], [])
    assert done.transitions[0].artifact.version == "2026.1"


@pytest.mark.parametrize(("tag", "version"), [("v1", "v1"), ("latest", "a" * 12), (A, "a" * 12)])
def test_first_sight_the_version_of_what_ran_before_is_its_tag_or_digest(tag: str, version: str) -> None:
    done = Story().see(progress("v2", began=LATER, previous=running(tag)))
    assert done.transitions[0].artifact.version == version


def test_first_sight_what_ran_before_without_a_digest_is_not_guessed() -> None:
    done = Story().see(progress("v2", previous=running(digest=None)))
    assert (done.row, states(done), events(done)) == ("started", [], ["started"])


def test_first_sight_waiting_beside_what_runs_adopts_it() -> None:
    """A paused Deployment with a changed template still runs what it ran."""
    met = Story()
    paused = sighting("v2", rollout=Rollout.WAITING, available=False, previous=running())
    done = met.see(paused, at=LATER)
    assert (done.row, states(done), events(done)) == ("adopted", ["DEPLOYED Adopted"], [])
    assert done.transitions[0].at == bounded(None, LATER)


@pytest.mark.parametrize("rollout", [Rollout.IDLE, Rollout.WAITING])
def test_first_sight_idle_and_waiting_nothing_is_created(rollout: Rollout) -> None:
    shared = Condition(type="ApplicationShared", reason="ReportedByAnother")
    done = Story().see(seen(sighting(rollout=rollout, condition_updated=None), findings=(shared,)), at=T)
    assert (done.row, done.slot) == (rollout.lower(), slot())


def test_first_sight_pods_not_heard_of_yet_nothing_is_created() -> None:
    """A re-used ReplicaSet and no pod tell nothing of when it began: it is not an event of today."""
    met = Story(policy=policy(epoch=LATER))
    unheard = sighting(
        reused=True,
        replica_set_created=WEEKS_AGO,
        pods_created=(),
        container_started=None,
        resolution=resolution(None, reason="PodsUnknown"),
    )
    done = met.see(unheard, at=LATER)
    assert (done.row, done.slot) == ("waiting", slot())
    heard = met.see(sighting(reused=True, replica_set_created=WEEKS_AGO), at=LATER)
    assert (heard.row, events(heard)) == ("adopted", [])


def test_first_sight_unresolved_it_is_recorded_and_adopted_later() -> None:
    met = Story(policy=policy(epoch=LATER))
    first = met.see(sighting(resolution=Resolution(reason="Empty")), at=LATER)
    assert (first.row, first.transitions) == ("unresolved", ())
    done = met.see(sighting(), at=LATER + MINUTE)
    assert (done.row, states(done), events(done)) == ("adopted", ["DEPLOYED Adopted"], [])
