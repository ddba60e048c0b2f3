"""The one outbound client: every byte that a sink sends goes through here.

It sends to one endpoint, with one token. It never follows a redirect, keeps no cookies, reads answers up to a
limit of bytes and seconds, and lets no exception out but a `SinkError`, without the token in it. It does not
try again: that is for the delivery.
"""

import asyncio
import functools
import json
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPMethod
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

from rollbook import __version__
from rollbook.core.errors import SinkUnavailable
from rollbook.sinks.answers import Answer, describe, is_page, tidy, wait
from rollbook.sinks.endpoint import authority, is_link_local

BODY_LIMIT: Final = 64 * 1024
"""Bytes of an answer that are read; a longer one is cut, which ends its connection."""

CONNECTIONS: Final = 8
"""Per sink: httpx's pool is costly with many in flight."""

KEEPALIVE: Final = 55.0
"""Seconds that an idle connection is kept: less than the minute after which load balancers drop them."""

_FOREIGN: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError, OSError)
"""All that httpx raises. `OSError`: our deadlines, and what TLS says in mid-stream, which httpx lets through."""


class Auth(StrEnum):
    """How an API wants its token."""

    BEARER = "Bearer {token}"
    BARE = "{token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that each step may take."""

    connect: float = 5.0
    """TCP and TLS; also the wait for one of our own connections."""
    write: float = 10.0
    read: float = 15.0
    """Between two pieces of the answer."""
    total: float = 30.0
    """From the beginning to the answer's status."""
    body: float = 5.0
    """For the rest of the answer, once its status is known."""


class HttpClient:
    """A small pool of connections to one API."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        *,
        timeouts: Timeouts = Timeouts(),
        forbidden: Callable[[str], bool] = is_link_local,
    ) -> None:
        """Connect to nothing yet.

        Args:
            endpoint: as `endpoint.check` returns it.
            token: the credential, masked in every message.
            timeouts: how long each step may take.
            forbidden: addresses to which nothing is sent, whatever name led there.
        """
        self._token = token
        self._timeouts = timeouts
        self._forbidden = forbidden
        self._client = httpx.AsyncClient(
            base_url=endpoint,
            headers={
                "User-Agent": f"rollbook/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a limit of bytes is no limit where they can be unpacked
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            verify=_tls(),
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=KEEPALIVE,
            ),
            timeout=httpx.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.connect
            ),
        )

    async def post(
        self, path: str, payload: Mapping[str, Any], *, auth: Auth, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send JSON; whatever the status, the answer is returned.

        Raises:
            SinkUnavailable: no answer; `sent` says whether the request had gone out.
        """
        content = json.dumps(payload, separators=(",", ":")).encode()
        return await self._call(
            HTTPMethod.POST,
            path,
            auth=auth,
            content=content,
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    async def get(
        self,
        path: str,
        params: Mapping[str, str | int],
        *,
        auth: Auth,
        headers: Mapping[str, str],
        limit: int = BODY_LIMIT,
    ) -> Answer:
        """Read; `limit` is in bytes.

        Raises:
            SinkUnavailable: no answer.
        """
        return await self._call(HTTPMethod.GET, path, auth=auth, params=params, headers=headers, limit=limit)

    async def close(self) -> None:
        """Close the connections; requests under way end as `SinkUnavailable`."""
        await self._client.aclose()

    async def _call(  # noqa: PLR0913 (the parts of a request, named)
        self,
        method: HTTPMethod,
        path: str,
        *,
        auth: Auth,
        headers: Mapping[str, str],
        limit: int = BODY_LIMIT,
        content: bytes | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        request = self._client.build_request(
            method,
            path,
            content=content,
            params=params,
            headers={"Authorization": auth.format(token=self._token), **headers},
        )
        exchange = _Exchange(self._forbidden)
        request.extensions["trace"] = exchange
        response = await self._send(request, exchange)
        return self._answer(response, await self._read(response, limit))

    async def _send(self, request: httpx.Request, exchange: "_Exchange") -> httpx.Response:
        if self._client.is_closed:
            raise SinkUnavailable("the sink is being closed")
        try:
            async with asyncio.timeout(self._timeouts.total):
                return await self._client.send(request, stream=True)
        except _FOREIGN as error:
            reason = _reason(error, authority(request.url))
        # Outside the handler, so that no traceback shows the foreign error: its text may hold the token.
        raise SinkUnavailable(tidy(reason, token=self._token), sent=exchange.sent)

    async def _read(self, response: httpx.Response, limit: int) -> bytes:
        """As much of the body as the limits allow; what cannot be read changes nothing about the status."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeouts.body) as patience, aclosing(response):
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > limit:
                        patience.reschedule(0)  # to leave the loop here would leave httpx's generators open
        except _FOREIGN:
            return self._cut(body[:limit])
        return bytes(body)

    def _cut(self, body: bytearray) -> bytes:
        """Without its end, where half of the token could stand, unmasked."""
        return bytes(body[: -len(self._token)])

    def _answer(self, response: httpx.Response, body: bytes) -> Answer:
        status, headers = response.status_code, response.headers
        return Answer(
            status=status,
            message=tidy(describe(status, headers, body), token=self._token),
            retry_after=wait(status, headers, time.time()),
            page=is_page(headers, body),
            body=body,
        )


class _Exchange:
    """Hears of the steps of one request, as httpcore takes them (its `trace` extension)."""

    def __init__(self, forbidden: Callable[[str], bool]) -> None:
        self.sent = False
        """Whether any of the request has gone out: then the API may have acted on it."""
        self._forbidden = forbidden

    async def __call__(self, step: str, info: Mapping[str, Any]) -> None:
        if step == "connection.connect_tcp.complete":
            await self._inspect(info["return_value"])
        elif step.endswith(".send_request_headers.started"):
            # A proxy is asked for a tunnel first; that request is not ours.
            self.sent |= info["request"].method != HTTPMethod.CONNECT.encode()

    async def _inspect(self, stream: Any) -> None:
        """Look whom we are connected to: a name may have led anywhere, and elsewhere a moment ago."""
        peer = stream.get_extra_info("server_addr")
        if peer and not self._forbidden(peer[0]):
            return
        await stream.aclose()
        if not peer:
            raise SinkUnavailable("the connection was lost as soon as it was made")
        raise SinkUnavailable(f"the endpoint leads to {peer[0]}, a link-local address: nothing is sent there")


def _reason(error: Exception, host: str) -> str:
    match error:
        case httpx.ConnectTimeout():
            return f"cannot connect to {host} in time"
        case httpx.PoolTimeout():
            return f"all connections to {host} are busy"
        case httpx.TimeoutException() | TimeoutError():
            return f"no answer from {host} in time"
        case httpx.ConnectError() | httpx.ProxyError():
            return f"cannot connect to {host}: {error}"
        case _:
            return f"no answer from {host}: {str(error) or type(error).__name__}"


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all sinks: reading the certificate authorities takes time and memory."""
    return httpx.create_ssl_context()
