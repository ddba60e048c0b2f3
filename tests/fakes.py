"""Stand-ins for the ports of the use cases: plain classes whose state can be read, and failures to order."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rollbook.clock import Clock
from rollbook.core.errors import Conflict, RollbookError
from rollbook.core.look import View
from rollbook.core.projection import Record
from rollbook.core.slot import Slot, SlotKey
from rollbook.core.transition import Channel, Millis
from rollbook.core.workload import Deployment, Namespace, WorkloadRef
from rollbook.delivery import Delivery
from rollbook.kube.cluster import Sweep

Answer = BaseException | Mapping[str, str] | None
Script = Answer | asyncio.Event | Callable[[Delivery], Awaitable[Answer]]
"""What a fake sink does with a delivery: raise, accept (a start with an identity), wait and accept, or ask."""


async def eventually(probe: Callable[[], Any], *, within: float = 5.0) -> Any:
    """Wait until `probe` gives something true; what it last gave is told if it does not in time."""
    last: Any = None
    try:
        async with asyncio.timeout(within):
            while not (last := probe()):  # noqa: ASYNC110  # the state of many objects has no one event
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"not within {within} s: {last!r}") from None
    return last


async def settle(turns: int = 50) -> None:
    """Let everything that can go on go on."""
    for _ in range(turns):
        await asyncio.sleep(0)


class FakeClock(Clock):
    """Stands still until it is moved."""

    def __init__(self, now: Millis = 1_800_000_100_000) -> None:
        self.time = now

    def now(self) -> Millis:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        """See `Clock`."""
        return self.time

    def monotonic(self) -> float:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        """See `Clock`."""
        return self.time / 1000

    def jitter(self) -> float:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        """Certainty."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class FakeStored:
    """A slot as it is stored."""

    slot: Slot
    uid: str
    version: int


class FakeLedger:
    """An API server for slots and the operator's mirror of it, which may be behind.

    Attributes:
        server: what is stored, by name.
        mirror: what the operator believes.
        saves: every slot that was accepted, in order.
        failures: raised by the next writes, one each; None lets one pass.
        lost: so many of the next writes take effect and raise the error given.
        hold: while it is set to an event, a write waits for it.
        writing: names being written now.
    """

    def __init__(self, *slots: Slot) -> None:
        self.server: dict[str, FakeStored] = {}
        self.mirror: dict[str, FakeStored] = {}
        self.saves: list[Slot] = []
        self.deletes: list[str] = []
        self.failures: list[RollbookError | None] = []
        self.lost: list[RollbookError] = []
        self.hold: asyncio.Event | None = None
        self.writing: list[str] = []
        self.most_at_once: dict[str, int] = {}
        self._uids = 0
        for slot in slots:
            self.put(slot)

    def put(self, slot: Slot) -> None:
        """A slot that both know."""
        self.edit(slot)
        self.reread(slot.key.object_name)

    def edit(self, slot: Slot) -> None:
        """Somebody else writes a slot; the mirror does not hear of it."""
        name = slot.key.object_name
        former = self.server.get(name)
        self.server[name] = FakeStored(
            slot=slot, uid=former.uid if former else self._uid(), version=former.version + 1 if former else 1
        )

    def drop(self, name: str) -> None:
        """Somebody else deletes a slot."""
        del self.server[name]

    def reread(self, name: str) -> None:
        """The mirror learns what is stored."""
        if name in self.server:
            self.mirror[name] = self.server[name]
        else:
            self.mirror.pop(name, None)

    def get(self, name: str) -> FakeStored | None:
        """See `Ledger`."""
        return self.mirror.get(name)

    def names(self) -> Iterator[str]:
        """See `Ledger`."""
        return iter(tuple(self.mirror))

    def by_workload(self, ref: WorkloadRef) -> tuple[str, ...]:
        """See `Ledger`."""
        return tuple(name for name, stored in self.mirror.items() if stored.slot.key.workload == ref)

    def workloads(self) -> tuple[WorkloadRef, ...]:
        """See `Ledger`."""
        return tuple({stored.slot.key.workload: None for stored in self.mirror.values()})

    async def save(self, slot: Slot) -> str:
        """See `Ledger`."""
        name = slot.key.object_name
        self.writing.append(name)
        self.most_at_once[name] = max(self.most_at_once.get(name, 0), self.writing.count(name))
        try:
            await asyncio.sleep(0)
            if self.hold:
                await self.hold.wait()
            return self._save(name, slot)
        finally:
            self.writing.remove(name)

    async def delete(self, name: str) -> None:
        """See `Ledger`."""
        await asyncio.sleep(0)
        self._fail(name)
        self.server.pop(name, None)
        self.mirror.pop(name, None)
        self.deletes.append(name)

    def _save(self, name: str, slot: Slot) -> str:
        believed = self.mirror.get(name)
        self._fail(name)
        stored = FakeStored(
            slot=slot,
            uid=believed.uid if believed else self._uid(),
            version=believed.version + 1 if believed else 1,
        )
        self.server[name] = stored
        if self.lost:
            raise self.lost.pop(0)
        self.mirror[name] = stored
        self.saves.append(slot)
        return stored.uid

    def _fail(self, name: str) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if self.server.get(name) != self.mirror.get(name) or isinstance(failure, Conflict):
            self.reread(name)
            raise failure or Conflict(f"{name} was written by somebody else")
        if failure:
            raise failure

    def _uid(self) -> str:
        self._uids += 1
        return f"uid-{self._uids}"


@dataclass(eq=False)
class FakeSink:
    """A tracking API with scripted answers; without one left it accepts."""

    key: str = "sink"
    name: str = "fake"
    channels: frozenset[Channel] = frozenset(Channel)
    since: Millis = 0
    selected: Callable[[SlotKey, Namespace, Mapping[str, str]], bool] = lambda *_: True
    answers: list[Script] = field(default_factory=list)
    by_slot: dict[str, list[Script]] = field(default_factory=dict)
    """Answers for one slot, by its object name; they come first."""
    tried: list[Delivery] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    accepted: list[Delivery] = field(default_factory=list)
    under_way: list[Delivery] = field(default_factory=list)
    most_at_once: int = 0
    closed: int = 0

    @property
    def heard(self) -> list[str]:
        """What it has accepted: `<seq> <kind>`."""
        return [f"{each.transition.seq} {each.transition.kind}" for each in self.accepted]

    @property
    def attempts(self) -> list[str]:
        """What was tried: `<seq> <kind>`, with a question mark where it was uncertain."""
        return [
            f"{each.transition.seq} {each.transition.kind}{'?' if each.uncertain else ''}" for each in self.tried
        ]

    def selects(self, key: SlotKey, namespace: Namespace, labels: Mapping[str, str]) -> bool:
        """See `Sink`."""
        return self.selected(key, namespace, labels)

    async def deliver(self, delivery: Delivery) -> Mapping[str, str] | None:
        """See `Sink`."""
        assert not self.closed, "delivered to a sink that is closed"
        others = [each.key for each in self.under_way]
        assert delivery.key not in others, "two deliveries of one slot at once"
        self.tried.append(delivery)
        self.times.append(asyncio.get_running_loop().time())
        self.under_way.append(delivery)
        self.most_at_once = max(self.most_at_once, len(self.under_way))
        try:
            frozen = await self._answer(delivery)
        finally:
            self.under_way.remove(delivery)
        assert not self.closed, "closed with a delivery under way"
        self.accepted.append(delivery)
        return frozen

    async def _answer(self, delivery: Delivery) -> Mapping[str, str] | None:
        await asyncio.sleep(0)
        script = self.by_slot.get(delivery.key.object_name) or self.answers
        answer = script.pop(0) if script else None
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return None
        if callable(answer):
            answer = await answer(delivery)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        """See `Sink`."""
        self.closed += 1


class FakeRecords:
    """The records in the cluster, by slot.

    Attributes:
        failures: raised by the next calls, one each.
    """

    def __init__(self) -> None:
        self.published: dict[str, tuple[Record, ...]] = {}
        self.calls: list[str] = []
        self.failures: list[RollbookError] = []

    async def publish(self, slot: str, records: Sequence[Record]) -> None:
        """See `Records`."""
        self.calls.append(slot)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.published[slot] = tuple(records)


class FakeCluster:
    """What has been heard of the cluster.

    Attributes:
        views: by workload.
        sweeps: the answers of the next sweeps; then all are complete and find nothing.
    """

    def __init__(self) -> None:
        self.views: dict[WorkloadRef, View] = {}
        self.sweeps: list[Sweep] = []
        self.swept = 0
        self.reads: list[WorkloadRef] = []
        self.read_failures: list[RollbookError] = []
        self.disbelieved = 0

    def show(self, deployment: Deployment, namespace: Namespace | None, **parts: Any) -> None:
        """A workload is there."""
        self.views[deployment.ref] = View(deployment=deployment, namespace=namespace, **parts)

    def hide(self, ref: WorkloadRef) -> None:
        """A workload is gone, and all that belongs to it."""
        former = self.views[ref]
        self.views[ref] = replace(former, deployment=None, replica_sets=(), pods=())

    def view(self, ref: WorkloadRef) -> View:
        """See `Cluster`."""
        return self.views.get(ref, View(deployment=None, namespace=None))

    async def sweep(self, believe: Callable[[Collection[WorkloadRef]], bool] = lambda _: True) -> Sweep:
        """See `Cluster`; what is missing is forgotten if it is believed."""
        await asyncio.sleep(0)
        self.swept += 1
        answer = self.sweeps.pop(0) if self.sweeps else Sweep(complete=True)
        if answer.complete and not believe(answer.missing):
            self.disbelieved += 1
            return Sweep(complete=False, error="not believed")
        for ref in answer.missing:
            self.hide(ref)
        return answer

    async def read(self, ref: WorkloadRef) -> None:
        """See `Cluster`."""
        self.reads.append(ref)
        if self.read_failures:
            raise self.read_failures.pop(0)
