"""An HTTP proxy in a thread of its own, between a client and one upstream.

    with Proxy("http://127.0.0.1:8484") as proxy:
        proxy.hook = lambda exchange, moment: 0.03 if moment is Moment.ANSWERED else 0.0
        ...  # the client talks to proxy.url
        proxy.exchanges  # what came by

Clients speak plain HTTP to it, also where the upstream is https. What has come in whole reaches the upstream even
if the client dies meanwhile, as a request does that is on its way. Watches are streamed.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import h11

from tests.faults.exchange import Cut, Exchange, Hook, Moment, let_pass

_CHUNK: Final = 65536
_LOOK_FOR_CLIENT: Final = 0.1
"""Seconds between two looks whether the client of a silent stream is still there."""

_BROKEN: Final = (OSError, h11.ProtocolError, Cut)


class Proxy:
    """Between one client and one upstream.

    Args:
        upstream: URL without a path.
        ca: The certificate to trust where that is https.

    Attributes:
        exchanges: All that came by, oldest first.
        hook: Steps in at each moment of each exchange.
    """

    def __init__(self, upstream: str, *, ca: Path | None = None) -> None:
        self._upstream = urlsplit(upstream)
        self._tls = ssl.create_default_context(cafile=ca) if self._upstream.scheme == "https" else None
        self.exchanges: list[Exchange] = []
        self.hook: Hook = let_pass
        self.url = ""
        self._open: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=f"proxy of {upstream}")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the proxy did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def connections(self) -> int:
        """How many clients' connections are open."""
        return len(self._open)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connection(_Peer(reader, writer, h11.SERVER)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _connection(self, client: "_Peer") -> None:
        """Serve one client's connection, with one of our own to the upstream."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(client.close)
            stack.enter_context(contextlib.suppress(*_BROKEN))
            upstream: _Peer | None = None
            while request := await client.request():
                if upstream is None or not upstream.reusable():
                    upstream = await self._connect()
                    stack.push_async_callback(upstream.close)
                await self._exchange(client, upstream, *request)
                if not client.reusable():
                    return

    async def _connect(self) -> "_Peer":
        port = self._upstream.port or 443
        reader, writer = await asyncio.open_connection(self._upstream.hostname, port, ssl=self._tls)
        return _Peer(reader, writer, h11.CLIENT)

    async def _exchange(self, client: "_Peer", upstream: "_Peer", request: h11.Request, body: bytes) -> None:
        exchange = Exchange(
            method=request.method.decode(), target=request.target.decode(), body=body, received=time.monotonic()
        )
        self.exchanges.append(exchange)
        await self._reach(exchange, Moment.RECEIVED)
        exchange.forwarded = time.monotonic()
        await upstream.send(request, h11.Data(data=body), h11.EndOfMessage())
        response = await upstream.response()
        exchange.status = response.status_code
        await self._reach(exchange, Moment.ANSWERED)
        await client.send(response)
        async for data in upstream.body(client):
            await client.send(data)
        await client.send(h11.EndOfMessage())
        await self._reach(exchange, Moment.DELIVERED)

    async def _reach(self, exchange: Exchange, moment: Moment) -> None:
        exchange.reach(moment)
        if hold := self.hook(exchange, moment):
            await asyncio.sleep(hold)


class _Peer:
    """One end of a connection, in HTTP/1.1."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: type[h11.CLIENT | h11.SERVER]
    ) -> None:
        self._reader, self._writer = reader, writer
        self._state = h11.Connection(role, max_incomplete_event_size=_CHUNK)

    @property
    def gone(self) -> bool:
        """Whether it has closed its side, or died: then what it had not read comes back as a reset."""
        return self._reader.at_eof() or self._reader.exception() is not None or self._writer.is_closing()

    def reusable(self) -> bool:
        """Whether another exchange may follow; then the connection is ready for it."""
        if (self._state.our_state, self._state.their_state) == (h11.DONE, h11.DONE):
            self._state.start_next_cycle()
        return self._state.our_state is h11.IDLE and not self.gone

    async def request(self) -> tuple[h11.Request, bytes] | None:
        """The next request with its body; None when the client has closed."""
        event, body = await self._next(), b""
        if not isinstance(event, h11.Request):
            return None
        request = event
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
        return request, body

    async def response(self) -> h11.Response:
        """The head of the answer."""
        while not isinstance(event := await self._next(), h11.Response):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the upstream has closed the connection")
        return event

    async def body(self, client: "_Peer") -> AsyncIterator[h11.Data]:
        """The pieces of the answer, as long as the client is there to take them."""
        while not isinstance(event := await self._next(client), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            yield event

    async def _next(self, client: "_Peer | None" = None) -> h11.Event:
        while True:
            event = self._state.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise h11.LocalProtocolError("the peer is ahead of us")
            self._state.receive_data(await self._read(client))

    async def _read(self, client: "_Peer | None") -> bytes:
        while client is not None:
            try:
                return await asyncio.wait_for(self._reader.read(_CHUNK), _LOOK_FOR_CLIENT)
            except TimeoutError:
                if client.gone:
                    raise ConnectionResetError("the client is gone") from None
        return await self._reader.read(_CHUNK)

    async def send(self, *events: h11.Event) -> None:
        """Send events of our side."""
        for event in events:
            if data := self._state.send(event):
                self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Close at once; nobody waits for what is still unsent."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
