"""What the pages show, computed from what is stored (pure)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from rollbook.tracker.chainloop_records import Record, RecordStatus
from rollbook.tracker.launchdarkly_state import Deployment, EventType
from rollbook.tracker.launchdarkly_store import StoredEvent

STATUS_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DEPLOYED": "Deployed",
        "SUPERSEDED": "Superseded",
        "DECOMMISSIONED": "Decommissioned",
        "started": "In progress",
        "finished": "Finished",
        "failed": "Failed",
    }
)
KIND_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CONTAINER_IMAGE": "Container image",
        "HELM_CHART": "Helm chart",
        "deployment": "Deployment",
        "redeployment": "Redeployment",
        "rollback": "Rollback",
        "rolledBack": "Rolled back",
    }
)

_STAGES: Final = ("development", "staging", "production")

_REASON_LIMIT: Final = 300
"""Characters of a failure's reason on the page; all of it is in `/api/tracker/v1/rollouts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentName:
    """A deployment name in its parts; what does not split into three is a name by itself."""

    namespace: str
    workload: str
    container: str

    @classmethod
    def split(cls, name: str) -> "DeploymentName":
        """Split `<namespace>/<workload>/<container>`; of more parts the inner ones are the workload."""
        parts = name.split("/")
        if len(parts) < 3:  # noqa: PLR2004  the three parts of the name
            return cls(namespace="", workload=name, container="")
        return cls(namespace=parts[0], workload="/".join(parts[1:-1]), container=parts[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One application, container and kind over the environments.

    A cell holds the latest record of each of its slots, by deployment name: one, unless several namespaces of an
    environment run the same application.
    """

    workload: str
    container: str
    kind: str
    cells: Mapping[str, Sequence[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Applications in alphabetical order, by environments in the order of a release."""

    environments: Sequence[str]
    rows: Sequence[MatrixRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A record, and when its time in the slot ended (epoch milliseconds; None while it is DEPLOYED)."""

    record: Record
    ended_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRow:
    """A deployment with what its events say about a failure."""

    deployment: Deployment
    reason: str = field(default="")


def matrix(latest: Sequence[Record]) -> Matrix:
    """Arrange the latest record of every slot."""
    rows: dict[tuple[str, str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(latest, key=lambda one: one.slot.deployment_name):
        name = DeploymentName.split(record.slot.deployment_name)
        rows[name.workload, name.container, record.slot.kind][record.slot.environment_name].append(record)
    return Matrix(
        environments=sorted({record.slot.environment_name for record in latest}, key=_stage),
        rows=[
            MatrixRow(workload=workload, container=container, kind=kind, cells=cells)
            for (workload, container, kind), cells in sorted(rows.items())
        ],
    )


def _stage(environment: str) -> tuple[int, str]:
    """The lifecycle stages that trackers know by default come first, in their order (WIRE §2.2)."""
    known = environment in _STAGES
    return (_STAGES.index(environment) if known else len(_STAGES), environment)


def history(records: Sequence[Record]) -> list[HistoryEntry]:
    """Say when each record's time ended."""
    return [
        HistoryEntry(record=record, ended_at=None if record.status == RecordStatus.DEPLOYED else record.updated_at)
        for record in records
    ]


def rollouts(deployments: Sequence[Deployment], events: Sequence[StoredEvent]) -> list[RolloutRow]:
    """Join deployments with the reasons of their failures, the last word of each."""
    reasons = {
        event.deployment_sequence: failure_reason(event.event_metadata)
        for event in events
        if event.event_type == EventType.FAILED
    }
    return [
        RolloutRow(deployment=found, reason=reasons.get(found.sequence, "") if found.status == "failed" else "")
        for found in deployments
    ]


def failure_reason(metadata: Mapping[str, Any]) -> str:
    """What a failed event says about itself: `reason` and `message` where given, else all of its metadata."""
    said = [str(metadata[key]) for key in ("reason", "cause", "message") if metadata.get(key)]
    if not said:
        said = [", ".join(f"{key}={value}" for key, value in metadata.items())]
    text = ": ".join(said)
    return text if len(text) <= _REASON_LIMIT else f"{text[: _REASON_LIMIT - 1]}…"


def short_digest(digest: str) -> str:
    """The first twelve hexadecimal digits."""
    return digest.partition(":")[2][:12]
