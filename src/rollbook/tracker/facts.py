"""The tracker's own calls: everything it holds, in the order in which it came.

For demonstrations, checks and exports; the vendors' lists have neither raw events nor a total order.
`GET /api/tracker/v1/slots` and `GET /api/tracker/v1/rollouts`, with the token as `Bearer`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollbook.tracker import chainloop, launchdarkly
from rollbook.tracker.chainloop_records import Record, RecordStatus, Slot
from rollbook.tracker.chainloop_store import all_records
from rollbook.tracker.guard import bearer, route
from rollbook.tracker.launchdarkly_state import Deployment
from rollbook.tracker.launchdarkly_store import StoredEvent, all_deployments, read_events
from rollbook.tracker.store import Store


def routes(store: Store, token: str) -> list[Route]:
    """The routes, for a store and the token that opens them."""
    check = bearer(token)

    async def slots(_: Request) -> Response:
        async with store.reading() as connection:
            records = await all_records(connection)
        histories: dict[Slot, list[Record]] = defaultdict(list)
        for record in records:
            histories[record.slot].append(record)
        return JSONResponse({"slots": [_slot(slot, history) for slot, history in histories.items()]})

    async def rollouts(_: Request) -> Response:
        async with store.reading() as connection:
            deployments = await all_deployments(connection)
            events = await read_events(connection)
        of_deployment: dict[int | None, list[StoredEvent]] = defaultdict(list)
        for event in events:
            of_deployment[event.deployment_sequence].append(event)
        return JSONResponse(
            {
                "rollouts": [_rollout(found, of_deployment[found.sequence]) for found in deployments],
                "unrelated_events": [_event(event) for event in of_deployment[None]],
            }
        )

    return [
        route("/api/tracker/v1/slots", check, {"GET": slots}),
        route("/api/tracker/v1/rollouts", check, {"GET": rollouts}),
    ]


def _slot(slot: Slot, history: Sequence[Record]) -> dict[str, Any]:
    described = [{"sequence": record.sequence, **chainloop.describe(record)} for record in history]
    current = (entry for entry in described if entry["status"] == RecordStatus.DEPLOYED)
    return {
        "environment_name": slot.environment_name,
        "deployment_name": slot.deployment_name,
        "kind": slot.kind,
        "current": next(current, None),
        "history": described,
    }


def _rollout(deployment: Deployment, events: Sequence[StoredEvent]) -> dict[str, Any]:
    return {
        "sequence": deployment.sequence,
        "projectKey": deployment.stream.project_key,
        "applicationName": deployment.application_name,
        "applicationKind": deployment.application_kind,
        "versionName": deployment.version_name,
        **launchdarkly.describe(deployment),
        "events": [_event(event) for event in events],
    }


def _event(event: StoredEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "projectKey": event.stream.project_key,
        "environmentKey": event.stream.environment_key,
        "applicationKey": event.stream.application_key,
        "version": event.version,
        "eventType": event.event_type,
        "eventTime": event.event_time,
        "receivedAt": event.received_at,
        "eventMetadata": dict(event.event_metadata),
        "deploymentMetadata": dict(event.deployment_metadata),
    }
