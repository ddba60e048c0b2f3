"""The one writer of the database: group commit.

Every write waits in a line. A single thread takes all that wait, runs them in one transaction, each in a
savepoint of its own, commits once (`synchronous=FULL`: on disk before anybody is answered) and answers them
all. So an idle tracker adds no delay, a busy one pays for one sync per batch, and one refused write does
not harm its neighbours.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

BATCH_LIMIT: Final = 256
"""Writes per transaction. At some 30 µs each this keeps the wait of the first one below 10 ms."""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]


class WriteFailedError(Exception):
    """The transaction could not be committed: nothing of it was accepted, and it can be sent again."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    work: Work
    answer: asyncio.Future[Any]


class Writer:
    """Runs writes in the order of submission. Use it as an async context manager."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._line: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracker-writer")
        self._connection: sqlite3.Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the connection in the writer's thread and begin."""
        loop = asyncio.get_running_loop()
        self._connection = await loop.run_in_executor(self._thread, connect, self._database)
        self._task = asyncio.create_task(self._run(self._connection), name="tracker-writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what waits, then close."""
        self._line.put_nowait(None)
        if self._task is not None:
            await self._task
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction and return its result once that is on disk.

        Raises:
            WriteFailedError: The commit failed.
            Exception: What `work` itself raised; its own changes are undone.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._line.put_nowait(_Waiting(work, answer))
        return await answer

    async def _run(self, connection: sqlite3.Connection) -> None:
        loop = asyncio.get_running_loop()
        while batch := await self._next_batch():
            works = [waiting.work for waiting in batch]
            outcomes = await loop.run_in_executor(self._thread, commit_together, connection, works)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _answer(waiting.answer, outcome)

    async def _next_batch(self) -> list[_Waiting]:
        """All that wait, at least one; empty at the end of the line."""
        first = await self._line.get()
        batch = [] if first is None else [first]
        while batch and len(batch) < BATCH_LIMIT and not self._line.empty():
            waiting = self._line.get_nowait()
            if waiting is None:
                self._line.put_nowait(None)
                break
            batch.append(waiting)
        return batch


def connect(database: Path) -> sqlite3.Connection:
    """Open a connection for writing, with transactions under our own control."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=5, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -32768")
    return connection


def commit_together(connection: sqlite3.Connection, works: Sequence[Work]) -> list[Any]:
    """Run all in one transaction; an outcome is a result or the exception to raise for it."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_in_savepoint(connection, work) for work in works]
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        failure = WriteFailedError(str(error))
        return [failure] * len(works)
    return outcomes


def _in_savepoint(connection: sqlite3.Connection, work: Work) -> Any:
    connection.execute("SAVEPOINT one")
    try:
        result = work(connection)
    except sqlite3.OperationalError:  # the disk, not the work: nobody's write can be trusted now
        raise
    except Exception as error:  # noqa: BLE001  it belongs to the one who submitted this work, and is raised there
        connection.execute("ROLLBACK TO one")
        result = error
    connection.execute("RELEASE one")
    return result


def _answer(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # its client went away; what was accepted stays accepted
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
