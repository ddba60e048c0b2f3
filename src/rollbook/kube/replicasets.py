"""ReplicaSets: the link between a Deployment and its pods, and what each revision asks for.

A Deployment keeps ten old ReplicaSets at zero by default; only those that have or want pods are kept here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Final

import msgspec

from rollbook.core.workload import ReplicaSet, WorkloadRef
from rollbook.kube.watch import Collection
from rollbook.kube.wire import Metadata, PodSpec, Wire

REVISION: Final = "deployment.kubernetes.io/revision"
"""Annotation of Deployments and their ReplicaSets: the number of the rollout."""

HISTORY: Final = "deployment.kubernetes.io/revision-history"
"""Annotation of a ReplicaSet that served earlier revisions too: a rollback re-used it."""

TEMPLATE_HASH: Final = "pod-template-hash"
"""Label of a Deployment's ReplicaSets; their names are the Deployment's, "-" and this."""


class _Annotations(Wire, frozen=True):
    revision: str = msgspec.field(default="", name=REVISION)
    history: str | None = msgspec.field(default=None, name=HISTORY)


class _Labels(Wire, frozen=True):
    template_hash: str = msgspec.field(default="", name=TEMPLATE_HASH)


class _Metadata(Metadata, frozen=True):
    annotations: _Annotations = _Annotations()
    labels: _Labels = _Labels()


class _Template(Wire, frozen=True):
    spec: PodSpec = PodSpec()


class _Spec(Wire, frozen=True):
    replicas: int = 1
    template: _Template = _Template()


class _Status(Wire, frozen=True):
    replicas: int = 0


class ReplicaSetWire(Wire, frozen=True):
    """What is read of an apps/v1 ReplicaSet."""

    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A ReplicaSet and the workload that it belongs to."""

    workload: WorkloadRef
    replica_set: ReplicaSet


def project(wire: ReplicaSetWire) -> Owned | None:
    """What is kept of a ReplicaSet; None if it has no pods, or never was a Deployment's."""
    metadata = wire.metadata
    name = _deployment(metadata)
    if name is None or (wire.spec.replicas == 0 and wire.status.replicas == 0):
        return None
    owner = metadata.controller("Deployment")
    return Owned(
        workload=WorkloadRef(namespace=intern(metadata.namespace), name=intern(name)),
        replica_set=ReplicaSet(
            uid=intern(metadata.uid),
            owner=intern(owner.uid) if owner else "",
            created=metadata.created,
            revision=intern(metadata.annotations.revision),
            reused=metadata.annotations.history is not None,
            containers=wire.spec.template.spec.images(),
        ),
    )


def _deployment(metadata: _Metadata) -> str | None:
    """The Deployment's name; of a ReplicaSet that was orphaned (`--cascade=orphan`), from its own name."""
    owner = next((each for each in metadata.owner_references if each.controller), None)
    if owner is not None:
        return owner.name if owner.kind == "Deployment" else None
    name, _, end = metadata.name.rpartition("-")
    return name if name and end and end == metadata.labels.template_hash else None


REPLICA_SETS: Final = Collection(path="/apis/apps/v1/replicasets", shape=ReplicaSetWire, project=project)


class ReplicaSetStore:
    """The ReplicaSets of workloads.

    One that is gone stays as long as pods of it are known: the garbage collector removes a ReplicaSet before its
    pods, and until they are gone the workload still runs.

    Args:
        changed: told of a workload whose ReplicaSets are no longer what they were.
        has_pods: whether pods of a ReplicaSet, by its UID, are known.
    """

    def __init__(self, changed: Callable[[WorkloadRef], None], has_pods: Callable[[str], bool]) -> None:
        self._changed = changed
        self._has_pods = has_pods
        self._owned: dict[str, Owned] = {}
        self._of: dict[WorkloadRef, dict[str, ReplicaSet]] = {}
        self._gone: set[str] = set()

    def __len__(self) -> int:
        return len(self._owned)

    def upsert(self, owned: Owned) -> None:
        """Take up a ReplicaSet; quiet if nothing of it has changed."""
        uid = owned.replica_set.uid
        self._gone.discard(uid)
        before = self._owned.get(uid)
        if before == owned:
            return
        if before is not None and before.workload != owned.workload:
            self._remove(uid)
        self._owned[uid] = owned
        self._of.setdefault(owned.workload, {})[uid] = owned.replica_set
        self._changed(owned.workload)

    def delete(self, uid: str) -> None:
        """Drop a ReplicaSet, at once or with its last pod."""
        if self._has_pods(uid):
            self._gone.add(uid)
        elif uid in self._owned:
            self._remove(uid)

    def emptied(self, uid: str) -> None:
        """Hear that pods of a ReplicaSet have come or gone."""
        if uid in self._gone and not self._has_pods(uid):
            self._remove(uid)

    def workload(self, uid: str) -> WorkloadRef | None:
        """The workload of a ReplicaSet."""
        owned = self._owned.get(uid)
        return owned.workload if owned else None

    def of(self, workload: WorkloadRef) -> tuple[ReplicaSet, ...]:
        """The ReplicaSets of a workload."""
        return tuple(self._of.get(workload, {}).values())

    def workloads(self) -> tuple[WorkloadRef, ...]:
        """All workloads that have any."""
        return tuple(self._of)

    def _remove(self, uid: str) -> None:
        self._gone.discard(uid)
        workload = self._owned.pop(uid).workload
        siblings = self._of[workload]
        del siblings[uid]
        if not siblings:
            del self._of[workload]
        self._changed(workload)
