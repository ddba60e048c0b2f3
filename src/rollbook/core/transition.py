"""What can happen to a slot, and when it did.

A transition is a fact about one environment slot. It is made once, in the write that changes the slot, with
the slot's next sequence number; slot UID and sequence number are its identity for ever. Order is the
sequence, never a clock.

Two channels, because trackers differ in what they want to hear:

| channel | kinds | who hears it |
|---|---|---|
| STATE | DEPLOYED, SUPERSEDED, DECOMMISSIONED, UNTRACKED | Chainloop, the tracker (superseding is theirs) |
| ROLLOUT | STARTED, FINISHED, FAILED | LaunchDarkly, the tracker |

Which state may follow which stands in `TRANSITIONS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Millis = int
"""Milliseconds since the epoch, UTC."""


class Channel(StrEnum):
    """What a transition is about: the slot's state, or the course of a rollout."""

    STATE = "state"
    ROLLOUT = "rollout"


class Kind(StrEnum):
    """What happened."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    DEPLOYED = "DEPLOYED"
    SUPERSEDED = "SUPERSEDED"
    DECOMMISSIONED = "DECOMMISSIONED"
    UNTRACKED = "UNTRACKED"

    @property
    def channel(self) -> Channel:
        """The channel this kind is told on."""
        return Channel.ROLLOUT if self in _ROLLOUT else Channel.STATE


_ROLLOUT: Final = frozenset({Kind.STARTED, Kind.FINISHED, Kind.FAILED})


class RecordStatus(StrEnum):
    """What an artifact is in its slot; absent until it has first been deployed."""

    DEPLOYED = "DEPLOYED"
    SUPERSEDED = "SUPERSEDED"
    DECOMMISSIONED = "DECOMMISSIONED"


TRANSITIONS: Final[Mapping[RecordStatus | None, frozenset[Kind]]] = {
    None: frozenset({Kind.DEPLOYED}),
    RecordStatus.DEPLOYED: frozenset({Kind.DEPLOYED, Kind.SUPERSEDED, Kind.DECOMMISSIONED, Kind.UNTRACKED}),
    RecordStatus.SUPERSEDED: frozenset(),
    RecordStatus.DECOMMISSIONED: frozenset({Kind.DEPLOYED}),
}
"""The state transitions an entry of a slot may go through, by its status."""


class Phase(StrEnum):
    """How far a rollout has got."""

    PROGRESSING = "Progressing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"


class Cause(StrEnum):
    """Why a state transition was made, where it was not an ordinary rollout."""

    ROLLOUT = "Rollout"
    ADOPTED = "Adopted"
    TAG_MOVED = "TagMoved"
    MOVED = "Moved"
    RETAGGED = "Retagged"
    RESUMED = "Resumed"
    SCALED_TO_ZERO = "ScaledToZero"
    REMOVED = "Removed"
    DELETED = "Deleted"
    UNTRACKED = "Untracked"


class TimeSource(StrEnum):
    """Where a time was read."""

    PROGRESSING_CONDITION = "ProgressingCondition"
    REPLICA_SET_CREATION = "ReplicaSetCreation"
    POD_CREATION = "PodCreation"
    CONTAINER_START = "ContainerStart"
    OBSERVED = "Observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A time with its source; bounds where the cluster does not say.

    `not_before` and `not_after` are set where only bounds are known; `time` is then the later one.
    """

    time: Millis
    source: TimeSource
    not_before: Millis | None = None
    not_after: Millis | None = None


class ArtifactKind(StrEnum):
    """The kinds of artifacts that trackers know (WIRE §2.1)."""

    CONTAINER_IMAGE = "CONTAINER_IMAGE"
    HELM_CHART = "HELM_CHART"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a digest identifies. `digest` is None while a rollout has not shown it yet."""

    name: str
    """The repository, normalised: `docker.io/library/nginx`."""
    reference: str
    """The image reference as the workload's spec gives it."""
    version: str = ""
    """For people and for LaunchDarkly's correlation; empty while it is not known."""
    digest: str | None = None
    """`sha256:<64 hex>`."""
    running: str | None = None
    """The digest that the runtime shows where the reference pins another form of it (index, platform)."""
    kind: ArtifactKind = ArtifactKind.CONTAINER_IMAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How a slot presents itself to trackers. Frozen while an attempt is open."""

    deployment_name: str
    """`<namespace>/<workload>/<container>`, or what the annotation says after the namespace."""
    application: str
    application_name: str | None = None
    application_kind: str | None = None
    """LaunchDarkly's `server`, `browser` or `mobile`."""
    project: str | None = None
    """The project a team chose; a sink uses it only where it allows it."""
    version_name: str | None = None
    commit: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    reports: bool = True
    """Whether this container's rollouts are the application's (the primary container, not shared)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One fact about a slot, complete in itself: a delivery needs nothing else."""

    seq: int
    """The slot's sequence number; with the slot's UID the identity of this fact."""
    kind: Kind
    at: Stamp
    artifact: Artifact
    identity: Identity
    entry: int
    """The number of the slot's entry (the deployment of the artifact) that it is about."""
    began: Millis
    """When the attempt began; a sink younger than that does not hear of its course."""
    cause: Cause = Cause.ROLLOUT
    reason: str = ""
    """Of a failure, one CamelCase word: `ImagePullBackOff`, `ProgressDeadlineExceeded`, `Interrupted`."""
    message: str = ""
    revision: str = ""
    """The workload's revision, for people; never an identity, since revisions start again."""
    replaces: str | None = None
    """The digest that was DEPLOYED before, if another."""
    rollback: bool = False
    """Whether this digest was among the slot's earlier ones."""
    only: str | None = None
    """The one sink (its key) that this is for: a re-assertion for a sink that is new."""
