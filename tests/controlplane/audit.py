"""Reads the API server's audit log: who asked what of the API, and what came of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to the API server.

    Args:
        user: User name, e.g. `system:serviceaccount:rollbook-system:rollbook`.
        verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
        resource: Group, resource and subresource, e.g. `apps/deployments/status` or `pods`; empty for other URLs.
        namespace: Empty for cluster-wide requests.
        name: Empty for collections.
        code: HTTP status of the answer.
        uri: Path and query.
        raw: The whole audit event.
    """

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    uri: str
    raw: dict[str, Any] = field(repr=False, compare=False)


def requests(log: Path, *, user: str = "", verb: str = "", after: int = 0) -> Iterator[Request]:
    """The requests of an audit log, oldest first, each once: a watch shows from its start.

    An entry is written just after the answer is sent: poll for what was asked a moment ago.

    Args:
        log: The API server's audit log.
        user: Only this user's; default: everyone's.
        verb: Only these; default: all.
        after: Skip this many bytes: the log's size at some moment leaves what came later.
    """
    seen: set[str] = set()
    with log.open("rb") as lines:
        lines.seek(after)
        for line in lines:
            # the first test is for speed: logs of benchmarks have a million lines
            if user.encode() not in line or not line.endswith(b"\n"):
                continue
            request = _request(event := json.loads(line))
            wanted = user in ("", request.user) and verb in ("", request.verb)
            if wanted and event["auditID"] not in seen:
                seen.add(event["auditID"])
                yield request


def _request(event: dict[str, Any]) -> Request:
    ref = event.get("objectRef", {})
    parts = (ref.get("apiGroup"), ref.get("resource"), ref.get("subresource"))
    return Request(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        resource="/".join(part for part in parts if part),
        namespace=ref.get("namespace", ""),
        name=ref.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        uri=event["requestURI"],
        raw=event,
    )
