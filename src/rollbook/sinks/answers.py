"""A tracking API's answers: which error a status is, what it says, how long to wait. Pure.

| status | becomes | may have taken effect |
|---|---|---|
| 2xx | accepted; but a web page is no API's answer: `SinkUnavailable` | yes |
| 401, 403 | `SinkUnauthorized` | no |
| 408, 425, 429, 503 | `SinkUnavailable` | no |
| 499 and the other 5xx | `SinkUnavailable` | yes |
| all others, redirects too | `SinkRejected` | no |

What one API means otherwise (LaunchDarkly's 409) stands in that API's file. A body's `code` is never read: it
is an HTTP status, a gRPC code, a word or absent (WIRE §1.0, §2.4).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import httpx

from rollbook.core.errors import SinkError, SinkRejected, SinkUnauthorized, SinkUnavailable

MESSAGE_LIMIT: Final = 300
"""Characters of a message that are kept."""

UNTOLD_WAIT: Final = 10.0
"""Seconds to wait after a 429 that does not say: LaunchDarkly's window (WIRE §1.0)."""

LONGEST_WAIT: Final = 900.0
"""Seconds that a sink may make us wait: a wrong header must not stop it for ever."""

_RESETS: Final = ("x-ratelimit-reset", "x-ratelimit-auth-token-reset")
"""LaunchDarkly's headers, in epoch milliseconds. Which limit was hit is not said, so the later one counts."""

_UNTOUCHED: Final = frozenset({408, 425, 429, 503})
"""Statuses to try again after, that are given before anything was done."""

_CANCELLED: Final = 499
"""Given by Chainloop's framework when it was stopped half-way (WIRE §2.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of an API, whatever its status."""

    status: int
    message: str
    """The status and what the API says; one line, masked and bounded."""
    retry_after: float | None = None
    """Seconds we were asked to wait."""
    page: bool = False
    """Whether it is a web page."""
    body: bytes = field(default=b"", repr=False)
    """As much as was read."""

    def json(self) -> Any:
        """The body as JSON; None if it is not JSON, or was not read to its end."""
        return _json(self.body)

    def check(self) -> None:
        """Return if the API took the request.

        Raises:
            SinkUnauthorized: 401 and 403.
            SinkUnavailable: try again later.
            SinkRejected: refused for good.
        """
        if error := self._error():
            raise error

    def _error(self) -> SinkError | None:
        if _is_success(self.status):
            return SinkUnavailable(self.message, sent=True) if self.page else None
        if self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return SinkUnauthorized(self.message)
        if self.status in _UNTOUCHED or self.status >= _CANCELLED:
            return SinkUnavailable(self.message, retry_after=self.retry_after, sent=self.status not in _UNTOUCHED)
        return SinkRejected(self.message)


def is_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether it is a web page: a proxy's, a login's, a wrong address's."""
    return "text/html" in headers.get("content-type", "").lower() or body.lstrip()[:1] == b"<"


def describe(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """The status and what the API says to it, at whatever length; of a success only the status."""
    head = _status_line(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{head}: redirects to {_target(headers)}, which is not followed; correct the endpoint"
    if is_page(headers, body):
        return f"{head}: a web page, not the API's answer"
    said = "" if _is_success(status) else _said(body)
    return f"{head}: {said}" if said else head


def tidy(text: str, *, token: str) -> str:
    """Text of others for people: one line, printable, without the token, bounded."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    masked = " ".join(printable.split()).replace(token, "***")
    return masked if len(masked) <= MESSAGE_LIMIT else masked[: MESSAGE_LIMIT - 3] + "..."


def wait(status: int, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the API asks us to wait; `now` is in epoch seconds.

    Times that have passed say nothing (our clock or the header is wrong); of several the longest counts.
    """
    told = [_retry_after(headers.get("retry-after", ""), now)]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        told += [_reset(headers.get(name, ""), now) for name in _RESETS]
    if longest := max(told):
        return min(longest, LONGEST_WAIT)
    return UNTOLD_WAIT if status == HTTPStatus.TOO_MANY_REQUESTS else None


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _said(body: bytes) -> str:
    parsed = _json(body)
    if isinstance(parsed, dict) and isinstance(message := parsed.get("message"), str):
        return f"{message}{_details(parsed.get('errors'))}"
    return body.decode("utf-8", "replace")


def _details(errors: object) -> str:
    """LaunchDarkly's list of what exactly was invalid (WIRE §1.0)."""
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    told = ", ".join(f"{error.get('attribute')} {error.get('reason')}" for error in listed)
    return f" ({told})" if told else ""


def _target(headers: Mapping[str, str]) -> str:
    """Scheme and host of a redirect; its path and query may hold anything."""
    try:
        url = httpx.URL(headers.get("location", ""))
    except httpx.InvalidURL:
        return "an address that cannot be read"
    return f"{url.scheme}://{url.host}" if url.host else "another path"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _retry_after(value: str, now: float) -> float:
    """Seconds by `Retry-After`, in either of its forms; 0 if it says nothing."""
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return max(0.0, _aware(when).timestamp() - now)


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _reset(value: str, now: float) -> float:
    """Seconds until a reset given in epoch milliseconds; 0 if it says nothing."""
    known = re.fullmatch(r"[0-9]{1,15}", value.strip())
    return max(0.0, int(value) / 1000 - now) if known else 0.0
