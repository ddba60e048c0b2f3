"""Pods: what is kept of them, by ReplicaSet. There are many; each keeps a few hundred bytes."""

from collections.abc import Callable
from datetime import datetime
from sys import intern
from typing import Final

import msgspec

from rollbook.core.workload import ContainerState, Pod
from rollbook.kube.watch import Collection
from rollbook.kube.wire import Metadata, Wire, millis


class _Waiting(Wire, frozen=True):
    reason: str = ""


class _Running(Wire, frozen=True):
    started_at: datetime | None = None


class _State(Wire, frozen=True):
    waiting: _Waiting | None = None
    running: _Running | None = None


class _ContainerStatus(Wire, frozen=True):
    name: str
    image_id: str = msgspec.field(default="", name="imageID")
    ready: bool = False
    state: _State = _State()


class _Condition(Wire, frozen=True):
    type: str
    status: str


class _Status(Wire, frozen=True):
    phase: str = ""
    conditions: tuple[_Condition, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()
    init_container_statuses: tuple[_ContainerStatus, ...] = ()


class PodWire(Wire, frozen=True):
    """What is read of a v1 Pod."""

    metadata: Metadata
    status: _Status = _Status()


def project(wire: PodWire) -> Pod | None:
    """What is kept of a pod; None if no ReplicaSet owns it."""
    metadata, status = wire.metadata, wire.status
    owner = metadata.controller("ReplicaSet")
    if owner is None:
        return None
    return Pod(
        uid=metadata.uid,
        owner=intern(owner.uid),
        created=metadata.created,
        ready=any(each.type == "Ready" and each.status == "True" for each in status.conditions),
        leaving=metadata.deletion_timestamp is not None or status.phase in _ENDED,
        containers=tuple(_state(each) for each in (*status.container_statuses, *status.init_container_statuses)),
    )


def _state(status: _ContainerStatus) -> ContainerState:
    waiting, running = status.state.waiting, status.state.running
    return ContainerState(
        name=intern(status.name),
        image_id=intern(status.image_id),
        ready=status.ready,
        waiting=intern(waiting.reason) if waiting else "",
        started=millis(running.started_at) if running else None,
    )


_ENDED: Final = frozenset({"Succeeded", "Failed"})

PODS: Final = Collection(path="/api/v1/pods", shape=PodWire, project=project)


class PodStore:
    """The pods of ReplicaSets.

    Args:
        changed: told of the UID of a ReplicaSet whose pods are no longer what they were.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._owner: dict[str, str] = {}
        self._pods: dict[str, dict[str, Pod]] = {}

    def __len__(self) -> int:
        return len(self._owner)

    def upsert(self, pod: Pod) -> None:
        """Take up a pod; quiet if nothing of it has changed."""
        before = self._owner.get(pod.uid)
        if before is not None and before != pod.owner:
            self.delete(pod.uid)
        siblings = self._pods.setdefault(pod.owner, {})
        if siblings.get(pod.uid) == pod:
            return
        self._owner[pod.uid] = pod.owner
        siblings[pod.uid] = pod
        self._changed(pod.owner)

    def delete(self, uid: str) -> None:
        """Drop a pod."""
        owner = self._owner.pop(uid, None)
        if owner is None:
            return
        siblings = self._pods[owner]
        del siblings[uid]
        if not siblings:
            del self._pods[owner]
        self._changed(owner)

    def of(self, replica_set: str) -> tuple[Pod, ...]:
        """The pods of a ReplicaSet, by its UID."""
        return tuple(self._pods.get(replica_set, {}).values())
