"""A real HTTP/1.1 server on a loopback port that records what it hears and misbehaves on request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        """Without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """Every parameter, as text."""
        return dict(parse_qsl(urlsplit(self.target).query))

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Behaviour = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request; the connection is closed after it if the writer is closing."""


def reply(
    status: int, body: object = None, *, headers: Mapping[str, str] | None = None, raw: bytes | None = None
) -> Behaviour:
    """A complete answer: JSON, or `raw` bytes; None is an empty body."""
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}

    async def answer(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Said\r\n".encode())
        writer.writelines(f"{name}: {value}\r\n".encode() for name, value in fields.items())
        writer.write(b"\r\n" + content)

    return answer


def says(raw: bytes) -> Behaviour:
    """These bytes, whatever they are, and the end."""

    async def answer(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.close()

    return answer


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other, a request each."""
    left = iter(behaviours)

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await next(left)(heard, writer)

    return answer


async def drop(_heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Hang up without an answer."""
    writer.close()


async def hang(_heard: Heard, _writer: asyncio.StreamWriter) -> None:
    """Answer never."""
    await asyncio.Event().wait()


def endless(status: int) -> Behaviour:
    """A body that does not end, as fast as it is taken."""

    async def answer(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Said\r\nContent-Type: text/plain\r\n\r\n".encode())
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    return answer


def drip(status: int, *, every: float) -> Behaviour:
    """A head that comes letter by letter, for ever."""

    async def answer(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Said\r\nX-Slow: ".encode())
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(every)

    return answer


@dataclass(slots=True, kw_only=True)
class ApiServer:
    """What the server has heard, and how it answers."""

    port: int = 0
    behaviour: Behaviour = field(default_factory=lambda: reply(500))
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    arrivals: asyncio.Queue[Heard] = field(default_factory=asyncio.Queue)

    @property
    def authority(self) -> str:
        """Host and port, as a Secret lists them."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://{self.authority}"

    async def hears(self, count: int) -> None:
        """Wait for so many more requests to arrive."""
        async with asyncio.timeout(5):
            for _ in range(count):
                await self.arrivals.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Have one connection, to its end."""
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        self.connections += 1
        try:
            await self._converse(reader, writer, self.connections)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side hung up, or the test is over
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while not writer.is_closing():
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request_line, *lines = head.strip().split("\r\n")
            method, target, _ = request_line.split(" ")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            heard = Heard(method=method, target=target, headers=headers, body=body, connection=number)
            self.heard.append(heard)
            self.arrivals.put_nowait(heard)
            await self.behaviour(heard, writer)
            await writer.drain()


@asynccontextmanager
async def running() -> AsyncIterator[ApiServer]:
    """A server while the context lasts; nothing of it is left behind."""
    server = ApiServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
        for task in set(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
