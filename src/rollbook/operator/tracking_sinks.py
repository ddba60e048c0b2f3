"""Keeps the roster of sinks as admins declare it, and says on each `TrackingSink` how it is doing.

A sink is made of a `TrackingSink` and a labelled Secret; either may come, change or go at any time. What cannot
be used is a condition on the object, never a crash, and what other sinks deliver is not touched by it.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from rollbook.core.errors import ConfigError, InvalidObject, NotFound
from rollbook.core.projection import rfc3339
from rollbook.courier import Courier
from rollbook.crd.sink import TrackingSink, parse
from rollbook.kube.client import Kube
from rollbook.logs import logger
from rollbook.roster import Roster
from rollbook.sinks.registry import Credential, build, key

SINKS: Final = "/apis/rollbook.dev/v1alpha1/trackingsinks"
HOSTS: Final = "rollbook.dev/hosts"

_REASONS: Final = {
    "ready": "Delivering",
    "unavailable": "Unavailable",
    "unauthorized": "Unauthorized",
    "suspended": "Suspended",
}

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A labelled Secret of the operator's namespace."""

    uid: str
    name: str
    data: Mapping[str, str] = field(repr=False)
    hosts: frozenset[str]


@dataclass(slots=True, kw_only=True)
class _Declared:
    sink: TrackingSink | None
    key: str | None = None
    """Of the roster's member, once it could be built."""
    problem: tuple[str, str] | None = None
    """Why it could not: reason and message."""
    written: Mapping[str, Any] = field(default_factory=dict)


class TrackingSinks:
    """All `TrackingSink` objects by name."""

    def __init__(self, kube: Kube, roster: Roster, added: Callable[[], None]) -> None:
        self._kube = kube
        self._roster = roster
        self._added = added
        self._declared: dict[str, _Declared] = {}
        self._secrets: dict[str, Secret] = {}
        self._names: dict[str, str] = {}

    async def load(self) -> None:
        """Read all sinks before anything is decided, so that no slot is made without its audience.

        Raises:
            KubeError: they could not be read.
        """
        for body in msgspec.json.decode(await self._kube.get(SINKS))["items"]:
            await self.heard(body, deleted=False)

    async def heard(self, body: Mapping[str, Any], *, deleted: bool) -> None:
        """A `TrackingSink` is there, has changed or is gone."""
        name = str(body["metadata"]["name"])
        declared = self._declared.get(name)
        if deleted:
            await self._leave(self._declared.pop(name, None))
            return
        written = dict(body.get("status") or {})
        try:
            sink = parse(body)
        except InvalidObject as error:
            await self._leave(declared)
            self._declared[name] = _Declared(sink=None, problem=("InvalidSpec", str(error)), written=written)
            return
        if declared and declared.sink and _same(declared.sink, sink):
            declared.sink = sink
            return
        await self._join(name, sink, written, declared)

    def take_secret(self, secret: Secret) -> None:
        """A labelled Secret is there or has changed; sinks that use it are taken up by `refresh`."""
        self._secrets[secret.name] = secret
        self._names[secret.uid] = secret.name

    def drop_secret(self, uid: str) -> None:
        """A labelled Secret is gone."""
        self._secrets.pop(self._names.pop(uid, ""), None)

    async def refresh(self) -> None:
        """Build the sinks again whose Secrets have changed."""
        for name, declared in list(self._declared.items()):
            if declared.sink:
                await self._join(name, declared.sink, declared.written, declared)

    async def _join(
        self, name: str, sink: TrackingSink, written: Mapping[str, Any], former: _Declared | None
    ) -> None:
        declared = _Declared(sink=sink, written=former.written if former else written)
        self._declared[name] = declared
        try:
            built = build(sink, self._credential(sink))
        except ConfigError as error:
            reason = "CredentialMissing" if _missing(self._secrets, sink) else "InvalidSpec"
            declared.problem = (reason, str(error))
            await self._leave(former)
            return
        declared.key = key(sink)
        if former and former.key not in (None, declared.key):
            await self._leave(former)
        spec = sink.spec
        if await self._roster.put(built, backfill=spec.backfill, suspended=spec.suspend):
            log.info("sink joined", sink=name, type=spec.type)
            self._added()

    async def _leave(self, declared: _Declared | None) -> None:
        if declared and declared.key:
            await self._roster.remove(declared.key)
            log.info("sink left", sink=declared.sink.metadata.name if declared.sink else "")
            declared.key = None

    def _credential(self, sink: TrackingSink) -> Credential:
        wanted = sink.spec.credentials
        if _missing(self._secrets, sink):
            raise ConfigError(
                f"no Secret {wanted.secret_name} with the key {wanted.key} and the label"
                " rollbook.dev/credentials=true in the operator's namespace"
            )
        secret = self._secrets[wanted.secret_name]
        try:
            token = base64.b64decode(secret.data[wanted.key], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigError(f"the key {wanted.key} of Secret {wanted.secret_name} is no text") from None
        return Credential(token=token, hosts=secret.hosts)

    async def report(self) -> None:
        """Write the statuses that have changed.

        Raises:
            KubeError: one could not be written; the others may have been.
        """
        couriers = {courier.sink.key: courier for courier in self._roster}
        for name, declared in list(self._declared.items()):
            status = _status(declared, couriers.get(declared.key or ""))
            if any(declared.written.get(each) != value for each, value in status.items()):
                try:
                    await self._kube.merge_patch(f"{SINKS}/{name}/status", {"status": status})
                except NotFound:
                    continue
                declared.written = status


def _same(before: TrackingSink, after: TrackingSink) -> bool:
    return (before.metadata.uid, before.spec) == (after.metadata.uid, after.spec)


def _missing(secrets: Mapping[str, Secret], sink: TrackingSink) -> bool:
    wanted = sink.spec.credentials
    secret = secrets.get(wanted.secret_name)
    return secret is None or wanted.key not in secret.data


def _status(declared: _Declared, courier: Courier | None) -> dict[str, Any]:
    reason, message = declared.problem or ("Delivering", "")
    counts: dict[str, Any] = {}
    if courier:
        health = courier.health
        reason, message = _REASONS[health.state], health.message
        counts = {
            "backlog": courier.backlog,
            "parked": health.refused,
            "lastDelivery": rfc3339(health.last_accepted // 1000 * 1000) if health.last_accepted else None,
            "oldestUndelivered": rfc3339(courier.oldest // 1000 * 1000) if courier.oldest else None,
        }
    ready = {
        "type": "Ready",
        "status": "True" if reason == "Delivering" else "False",
        "reason": reason,
        "message": message,
    }
    sink = declared.sink
    return {
        **({"type": sink.spec.type, "observedGeneration": sink.metadata.generation} if sink else {}),
        **{name: value for name, value in counts.items() if value is not None},
        "conditions": [_timed(ready, declared.written.get("conditions") or ())],
    }


def _timed(condition: dict[str, Any], written: Any) -> dict[str, Any]:
    """With the time of its last change: the written one while it says the same."""
    for former in written:
        if former.get("type") == condition["type"] and former.get("status") == condition["status"]:
            return {**condition, "lastTransitionTime": former["lastTransitionTime"]}
    return {**condition, "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
