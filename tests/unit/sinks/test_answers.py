"""What answers mean, without a network."""

import json
import time

import pytest
from hypothesis import given, strategies as st

from rollbook.core.errors import SinkUnavailable
from rollbook.sinks.answers import LONGEST_WAIT, Answer, describe, tidy, wait

NOW = 1706712518.0


def test_what_exactly_was_invalid_is_told() -> None:
    body = {
        "code": "invalid_request",
        "message": "validation failed",
        "errors": [{"attribute": "projectKey", "reason": "must be present"}],
    }
    said = describe(400, {}, json.dumps(body).encode())
    assert said == "400 Bad Request: validation failed (projectKey must be present)"


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {}, 10),
        (503, {}, None),
        (429, {"retry-after": "3"}, 3),
        (503, {"retry-after": "3"}, 3),
        (503, {"retry-after": " 3 "}, 3),
        (503, {"retry-after": "Wed, 31 Jan 2024 14:49:08 GMT"}, 30),
        (503, {"retry-after": "Wed, 31 Jan 2024 14:48:00 GMT"}, None),
        (503, {"retry-after": "soon"}, None),
        (503, {"retry-after": "-5"}, None),
        (503, {"retry-after": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}, None),
        (429, {"retry-after": "0"}, 10),
        (429, {"retry-after": "999999"}, LONGEST_WAIT),
        (429, {"x-ratelimit-reset": "1706712520000"}, 2),
        (429, {"x-ratelimit-reset": "1706712520000", "x-ratelimit-auth-token-reset": "1706712523000"}, 5),
        (429, {"retry-after": "1", "x-ratelimit-reset": "1706712520000"}, 2),
        (429, {"x-ratelimit-reset": "1706712517000"}, 10),
        (429, {"x-ratelimit-reset": "1706712520"}, 10),
        (503, {"x-ratelimit-reset": "1706712520000"}, None),
    ],
)
def test_how_long_to_wait(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert wait(status, headers, NOW) == seconds


@given(value=st.text(), status=st.integers(100, 999))
def test_no_header_can_stop_a_sink(value: str, status: int) -> None:
    headers = {"retry-after": value, "x-ratelimit-reset": value}
    told = wait(status, headers, NOW)
    assert told is None or 0 < told <= LONGEST_WAIT


@given(text=st.text(), token=st.text("abcXYZ019-_.", min_size=1))
def test_a_message_is_one_bounded_line_without_the_token(text: str, token: str) -> None:
    tidied = tidy(f"{text}{token}{text}", token=token)
    assert len(tidied) <= 300
    assert tidied.isprintable()
    assert token not in tidied.replace("***", " ").replace("...", " ")


@given(status=st.integers(100, 999), body=st.binary(), kind=st.sampled_from(["", "text/html", "application/json"]))
def test_every_answer_can_be_described(status: int, body: bytes, kind: str) -> None:
    assert str(status) in describe(status, {"content-type": kind, "location": body.decode("latin-1")}, body)


def test_a_deep_body_is_no_json_and_no_crash() -> None:
    assert Answer(status=200, message="", body=b"[" * 60000).json() is None
    assert Answer(status=200, message="", body=b"9" * 60000).json() is None


def test_a_message_is_made_in_no_time_though_the_body_is_large() -> None:
    began = time.perf_counter()
    describe(200, {}, b'{"items": [' + b"1," * 2_000_000)
    assert time.perf_counter() - began < 1


def test_a_page_does_not_pass_for_an_answer() -> None:
    with pytest.raises(SinkUnavailable) as caught:
        Answer(status=200, message="200 OK", page=True).check()
    assert caught.value.sent
