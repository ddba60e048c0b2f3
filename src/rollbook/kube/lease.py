"""One leader: a `coordination.k8s.io` Lease.

| seconds | what |
|---|---|
| 5 | the holder renews |
| 10 | without a renewal the holder stops: `check` raises before every write and delivery |
| 15 | without a renewal *seen*, another takes over |

The clocks of two machines are never compared: who waits watches the Lease change, on its own monotonic clock. The
holder counts from before the request that renewed it, so its deadline is early rather than late.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rollbook.core.errors import Conflict, Forbidden, InvalidObject, KubeError, LeadershipLost, NotFound
from rollbook.core.transition import Millis
from rollbook.kube.client import Kube
from rollbook.kube.wire import Metadata, Wire, decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. `duration - deadline` must not be less than a write may take (`client.WRITE_TIMEOUT`)."""

    duration: float = 15.0
    deadline: float = 10.0
    renew: float = 5.0
    retry: float = 2.0
    """Between two looks of a standby, and after a failure."""


DEFAULT_TIMING: Final = Timing()


class _Spec(Wire, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _LeaseWire(Wire, frozen=True):
    metadata: Metadata
    spec: _Spec = _Spec()


_read = decoder(_LeaseWire)


class Lease:
    """The right to lead.

    Args:
        kube: the connection.
        namespace: the operator's.
        lost: called once when leadership is lost against our will.
        on_error: told of each request that failed.
        name: of the Lease.
        timing: see the module.
    """

    def __init__(  # noqa: PLR0913  # two callbacks, and a name and times that have defaults
        self,
        kube: Kube,
        namespace: str,
        *,
        lost: Callable[[], None],
        on_error: Callable[[str], None],
        name: str = "rollbook",
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self._kube = kube
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._name = name
        self._lost = lost
        self._on_error = on_error
        self._timing = timing
        self._identity = ""
        self._version = ""
        self._renewed_at: float | None = None
        self._created_at = 0

    @property
    def created_at(self) -> Millis:
        """When the Lease object was created: the install's epoch. Known once acquired."""
        return self._created_at

    @property
    def held(self) -> bool:
        """Whether we lead, by our own clock."""
        return self._renewed_at is not None and time.monotonic() < self._renewed_at + self._timing.deadline

    def check(self) -> None:
        """Raise LeadershipLost unless we lead."""
        if not self.held:
            raise LeadershipLost("the Lease is not held, or its deadline has passed")

    async def acquire(self, identity: str) -> None:
        """Wait until the Lease is ours; at once if it is free, or held by `identity` (our own restart).

        Failures of the API server are waited out. A holder counts as dead after its Lease has not changed before
        our eyes for as long as it said it would hold it.

        Raises:
            Forbidden: RBAC does not let us have it.
        """
        self._identity = identity
        seen: tuple[str, float] = ("", 0.0)
        while True:
            try:
                current = await self._look()
                if current is None:
                    await self._create()
                    return
                if current.metadata.resource_version != seen[0]:
                    seen = (current.metadata.resource_version, time.monotonic())
                if self._may_take(current, seen[1]):
                    await self._take(current)
                    return
            except Forbidden:
                raise
            except (KubeError, InvalidObject) as error:
                self._on_error(str(error))
            await asyncio.sleep(self._timing.retry)

    async def hold(self) -> None:
        """Renew until leadership is lost (then `lost` has been called) or this is cancelled."""
        while self.held:
            renewed = await self._renew()
            await asyncio.sleep(self._pause(self._timing.renew if renewed else self._timing.retry))
        if self._renewed_at is not None:
            self._renewed_at = None
            self._lost()

    async def release(self) -> None:
        """Give the Lease up, so that a standby need not wait; a failure only makes it wait.

        To be called when `hold` has been cancelled.
        """
        if not self.held:
            return
        self._renewed_at = None
        spec = {"holderIdentity": None, "leaseDurationSeconds": 1, "renewTime": _now()}
        with suppress(KubeError):
            await self._patch(spec)

    def _may_take(self, current: _LeaseWire, unchanged_since: float) -> bool:
        holder = current.spec.holder_identity
        if not holder or holder == self._identity:
            return True
        allowed = current.spec.lease_duration_seconds or self._timing.duration
        return time.monotonic() - unchanged_since > allowed

    async def _look(self) -> _LeaseWire | None:
        try:
            return _read(await self._kube.get(self._path))
        except NotFound:
            return None

    async def _create(self) -> None:
        begun = time.monotonic()
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name},
            "spec": {**self._claim(), "acquireTime": _now(), "leaseTransitions": 0},
        }
        self._note(_read(await self._kube.create(self._collection, body, fenced=False)), begun)

    async def _take(self, current: _LeaseWire) -> None:
        begun = time.monotonic()
        self._version = current.metadata.resource_version
        transitions = (current.spec.lease_transitions or 0) + 1
        self._note(
            await self._patch({**self._claim(), "acquireTime": _now(), "leaseTransitions": transitions}), begun
        )

    async def _renew(self) -> bool:
        """Renew once; whether that succeeded. Somebody else's name in the Lease ends our leadership now."""
        begun = time.monotonic()
        try:
            self._note(await self._patch({"renewTime": _now()}), begun)
        except (Conflict, NotFound):
            await self._reconsider()
        except (KubeError, InvalidObject) as error:
            self._on_error(str(error))
        else:
            return True
        return False

    async def _reconsider(self) -> None:
        """Somebody wrote to the Lease: did they take it, or only edit or delete it?"""
        try:
            current = await self._look()
        except (KubeError, InvalidObject) as error:
            self._on_error(str(error))
            return
        if current is None or current.spec.holder_identity != self._identity:
            self._renewed_at = time.monotonic() - self._timing.deadline
        else:
            self._version = current.metadata.resource_version

    async def _patch(self, spec: dict[str, Any]) -> _LeaseWire:
        body = {"metadata": {"resourceVersion": self._version}, "spec": spec}
        return _read(await self._kube.merge_patch(self._path, body, fenced=False))

    def _claim(self) -> dict[str, Any]:
        duration = max(1, round(self._timing.duration))
        return {"holderIdentity": self._identity, "leaseDurationSeconds": duration, "renewTime": _now()}

    def _note(self, lease: _LeaseWire, begun: float) -> None:
        self._version = lease.metadata.resource_version
        self._created_at = lease.metadata.created
        self._renewed_at = begun

    def _pause(self, wanted: float) -> float:
        """No longer than until the deadline, so that its passing is noticed when it passes."""
        assert self._renewed_at is not None, "only the holder renews"
        return max(0.0, min(wanted, self._renewed_at + self._timing.deadline - time.monotonic()))


def _now() -> str:
    """For people who read the Lease; nobody computes with it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
