"""Workloads and their pods, projected to the few fields that decisions need.

The Kubernetes side decodes these as objects arrive and keeps nothing else, so that memory stays bounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rollbook.core.transition import Millis


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class WorkloadRef:
    """The top-level owner of pods, by name."""

    namespace: str
    name: str
    kind: str = "Deployment"
    group: str = "apps"

    @property
    def label(self) -> str:
        """`deployment/<namespace>/<name>`, for people."""
        return f"{self.kind.lower()}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """What a namespace says about tracking."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressing:
    """A Deployment's `Progressing` condition.

    `updated` moves at completion; the condition's `lastTransitionTime` stays at the first rollout, so it is
    not read.
    """

    status: str
    reason: str
    message: str
    updated: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """An apps/v1 Deployment: what it asks for and what its controller reports."""

    ref: WorkloadRef
    uid: str
    created: Millis
    generation: int
    observed_generation: int
    revision: str
    containers: tuple[tuple[str, str], ...]
    """(name, image reference) of the pod template: containers in order, then restartable init containers."""
    replicas: int
    """Wanted."""
    current_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    paused: bool = False
    progressing: Progressing | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Ours on the workload and, over them, on the pod template (nearest wins), without the prefix."""
    labels: Mapping[str, str] = field(default_factory=dict)
    version_label: str | None = None
    """`app.kubernetes.io/version`, of the pod template or else of the workload."""

    @property
    def under_way(self) -> bool:
        """Whether its status says that it is not yet what it should be; the end will be an event of its own."""
        return (
            self.observed_generation < self.generation
            or self.current_replicas != self.updated_replicas
            or min(self.updated_replicas, self.available_replicas) < self.replicas
        )

    def only_counts_on(self, before: "Deployment") -> bool:
        """Whether nothing but the numbers of replicas has changed, with a rollout under way before and after."""
        if not (self.under_way and before.under_way):
            return False
        same = replace(
            before,
            current_replicas=self.current_replicas,
            updated_replicas=self.updated_replicas,
            available_replicas=self.available_replicas,
            progressing=self.progressing,
        )
        return same == self and _reason(before.progressing) == _reason(self.progressing)


def _reason(condition: Progressing | None) -> str:
    return condition.reason if condition else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSet:
    """A ReplicaSet of a Deployment."""

    uid: str
    owner: str
    """The Deployment's UID."""
    created: Millis
    revision: str
    reused: bool
    """Whether it served an earlier revision too: its creation then tells nothing of this rollout."""
    containers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What a pod's status says of one container."""

    name: str
    image_id: str
    """As the kubelet reports it: raw, shaped by the runtime (WIRE §5.1)."""
    ready: bool
    waiting: str = ""
    """The reason it waits, empty when it does not."""
    started: Millis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of a ReplicaSet."""

    uid: str
    owner: str
    """The ReplicaSet's UID."""
    created: Millis
    ready: bool
    leaving: bool
    """Deletion has begun, or it has ended (Succeeded, Failed)."""
    containers: tuple[ContainerState, ...] = ()
