"""Group commit: one transaction for all that wait, and no write harms another."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from rollbook.tracker.writer import WriteFailedError, Writer, commit_together, connect


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.db"
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
    connection.close()
    return path


def adds(number: int) -> Callable[[sqlite3.Connection], int]:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        return number

    return work


def fails_after_adding(number: int) -> Callable[[sqlite3.Connection], int]:
    def work(connection: sqlite3.Connection) -> int:
        adds(number)(connection)
        raise LookupError(number)

    return work


def stored(database: Path) -> list[int]:
    connection = sqlite3.connect(database)
    numbers = [row[0] for row in connection.execute("SELECT n FROM numbers ORDER BY rowid")]
    connection.close()
    return numbers


async def test_a_failed_write_is_undone_alone(database: Path) -> None:
    async with Writer(database) as writer:
        outcomes = await asyncio.gather(
            writer.submit(adds(1)),
            writer.submit(fails_after_adding(2)),
            writer.submit(adds(3)),
            return_exceptions=True,
        )
    assert [repr(outcome) for outcome in outcomes] == ["1", "LookupError(2)", "3"]
    assert stored(database) == [1, 3]


async def test_writes_that_wait_share_one_commit(database: Path) -> None:
    commits: list[str] = []
    async with Writer(database) as writer:
        await writer.submit(lambda connection: connection.set_trace_callback(commits.append))
        await asyncio.gather(*(writer.submit(adds(number)) for number in range(100)))
        await writer.submit(lambda connection: connection.set_trace_callback(None))
    # The commit of the first submit, one for the hundred; the last ends after its own tracing.
    assert commits.count("COMMIT") == 2
    assert stored(database) == list(range(100))


async def test_what_waits_at_the_end_is_still_written(database: Path) -> None:
    async with Writer(database) as writer:
        waiting = [asyncio.create_task(writer.submit(adds(number))) for number in range(600)]
        await asyncio.sleep(0)
    assert [await task for task in waiting] == list(range(600))
    assert len(stored(database)) == 600


async def test_a_client_that_went_away_stops_nobody(database: Path) -> None:
    async with Writer(database) as writer:
        gone = asyncio.create_task(writer.submit(adds(1)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await writer.submit(adds(2)) == 2
    assert stored(database) == [1, 2]


def test_a_full_disk_accepts_nothing_of_the_batch_and_later_ones_again(database: Path) -> None:
    connection = connect(database)
    connection.execute("PRAGMA max_page_count = 2")
    outcomes = commit_together(connection, [adds(1), _fills_the_disk])
    after = commit_together(connection, [adds(2)])
    connection.close()
    assert [type(outcome) for outcome in outcomes] == [WriteFailedError, WriteFailedError]
    assert "full" in str(outcomes[0])
    assert after == [2]
    assert stored(database) == [2]


def _fills_the_disk(connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT INTO numbers VALUES (?)", ((number,) for number in range(1000, 9000)))
