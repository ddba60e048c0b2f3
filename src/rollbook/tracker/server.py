"""The tracker as a process of its own (`serve`), or as a guest in another one (`running`).

Nothing is logged per request and no logging is configured here: what uvicorn has to say goes, from WARNING
on, through the standard library's loggers to whatever the process has set up.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from rollbook.tracker.app import build_app
from rollbook.tracker.settings import Token, TrackerConfigError, TrackerSettings, load_token
from rollbook.tracker.store import Store, open_store
from rollbook.tracker.tables import SchemaTooNewError

logger = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 10
"""How long a stop waits for requests in flight."""

_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than usual clients keep an idle connection: they close it, so no request meets a closing one."""

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTracker:
    """A tracker that takes requests.

    Attributes:
        url: Where, without a slash at the end.
        token: What opens it.
        server: Ends when the server does.
    """

    url: str
    token: Token
    server: asyncio.Task[None]


async def serve(settings: TrackerSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight and return.

    Raises:
        TrackerConfigError: It can not start: token file, database or address.
    """
    async with running(settings) as tracker:
        logger.info("the tracker listens on %s", tracker.url)
        if tracker.token.generated:
            logger.info("a token was generated, it lies in %s", tracker.token.path)
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        waiting = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({waiting, tracker.server}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)


@asynccontextmanager
async def running(settings: TrackerSettings) -> AsyncIterator[RunningTracker]:
    """Serve for as long as the context lasts; signals are the host's affair.

    Raises:
        TrackerConfigError: It can not start: token file, database or address.
    """
    token = load_token(settings)
    async with AsyncExitStack() as stack:
        store = await _opened(stack, settings)
        listener = stack.enter_context(_listen(settings))
        server = _Server(_uvicorn_config(store, token.value, public_page=settings.public_page))
        task = asyncio.create_task(server.serve(sockets=[listener]), name="tracker-server")
        try:
            yield RunningTracker(url=_url(listener), token=token, server=task)
        finally:
            server.should_exit = True
            await task


class _Server(uvicorn.Server):
    """Leaves the process's signal handlers alone: it may share the process with an operator."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        yield


def _uvicorn_config(store: Store, token: str, *, public_page: bool) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(store, token, public_page=public_page),
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


async def _opened(stack: AsyncExitStack, settings: TrackerSettings) -> Store:
    try:
        return await stack.enter_async_context(open_store(settings.database))
    except (OSError, SQLAlchemyError, SchemaTooNewError) as error:
        raise TrackerConfigError(f"database {settings.database}: {error}") from error


def _listen(settings: TrackerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise TrackerConfigError(f"address {settings.host}:{settings.port}: {error}") from error
    # Inherited by what it accepts. asyncio sets it only on sockets that it made itself; without it an answer
    # in two segments waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
