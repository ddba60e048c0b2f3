"""What people see of a slot: its deployment records, as values ready for JSON.

Records are a projection. They hold nothing that the slot does not, may be lost, edited or deleted, and are
made again from the slot. Every time in them comes from the ledger: made twice, they are the same bytes.

| of the slot | record | Ready | Stalled |
|---|---|---|---|
| attempt under way | its phase, no status until it was DEPLOYED once | False, Progressing | - |
| attempt that failed or was interrupted | its reason and message | False, the reason | True, the reason |
| complete, digest not known yet | phase Succeeded, no status | False, AwaitingDigest | - |
| DEPLOYED | since, what it replaced | True, Deployed | - |
| SUPERSEDED, DECOMMISSIONED | since | True, Superseded or Decommissioned | - |

A closed record stays `Ready`, for it is what it should be; tools that wait for conditions call it current.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rollbook.core.slot import Condition, Entry, Slot, SlotKey
from rollbook.core.transition import Artifact, Millis, Phase, RecordStatus, Stamp, Transition

LABEL_PREFIX: Final = "rollbook.dev/"

Owed = Callable[[str, Transition], bool]
"""Whether the sink of this key is to be sent this transition, its cursor apart (channel, `only`, age)."""

_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME: Final = 253
_ENDED_BADLY: Final = frozenset({Phase.FAILED, Phase.INTERRUPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One `DeploymentRecord` as it should be; `spec` and `status` hold camelCase keys and JSON values."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    spec: dict[str, Any]
    status: dict[str, Any]


def records(slot: Slot, *, sinks: Mapping[str, str], owed: Owed) -> tuple[Record, ...]:
    """The records of a slot: the attempt, what is current, what is closed, in this order.

    Args:
        slot: the ledger.
        sinks: names of the configured sinks by their keys; those with a cursor in the slot are enrolled.
        owed: asked only about pending transitions beyond a sink's cursor.
    """
    enrolled = sorted((name, key) for key, name in sinks.items() if key in slot.cursors)
    return tuple(
        Record(
            name=_name(slot.key, str(entry.number)),
            namespace=slot.key.namespace,
            labels=_labels(slot.key),
            spec=_spec(slot.key, entry.artifact),
            status=_status(slot, entry, [_delivery(slot, entry, *sink, owed) for sink in enrolled]),
        )
        for entry in (slot.attempt, slot.current, *slot.closed)
        if entry
    )


def refusal(key: SlotKey, artifact: Artifact, condition: Condition) -> Record:
    """The record of a container of which nothing may be recorded, to say why (`NotAllowed`, `SlotConflict`).

    It has neither status nor phase; it is `Stalled`, so that who waits for it does not wait for ever.
    """
    told = (
        replace(condition, type="Ready", status=False),
        replace(condition, type="Stalled", status=True),
        condition,
    )
    return Record(
        name=_name(key, "refused"),
        namespace=key.namespace,
        labels=_labels(key),
        spec=_spec(key, artifact),
        status={"conditions": [condition_body(one) for one in told]},
    )


def labels(values: Mapping[str, str]) -> dict[str, str]:
    """Labels of ours, without those whose values Kubernetes would refuse."""
    return {LABEL_PREFIX + name: value for name, value in values.items() if _LABEL_VALUE.fullmatch(value)}


def rfc3339(at: Millis) -> str:
    """A time as the Kubernetes API writes it, with milliseconds where it has some."""
    precision = "milliseconds" if at % 1000 else "seconds"
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec=precision).replace("+00:00", "Z")


def present(**fields: Any) -> dict[str, Any]:
    """The fields that are there: neither None nor an empty text."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def short(digest: str | None) -> str | None:
    """The first 12 hex digits of a digest, for columns."""
    return digest and digest.partition(":")[2][:12]


def condition_body(condition: Condition, at: Stamp | None = None) -> dict[str, Any]:
    """A condition as Kubernetes has them; without a time where the ledger keeps none (never "now")."""
    return {
        "type": condition.type,
        "status": "True" if condition.status else "False",
        "reason": condition.reason,
        "message": condition.message,
    } | ({"lastTransitionTime": rfc3339(at.time)} if at else {})


def _hash(key: SlotKey) -> str:
    return key.object_name.rpartition("-")[2]


def _name(key: SlotKey, last: str) -> str:
    end = f"-{_hash(key)[:6]}-{last}"
    return f"{key.workload.name}-{key.container}"[: _LONGEST_NAME - len(end)].rstrip("-.") + end


def _labels(key: SlotKey) -> dict[str, str]:
    return labels(
        {
            "managed-by": "rollbook",
            "slot": _hash(key),
            "environment": key.environment,
            "workload": key.workload.name,
        }
    )


def _spec(key: SlotKey, artifact: Artifact) -> dict[str, Any]:
    return {
        "cluster": key.cluster,
        "environment": key.environment,
        "workload": {"group": key.workload.group, "kind": key.workload.kind, "name": key.workload.name},
        "container": key.container,
        "artifact": {
            "kind": artifact.kind.value,
            "name": artifact.name,
            "reference": artifact.reference,
        },
    }


def _status(slot: Slot, entry: Entry, deliveries: list[dict[str, str]]) -> dict[str, Any]:
    done = sum(delivery["state"] == "Delivered" for delivery in deliveries)
    return (
        _artifact(entry)
        | _course(entry)
        | present(
            deploymentName=entry.identity.deployment_name,
            application=entry.identity.application,
            delivered=f"{done}/{len(deliveries)}" if deliveries else None,
            deliveries=deliveries or None,
            conditions=list(_conditions(slot, entry, deliveries)),
        )
    )


def _artifact(entry: Entry) -> dict[str, Any]:
    artifact = entry.artifact
    return present(
        digest=artifact.digest,
        digestShort=short(artifact.digest),
        runningDigest=artifact.running,
        version=artifact.version,
        versionName=entry.identity.version_name,
        supersedes=entry.replaces,
    )


def _course(entry: Entry) -> dict[str, Any]:
    return (
        present(
            status=entry.status and entry.status.value,
            phase=entry.phase.value,
            durationSeconds=_duration(entry),
            cause=entry.cause.value,
            reason=entry.reason,
            message=entry.message,
            revision=entry.revision,
            rollback=entry.rollback or None,
        )
        | _time("since", entry.since)
        | _time("started", entry.started)
        | _time("finished", entry.ended)
    )


def _time(name: str, stamp: Stamp | None) -> dict[str, str]:
    """A time with its source, and its bounds where only they are known."""
    if stamp is None:
        return {}
    fields = {name: rfc3339(stamp.time), f"{name}Source": stamp.source.value}
    if stamp.not_before is not None:
        fields[f"{name}NotBefore"] = rfc3339(stamp.not_before)
    if stamp.not_after is not None:
        fields[f"{name}NotAfter"] = rfc3339(stamp.not_after)
    return fields


def _duration(entry: Entry) -> float | None:
    """Seconds from the start to the end; unknown while a bound is all that is known of either."""
    start, end = entry.started, entry.ended
    if start is None or end is None:
        return None
    if any(stamp.not_before is not None or stamp.not_after is not None for stamp in (start, end)):
        return None
    return (end.time - start.time) / 1000


def _delivery(slot: Slot, entry: Entry, name: str, key: str, owed: Owed) -> dict[str, str]:
    """What became of an entry's transitions at one sink. A refusal shows even while others wait."""
    refused = [
        parked.message for parked in slot.parked if parked.sink == key and parked.transition.entry == entry.number
    ]
    if refused:
        return present(sink=name, state="Parked", message=refused[-1])
    cursor = slot.cursors[key].seq
    waiting = any(
        transition.entry == entry.number and transition.seq > cursor and owed(key, transition)
        for transition in slot.pending
    )
    return {"sink": name, "state": "Pending" if waiting else "Delivered"}


def _conditions(slot: Slot, entry: Entry, deliveries: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    reason, ready = _readiness(entry)
    at = entry.ended or entry.since or entry.started
    readiness = Condition(type="Ready", reason=reason, message=entry.message, status=ready)
    yield condition_body(readiness, at)
    if entry.phase in _ENDED_BADLY and not ready:
        yield condition_body(replace(readiness, type="Stalled", status=True), at)
    if deliveries:
        yield condition_body(_delivered(deliveries))
    if entry in (slot.attempt, slot.current):
        yield from _of_slot(slot, entry)


def _readiness(entry: Entry) -> tuple[str, bool]:
    """Reason and status of `Ready`; the table is in the module's docstring."""
    if entry.status in (RecordStatus.SUPERSEDED, RecordStatus.DECOMMISSIONED):
        return entry.status.value.capitalize(), True
    if entry.phase in _ENDED_BADLY:
        return entry.reason or entry.phase.value, False
    if entry.phase is Phase.PROGRESSING:
        return entry.phase.value, False
    return ("Deployed", True) if entry.status else ("AwaitingDigest", False)


def _delivered(deliveries: list[dict[str, str]]) -> Condition:
    """Whether every enrolled sink has what it is to have; the message names those that have not."""
    states = {delivery["state"] for delivery in deliveries} - {"Delivered"}
    if not states:
        return Condition(type="Delivered", reason="Delivered")
    others = ", ".join(delivery["sink"] for delivery in deliveries if delivery["state"] in states)
    reason = "Parked" if "Parked" in states else "Pending"
    return Condition(type="Delivered", reason=reason, message=others, status=False)


def _of_slot(slot: Slot, entry: Entry) -> Iterator[dict[str, Any]]:
    """Conditions of the slot: on the attempt and on what is current, each where it belongs."""
    if not slot.tracked:
        yield condition_body(Condition(type="Tracked", reason="Untracked", status=False))
    for condition in slot.conditions:
        if _belongs(condition.type, slot, entry):
            yield condition_body(condition)


def _belongs(kind: str, slot: Slot, entry: Entry) -> bool:
    """The digest in question is the attempt's while there is one; what drifts is what is current."""
    if kind == "DigestResolved":
        return entry == (slot.attempt or slot.current)
    if kind == "DigestDrift":
        return entry == (slot.current or slot.attempt)
    return True
