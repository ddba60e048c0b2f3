"""The operator's own pages."""

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from rollbook import metrics
from rollbook.core.errors import ConfigError
from rollbook.operator.probes import Readiness, serving

LOOPBACK = "127.0.0.1"


class Pages:
    """The pages, served."""

    def __init__(self) -> None:
        self.readiness = Readiness()
        self.refreshed = 0
        self.port = 0

    def refresh(self) -> None:
        """Set the gauges."""
        self.refreshed += 1

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{LOOPBACK}:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    made = Pages()
    async with serving(LOOPBACK, 0, made.readiness, made.refresh) as port:
        made.port = port
        yield made


async def test_alive_means_that_it_answers(pages: Pages) -> None:
    assert await pages.get("/healthz") == (200, "ok\n")


async def test_ready_says_how_far_it_has_got(pages: Pages) -> None:
    assert await pages.get("/readyz") == (503, "starting\n")
    pages.readiness.phase, pages.readiness.ready = "standby", True
    assert await pages.get("/readyz") == (200, "standby\n")


async def test_the_gauges_are_set_for_each_scrape_only(pages: Pages) -> None:
    await pages.get("/healthz")
    assert pages.refreshed == 0
    metrics.SLOTS.set(7)
    status, text = await pages.get("/metrics")
    assert (status, pages.refreshed) == (200, 1)
    assert "rollbook_slots 7.0" in text


async def test_there_is_nothing_else(pages: Pages) -> None:
    assert (await pages.get("/"))[0] == 404


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"ROLLBOOK_LISTEN_HOST/PORT {LOOPBACK}:{port}: "):
            async with serving(LOOPBACK, port, Readiness(), lambda: None):
                raise AssertionError("it must not serve")


async def test_the_port_is_free_again_in_the_end() -> None:
    async with serving(LOOPBACK, 0, Readiness(), lambda: None) as port:
        pass
    async with serving(LOOPBACK, port, Readiness(), lambda: None) as again:
        assert again == port
