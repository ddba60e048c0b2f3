"""Delivers the transitions of slots to one sink, in order.

A slow or dead sink slows nothing else: each has a courier of its own, with its own queue and its own back-off.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from rollbook.book import Book
from rollbook.clock import Clock
from rollbook.core.errors import KubeError, LeadershipLost, SinkRejected, SinkUnauthorized, SinkUnavailable
from rollbook.core.outbox import Progress, Subscription, due
from rollbook.core.retry import RetryPolicy, next_attempt
from rollbook.core.slot import Cursor, Parked, Slot, SlotKey
from rollbook.core.transition import Channel, Millis, Transition
from rollbook.delivery import Delivery, Outcome, Result, Sink
from rollbook.hints import Hints


@dataclass(slots=True)
class Health:
    """How a sink is doing, for whoever reports it."""

    state: Literal["ready", "unavailable", "unauthorized", "suspended"] = "ready"
    message: str = ""
    last_accepted: Millis | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all couriers share."""

    book: Book
    clock: Clock
    policy: RetryPolicy
    earlier: Mapping[str, int]
    """Slots as they were found at the start, with their last sequence numbers: an earlier life made what is
    pending up to there, and may have sent one of it."""
    may_send: Callable[[], None]
    """Raises LeadershipLost when our deadline has passed."""
    flush: Callable[[SlotKey, float], None]
    """Asks for the slot's progress to be written within so many seconds."""
    on_outcome: Callable[[Outcome], None]


class Courier:
    """Delivers to one sink: some slots side by side, one slot's transitions in order.

    Nothing here is durable: what is owed stands in the slots, what was accepted goes back there.
    """

    WIDTH: ClassVar = 8
    """Deliveries to one sink side by side."""

    LINGER: ClassVar = 0.2
    """Seconds that progress waits for company before it costs a write of its own."""

    def __init__(self, sink: Sink, subscription: Callable[[str, Slot], Subscription | None], desk: Desk) -> None:
        self.sink = sink
        self.health = Health()
        self.hints: Hints[str] = Hints()
        self._subscription = subscription
        self._desk = desk
        self._failures = 0
        self._open = asyncio.Event()
        self._open.set()
        self._doubt: set[tuple[str, int]] = set()
        self._stuck: dict[str, Millis] = {}

    @property
    def backlog(self) -> int:
        """Slots that owe the sink something."""
        return self.hints.pending

    @property
    def oldest(self) -> Millis | None:
        """The time of the oldest transition that the sink did not take when it was tried."""
        return min(self._stuck.values(), default=None)

    def replace(self, sink: Sink) -> Sink:
        """Go on with another credential or selector; the destination is the same. Returns the former sink."""
        former, self.sink = self.sink, sink
        self._recover()
        return former

    def suspend(self, *, suspended: bool) -> None:
        """Hold all deliveries, or go on with them."""
        if suspended:
            self._open.clear()
            self.health.state = "suspended"
        elif self.health.state == "suspended":
            self._recover()

    async def finish(self, seconds: float) -> None:
        """Begin no delivery any more, and let those under way end, for so long."""
        self.suspend(suspended=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.hints.idle(), seconds)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self.WIDTH):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._open.wait()
            name = await self.hints.get()
            try:
                if self._open.is_set():
                    await self._slot(name)
                else:
                    self.hints.add(name)
            finally:
                self.hints.done(name)

    async def _slot(self, name: str) -> None:
        """Deliver what one slot owes, oldest first, until nothing is owed or something stands in the way."""
        while self._open.is_set() and (found := self._desk.book.look(name)):
            slot, uid = found
            subscription = self._subscription(self.sink.key, slot)
            transition = due(slot, subscription) if subscription else None
            if transition is None:
                return
            if not await self._durable(name, slot, transition):
                return
            if not await self._try(name, slot, uid, transition):
                return

    async def _durable(self, name: str, slot: Slot, transition: Transition) -> bool:
        """See to it that at most one delivery of a channel can be in doubt after a crash."""
        unwritten = self._desk.book.unwritten(name, self.sink.key)
        if unwritten is None or transition.kind.channel not in unwritten.channels:
            return True
        try:
            await self._desk.book.flush(slot.key)
        except (KubeError, LeadershipLost):
            self._desk.flush(slot.key, 1.0)
            self.hints.add(name, delay=1.0)
            return False
        return True

    async def _try(self, name: str, slot: Slot, uid: str, transition: Transition) -> bool:
        """Make one delivery; True when the slot's next one may follow."""
        cursor = slot.cursors[self.sink.key]
        delivery = Delivery(
            key=slot.key,
            slot_uid=uid,
            transition=transition,
            uncertain=transition.seq <= self._desk.earlier.get(name, 0) or (name, transition.seq) in self._doubt,
            frozen=cursor.frozen,
        )
        began = self._desk.clock.monotonic()
        try:
            self._desk.may_send()
            frozen = await self.sink.deliver(delivery)
        except LeadershipLost:
            return False
        except SinkRejected as refusal:
            self._refused(name, cursor, delivery, str(refusal))
            self._report(delivery, "refused", began, str(refusal))
        except SinkUnauthorized as refusal:
            self._unauthorized(name, transition, str(refusal))
            self._report(delivery, "unauthorized", began, str(refusal))
            return False
        except SinkUnavailable as trouble:
            self._unavailable(name, transition, trouble)
            self._report(delivery, "unavailable", began, str(trouble))
            return False
        else:
            self._accepted(name, cursor, delivery, frozen)
            self._report(delivery, "accepted", began)
        self._desk.flush(slot.key, self.LINGER)
        return True

    def _accepted(self, name: str, cursor: Cursor, delivery: Delivery, frozen: Mapping[str, str] | None) -> None:
        transition = delivery.transition
        if transition.kind.channel is Channel.STATE:
            frozen = cursor.frozen
        self._desk.book.told(
            name,
            self.sink.key,
            Progress(seq=transition.seq, frozen=frozen, channels=frozenset({transition.kind.channel})),
        )
        self._doubt.discard((name, transition.seq))
        self._stuck.pop(name, None)
        self.health.last_accepted = self._desk.clock.now()
        self._recover()

    def _refused(self, name: str, cursor: Cursor, delivery: Delivery, message: str) -> None:
        transition = delivery.transition
        parked = Parked(sink=self.sink.key, transition=transition, message=message, at=self._desk.clock.now())
        self._desk.book.told(
            name,
            self.sink.key,
            Progress(
                seq=transition.seq,
                frozen=cursor.frozen,
                channels=frozenset({transition.kind.channel}),
                refused=(parked,),
            ),
        )
        self.health.refused += 1
        self._stuck.pop(name, None)
        self._recover()

    def _unauthorized(self, name: str, transition: Transition, message: str) -> None:
        self._stuck[name] = transition.at.time
        self.health.state, self.health.message = "unauthorized", message
        self._open.clear()
        self.hints.add(name)

    def _unavailable(self, name: str, transition: Transition, trouble: SinkUnavailable) -> None:
        self._stuck[name] = transition.at.time
        if trouble.sent:
            self._doubt.add((name, transition.seq))
        self.health.state, self.health.message = "unavailable", str(trouble)
        self._failures += 1
        now = self._desk.clock.now()
        asked = int(trouble.retry_after * 1000) if trouble.retry_after is not None else None
        again = next_attempt(
            self._desk.policy, self._failures, now, self._desk.clock.jitter(), retry_after_ms=asked
        )
        delay = max(0.0, (again - now) / 1000)
        self.hints.add(name, delay=delay)
        if self._open.is_set() and (asked is not None or self._failures >= self.WIDTH):
            self._open.clear()
            asyncio.get_running_loop().call_later(delay, self._reopen)

    def _reopen(self) -> None:
        if self.health.state == "unavailable":
            self._open.set()

    def _recover(self) -> None:
        if self.health.state == "suspended" and not self._open.is_set():
            return
        self._failures = 0
        self.health.state, self.health.message = "ready", ""
        self._open.set()

    def _report(self, delivery: Delivery, result: Result, began: float, message: str = "") -> None:
        self._desk.on_outcome(
            Outcome(
                sink=self.sink.name,
                delivery=delivery,
                result=result,
                message=message,
                seconds=self._desk.clock.monotonic() - began,
            )
        )
