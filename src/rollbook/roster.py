"""The sinks that are configured now: who hears of which slot, and the courier of each."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rollbook.core import outbox
from rollbook.core.outbox import Subscription, due
from rollbook.core.slot import Slot
from rollbook.core.transition import Transition
from rollbook.core.workload import Namespace, WorkloadRef
from rollbook.courier import Courier, Desk, Doubt
from rollbook.delivery import Sink

Describe = Callable[[WorkloadRef], tuple[Namespace | None, Mapping[str, str] | None]]
"""A workload's namespace and labels; None for what we do not (or no longer) know."""


@dataclass(slots=True)
class _Member:
    courier: Courier
    backfill: bool
    task: asyncio.Task[None]


class Roster:
    """All sinks by their keys."""

    def __init__(self, describe: Describe, desk: Desk) -> None:
        self._describe = describe
        self._desk = desk
        self._members: dict[str, _Member] = {}
        self._doubts: defaultdict[str, Doubt] = defaultdict(set)
        self._closed = False

    def __iter__(self) -> Iterator[Courier]:
        """All couriers."""
        return (member.courier for member in self._members.values())

    @property
    def names(self) -> dict[str, str]:
        """The sinks' names by their keys."""
        return {key: member.courier.sink.name for key, member in self._members.items()}

    async def put(self, sink: Sink, *, backfill: bool, suspended: bool) -> bool:
        """Add a sink, or go on with another credential or selector. True if it is a new destination."""
        member = self._members.get(sink.key)
        if member is None and self._closed:
            await sink.close()
        elif member is None:
            self._add(sink, backfill=backfill, suspended=suspended)
        else:
            member.backfill = backfill
            member.courier.gate.suspend(suspended=suspended or self._closed)
            await member.courier.replace(sink)
        return member is None

    def _add(self, sink: Sink, *, backfill: bool, suspended: bool) -> None:
        courier = Courier(sink, self.subscription, self._desk, self._doubts[sink.key])
        courier.gate.suspend(suspended=suspended)
        task = asyncio.create_task(courier.run(), name=f"courier {sink.name}")
        self._members[sink.key] = _Member(courier=courier, backfill=backfill, task=task)

    async def remove(self, key: str) -> None:
        """Stop delivering to a sink; what it was owed goes with the slots' next writes.

        A delivery under way is broken off. It is in doubt should the sink come back.
        """
        member = self._members.pop(key, None)
        if member is None:
            return
        member.task.cancel()
        await asyncio.gather(member.task, return_exceptions=True)
        member.courier.close()
        await member.courier.sink.close()

    async def close(self, seconds: float) -> None:
        """Stop all couriers, for good; deliveries under way get so long to end."""
        self._closed = True
        await asyncio.gather(*(courier.finish(seconds) for courier in self))
        for key in list(self._members):
            await self.remove(key)

    def subscriptions(self, slot: Slot) -> tuple[Subscription, ...]:
        """Who hears of a slot."""
        found = (self._subscription(member, slot) for member in self._members.values())
        return tuple(each for each in found if each)

    def subscription(self, key: str, slot: Slot) -> Subscription | None:
        """What one sink hears of a slot, if it does."""
        member = self._members.get(key)
        return self._subscription(member, slot) if member else None

    def owed(self, slot: Slot) -> Callable[[str, Transition], bool]:
        """Whether a sink is owed a transition of the slot."""
        due = {(each.key, owed.seq) for each in self.subscriptions(slot) for owed in outbox.owed(slot, each)}
        return lambda key, transition: (key, transition.seq) in due

    def hint(self, name: str, slot: Slot) -> bool:
        """Tell the couriers of what is due. True if anything is."""
        waiting = False
        for subscription in self.subscriptions(slot):
            if due(slot, subscription):
                self._members[subscription.key].courier.hints.add(name)
                waiting = True
        return waiting

    def _subscription(self, member: _Member, slot: Slot) -> Subscription | None:
        sink = member.courier.sink
        cursor = slot.cursors.get(sink.key)
        namespace, labels = self._describe(slot.key.workload)
        if namespace is None or labels is None:
            selected = cursor is not None
        else:
            selected = sink.selects(slot.key, namespace, labels)
        if not selected and (cursor is None or cursor.frozen is None):
            return None
        return Subscription(
            key=sink.key,
            channels=sink.channels,
            since=sink.since,
            backfill=member.backfill,
            closing=not selected,
        )
