"""LaunchDarkly's dialect: identity, bodies, and the way out of doubt."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rollbook.core.errors import SinkRejected, SinkUnauthorized, SinkUnavailable
from rollbook.core.transition import Channel, Kind
from rollbook.crd.sink import LaunchDarklySpec
from rollbook.sinks.answers import Answer
from rollbook.sinks.http import HttpClient
from rollbook.sinks.launchdarkly import (
    LaunchDarklyApi,
    check,
    hears,
    identify,
    payload,
)
from tests.unit.sinks.builders import AT, DIGEST, SLOT_UID, TOKEN, delivery
from tests.unit.sinks.insights import Insights
from tests.unit.sinks.server import ApiServer, reply

SPEC = LaunchDarklySpec(project_key="payments", allowed_projects=("other",), environments={"prod": "production"})
TOLD = {"project": "payments", "environment": "production", "application": "billing", "version": "1.4.2"}
HOUR = 3600 * 1000


@pytest_asyncio.fixture
async def sink(api: ApiServer) -> AsyncIterator[LaunchDarklyApi]:
    client = HttpClient(api.url, TOKEN)
    yield LaunchDarklyApi(SPEC, client)
    await client.close()


def test_the_golden_body_with_everything_in_it() -> None:
    full = delivery(
        Kind.FAILED,
        reason="ImagePullBackOff",
        message="back-off pulling image",
        revision="12",
        not_before=AT - 5,
        not_after=AT,
        application_name="Billing",
        application_kind="server",
        version_name="v1.4.2",
        commit="a90a8a2",
        metadata={"team": "blue", "cluster": "not for teams to say"},
    )
    assert payload(full, TOLD) == {
        "projectKey": "payments",
        "environmentKey": "production",
        "applicationKey": "billing",
        "applicationName": "Billing",
        "applicationKind": "server",
        "version": "1.4.2",
        "versionName": "v1.4.2",
        "eventType": "failed",
        "eventTime": AT,
        "eventMetadata": {
            "reason": "ImagePullBackOff",
            "message": "back-off pulling image",
            "revision": "12",
            "timeSource": "ProgressingCondition",
            "notBefore": AT - 5,
            "notAfter": AT,
        },
        "deploymentMetadata": {
            "team": "blue",
            "id": f"{SLOT_UID}/7",
            "digest": DIGEST,
            "image": "ghcr.io/acme/billing:1.4.2",
            "commit": "a90a8a2",
            "cluster": "eu-1",
            "namespace": "pay",
            "workload": "billing",
            "kind": "Deployment",
            "container": "app",
            "deploymentName": "pay/billing/app",
        },
    }


def test_what_is_not_known_is_not_sent() -> None:
    body = payload(delivery(Kind.STARTED, digest=None), TOLD)
    assert "digest" not in body["deploymentMetadata"]
    assert body["eventMetadata"] == {"timeSource": "ProgressingCondition"}
    assert not {"applicationName", "applicationKind", "versionName"} & body.keys()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("reports", [True, False])
async def test_only_rollouts_of_the_reporting_slot_are_told(
    api: ApiServer, sink: LaunchDarklyApi, kind: Kind, *, reports: bool
) -> None:
    told = reports and kind in (Kind.STARTED, Kind.FINISHED, Kind.FAILED)
    api.behaviour = reply(201)
    given = delivery(kind, reports=reports)
    assert hears(given.transition) is told
    assert await sink.deliver(given) == (TOLD if told and kind is Kind.STARTED else None)
    assert len(api.heard) == told
    assert sink.channels == {Channel.ROLLOUT}


@pytest.mark.parametrize("version", ["", "sha256:ab", "repo/x", "1.0+build", "a" * 65, "1 2", "ü", "1.0\n"])
async def test_a_version_outside_the_charset_is_not_sent(
    api: ApiServer, sink: LaunchDarklyApi, version: str
) -> None:
    with pytest.raises(SinkRejected, match=r"set the annotation rollbook\.dev/version"):
        await sink.deliver(delivery(Kind.STARTED, version=version))
    assert not api.connections


@pytest.mark.parametrize("version", ["a", "1.4.2", "a_b-c.D", "a" * 64, "a90a8a2"])
def test_a_version_inside_the_charset_is_sent_as_it_is(version: str) -> None:
    assert identify(delivery(Kind.STARTED, version=version), SPEC)["version"] == version


@pytest.mark.parametrize(("chosen", "project"), [(None, "payments"), ("payments", "payments"), ("other", "other")])
def test_a_team_chooses_among_the_allowed_projects(chosen: str | None, project: str) -> None:
    assert identify(delivery(Kind.STARTED, project=chosen), SPEC)["project"] == project


async def test_another_project_is_not_allowed(api: ApiServer, sink: LaunchDarklyApi) -> None:
    with pytest.raises(SinkRejected, match=r"^NotAllowed: .*'secret'"):
        await sink.deliver(delivery(Kind.STARTED, project="secret"))
    assert not api.connections


FROZEN = {"project": "old", "environment": "was", "application": "named", "version": "otherwise"}


@pytest.mark.parametrize("kind", [Kind.FINISHED, Kind.FAILED])
async def test_an_end_goes_where_its_start_went(api: ApiServer, sink: LaunchDarklyApi, kind: Kind) -> None:
    api.behaviour = reply(201)
    await sink.deliver(delivery(kind, frozen=FROZEN, version="now:invalid", project="now not allowed"))
    sent = api.heard[0].json()
    told = sent["projectKey"], sent["environmentKey"], sent["applicationKey"], sent["version"]
    assert told == ("old", "was", "named", "otherwise")


def test_a_start_is_told_under_the_present_identity() -> None:
    assert identify(delivery(Kind.STARTED, frozen=FROZEN), SPEC) == TOLD
    assert identify(delivery(Kind.FINISHED, frozen={"project": "old"}), SPEC) == TOLD


async def test_a_lost_optimistic_lock_is_tried_again(api: ApiServer, sink: LaunchDarklyApi) -> None:
    api.behaviour = reply(409, {"code": "optimistic_locking_error", "message": "Conflict. Try again later."})
    with pytest.raises(SinkUnavailable, match="Try again later") as caught:
        await sink.deliver(delivery(Kind.STARTED))
    assert not caught.value.sent


async def test_a_refusal_of_the_beta_header_is_no_matter_of_credentials(
    api: ApiServer, sink: LaunchDarklyApi
) -> None:
    told = "This API is in beta. To use it, your request must include the header `LD-API-Version: beta`."
    api.behaviour = reply(403, {"message": told})
    with pytest.raises(SinkRejected, match="does a proxy remove it"):
        await sink.deliver(delivery(Kind.STARTED))
    api.behaviour = reply(403, {"code": "forbidden", "message": "Forbidden. Access was denied."})
    with pytest.raises(SinkUnauthorized):
        await sink.deliver(delivery(Kind.STARTED))


def test_a_host_without_insights_is_named() -> None:
    unknown = Answer(status=404, message="404 Not Found: " + "x" * 285)
    check(
        Answer(status=201, message=""), LaunchDarklySpec(project_key="p", endpoint="https://app.launchdarkly.us")
    )
    for host in ("app.eu.launchdarkly.com", "app.launchdarkly.us"):
        with pytest.raises(SinkRejected, match=f"^{host} has no engineering insights: 404") as caught:
            check(unknown, LaunchDarklySpec(project_key="p", endpoint=f"https://{host}/"))
        assert len(str(caught.value)) == 300
    with pytest.raises(SinkRejected, match=r"^404"):
        check(unknown, LaunchDarklySpec(project_key="p"))


async def test_the_deliveries_of_an_attempt_make_one_deployment(api: ApiServer, sink: LaunchDarklyApi) -> None:
    insights = Insights()
    api.behaviour = insights
    frozen = await sink.deliver(delivery(Kind.STARTED))
    end = delivery(Kind.FINISHED, frozen=frozen, version="changed", digest=None)
    assert await sink.deliver(end) is None
    (deployment,) = insights.deployments
    ended = deployment["applicationVersion"], deployment["endedAt"], deployment["status"]
    assert ended == ("1.4.2", AT, "finished")
