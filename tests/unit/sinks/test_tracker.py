"""The embedded tracker's sink: both vendors' calls, and nothing of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rollbook.core.errors import SinkRejected, SinkUnavailable
from rollbook.core.transition import Channel, Kind
from rollbook.crd.sink import TrackerSpec
from rollbook.sinks.http import HttpClient
from rollbook.sinks.tracker import TrackerApi
from tests.unit.sinks.builders import DIGEST, TOKEN, delivery
from tests.unit.sinks.insights import EVENTS, Insights
from tests.unit.sinks.server import ApiServer, in_turn, reply


@pytest_asyncio.fixture
async def sink(api: ApiServer) -> AsyncIterator[TrackerApi]:
    client = HttpClient(api.url, TOKEN)
    spec = TrackerSpec(endpoint=api.url, project_key="ours", environments={"prod": "production"})
    yield TrackerApi(spec, client)
    await client.close()


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (Kind.DEPLOYED, "/v1/deployments"),
        (Kind.DECOMMISSIONED, "/v1/deployments"),
        (Kind.SUPERSEDED, None),
        (Kind.UNTRACKED, None),
        (Kind.STARTED, EVENTS),
        (Kind.FINISHED, EVENTS),
        (Kind.FAILED, EVENTS),
    ],
)
async def test_each_kind_has_its_call(api: ApiServer, sink: TrackerApi, kind: Kind, call: str | None) -> None:
    api.behaviour = reply(200, {})
    await sink.deliver(delivery(kind))
    assert [heard.path for heard in api.heard] == ([call] if call else [])
    assert sink.channels == {Channel.STATE, Channel.ROLLOUT}


async def test_both_calls_use_the_mapped_environment_and_one_connection(api: ApiServer, sink: TrackerApi) -> None:
    api.behaviour = reply(200, {})
    await sink.deliver(delivery(Kind.DEPLOYED))
    told = await sink.deliver(delivery(Kind.STARTED))
    state, rollout = api.heard
    assert state.json()["environment_name"] == rollout.json()["environmentKey"] == "production"
    assert state.json()["artifact_digest"] == DIGEST
    assert (state.headers["authorization"], rollout.headers["authorization"]) == (f"Bearer {TOKEN}", TOKEN)
    assert told == {
        "project": "ours",
        "environment": "production",
        "application": "billing",
        "version": "1.4.2",
    }
    assert api.connections == 1


async def test_a_project_chosen_for_launchdarkly_is_not_the_trackers(api: ApiServer, sink: TrackerApi) -> None:
    api.behaviour = reply(201)
    await sink.deliver(delivery(Kind.STARTED, project="payments"))
    assert api.heard[0].json()["projectKey"] == "ours"


async def test_the_rules_of_the_vendors_hold(api: ApiServer, sink: TrackerApi) -> None:
    with pytest.raises(SinkRejected, match="version"):
        await sink.deliver(delivery(Kind.STARTED, version="1.0+build"))
    with pytest.raises(SinkRejected, match="digest"):
        await sink.deliver(delivery(Kind.DEPLOYED, digest="sha256:short"))
    assert not api.connections


async def test_a_lost_answer_is_looked_for(api: ApiServer, sink: TrackerApi) -> None:
    insights = Insights()
    api.behaviour = in_turn(insights.lost_answer(), insights)
    with pytest.raises(SinkUnavailable):
        await sink.deliver(delivery(Kind.STARTED))
    await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert len(insights.events) == 1
