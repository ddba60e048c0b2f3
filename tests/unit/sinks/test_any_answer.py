"""Whatever an API answers, in bytes, a sink raises nothing but a `SinkError`."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings, strategies as st

from rollbook.core.errors import SinkError
from rollbook.core.transition import Kind
from rollbook.delivery import Delivery, Sink
from tests.unit.sinks import server
from tests.unit.sinks.builders import TOKEN, delivery
from tests.unit.sinks.cases import CASES, SHORT
from tests.unit.sinks.server import ApiServer, says

Outcome = Callable[[bytes, Delivery], SinkError | None]

CHOSEN = {case.name: case for case in CASES if case.delivery.transition.kind is not Kind.FINISHED}

HEADERS = (
    b"Location: http://[",
    b"Location: //\x80/",
    b"Retry-After: -1",
    b"Retry-After: Thu, 99 Foo 20000",
    b"X-Ratelimit-Reset: 99999999999999",
    b"Content-Encoding: gzip",
    b"Transfer-Encoding: chunked",
    b"Content-Length: 5",
    b"Content-Length: x",
    b"Content-Type: text/html; charset=\x00",
    b"Content-Type: application/json; charset=klingon",
    b"Set-Cookie: a=b; Domain=..; Max-Age=9999999999999999",
    b"Connection: upgrade",
)

pieces = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([TOKEN.encode(), b"{}", b'{"items": []}', b'{"message": {}}', b'{"errors": [1]}', b"["]),
)
bodies = st.lists(pieces, max_size=4).map(b"".join)
answers = st.builds(
    lambda status, headers, body: b"\r\n".join([b"HTTP/1.1 %d Said" % status, *headers, b"", body]),
    st.integers(0, 1000),
    st.lists(st.sampled_from(HEADERS), max_size=3),
    bodies,
)


@pytest.fixture(scope="module", params=list(CHOSEN))
def outcome(request: pytest.FixtureRequest) -> Iterator[Outcome]:
    """Has a sink deliver to a server that answers with given bytes; one loop for all examples."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        api: ApiServer = runner.run(stack.enter_async_context(server.running()))

        async def made() -> Sink:
            return CHOSEN[request.param].sink(api, timeouts=SHORT)

        async def deliver(sink: Sink, given: Delivery) -> SinkError | None:
            try:
                await sink.deliver(given)
            except SinkError as error:
                return error
            return None

        sink = runner.run(made())

        def outcome(raw: bytes, given: Delivery) -> SinkError | None:
            api.behaviour = says(raw)
            return runner.run(deliver(sink, given))

        yield outcome
        runner.run(sink.close())
        runner.run(stack.aclose())


@settings(deadline=None, max_examples=60)
@given(raw=st.one_of(answers, st.binary(max_size=100)), kind=st.sampled_from(list(Kind)), uncertain=st.booleans())
def test_any_bytes_are_an_acceptance_or_a_sink_error(
    outcome: Outcome, raw: bytes, kind: Kind, *, uncertain: bool
) -> None:
    error = outcome(raw, delivery(kind, uncertain=uncertain))
    if error:
        assert TOKEN not in str(error)
        assert str(error).isprintable()
        assert 0 < len(str(error)) <= 300
