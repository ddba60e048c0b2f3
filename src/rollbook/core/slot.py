"""The ledger of one environment slot: what an `EnvironmentSlot` object holds.

A slot is an aggregate: one value, changed by pure functions, written in one request. It holds at most one
DEPLOYED artifact, the attempt under way, the last digests, the transitions that are not yet delivered and how
far each sink has got. No crash can leave half of a change, because there is no half.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from rollbook.core.transition import (
    Artifact,
    ArtifactKind,
    Cause,
    Identity,
    Millis,
    Phase,
    RecordStatus,
    Stamp,
    Transition,
)
from rollbook.core.workload import WorkloadRef

KEPT_DIGESTS: Final = 20
"""How many earlier digests a slot remembers, to recognise a rollback."""

TRUNCATED: Final = "Truncated"
"""The condition of a slot whose outbox had to drop transitions."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SlotKey:
    """The place that holds at most one DEPLOYED artifact. Immutable; it always holds the source namespace."""

    cluster: str
    environment: str
    workload: WorkloadRef
    container: str
    artifact_kind: ArtifactKind = ArtifactKind.CONTAINER_IMAGE

    @property
    def namespace(self) -> str:
        """The source namespace."""
        return self.workload.namespace

    @property
    def object_name(self) -> str:
        """The name of this slot's object: readable, and unique by a hash over the whole key."""
        workload = self.workload
        owner = (workload.namespace, workload.group, workload.kind, workload.name)
        parts = (self.cluster, self.environment, *owner, self.container, self.artifact_kind)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        readable = f"{self.workload.namespace}-{self.workload.name}-{self.container}"[:200].rstrip("-.")
        return f"{readable}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One deployment of an artifact in a slot: the attempt, and what became of it."""

    number: int
    """The sequence number at which it began; unique in its slot for ever."""
    artifact: Artifact
    identity: Identity
    phase: Phase
    started: Stamp | None = None
    ended: Stamp | None = None
    status: RecordStatus | None = None
    since: Stamp | None = None
    """When the status was reached."""
    cause: Cause = Cause.ROLLOUT
    reason: str = ""
    message: str = ""
    revision: str = ""
    replaces: str | None = None
    """The digest that it superseded."""
    rollback: bool = False
    said: bool = False
    """Whether its start was told, so that its end is owed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far one sink has got with a slot."""

    seq: int
    """The last transition that it accepted, refused for good, or does not hear."""
    frozen: Mapping[str, str] | None = None
    """The identity under which it was told of a start that is still open; its end goes under the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A delivery that a sink refused for good."""

    sink: str
    transition: Transition
    message: str
    """The sink's own words, masked and bounded."""
    at: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that people should know about a slot. `reason` is one CamelCase word."""

    type: str
    reason: str
    message: str = ""
    status: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Everything we know of one environment slot."""

    key: SlotKey
    seq: int = 0
    """The last sequence number given."""
    clock: Millis = 0
    """The time of the last transition: the next one is never earlier."""
    workload_uid: str = ""
    current: Entry | None = None
    """What is DEPLOYED, or was last (then its status says DECOMMISSIONED)."""
    tracked: bool = True
    attempt: Entry | None = None
    """The rollout attempt under way, or the last one if it failed; Succeeded while only its digest is unknown."""
    closed: tuple[Entry, ...] = ()
    """Superseded entries, newest first, as many as are kept."""
    digests: tuple[str, ...] = ()
    """Digests that were DEPLOYED, newest first, at most `KEPT_DIGESTS`."""
    conditions: tuple[Condition, ...] = ()
    missing_since: Millis | None = None
    """Since when the container, its workload or the namespace is gone, and the last pod with it."""
    idle_since: Millis | None = None
    """Since when the workload is scaled to zero."""
    pending: tuple[Transition, ...] = ()
    """Not yet delivered to every sink that hears them, oldest first."""
    cursors: Mapping[str, Cursor] = field(default_factory=dict)
    """By sink key."""
    parked: tuple[Parked, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    """Fields of the stored ledger that this version does not know; they are written back as they were."""

    @property
    def deployed(self) -> Entry | None:
        """The DEPLOYED entry, if there is one."""
        return self.current if self.current and self.current.status is RecordStatus.DEPLOYED else None

    @property
    def target(self) -> str | None:
        """The image reference that the last attempt was for, whether it ended well or not."""
        entry = self.attempt or self.current
        return entry.artifact.reference if entry else None

    def with_digest(self, digest: str) -> "Slot":
        """The slot remembering `digest` as the newest."""
        others = tuple(known for known in self.digests if known != digest)
        return replace(self, digests=(digest, *others)[:KEPT_DIGESTS])
