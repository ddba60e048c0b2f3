"""Lives of slots: what real Deployments go through, told from the beginning to the end."""

from dataclasses import replace
from typing import Any

import pytest

from rollbook.core.image import Resolution
from rollbook.core.observe import Rollout, Sighting
from rollbook.core.seen import Absent, Held
from rollbook.core.slot import KEPT_DIGESTS, Condition
from rollbook.core.transition import Cause, Kind, Phase, RecordStatus, TimeSource
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
    deployment,
    entry,
    events,
    failure,
    identity,
    image_id,
    pod,
    policy,
    progress,
    progressing,
    replica_set,
    resolution,
    running,
    seen,
    sighting,
    slot,
    states,
    story,
)
from tests.unit.core.test_observe import look

LATER = T + HOUR
LATEST = T + 2 * HOUR
DELETED = Absent(cause=Cause.DELETED)
REMOVED = Absent(cause=Cause.REMOVED)
MOVED = Absent(cause=Cause.MOVED)
UNTRACKED = Absent(cause=Cause.UNTRACKED)
IDLE = sighting(rollout=Rollout.IDLE, resolution=resolution(None, reason="PodsUnknown"), pods_created=())
DISAGREE = resolution(None, reason="Disagree", digests=(A, B))
UNHEARD = resolution(None, reason="PodsUnknown")
EMPTY = Resolution(reason="Empty")


def at(tag: str, began: int, revision: str, **overrides: object) -> Sighting:
    """A rollout that is complete."""
    return sighting(tag, began=began, revision=revision, **overrides)


def under_way(tag: str, began: int, revision: str, **overrides: object) -> Sighting:
    return progress(tag, began=began, revision=revision, **overrides)


def deployed_digest(told: Story) -> str | None:
    return told.slot.deployed.artifact.digest if told.slot.deployed else None


def kinds(told: Story) -> list[str]:
    """All that was ever told, as trackers hear it."""
    return [each.kind.value for each in told.told if each.kind is not Kind.SUPERSEDED]


# Rollouts


def test_an_upgrade_from_the_very_beginning() -> None:
    told = Story()
    told.see(progress("v1"))
    told.see(sighting("v1"))
    told.see(under_way("v2", LATER, "2"))
    told.see(at("v2", LATER, "2"))
    assert kinds(told) == ["started", "DEPLOYED", "finished", "started", "DEPLOYED", "finished"]
    assert [each.seq for each in told.told] == sorted({each.seq for each in told.told})
    assert [each.at.time for each in told.told] == sorted(each.at.time for each in told.told)


def test_an_upgrade_of_which_only_the_end_was_seen() -> None:
    told = story(sighting())
    done = told.see(at("v2", LATER, "2"))
    assert (done.row, events(done)) == ("completed", ["started", "finished"])
    assert done.transitions[0].at.source is TimeSource.REPLICA_SET_CREATION


def test_upgrades_while_nobody_looked_are_not_invented() -> None:
    told = story(sighting())
    done = told.see(at("v3", LATEST, "3"))
    assert [each.artifact.version for each in done.transitions] == ["v3", "v1", "v3", "v3"]


def test_only_so_many_closed_entries_are_kept() -> None:
    told = story(sighting(), policy=policy(history=2))
    for number, tag in enumerate(["v2", "v3", "v1"], start=2):
        told.see(at(tag, T + number * HOUR, str(number)))
    assert [each.artifact.version for each in told.slot.closed] == ["v3", "v2"]
    none = story(sighting(), at("v2", LATER, "2"), policy=policy(history=0))
    assert none.slot.closed == ()


def test_a_failed_upgrade_that_is_fixed_by_another_reference() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"), failure("v2", began=LATER, revision="2"))
    done = told.see(under_way("v3", LATEST, "3"))
    assert (done.row, events(done)) == ("started", ["started"])
    finished = told.see(at("v3", LATEST, "3"))
    assert states(finished) == ["SUPERSEDED Rollout", "DEPLOYED Rollout"]
    assert [each.artifact.version for each in told.slot.closed] == ["v1"]


def test_a_failed_upgrade_fixed_by_a_change_of_configuration_recovers() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"), failure("v2", began=LATER, revision="2"))
    assert told.see(under_way("v2", LATEST, "3")).row == "continued"
    done = told.see(at("v2", LATEST, "3"))
    assert (done.row, events(done)) == ("recovered", ["finished"])


def test_a_failure_is_told_once_however_often_it_is_seen() -> None:
    told = story(sighting(), failure("v2", began=LATER))
    told.see(failure("v2", began=LATER, reason="CrashLoopBackOff"), at=LATEST)
    assert kinds(told)[-2:] == ["started", "failed"]
    assert told.slot.attempt is not None
    assert told.slot.attempt.reason == "ImagePullBackOff"


def test_a_failure_from_the_very_beginning_leaves_nothing_deployed() -> None:
    told = story(progress(), failure())
    assert (told.slot.deployed, told.slot.current) == (None, None)
    done = told.see(at("v2", LATER, "2"))
    assert (done.row, states(done), events(done)) == (
        "completed",
        ["DEPLOYED Rollout"],
        ["started", "finished"],
    )


def test_back_to_what_is_deployed_before_the_upgrade_was_complete() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"))
    back = {"reused": True, "replica_set_created": T, "pods_created": (T + SECOND,)}
    now = LATER + MINUTE
    done = told.see(progress("v1", revision="3", began=LATER, **back), at=now)
    assert (done.row, events(done)) == ("interrupted", ["failed Interrupted", "started"])
    assert done.transitions[1].at.not_before == LATER
    finished = told.see(sighting("v1", revision="3", began=LATER, **back), at=now + SECOND)
    assert (finished.row, events(finished)) == ("retagged", ["finished"])
    assert told.slot.digests == (A,)


def test_the_artifact_that_failed_is_no_rollback_target() -> None:
    told = story(sighting(), failure("v2", began=LATER), at("v3", LATEST, "3"))
    assert told.slot.digests == (C, A)


def test_twenty_digests_back_is_a_rollback_and_further_back_is_not() -> None:
    def digest(number: int) -> str:
        return f"sha256:{number:064x}"

    told = Story()
    for number in range(KEPT_DIGESTS + 1):
        told.see(at(f"n{number}", T + number * HOUR, str(number), digest=digest(number)))
    forgotten = told.see(at("n0", T + 50 * HOUR, "50", digest=digest(0)))
    assert forgotten.row == "completed"
    known = told.see(at("n5", T + 51 * HOUR, "51", digest=digest(5)))
    assert known.row == "rollback"
    assert len(told.slot.digests) == KEPT_DIGESTS


# Rollback after failure: The commonest end of a bad day: v2 failed, and `kubectl rollout undo`


FAILED_AT = LATER + 10 * MINUTE


def undo(**overrides: object) -> Sighting:
    """One replica, so that all that v1 needs still runs; the condition still tells of v2."""
    v1 = replica_set(created=WEEKS_AGO, revision="3", reused=True)
    v2 = replica_set(uid="r2", revision="2", created=LATER, tag="v2")
    before = pod(created=WEEKS_AGO)
    bad = pod(uid="p2", owner="r2", created=LATER, ready=False, waiting="ImagePullBackOff")
    fields = {
        "generation": 3,
        "revision": "3",
        "replicas": 1,
        "current_replicas": 2,
        "progressing": progressing("ProgressDeadlineExceeded", FAILED_AT),
    }
    return look(deployment(**fields | overrides), (v1, v2), (before, bad))


def test_what_the_condition_still_says_of_it_is_not_a_second_failure() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"), failure("v2", began=LATER, revision="2"))
    stale = undo()
    assert stale.rollout is Rollout.FAILED, "this is what the Deployment alone seems to say"
    done = told.see(stale, at=FAILED_AT + MINUTE)
    assert (done.row, events(done)) == ("started", ["started"])
    over = progressing(updated=FAILED_AT + 2 * MINUTE)
    finished = told.see(undo(current_replicas=1, progressing=over), at=FAILED_AT + 2 * MINUTE)
    assert (finished.row, events(finished)) == ("retagged", ["finished"])
    assert deployed_digest(told) == A


def test_a_rollback_that_then_fails_itself_is_told_so() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"), failure("v2", began=LATER, revision="2"))
    told.see(undo(), at=FAILED_AT + MINUTE)
    later = progressing("ProgressDeadlineExceeded", FAILED_AT + 20 * MINUTE)
    done = told.see(undo(progressing=later), at=FAILED_AT + 20 * MINUTE)
    assert (done.row, events(done)) == ("failed", ["failed ProgressDeadlineExceeded"])


# Digests


def test_a_tag_that_moves_is_drift_until_all_agree() -> None:
    told = story(sighting())
    drifting = told.see(sighting(resolution=DISAGREE), at=LATER)
    agreed = told.see(sighting(digest=B, container_started=LATER + MINUTE), at=LATER + 2 * MINUTE)
    assert [drifting.row, agreed.row] == ["drift", "tag moved"]
    assert told.slot.conditions == ()


def test_a_drift_that_goes_back_is_over_and_nothing_happened() -> None:
    told = story(sighting())
    before = told.slot
    told.see(sighting(resolution=DISAGREE), at=LATER)
    assert told.see(sighting(), at=LATEST).slot == before


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(sighting(resolution=UNHEARD), id="pods not heard of"),
        pytest.param(progress(), id="not complete at the moment"),
        pytest.param(sighting(rollout=Rollout.WAITING), id="not observed"),
    ],
)
def test_what_is_known_of_digests_does_not_flap_while_pods_say_nothing(silent: Sighting) -> None:
    told = story(sighting())
    told.see(sighting(resolution=DISAGREE), at=LATER)
    before = told.slot
    assert told.see(silent, at=LATER + SECOND).slot == before


@pytest.mark.parametrize("other", [under_way("v2", LATER, "2"), IDLE])
def test_but_it_is_not_said_of_another_reference_nor_of_nothing(other: Sighting) -> None:
    told = story(sighting())
    told.see(sighting(resolution=DISAGREE), at=LATER)
    told.see(other, at=LATEST)
    assert told.slot.conditions == ()


def test_a_restart_that_brings_a_moved_tag_has_the_clusters_own_times() -> None:
    told = story(sighting("latest"))
    assert told.see(under_way("latest", LATER, "2")).row == "continued"
    done = told.see(at("latest", LATER, "2", digest=B))
    assert (done.row, events(done)) == ("tag moved", ["started", "finished"])
    start, end = done.transitions[0], done.transitions[-1]
    assert (start.at.time, start.at.source) == (LATER, TimeSource.REPLICA_SET_CREATION)
    assert (end.at.time, end.at.source) == (LATER + 30 * SECOND, TimeSource.PROGRESSING_CONDITION)


def test_a_tag_that_moves_back_is_a_rollback() -> None:
    told = story(sighting())
    told.see(sighting(digest=B, container_started=LATER), at=LATER)
    done = told.see(sighting(digest=A, container_started=LATEST), at=LATEST)
    assert [each.rollback for each in done.transitions if each.kind is Kind.DEPLOYED] == [True]


@pytest.mark.parametrize("rollout", [Rollout.PROGRESSING, Rollout.FAILED])
def test_a_tag_has_not_moved_while_a_rollout_of_it_is_not_complete(rollout: Rollout) -> None:
    """Some pods of a restart are ready, with another digest: not all of them are."""
    told = story(sighting("latest"))
    before = told.slot
    done = told.see(at("latest", LATER, "2", digest=B, rollout=rollout, available=False))
    assert (done.row, done.slot) == ("continued", before)


def test_pods_that_are_not_all_heard_of_say_nothing_of_what_is_deployed() -> None:
    told = story(sighting())
    before = told.slot
    done = told.see(sighting(resolution=UNHEARD), at=LATER)
    assert (done.row, done.slot) == ("continued", before)


def test_a_restart_with_the_same_digest_is_nothing() -> None:
    told = story(sighting())
    before = told.slot
    for each in (under_way("v1", LATER, "2"), at("v1", LATER, "2")):
        done = told.see(each)
        assert (done.slot, done.transitions) == (before, ())


def test_a_moving_tag_is_told_when_its_digest_names_the_version() -> None:
    told = Story()
    begun = told.see(progress("latest"))
    assert (begun.row, begun.transitions) == ("started", ())
    assert told.slot.seq == 1
    done = told.see(sighting("latest"))
    assert (done.row, events(done)) == ("completed", ["started", "finished"])
    start, deployed, end = done.transitions
    assert [each.artifact.version for each in done.transitions] == ["a" * 12] * 3
    assert (start.at.time, start.at.source) == (T, TimeSource.REPLICA_SET_CREATION)
    assert deployed.at.time == end.at.time == T + 30 * SECOND
    assert start.seq > 1, "a number that was given before may lie behind a sink's cursor"


def test_a_moving_tag_that_fails_was_never_told_and_is_when_it_recovers() -> None:
    told = Story()
    assert told.see(progress("latest")).transitions == ()
    done = told.see(failure("latest"))
    assert (done.row, done.transitions) == ("failed", ())
    recovered = told.see(sighting("latest", condition_updated=T + HOUR))
    assert (recovered.row, events(recovered)) == ("recovered", ["started", "finished"])


def test_a_moving_tag_that_is_interrupted_was_never_told() -> None:
    told = story(sighting(), under_way("latest", LATER, "2"))
    done = told.see(under_way("v3", LATEST, "3"))
    assert (done.row, events(done)) == ("started", ["started"])


def test_a_pinned_digest_is_the_identity_whatever_form_of_it_runs() -> None:
    told = Story()
    done = told.see(sighting(B, resolution=resolution(B, running=A, digests=(A,))))
    assert [each.artifact.digest for each in done.transitions if each.kind is Kind.DEPLOYED] == [B]
    current = told.slot.deployed
    assert current is not None
    assert (current.artifact.digest, current.artifact.running) == (B, A)
    mixed = told.see(sighting(B, resolution=resolution(B, digests=(A, C))), at=LATER)
    assert (mixed.row, mixed.transitions) == ("unchanged", ())
    assert told.slot.deployed is not None
    assert told.slot.deployed.artifact.running is None


def test_an_unresolved_rollout_is_told_when_its_digest_is_known() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"))
    told.see(at("v2", LATER, "2", resolution=EMPTY))
    done = told.see(at("v2", LATER, "2"), at=LATEST)
    assert (done.row, states(done), events(done)) == (
        "completed",
        ["SUPERSEDED Rollout", "DEPLOYED Rollout"],
        ["finished"],
    )
    assert {each.at.time for each in done.transitions} == {LATER + 30 * SECOND}
    assert told.slot.conditions == ()


def test_an_unresolved_rollout_did_not_fail_when_the_next_begins() -> None:
    """Images that were loaded on the nodes have no digest ever: each rollout succeeded all the same."""
    told = story(under_way("v1", T, "1"), at("v1", T, "1", resolution=EMPTY))
    done = told.see(under_way("v2", LATER, "2"))
    assert (done.row, events(done)) == ("started", ["finished", "started"])
    assert done.transitions[0].at.time == T + 30 * SECOND
    assert told.see(at("v2", LATER, "2", resolution=EMPTY)).row == "unresolved"
    gone = told.see(UNTRACKED, at=LATEST)
    assert events(gone) == ["finished"]


def test_an_unresolved_rollout_is_not_failed_by_a_later_revision_of_it() -> None:
    told = story(under_way("v1", T, "1"), at("v1", T, "1", resolution=EMPTY))
    done = told.see(failure("v1", began=LATER, revision="2"))
    assert (done.row, done.transitions) == ("continued", ())


def test_a_failed_rollout_that_completes_unresolved_recovers_with_the_next() -> None:
    told = story(under_way("v1", T, "1"), failure("v1"))
    told.see(at("v1", T, "1", resolution=EMPTY, condition_updated=LATER))
    attempt = told.slot.attempt
    assert attempt is not None
    assert (attempt.phase, attempt.reason) == (Phase.SUCCEEDED, "")
    done = told.see(under_way("v2", LATEST, "2"))
    assert events(done) == ["finished", "started"]


def test_an_unresolved_moving_tag_was_never_told() -> None:
    told = story(sighting("latest", resolution=EMPTY))
    done = told.see(under_way("v2", LATER, "2"))
    assert events(done) == ["started"]


def test_a_deployed_artifact_whose_digest_is_no_longer_shown_stays() -> None:
    told = story(sighting())
    done = told.see(sighting(resolution=EMPTY), at=LATER)
    assert (done.row, done.transitions) == ("unresolved", ())
    assert told.slot.conditions[0].type == "DigestResolved"
    assert deployed_digest(told) == A


def test_pods_not_heard_of_keep_an_attempt_open() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"))
    done = told.see(at("v2", LATER, "2", resolution=UNHEARD))
    assert (done.row, done.transitions, told.slot.conditions) == ("continued", (), ())
    assert told.slot.attempt is not None
    assert told.slot.attempt.phase is Phase.PROGRESSING


def test_whole_sightings_of_an_upgrade() -> None:
    """From objects to transitions, status and pods arriving one after the other."""
    sets = (replica_set(), replica_set(uid="r2", revision="2", created=LATER, tag="v2"))
    old = (pod(uid="p1"), pod(uid="p2"))
    new = tuple(
        pod(uid=uid, owner="r2", runs=image_id(B), created=LATER + SECOND, ready=ready)
        for uid, ready in (("p3", True), ("p4", False))
    )
    v2 = {"tag": "v2", "generation": 2, "revision": "2"}
    told = Story()
    told.see(look(deployment()))
    waiting = told.see(look(deployment(tag="v2", generation=2, observed_generation=1)))
    begun = told.see(look(deployment(**v2, current_replicas=3, updated_replicas=1), sets, (*old, *new)), at=LATER)
    complete = deployment(**v2, progressing=progressing(updated=LATER + MINUTE))
    unheard = told.see(look(complete, sets, new))
    ready = tuple(replace(each, ready=True) for each in new)
    done = told.see(look(complete, sets, ready))
    assert [each.row for each in (waiting, begun, unheard, done)] == [
        "waiting",
        "started",
        "continued",
        "completed",
    ]
    assert deployed_digest(told) == B


# Scaling


IDLE_GRACE = policy().idle_grace


def asleep() -> Story:
    told = story(sighting())
    told.see(IDLE, at=LATER)
    told.see(IDLE, at=LATER + IDLE_GRACE)
    return told


def test_scaled_within_the_grace_it_was_nothing() -> None:
    told = story(sighting())
    before = told.slot
    told.see(IDLE, at=LATER)
    done = told.see(sighting(), at=LATER + IDLE_GRACE - 1)
    assert (done.row, done.slot) == ("unchanged", before)


def test_scaled_a_short_wake_starts_the_grace_anew() -> None:
    told = story(sighting())
    told.see(IDLE, at=LATER)
    told.see(progress(), at=LATER + MINUTE)
    assert told.see(IDLE, at=LATEST).wake == LATEST + IDLE_GRACE


def test_scaled_up_again_with_another_reference_is_a_rollout() -> None:
    told = asleep()
    begun = told.see(under_way("v2", LATEST, "2"))
    done = told.see(at("v2", LATEST, "2"))
    assert (begun.row, events(begun)) == ("started", ["started"])
    assert (states(done), events(done)) == (["DEPLOYED Rollout"], ["finished"])


def test_scaled_up_again_but_never_ready_fails_in_silence() -> None:
    told = asleep()
    up: dict[str, Any] = {"pods_created": (LATEST,), "condition_updated": LATEST + 10 * MINUTE}
    assert told.see(progress(**up | {"condition_updated": LATEST})).transitions == ()
    done = told.see(failure(**up))
    assert (done.row, done.transitions) == ("failed", ())
    recovered = told.see(sighting(**up))
    assert (recovered.row, states(recovered), events(recovered)) == ("recovered", ["DEPLOYED Resumed"], [])


def test_scaled_to_zero_in_the_middle_of_an_attempt_fails_it() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"))
    told.see(IDLE, at=LATER + MINUTE)
    done = told.see(IDLE, at=LATEST)
    assert (states(done), events(done)) == (["DECOMMISSIONED ScaledToZero"], ["failed ScaledToZero"])
    assert told.slot.attempt is None


def test_scaled_to_zero_before_anything_was_ever_complete() -> None:
    told = story(progress())
    told.see(IDLE, at=LATER)
    done = told.see(IDLE, at=LATEST)
    assert (done.row, states(done), events(done)) == ("scaled to zero", [], ["failed ScaledToZero"])
    again = told.see(sighting(began=LATEST))
    assert (again.row, events(again)) == ("completed", ["started", "finished"])


def test_resumed_from_an_older_digest_is_one_more_rollout() -> None:
    told = asleep()
    done = told.see(sighting(digest=B, pods_created=(LATEST,), container_started=LATEST), at=LATEST)
    assert (done.row, states(done)) == ("resumed", ["DEPLOYED Resumed"])
    assert told.slot.digests == (B, A)


def test_deleted_while_asleep_is_nothing_more() -> None:
    told = asleep()
    before = told.slot
    for moment in (LATEST, LATEST + HOUR):
        done = told.see(DELETED, at=moment)
        assert (done.row, done.slot) == ("gone", before)


def test_scaled_to_zero_while_untracked_is_told_once_it_is_tracked_again() -> None:
    told = story(sighting())
    told.see(UNTRACKED, at=LATER)
    assert told.see(IDLE, at=LATEST).row == "idle"
    done = told.see(IDLE, at=LATEST + HOUR)
    assert states(done) == ["DECOMMISSIONED ScaledToZero"]
    assert told.slot.tracked


# Away


MISSING_GRACE = policy().missing_grace


def test_created_again_within_the_grace_it_never_was_away() -> None:
    """Orphaned pods adopted, or new ones: nobody needs to know."""
    told = story(sighting())
    before = told.slot
    told.see(DELETED, at=LATER)
    done = told.see(sighting(workload_uid="d2"), at=LATER + MISSING_GRACE - 1)
    assert (done.row, done.transitions) == ("unchanged", ())
    assert done.slot == replace(before, workload_uid="d2")


def test_orphaned_pods_keep_it_deployed_however_long() -> None:
    told = story(sighting())
    before = told.slot
    orphaned = Absent(cause=Cause.DELETED, pods_left=True)
    for moment in (LATER, LATEST):
        done = told.see(orphaned, at=moment)
        assert (done.row, done.slot, done.wake) == ("missing", before, None)


def test_the_grace_begins_with_the_last_orphaned_pod() -> None:
    told = story(sighting())
    told.see(DELETED, at=LATER)
    told.see(Absent(cause=Cause.DELETED, pods_left=True), at=LATER + SECOND)
    assert told.see(DELETED, at=LATEST).row == "missing"
    done = told.see(DELETED, at=LATEST + MISSING_GRACE)
    assert (done.row, done.transitions[0].at.time) == ("deleted", LATEST)


def test_a_container_that_was_renamed_ends_here_and_begins_there() -> None:
    told = story(sighting())
    assert told.see(Absent(cause=Cause.REMOVED, pods_left=True), at=LATER).row == "missing"
    told.see(REMOVED, at=LATER + MINUTE)
    done = told.see(REMOVED, at=LATEST)
    assert (done.row, states(done)) == ("removed", ["DECOMMISSIONED Removed"])


def test_created_again_at_an_earlier_artifact_is_a_rollback() -> None:
    told = story(sighting(), at("v2", LATER, "2"))
    told.see(DELETED, at=LATEST)
    told.see(DELETED, at=LATEST + HOUR)
    done = told.see(at("v1", LATEST + 2 * HOUR, "1", workload_uid="d2"))
    assert (done.row, states(done), events(done)) == (
        "rollback",
        ["DEPLOYED Rollout"],
        ["started", "finished"],
    )


def test_deleted_before_anything_was_ever_complete() -> None:
    told = story(progress())
    told.see(DELETED, at=LATER)
    done = told.see(DELETED, at=LATEST)
    assert (done.row, states(done), events(done)) == ("deleted", [], ["failed Deleted"])
    assert (told.slot.attempt, told.slot.current) == (None, None)


@pytest.mark.parametrize("gone", [DELETED, MOVED, UNTRACKED])
def test_a_drift_goes_with_what_drifted(gone: Absent) -> None:
    told = story(sighting())
    told.see(sighting(resolution=DISAGREE), at=LATER)
    told.see(gone, at=LATER + MINUTE)
    told.see(gone, at=LATEST)
    assert told.slot.conditions == ()


def test_conditions_go_with_what_they_were_about() -> None:
    refused = Condition(type="NotAllowed", reason="EnvironmentNotAllowed")
    told = story(sighting())
    told.see(DELETED, at=LATER)
    told.see(DELETED, at=LATEST)
    held = told.see(Held(condition=refused), at=LATEST)
    gone = told.see(DELETED, at=LATEST)
    assert (held.slot.conditions, gone.slot.conditions) == ((refused,), ())


# Tracking


def test_tracking_off_and_on_again_in_the_middle_of_an_attempt() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"))
    told.see(UNTRACKED, at=LATER + SECOND)
    done = told.see(at("v2", LATER, "2"), at=LATEST)
    assert (done.row, states(done), events(done)) == (
        "re-tracked",
        ["SUPERSEDED Adopted", "DEPLOYED Adopted"],
        [],
    )


def test_tracking_on_again_by_the_template_restarts_the_same_reference() -> None:
    """The annotation stands on the pod template, so that switching it on is a rollout of the same."""
    told = story(sighting())
    told.see(UNTRACKED, at=LATER)
    begun = told.see(under_way("v1", LATEST, "2"))
    assert (begun.row, begun.transitions) == ("continued", ())
    done = told.see(at("v1", LATEST, "2"))
    assert (done.row, states(done), events(done)) == ("re-tracked", ["DEPLOYED Resumed"], [])
    current = told.slot.deployed
    assert current is not None
    assert current.ended is not None
    assert current.ended.time == T + 30 * SECOND, "nothing was deployed anew"


def test_tracking_on_again_in_the_middle_of_a_rollout_tells_it() -> None:
    told = story(sighting())
    told.see(UNTRACKED, at=LATER)
    assert events(told.see(under_way("v2", LATEST, "2"))) == ["started"]
    done = told.see(at("v2", LATEST, "2"))
    assert (done.row, events(done)) == ("re-tracked", ["finished"])


def test_tracking_off_while_the_first_attempt_is_under_way() -> None:
    told = story(progress())
    done = told.see(UNTRACKED, at=LATER)
    assert (states(done), events(done)) == ([], ["failed Untracked"])
    again = told.see(sighting(), at=LATEST)
    assert (again.row, states(again), events(again)) == ("re-tracked", ["DEPLOYED Adopted"], [])


def test_tracking_gone_again_before_it_was_complete_again() -> None:
    told = story(sighting())
    told.see(UNTRACKED, at=LATER)
    told.see(under_way("v1", LATEST, "2"))
    told.see(DELETED, at=LATEST + MINUTE)
    done = told.see(DELETED, at=LATEST + HOUR)
    assert (states(done), events(done)) == (["DECOMMISSIONED Deleted"], [])
    assert told.slot.tracked


def test_deleted_while_untracked_is_told_to_nobody() -> None:
    told = story(sighting())
    told.see(UNTRACKED, at=LATER)
    before = told.slot
    assert told.see(DELETED, at=LATEST).slot == before


# Presentation


def test_a_name_that_changes_during_an_attempt_is_frozen_until_its_end() -> None:
    told = story(sighting(), under_way("v2", LATER, "2"))
    renamed = identity(deployment_name="payments/till")
    same = told.see(seen(under_way("v2", LATER, "2"), identity=renamed))
    assert same.transitions == ()
    done = told.see(seen(at("v2", LATER, "2"), identity=renamed))
    assert [(each.kind.value, each.identity.deployment_name) for each in done.transitions] == [
        ("SUPERSEDED", "payments/shop/web"),
        ("DEPLOYED", "payments/shop/web"),
        ("finished", "payments/shop/web"),
        ("DECOMMISSIONED", "payments/shop/web"),
        ("DEPLOYED", "payments/till"),
    ]


def test_a_version_that_changes_during_an_attempt_follows_its_end() -> None:
    told = story(sighting())
    told.see(seen(under_way("v2", LATER, "2"), version="1.0"))
    done = told.see(seen(at("v2", LATER, "2"), version="1.1"))
    assert [(each.kind.value, each.artifact.version) for each in done.transitions] == [
        ("SUPERSEDED", "v1"),
        ("DEPLOYED", "1.0"),
        ("finished", "1.0"),
        ("DEPLOYED", "1.1"),
    ]


def test_a_version_label_that_changes_is_re_asserted() -> None:
    told = story(sighting())
    done = told.see(seen(sighting(), version="2026.1"), at=LATER)
    assert (done.row, states(done), events(done)) == ("retagged", ["DEPLOYED Retagged"], [])
    assert told.slot.deployed is not None
    assert told.slot.deployed.since == story(sighting()).slot.deployed.since  # type: ignore[union-attr]  # it is


def test_other_words_are_kept_and_not_told() -> None:
    told = story(sighting())
    done = told.see(seen(sighting(), identity=identity(commit="abc")), at=LATER)
    assert (done.row, done.transitions) == ("unchanged", ())
    assert told.slot.deployed is not None
    assert told.slot.deployed.identity.commit == "abc"


# Environments


def test_moved_there_and_back_again() -> None:
    """Production -> staging -> production, without a rollout anywhere."""
    production, staging = story(sighting()), Story()
    staging.see(seen(sighting(), moved=production.slot.deployed), at=LATER)
    production.see(MOVED, at=LATER)
    back = production.see(seen(sighting(), moved=staging.slot.deployed), at=LATEST)
    staging.see(MOVED, at=LATEST)
    assert (back.row, states(back), events(back)) == ("moved", ["DEPLOYED Moved"], [])
    assert deployed_digest(production) == A
    assert deployed_digest(staging) is None
    (before,) = production.slot.closed
    assert before.status is RecordStatus.DECOMMISSIONED


def test_moved_in_the_middle_of_a_rollout() -> None:
    old, new = story(sighting(), under_way("v2", LATER, "2")), Story()
    begun = new.see(
        seen(under_way("v2", LATER, "2", previous=running()), moved=old.slot.deployed), at=LATER + MINUTE
    )
    assert (begun.row, states(begun), events(begun)) == ("started", ["DEPLOYED Moved"], ["started"])
    assert begun.transitions[1].at.time == LATER + MINUTE, "in this slot nothing is earlier than the move"
    ended = old.see(MOVED, at=LATER + MINUTE)
    assert (states(ended), events(ended)) == (["DECOMMISSIONED Moved"], ["failed Moved"])


def test_moved_while_a_change_waits() -> None:
    new = Story()
    paused = seen(sighting("v2", rollout=Rollout.WAITING), moved=story(sighting()).slot.deployed)
    done = new.see(paused, at=LATER)
    assert (done.row, states(done)) == ("moved", ["DEPLOYED Moved"])


def test_moved_while_asleep_nothing_begins() -> None:
    new = Story()
    done = new.see(seen(IDLE, moved=story(sighting()).slot.deployed), at=LATER)
    assert (done.row, done.slot) == ("idle", slot())


def test_moved_what_runs_by_then_is_another_artifact() -> None:
    done = Story().see(seen(at("v2", LATER, "2"), moved=entry()), at=LATEST)
    assert (done.row, states(done), events(done)) == (
        "completed",
        ["DEPLOYED Moved", "SUPERSEDED Rollout", "DEPLOYED Rollout"],
        ["started", "finished"],
    )


# Times


def test_a_clock_behind_ours_never_turns_the_slots_time_back() -> None:
    told = story(sighting())
    told.see(seen(sighting(), version="9"), at=LATEST)
    done = told.see(at("v2", LATER, "2"), at=LATEST + SECOND)
    assert {(each.at.time, each.at.source) for each in done.transitions} == {
        (LATEST + SECOND, TimeSource.OBSERVED)
    }
    assert done.transitions[0].at.not_before == LATEST


def test_bounds_stay_around_a_time_that_was_moved() -> None:
    told = story(sighting())
    told.see(seen(sighting(), version="9"), at=LATEST)
    told.see(IDLE, at=LATER)
    done = told.see(IDLE, at=LATEST)
    (end,) = done.transitions
    assert end.at.not_before is not None
    assert end.at.not_after is not None
    assert end.at.not_before <= end.at.time <= end.at.not_after


def test_an_attempt_without_events_never_ends_before_it_began() -> None:
    told = story(sighting())
    told.see(UNTRACKED, at=LATER + 700)
    done = told.see(sighting("v9", digest=B, pods_created=(), reused=True, container_started=LATER), at=LATER)
    assert done.row == "re-tracked"
    current = told.slot.deployed
    assert current is not None
    assert current.started is not None
    assert current.ended is not None
    assert current.started.time <= current.ended.time
