"""Each sink with the request that its API documents, written from WIRE and not from our payload code."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from rollbook.core.errors import SinkError
from rollbook.core.transition import Kind
from rollbook.delivery import Delivery, Sink
from rollbook.sinks import registry
from rollbook.sinks.http import Timeouts
from tests.unit.sinks.builders import AT, BEGAN, DIGEST, SLOT_UID, TOKEN, delivery, tracking_sink
from tests.unit.sinks.server import ApiServer, Behaviour, reply

SHORT: Final = Timeouts(connect=0.3, write=0.3, read=0.3, total=0.6, body=0.3)
"""For tests that wait for a time to run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call of one sink."""

    name: str
    spec: Mapping[str, Any]
    delivery: Delivery
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    accepts: Behaviour
    """What the API answers when it takes the call."""
    returns: Mapping[str, str] | None = None
    absent: frozenset[str] = field(default_factory=frozenset)
    """Headers that must not be there."""

    def sink(self, api: ApiServer, *, timeouts: Timeouts | None = None) -> Sink:
        """The sink, pointed at this server."""
        ((kind, destination),) = self.spec.items()
        built = tracking_sink({kind: {**destination, "endpoint": api.url}})
        credential = registry.Credential(token=TOKEN, hosts=frozenset({api.authority}))
        return registry.build(built, credential, timeouts=timeouts)


_RECORD: Final = {
    "environment_name": "prod",
    "artifact_digest": DIGEST,
    "kind": "CONTAINER_IMAGE",
    "artifact_name": "ghcr.io/acme/billing",
    "artifact_version": "1.4.2",
    "status": "DEPLOYED",
    "deployment_name": "pay/billing/app",
}
_RECORDED: Final = {
    "deployment_record": {
        "id": "c4a760a8-dbcf-5254-a0d9-6a4474bd1b62",
        "environment_name": "prod",
        "artifact": {"kind": "CONTAINER_IMAGE", "name": "ghcr.io/acme/billing", "digest": DIGEST},
        "deployment_name": "pay/billing/app",
        "status": "DEPLOYED",
    }
}


def _event(project: str, kind: str, time: int) -> dict[str, Any]:
    return {
        "projectKey": project,
        "environmentKey": "prod",
        "applicationKey": "billing",
        "version": "1.4.2",
        "eventType": kind,
        "eventTime": time,
        "eventMetadata": {"timeSource": "ProgressingCondition"},
        "deploymentMetadata": {
            "id": f"{SLOT_UID}/7",
            "digest": DIGEST,
            "image": "ghcr.io/acme/billing:1.4.2",
            "cluster": "eu-1",
            "namespace": "pay",
            "workload": "billing",
            "kind": "Deployment",
            "container": "app",
            "deploymentName": "pay/billing/app",
        },
    }


def _told(project: str) -> dict[str, str]:
    return {"project": project, "environment": "prod", "application": "billing", "version": "1.4.2"}


_BEARER: Final = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
_BARE: Final = {"authorization": TOKEN, "content-type": "application/json", "ld-api-version": "beta"}
_EVENTS: Final = "/api/v2/engineering-insights/deployment-events"

CASES: Final = (
    Case(
        name="chainloop hears DEPLOYED",
        spec={"chainloop": {}},
        delivery=delivery(Kind.DEPLOYED),
        path="/v1/deployments",
        headers=_BEARER,
        absent=frozenset({"ld-api-version"}),
        body=_RECORD,
        accepts=reply(200, _RECORDED),
    ),
    Case(
        name="launchDarkly hears started",
        spec={"launchDarkly": {"projectKey": "payments"}},
        delivery=delivery(Kind.STARTED),
        path=_EVENTS,
        headers=_BARE,
        body=_event("payments", "started", BEGAN),
        accepts=reply(201, {}),
        returns=_told("payments"),
    ),
    Case(
        name="launchDarkly hears finished",
        spec={"launchDarkly": {"projectKey": "payments"}},
        delivery=delivery(Kind.FINISHED),
        path=_EVENTS,
        headers=_BARE,
        body=_event("payments", "finished", AT),
        accepts=reply(201),
    ),
    Case(
        name="the tracker hears DEPLOYED",
        spec={"tracker": {}},
        delivery=delivery(Kind.DEPLOYED),
        path="/v1/deployments",
        headers=_BEARER,
        absent=frozenset({"ld-api-version"}),
        body=_RECORD,
        accepts=reply(200, _RECORDED),
    ),
    Case(
        name="the tracker hears started",
        spec={"tracker": {}},
        delivery=delivery(Kind.STARTED),
        path=_EVENTS,
        headers=_BARE,
        body=_event("rollbook", "started", BEGAN),
        accepts=reply(201, {}),
        returns=_told("rollbook"),
    ),
)


every_sink = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@asynccontextmanager
async def ready(case: Case, api: ApiServer, **options: Any) -> AsyncIterator[Sink]:
    sink = case.sink(api, **options)
    try:
        yield sink
    finally:
        await sink.close()


async def refusal(case: Case, api: ApiServer, behaviour: Behaviour, **options: Any) -> SinkError:
    """What the sink raises when the API behaves so."""
    api.behaviour = behaviour
    async with ready(case, api, **options) as sink:
        with pytest.raises(SinkError) as caught:
            await sink.deliver(case.delivery)
    error = caught.value
    message = str(error)
    assert TOKEN not in message
    assert len(message) <= 300
    assert message.isprintable()
    assert error.__cause__ is None
    assert error.__context__ is None, "a traceback would show foreign text"
    return error
