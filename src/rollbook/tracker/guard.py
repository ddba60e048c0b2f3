"""What stands before every route: the token, the body's type and size, the method."""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rollbook.tracker.errors import BETA_MESSAGE, Problem

BODY_LIMIT: Final = 1024 * 1024
"""Bytes. A deployment event with rich metadata has a few kilobytes."""

Endpoint = Callable[[Request], Awaitable[Response]]
Check = Callable[[Request], None]


def route(path: str, check: Check, methods: Mapping[str, Endpoint]) -> Route:
    """One route for all methods of a path, so that 405 names them all; `check` runs before each."""

    async def endpoint(request: Request) -> Response:
        check(request)
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method](request)

    return Route(path, endpoint, methods=list(methods))


def bearer(token: str) -> Check:
    """Ask for `Authorization: Bearer <token>` (WIRE §2.3)."""
    return _header_check(f"Bearer {token}")


def bare(token: str) -> Check:
    """Ask for `Authorization: <token>`, without `Bearer` (WIRE §1.0)."""
    return _header_check(token)


def basic(token: str) -> Check:
    """Ask a browser for the token as the password, by HTTP Basic; any user name does."""
    challenge = {"WWW-Authenticate": 'Basic realm="Rollbook tracker", charset="UTF-8"'}

    def check(request: Request) -> None:
        if not _same(_password(request.headers.get("authorization", "")), token):
            raise Problem(HTTPStatus.UNAUTHORIZED, "The token is the password; any user name does.", {}, challenge)

    return check


def nobody_asked(_: Request) -> None:
    """Let everybody in."""


def require_beta(request: Request) -> None:
    """Refuse a call of a beta resource without its header (WIRE §1.0)."""
    if request.headers.get("ld-api-version", "") != "beta":
        raise Problem(HTTPStatus.FORBIDDEN, BETA_MESSAGE)


async def read_json(request: Request) -> bytes:
    """Read a bounded body that says it is JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:  # counted, not believed: Content-Length may be absent
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(body)


def _header_check(expected: str) -> Check:
    def check(request: Request) -> None:
        if not _same(request.headers.get("authorization", ""), expected):
            raise Problem(HTTPStatus.UNAUTHORIZED)

    return check


def _same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing about how much of it was right."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _password(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
