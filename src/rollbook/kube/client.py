"""Talks to the API server: raw bytes out, raw bytes in. Foreign exceptions end here.

The official client finds the API server and the credentials; its generated models and its per-request machinery
cost several times the CPU of a bare session, so requests go through a session of our own on the same settings.
What an answer becomes stands in `answers`.
"""

import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from rollbook import __version__
from rollbook.kube.answers import outcome, translated
from rollbook.kube.credentials import Connection, Credentials
from rollbook.kube.wire import Page, decoder

READ_TIMEOUT: Final = 60.0
"""Seconds for a GET or a page of a list: a loaded API server may take long for 500 pods."""

WRITE_TIMEOUT: Final = 5.0
"""Seconds for a write. Not longer than a Lease outlives its holder's deadline, so that no write of a deposed
leader arrives after another has begun (`lease.Timing`)."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for a watch's connection."""

SILENCE: Final = 150.0
"""Seconds without a byte after which a watch counts as dead. Bookmarks come once a minute, but the first one only
after two where nothing has happened since the watch began. Dead peers are found sooner, by TCP."""

KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of quiet, seconds between probes, unanswered probes: a dead peer is found within a minute."""

CONNECTIONS: Final = 100
"""At most so many at once; each request in flight takes one."""

Observer = Callable[[str, str, int, float], None]
"""Told of each request: verb, resource, HTTP status (0: no answer), seconds."""

ItemT = TypeVar("ItemT")
Params = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One request, ready to be sent."""

    method: str
    url: URL
    headers: dict[str, str]
    timeout: aiohttp.ClientTimeout
    data: bytes | None = None
    guard: Callable[[], None] | None = None


class Kube:
    """A connection to one API server.

    Attributes:
        guard: called before each write; raises LeadershipLost when we may no longer write.
        observer: told of each request, for metrics.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS, ssl=credentials.ssl_context, socket_factory=_probing_socket
            ),
            # Compression costs both sides more CPU than the network between them is worth.
            headers={"User-Agent": f"rollbook/{__version__}", "Accept-Encoding": "identity"},
            read_bufsize=2**20,
        )
        self._reads = aiohttp.ClientTimeout(total=READ_TIMEOUT)
        self._writes = aiohttp.ClientTimeout(total=WRITE_TIMEOUT)
        self.guard: Callable[[], None] | None = None
        self.observer: Observer | None = None

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None) -> "Kube":
        """Connect with `kubeconfig`, else in-cluster if we run in a pod, else as kubectl does.

        Raises:
            ConfigError: there is no usable configuration.
        """
        return cls(await Credentials.load(kubeconfig))

    async def connection(self) -> Connection:
        """What another client needs to connect as we do."""
        return await self._credentials.connection()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(  # noqa: PLR0913  # the parts of an HTTP request, by name
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: bytes | Mapping[str, Any] | list[Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        fenced: bool = True,
    ) -> bytes:
        """Make one request and return the answer's body.

        Args:
            method: the HTTP method.
            path: absolute, without query.
            params: the query.
            body: JSON text, or what is to be encoded.
            content_type: of the body.
            accept: of the answer.
            fenced: whether the guard is asked first; only the Lease's own writes are not.

        Raises:
            KubeError: in one of its kinds, as `answers` says.
            LeadershipLost: from the guard.
        """
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Accept": accept, **({"Content-Type": content_type} if data is not None else {})}
        guard = self.guard if method != "GET" and fenced else None
        timeout = self._reads if method == "GET" else self._writes
        call = _Call(
            method=method, url=self._url(path, params), data=data, headers=headers, timeout=timeout, guard=guard
        )
        what, begun, status = f"{method} {path}", time.monotonic(), 0
        try:
            with translated(what):
                async with await self._send(call) as answer:
                    payload = await answer.read()
                    status = answer.status
        finally:
            self._observe(method, path, status, begun)
        return outcome(what, status, payload, answer.headers)

    async def get(self, path: str, *, params: Params | None = None, accept: str = "application/json") -> bytes:
        """Read one object."""
        return await self.request("GET", path, params=params, accept=accept)

    async def create(self, path: str, body: Mapping[str, Any], *, fenced: bool = True) -> bytes:
        """Create an object in the collection `path`; Conflict if the name is taken."""
        return await self.request("POST", path, body=body, fenced=fenced)

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, fenced: bool = True) -> bytes:
        """Change some fields; with a `resourceVersion` in it, Conflict if somebody wrote since."""
        content_type = "application/merge-patch+json"
        return await self.request("PATCH", path, body=body, content_type=content_type, fenced=fenced)

    async def json_patch(self, path: str, operations: list[Any]) -> bytes:
        """Apply operations of RFC 6902, all or none."""
        return await self.request("PATCH", path, body=operations, content_type="application/json-patch+json")

    async def delete(self, path: str, *, resource_version: str | None = None) -> None:
        """Delete one object; with a version, Conflict if somebody wrote since."""
        preconditions = {"preconditions": {"resourceVersion": resource_version}} if resource_version else None
        await self.request("DELETE", path, body=preconditions)

    async def list_pages(
        self,
        path: str,
        item: type[ItemT],
        *,
        limit: int = 500,
        params: Params | None = None,
        accept: str = "application/json",
    ) -> AsyncGenerator[Page[ItemT], None]:
        """List a collection page by page, each decoded to `item` and nothing else kept.

        Raises:
            Gone: the list outlived its snapshot; what was yielded is incomplete, start over.
            KubeError: in another kind; what was yielded is incomplete too.
            InvalidObject: a page is not what was asked for.
        """
        read = decoder(Page[item])  # type: ignore[valid-type]  # a shape made at run time
        query = {**(params or {}), "limit": str(limit)}
        while True:
            page = read(await self.get(path, params=query, accept=accept))
            yield page
            if not page.metadata.continue_token:
                return
            query["continue"] = page.metadata.continue_token

    async def stream(
        self, path: str, params: Params | None = None, *, silence: float = SILENCE
    ) -> AsyncGenerator[bytes, None]:
        """Watch a collection; yield complete lines until the server ends the watch.

        A line that is cut off by the end is dropped: the next watch, from the last version seen, repeats it.

        Raises:
            Gone: the version in `params` is too old: list again.
            Silence: nothing came for `silence` seconds.
            KubeError: in another kind; watch again from the last version.
        """
        query = {**(params or {}), "watch": "true", "allowWatchBookmarks": "true"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence)
        headers = {"Accept": "application/json"}
        call = _Call(method="GET", url=self._url(path, query), headers=headers, timeout=timeout)
        what, begun = f"WATCH {path}", time.monotonic()
        with translated(what):
            async with await self._send(call) as answer:
                self._observe("WATCH", path, answer.status, begun)
                if not answer.ok:
                    outcome(what, answer.status, await answer.read(), answer.headers)
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line

    async def _send(self, call: _Call) -> aiohttp.ClientResponse:
        """Send, and once more with fresh credentials after a 401; the guard is asked each time."""
        again = False
        while True:
            who = await self._credentials.authorization()
            if call.guard is not None:
                call.guard()
            answer = await self._session.request(
                call.method,
                call.url,
                data=call.data,
                headers={**call.headers, **who},
                timeout=call.timeout,
                **self._credentials.extras,
            )
            if again or answer.status != HTTPStatus.UNAUTHORIZED:
                return answer
            answer.release()
            await self._credentials.reload(who)
            again = True

    def _observe(self, verb: str, path: str, status: int, begun: float) -> None:
        if self.observer is not None:
            self.observer(verb, resource_of(path), status, time.monotonic() - begun)

    def _url(self, path: str, params: Params | None) -> URL:
        query = f"?{urlencode(params)}" if params else ""
        return URL(f"{self._credentials.host}{path}{query}", encoded=True)


def _probing_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for `address` (as `getaddrinfo` gives it) that asks now and then whether its peer is alive."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        if number := getattr(socket, option, None):  # some platforms have none or not all
            made.setsockopt(socket.IPPROTO_TCP, number, value)
    return made


def resource_of(path: str) -> str:
    """What a path is about, for metrics: `pods`, `deploymentrecords/status`."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if len(rest) > 2 and rest[0] == "namespaces":  # noqa: PLR2004  # namespaces/<name>/<resource>
        rest = rest[2:]
    return "/".join([*rest[:1], *rest[2:]])
