"""Fixtures of the sinks' tests: a server of the test's own, and no traces of the machine's."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.unit.sinks import server
from tests.unit.sinks.server import ApiServer


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ApiServer]:
    """A tracking API."""
    async with server.running() as running:
        yield running


@pytest_asyncio.fixture
async def elsewhere() -> AsyncIterator[ApiServer]:
    """Another host, where nothing may be sent."""
    async with server.running() as running:
        yield running
