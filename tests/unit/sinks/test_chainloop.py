"""Chainloop's dialect: what is told, how, and what its answer may say against it."""

from dataclasses import replace
from typing import Any

import pytest

from rollbook.core.errors import SinkRejected
from rollbook.core.transition import ArtifactKind, Channel, Kind
from rollbook.crd.sink import ChainloopSpec
from rollbook.sinks.chainloop import ChainloopApi, hears, payload
from rollbook.sinks.http import HttpClient
from tests.unit.sinks.builders import ARTIFACT, DIGEST, TOKEN, delivery
from tests.unit.sinks.server import ApiServer, reply

OTHER = "sha256:" + "1" * 64


def test_the_golden_body_of_a_decommission() -> None:
    assert payload(delivery(Kind.DECOMMISSIONED), ChainloopSpec()) == {
        "environment_name": "prod",
        "artifact_digest": DIGEST,
        "kind": "CONTAINER_IMAGE",
        "artifact_name": "ghcr.io/acme/billing",
        "artifact_version": "1.4.2",
        "status": "DECOMMISSIONED",
        "deployment_name": "pay/billing/app",
    }


def test_the_golden_body_of_a_chart_in_an_environment_of_another_name() -> None:
    spec = ChainloopSpec(environments={"prod": "eu-cluster", "dev": "elsewhere"})
    artifact = replace(ARTIFACT, kind=ArtifactKind.HELM_CHART, version="", name="charts/billing")
    assert payload(delivery(Kind.DEPLOYED, artifact=artifact), spec) == {
        "environment_name": "eu-cluster",
        "artifact_digest": DIGEST,
        "kind": "HELM_CHART",
        "artifact_name": "charts/billing",
        "status": "DEPLOYED",
        "deployment_name": "pay/billing/app",
    }


@pytest.mark.parametrize("digest", [None, "", "sha256:", "a" * 64, "sha256:" + "A" * 64, "sha512:" + "a" * 128])
async def test_a_digest_that_chainloop_cannot_know_is_not_sent(api: ApiServer, digest: str | None) -> None:
    client = HttpClient(api.url, TOKEN)
    with pytest.raises(SinkRejected, match="digest is"):
        await ChainloopApi(ChainloopSpec(), client).deliver(delivery(Kind.DEPLOYED, digest=digest))
    await client.close()
    assert not api.connections


@pytest.mark.parametrize("kind", list(Kind))
async def test_only_deployed_and_decommissioned_are_told(api: ApiServer, kind: Kind) -> None:
    told = kind in (Kind.DEPLOYED, Kind.DECOMMISSIONED)
    assert hears(delivery(kind).transition) is told
    api.behaviour = reply(200)
    client = HttpClient(api.url, TOKEN)
    await ChainloopApi(ChainloopSpec(), client).deliver(delivery(kind))
    await client.close()
    assert len(api.heard) == told
    assert ChainloopApi.channels == {Channel.STATE}


async def test_an_uncertain_delivery_is_just_repeated(api: ApiServer) -> None:
    api.behaviour = reply(200)
    client = HttpClient(api.url, TOKEN)
    await ChainloopApi(ChainloopSpec(), client).deliver(delivery(Kind.DEPLOYED, uncertain=True))
    await client.close()
    assert [heard.method for heard in api.heard] == ["POST"]


@pytest.mark.parametrize("name", ["deployment_record", "deploymentRecord"])
@pytest.mark.parametrize(
    ("record", "contradiction"),
    [
        ({"artifact": {"digest": DIGEST}, "status": "DEPLOYED"}, None),
        ({"artifact": {"digest": OTHER}, "status": "DEPLOYED"}, f"{OTHER} was recorded instead of {DIGEST}"),
        ({"artifact": {"digest": DIGEST}, "status": "DECOMMISSIONED"}, "as DECOMMISSIONED instead of DEPLOYED"),
        ({"artifact": {"digest": "another spelling"}, "status": "DEPLOYMENT_STATUS_DEPLOYED"}, None),
        ({"artifact": [], "status": {}}, None),
        ({"artifact": {"digest": {}}, "status": []}, None),
        ({}, None),
        (None, None),
    ],
)
async def test_an_answer_is_believed_only_when_it_is_clear(
    api: ApiServer, name: str, record: Any, contradiction: str | None
) -> None:
    api.behaviour = reply(200, {name: record})
    client = HttpClient(api.url, TOKEN)
    sink = ChainloopApi(ChainloopSpec(), client)
    if contradiction:
        with pytest.raises(SinkRejected, match=contradiction):
            await sink.deliver(delivery(Kind.DEPLOYED))
    else:
        await sink.deliver(delivery(Kind.DEPLOYED))
    await client.close()
    assert len(api.heard) == 1
