"""The proxy that faults come from passes everything on as it is, unless told otherwise."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.controlplane.api import eventually
from tests.faults.exchange import Cut, Exchange, Moment
from tests.faults.kills import Hit, classify
from tests.faults.proxy import Proxy


class Upstream:
    """Says what it was asked; `/watch` says one line and then nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.watching = 0

    async def echo(self, request: Request) -> Response:
        """Answer with the body."""
        body = (await request.body()).decode()
        self.asked.append(f"{request.method} {request.url.path}?{request.url.query} {body}")
        return JSONResponse({"body": body}, status_code=201)

    async def watch(self, _request: Request) -> Response:
        """Answer without an end."""
        return StreamingResponse(self._lines())

    async def _lines(self) -> AsyncIterator[str]:
        self.watching += 1
        try:
            yield "one\n"
            await asyncio.sleep(60)
        finally:
            self.watching -= 1

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL."""
        routes = [
            Route("/watch", self.watch),
            Route("/{path:path}", self.echo, methods=["GET", "POST", "PATCH"]),
        ]
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    with upstream.serving() as url, Proxy(url) as proxy:
        yield proxy


def test_requests_and_answers_pass_unchanged_and_are_remembered(proxy: Proxy, upstream: Upstream) -> None:
    with httpx.Client(base_url=proxy.url) as client:
        answers = [client.post("/things", params={"a": "1"}, content="x" * size) for size in (1, 200_000)]
    assert [(answer.status_code, len(answer.json()["body"])) for answer in answers] == [(201, 1), (201, 200_000)]
    assert upstream.asked[0] == "POST /things?a=1 x"
    first = proxy.exchanges[0]
    assert (first.method, first.path, first.body, first.status) == ("POST", "/things", b"x", 201)
    assert first.forwarded is not None
    assert first.answered is not None
    assert first.delivered is not None
    assert first.received <= first.forwarded <= first.answered <= first.delivered


def test_a_watch_is_streamed_and_ends_with_its_client(proxy: Proxy, upstream: Upstream) -> None:
    with httpx.Client(base_url=proxy.url) as client, client.stream("GET", "/watch") as answer:
        assert next(answer.iter_lines()) == "one"
        assert upstream.watching == 1
    eventually(lambda: upstream.watching == proxy.connections == 0)


@pytest.mark.parametrize(("moment", "arrives"), [(Moment.RECEIVED, False), (Moment.ANSWERED, True)])
def test_a_cut_connection_loses_the_request_or_only_its_answer(
    proxy: Proxy, upstream: Upstream, moment: Moment, *, arrives: bool
) -> None:
    def cut(_exchange: Exchange, now: Moment) -> float:
        if now is moment:
            raise Cut
        return 0.0

    proxy.hook = cut
    with httpx.Client(base_url=proxy.url) as client, pytest.raises(httpx.RemoteProtocolError):
        client.post("/things")
    assert bool(upstream.asked) is arrives
    assert proxy.exchanges[0].delivered is None


def test_what_a_client_has_sent_arrives_though_it_dies(proxy: Proxy, upstream: Upstream) -> None:
    proxy.hook = lambda _exchange, moment: 0.2 if moment is Moment.RECEIVED else 0.0
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /last HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nword")
        eventually(lambda: proxy.exchanges)
    eventually(lambda: upstream.asked == ["POST /last? word"])


def exchange(path: str, body: dict[str, object], *times: float, method: str = "POST") -> Exchange:
    """Received, answered, delivered at these times, as far as it came."""
    received, answered, delivered = (*times, None, None)[:3]
    assert received is not None
    return Exchange(
        method=method,
        target=path,
        body=json.dumps(body).encode(),
        received=received,
        forwarded=received,
        answered=answered,
        delivered=delivered,
    )


def slot_write(undelivered: int, *times: float) -> Exchange:
    """The creation of the slot of `shop/web/web`."""
    spec = {"namespace": "shop", "workload": {"name": "web"}, "container": "web"}
    body = {"metadata": {"name": "shop-web-web-1"}, "spec": spec, "status": {"undelivered": undelivered}}
    return exchange("/apis/rollbook.dev/v1alpha1/namespaces/x/environmentslots", body, *times)


def record(*times: float) -> Exchange:
    return exchange("/v1/deployments", {"deployment_name": "shop/web/web"}, *times)


@pytest.mark.parametrize(
    ("asked", "hit"),
    [
        ([], Hit.BEFORE),
        ([slot_write(1, 1.0)], Hit.SLOT_SENT),
        ([slot_write(1, 1.0, 9.5)], Hit.SLOT_SENT),
        ([slot_write(1, 1.0, 1.1)], Hit.SLOT_TAKEN),
        ([slot_write(1, 1.0, 1.1, 9.5)], Hit.SLOT_TAKEN),
        ([slot_write(1, 1.0, 1.1, 1.2)], Hit.WRITTEN),
        ([slot_write(1, 1.0, 1.1, 1.2), record(2.0)], Hit.POST_SENT),
        ([slot_write(1, 1.0, 1.1, 1.2), record(2.0, 2.1)], Hit.POST_TAKEN),
        ([slot_write(1, 1.0, 1.1, 1.2), record(2.0, 2.1, 2.2)], Hit.TOLD),
        ([slot_write(1, 1.0, 1.1, 1.2), record(2.0, 2.1, 2.2), slot_write(0, 3.0, 3.1, 3.2)], Hit.SETTLED),
        ([slot_write(0, -2.0, -1.9, -1.8)], Hit.BEFORE),
        ([slot_write(1, 0.1, 0.2, 0.3), record(0.4, 0.5)], Hit.TOLD),
    ],
)
def test_a_kill_is_called_by_what_it_hit(asked: list[Exchange], hit: Hit) -> None:
    assert classify(asked, step=0.0, life=0.8, killed=9.0) is hit
