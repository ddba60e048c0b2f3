"""Requests, refusals, lists and watches over a real connection."""

import asyncio
import inspect
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import pytest

from rollbook.core.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    Gone,
    InvalidObject,
    KubeError,
    LeadershipLost,
    NotFound,
    Unavailable,
)
from rollbook.kube import client as client_module
from rollbook.kube.answers import (
    MESSAGE_LIMIT,
    NamespaceNotFound,
    Silence,
    Terminating,
    error_of,
    translated,
)
from rollbook.kube.client import Kube, resource_of
from rollbook.kube.wire import Bare
from tests.unit.kube.api import Api, line, then
from tests.unit.kube.conftest import write_kubeconfig

PODS = "/api/v1/pods"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/rollbook"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, KubeError),
        (401, Unavailable),
        (403, Forbidden),
        (404, NotFound),
        (408, Unavailable),
        (409, Conflict),
        (410, Gone),
        (413, KubeError),
        (422, KubeError),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_each_refusal_has_its_error(code: int, expected: type[KubeError]) -> None:
    assert type(error_of("GET /x", code, b"")) is expected


def test_every_exception_of_the_http_library_becomes_unavailable() -> None:
    classes = [
        each
        for _, each in inspect.getmembers(aiohttp.client_exceptions, inspect.isclass)
        if issubclass(each, aiohttp.ClientError)
    ]
    assert len(classes) > 20
    for foreign in [*classes, TimeoutError, asyncio.TimeoutError, ConnectionResetError, OSError]:
        bare = {"__init__": lambda _self: None, "__str__": lambda _self: "said"}
        error: Exception = type(foreign.__name__, (foreign,), bare)()
        with pytest.raises(Unavailable) as caught, translated("GET /x"):
            raise error
        assert caught.value.__cause__ is error


def test_our_own_errors_pass_the_translation() -> None:
    with pytest.raises(Gone), translated("GET /x"):
        raise Gone("too old")


def test_messages_are_one_bounded_line() -> None:
    error = error_of("GET /x", 400, b"\n".join([b"word"] * 1000))
    assert "\n" not in str(error)
    assert len(str(error)) <= MESSAGE_LIMIT + len("GET /x: 400 ")


async def test_a_terminating_namespace_is_told_from_missing_rights(api: Api, kube: Kube) -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating"}]}
    api.refuse("POST", "/pods", 403, "being terminated", details=causes)
    api.refuse("POST", "/pods", 403, "cannot create")
    with pytest.raises(Terminating):
        await kube.create("/api/v1/namespaces/a/pods", {})
    with pytest.raises(Forbidden) as caught:
        await kube.create("/api/v1/namespaces/a/pods", {})
    assert not isinstance(caught.value, Terminating)


async def test_a_missing_namespace_is_told_from_a_missing_object(api: Api, kube: Kube) -> None:
    api.refuse("POST", "/pods", 404, "not found", details={"kind": "namespaces"})
    with pytest.raises(NamespaceNotFound):
        await kube.create("/api/v1/namespaces/a/pods", {})
    with pytest.raises(NotFound) as caught:
        await kube.get("/api/v1/namespaces/a/pods/b")
    assert not isinstance(caught.value, NamespaceNotFound)


async def test_retry_after_is_handed_on(api: Api, kube: Kube) -> None:
    api.refuse("GET", "/pods", 429, headers={"Retry-After": "7"})
    with pytest.raises(Unavailable) as caught:
        await kube.get(PODS)
    assert caught.value.retry_after == 7


async def test_no_server_is_unavailable(tmp_path: Path) -> None:
    kube = await Kube.connect(write_kubeconfig(tmp_path, "http://127.0.0.1:1"))
    with pytest.raises(Unavailable):
        await kube.get(PODS)
    await kube.close()


async def test_a_write_does_not_outlast_its_time(
    api: Api, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WRITE_TIMEOUT", 0.05)
    kube = await Kube.connect(kubeconfig)
    api.faults.append(("PATCH", "/a", lambda: asyncio.sleep(3600)))
    with pytest.raises(Unavailable):
        await kube.merge_patch("/api/v1/namespaces/n/pods/a", {})
    await kube.close()


async def test_a_refused_token_is_read_again_once(api: Api, kube: Kube, tmp_path: Path) -> None:
    api.put("pods", "n", "a")
    api.tokens = {"second"}
    (tmp_path / "token").write_text("second\n")
    await asyncio.gather(*(kube.get("/api/v1/namespaces/n/pods/a") for _ in range(5)))
    assert {each.headers["authorization"] for each in api.seen} == {"Bearer first", "Bearer second"}
    api.tokens = {"third"}
    with pytest.raises(Unavailable):
        await kube.get("/api/v1/namespaces/n/pods/a")


async def test_an_unreadable_token_is_unavailable_not_a_crash(api: Api, kube: Kube, tmp_path: Path) -> None:
    api.tokens = {"second"}
    (tmp_path / "token").unlink()
    with pytest.raises(Unavailable, match="credentials"):
        await kube.get("/api/v1/namespaces/n/pods/a")


@pytest.mark.parametrize("content", ["", "not: a kubeconfig", "[]", "{", None])
async def test_an_unusable_configuration_is_said_so(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "broken"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="broken"):
        await Kube.connect(path)


def test_connecting_leaves_the_kubeconfig_alone(tmp_path: Path) -> None:
    async def connect() -> None:
        await (await Kube.connect(kubeconfig)).close()

    kubeconfig = write_kubeconfig(tmp_path, "http://127.0.0.1:1")
    before = kubeconfig.read_text(), kubeconfig.stat().st_mtime_ns
    asyncio.run(connect())
    assert before == (kubeconfig.read_text(), kubeconfig.stat().st_mtime_ns)


async def test_another_client_can_connect_as_we_do(api: Api, kube: Kube) -> None:
    connection = await kube.connection()
    assert (connection.server, connection.token) == (api.url, "first")


async def test_the_guard_is_asked_before_every_write_but_the_leases_own(api: Api, kube: Kube) -> None:
    def guard() -> None:
        raise LeadershipLost("late")

    api.put("leases", "ops", "rollbook")
    kube.guard = guard
    for write in (
        kube.create("/api/v1/namespaces/n/pods", {}),
        kube.merge_patch(LEASE, {}),
        kube.json_patch(LEASE, []),
        kube.delete(LEASE),
    ):
        with pytest.raises(LeadershipLost):
            await write
    await kube.get(LEASE)
    await kube.merge_patch(LEASE, {"spec": {}}, fenced=False)
    assert [each.method for each in api.seen] == ["GET", "PATCH"]


async def test_the_guard_is_asked_again_when_a_refused_token_took_time(
    api: Api, kube: Kube, tmp_path: Path
) -> None:
    asked = iter([None, LeadershipLost("late")])

    def guard() -> None:
        if error := next(asked):
            raise error

    kube.guard = guard
    api.tokens = {"second"}
    (tmp_path / "token").write_text("second\n")
    with pytest.raises(LeadershipLost):
        await kube.delete(LEASE)
    assert len(api.seen) == 1


async def test_requests_are_observed(api: Api, kube: Kube) -> None:
    seen: list[tuple[str, str, int]] = []
    kube.observer = lambda verb, resource, status, _seconds: seen.append((verb, resource, status))
    api.put("leases", "ops", "rollbook")
    api.scripts.append(then(b"{}\n"))
    await kube.get(LEASE)
    with pytest.raises(NotFound):
        await kube.get("/api/v1/namespaces/n/pods/a")
    assert [each async for each in kube.stream(PODS)] == [b"{}"]
    assert seen == [("GET", "leases", 200), ("GET", "pods", 404), ("WATCH", "pods", 200)]


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/pods", "pods"),
        ("/api/v1/namespaces", "namespaces"),
        ("/api/v1/namespaces/n", "namespaces"),
        ("/api/v1/namespaces/n/pods/p", "pods"),
        ("/apis/apps/v1/deployments", "deployments"),
        ("/apis/rollbook.dev/v1alpha1/namespaces/n/deploymentrecords/r/status", "deploymentrecords/status"),
        ("/apis/rollbook.dev/v1alpha1/trackingsinks/s/status", "trackingsinks/status"),
        ("/version", ""),
    ],
)
def test_metrics_are_by_resource(path: str, resource: str) -> None:
    assert resource_of(path) == resource


async def _names(kube: Kube, **arguments: Any) -> list[str]:
    return [item.metadata.name async for page in kube.list_pages(PODS, Bare, **arguments) for item in page.items]


async def test_a_list_is_read_page_by_page(api: Api, kube: Kube) -> None:
    names = [f"p{number}" for number in range(7)]
    for name in names:
        api.put("pods", "n", name)
    assert await _names(kube, limit=3) == names
    assert [each.query.get("continue") for each in api.seen] == [None, "3", "6"]


async def test_a_list_that_outlives_its_snapshot_is_gone(api: Api, kube: Kube) -> None:
    for number in range(3):
        api.put("pods", "n", f"p{number}")
    pages = kube.list_pages(PODS, Bare, limit=2)
    async with aclosing(pages):
        assert len((await anext(pages)).items) == 2
        api.refuse("GET", "/pods", 410, "too old")
        with pytest.raises(Gone):
            await anext(pages)


async def test_a_page_of_another_shape_is_invalid(api: Api, kube: Kube) -> None:
    api.refuse("GET", "/pods", 200, raw='{"items": [{"metadata": 7}]}')
    with pytest.raises(InvalidObject):
        await _names(kube)


async def test_a_truncated_body_is_unavailable(api: Api, kube: Kube) -> None:
    api.scripts.append(then(b'{"type"', last="cut"))
    with pytest.raises(Unavailable):
        await kube.get(PODS, params={"watch": "true"})


async def test_a_watch_yields_whole_lines_only(api: Api, kube: Kube) -> None:
    first, second = line("ADDED", {"n": 1}), line("ADDED", {"n": 2})
    api.scripts.append(then(first[:10], first[10:] + second, second[:10]))
    lines = [each async for each in kube.stream(PODS, {"resourceVersion": "5"})]
    assert [each + b"\n" for each in lines] == [first, second]
    assert api.seen[0].query == {"resourceVersion": "5", "watch": "true", "allowWatchBookmarks": "true"}


async def test_a_silent_watch_is_noticed(api: Api, kube: Kube) -> None:
    api.scripts.append(then(line("ADDED", {}), last="hang"))
    lines = kube.stream(PODS, silence=0.05)
    assert await anext(lines)
    with pytest.raises(Silence):
        await anext(lines)


async def test_a_refused_watch_says_why(api: Api, kube: Kube) -> None:
    api.tokens = {"other"}
    with pytest.raises(Unavailable, match=str(HTTPStatus.UNAUTHORIZED.value)):
        await anext(kube.stream(PODS))
