"""The operator's own pages: /healthz (alive), /readyz (in sync, or a standby), /metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from rollbook import metrics
from rollbook.core.errors import ConfigError


@dataclass(slots=True)
class Readiness:
    """How far the start has got."""

    phase: str = "starting"
    ready: bool = False


@asynccontextmanager
async def serving(host: str, port: int, readiness: Readiness, refresh: Callable[[], None]) -> AsyncIterator[int]:
    """Serve for as long as the context lasts; yields the port. `refresh` sets the gauges before a scrape.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text=f"{readiness.phase}\n", status=200 if readiness.ready else 503)

    async def exposition(_: web.Request) -> web.Response:
        refresh()
        return web.Response(body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"ROLLBOOK_LISTEN_HOST/PORT {host}:{port}: {error}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
