"""What kopf is told to hear: events only, and nothing is ever stored on an object."""

import itertools
from collections.abc import Mapping
from typing import Any

import kopf
import pytest

from rollbook.operator.handlers import Ears, registry

KINDS = {
    "deployment": ("apps", "v1", "deployments"),
    "namespace": ("", "v1", "namespaces"),
    "sink": ("rollbook.dev", "v1alpha1", "trackingsinks"),
    "record": ("rollbook.dev", "v1alpha1", "deploymentrecords"),
}


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Mapping[str, Any], bool]] = []
        self.handlers = registry(Ears(**{name: self._ear(name) for name in KINDS}), self._login)

    def _ear(self, name: str) -> Any:
        async def hear(body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - a port of kopf's events
            self.heard.append((name, body, gone))

        return hear

    async def _login(self) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server="https://127.0.0.1:1")

    def activity(self, name: str) -> Any:
        """The function that kopf calls at this occasion."""
        (handler,) = (each for each in self.handlers._activities.get_all_handlers() if each.id == name)
        return handler.fn


@pytest.fixture
def listener() -> Listener:
    return Listener()


def test_nothing_but_events_is_heard(listener: Listener) -> None:
    handlers = listener.handlers
    found = {
        handler.id: (handler.selector.group, handler.selector.version, handler.selector.any_name)
        for handler in handlers._watching.get_all_handlers()
        if handler.selector
    }
    assert found == KINDS
    others = (handlers._changing, handlers._spawning, handlers._indexing, handlers._webhooks)
    assert [list(each.get_all_handlers()) for each in others] == [[], [], [], []]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("kind", "gone"), [(None, False), ("ADDED", False), ("MODIFIED", False), ("DELETED", True)]
)
async def test_each_event_is_handed_on_as_it_is(
    listener: Listener,
    name: str,
    kind: str | None,
    gone: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    (handler,) = (each for each in listener.handlers._watching.get_all_handlers() if each.id == name)
    body = {"metadata": {"name": "x"}}
    function: Any = handler.fn
    assert await function(event={"type": kind, "object": body}, body={}, anything="else") is None
    assert listener.heard == [(name, body, gone)]


async def test_kopf_is_kept_from_everything_but_watching(listener: Listener) -> None:
    settings = kopf.OperatorSettings()
    await listener.activity("settings")(settings=settings, memo=None)
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.networking.request_timeout == 60
    backoffs = list(itertools.islice(settings.networking.error_backoffs, 100))  # type: ignore[arg-type]  # an endless one
    assert backoffs == sorted(backoffs)
    assert (backoffs[0], backoffs[-1]) == (1, 20), "an outage does not end the operator"
    storage: Any = settings.persistence.diffbase_storage
    assert (storage.build(body={}), storage.fetch(body={})) == ({}, None)
    with pytest.raises(AssertionError, match="stores nothing"):
        storage.store(body={}, patch={}, essence={})


async def test_kopf_logs_in_as_we_do(listener: Listener) -> None:
    connection = await listener.activity("login")(logger=None)
    assert connection.server == "https://127.0.0.1:1"
