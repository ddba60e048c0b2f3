"""Keeps the roster of sinks as admins declare it, and says on each `TrackingSink` how it is doing.

A sink is made of a `TrackingSink` and a labelled Secret; either may come, change or go at any time. What cannot
be used is a condition on the object, never a crash, and what other sinks deliver is not touched by it. A sink that
cannot be used keeps its place in the roster: what happens meanwhile is owed to it.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from rollbook.core.errors import ConfigError, InvalidObject, KubeError, NotFound
from rollbook.core.projection import rfc3339
from rollbook.courier import Courier
from rollbook.crd.sink import Selector, TrackingSink, parse
from rollbook.delivery import Sink
from rollbook.kube.client import Kube
from rollbook.logs import logger
from rollbook.roster import Roster
from rollbook.sinks.registry import Credential, WaitingSink, build, key

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """Why a sink cannot be used."""

    reason: str
    message: str


@dataclass(slots=True, kw_only=True)
class _Declared:
    """One `TrackingSink` object."""

    name: str
    uid: str
    version: int = 0
    generation: int = 0
    sink: TrackingSink | None = None
    """None if it cannot be read."""
    found: Credential | _Problem | None = None
    """The credential it was last built with, or what was wrong with it."""
    key: str | None = None
    """Of the roster's member."""
    problem: _Problem | None = None
    written: Mapping[str, Any] = field(default_factory=dict)
    """The status as it is in the cluster."""


class TrackingSinks:
    """All `TrackingSink` objects by name.

    Args:
        kube: the connection.
        roster: kept as they declare it.
        added: called when the audience has changed: look at everything.
    """

    def __init__(self, kube: Kube, roster: Roster, added: Callable[[], None]) -> None:
        self._kube = kube
        self._roster = roster
        self._added = added
        self._declared: dict[str, _Declared] = {}
        self._secrets: dict[str, Secret] = {}
        self._names: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def load(self) -> None:
        """Read all sinks before anything is decided, so that no slot is made without its audience.

        Raises:
            KubeError: they could not be read.
        """
        for body in msgspec.json.decode(await self._kube.get(SINKS))["items"]:
            await self.heard(body, deleted=False)

    async def heard(self, body: Mapping[str, Any], *, deleted: bool) -> None:
        """A `TrackingSink` is there, has changed or is gone."""
        async with self._one_at_a_time:
            declared = await self._known(body)
            if declared is None:
                return
            if deleted:
                del self._declared[declared.name]
                await self._leave(declared)
            else:
                await self._take(declared, body)

    async def _known(self, body: Mapping[str, Any]) -> _Declared | None:
        """The object that an event is about; None if another has its name since.

        Events of one object come in order, those of two of the same name need not.
        """
        metadata = body["metadata"]
        name, uid, version = str(metadata["name"]), str(metadata["uid"]), int(metadata["resourceVersion"])
        declared = self._declared.get(name)
        if declared and declared.uid != uid:
            if version < declared.version:
                return None
            await self._leave(declared)
            declared = None
        if declared is None:
            declared = _Declared(name=name, uid=uid, written=dict(body.get("status") or {}))
            self._declared[name] = declared
        declared.version, declared.generation = version, int(metadata.get("generation", 0))
        return declared

    async def _take(self, declared: _Declared, body: Mapping[str, Any]) -> None:
        before = declared.sink
        try:
            declared.sink = parse(body)
        except InvalidObject as error:
            await self._leave(declared)
            declared.sink, declared.problem = None, _Problem(reason="InvalidSpec", message=str(error))
            return
        if before is None or declared.sink.spec != before.spec:
            await self._join(declared, declared.sink)
        if before is None or _audience(before) != _audience(declared.sink):
            self._added()

    def take_secret(self, secret: Secret) -> None:
        """A labelled Secret is there or has changed; sinks that use it are taken up by `refresh`."""
        self._secrets[secret.name] = secret
        self._names[secret.uid] = secret.name

    def drop_secret(self, uid: str) -> None:
        """A labelled Secret is gone; another one may have its name since."""
        name = self._names.pop(uid, "")
        if name in self._secrets and self._secrets[name].uid == uid:
            del self._secrets[name]

    async def refresh(self) -> None:
        """Build the sinks again whose Secrets have changed."""
        async with self._one_at_a_time:
            for declared in list(self._declared.values()):
                if declared.sink and self._credential(declared.sink) != declared.found:
                    await self._put(declared, declared.sink)

    async def _join(self, declared: _Declared, sink: TrackingSink) -> None:
        if declared.key not in (None, key(sink)):
            await self._leave(declared)
        declared.key = key(sink)
        if await self._put(declared, sink):
            log.info("sink joined", sink=declared.name, type=sink.spec.type)

    async def _put(self, declared: _Declared, sink: TrackingSink) -> bool:
        declared.found = self._credential(sink)
        built = _built(sink, declared.found)
        declared.problem = built if isinstance(built, _Problem) else None
        member: Sink = WaitingSink(sink=sink, why=built.message) if isinstance(built, _Problem) else built
        return await self._roster.put(member, backfill=sink.spec.backfill, suspended=sink.spec.suspend)

    async def _leave(self, declared: _Declared) -> None:
        if declared.key:
            await self._roster.remove(declared.key)
            log.info("sink left", sink=declared.name)
            declared.key = None
            self._added()

    def _credential(self, sink: TrackingSink) -> Credential | _Problem:
        wanted = sink.spec.credentials
        secret = self._secrets.get(wanted.secret_name)
        if secret is None or wanted.key not in secret.data:
            message = (
                f"no Secret {wanted.secret_name} with the key {wanted.key} and the label"
                " rollbook.dev/credentials=true in the operator's namespace"
            )
            return _Problem(reason="CredentialMissing", message=message)
        try:
            token = base64.b64decode(secret.data[wanted.key], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            message = f"the key {wanted.key} of Secret {wanted.secret_name} is no text"
            return _Problem(reason="InvalidSpec", message=message)
        return Credential(token=token, hosts=secret.hosts)

    async def report(self) -> None:
        """Write the statuses that have changed.

        Raises:
            KubeError: one could not be written; the others have been.
        """
        couriers = {courier.sink.key: courier for courier in self._roster}
        troubles: list[KubeError] = []
        for declared in list(self._declared.values()):
            status = _status(declared, couriers.get(declared.key or ""))
            if all(declared.written.get(each) == value for each, value in status.items()):
                continue
            try:
                await self._kube.merge_patch(f"{SINKS}/{declared.name}/status", {"status": status})
            except NotFound:
                await self._vanished(declared)
            except KubeError as error:
                troubles.append(error)
            else:
                declared.written = {**declared.written, **status}
        if troubles:
            raise troubles[0]

    async def _vanished(self, declared: _Declared) -> None:
        """It was deleted while nobody watched, and kopf will never tell: nothing more is sent there."""
        async with self._one_at_a_time:
            if self._declared.get(declared.name) is declared:
                del self._declared[declared.name]
                await self._leave(declared)


def _audience(sink: TrackingSink) -> tuple[str, Selector, bool]:
    """What decides which slots it hears of."""
    return key(sink), sink.spec.selector, sink.spec.backfill


def _built(sink: TrackingSink, found: Credential | _Problem) -> Sink | _Problem:
    if isinstance(found, _Problem):
        return found
    try:
        return build(sink, found)
    except ConfigError as error:
        return _Problem(reason="InvalidSpec", message=str(error))


def _status(declared: _Declared, courier: Courier | None) -> dict[str, Any]:
    """What is to be written; None takes a field away."""
    sink = declared.sink
    return {
        "observedGeneration": declared.generation,
        **({"type": sink.spec.type} if sink else {}),
        **_counts(courier),
        "conditions": [_timed(_ready(declared, courier), declared.written.get("conditions") or ())],
    }


def _counts(courier: Courier | None) -> dict[str, Any]:
    if courier is None:
        return {"backlog": None, "oldestUndelivered": None}
    health, oldest = courier.health, courier.oldest
    last = {"lastDelivery": rfc3339(health.last_accepted // 1000 * 1000)} if health.last_accepted else {}
    return {
        "backlog": courier.backlog,
        "parked": health.refused,
        "oldestUndelivered": rfc3339(oldest // 1000 * 1000) if oldest else None,
        **last,
    }


def _ready(declared: _Declared, courier: Courier | None) -> dict[str, str]:
    if declared.problem:
        reason, message = declared.problem.reason, declared.problem.message
    elif courier:
        reason, message = _REASONS[courier.health.state], courier.health.message
    else:
        reason, message = "Stopping", ""
    status = "True" if reason == "Delivering" else "False"
    return {"type": "Ready", "status": status, "reason": reason, "message": message}


def _timed(condition: dict[str, str], written: Any) -> dict[str, str]:
    """With the time of its last change: the written one while it says the same."""
    for former in written:
        if former.get("type") == condition["type"] and former.get("status") == condition["status"]:
            return {**condition, "lastTransitionTime": former["lastTransitionTime"]}
    return {**condition, "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
