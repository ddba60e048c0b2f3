"""What a plan is made from: what is there, what is not, and what an install has decided."""

from collections.abc import Callable
from dataclasses import dataclass

from rollbook.core.observe import Sighting
from rollbook.core.slot import Condition, Entry
from rollbook.core.transition import Cause, Identity, Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an install decides about the rules."""

    epoch: Millis
    """When this install first led: what began before is adopted."""
    idle_grace: Millis = 300_000
    """How long scaled to zero before it counts."""
    missing_grace: Millis = 30_000
    """How long gone before it counts."""
    deadline: Millis = 600_000
    """How long an attempt may take where the workload has no deadline of its own."""
    history: int = 1
    """How many closed entries a slot keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A container that is there, and how it presents itself."""

    sighting: Sighting
    identity: Identity
    version: Callable[[str | None], str]
    """The version, given the digest or None; empty while only the digest could tell."""
    findings: tuple[Condition, ...] = ()
    moved: Entry | None = None
    """What the same container has DEPLOYED in the slot of its environment before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A container that is not there (any more), or not ours to record."""

    cause: Cause
    """Deleted, Removed, Moved or Untracked."""
    pods_left: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A container for which nothing may be recorded now."""

    condition: Condition
