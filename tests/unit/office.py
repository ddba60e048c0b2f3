"""A small office to test deliveries in: a book over a fake ledger, a roster, couriers, no API server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from rollbook.book import Book, Change
from rollbook.core.errors import KubeError, LeadershipLost
from rollbook.core.retry import RetryPolicy
from rollbook.core.slot import Slot, SlotKey
from rollbook.core.transition import Kind
from rollbook.core.workload import Namespace, WorkloadRef
from rollbook.courier import Courier, Desk
from rollbook.delivery import Outcome
from rollbook.hints import Hints
from rollbook.roster import Roster
from tests.fakes import FakeClock, FakeLedger, FakeSink, eventually
from tests.unit.core import make

HURRIED = RetryPolicy(base_ms=1, cap_ms=2)
"""For tests: a back-off of a millisecond."""

PAYMENTS = Namespace(name="payments", labels={"team": "pay"})
LABELS = {"tier": "front"}


class Office:
    """Everything that deliveries need.

    Attributes:
        leading: whether we may send.
        flushed: slots whose progress was asked to be written, with the delay.
        flushing: whether that is done at once.
    """

    def __init__(
        self, *slots: Slot, earlier: Mapping[str, int] | None = None, policy: RetryPolicy = HURRIED
    ) -> None:
        self.ledger = FakeLedger(*slots)
        self.clock = FakeClock()
        self.leading = True
        self.outcomes = list[Outcome]()
        self.bugs: list[tuple[str, Exception]] = []
        self.flushed: list[tuple[SlotKey, float]] = []
        self.flushing = False
        self.flushes: Hints[SlotKey] = Hints()
        self.places: dict[WorkloadRef, tuple[Namespace | None, Mapping[str, str] | None]] = {}
        self.book = Book(self.ledger, lambda slot: self.roster.subscriptions(slot), self._saved)  # noqa: PLW0108  # made below
        self.desk = Desk(
            book=self.book,
            clock=self.clock,
            policy=policy,
            earlier=earlier or {},
            parked={},
            may_send=self._may_send,
            flush=self._flush,
            on_outcome=self.outcomes.append,
            on_bug=lambda name, error: self.bugs.append((name, error)),
        )
        self.roster = Roster(lambda ref: self.places.get(ref, (PAYMENTS, LABELS)), self.desk)

    async def put(self, sink: FakeSink, *, suspended: bool = False, backfill: bool = True) -> Courier:
        """Add a sink and tell its courier of all slots."""
        await self.roster.put(sink, backfill=backfill, suspended=suspended)
        self.hint()
        return next(courier for courier in self.roster if courier.sink is sink)

    def hint(self) -> None:
        """Tell all couriers of what is due."""
        for name in self.ledger.names():
            found = self.book.look(name)
            assert found is not None
            self.roster.hint(name, found[0])

    def slot(self, name: str) -> Slot:
        """A slot as it is stored."""
        return self.ledger.server[name].slot

    def results(self) -> list[str]:
        """What became of each try: `<seq> <result>`."""
        return [f"{each.delivery.transition.seq} {each.result}" for each in self.outcomes]

    async def done(self) -> None:
        """Wait until every sink has what it is owed."""
        await eventually(lambda: all(not courier.backlog for courier in self.roster))

    def _saved(self, change: Change) -> None:
        self.roster.hint(change.after.key.object_name, change.after)

    def _may_send(self) -> None:
        if not self.leading:
            raise LeadershipLost("no")

    def _flush(self, key: SlotKey, delay: float) -> None:
        self.flushed.append((key, delay))
        if self.flushing:
            self.flushes.add(key)

    async def write_progress(self) -> None:
        """Write progress as it is asked for, until cancelled."""
        while True:
            key = await self.flushes.get()
            try:
                await self.book.flush(key)
            except KubeError:
                self.flushes.add(key, delay=0.001)
            finally:
                self.flushes.done(key)


@asynccontextmanager
async def open_office(
    *slots: Slot, earlier: Mapping[str, int] | None = None, policy: RetryPolicy = HURRIED
) -> AsyncIterator[Office]:
    """An office that is closed in the end; nothing may have gone wrong in it that no test asked for."""
    office = Office(*slots, earlier=earlier, policy=policy)
    clerk = asyncio.ensure_future(office.write_progress())
    try:
        yield office
    finally:
        await office.roster.close(0.05)
        office.flushes.close()
        clerk.cancel()
        await asyncio.gather(clerk, return_exceptions=True)


def owing(*kinds: str, container: str = "web", **overrides: Any) -> Slot:
    """A slot that owes transitions of these kinds to the sink `sink`, numbered from 1."""
    pending = tuple(
        make.transition(seq, Kind(kind), entry=seq)
        for seq, kind in enumerate(kinds, start=overrides.pop("first", 1))
    )
    fields: dict[str, Any] = {
        "key": make.key(container=container),
        "seq": pending[-1].seq if pending else 0,
        "pending": pending,
        "cursors": make.cursors(sink=0),
    }
    return make.slot(**fields | overrides)
