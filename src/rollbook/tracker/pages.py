"""The web page: what runs where, the history of a slot, rollouts.

Rendered here, complete without JavaScript and without the network. Names come from outside: they are
escaped by the templates, and the content policy allows nothing but our own style sheet.
"""

from http import HTTPStatus
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from rollbook.tracker import page_views
from rollbook.tracker.chainloop_records import Slot
from rollbook.tracker.chainloop_store import latest_records, records_of_slot
from rollbook.tracker.errors import Problem
from rollbook.tracker.guard import basic, nobody_asked, route
from rollbook.tracker.launchdarkly_store import newest_deployments, read_events
from rollbook.tracker.store import Store, now_ms
from rollbook.tracker.times import ago, minute, rfc3339, span

NAMES_PER_PAGE: Final = 100
"""Deployment names on one page of the matrix."""

ROLLOUTS_ON_FRONT: Final = 10
ROLLOUTS_ON_PAGE: Final = 100

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def routes(store: Store, token: str | None) -> list[Route]:
    """The routes; with a token a browser is asked for it as a password."""
    check = basic(token) if token is not None else nobody_asked
    templates = _templates()

    def page(template: str, **values: Any) -> Response:
        return HTMLResponse(templates.get_template(template).render(now=now_ms(), **values), headers=_HEADERS)

    async def overview(request: Request) -> Response:
        containing, number = request.query_params.get("q", "").strip(), _page_number(request)
        async with store.reading() as connection:
            total, latest = await latest_records(
                connection, containing=containing, offset=(number - 1) * NAMES_PER_PAGE, names=NAMES_PER_PAGE
            )
            deployments = await newest_deployments(connection, ROLLOUTS_ON_FRONT)
            rollouts = page_views.rollouts(deployments, await read_events(connection, deployments))
        pages = max(1, -(-total // NAMES_PER_PAGE))
        matrix = page_views.matrix(latest)
        values = {
            "matrix": matrix,
            "total": total,
            "containing": containing,
            "number": number,
            "pages": pages,
        }
        return page("overview.html", rollouts=rollouts, **values)

    async def slot(request: Request) -> Response:
        found = Slot(
            environment_name=request.path_params["environment"],
            deployment_name=request.path_params["name"],
            kind=request.path_params["kind"],
        )
        async with store.reading() as connection:
            records = await records_of_slot(connection, found)
        if not records:
            raise Problem(HTTPStatus.NOT_FOUND, "Nothing has been recorded in this environment slot.")
        return page("slot.html", slot=found, records=page_views.history(records))

    async def rollouts(_: Request) -> Response:
        async with store.reading() as connection:
            deployments = await newest_deployments(connection, ROLLOUTS_ON_PAGE)
            events = await read_events(connection, deployments)
        return page("rollouts.html", rollouts=page_views.rollouts(deployments, events), limit=ROLLOUTS_ON_PAGE)

    sheet = templates.get_template("style.css").render()

    async def style(_: Request) -> Response:
        return Response(sheet, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    return [
        route("/", check, {"GET": overview}),
        route("/rollouts", check, {"GET": rollouts}),
        route("/slots/{environment}/{kind}/{name:path}", check, {"GET": slot}),
        route("/style.css", nobody_asked, {"GET": style}),
    ]


def _templates() -> Environment:
    # The names are filters, so that a template says what it shows and not how it is computed.
    environment = Environment(
        loader=PackageLoader("rollbook.tracker"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ago=ago, minute=minute, rfc3339=rfc3339, span=span, digest=page_views.short_digest)
    environment.globals.update(status_words=page_views.STATUS_WORDS, kind_words=page_views.KIND_WORDS)
    return environment


def _page_number(request: Request) -> int:
    text = request.query_params.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1  # noqa: PLR2004  below a million pages
