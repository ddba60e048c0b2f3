"""What every sink must do, against a real HTTP server: one body of tests, every sink."""

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rollbook.core.errors import SinkError, SinkRejected, SinkUnauthorized, SinkUnavailable
from rollbook.delivery import Sink
from tests.unit.sinks.builders import TOKEN
from tests.unit.sinks.cases import CASES, SHORT, Case
from tests.unit.sinks.server import (
    ApiServer,
    Behaviour,
    Heard,
    drip,
    drop,
    endless,
    hang,
    in_turn,
    reply,
    says,
)

every_sink = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])

CHAINLOOP_ERROR = {"code": 404, "reason": "not found", "message": "environment not found", "metadata": {}}
GRPC_ERROR = {"code": 5, "message": "environment not found", "details": []}
LAUNCHDARKLY_ERROR = {"code": "not_found", "message": "environment not found"}


@asynccontextmanager
async def ready(case: Case, api: ApiServer, **options: Any) -> AsyncIterator[Sink]:
    sink = case.sink(api, **options)
    try:
        yield sink
    finally:
        await sink.close()


async def refusal(case: Case, api: ApiServer, behaviour: Behaviour, **options: Any) -> SinkError:
    """What the sink raises when the API behaves so."""
    api.behaviour = behaviour
    async with ready(case, api, **options) as sink:
        with pytest.raises(SinkError) as caught:
            await sink.deliver(case.delivery)
    error = caught.value
    message = str(error)
    assert TOKEN not in message
    assert len(message) <= 300
    assert message.isprintable()
    assert error.__cause__ is None
    assert error.__context__ is None, "a traceback would show foreign text"
    return error


@every_sink
async def test_the_request_is_exactly_the_documented_one(case: Case, api: ApiServer) -> None:
    api.behaviour = case.accepts
    async with ready(case, api) as sink:
        assert await sink.deliver(case.delivery) == case.returns
    (heard,) = api.heard
    assert (heard.method, heard.target) == ("POST", case.path)
    assert heard.json() == case.body
    assert {name: heard.headers.get(name) for name in case.headers} == case.headers
    assert not case.absent & heard.headers.keys()
    assert heard.headers["user-agent"].startswith("rollbook/")
    assert heard.headers["accept-encoding"] == "identity"


@every_sink
@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_success_is_accepted_whatever_its_body(case: Case, api: ApiServer, status: int) -> None:
    bodies = [b"", b"{}", b"null", b"[]", b"ok", b'{"deployment_record": 3}', b"[" * 60000]
    api.behaviour = in_turn(*(reply(status, raw=b"" if status == 204 else body) for body in bodies))
    async with ready(case, api) as sink:
        for _ in bodies:
            assert await sink.deliver(case.delivery) == case.returns
    assert len(api.heard) == len(bodies)


@every_sink
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_credential_stops_the_sink(case: Case, api: ApiServer, status: int) -> None:
    error = await refusal(case, api, reply(status, {"message": "Invalid access token"}))
    assert type(error) is SinkUnauthorized
    assert "Invalid access token" in str(error)


@every_sink
@pytest.mark.parametrize("status", [400, 402, 404, 405, 410, 411, 412, 413, 415, 418, 422, 431, 451])
async def test_another_refusal_parks_the_delivery(case: Case, api: ApiServer, status: int) -> None:
    error = await refusal(case, api, reply(status, LAUNCHDARKLY_ERROR))
    assert type(error) is SinkRejected
    assert str(status) in str(error)
    assert "environment not found" in str(error)


@every_sink
@pytest.mark.parametrize("status", [408, 425, 503])
async def test_not_now_is_tried_again(case: Case, api: ApiServer, status: int) -> None:
    error = await refusal(case, api, reply(status, {"message": "soon"}))
    assert type(error) is SinkUnavailable
    assert (error.sent, error.retry_after) == (False, None)


@every_sink
@pytest.mark.parametrize("status", [499, 500, 501, 502, 504, 520, 599])
async def test_a_failure_of_theirs_leaves_the_effect_unknown(case: Case, api: ApiServer, status: int) -> None:
    error = await refusal(case, api, reply(status, {"message": "oops"}))
    assert type(error) is SinkUnavailable
    assert error.sent


@every_sink
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed_in_both_forms(case: Case, api: ApiServer, status: int) -> None:
    error = await refusal(case, api, reply(status, headers={"Retry-After": "7"}))
    assert isinstance(error, SinkUnavailable)
    assert error.retry_after == 7
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    error = await refusal(case, api, reply(status, headers={"Retry-After": date}))
    assert isinstance(error, SinkUnavailable)
    assert error.retry_after is not None
    assert 50 < error.retry_after <= 60


@every_sink
@pytest.mark.parametrize("header", ["X-Ratelimit-Reset", "X-Ratelimit-Auth-Token-Reset"])
async def test_a_reset_is_in_epoch_milliseconds(case: Case, api: ApiServer, header: str) -> None:
    reset = str(int((time.time() + 8) * 1000))
    error = await refusal(case, api, reply(429, headers={header: reset}))
    assert isinstance(error, SinkUnavailable)
    assert error.retry_after is not None
    assert 5 < error.retry_after <= 8
    assert not error.sent


@every_sink
async def test_a_limit_that_tells_no_time_means_ten_seconds(case: Case, api: ApiServer) -> None:
    error = await refusal(case, api, reply(429, {"code": "rate_limited", "message": "too many"}))
    assert isinstance(error, SinkUnavailable)
    assert error.retry_after == 10


@every_sink
@pytest.mark.parametrize("body", [CHAINLOOP_ERROR, GRPC_ERROR, LAUNCHDARKLY_ERROR])
async def test_the_message_is_taken_from_every_shape_of_error(
    case: Case, api: ApiServer, body: dict[str, Any]
) -> None:
    assert str(await refusal(case, api, reply(404, body))) == "404 Not Found: environment not found"


@every_sink
async def test_plain_text_is_shown_and_a_web_page_is_not(case: Case, api: ApiServer) -> None:
    plain = await refusal(case, api, reply(404, raw=b"404 page\x07 not\r\n  found"))
    assert str(plain) == "404 Not Found: 404 page not found"
    page = await refusal(case, api, reply(404, raw=b"<html>secret</html>", headers={"Content-Type": "text/html"}))
    assert str(page) == "404 Not Found: a web page, not the API's answer"


@every_sink
async def test_a_web_page_is_no_acceptance(case: Case, api: ApiServer) -> None:
    error = await refusal(case, api, reply(200, raw=b"<!doctype html>", headers={"Content-Type": "text/html"}))
    assert isinstance(error, SinkUnavailable)
    assert error.sent


@every_sink
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(case: Case, api: ApiServer, elsewhere: ApiServer, status: int) -> None:
    elsewhere.behaviour = reply(201, {})
    location = f"{elsewhere.url}/login?back={TOKEN}"
    error = await refusal(case, api, reply(status, headers={"Location": location}))
    assert type(error) is SinkRejected
    assert "redirects to http://127.0.0.1," in str(error)
    assert not elsewhere.connections
    assert len(api.heard) == 1


@every_sink
async def test_a_redirect_that_leads_nowhere_is_an_error_too(case: Case, api: ApiServer) -> None:
    for location in ("/other", "http://[", "//", "\x01"):
        error = await refusal(case, api, reply(307, headers={"Location": location}))
        assert isinstance(error, SinkRejected | SinkUnavailable)


@every_sink
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_endless_body_does_no_harm(case: Case, api: ApiServer, status: int) -> None:
    if status == 200:
        api.behaviour = endless(status)
        async with ready(case, api) as sink:
            assert await sink.deliver(case.delivery) == case.returns
    else:
        error = await refusal(case, api, endless(status))
        assert str(error).startswith(str(status))
        assert str(error).endswith("x...")


@every_sink
async def test_a_silent_api_may_have_acted(case: Case, api: ApiServer) -> None:
    error = await refusal(case, api, hang, timeouts=SHORT)
    assert isinstance(error, SinkUnavailable)
    assert error.sent
    assert len(api.heard) == 1


@every_sink
async def test_an_api_that_dawdles_is_cut_short(case: Case, api: ApiServer) -> None:
    error = await refusal(case, api, drip(200, every=0.05), timeouts=SHORT)
    assert isinstance(error, SinkUnavailable)
    assert error.sent
    assert "in time" in str(error)


@every_sink
async def test_a_dropped_answer_may_hide_a_success(case: Case, api: ApiServer) -> None:
    for behaviour in (drop, says(b"HTTP/1.1 20"), says(b"\x00\x01\x02"), says(b"HTTP/1.1 200 OK\r\nX: y")):
        error = await refusal(case, api, behaviour)
        assert isinstance(error, SinkUnavailable)
        assert error.sent


@every_sink
async def test_a_status_that_arrived_counts_though_its_body_did_not(case: Case, api: ApiServer) -> None:
    api.behaviour = says(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{")
    async with ready(case, api) as sink:
        assert await sink.deliver(case.delivery) == case.returns


@every_sink
async def test_nobody_there_is_not_sent(case: Case, api: ApiServer) -> None:
    sink = case.sink(api)
    sink_elsewhere = case.sink(ApiServer(port=await _free_port()))
    await sink.close()
    for unreachable in (sink, sink_elsewhere):
        with pytest.raises(SinkUnavailable) as caught:
            await unreachable.deliver(case.delivery)
        assert not caught.value.sent
    await sink_elsewhere.close()


@every_sink
async def test_a_token_that_comes_back_is_masked(case: Case, api: ApiServer) -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in TOKEN)
    bodies = [
        f'{{"message": "no access for Bearer {TOKEN}"}}'.encode(),
        f'{{"message": "no access for {escaped}"}}'.encode(),
        f"no access for {TOKEN}".encode(),
        b" " * (64 * 1024 - 5) + TOKEN.encode(),  # cut in the middle of the token
    ]
    for body in bodies:
        error = await refusal(case, api, reply(400, raw=body))
        assert TOKEN[:5] not in str(error)


@every_sink
async def test_connections_are_kept(case: Case, api: ApiServer) -> None:
    api.behaviour = case.accepts
    async with ready(case, api) as sink:
        for _ in range(20):
            await sink.deliver(case.delivery)
    assert api.connections == 1
    assert len(api.heard) == 20


@every_sink
async def test_eight_deliveries_are_in_flight_at_once(case: Case, api: ApiServer) -> None:
    arrived, everybody = [], asyncio.Event()

    async def together(heard: Heard, writer: asyncio.StreamWriter) -> None:
        arrived.append(heard)
        if len(arrived) == 8:
            everybody.set()
        await everybody.wait()
        await case.accepts(heard, writer)

    api.behaviour = together
    async with ready(case, api) as sink:
        outcomes = await asyncio.gather(*(sink.deliver(case.delivery) for _ in range(8)))
    assert outcomes == [case.returns] * 8
    assert api.connections == 8


@every_sink
async def test_closing_ends_what_is_under_way(case: Case, api: ApiServer) -> None:
    api.behaviour = hang
    sink = case.sink(api)
    under_way = asyncio.create_task(_outcome(sink, case))
    await api.hears(1)
    await sink.close()
    error = await under_way
    assert isinstance(error, SinkUnavailable)
    assert error.sent


@every_sink
async def test_cancelling_leaves_the_sink_usable(case: Case, api: ApiServer) -> None:
    api.behaviour = hang
    async with ready(case, api) as sink:
        waiting = [asyncio.create_task(_outcome(sink, case)) for _ in range(20)]
        await api.hears(8)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        api.behaviour = case.accepts
        assert await sink.deliver(case.delivery) == case.returns


async def _outcome(sink: Sink, case: Case) -> SinkError | None:
    try:
        await sink.deliver(case.delivery)
    except SinkError as error:
        return error
    return None


async def _free_port() -> int:
    listener = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port: int = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return port
