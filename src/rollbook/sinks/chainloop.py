"""Chainloop, *record a deployment* (WIRE §2.1): hears the state of slots.

Its slot is environment, deployment name and kind; a new digest there supersedes the old one by itself, so
SUPERSEDED is not sent. Recording the same again is idempotent, so an uncertain delivery is just repeated. The
call has no field for a time: the time that Chainloop shows is that of the delivery.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from rollbook.core.errors import SinkRejected
from rollbook.core.transition import Channel, Kind, Transition
from rollbook.crd.sink import ChainloopSpec
from rollbook.delivery import Delivery
from rollbook.sinks.answers import Answer
from rollbook.sinks.http import Auth, HttpClient

PATH: Final = "/v1/deployments"

_HEARD: Final = frozenset({Kind.DEPLOYED, Kind.DECOMMISSIONED})
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class ChainloopApi:
    """Records what is DEPLOYED and DECOMMISSIONED."""

    channels = frozenset({Channel.STATE})

    def __init__(self, spec: ChainloopSpec, http: HttpClient) -> None:
        self._spec = spec
        self._http = http

    async def deliver(self, delivery: Delivery) -> None:
        """See `Sink.deliver`."""
        if not hears(delivery.transition):
            return
        sent = payload(delivery, self._spec)
        answer = await self._http.post(PATH, sent, auth=Auth.BEARER)
        answer.check()
        if contradiction := contradicts(answer, sent):
            raise SinkRejected(contradiction)


def hears(transition: Transition) -> bool:
    """Whether it is told at all; the others are not applicable."""
    return transition.kind in _HEARD


def payload(delivery: Delivery, spec: ChainloopSpec) -> dict[str, str]:
    """The body of the call. Both enums are always there: their defaults mean *unspecified*.

    Raises:
        SinkRejected: the digest is not one that Chainloop can know.
    """
    transition, environment = delivery.transition, delivery.key.environment
    artifact = transition.artifact
    if not _DIGEST.fullmatch(artifact.digest or ""):
        known = (artifact.digest or "not known")[:80]
        raise SinkRejected(f"the artifact's digest is {known}, not sha256:<64 hex digits>")
    body = {
        "environment_name": spec.environments.get(environment, environment),
        "artifact_digest": artifact.digest or "",
        "kind": artifact.kind.value,
        "artifact_name": artifact.name,
        "artifact_version": artifact.version,
        "status": transition.kind.value,
        "deployment_name": transition.identity.deployment_name,
    }
    return {name: value for name, value in body.items() if value}


def contradicts(answer: Answer, sent: Mapping[str, str]) -> str | None:
    """Why the record that was answered cannot be the one that was sent, if so.

    The answer's casing is not certain (WIRE §2.4), nor is its shape: only a digest or a status that is well
    formed and another one counts. A record that cannot be found or read says nothing.
    """
    record = _field(answer.json(), "deployment_record", "deploymentRecord")
    digest, status = _field(_field(record, "artifact"), "digest"), _field(record, "status")
    if isinstance(digest, str) and _DIGEST.fullmatch(digest) and digest != sent["artifact_digest"]:
        return f"accepted, but {digest} was recorded instead of {sent['artifact_digest']}"
    if isinstance(status, str) and status in _HEARD and status != sent["status"]:
        return f"accepted, but recorded as {status} instead of {sent['status']}"
    return None


def _field(value: Any, *names: str) -> Any:
    """The first of these fields of a JSON object; None of anything else."""
    return next((value[name] for name in names if name in value), None) if isinstance(value, dict) else None
