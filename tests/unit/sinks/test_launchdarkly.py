"""LaunchDarkly's dialect: identity, bodies, and the way out of doubt."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from rollbook.core.errors import SinkRejected, SinkUnauthorized, SinkUnavailable
from rollbook.core.transition import Channel, Kind
from rollbook.crd.sink import LaunchDarklySpec
from rollbook.sinks.answers import Answer
from rollbook.sinks.http import HttpClient
from rollbook.sinks.launchdarkly import (
    MAX_PAGES,
    LaunchDarklyApi,
    check,
    hears,
    identify,
    payload,
    read_page,
    search,
    shows,
)
from tests.unit.sinks.builders import AT, BEGAN, DIGEST, SLOT_UID, TOKEN, delivery
from tests.unit.sinks.insights import DEPLOYMENTS, Insights
from tests.unit.sinks.server import ApiServer, drop, in_turn, reply

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


def item(**changes: Any) -> dict[str, Any]:
    return {
        "applicationKey": "billing",
        "environmentKey": "production",
        "applicationVersion": "1.4.2",
        "startedAt": BEGAN,
        "endedAt": AT,
        "status": "finished",
        **changes,
    }


@pytest.mark.parametrize(
    ("kind", "found", "shown"),
    [
        (Kind.STARTED, item(endedAt=None, status="started"), True),
        (Kind.STARTED, item(), True),
        (Kind.STARTED, item(startedAt=str(BEGAN)), True),
        (Kind.STARTED, item(startedAt=BEGAN + 1), False),
        (Kind.STARTED, item(applicationVersion="1.4.3"), False),
        (Kind.STARTED, item(environmentKey="prod"), False),
        (Kind.STARTED, item(applicationKey="other"), False),
        (Kind.FINISHED, item(), True),
        (Kind.FINISHED, item(startedAt=AT), True),
        (Kind.FINISHED, item(status="Completed"), True),
        (Kind.FINISHED, item(status="failed"), False),
        (Kind.FINISHED, item(endedAt=None, status="started"), False),
        (Kind.FINISHED, item(endedAt=AT + 1), False),
        (Kind.FINISHED, item(applicationVersion="1.4.3"), False),
        (Kind.FAILED, item(status="failed"), True),
        (Kind.FAILED, item(status="finished"), False),
        (Kind.FAILED, item(status=["failed"]), True),
        (Kind.FINISHED, {}, False),
        (Kind.FINISHED, None, False),
        (Kind.FINISHED, "item", False),
        (Kind.STARTED, item(startedAt=True), False),
        (Kind.STARTED, item(startedAt={}), False),
    ],
)
def test_whether_a_listed_deployment_shows_the_event(kind: Kind, found: Any, *, shown: bool) -> None:
    assert shows(found, delivery(kind).transition, TOLD) is shown


def test_the_list_is_read_from_before_the_attempt() -> None:
    expected = {
        "projectKey": "payments",
        "environmentKey": "production",
        "applicationKey": "billing",
        "limit": 100,
    }
    assert search(delivery(Kind.FINISHED).transition, TOLD) == {**expected, "from": BEGAN - HOUR}
    assert search(delivery(Kind.FINISHED, began=5).transition, TOLD) == {**expected, "from": 0}
    assert search(delivery(Kind.FINISHED, began=AT + 9).transition, TOLD) == {**expected, "from": AT - HOUR}


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (b'{"items": []}', ([], None)),
        (b'{"items": [1], "_links": {"self": {"href": "/x?after=no"}}}', ([1], None)),
        (b'{"items": [], "_links": {"next": {"href": "/x?after=abc&limit=1"}}}', ([], "abc")),
        (b'{"items": [], "_links": {"next": {"href": "/x?limit=1"}}}', ([], None)),
        (b'{"items": [], "_links": {"next": "x?after=1"}}', ([], None)),
        (b'{"items": [], "_links": {"next": {"href": 5}}}', ([], None)),
        (b'{"items": [], "_links": {"next": {"href": "http://[?after=1"}}}', ([], None)),
        (b'{"items": [], "_links": []}', ([], None)),
    ],
)
def test_pages_of_the_list(body: bytes, page: tuple[list[Any], str | None]) -> None:
    assert read_page(Answer(status=200, message="", body=body)) == page


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"items": {}}', b'{"items": [', b"null"])
def test_what_is_no_list_decides_nothing(body: bytes) -> None:
    with pytest.raises(SinkUnavailable):
        read_page(Answer(status=200, message="", body=body))


@pytest.mark.parametrize("kind", [Kind.STARTED, Kind.FINISHED, Kind.FAILED])
async def test_an_event_whose_answer_was_lost_is_found_and_not_repeated(
    api: ApiServer, sink: LaunchDarklyApi, kind: Kind
) -> None:
    insights = Insights()
    api.behaviour = in_turn(insights.lost_answer(), *[insights] * 9)
    with pytest.raises(SinkUnavailable) as caught:
        await sink.deliver(delivery(kind))
    assert caught.value.sent
    again = await sink.deliver(delivery(kind, uncertain=True))
    assert again == (TOLD if kind is Kind.STARTED else None)
    assert len(insights.events) == 1


@pytest.mark.parametrize("kind", [Kind.STARTED, Kind.FINISHED, Kind.FAILED])
async def test_an_event_that_did_not_arrive_is_sent_after_a_look(
    api: ApiServer, sink: LaunchDarklyApi, kind: Kind
) -> None:
    insights = Insights()
    api.behaviour = insights
    await sink.deliver(delivery(kind, uncertain=True))
    assert [heard.method for heard in api.heard] == ["GET", "POST"]
    assert [event["eventType"] for event in insights.events] == [kind.value]


async def test_an_earlier_attempt_of_the_same_version_is_not_taken_for_this_one(
    api: ApiServer, sink: LaunchDarklyApi
) -> None:
    insights = Insights()
    api.behaviour = insights
    await sink.deliver(delivery(Kind.STARTED, time=BEGAN - 5000))
    await sink.deliver(delivery(Kind.FINISHED, time=BEGAN - 4000))
    await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert len(insights.events) == 3


async def test_every_page_is_read(api: ApiServer, sink: LaunchDarklyApi) -> None:
    insights = Insights(page_size=3)
    api.behaviour = insights
    await sink.deliver(delivery(Kind.STARTED))  # the first is on the last page: newest come first here
    for number in range(10):
        await sink.deliver(delivery(Kind.STARTED, version=f"2.{number}", time=BEGAN + number))
    await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert len(insights.events) == 11
    assert len(insights.lists) == 4
    rest = {"projectKey": "payments", "environmentKey": "production", "applicationKey": "billing"}
    assert all(rest.items() <= query.items() for query in insights.lists)
    assert {heard.headers["host"] for heard in api.heard} == {api.authority}


async def test_a_list_that_repeats_its_cursor_ends(api: ApiServer, sink: LaunchDarklyApi) -> None:
    stuck = reply(200, {"items": [], "_links": {"next": {"href": f"{DEPLOYMENTS}?after=x"}}})
    api.behaviour = in_turn(stuck, stuck, reply(201))
    await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert [heard.method for heard in api.heard] == ["GET", "GET", "POST"]


async def test_a_list_without_end_decides_nothing(api: ApiServer, sink: LaunchDarklyApi) -> None:
    pages = (reply(200, {"items": [], "_links": {"next": {"href": f"?after={number}"}}}) for number in range(1000))
    api.behaviour = in_turn(*pages)
    with pytest.raises(SinkUnavailable, match="no end") as caught:
        await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert caught.value.sent
    assert [heard.method for heard in api.heard] == ["GET"] * MAX_PAGES


@pytest.mark.parametrize(
    "behaviours",
    [
        (reply(429, headers={"Retry-After": "4"}),),
        (reply(503, headers={"Retry-After": "4"}),),
        (reply(200, {"items": []}), reply(429, headers={"Retry-After": "4"})),
        (reply(200, {"items": []}), reply(409, headers={"Retry-After": "4"})),
    ],
)
async def test_doubt_lasts_until_an_answer_ends_it(
    api: ApiServer, sink: LaunchDarklyApi, behaviours: tuple[Any, ...]
) -> None:
    api.behaviour = in_turn(*behaviours)
    with pytest.raises(SinkUnavailable) as caught:
        await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert (caught.value.sent, caught.value.retry_after) == (True, 4)


@pytest.mark.parametrize("behaviour", [drop, reply(200, raw=b"not a list"), reply(500)])
async def test_nothing_is_sent_while_the_list_cannot_be_read(
    api: ApiServer, sink: LaunchDarklyApi, behaviour: Any
) -> None:
    api.behaviour = behaviour
    with pytest.raises(SinkUnavailable) as caught:
        await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert caught.value.sent
    assert {heard.method for heard in api.heard} == {"GET"}


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


async def test_a_page_of_a_hundred_large_deployments_is_read(api: ApiServer, sink: LaunchDarklyApi) -> None:
    large = [item(applicationVersion=f"0.{number}", metadata={"text": "x" * 5000}) for number in range(99)]
    api.behaviour = reply(200, {"items": [*large, item()]})
    await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert [heard.method for heard in api.heard] == ["GET"]


async def test_the_deliveries_of_an_attempt_make_one_deployment(api: ApiServer, sink: LaunchDarklyApi) -> None:
    insights = Insights()
    api.behaviour = insights
    frozen = await sink.deliver(delivery(Kind.STARTED))
    end = delivery(Kind.FINISHED, frozen=frozen, version="changed", digest=None)
    assert await sink.deliver(end) is None
    (deployment,) = insights.deployments
    ended = deployment["applicationVersion"], deployment["endedAt"], deployment["status"]
    assert ended == ("1.4.2", AT, "finished")
