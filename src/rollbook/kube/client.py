"""Talks to the API server: raw bytes out, raw bytes in. Foreign exceptions end here.

The official client finds the API server and the credentials; its generated models and its per-request machinery
cost several times the CPU of a bare session, so requests go through a session of our own on the same settings.
What an answer becomes stands in `answers`.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
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

SILENCE: Final = 90.0
"""Seconds without a byte after which a watch counts as dead. Bookmarks come once a minute."""

CONNECTIONS: Final = 100
"""At most so many at once; each request in flight takes one."""

Observer = Callable[[str, str, int, float], None]
"""Told of each request: verb, resource, HTTP status (0: no answer), seconds."""

ItemT = TypeVar("ItemT")
Params = Mapping[str, str]


class Kube:
    """A connection to one API server.

    Attributes:
        guard: called before each write; raises LeadershipLost when we may no longer write.
        observer: told of each request, for metrics.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=credentials.ssl_context),
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
        if method != "GET" and fenced and self.guard is not None:
            self.guard()
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Accept": accept, **({"Content-Type": content_type} if data is not None else {})}
        timeout = self._reads if method == "GET" else self._writes
        what, begun, status = f"{method} {path}", time.monotonic(), 0
        try:
            with translated(what):
                async with await self._send(method, self._url(path, params), data, headers, timeout) as answer:
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
        what, begun = f"WATCH {path}", time.monotonic()
        with translated(what):
            async with await self._send("GET", self._url(path, query), None, headers, timeout) as answer:
                self._observe("WATCH", path, answer.status, begun)
                if not answer.ok:
                    outcome(what, answer.status, await answer.read(), answer.headers)
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line

    async def _send(
        self, method: str, url: URL, data: bytes | None, headers: dict[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send, and once more with fresh credentials after a 401."""
        extras = self._credentials.extras
        who = await self._credentials.authorization()
        answer = await self._session.request(
            method, url, data=data, headers={**headers, **who}, timeout=limits, **extras
        )
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        answer.release()
        await self._credentials.reload(who)
        who = await self._credentials.authorization()
        return await self._session.request(
            method, url, data=data, headers={**headers, **who}, timeout=limits, **extras
        )

    def _observe(self, verb: str, path: str, status: int, begun: float) -> None:
        if self.observer is not None:
            self.observer(verb, resource_of(path), status, time.monotonic() - begun)

    def _url(self, path: str, params: Params | None) -> URL:
        query = f"?{urlencode(params)}" if params else ""
        return URL(f"{self._credentials.host}{path}{query}", encoded=True)


def resource_of(path: str) -> str:
    """What a path is about, for metrics: `pods`, `deploymentrecords/status`."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if len(rest) > 2 and rest[0] == "namespaces":  # noqa: PLR2004  # namespaces/<name>/<resource>
        rest = rest[2:]
    return "/".join([*rest[:1], *rest[2:]])
