"""The tracker's memory: writes through the one writer, reads beside it."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from rollbook.tracker.chainloop_records import Record, Report
from rollbook.tracker.chainloop_store import apply_report
from rollbook.tracker.launchdarkly_state import Event
from rollbook.tracker.launchdarkly_store import apply_event
from rollbook.tracker.tables import prepare
from rollbook.tracker.writer import Writer


def now_ms() -> int:
    """The wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Store:
    """What was accepted, on disk before the caller hears of it. Made by `open_store`."""

    def __init__(self, writer: Writer, engine: AsyncEngine) -> None:
        self._writer = writer
        self._engine = engine

    async def record(self, report: Report) -> Record:
        """Apply a report of what is deployed in a slot.

        Raises:
            UnknownRecordError: It ends what was never there.
            WriteFailedError: The database refused; nothing was accepted.
        """
        return await self._writer.submit(partial(apply_report, report=report, now=now_ms(), new_id=_new_id()))

    async def take_in(self, deployment_event: Event) -> None:
        """Apply a rollout event.

        Raises:
            WriteFailedError: The database refused; nothing was accepted.
        """
        await self._writer.submit(partial(apply_event, event=deployment_event, now=now_ms(), new_id=_new_id()))

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees one consistent state of all that was accepted before."""
        return self._engine.connect()


@asynccontextmanager
async def open_store(database: Path) -> AsyncIterator[Store]:
    """Open or make the database file.

    Raises:
        SchemaTooNewError: A newer tracker wrote it.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}", pool_size=4)
    try:
        async with engine.connect() as connection:
            # Kept in the file: readers never wait for the writer, nor the writer for them.
            await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        async with engine.begin() as connection:
            await connection.run_sync(prepare)
        event.listen(engine.sync_engine, "begin", _only_read)
        async with Writer(database) as writer:
            yield Store(writer, engine)
    finally:
        await engine.dispose()


def _only_read(connection: Connection) -> None:
    """Begin for real (the driver begins at the first write only), and bar every write."""
    connection.exec_driver_sql("PRAGMA query_only = ON")
    connection.exec_driver_sql("BEGIN")


def _new_id() -> str:
    return str(uuid.uuid4())
