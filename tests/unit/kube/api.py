"""A small API server: objects with versions, lists in pages, watches by script, faults on demand."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Object = dict[str, Any]
Script = Callable[[web.StreamResponse], Awaitable[None]]
CREATED = "2026-03-01T10:00:00Z"
CREATED_MS = 1_772_359_200_000


class Refusal(Exception):
    """What the server answers instead."""

    def __init__(self, code: int, message: str = "", **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.headers: dict[str, str] = more.pop("headers", {})
        self.body = more.pop("raw", None) or json.dumps(
            {"kind": "Status", "status": "Failure", "code": code, "message": message, **more}
        )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Api:
    """The server's state; readable and writable by tests."""

    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    """By resource, namespace and name."""
    seen: list[Seen] = field(default_factory=list)
    faults: list[tuple[str, str, Callable[[], Any]]] = field(default_factory=list)
    """Each is used once: method, end of the path, what is done instead."""
    scripts: list[Script] = field(default_factory=list)
    """One per watch; when they are used up, a watch hangs."""
    tokens: set[str] = field(default_factory=set)
    """Which are accepted; all, if none is named."""
    version: int = 100
    url: str = ""

    def put(self, resource: str, namespace: str, name: str, **content: Any) -> Object:
        """Store an object as somebody else would."""
        self.version += 1
        before = self.objects.get((resource, namespace, name), {})
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{resource}-{namespace}-{name}",
            "generation": 1,
            "creationTimestamp": CREATED,
            **before.get("metadata", {}),
            **content.pop("metadata", {}),
            "resourceVersion": str(self.version),
        }
        stored = {**before, **content, "metadata": metadata}
        self.objects[resource, namespace, name] = stored
        return stored

    def refuse(self, method: str, end: str, code: int, message: str = "", **more: Any) -> None:
        """Answer the next such request with an error."""

        def refusal() -> None:
            raise Refusal(code, message, **more)

        self.faults.append((method, end, refusal))

    def calls(self, method: str, part: str = "") -> list[Seen]:
        """The requests of a method whose path has `part` in it."""
        return [each for each in self.seen if each.method == method and part in each.path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        text = await request.text()
        body = json.loads(text) if text else None
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.seen.append(
            Seen(method=request.method, path=request.path, query=dict(request.query), headers=headers, body=body)
        )
        try:
            return await self._answer(request, body)
        except Refusal as refusal:
            return web.Response(
                status=refusal.code, text=refusal.body, headers=refusal.headers, content_type="application/json"
            )

    async def _answer(self, request: web.Request, body: Any) -> web.StreamResponse:
        if self.tokens and request.headers.get("Authorization", "").split(" ")[-1] not in self.tokens:
            raise Refusal(401, "Unauthorized")
        if request.query.get("watch"):
            return await self._watch(request)
        await self._fault(request)
        resource, namespace, name, sub = _parts(request.path)
        if not name:
            return web.json_response(self._collection(request, resource, namespace, body))
        key = (resource, namespace, name)
        if key not in self.objects:
            raise Refusal(404, f"{resource} {name!r} not found", details={"kind": resource})
        return web.json_response(self._object(request, key, sub, body))

    async def _fault(self, request: web.Request) -> None:
        for number, (method, end, act) in enumerate(self.faults):
            if method == request.method and request.path.endswith(end):
                del self.faults[number]
                outcome = act()
                if outcome is not None:
                    await outcome
                return

    def _collection(self, request: web.Request, resource: str, namespace: str, body: Any) -> Object:
        if request.method == "POST":
            name = body["metadata"]["name"]
            if (resource, namespace, name) in self.objects:
                raise Refusal(409, f"{name} already exists", reason="AlreadyExists")
            body.pop("status", None) if resource == "deploymentrecords" else None
            return self.put(resource, namespace, name, **body)
        keys = sorted(key for key in self.objects if key[0] == resource and (not namespace or key[1] == namespace))
        start = int(request.query.get("continue", "0"))
        limit = int(request.query["limit"])
        more = {"continue": str(start + limit)} if start + limit < len(keys) else {}
        items = [self.objects[key] for key in keys[start : start + limit]]
        return {"metadata": {"resourceVersion": str(self.version), **more}, "items": items}

    def _object(self, request: web.Request, key: tuple[str, str, str], sub: str, body: Any) -> Object:
        current = self.objects[key]
        if request.method == "GET":
            return current
        wanted = _wanted_version(request.method, body)
        if wanted not in (None, current["metadata"]["resourceVersion"]):
            raise Refusal(409, "the object has been modified")
        if request.method == "DELETE":
            return self.objects.pop(key)
        changed = copy.deepcopy(current)
        _patch(changed, body)
        if changed == current:
            return current
        if changed["metadata"]["generation"] == 1 and changed.get("spec") != current.get("spec") and not sub:
            changed["metadata"]["generation"] += 1
        return self.put(*key, **changed)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        if not self.scripts:
            await response.prepare(request)
            await asyncio.sleep(3600)
        script = self.scripts.pop(0)
        if isinstance(script, Refusal):
            raise script
        await response.prepare(request)
        await script(response)
        return response


def _parts(path: str) -> tuple[str, str, str, str]:
    """Resource, namespace, name and subresource."""
    rest = path.strip("/").split("/")
    rest = rest[2:] if rest[0] == "api" else rest[3:]
    namespace = ""
    if rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return rest[0], namespace, rest[1], rest[2]


def _wanted_version(method: str, body: Any) -> str | None:
    holder = {"DELETE": "preconditions", "PATCH": "metadata"}[method]
    found: str | None = (
        (body or {}).get(holder, {}).get("resourceVersion") if isinstance(body, dict | None) else None
    )
    return found


def _patch(target: Object, body: Any) -> None:
    if isinstance(body, list):
        for operation in body:
            *way, last = operation["path"].strip("/").split("/")
            place = target
            for step in way:
                place = place[step]
            place[last] = operation["value"]
        return
    for key, value in body.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _patch(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[None]:
    """Serve on a free port of the loopback."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    api.url = f"http://{host}:{port}"
    try:
        yield
    finally:
        await runner.cleanup()


def line(kind: str, obj: Object) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def then(*chunks: bytes, last: str = "end") -> Script:
    """Send the chunks, then `end` properly, `cut` the connection, or `hang`."""

    async def script(response: web.StreamResponse) -> None:
        for chunk in chunks:
            await response.write(chunk)
        if last == "hang":
            await asyncio.sleep(3600)
        if last == "cut":
            request = response._req  # the only way to the socket
            assert request is not None
            assert request.transport is not None
            request.transport.abort()

    return script


async def eventually(probe: Callable[[], Any], *, within: float = 5.0) -> Any:
    """Wait until `probe` gives something true."""
    async with asyncio.timeout(within):
        while not (found := probe()):  # noqa: ASYNC110  # outcomes of servers set no event of ours
            await asyncio.sleep(0.005)
    return found
