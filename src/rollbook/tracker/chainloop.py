"""Chainloop's calls: `POST` and `GET /v1/deployments` (WIRE §2.1, §2.2).

The rules of the slot are in `chainloop_records.py`. Our choices where the documentation is silent: the list
is ordered newest first; pages have 100 records unless asked for less, at most 100; page 0 is page 1, as the
documentation calls the page zero-based and the open-source code counts from 1; the filter by project is
accepted and ignored, for records are not bound to projects here; ids of environments and artifacts are
derived from their names.
"""

import uuid
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollbook.tracker.chainloop_records import Record
from rollbook.tracker.chainloop_store import RecordFilter, list_records
from rollbook.tracker.errors import Problem
from rollbook.tracker.guard import bearer, read_json, route
from rollbook.tracker.schema import RecordInput, RecordQuery, parse_body, parse_query
from rollbook.tracker.store import Store
from rollbook.tracker.times import rfc3339

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://rollbook.dev/tracker")


def routes(store: Store, token: str) -> list[Route]:
    """The routes, for a store and the token that opens them."""

    async def record(request: Request) -> Response:
        report = parse_body(RecordInput, await read_json(request)).to_report()
        return JSONResponse({"deployment_record": describe(await store.record(report))})

    async def listing(request: Request) -> Response:
        query = parse_query(RecordQuery, _without_prefix(request))
        if query.project_version_name and not query.project_name:
            raise Problem(HTTPStatus.BAD_REQUEST, fields={"project_version_name": "requires project_name"})
        page = max(query.page, 1)
        async with store.reading() as connection:
            total, records = await list_records(
                connection, _filter(query), offset=(page - 1) * query.page_size, limit=query.page_size
            )
        return JSONResponse(_page(records, total=total, page=page, page_size=query.page_size))

    return [route("/v1/deployments", bearer(token), {"POST": record, "GET": listing})]


def describe(record: Record) -> dict[str, Any]:
    """The record on the wire (WIRE §2.1)."""
    environment = record.slot.environment_name
    return {
        "id": record.id,
        "environment_id": _derived_id(f"environment/{environment}"),
        "environment_name": environment,
        "artifact_id": _derived_id(f"artifact/{record.slot.kind}/{record.digest}"),
        "artifact": {
            "kind": record.slot.kind,
            "name": record.artifact_name,
            "digest": record.digest,
            "version": record.artifact_version,
        },
        "deployment_name": record.slot.deployment_name,
        "status": record.status,
        "created_at": rfc3339(record.created_at),
        "updated_at": rfc3339(record.updated_at),
        "last_seen_at": rfc3339(record.last_seen_at),
    }


@lru_cache(maxsize=1024)
def _derived_id(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))


def _without_prefix(request: Request) -> dict[str, str]:
    """Query parameters by bare name: those of the page come as `pagination.page`."""
    return {name.removeprefix("pagination."): value for name, value in request.query_params.items()}


def _filter(query: RecordQuery) -> RecordFilter:
    return RecordFilter(
        environment_name=query.environment_name,
        deployment_name=query.deployment_name,
        kind=query.kind.removesuffix("ARTIFACT_KIND_UNSPECIFIED"),
        status=query.status.removesuffix("DEPLOYMENT_STATUS_UNSPECIFIED"),
    )


def _page(records: list[Record], *, total: int, page: int, page_size: int) -> dict[str, Any]:
    return {
        "pagination": {
            "total_count": total,
            "page": page,
            "total_pages": -(-total // page_size),
            "page_size": page_size,
        },
        "deployment_records": [describe(record) for record in records],
    }
