"""What holds for every test: no task is left behind, and a random test can be repeated."""

import asyncio
import inspect
import secrets
import signal
from collections.abc import AsyncIterator

import pytest

pytest_plugins = ["tests.controlplane.plugin"]

_TURNS_TO_END = 10
"""Turns of the loop granted to tasks that are just ending, as asyncio's own that close dropped generators."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give hypothesis a seed that can be printed: its own is not shown when a test fails oddly."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(secrets.randbits(32))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a shell; processes that tests start would inherit it and could not be stopped.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat this run's random tests."""
    return f"hypothesis: repeat with --hypothesis-seed={config.option.hypothesis_seed}"


@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """Fail an asynchronous test that leaves asyncio tasks behind; synchronous tests get no event loop."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_watch_tasks")


@pytest.fixture
async def _watch_tasks() -> AsyncIterator[None]:
    # requested by an autouse fixture, so it is set up before the test's own fixtures and torn down after them
    yield
    for _ in range(_TURNS_TO_END):
        if not (left := asyncio.all_tasks() - {asyncio.current_task()}):
            return
        await asyncio.sleep(0)
    pytest.fail("the test left asyncio tasks behind:\n" + "\n".join(sorted(repr(task) for task in left)))
