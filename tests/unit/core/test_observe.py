"""What the cluster shows of a container, and the traps of Deployments."""

import pytest

from rollbook.core.errors import InvalidObject
from rollbook.core.observe import PODS_UNKNOWN, Rollout, Running, Sighting, observe, pods_left
from rollbook.core.workload import ContainerState, Deployment, Pod, ReplicaSet
from tests.unit.core.make import (
    CONTAINER,
    HOUR,
    MINUTE,
    SECOND,
    WEEKS_AGO,
    A,
    B,
    T,
    deployment,
    image,
    image_id,
    pod,
    progressing,
    replica_set,
    resolution,
)

LATER = T + 5 * MINUTE

TWO = (pod(uid="p1"), pod(uid="p2", created=T + 4 * SECOND))
NEW = replica_set(uid="r2", revision="2", created=LATER, tag="v2")
"""The ReplicaSet that an upgrade from v1 to v2 makes."""
OLD_AGAIN = replica_set(created=WEEKS_AGO, revision="3", reused=True)
"""The ReplicaSet of v1 that a rollback from v2 (revision 2) re-uses."""


def look(
    what: Deployment, replica_sets: tuple[ReplicaSet, ...] = (replica_set(),), pods: tuple[Pod, ...] = TWO
) -> Sighting:
    return observe(what, replica_sets, pods, CONTAINER)


def upgrade(**overrides: object) -> Deployment:
    """v2 is taken up, one of its pods was made."""
    fields = {
        "tag": "v2",
        "generation": 2,
        "revision": "2",
        "current_replicas": 3,
        "updated_replicas": 1,
        "progressing": progressing("ReplicaSetUpdated", LATER),
    }
    return deployment(**fields | overrides)


def rollback(reason: str, updated: int, **overrides: object) -> Deployment:
    """v1 again as revision 3, with a `Progressing` condition."""
    fields = {"generation": 3, "revision": "3", "progressing": progressing(reason, updated)}
    return deployment(**fields | overrides)


# Complete


def test_what_runs_quietly_is_complete_with_all_its_times() -> None:
    found = look(deployment())
    assert found == Sighting(
        workload_uid="d1",
        container=CONTAINER,
        reference=image("v1"),
        revision="1",
        rollout=Rollout.COMPLETE,
        resolution=resolution(A),
        replica_set_created=T,
        pods_created=(T + SECOND, T + 4 * SECOND),
        container_started=T + 6 * SECOND,
        condition_updated=T + 30 * SECOND,
        available=True,
    )


def test_the_order_of_what_was_listed_does_not_matter() -> None:
    sets, pods = (replica_set(), NEW), (*TWO, pod(uid="p3", owner="r2", runs=image_id(B)))
    assert look(upgrade(), sets, pods) == look(upgrade(), sets[::-1], pods[::-1])


def test_counts_are_enough_without_a_condition() -> None:
    found = look(deployment(progressing=None))
    assert found.rollout is Rollout.COMPLETE
    assert (found.condition_updated, found.available, found.has_deadline) == (None, False, False)


def test_pods_unhealthy_after_completion_do_not_undo_it() -> None:
    assert look(deployment(available_replicas=0)).rollout is Rollout.COMPLETE


def test_even_when_creation_and_completion_fall_into_one_second() -> None:
    found = look(deployment(available_replicas=1, progressing=progressing(updated=T)))
    assert found.rollout is Rollout.COMPLETE


def test_scaling_up_after_completion_does_not_undo_it() -> None:
    scaled = deployment(replicas=5, current_replicas=3, updated_replicas=3, available_replicas=2)
    assert look(scaled).rollout is Rollout.COMPLETE


def test_scaling_down_does_not_undo_it() -> None:
    scaled = deployment(replicas=1, current_replicas=2, updated_replicas=2, available_replicas=2)
    found = look(scaled)
    assert (found.rollout, found.resolution.digest) == (Rollout.COMPLETE, A)


@pytest.mark.parametrize(
    "unfinished",
    [
        pytest.param({"updated_replicas": 0, "current_replicas": 0}, id="no pod yet"),
        pytest.param({"current_replicas": 3}, id="an old pod is left"),
        pytest.param({"current_replicas": 1, "updated_replicas": 1}, id="not all are made"),
        pytest.param({"available_replicas": 1}, id="not all are available"),
    ],
)
def test_a_rollout_is_under_way_until_all_is_updated_and_available(unfinished: dict[str, int]) -> None:
    found = look(deployment(progressing=progressing("ReplicaSetUpdated"), **unfinished))
    assert (found.rollout, found.reason) == (Rollout.PROGRESSING, "ReplicaSetUpdated")


def test_without_a_condition_counts_are_all_there_is() -> None:
    found = look(deployment(available_replicas=1, progressing=None))
    assert (found.rollout, found.reason, found.message) == (
        Rollout.PROGRESSING,
        "ProgressDeadlineExceeded",
        "",
    )
    assert not found.has_deadline


# Not taken up


def test_a_changed_template_waits_for_the_controller() -> None:
    found = look(deployment(tag="v2", generation=2, observed_generation=1))
    assert (found.reference, found.rollout) == (image("v2"), Rollout.WAITING)


def test_what_runs_meanwhile_is_seen_beside_it() -> None:
    found = look(deployment(tag="v2", generation=2, observed_generation=1))
    assert found.previous == Running(reference=image("v1"), resolution=resolution(A))


def test_a_paused_deployment_has_observed_the_template_and_not_begun() -> None:
    paused = deployment(tag="v2", generation=2, paused=True, progressing=progressing("DeploymentPaused"))
    assert look(paused).rollout is Rollout.WAITING


def test_a_new_generation_of_the_same_reference_waits_too() -> None:
    found = look(deployment(generation=2, observed_generation=1))
    assert (found.rollout, found.previous) == (Rollout.WAITING, None)


def test_a_replica_set_not_heard_of_yet_is_waited_for() -> None:
    assert look(upgrade()).rollout is Rollout.WAITING
    unheard = look(deployment(), replica_sets=())
    assert (unheard.replica_set_created, unheard.reused, unheard.pods_created) == (None, False, ())


def test_a_container_that_the_replica_set_does_not_have_is_waited_for() -> None:
    renamed = deployment(containers=(("api", image("v1")),), generation=2)
    assert observe(renamed, (replica_set(),), TWO, "api").rollout is Rollout.WAITING


def test_replica_sets_of_an_earlier_deployment_of_the_name_are_not_its_own() -> None:
    assert look(deployment(uid="d2")).rollout is Rollout.WAITING


def test_scaled_to_zero_is_idle_whatever_the_template_says() -> None:
    assert look(deployment(replicas=0), pods=()).rollout is Rollout.IDLE
    assert look(deployment(replicas=0, tag="v2", generation=2)).rollout is Rollout.IDLE
    assert look(deployment(replicas=0, generation=2, observed_generation=1)).rollout is Rollout.IDLE


@pytest.mark.parametrize("revision", ["", "1"])
def test_a_replica_set_heard_of_before_its_deployments_status_is_not_what_ran_before(revision: str) -> None:
    """The first rollout of all, or the next: its pods may be ready before the Deployment speaks of it."""
    behind = deployment(tag="v2", generation=2, observed_generation=1, revision=revision)
    ahead = (pod(uid="p3", owner="r2", runs=image_id(B)),)
    assert look(behind, (NEW,), ahead).previous is None
    found = look(deployment(tag="v2", generation=2, observed_generation=1), (replica_set(), NEW), (*TWO, *ahead))
    assert found.previous == Running(reference=image("v1"), resolution=resolution(A))


def test_revisions_are_numbers() -> None:
    behind = deployment(tag="v2", generation=10, observed_generation=9, revision="9")
    before = replica_set(revision="9")
    ahead = replica_set(uid="r2", revision="10", created=LATER, tag="v2")
    pods = (pod(), *(pod(uid=f"p{number}", owner="r2", runs=image_id(B)) for number in (2, 3)))
    assert look(behind, (before, ahead), pods).previous == Running(reference=image("v1"), resolution=resolution(A))


# Under way


def test_older_ready_pods_are_seen_beside_the_new_ones() -> None:
    found = look(upgrade(), (replica_set(), NEW), (*TWO, pod(uid="p3", owner="r2", ready=False)))
    assert found.rollout is Rollout.PROGRESSING
    assert found.previous == Running(reference=image("v1"), resolution=resolution(A))
    assert found.replica_set_created == LATER


def test_of_several_older_ones_the_one_with_most_ready_pods_counts() -> None:
    sets = (replica_set(), replica_set(uid="r0", revision="0", tag="v0"), NEW)
    pods = (*TWO, pod(uid="p0", owner="r0", runs=image_id(B)))
    found = look(upgrade(), sets, pods)
    assert found.previous == Running(reference=image("v1"), resolution=resolution(A))


def test_older_pods_that_are_not_ready_or_leave_do_not_count() -> None:
    pods = (pod(ready=False), pod(uid="p2", leaving=True))
    assert look(upgrade(), (replica_set(), NEW), pods).previous is None


def test_an_older_replica_set_without_the_container_does_not_count() -> None:
    before = replica_set(containers=(("api", image("v1")),))
    assert look(upgrade(), (before, NEW), TWO).previous is None


def test_paused_in_the_middle_it_goes_on_without_a_deadline_of_ours() -> None:
    paused = upgrade(paused=True, progressing=None)
    found = look(paused, (replica_set(), NEW), TWO)
    assert (found.rollout, found.has_deadline) == (Rollout.PROGRESSING, True)


def test_paused_in_the_middle_a_condition_of_the_pause_is_no_failure() -> None:
    paused = upgrade(paused=True, progressing=progressing("DeploymentPaused", LATER + HOUR))
    assert look(paused, (replica_set(), NEW), TWO).rollout is Rollout.PROGRESSING


def test_an_old_condition_does_not_complete_a_new_replica_set_while_old_pods_are_there() -> None:
    stale = upgrade(progressing=progressing(updated=T + 30 * SECOND))
    assert look(stale, (replica_set(), NEW), TWO).rollout is Rollout.PROGRESSING


# Failed


DEADLINE = progressing("ProgressDeadlineExceeded", LATER + 10 * MINUTE)


def failed(*pods: Pod) -> Sighting:
    return look(upgrade(progressing=DEADLINE), (replica_set(), NEW), (*TWO, *pods))


def test_past_the_deadline_it_failed_and_the_old_one_still_runs() -> None:
    found = failed()
    assert found.rollout is Rollout.FAILED
    assert found.previous is not None
    assert (found.reason, found.message) == ("ProgressDeadlineExceeded", "says ProgressDeadlineExceeded")


@pytest.mark.parametrize("waiting", ["ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError"])
def test_the_reason_is_what_the_container_waits_for(waiting: str) -> None:
    assert failed(pod(uid="p3", owner="r2", ready=False, waiting=waiting)).reason == waiting


def test_of_several_reasons_the_commonest_counts_and_ties_are_stable() -> None:
    waits = [
        pod(uid=f"p{number}", owner="r2", ready=False, waiting=reason)
        for number, reason in enumerate(["ErrImagePull", "ImagePullBackOff", "ErrImagePull"])
    ]
    assert failed(*waits).reason == "ErrImagePull"
    assert failed(*waits[:2]).reason == failed(*waits[1::-1]).reason == "ImagePullBackOff"


def test_what_other_containers_and_old_pods_wait_for_is_not_its_reason() -> None:
    sidecar = ContainerState(name="proxy", image_id="", ready=False, waiting="CrashLoopBackOff")
    of_new = pod(uid="p3", owner="r2", ready=False, containers=(sidecar,))
    of_old = pod(uid="p4", ready=False, waiting="ImagePullBackOff")
    assert failed(of_new, of_old).reason == "ProgressDeadlineExceeded"


def test_a_deadline_of_the_rollout_before_is_not_this_ones() -> None:
    stale = upgrade(progressing=progressing("ProgressDeadlineExceeded", LATER - MINUTE))
    assert look(stale, (replica_set(), NEW), TWO).rollout is Rollout.PROGRESSING


def test_complete_by_counts_is_complete_whatever_the_condition_still_says() -> None:
    assert look(deployment(progressing=DEADLINE)).rollout is Rollout.COMPLETE


def test_a_deadline_in_the_second_of_the_beginning_is_of_the_rollout_before() -> None:
    stale = upgrade(progressing=progressing("ProgressDeadlineExceeded", LATER))
    assert look(stale, (replica_set(), NEW), TWO).rollout is Rollout.PROGRESSING


def test_a_container_that_is_not_ready_but_waits_for_nothing_is_no_reason() -> None:
    assert failed(pod(uid="p3", owner="r2", ready=False)).reason == "ProgressDeadlineExceeded"


# Rollback: A rollback re-uses a ReplicaSet that is weeks old; the condition may be of the rollout before


YOUNG = (pod(uid="p8", created=LATER + SECOND), pod(uid="p9", created=LATER + 2 * SECOND))


def test_rolling_update_with_a_stale_available_condition() -> None:
    """The condition still tells of v2; one of its pods is left."""
    under_way = rollback("NewReplicaSetAvailable", LATER - MINUTE, current_replicas=3)
    found = look(under_way, (OLD_AGAIN, NEW), YOUNG)
    assert (found.rollout, found.reused) == (Rollout.PROGRESSING, True)
    assert found.pods_created == (LATER + SECOND, LATER + 2 * SECOND)


def test_recreate_with_a_stale_available_condition() -> None:
    """All of v2 is gone, v1 starts: only counts tell, since the condition stays as it was."""
    starting = rollback("NewReplicaSetAvailable", LATER - MINUTE, available_replicas=0)
    young = tuple(pod(uid=f"p{number}", created=LATER, ready=False) for number in (8, 9))
    assert look(starting, (OLD_AGAIN,), young).rollout is Rollout.PROGRESSING
    ready = rollback("NewReplicaSetAvailable", LATER - MINUTE)
    assert look(ready, (OLD_AGAIN,), YOUNG).rollout is Rollout.COMPLETE


def test_in_the_second_of_the_stale_condition_it_does_not_count_yet() -> None:
    starting = rollback("NewReplicaSetAvailable", LATER, available_replicas=0)
    young = (pod(created=LATER, ready=False),)
    assert look(starting, (OLD_AGAIN,), young).rollout is Rollout.PROGRESSING


def test_pods_replaced_after_completion_do_not_undo_it() -> None:
    done = rollback("NewReplicaSetAvailable", LATER + MINUTE, available_replicas=1)
    pods = (YOUNG[0], pod(uid="p10", created=LATER + HOUR, ready=False))
    assert look(done, (OLD_AGAIN,), pods).rollout is Rollout.COMPLETE


def test_recreate_with_a_stale_deadline_condition() -> None:
    """v2 failed; now v1's pods are made, later than that."""
    starting = rollback("ProgressDeadlineExceeded", LATER - MINUTE, available_replicas=0)
    young = tuple(pod(uid=f"p{number}", created=LATER, ready=False) for number in (8, 9))
    assert look(starting, (OLD_AGAIN,), young).rollout is Rollout.PROGRESSING


def test_a_rollback_can_fail_itself() -> None:
    failed = rollback("ProgressDeadlineExceeded", LATER + 10 * MINUTE, available_replicas=0)
    young = (pod(created=LATER, ready=False, waiting="CrashLoopBackOff"),)
    found = look(failed, (OLD_AGAIN,), young)
    assert (found.rollout, found.reason) == (Rollout.FAILED, "CrashLoopBackOff")


def test_a_rollback_without_any_pod_can_fail_too() -> None:
    """No pod is admitted (a quota): there is no younger time than the ReplicaSet's."""
    stuck = rollback("ProgressDeadlineExceeded", LATER, current_replicas=0, updated_replicas=0)
    assert look(stuck, (OLD_AGAIN,), ()).rollout is Rollout.FAILED


# Digests


def test_pods_not_heard_of_yet_are_waited_for() -> None:
    found = look(deployment(), pods=TWO[:1])
    assert found.rollout is Rollout.COMPLETE
    assert (found.resolution.digest, found.resolution.reason) == (None, PODS_UNKNOWN)
    assert found.resolution.digests == (A,)


@pytest.mark.parametrize("counts", [{"replicas": 1, "available_replicas": 2}, {"available_replicas": 1}])
def test_no_more_pods_are_waited_for_than_are_wanted_and_available(counts: dict[str, int]) -> None:
    found = look(deployment(current_replicas=2, updated_replicas=2, **counts), pods=TWO[:1])
    assert (found.rollout, found.resolution.digest) == (Rollout.COMPLETE, A)


def test_a_pinned_digest_waits_for_its_pods_as_well() -> None:
    pinned = deployment(tag=A)
    assert look(pinned, (replica_set(tag=A),), ()).resolution.reason == PODS_UNKNOWN


def test_a_pinned_digest_is_the_identity_and_what_runs_stands_beside_it() -> None:
    found = look(deployment(tag=B), (replica_set(tag=B),))
    assert (found.resolution.digest, found.resolution.running) == (B, A)


def test_pods_that_disagree_give_no_digest() -> None:
    found = look(deployment(), pods=(TWO[0], pod(uid="p2", runs=image_id(B))))
    assert (found.resolution.digest, found.resolution.reason) == (None, "Disagree")


def test_leaving_and_unready_pods_say_nothing() -> None:
    others = (pod(uid="p3", runs=image_id(B), leaving=True), pod(uid="p4", runs=image_id(B), ready=False))
    assert look(deployment(), pods=(*TWO, *others)).resolution.digest == A


def test_unready_pods_tell_no_container_start() -> None:
    assert look(deployment(available_replicas=0), pods=(pod(ready=False),)).container_started is None
    assert look(deployment(), pods=(pod(started=None), TWO[1])).container_started == T + 6 * SECOND


def test_a_sidecar_is_resolved_by_its_own_status() -> None:
    both = (("web", image("v1")), ("proxy", "docker.io/library/proxy:7"))
    states = (
        ContainerState(name="proxy", image_id=f"proxy@{B}", ready=True),
        ContainerState(name="web", image_id=image_id(A), ready=True),
    )
    pods = tuple(pod(uid=uid, containers=states) for uid in ("p1", "p2"))
    what, sets = deployment(containers=both), (replica_set(containers=both),)
    assert observe(what, sets, pods, "proxy").resolution.digest == B
    assert observe(what, sets, pods, "web").resolution.digest == A


def test_a_reference_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidObject):
        look(deployment(containers=((CONTAINER, "Not An Image"),)))


# Pods left


def test_pods_of_an_orphaned_replica_set_are_left() -> None:
    assert pods_left([replica_set(owner="")], TWO, CONTAINER)


def test_pods_on_their_way_out_are_not() -> None:
    assert not pods_left([replica_set()], [pod(leaving=True)], CONTAINER)


def test_pods_without_the_container_are_not() -> None:
    assert not pods_left([replica_set()], TWO, "renamed")


def test_pods_of_others_are_not() -> None:
    assert not pods_left([replica_set(uid="r9")], TWO, CONTAINER)


def test_a_pod_that_is_not_ready_is_left_all_the_same() -> None:
    assert pods_left([replica_set()], [pod(ready=False)], CONTAINER)
