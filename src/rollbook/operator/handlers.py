"""What kopf hears. Handlers parse, call, return None; they decide nothing and store nothing on any object.

Only `on.event`: every other kind of handler writes annotations or finalizers to the objects that it watches.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import kopf

Heard = Callable[[Mapping[str, Any], bool], Awaitable[None]]
"""Told of an object and whether it is gone."""

GROUP: Final = "rollbook.dev"
VERSION: Final = "v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who is told of what."""

    deployment: Heard
    namespace: Heard
    sink: Heard
    record: Heard


def registry(ears: Ears, login: Callable[[], Awaitable[kopf.ConnectionInfo]]) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own."""
    handlers = kopf.OperatorRegistry()
    kopf.on.login(registry=handlers, id="login")(_login(login))
    kopf.on.startup(registry=handlers, id="settings")(_configure)
    _listen(handlers, "deployment", ears.deployment, "apps", "v1", "deployments")
    _listen(handlers, "namespace", ears.namespace, "", "v1", "namespaces")
    _listen(handlers, "sink", ears.sink, GROUP, VERSION, "trackingsinks")
    _listen(handlers, "record", ears.record, GROUP, VERSION, "deploymentrecords")
    return handlers


def _listen(handlers: kopf.OperatorRegistry, name: str, heard: Heard, *resource: str) -> None:
    async def handle(event: Any, **_: Any) -> None:
        await heard(event["object"], event["type"] == "DELETED")

    kopf.on.event(*resource, registry=handlers, id=name)(handle)


def _login(login: Callable[[], Awaitable[kopf.ConnectionInfo]]) -> Any:
    async def handle(**_: Any) -> kopf.ConnectionInfo:
        return await login()

    return handle


async def _configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.watching.chunk_size = 250
    settings.queueing.idle_timeout = 0.1
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.request_timeout = 60
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


class _NoDiffBase(kopf.AnnotationsDiffBaseStorage):
    """Nothing is compared and nothing is stored: events are hints. Saves half of kopf's CPU (deep copies)."""

    def build(self, **_: Any) -> Any:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        return {}

    def fetch(self, **_: Any) -> Any:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        return None

    def store(self, **_: Any) -> None:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        raise AssertionError("Rollbook stores nothing on watched objects")


class _Backoffs:
    """Seconds between retries of kopf's requests; without an end, so that an outage does not end the operator."""

    def __iter__(self) -> Iterator[float]:
        yield from (1, 1, 2, 3, 5, 8, 13)
        while True:
            yield 20


async def listen(handlers: kopf.OperatorRegistry, stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Run kopf in this loop until `stop`; sets `ready` when it has begun, raises what ends it otherwise."""
    await kopf.operator(registry=handlers, clusterwide=True, stop_flag=stop, ready_flag=ready)
