"""What the API server's refusals, and the lack of an answer, are called here.

| answer | becomes |
|---|---|
| 401, after the credentials were read again | Unavailable |
| 403 | Forbidden; Terminating if only the namespace's deletion is in the way |
| 404 | NotFound; NamespaceNotFound if it is the namespace that is missing |
| 409 | Conflict (also of a create whose name is taken) |
| 410 | Gone |
| 408, 429, 5xx, no answer, half an answer | Unavailable, with the server's Retry-After |
| other | KubeError with the server's message |
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import aiohttp

from rollbook.core.errors import (
    Conflict,
    Forbidden,
    Gone,
    InvalidObject,
    KubeError,
    NotFound,
    Unavailable,
)
from rollbook.kube.wire import Wire, decoder

MESSAGE_LIMIT: Final = 300
"""Characters kept of what the server says."""


class Terminating(Forbidden):
    """The namespace is being deleted: nothing can be created there, and that is final."""


class NamespaceNotFound(NotFound):
    """The namespace does not exist."""


class Silence(Unavailable):
    """A watch went silent: neither events nor bookmarks."""


class _Cause(Wire, frozen=True):
    reason: str = ""


class _Details(Wire, frozen=True):
    kind: str = ""
    causes: tuple[_Cause, ...] = ()


class Status(Wire, frozen=True):
    """A `metav1.Status`: a refusal, or the object of a watch's ERROR event."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


_status = decoder(Status)

_KINDS: Final[Mapping[int, type[KubeError]]] = {403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone}
_LATER: Final = frozenset({401, 408, 429})


def error_of(what: str, code: int, body: bytes, retry_after: str | None = None) -> KubeError:
    """The error for an answer.

    Args:
        what: the request, for the message.
        code: its HTTP status.
        body: usually a `Status` in JSON, but a proxy in between may have said anything.
        retry_after: the header, if there was one; only seconds are understood.
    """
    status = _read(body)
    details = status.details or _Details()
    message = f"{what}: {code} {_bounded(status.message or body.decode(errors='replace'))}"
    if code == HTTPStatus.FORBIDDEN and any(cause.reason == "NamespaceTerminating" for cause in details.causes):
        return Terminating(message)
    if code == HTTPStatus.NOT_FOUND and details.kind == "namespaces":
        return NamespaceNotFound(message)
    if code in _LATER or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(message, retry_after=_seconds(retry_after))
    return _KINDS.get(code, KubeError)(message)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the HTTP library's exceptions, timeouts and socket errors into Unavailable."""
    try:
        yield
    except aiohttp.SocketTimeoutError as error:
        raise Silence(f"{what}: silent") from error
    except (aiohttp.ClientError, OSError) as error:  # every TimeoutError is an OSError
        raise Unavailable(f"{what}: {type(error).__name__} {_bounded(str(error))}".rstrip()) from error


def _read(body: bytes) -> Status:
    try:
        return _status(body)
    except InvalidObject:
        return Status()


def _bounded(text: str) -> str:
    return " ".join(text[: 2 * MESSAGE_LIMIT].split())[:MESSAGE_LIMIT]


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdecimal() else None


def outcome(what: str, code: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body of a good answer.

    Raises:
        KubeError: in the kind that the module's table says.
    """
    if code < HTTPStatus.BAD_REQUEST:
        return body
    raise error_of(what, code, body, headers.get("Retry-After"))
