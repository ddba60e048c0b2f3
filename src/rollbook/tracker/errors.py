"""Refusals, and how each API words them.

The tracker's own exceptions become a `Problem`; what leaves the process has the shape of the API that was
called, told by the path's prefix: LaunchDarkly's error table (WIRE §1.0), the error of the framework that the
open-source Chainloop runs on (WIRE §2.4; also for the tracker's own `/api/tracker/` routes), text for people.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from rollbook.tracker.chainloop_store import UnknownRecordError
from rollbook.tracker.writer import WriteFailedError

logger = logging.getLogger(__name__)

BETA_MESSAGE: Final = (
    "This API is in beta. To use it, your request must include the header `LD-API-Version: beta`."
)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(eq=False)
class Problem(Exception):
    """An answer that is not a success.

    Attributes:
        status: HTTP status.
        message: One sentence for a person; None takes the API's usual one.
        fields: Which parts of the request are wrong, and why.
        headers: Headers to send with it.
    """

    status: int
    message: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


# WIRE §1.0 names all but 404 for a route, 413 and 415, which follow its style.
_LAUNCHDARKLY: Final = {
    400: ("invalid_request", "validation failed"),
    401: ("unauthorized", "Invalid access token"),
    403: ("forbidden", "Forbidden. Access to the requested resource was denied."),
    404: ("not_found", "Invalid resource identifier"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("request_too_large", "Request body too large"),
    415: ("unsupported_media_type", "Content-Type must be application/json"),
    500: ("internal_error", "Internal error"),
    503: ("service_unavailable", "Requested service unavailable"),
}

# WIRE §2.4: the reasons seen in the open-source control plane; the rest follows their style.
_CHAINLOOP: Final = {
    400: ("invalid", "the request is not valid"),
    401: ("UNAUTHORIZED", "Token is invalid"),
    404: ("not found", "not found"),
    405: ("method not allowed", "method not allowed"),
    413: ("too large", "the request body is too large"),
    415: ("unsupported media type", "Content-Type must be application/json"),
    500: ("internal", "internal error"),
    503: ("unavailable", "the tracker can not write at the moment"),
}


def exception_handlers() -> dict[Any, Any]:
    """Handlers for everything that can be raised in a route, for Starlette."""
    return {
        Problem: _answer,
        HTTPException: _answer_http,
        UnknownRecordError: _answer_unknown,
        WriteFailedError: _answer_write_failed,
        Exception: _answer_unexpected,
    }


def refuse(path: str, problem: Problem) -> Response:
    """Word a problem as the API under this path does."""
    if path.startswith("/api/v2/"):
        body = _launchdarkly_body(problem)
    elif path.startswith(("/v1/", "/api/tracker/")):
        body = _chainloop_body(problem)
    else:
        text = problem.message or HTTPStatus(problem.status).phrase
        return PlainTextResponse(f"{text}\n", problem.status, headers=problem.headers)
    return JSONResponse(body, problem.status, headers=problem.headers)


def _launchdarkly_body(problem: Problem) -> dict[str, Any]:
    code, usual = _LAUNCHDARKLY.get(problem.status, ("error", HTTPStatus(problem.status).phrase))
    if problem.message == BETA_MESSAGE:  # the one body without a code, as observed
        return {"message": BETA_MESSAGE}
    body: dict[str, Any] = {"code": code, "message": problem.message or usual}
    if problem.status == HTTPStatus.BAD_REQUEST:
        body["errors"] = [{"attribute": name, "reason": reason} for name, reason in problem.fields.items()]
    return body


def _chainloop_body(problem: Problem) -> dict[str, Any]:
    reason, usual = _CHAINLOOP.get(problem.status, ("error", HTTPStatus(problem.status).phrase))
    details = "; ".join(f"{name}: {why}" for name, why in problem.fields.items())
    message = problem.message or details or usual
    return {"code": problem.status, "reason": reason, "message": message, "metadata": dict(problem.fields)}


async def _answer(request: Request, problem: Problem) -> Response:
    return refuse(request.url.path, problem)


async def _answer_http(request: Request, error: HTTPException) -> Response:
    return refuse(request.url.path, Problem(error.status_code, headers=error.headers or _NOTHING))


async def _answer_unknown(request: Request, error: UnknownRecordError) -> Response:
    return refuse(request.url.path, Problem(HTTPStatus.NOT_FOUND, str(error)))


async def _answer_write_failed(request: Request, error: WriteFailedError) -> Response:
    logger.error("the database refused a write", extra={"error": str(error)})
    return refuse(request.url.path, Problem(HTTPStatus.SERVICE_UNAVAILABLE))


async def _answer_unexpected(request: Request, _: Exception) -> Response:
    return refuse(request.url.path, Problem(HTTPStatus.INTERNAL_SERVER_ERROR))
