"""The tracker's tables, and the step that makes them.

Every row has a `sequence` given by the one writer: it, not a clock, is the order of things.
Times are epoch milliseconds. The rules that a bug in a decision must not break are indexes here: at most one
DEPLOYED record per slot, at most one active deployment per stream, no event twice.
"""

from typing import Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    select,
    text,
)

SCHEMA_VERSION: Final = 1
"""Raised with every change of a table, for migrations to start from."""

metadata: Final = MetaData()

schema_version: Final = Table("schema_version", metadata, Column("version", Integer, nullable=False))

records: Final = Table(
    "chainloop_records",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("environment_name", Text, nullable=False),
    Column("deployment_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("artifact_name", Text, nullable=False),
    Column("artifact_version", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("last_seen_at", Integer, nullable=False),
    CheckConstraint("status IN ('DEPLOYED', 'SUPERSEDED', 'DECOMMISSIONED')", name="record_status"),
)
Index(
    "one_deployed_per_slot",
    records.c.environment_name,
    records.c.deployment_name,
    records.c.kind,
    unique=True,
    sqlite_where=text("status = 'DEPLOYED'"),
)
Index(
    "records_of_slot",
    records.c.deployment_name,
    records.c.kind,
    records.c.environment_name,
    records.c.sequence,
)

deployments: Final = Table(
    "launchdarkly_deployments",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("project_key", Text, nullable=False),
    Column("environment_key", Text, nullable=False),
    Column("application_key", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("application_name", Text, nullable=False),
    Column("application_kind", Text, nullable=False),
    Column("version_name", Text, nullable=False),
    Column("started_at", Integer, nullable=False),
    Column("start_known", Boolean, nullable=False),
    Column("ended_at", Integer),
    Column("status", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("metadata", Text, nullable=False),
)
Index(
    "deployments_of_version",
    deployments.c.project_key,
    deployments.c.environment_key,
    deployments.c.application_key,
    deployments.c.version,
    deployments.c.sequence,
)
Index(
    "one_active_per_stream",
    deployments.c.project_key,
    deployments.c.environment_key,
    deployments.c.application_key,
    unique=True,
    sqlite_where=text("active = 1"),
)
# Every column that the list filters by: it is counted and ordered without a look at the table.
Index(
    "deployments_by_start",
    deployments.c.project_key,
    deployments.c.environment_key,
    deployments.c.started_at,
    deployments.c.id,
    deployments.c.status,
    deployments.c.kind,
)
Index(
    "deployments_of_application",
    deployments.c.project_key,
    deployments.c.environment_key,
    deployments.c.application_key,
    deployments.c.started_at,
    deployments.c.id,
)

events: Final = Table(
    "launchdarkly_events",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("deployment_sequence", Integer, ForeignKey(deployments.c.sequence)),
    Column("project_key", Text, nullable=False),
    Column("environment_key", Text, nullable=False),
    Column("application_key", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("event_time", Integer, nullable=False),
    Column("time_given", Boolean, nullable=False),
    Column("received_at", Integer, nullable=False),
    Column("event_metadata", Text, nullable=False),
    Column("deployment_metadata", Text, nullable=False),
)
Index(
    "no_event_twice",
    events.c.project_key,
    events.c.environment_key,
    events.c.application_key,
    events.c.version,
    events.c.event_type,
    events.c.event_time,
    unique=True,
    sqlite_where=text("time_given = 1"),
)
Index("events_of_deployment", events.c.deployment_sequence, events.c.sequence)


class SchemaTooNewError(Exception):
    """The database was written by a newer tracker than this one."""


def prepare(connection: Connection) -> None:
    """Make what is missing, and refuse what a newer tracker wrote.

    Raises:
        SchemaTooNewError: The file's schema version is above `SCHEMA_VERSION`.
    """
    metadata.create_all(connection)
    found = connection.scalar(select(schema_version.c.version))
    if found is None:
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    elif found > SCHEMA_VERSION:
        raise SchemaTooNewError(f"the database has schema {found}, this tracker knows {SCHEMA_VERSION}")
