"""What the cluster shows of one container of a Deployment. Pure: projected objects in, a sighting out.

A Deployment's own traps, each found on a real API server:

- After a template change the controller reports nothing of it until `observedGeneration` has caught up; a paused
  Deployment catches up without beginning anything. A reference is *taken up* when the ReplicaSet of the
  Deployment's revision carries it.
- A rollback re-uses an old ReplicaSet, and the `Progressing` condition may for a while still say
  `NewReplicaSetAvailable` or `ProgressDeadlineExceeded` of the rollout before; where the strategy is Recreate,
  the former may even stay. The condition counts only if it is younger than the ReplicaSet's oldest pod; whether a
  deadline passed in the attempt or before it, only the slot can tell (`stamps.failed_at`).
- A new ReplicaSet resets the condition in the same write that announces its revision, so that there it always
  counts, even in the second of the creation.
- A Deployment without `progressDeadlineSeconds` has no such condition at all.
- The Deployment's status and the pods arrive by different watches. A digest is taken only when as many ready
  pods are known as the status counts; a ReplicaSet of a later revision than the Deployment's, as heard of, is the
  rollout that it will speak of next, and nothing that ran before.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rollbook.core.image import Resolution, parse_reference, resolve
from rollbook.core.transition import Millis
from rollbook.core.workload import Deployment, Pod, ReplicaSet

AVAILABLE: Final = "NewReplicaSetAvailable"
DEADLINE: Final = "ProgressDeadlineExceeded"
PODS_UNKNOWN: Final = "PodsUnknown"
"""The status counts more ready pods than we have heard of: their events are on the way."""


class Rollout(StrEnum):
    """Where the workload stands with the reference that its spec asks for."""

    IDLE = "Idle"
    """Scaled to zero: nothing to run."""
    WAITING = "Waiting"
    """Not taken up by the controller: nothing has begun."""
    PROGRESSING = "Progressing"
    FAILED = "Failed"
    COMPLETE = "Complete"


_NOT_THERE: Final = frozenset({Rollout.PROGRESSING, Rollout.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What the ready pods of one ReplicaSet run in the container."""

    reference: str
    resolution: Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What the cluster shows of one container."""

    workload_uid: str
    container: str
    reference: str
    revision: str
    rollout: Rollout
    resolution: Resolution
    """Of the ready pods of the new ReplicaSet."""
    previous: Running | None = None
    """What most older ready pods run, while a rollout is under way or has not been taken up."""
    replica_set_created: Millis | None = None
    reused: bool = False
    """Whether the ReplicaSet served an earlier revision: then its creation is not the start."""
    pods_created: tuple[Millis, ...] = ()
    """Of the new ReplicaSet, oldest first, each time once."""
    container_started: Millis | None = None
    """The latest start of the container in a ready pod of the new ReplicaSet."""
    condition_updated: Millis | None = None
    """When the `Progressing` condition was last updated."""
    available: bool = False
    """Whether that condition says that the new ReplicaSet is available."""
    has_deadline: bool = True
    """Whether the cluster will say when a rollout takes too long, or it is paused and may take any time."""
    reason: str = ""
    """Why a rollout is not complete: what the container waits for, else the condition's reason."""
    message: str = ""


def observe(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], pods: Sequence[Pod], container: str
) -> Sighting:
    """Describe one container of `deployment`; it must be one of `deployment.containers`."""
    reference = dict(deployment.containers)[container]
    own = [each for each in replica_sets if each.owner == deployment.uid]
    new = _new(own, deployment)
    of_new = [pod for pod in pods if new and pod.owner == new.uid and not pod.leaving]
    taken_up = new is not None and dict(new.containers).get(container) == reference
    rollout = _rollout(deployment, new, of_new) if new and taken_up else _unbegun(deployment)
    condition = deployment.progressing
    reason, message = _trouble(deployment, of_new, container) if rollout in _NOT_THERE else ("", "")
    return Sighting(
        workload_uid=deployment.uid,
        container=container,
        reference=reference,
        revision=deployment.revision,
        rollout=rollout,
        resolution=_resolution(reference, of_new, container, _expected(deployment)),
        previous=_previous(deployment, own, new if taken_up else None, pods, container),
        replica_set_created=new.created if new else None,
        reused=new.reused if new else False,
        pods_created=tuple(sorted({pod.created for pod in of_new})),
        container_started=_latest_start(of_new, container),
        condition_updated=condition.updated if condition else None,
        available=condition is not None and condition.reason == AVAILABLE,
        has_deadline=condition is not None or deployment.paused,
        reason=reason,
        message=message,
    )


def _new(own: Sequence[ReplicaSet], deployment: Deployment) -> ReplicaSet | None:
    return next((each for each in own if each.revision == deployment.revision), None)


def _unbegun(deployment: Deployment) -> Rollout:
    return Rollout.IDLE if deployment.replicas == 0 else Rollout.WAITING


def _rollout(deployment: Deployment, new: ReplicaSet, of_new: Sequence[Pod]) -> Rollout:
    if deployment.replicas == 0:
        return Rollout.IDLE
    if deployment.observed_generation < deployment.generation:
        return Rollout.WAITING
    if _complete(deployment, new, of_new):
        return Rollout.COMPLETE
    condition = deployment.progressing
    if condition and condition.reason == DEADLINE and condition.updated > _begun(new, of_new):
        return Rollout.FAILED
    return Rollout.PROGRESSING


def _begun(new: ReplicaSet, of_new: Sequence[Pod]) -> Millis:
    """When the rollout began, at the earliest; the last one with this ReplicaSet, if its pods tell."""
    return min((pod.created for pod in of_new), default=new.created) if new.reused else new.created


def _complete(deployment: Deployment, new: ReplicaSet, of_new: Sequence[Pod]) -> bool:
    """Whether all that should be updated is, and was available, now or since the rollout began."""
    updated = deployment.updated_replicas
    if updated == 0 or deployment.current_replicas != updated:
        return False
    if updated >= deployment.replicas and deployment.available_replicas >= deployment.replicas:
        return True
    condition = deployment.progressing
    if condition is None or condition.reason != AVAILABLE:
        return False
    return condition.updated > _begun(new, of_new) if new.reused else True


def _expected(deployment: Deployment) -> int:
    """How many ready pods must be known before their digests count."""
    return max(1, min(deployment.replicas, deployment.available_replicas))


def _resolution(reference: str, pods: Sequence[Pod], container: str, expected: int) -> Resolution:
    image_ids = _image_ids(pods, container)
    found = resolve(parse_reference(reference), image_ids)
    if len(image_ids) < expected:
        return Resolution(digest=None, running=None, reason=PODS_UNKNOWN, digests=found.digests)
    return found


def _image_ids(pods: Sequence[Pod], container: str) -> list[str]:
    ready = (pod for pod in pods if pod.ready and not pod.leaving)
    return [state.image_id for pod in ready for state in pod.containers if state.name == container]


def _previous(
    deployment: Deployment,
    own: Sequence[ReplicaSet],
    new: ReplicaSet | None,
    pods: Sequence[Pod],
    container: str,
) -> Running | None:
    ready = Counter(pod.owner for pod in pods if pod.ready and not pod.leaving)
    there = (each for each in own if each is not new and _number(each.revision) <= _number(deployment.revision))
    older = [each for each in there if ready[each.uid] and container in dict(each.containers)]
    if not older:
        return None
    most = max(older, key=lambda each: (ready[each.uid], each.created, each.uid))
    reference = dict(most.containers)[container]
    of_most = [pod for pod in pods if pod.owner == most.uid]
    return Running(reference=reference, resolution=_resolution(reference, of_most, container, 1))


def _number(revision: str) -> int:
    """For comparison; a Deployment has none until its controller has first seen it."""
    return int(revision) if revision.isdecimal() else 0


def _latest_start(pods: Sequence[Pod], container: str) -> Millis | None:
    ready = (pod for pod in pods if pod.ready)
    states = (state for pod in ready for state in pod.containers if state.name == container)
    return max((state.started for state in states if state.started is not None), default=None)


def _trouble(deployment: Deployment, pods: Sequence[Pod], container: str) -> tuple[str, str]:
    """Reason and message of a rollout that is not complete."""
    condition = deployment.progressing
    states = (state for pod in pods for state in pod.containers if state.name == container)
    waiting = Counter(state.waiting for state in states if state.waiting and not state.ready)
    if waiting:
        reason = max(waiting, key=lambda each: (waiting[each], each))
    else:
        reason = condition.reason if condition else DEADLINE
    return reason, condition.message if condition else ""


def pods_left(replica_sets: Sequence[ReplicaSet], pods: Sequence[Pod], container: str) -> bool:
    """Whether any pod of the workload that is not on its way out still has the container."""
    owners = {each.uid for each in replica_sets}
    return any(
        state.name == container
        for pod in pods
        if pod.owner in owners and not pod.leaving
        for state in pod.containers
    )
