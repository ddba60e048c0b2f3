"""LaunchDarkly's way out of doubt: an event whose answer was lost is looked for before it is repeated."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from rollbook.core.errors import SinkUnavailable
from rollbook.core.transition import Kind
from rollbook.crd.sink import LaunchDarklySpec
from rollbook.sinks.answers import Answer
from rollbook.sinks.http import HttpClient
from rollbook.sinks.launchdarkly import MAX_PAGES, LaunchDarklyApi, read_page, search, shows
from tests.unit.sinks.builders import AT, BEGAN, TOKEN, delivery
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


async def test_a_page_of_a_hundred_large_deployments_is_read(api: ApiServer, sink: LaunchDarklyApi) -> None:
    large = [item(applicationVersion=f"0.{number}", metadata={"text": "x" * 5000}) for number in range(99)]
    api.behaviour = reply(200, {"items": [*large, item()]})
    await sink.deliver(delivery(Kind.STARTED, uncertain=True))
    assert [heard.method for heard in api.heard] == ["GET"]
