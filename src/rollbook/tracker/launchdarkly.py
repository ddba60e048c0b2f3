"""LaunchDarkly's calls: create deployment event, list deployments (WIRE §1.1, §1.2).

How events become deployments is in `launchdarkly_state.py`. Our choices where the documentation is silent:
the list is ordered newest first by (startedAt, id); `from` and `to` filter startedAt, both ends included;
`limit` above 100 is refused with 400, not clamped; `totalCount` counts all that match, not the page;
`after` and `before` take a deployment's id and an unknown one is refused; `_links.next` repeats the whole
query, with the times that were in force, so that a walk sees one window; created answers carry `{}`. There
is no data of pull requests, lines or lead time: the numbers are 0, the objects null, the collections of
`expand` empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollbook.tracker.errors import Problem
from rollbook.tracker.guard import bare, read_json, require_beta, route
from rollbook.tracker.launchdarkly_state import Deployment
from rollbook.tracker.launchdarkly_store import (
    DeploymentFilter,
    count_deployments,
    find_deployment,
    list_deployments,
)
from rollbook.tracker.schema import DeploymentQuery, EventInput, parse_body, parse_query
from rollbook.tracker.store import Store, now_ms

EVENTS_PATH: Final = "/api/v2/engineering-insights/deployment-events"
DEPLOYMENTS_PATH: Final = "/api/v2/engineering-insights/deployments"

_SEVEN_DAYS_MS: Final = 7 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    total: int
    deployments: Sequence[Deployment]
    has_more: bool


def routes(store: Store, token: str) -> list[Route]:
    """The routes, for a store and the token that opens them."""
    check = bare(token)

    async def take_in(request: Request) -> Response:
        await store.take_in(parse_body(EventInput, await read_json(request)).to_event(now_ms()))
        return Response(b"{}", HTTPStatus.CREATED, media_type="application/json")

    async def listing(request: Request) -> Response:
        require_beta(request)
        query = parse_query(DeploymentQuery, request.query_params)
        wanted = _filter(query, now_ms())
        async with store.reading() as connection:
            page = await _read_page(connection, query, wanted)
        return JSONResponse(_collection(page, query, wanted))

    return [
        route(EVENTS_PATH, check, {"POST": take_in}),
        route(DEPLOYMENTS_PATH, check, {"GET": listing}),
    ]


def describe(deployment: Deployment, *, expand: str = "") -> dict[str, Any]:
    """The 20 properties of a deployment on the wire (WIRE §1.2)."""
    ended = deployment.ended_at
    return {
        "id": deployment.id,
        "applicationKey": deployment.stream.application_key,
        "applicationVersion": deployment.version,
        "startedAt": deployment.started_at,
        "endedAt": ended,
        "durationMs": None if ended is None else ended - deployment.started_at,
        "status": deployment.status,
        "kind": deployment.kind,
        "active": deployment.active,
        "metadata": dict(deployment.metadata),
        "archived": False,
        "environmentKey": deployment.stream.environment_key,
        "numberOfContributors": 0,
        "numberOfPullRequests": 0,
        "linesAdded": 0,
        "linesDeleted": 0,
        "leadTime": 0,
        "pullRequests": {"totalCount": 0, "items": []} if "pullRequests" in expand else None,
        "flagReferences": {"totalCount": 0, "items": []} if "flagReferences" in expand else None,
        "leadTimeStages": None,
    }


def _filter(query: DeploymentQuery, now: int) -> DeploymentFilter:
    return DeploymentFilter(
        project_key=query.project_key,
        environment_key=query.environment_key,
        started_from=now - _SEVEN_DAYS_MS if query.started_from is None else query.started_from,
        started_to=now if query.started_to is None else query.started_to,
        application_keys=[key for key in query.application_key.split(",") if key],
        kind=query.kind,
        status=query.status,
    )


async def _read_page(connection: AsyncConnection, query: DeploymentQuery, wanted: DeploymentFilter) -> _Page:
    after = await _cursor(connection, "after", query.after)
    before = await _cursor(connection, "before", query.before)
    # One more than asked for tells whether there is a next page.
    found = await list_deployments(connection, wanted, limit=query.limit + 1, after=after, before=before)
    surplus = len(found) > query.limit
    if before is not None:  # the surplus lies at the near end, and what `before` names follows for certain
        found, surplus = found[-query.limit :], True
    return _Page(
        total=await count_deployments(connection, wanted),
        deployments=found[: query.limit],
        has_more=surplus and bool(found),
    )


async def _cursor(connection: AsyncConnection, name: str, value: str) -> Deployment | None:
    if not value:
        return None
    found = await find_deployment(connection, value)
    if found is None:
        raise Problem(HTTPStatus.BAD_REQUEST, fields={name: "must be the id of a deployment"})
    return found


def _collection(page: _Page, query: DeploymentQuery, wanted: DeploymentFilter) -> dict[str, Any]:
    links = {"self": _link(query, wanted, {"after": query.after, "before": query.before})}
    if page.has_more:
        links["next"] = _link(query, wanted, {"after": page.deployments[-1].id})
    return {
        "totalCount": page.total,
        "items": [describe(deployment, expand=query.expand) for deployment in page.deployments],
        "_links": links,
    }


def _link(query: DeploymentQuery, wanted: DeploymentFilter, cursors: dict[str, str]) -> dict[str, str]:
    parameters = {
        "projectKey": query.project_key,
        "environmentKey": query.environment_key,
        "applicationKey": query.application_key,
        "limit": query.limit,
        "expand": query.expand,
        "from": wanted.started_from,
        "to": wanted.started_to,
        "kind": query.kind,
        "status": query.status,
        **cursors,
    }
    given = {name: value for name, value in parameters.items() if value != ""}
    return {"href": f"{DEPLOYMENTS_PATH}?{urlencode(given)}", "type": "application/json"}
