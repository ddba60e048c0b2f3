"""What every sink must do when the network or the other side misbehaves, and when much is in flight."""

import asyncio

import pytest

from rollbook.core.errors import SinkError, SinkRejected, SinkUnavailable
from rollbook.delivery import Sink
from tests.unit.sinks.builders import TOKEN
from tests.unit.sinks.cases import SHORT, Case, every_sink, ready, refusal
from tests.unit.sinks.server import (
    ApiServer,
    Heard,
    drip,
    drop,
    endless,
    hang,
    reply,
    says,
)


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
