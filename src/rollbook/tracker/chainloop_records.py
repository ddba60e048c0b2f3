"""What one report to `POST /v1/deployments` does to its slot (pure).

A slot is (environment_name, deployment_name, kind) and holds at most one DEPLOYED record (WIRE §2.1). What
the vendor's documentation leaves open is our choice, marked (*):

| the slot holds                     | reported         | what happens                                       |
|------------------------------------|------------------|----------------------------------------------------|
| nothing DEPLOYED                   | DEPLOYED d       | a new record of d, also where d was DECOMMISSIONED |
| d DEPLOYED                         | DEPLOYED d       | refreshed: last_seen_at, updated_at, name, version |
| c DEPLOYED                         | DEPLOYED d       | c becomes SUPERSEDED, a new record of d            |
| d DEPLOYED                         | DECOMMISSIONED d | d becomes DECOMMISSIONED                           |
| d, known but not DEPLOYED          | DECOMMISSIONED d | (*) nothing, answered with d's latest record       |
| no record of d, or an unknown slot | DECOMMISSIONED d | (*) refused, 404                                   |

SUPERSEDED and UNSPECIFIED never get here: `schema.py` refuses them with 400 (*). A slot's times never run
backwards, whatever the clock does.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class ArtifactKind(StrEnum):
    """`kind` on the wire."""

    CONTAINER_IMAGE = "CONTAINER_IMAGE"
    HELM_CHART = "HELM_CHART"


class RecordStatus(StrEnum):
    """`status` on the wire."""

    DEPLOYED = "DEPLOYED"
    SUPERSEDED = "SUPERSEDED"
    DECOMMISSIONED = "DECOMMISSIONED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place that holds at most one DEPLOYED artifact."""

    environment_name: str
    deployment_name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A validated request. An empty name or version means that none was given."""

    slot: Slot
    digest: str
    artifact_name: str
    artifact_version: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One artifact's time in a slot. Times are epoch milliseconds.

    `sequence` is the order of creation over all slots; 0 until it is stored.
    """

    sequence: int = 0
    id: str
    slot: Slot
    digest: str
    artifact_name: str
    artifact_version: str
    status: str
    created_at: int
    updated_at: int
    last_seen_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to write (updates before the insert) and what to answer; `answer` is None where it is refused."""

    updates: tuple[Record, ...] = ()
    insert: Record | None = None
    answer: Record | None


def decide(report: Report, *, current: Record | None, known: Record | None, now: int, new_id: str) -> Decision:
    """Apply a report to its slot, by the table above.

    Args:
        report: What was reported.
        current: The slot's DEPLOYED record.
        known: The slot's latest record of the reported digest, of any status; needed for DECOMMISSIONED only.
        now: Epoch milliseconds.
        new_id: The id of a record, should one be made.
    """
    if current is not None:
        now = max(now, current.updated_at)
    if report.status == RecordStatus.DECOMMISSIONED:
        return _decommission(report, current, known, now)
    if current is None:
        return _deploy(report, now, new_id)
    if current.digest == report.digest:
        refreshed = _refreshed(current, report, now)
        return Decision(updates=(refreshed,), answer=refreshed)
    superseded = replace(current, status=RecordStatus.SUPERSEDED, updated_at=now)
    return replace(_deploy(report, now, new_id), updates=(superseded,))


def _decommission(report: Report, current: Record | None, known: Record | None, now: int) -> Decision:
    if current is None or current.digest != report.digest:
        return Decision(answer=known)
    gone = replace(current, status=RecordStatus.DECOMMISSIONED, updated_at=now)
    return Decision(updates=(gone,), answer=gone)


def _refreshed(current: Record, report: Report, now: int) -> Record:
    return replace(
        current,
        artifact_name=report.artifact_name or current.artifact_name,
        artifact_version=report.artifact_version or current.artifact_version,
        updated_at=now,
        last_seen_at=now,
    )


def _deploy(report: Report, now: int, new_id: str) -> Decision:
    record = Record(
        id=new_id,
        slot=report.slot,
        digest=report.digest,
        artifact_name=report.artifact_name,
        artifact_version=report.artifact_version,
        status=RecordStatus.DEPLOYED,
        created_at=now,
        updated_at=now,
        last_seen_at=now,
    )
    return Decision(insert=record, answer=record)
