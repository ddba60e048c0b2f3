"""The ASGI application: every route, and how its errors are worded."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollbook.tracker import chainloop, facts, launchdarkly, pages
from rollbook.tracker.errors import exception_handlers
from rollbook.tracker.guard import nobody_asked, route
from rollbook.tracker.store import Store


def build_app(store: Store, token: str, *, public_page: bool) -> Starlette:
    """Put the tracker together.

    Args:
        store: Where everything is kept; open for as long as the application runs.
        token: What opens the APIs, and the page unless it is public.
        public_page: Whether the page can be read without the token.
    """
    app = Starlette(
        routes=[
            *chainloop.routes(store, token),
            *launchdarkly.routes(store, token),
            *facts.routes(store, token),
            *pages.routes(store, None if public_page else token),
            route("/healthz", nobody_asked, {"GET": _healthz}),
        ],
        exception_handlers=exception_handlers(),
    )
    app.router.redirect_slashes = False  # a path with a slash too many is unknown, not moved
    return app


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})
