"""From what kopf has heard to those whom it concerns: parse, call, return."""

from collections.abc import Mapping
from typing import Any

from rollbook.core.errors import InvalidObject
from rollbook.kube.deployments import project, project_namespace
from rollbook.kube.wire import Bare, convert
from rollbook.operator.handlers import Ears
from rollbook.operator.tracking_sinks import TrackingSinks
from rollbook.wiring import App, failed


def ears(app: App, sinks: TrackingSinks) -> Ears:
    """Who is told of what in a leading operator."""

    async def deployment(body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - a port of kopf's events
        try:
            heard = project(body)
        except InvalidObject as error:
            failed("deployment", error)
            return
        if gone:
            app.cluster.forget_deployment(heard.ref, heard.uid)
        else:
            app.cluster.hear_deployment(heard)

    async def namespace(body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - likewise
        try:
            heard, born = project_namespace(body), convert(body, Bare).metadata.created
        except InvalidObject as error:
            failed("namespace", error)
            return
        if gone:
            app.publisher.born.pop(heard.name, None)
            app.cluster.forget_namespace(heard.name)
        else:
            app.publisher.born[heard.name] = born
            app.cluster.hear_namespace(heard)

    async def sink(body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - likewise
        await sinks.heard(body, deleted=gone)

    async def record(body: Mapping[str, Any], gone: bool) -> None:  # noqa: FBT001 - likewise
        try:
            app.records.heard(body, deleted=gone)
        except InvalidObject as error:
            failed("record", error)

    return Ears(deployment=deployment, namespace=namespace, sink=sink, record=record)
