"""The mirror: what it makes of cut, silent and refused watches, and of lists that lack something."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from rollbook.kube.client import Kube
from rollbook.kube.watch import Collection, Patience, Reflector
from rollbook.kube.wire import Bare
from tests.unit.kube.api import Api, Object, Refusal, eventually, line, then

QUICK = Patience(silence=0.05, doubt=60, pause=0.005, longest_pause=0.01)


@dataclass
class Heard:
    """What a mirror's owner was told."""

    told: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def upsert(self, name: str) -> None:
        """Hear of a pod."""
        self.told.append(f"+{name}")

    def delete(self, uid: str) -> None:
        """Hear that one is gone."""
        self.told.append(f"-{uid}")


Mirror = Callable[..., AbstractAsyncContextManager[Reflector[Bare, str]]]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def mirror(kube: Kube, heard: Heard) -> Mirror:
    """Starts a mirror of pods, of which those named `other…` do not concern us."""

    @asynccontextmanager
    async def running(
        patience: Patience = QUICK, upsert: Callable[[str], None] = heard.upsert
    ) -> AsyncIterator[Reflector[Bare, str]]:
        collection = Collection(
            path="/api/v1/pods",
            shape=Bare,
            project=lambda wire: None if wire.metadata.name.startswith("other") else wire.metadata.name,
        )
        reflector = Reflector(
            kube,
            collection,
            upsert=upsert,
            delete=heard.delete,
            on_error=heard.errors.append,
            patience=patience,
        )
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector
        finally:
            assert not task.done(), "a mirror never ends by itself"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return running


def pod(name: str, version: int = 1) -> Object:
    return {"metadata": {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": str(version)}}


def versions(api: Api) -> list[str | None]:
    """The version that each watch began at; None: a list."""
    return [each.query.get("resourceVersion") for each in api.seen]


async def test_what_is_there_is_told_then_what_happens(api: Api, heard: Heard, mirror: Mirror) -> None:
    for name in ("a", "b", "other"):
        api.put("pods", "n", name)
    events = line("ADDED", pod("c", 201)), line("MODIFIED", pod("c", 202)), line("DELETED", pod("c", 203))
    api.scripts.append(then(*events, last="hang"))
    async with mirror(Patience()) as reflector:
        await asyncio.wait_for(reflector.synced.wait(), 5)
        assert heard.told == ["+a", "+b"]
        await eventually(lambda: len(heard.told) == 5)
    assert heard.told[2:] == ["+c", "+c", "-uid-c"]
    assert (reflector.counters.lists, reflector.counters.events, reflector.counters.ignored) == (1, 3, 1)
    assert heard.errors == []


async def test_a_watch_that_ends_goes_on_from_the_last_version_heard(
    api: Api, heard: Heard, mirror: Mirror
) -> None:
    bookmark = line("BOOKMARK", {"metadata": {"resourceVersion": "300"}})
    api.scripts += [then(line("ADDED", pod("a", 201))), then(bookmark), then(line("ADDED", pod("b", 301)))]
    async with mirror():
        await eventually(lambda: heard.told == ["+a", "+b"])
        await eventually(lambda: len(api.seen) == 5)
    assert versions(api)[:5] == [None, "100", "201", "300", "301"]


async def test_a_cut_watch_goes_on_from_the_last_version_heard(api: Api, heard: Heard, mirror: Mirror) -> None:
    api.scripts += [
        then(line("ADDED", pod("a", 201)), line("ADDED", pod("b", 202))[:20], last="cut"),
        then(line("ADDED", pod("b", 202)), last="hang"),
    ]
    async with mirror():
        await eventually(lambda: heard.told == ["+a", "+b"])
    assert versions(api)[:3] == [None, "100", "201"]
    assert len(heard.errors) >= 1


async def test_half_a_line_that_looks_whole_is_not_taken(api: Api, heard: Heard, mirror: Mirror) -> None:
    api.scripts += [
        then(line("ADDED", pod("a", 201))[:30] + b"\n"),
        then(line("ADDED", pod("a", 201)), last="hang"),
    ]
    async with mirror():
        await eventually(lambda: heard.told == ["+a"])
    assert "InvalidObject" in heard.errors[0]


@pytest.mark.parametrize("code", [410, 500])
async def test_an_error_event_of_any_code_means_to_list_again(
    api: Api, heard: Heard, mirror: Mirror, code: int
) -> None:
    api.scripts.append(then(line("ERROR", {"kind": "Status", "status": "Failure", "code": code, "message": "no"})))
    async with mirror() as reflector:
        await eventually(lambda: reflector.counters.lists == 2)
    assert heard.errors == [f"Gone: watch: {code}  no"]


async def test_a_watch_refused_as_too_old_means_to_list_again(api: Api, heard: Heard, mirror: Mirror) -> None:
    async def refuse(_: object) -> None:
        raise AssertionError

    api.scripts.append(refuse)
    api.scripts[0] = Refusal(410, "too old")  # type: ignore[call-overload]  # answered before the stream begins
    async with mirror() as reflector:
        await eventually(lambda: reflector.counters.lists == 2)
    assert len(heard.errors) == 1


async def test_a_page_that_came_too_late_starts_the_list_over(api: Api, heard: Heard, mirror: Mirror) -> None:
    for number in range(501):
        api.put("pods", "n", f"p{number:03}")
    api.faults.append(("GET", "/pods", lambda: api.refuse("GET", "/pods", 410)))
    async with mirror() as reflector:
        await asyncio.wait_for(reflector.synced.wait(), 5)
    assert len(heard.told) == 500 + 501
    assert not any(each.startswith("-") for each in heard.told)


async def test_what_vanished_during_a_gap_is_deleted_when_the_new_list_is_complete(
    api: Api, heard: Heard, mirror: Mirror
) -> None:
    for name in ("a", "b", "c", "other"):
        api.put("pods", "n", name)

    async def forget(_: object) -> None:
        del api.objects["pods", "n", "b"]
        del api.objects["pods", "n", "other"]
        api.refuse("GET", "/pods", 503)

    api.scripts += [forget, then(line("ERROR", {"code": 410}))]
    async with mirror() as reflector:
        await eventually(lambda: reflector.counters.lists == 2)
    assert heard.told == ["+a", "+b", "+c", "+a", "+c", "-uid-pods-n-b"]


async def test_silence_is_ended_by_another_watch_and_is_no_failure(api: Api, heard: Heard, mirror: Mirror) -> None:
    async with mirror() as reflector:
        await eventually(lambda: len(api.seen) == 5)
    assert versions(api)[:5] == [None, "100", "100", "100", "100"]
    assert (heard.errors, reflector.counters.lists) == ([], 1)


async def test_a_version_that_is_refused_for_long_means_to_list_again(
    api: Api, heard: Heard, mirror: Mirror
) -> None:
    patience = Patience(silence=60, doubt=0.1, pause=0.01, longest_pause=0.02)
    api.scripts += [then() for _ in range(100)]
    async with mirror(patience) as reflector:
        await eventually(lambda: reflector.counters.lists == 2)
    assert len(api.seen) > 4
    assert all("ended without a word" in each for each in heard.errors)


async def test_refusals_are_waited_out_as_long_as_the_server_asks(api: Api, heard: Heard, mirror: Mirror) -> None:
    for _ in range(3):
        api.refuse("GET", "/pods", 503)
    api.refuse("GET", "/pods", 429, headers={"Retry-After": "1"})
    begun = asyncio.get_running_loop().time()
    async with mirror() as reflector:
        await asyncio.wait_for(reflector.synced.wait(), 5)
    assert asyncio.get_running_loop().time() - begun >= 1
    assert len(heard.errors) == 4


async def test_what_no_longer_concerns_us_is_deleted(api: Api, heard: Heard, mirror: Mirror) -> None:
    renamed = pod("other", 202)
    renamed["metadata"]["uid"] = "uid-a"
    api.scripts.append(then(line("ADDED", pod("a", 201)), line("MODIFIED", renamed), last="hang"))
    async with mirror():
        await eventually(lambda: heard.told == ["+a", "-uid-a"])


async def test_an_owner_that_fails_does_not_end_the_mirror(api: Api, heard: Heard, mirror: Mirror) -> None:
    def fail_once(name: str) -> None:
        if not heard.errors:
            raise ValueError("a bug")
        heard.upsert(name)

    api.put("pods", "n", "a")
    async with mirror(upsert=fail_once):
        await eventually(lambda: heard.told == ["+a"])
    assert heard.errors == ["ValueError: a bug"]


async def test_a_line_may_be_long(api: Api, heard: Heard, mirror: Mirror) -> None:
    big = pod("big", 201)
    big["metadata"]["annotations"] = {"long": "x" * 1_400_000}
    text = line("ADDED", big)
    assert json.loads(text)
    api.scripts.append(then(*(text[at : at + 65536] for at in range(0, len(text), 65536)), last="hang"))
    async with mirror(Patience()):
        await eventually(lambda: heard.told == ["+big"])
