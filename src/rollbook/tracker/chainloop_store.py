"""Chainloop's records in the database: one report in a transaction, and what can be read."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from rollbook.tracker.chainloop_records import Record, Report, Slot, decide
from rollbook.tracker.statements import compiled
from rollbook.tracker.tables import records

_SLOT_COLUMNS: Final = (records.c.environment_name, records.c.deployment_name, records.c.kind)
_OF_SLOT: Final = and_(*(column == bindparam(column.key) for column in _SLOT_COLUMNS))
# A literal, so that SQLite sees that the partial index answers this.
_IS_DEPLOYED: Final = records.c.status == literal_column("'DEPLOYED'")

_CURRENT: Final = compiled(select(records).where(_OF_SLOT, _IS_DEPLOYED))
_KNOWN: Final = compiled(
    select(records).where(_OF_SLOT, records.c.digest == bindparam("digest")).order_by(records.c.sequence.desc())
)
_INSERT: Final = compiled(
    insert(records).values({c.key: bindparam(c.key) for c in records.c if c.key != "sequence"})
)
_CHANGING: Final = ("status", "artifact_name", "artifact_version", "updated_at", "last_seen_at")
_UPDATE: Final = compiled(
    update(records)
    .where(records.c.sequence == bindparam("of_sequence"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGING})
)


class UnknownRecordError(Exception):
    """The slot has never held the artifact that is said to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """What to list; empty means any."""

    environment_name: str = ""
    deployment_name: str = ""
    kind: str = ""
    status: str = ""


def apply_report(connection: sqlite3.Connection, report: Report, *, now: int, new_id: str) -> Record:
    """Read the slot, decide, write; within the caller's transaction.

    Raises:
        UnknownRecordError: A DECOMMISSIONED for an artifact that the slot has never held.
    """
    slot = {
        "environment_name": report.slot.environment_name,
        "deployment_name": report.slot.deployment_name,
        "kind": report.slot.kind,
    }
    current = _first(connection.execute(_CURRENT, slot))
    known = None
    if report.status != "DEPLOYED":
        known = _first(connection.execute(_KNOWN, slot | {"digest": report.digest}))
    decision = decide(report, current=current, known=known, now=now, new_id=new_id)
    for record in decision.updates:
        connection.execute(_UPDATE, _changes(record))
    if decision.insert is not None:
        connection.execute(_INSERT, slot | _row(decision.insert))
    if decision.answer is None:
        raise UnknownRecordError(f"{report.digest} has never been recorded in this environment slot")
    return decision.answer


async def list_records(
    connection: AsyncConnection, wanted: RecordFilter, *, offset: int, limit: int
) -> tuple[int, list[Record]]:
    """Count the matching records, and read one page of them, newest first."""
    conditions = _conditions(wanted)
    total = await connection.scalar(select(func.count()).select_from(records).where(*conditions))
    page = select(records).where(*conditions).order_by(records.c.sequence.desc()).limit(limit).offset(offset)
    return total or 0, await _read(connection, page)


async def all_records(connection: AsyncConnection) -> list[Record]:
    """Every record, in the order of creation."""
    return await _read(connection, select(records).order_by(records.c.sequence))


async def records_of_slot(connection: AsyncConnection, slot: Slot) -> list[Record]:
    """The slot's records, newest first."""
    wanted = RecordFilter(
        environment_name=slot.environment_name, deployment_name=slot.deployment_name, kind=slot.kind
    )
    return await _read(connection, select(records).where(*_conditions(wanted)).order_by(records.c.sequence.desc()))


async def latest_records(
    connection: AsyncConnection, *, containing: str, offset: int, names: int
) -> tuple[int, list[Record]]:
    """Count the deployment names that contain a text, and read the latest record of each slot of some of them.

    Args:
        connection: Where to read.
        containing: Part of a deployment name, any case; empty for all.
        offset: Names to skip, in alphabetical order.
        names: Names to read.
    """
    of_names = select(records.c.deployment_name).distinct()
    if containing:
        of_names = of_names.where(records.c.deployment_name.icontains(containing, autoescape=True))
    total = await connection.scalar(select(func.count()).select_from(of_names.subquery()))
    page = of_names.order_by(records.c.deployment_name).limit(names).offset(offset)
    latest = (
        select(func.max(records.c.sequence))
        .where(records.c.deployment_name.in_(page))
        .group_by(records.c.deployment_name, records.c.kind, records.c.environment_name)
    )
    order = (records.c.deployment_name, records.c.kind, records.c.environment_name)
    return total or 0, await _read(
        connection, select(records).where(records.c.sequence.in_(latest)).order_by(*order)
    )


async def _read(connection: AsyncConnection, query: Select[Any]) -> list[Record]:
    return [_record(row) for row in await connection.execute(query)]


def _conditions(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    pairs: Mapping[ColumnElement[str], str] = {
        records.c.environment_name: wanted.environment_name,
        records.c.deployment_name: wanted.deployment_name,
        records.c.kind: wanted.kind,
        records.c.status: wanted.status,
    }
    return [column == value for column, value in pairs.items() if value]


def _first(rows: Iterable[tuple[Any, ...]]) -> Record | None:
    row = next(iter(rows), None)
    return None if row is None else _record(row)


def _record(row: Sequence[Any]) -> Record:
    """Map a row, by the order of the table's columns."""
    sequence, key, environment, deployment, kind, digest, name, version, status, created, updated, seen = row
    return Record(
        sequence=sequence,
        id=key,
        slot=Slot(environment_name=environment, deployment_name=deployment, kind=kind),
        digest=digest,
        artifact_name=name,
        artifact_version=version,
        status=status,
        created_at=created,
        updated_at=updated,
        last_seen_at=seen,
    )


def _row(record: Record) -> dict[str, str | int]:
    return {
        "id": record.id,
        "digest": record.digest,
        "artifact_name": record.artifact_name,
        "artifact_version": record.artifact_version,
        "status": record.status,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "last_seen_at": record.last_seen_at,
    }


def _changes(record: Record) -> dict[str, str | int]:
    return {"of_sequence": record.sequence} | {f"new_{name}": getattr(record, name) for name in _CHANGING}
