"""The credentials' mirror: labelled Secrets of one namespace, and no other."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rollbook.kube.client import Kube
from rollbook.operator.secrets import secrets
from rollbook.operator.tracking_sinks import HOSTS, TrackingSinks
from tests.fakes import eventually
from tests.unit.kube.api import Api, line, then
from tests.unit.office import Office, open_office
from tests.unit.operator.test_tracking_sinks import HOST, body

NAMESPACE = "rollbook-system"
TOKEN = {"token": base64.b64encode(b"a-token").decode()}


def put(api: Api, name: str = "tracking", **content: Any) -> dict[str, Any]:
    metadata = {"annotations": {HOSTS: f" {HOST} ,, other.example"}, **content.pop("metadata", {})}
    return api.put("secrets", NAMESPACE, name, metadata=metadata, **{"data": TOKEN, **content})


class Desk:
    """Sinks fed by the mirror, as the operator does it."""

    def __init__(self, kube: Kube, office: Office) -> None:
        self.changed = asyncio.Event()
        self.sinks = TrackingSinks(kube, office.roster, lambda: None)
        self.mirror = secrets(kube, NAMESPACE, self.sinks, self.changed.set)
        self.office = office

    async def refresh(self) -> None:
        """Take up what has changed, until cancelled."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            await self.sinks.refresh()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the mirror at work."""
        tasks = [asyncio.ensure_future(self.mirror.run()), asyncio.ensure_future(self.refresh())]
        try:
            async with asyncio.timeout(5):
                await self.mirror.synced.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def usable(self) -> bool:
        """Whether the only sink could be built."""
        (courier,) = self.office.roster
        return type(courier.sink).__name__ == "ConfiguredSink"


@pytest.fixture
async def desk(kube: Kube) -> AsyncIterator[Desk]:
    async with open_office() as office:
        made = Desk(kube, office)
        await made.sinks.heard(body(), deleted=False)
        yield made


async def test_only_labelled_secrets_of_the_own_namespace_are_asked_for(api: Api, desk: Desk) -> None:
    async with desk.running():
        await eventually(lambda: len(api.calls("GET", "/secrets")) >= 2)
    asked = api.calls("GET", "/secrets")
    assert {each.path for each in asked} == {f"/api/v1/namespaces/{NAMESPACE}/secrets"}
    assert {each.query["labelSelector"] for each in asked} == {"rollbook.dev/credentials=true"}


async def test_a_secret_that_is_there_at_the_start_is_used(api: Api, desk: Desk) -> None:
    put(api)
    async with desk.running():
        await eventually(lambda: desk.usable)


async def test_a_secret_that_comes_changes_and_goes_is_followed(api: Api, desk: Desk) -> None:
    told: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(response: Any) -> None:
        while True:
            await response.write(await told.get())

    api.scripts.append(script)
    async with desk.running():
        assert not desk.usable
        made = put(api)
        told.put_nowait(line("ADDED", made))
        await eventually(lambda: desk.usable)
        told.put_nowait(
            line("MODIFIED", {**made, "data": {}, "metadata": {**made["metadata"], "resourceVersion": "200"}})
        )
        await eventually(lambda: not desk.usable)
        told.put_nowait(line("MODIFIED", {**made, "metadata": {**made["metadata"], "resourceVersion": "201"}}))
        await eventually(lambda: desk.usable)
        told.put_nowait(line("DELETED", {**made, "metadata": {**made["metadata"], "resourceVersion": "202"}}))
        await eventually(lambda: not desk.usable)


@pytest.mark.parametrize(
    "content", [{"data": {}}, {"metadata": {"annotations": {}}}, {"metadata": {"annotations": None}}]
)
async def test_a_secret_without_data_or_hosts_is_none_that_can_be_used(
    api: Api, desk: Desk, content: dict[str, Any]
) -> None:
    put(api, **content)
    put(api, name="unrelated")
    api.scripts.append(then(last="hang"))
    async with desk.running():
        await eventually(lambda: not desk.changed.is_set())
        assert not desk.usable
