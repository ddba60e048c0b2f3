"""What every sink must do, against a real HTTP server: one body of tests, every sink."""

import email.utils
import time
from typing import Any

import pytest

from rollbook.core.errors import SinkRejected, SinkUnauthorized, SinkUnavailable
from tests.unit.sinks.cases import Case, every_sink, ready, refusal
from tests.unit.sinks.server import (
    ApiServer,
    in_turn,
    reply,
)

CHAINLOOP_ERROR = {"code": 404, "reason": "not found", "message": "environment not found", "metadata": {}}
GRPC_ERROR = {"code": 5, "message": "environment not found", "details": []}
LAUNCHDARKLY_ERROR = {"code": "not_found", "message": "environment not found"}


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
