"""When things happened: the cluster's times, else bounds."""

import pytest

from rollbook.core.observe import Sighting
from rollbook.core.stamps import ended, failed_at, is_without_deadline, moved, observed, started
from rollbook.core.transition import Millis, Stamp, TimeSource
from tests.unit.core.make import (
    HOUR,
    MINUTE,
    SECOND,
    WEEKS_AGO,
    T,
    failure,
    progress,
    sighting,
    slot,
    stamp,
)

NOW = T + HOUR
DEADLINE = 10 * MINUTE


def at(time: Millis, source: TimeSource) -> Stamp:
    return Stamp(time=time, source=source)


def between(earliest: Millis | None, latest: Millis) -> Stamp:
    return Stamp(time=latest, source=TimeSource.OBSERVED, not_before=earliest, not_after=latest)


def test_what_is_only_observed_has_bounds() -> None:
    assert observed(T, NOW) == between(T, NOW)


def test_the_beginning_of_all_time_is_no_bound() -> None:
    assert observed(0, NOW) == observed(None, NOW) == between(None, NOW)


@pytest.mark.parametrize(
    ("what", "clock", "expected"),
    [
        pytest.param(sighting(), 0, at(T, TimeSource.REPLICA_SET_CREATION), id="a new replica set"),
        pytest.param(
            sighting(), T + 999, at(T, TimeSource.REPLICA_SET_CREATION), id="... in the second of the last one"
        ),
        pytest.param(
            sighting(reused=True, replica_set_created=WEEKS_AGO),
            T - HOUR,
            at(T + SECOND, TimeSource.POD_CREATION),
            id="a rollback: its new pods",
        ),
        pytest.param(
            sighting(reused=True, pods_created=(WEEKS_AGO, T - MINUTE, T + 5 * SECOND)),
            T,
            at(T + 5 * SECOND, TimeSource.POD_CREATION),
            id="a rollback half way: pods of before do not count",
        ),
        pytest.param(
            sighting(replica_set_created=WEEKS_AGO),
            T,
            at(T + SECOND, TimeSource.POD_CREATION),
            id="scaled up again: the replica set is older than the last transition",
        ),
        pytest.param(
            sighting(reused=True, pods_created=(T,)),
            T + 999,
            at(T, TimeSource.POD_CREATION),
            id="a pod in the second of the last transition",
        ),
        pytest.param(sighting(reused=True, pods_created=(WEEKS_AGO,)), T, between(T, NOW), id="no pod is new"),
        pytest.param(sighting(replica_set_created=None, pods_created=()), 0, between(None, NOW), id="nothing"),
    ],
)
def test_a_rollout_began_with(what: Sighting, clock: Millis, expected: Stamp) -> None:
    assert started(what, slot(clock=clock), NOW) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param(sighting(), at(T, TimeSource.REPLICA_SET_CREATION), id="a restart brought it"),
        pytest.param(
            sighting(container_started=T + 30 * SECOND),
            at(T, TimeSource.REPLICA_SET_CREATION),
            id="... all within one second",
        ),
        pytest.param(
            sighting(container_started=T + MINUTE),
            between(T - HOUR, T + MINUTE),
            id="a pod was replaced after the restart",
        ),
        pytest.param(
            sighting(available=False), between(T - HOUR, T + 3 * SECOND), id="no rollout completed with it"
        ),
        pytest.param(
            sighting(condition_updated=None), between(T - HOUR, T + 3 * SECOND), id="no rollout is told of"
        ),
        pytest.param(
            sighting(replica_set_created=WEEKS_AGO), between(T - HOUR, T + 3 * SECOND), id="an old replica set"
        ),
        pytest.param(sighting(reused=True), between(T - HOUR, T + 3 * SECOND), id="a re-used replica set"),
        pytest.param(
            sighting(container_started=None, available=False), between(T - HOUR, NOW), id="no start is known"
        ),
    ],
)
def test_a_moved_tag_began_to_run(what: Sighting, expected: Stamp) -> None:
    assert moved(what, slot(clock=T - HOUR), NOW) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param(sighting(), at(T + 30 * SECOND, TimeSource.PROGRESSING_CONDITION), id="the condition"),
        pytest.param(
            sighting(condition_updated=T),
            at(T + 700, TimeSource.PROGRESSING_CONDITION),
            id="the condition in the second of the start, never before it",
        ),
        pytest.param(
            sighting(condition_updated=T - MINUTE),
            at(T + 3 * SECOND, TimeSource.CONTAINER_START),
            id="a stale condition: the containers",
        ),
        pytest.param(
            sighting(available=False),
            at(T + 3 * SECOND, TimeSource.CONTAINER_START),
            id="a condition of something else: the containers",
        ),
        pytest.param(
            sighting(condition_updated=None, container_started=T),
            at(T + 700, TimeSource.CONTAINER_START),
            id="no condition; never before the start",
        ),
        pytest.param(
            sighting(available=False, container_started=T - HOUR), between(T + 700, NOW), id="nothing is young"
        ),
        pytest.param(
            sighting(available=False, container_started=None), between(T + 700, NOW), id="nothing is known"
        ),
    ],
)
def test_a_rollout_ended_with(what: Sighting, expected: Stamp) -> None:
    assert ended(what, stamp(T + 700), NOW) == expected


def test_an_end_is_never_before_its_start_even_if_our_clock_is_behind() -> None:
    assert ended(sighting(available=False, container_started=None), stamp(NOW), T) == between(NOW, NOW)


def test_a_rollout_failed_when_the_condition_says_so() -> None:
    expected = at(T + 10 * MINUTE, TimeSource.PROGRESSING_CONDITION)
    assert failed_at(failure(), stamp(T), NOW, DEADLINE) == expected


@pytest.mark.parametrize("updated", [None, T - HOUR, T])
def test_a_failure_that_is_not_younger_than_the_start_is_not_its_own(updated: Millis | None) -> None:
    assert failed_at(failure(condition_updated=updated), stamp(T + 700), NOW, DEADLINE) is None


def test_without_a_deadline_ours_counts() -> None:
    what = progress(has_deadline=False, condition_updated=None)
    assert is_without_deadline(what)
    assert failed_at(what, stamp(T), T + DEADLINE - 1, DEADLINE) is None
    assert failed_at(what, stamp(T), T + DEADLINE, DEADLINE) == between(T + DEADLINE, T + DEADLINE)
    assert failed_at(what, stamp(T), NOW, DEADLINE) == between(T + DEADLINE, NOW)


@pytest.mark.parametrize("what", [progress(), sighting(has_deadline=False)])
def test_ours_counts_for_nothing_else(what: Sighting) -> None:
    assert not is_without_deadline(what)
    assert failed_at(what, stamp(T), NOW, DEADLINE) is None
