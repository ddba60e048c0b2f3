"""From what kopf has heard to those whom it concerns: parse, call, return."""

from collections.abc import Mapping
from typing import Any

from rollbook.core.errors import InvalidObject
from rollbook.kube.deployments import project, project_namespace
from rollbook.kube.wire import Bare, Metadata, convert
from rollbook.operator.handlers import Ears
from rollbook.operator.tracking_sinks import TrackingSinks
from rollbook.wiring import App, failed


class _Namesakes:
    """Tells events of an object whose name another has taken since: kopf keeps order for each UID only."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[str, int]] = {}

    def is_late(self, name: str, metadata: Metadata, *, gone: bool) -> bool:
        """Whether this is of the one before."""
        version = int(metadata.resource_version or 0)
        uid, newest = self._newest.get(name, (metadata.uid, 0))
        if uid != metadata.uid and version < newest:
            return True
        if gone:
            self._newest.pop(name, None)
        else:
            self._newest[name] = (metadata.uid, version)
        return False


class _Hearing:
    """Hands on what is heard."""

    def __init__(self, app: App, sinks: TrackingSinks) -> None:
        self._app = app
        self._sinks = sinks
        self._deployments = _Namesakes()
        self._namespaces = _Namesakes()

    async def deployment(self, body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - a port of kopf's events
        try:
            heard, metadata = project(body), convert(body, Bare).metadata
        except InvalidObject as error:
            failed("deployment", error)
            return
        if self._deployments.is_late(heard.ref.label, metadata, gone=gone):
            return
        if gone:
            self._app.cluster.forget_deployment(heard.ref, heard.uid)
        else:
            self._app.cluster.hear_deployment(heard)

    async def namespace(self, body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - likewise
        try:
            heard, metadata = project_namespace(body), convert(body, Bare).metadata
        except InvalidObject as error:
            failed("namespace", error)
            return
        if self._namespaces.is_late(heard.name, metadata, gone=gone):
            return
        if gone:
            self._app.publisher.born.pop(heard.name, None)
            self._app.cluster.forget_namespace(heard.name)
        else:
            self._app.publisher.born[heard.name] = metadata.created
            self._app.cluster.hear_namespace(heard)

    async def sink(self, body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - likewise
        await self._sinks.heard(body, deleted=gone)

    async def record(self, body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - likewise
        try:
            self._app.records.heard(body, deleted=gone)
        except InvalidObject as error:
            failed("record", error)


def ears(app: App, sinks: TrackingSinks) -> Ears:
    """Who is told of what in a leading operator."""
    hearing = _Hearing(app, sinks)
    return Ears(
        deployment=hearing.deployment,
        namespace=hearing.namespace,
        sink=hearing.sink,
        record=hearing.record,
    )
