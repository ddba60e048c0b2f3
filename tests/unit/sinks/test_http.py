"""The outbound client: what the conformance suite cannot see from outside."""

import asyncio
import inspect
import socket
import ssl

import httpx
import pytest

from rollbook.core.errors import SinkUnavailable
from rollbook.sinks import http
from rollbook.sinks.endpoint import is_link_local
from rollbook.sinks.http import Auth, HttpClient, Timeouts
from tests.unit.sinks.builders import TOKEN
from tests.unit.sinks.server import ApiServer, drop, hang, in_turn, reply, says

SHORT = Timeouts(connect=0.2, write=0.2, read=0.2, total=0.4, body=0.2)


async def failure(client: HttpClient) -> SinkUnavailable:
    try:
        with pytest.raises(SinkUnavailable) as caught:
            await client.post("/v1/deployments", {}, auth=Auth.BEARER)
    finally:
        await client.close()
    assert TOKEN not in str(caught.value)
    return caught.value


def foreign() -> list[type[Exception]]:
    exported = (getattr(httpx, name) for name in httpx.__all__)
    own = [kind for kind in exported if inspect.isclass(kind) and issubclass(kind, Exception)]
    return [*own, TimeoutError, ssl.SSLError, ConnectionResetError]


def test_httpx_has_the_exceptions_that_we_know_of() -> None:
    assert len(foreign()) > 20


@pytest.mark.parametrize("kind", foreign())
def test_every_exception_of_httpx_is_mapped(kind: type[Exception]) -> None:
    """None gets past the client; the tree of httpx may grow, its roots are what we name."""
    assert issubclass(kind, http._FOREIGN)
    try:
        error = kind("why")
    except TypeError:
        error = kind.__new__(kind)
    assert "a.test" in http._reason(error, "a.test")


async def test_a_refused_connection_is_not_sent(api: ApiServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = taken.getsockname()[1]
        error = await failure(HttpClient(f"http://127.0.0.1:{port}", TOKEN))
    assert not error.sent
    assert str(error).startswith(f"cannot connect to 127.0.0.1:{port}: ")
    assert not api.heard


async def test_a_name_that_cannot_be_resolved_is_not_sent() -> None:
    too_long_to_be_asked_for = ".".join(["a" * 60] * 6)
    error = await failure(HttpClient(f"https://{too_long_to_be_asked_for}", TOKEN))
    assert not error.sent
    assert "cannot connect to" in str(error)


async def test_a_tls_failure_is_not_sent(api: ApiServer) -> None:
    api.behaviour = reply(200)
    port = await _no_tls()
    error = await failure(HttpClient(f"https://127.0.0.1:{port}", TOKEN))
    assert not error.sent
    assert "SSL" in str(error)


async def test_a_tls_handshake_that_does_not_come_is_not_sent() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        error = await failure(HttpClient(f"https://127.0.0.1:{mute.getsockname()[1]}", TOKEN, timeouts=SHORT))
    assert not error.sent
    assert "in time" in str(error)


async def test_no_connection_free_is_not_sent(api: ApiServer) -> None:
    api.behaviour = hang
    client = HttpClient(api.url, TOKEN, timeouts=Timeouts(connect=0.2))
    busy = [asyncio.create_task(client.post("/", {}, auth=Auth.BARE)) for _ in range(http.CONNECTIONS)]
    await api.hears(http.CONNECTIONS)
    with pytest.raises(SinkUnavailable, match="are busy") as caught:
        await client.post("/", {}, auth=Auth.BARE)
    assert not caught.value.sent
    await client.close()
    outcomes = await asyncio.gather(*busy, return_exceptions=True)
    assert all(isinstance(outcome, SinkUnavailable) and outcome.sent for outcome in outcomes)


async def test_a_name_that_leads_to_a_forbidden_address_gets_nothing(api: ApiServer) -> None:
    """Link-local addresses cannot be had in a test; the same look at the peer refuses the loopback here."""
    client = HttpClient(f"http://localhost:{api.port}", TOKEN, forbidden=lambda address: address == "127.0.0.1")
    error = await failure(client)
    assert not error.sent
    assert "leads to 127.0.0.1" in str(error)
    assert not api.heard


async def test_a_peer_that_is_gone_already_gets_nothing() -> None:
    class Gone:
        """What httpcore shows of a socket whose other end hung up at once: no address."""

        closed = False

        def get_extra_info(self, _name: str) -> None:
            return None

        async def aclose(self) -> None:
            self.closed = True

    stream, exchange = Gone(), http._Exchange(is_link_local)
    with pytest.raises(SinkUnavailable, match="lost as soon as") as caught:
        await exchange("connection.connect_tcp.complete", {"return_value": stream})
    assert stream.closed
    assert not caught.value.sent


async def test_a_connection_that_was_dropped_while_idle_is_replaced(api: ApiServer) -> None:
    api.behaviour = in_turn(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), reply(200))
    client = HttpClient(api.url, TOKEN)
    assert (await client.post("/", {}, auth=Auth.BARE)).status == 200
    async with asyncio.timeout(5):
        while api.tasks:
            await asyncio.gather(*api.tasks)
    assert (await client.post("/", {}, auth=Auth.BARE)).status == 200
    assert api.connections == 2
    await client.close()


async def test_no_cookie_is_kept(api: ApiServer) -> None:
    api.behaviour = reply(200, headers={"Set-Cookie": "session=1; Path=/"})
    client = HttpClient(api.url, TOKEN)
    for _ in range(2):
        await client.post("/", {}, auth=Auth.BARE)
    await client.close()
    assert "cookie" not in api.heard[1].headers


async def test_the_endpoint_may_have_a_path_of_its_own(api: ApiServer) -> None:
    api.behaviour = reply(200)
    client = HttpClient(f"{api.url}/behind/a/proxy", TOKEN)
    await client.post("/v1/deployments", {}, auth=Auth.BEARER)
    await client.close()
    assert api.heard[0].path == "/behind/a/proxy/v1/deployments"


async def test_text_that_is_no_unicode_is_sent_all_the_same(api: ApiServer) -> None:
    api.behaviour = reply(200)
    client = HttpClient(api.url, TOKEN)
    await client.post("/", {"message": "half \ud83d a pair"}, auth=Auth.BEARER)
    await client.close()
    assert api.heard[0].json() == {"message": "half \ud83d a pair"}


async def test_what_a_proxy_is_asked_for_first_does_not_count_as_sent(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", api.url)
    for behaviour in (reply(407), drop):
        api.behaviour = behaviour
        error = await failure(HttpClient("https://tracking.test", TOKEN))
        assert not error.sent
    assert {heard.method for heard in api.heard} == {"CONNECT"}
    assert not any("authorization" in heard.headers for heard in api.heard)


async def _no_tls() -> int:
    """The port of a server that answers a TLS greeting with something else, once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()
        listener.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port: int = listener.sockets[0].getsockname()[1]
    return port
