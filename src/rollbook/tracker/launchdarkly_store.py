"""LaunchDarkly's deployments and events in the database: one event in a transaction, and what can be read."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from rollbook.tracker.launchdarkly_state import Deployment, Event, Outcome, Stream, StreamFacts, decide
from rollbook.tracker.statements import compiled
from rollbook.tracker.tables import deployments, events

_STREAM_KEYS: Final = ("project_key", "environment_key", "application_key")
_OF_STREAM: Final = and_(*(deployments.c[key] == bindparam(key) for key in _STREAM_KEYS))
_OF_VERSION: Final = and_(_OF_STREAM, deployments.c.version == bindparam("version"))
_NEWEST: Final = deployments.c.sequence.desc()

_SEEN_KEYS: Final = (*_STREAM_KEYS, "version", "event_type", "event_time")
_SEEN: Final = compiled(
    select(literal_column("1")).where(
        *(events.c[key] == bindparam(key) for key in _SEEN_KEYS), events.c.time_given == literal_column("1")
    )
)
_LAST: Final = compiled(select(deployments).where(_OF_VERSION).order_by(_NEWEST))
_LIVE: Final = compiled(select(deployments).where(_OF_STREAM, deployments.c.active == literal_column("1")))
_EARLIER: Final = compiled(
    select(deployments).where(_OF_VERSION, deployments.c.status == literal_column("'finished'")).order_by(_NEWEST)
)
_INSERT: Final = compiled(
    insert(deployments).values({c.key: bindparam(c.key) for c in deployments.c if c.key != "sequence"})
)
_CHANGING: Final = (
    "application_name",
    "application_kind",
    "version_name",
    "started_at",
    "start_known",
    "ended_at",
    "status",
    "active",
    "metadata",
)
_UPDATE: Final = compiled(
    update(deployments)
    .where(deployments.c.sequence == bindparam("of_sequence"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGING})
)
_DEACTIVATE: Final = compiled(
    update(deployments)
    .where(deployments.c.sequence == bindparam("of_sequence"))
    .values(active=literal_column("0"))
)
_ROLLED_BACK: Final = compiled(
    update(deployments)
    .where(
        *(deployments.c[key] == bindparam(f"of_{key}") for key in _STREAM_KEYS),
        deployments.c.sequence > bindparam("after"),
        deployments.c.sequence < bindparam("before"),
        deployments.c.status != literal_column("'started'"),
    )
    .values(kind=literal_column("'rolledBack'"))
)
_INSERT_EVENT: Final = compiled(
    insert(events).values({c.key: bindparam(c.key) for c in events.c if c.key != "sequence"})
)
_NOT_YET_STORED: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFilter:
    """What to list; times are epoch milliseconds, both ends included; empty means any."""

    project_key: str
    environment_key: str
    started_from: int
    started_to: int
    application_keys: Sequence[str] = ()
    kind: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A raw event, as it was taken in. Times are epoch milliseconds."""

    sequence: int
    deployment_sequence: int | None
    stream: Stream
    version: str
    event_type: str
    event_time: int
    received_at: int
    event_metadata: Mapping[str, Any]
    deployment_metadata: Mapping[str, Any]


def apply_event(connection: sqlite3.Connection, event: Event, *, now: int, new_id: str) -> None:
    """Read the stream, decide, write; within the caller's transaction. A repetition changes nothing."""
    row = _event_row(event, now)
    if event.time_given and connection.execute(_SEEN, row).fetchone():
        return
    facts = StreamFacts(
        last=_first(connection.execute(_LAST, row)),
        live=_first(connection.execute(_LIVE, row)),
        earlier=_first(connection.execute(_EARLIER, row)),
    )
    changed = _write(connection, event.stream, decide(event, facts, new_id=new_id))
    unchanged = facts.last.sequence if facts.last is not None else None
    connection.execute(_INSERT_EVENT, row | {"deployment_sequence": changed or unchanged})


def _write(connection: sqlite3.Connection, stream: Stream, outcome: Outcome) -> int | None:
    """Write what was decided; returns the sequence of the deployment that changed."""
    deployment = outcome.deployment
    if deployment is None:
        return None
    if outcome.deactivate is not None:
        connection.execute(_DEACTIVATE, {"of_sequence": outcome.deactivate.sequence})
    if outcome.rolled_back_after is not None:
        between = {"after": outcome.rolled_back_after, "before": deployment.sequence or _NOT_YET_STORED}
        connection.execute(_ROLLED_BACK, between | {f"of_{k}": v for k, v in _stream_row(stream).items()})
    row = _deployment_row(deployment)
    if deployment.sequence:
        changes = {f"new_{name}": row[name] for name in _CHANGING}
        connection.execute(_UPDATE, changes | {"of_sequence": deployment.sequence})
        return deployment.sequence
    return connection.execute(_INSERT, row).lastrowid


async def count_deployments(connection: AsyncConnection, wanted: DeploymentFilter) -> int:
    """Count all that match, whatever page is read."""
    query = select(func.count()).select_from(deployments).where(*_conditions(wanted))
    return await connection.scalar(query) or 0


async def find_deployment(connection: AsyncConnection, deployment_id: str) -> Deployment | None:
    """Read the deployment with this id."""
    found = await _read(connection, select(deployments).where(deployments.c.id == deployment_id))
    return found[0] if found else None


async def list_deployments(
    connection: AsyncConnection,
    wanted: DeploymentFilter,
    *,
    limit: int,
    after: Deployment | None = None,
    before: Deployment | None = None,
) -> list[Deployment]:
    """Read a page, newest start first, ties by id: at most `limit` on the far side of the given deployment.

    With `before` it is the page that ends just ahead of it.
    """
    position = tuple_(deployments.c.started_at, deployments.c.id)
    query = select(deployments).where(*_conditions(wanted)).limit(limit)
    if after is not None:
        query = query.where(position < tuple_(after.started_at, after.id))
    if before is None:
        return await _read(connection, query.order_by(deployments.c.started_at.desc(), deployments.c.id.desc()))
    query = query.where(position > tuple_(before.started_at, before.id))
    return (await _read(connection, query.order_by(deployments.c.started_at, deployments.c.id)))[::-1]


async def all_deployments(connection: AsyncConnection) -> list[Deployment]:
    """Every deployment, in the order of registration."""
    return await _read(connection, select(deployments).order_by(deployments.c.sequence))


async def newest_deployments(connection: AsyncConnection, limit: int) -> list[Deployment]:
    """The deployments registered last, over all streams, newest first."""
    return await _read(connection, select(deployments).order_by(_NEWEST).limit(limit))


async def read_events(connection: AsyncConnection, of: Sequence[Deployment] | None = None) -> list[StoredEvent]:
    """The raw events in the order of arrival: of some deployments, or every one."""
    query = select(events).order_by(events.c.sequence)
    if of is not None:
        query = query.where(events.c.deployment_sequence.in_([deployment.sequence for deployment in of]))
    return [_event(row) for row in await connection.execute(query)]


async def _read(connection: AsyncConnection, query: Select[Any]) -> list[Deployment]:
    return [_deployment(row) for row in await connection.execute(query)]


def _conditions(wanted: DeploymentFilter) -> list[ColumnElement[bool]]:
    conditions = [
        deployments.c.project_key == wanted.project_key,
        deployments.c.environment_key == wanted.environment_key,
        deployments.c.started_at.between(wanted.started_from, wanted.started_to),
    ]
    if wanted.application_keys:
        conditions.append(deployments.c.application_key.in_(wanted.application_keys))
    if wanted.kind:
        conditions.append(deployments.c.kind == wanted.kind)
    if wanted.status:
        conditions.append(deployments.c.status == wanted.status)
    return conditions


def _first(rows: Iterable[tuple[Any, ...]]) -> Deployment | None:
    row = next(iter(rows), None)
    return None if row is None else _deployment(row)


def _deployment(row: Sequence[Any]) -> Deployment:
    """Map a row, by the order of the table's columns."""
    return Deployment(
        sequence=row[0],
        id=row[1],
        stream=Stream(project_key=row[2], environment_key=row[3], application_key=row[4]),
        version=row[5],
        application_name=row[6],
        application_kind=row[7],
        version_name=row[8],
        started_at=row[9],
        start_known=bool(row[10]),
        ended_at=row[11],
        status=row[12],
        kind=row[13],
        active=bool(row[14]),
        metadata=json.loads(row[15]),
    )


def _event(row: Row[Any]) -> StoredEvent:
    return StoredEvent(
        sequence=row.sequence,
        deployment_sequence=row.deployment_sequence,
        stream=Stream(
            project_key=row.project_key,
            environment_key=row.environment_key,
            application_key=row.application_key,
        ),
        version=row.version,
        event_type=row.event_type,
        event_time=row.event_time,
        received_at=row.received_at,
        event_metadata=json.loads(row.event_metadata),
        deployment_metadata=json.loads(row.deployment_metadata),
    )


def _stream_row(stream: Stream) -> dict[str, str]:
    return {
        "project_key": stream.project_key,
        "environment_key": stream.environment_key,
        "application_key": stream.application_key,
    }


def _event_row(event: Event, now: int) -> dict[str, Any]:
    return _stream_row(event.stream) | {
        "version": event.version,
        "event_type": event.event_type,
        "event_time": event.event_time,
        "time_given": event.time_given,
        "received_at": now,
        "event_metadata": json.dumps(event.event_metadata),
        "deployment_metadata": json.dumps(event.deployment_metadata),
    }


def _deployment_row(deployment: Deployment) -> dict[str, Any]:
    return _stream_row(deployment.stream) | {
        "id": deployment.id,
        "version": deployment.version,
        "application_name": deployment.application_name,
        "application_kind": deployment.application_kind,
        "version_name": deployment.version_name,
        "started_at": deployment.started_at,
        "start_known": deployment.start_known,
        "ended_at": deployment.ended_at,
        "status": deployment.status,
        "kind": deployment.kind,
        "active": deployment.active,
        "metadata": json.dumps(deployment.metadata),
    }
