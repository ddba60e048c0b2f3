"""Delivers the transitions of slots to one sink, in order.

A slow or dead sink slows nothing else: each has a courier of its own, with its own queue and its own back-off.

| the sink | what follows |
|---|---|
| accepts | the slot's next transition |
| refuses the delivery | it is parked, then the slot's next one |
| is not available | the same again, later; asked to wait, or failing again and again, all wait |
| refuses the credential | all wait until there is another |
| fails in a way that no sink should | as not available, and the next try is uncertain |
"""

import asyncio
import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import ClassVar

from rollbook.book import Book
from rollbook.clock import Clock
from rollbook.core.errors import (
    KubeError,
    LeadershipLost,
    SinkError,
    SinkRejected,
    SinkUnauthorized,
    SinkUnavailable,
)
from rollbook.core.outbox import Progress, Subscription, due
from rollbook.core.retry import RetryPolicy
from rollbook.core.slot import Cursor, Parked, Slot, SlotKey
from rollbook.core.transition import Channel, Millis, Transition
from rollbook.delivery import Delivery, Outcome, Result, Sink
from rollbook.gate import Gate, Health
from rollbook.hints import Hints

AGAIN = 1.0
"""Seconds until a slot is taken up again that could not be written, or that we were not allowed to send of."""

AFTER_A_BUG = 60.0
"""Seconds until a slot is taken up again that an error of our own has stopped."""

Doubt = set[tuple[str, int]]
"""Deliveries that may have taken effect, by slot and sequence number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all couriers share."""

    book: Book
    clock: Clock
    policy: RetryPolicy
    earlier: Mapping[str, int]
    """Slots as they were found at the start, with their last sequence numbers: an earlier life made what is
    pending up to there, and may have sent one of it."""
    parked: MutableMapping[str, int]
    """How many refused deliveries there are, by sink key: counted at the start, kept up by the couriers."""
    may_send: Callable[[], None]
    """Raises LeadershipLost when our deadline has passed."""
    flush: Callable[[SlotKey, float], None]
    """Asks for the slot's progress to be written within so many seconds."""
    on_outcome: Callable[[Outcome], None]
    on_bug: Callable[[str, Exception], None]
    """Told of a slot by whose handling an error of our own was met."""


class Courier:
    """Delivers to one sink: some slots side by side, one slot's transitions in order.

    Nothing here is durable: what is owed stands in the slots, what was accepted goes back there.
    """

    WIDTH: ClassVar = 8
    """Deliveries to one sink side by side."""

    LINGER: ClassVar = 0.2
    """Seconds that progress waits for company before it costs a write of its own."""

    def __init__(
        self,
        sink: Sink,
        subscription: Callable[[str, Slot], Subscription | None],
        desk: Desk,
        doubt: Doubt | None = None,
    ) -> None:
        self.sink = sink
        self.gate = Gate(desk.policy, desk.clock, refused=desk.parked.get(sink.key, 0))
        self.hints: Hints[str] = Hints()
        self._subscription = subscription
        self._desk = desk
        self._doubt: Doubt = set() if doubt is None else doubt
        self._stuck: dict[str, Millis] = {}
        self._using: Counter[int] = Counter()

    @property
    def health(self) -> Health:
        """How the sink is doing."""
        return self.gate.health

    @property
    def backlog(self) -> int:
        """Slots that owe the sink something."""
        return self.hints.pending

    @property
    def oldest(self) -> Millis | None:
        """The time of the oldest transition that the sink did not take when it was tried."""
        return min(self._stuck.values(), default=None)

    async def replace(self, sink: Sink) -> None:
        """Go on with another credential or selector; the destination is the same.

        The former sink is closed when the deliveries under way with it have ended; what becomes of them says
        nothing of the new one.
        """
        former, self.sink = self.sink, sink
        self.gate.renew()
        if not self._using[id(former)]:
            await former.close()

    async def finish(self, seconds: float) -> None:
        """Begin no delivery any more, and let those under way end, for so long."""
        self.gate.suspend(suspended=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.hints.idle(), seconds)

    def close(self) -> None:
        """Drop what waits for a time; to be called when `run` has ended."""
        self.hints.close()
        self.gate.close()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self.WIDTH):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self.gate.opened()
            name = await self.hints.get()
            try:
                await self._slot(name)
            except Exception as error:  # noqa: BLE001 - one slot that cannot be handled must not stop the others
                self._desk.on_bug(name, error)
                self.hints.add(name, delay=AFTER_A_BUG)
            finally:
                self.hints.done(name)

    async def _slot(self, name: str) -> None:
        """Deliver what one slot owes, oldest first, until nothing is owed or something stands in the way."""
        while self.gate.is_open:
            found = self._desk.book.look(name)
            subscription = self._subscription(self.sink.key, found[0]) if found else None
            transition = due(found[0], subscription) if found and subscription else None
            if found is None or transition is None:
                self._stuck.pop(name, None)
                return
            if self._doubled(name, transition):
                goes_on = await self._written(name, found[0])  # and then look again: it took its time
            else:
                goes_on = await self._try(name, *found, transition)
            if not goes_on:
                return
        self.hints.add(name)

    def _doubled(self, name: str, transition: Transition) -> bool:
        """Whether this would be a second delivery of its channel that is in doubt after a crash."""
        unwritten = self._desk.book.unwritten(name, self.sink.key)
        return unwritten is not None and transition.kind.channel in unwritten.channels

    async def _written(self, name: str, slot: Slot) -> bool:
        """Write the progress of a slot; False if that must be tried again."""
        try:
            await self._desk.book.flush(slot.key)
        except (KubeError, LeadershipLost):
            self._desk.flush(slot.key, AGAIN)
            self.hints.add(name, delay=AGAIN)
            return False
        return True

    async def _try(self, name: str, slot: Slot, uid: str, transition: Transition) -> bool:
        """Make one delivery; True when the slot's next one may follow."""
        sink, cursor = self.sink, slot.cursors[self.sink.key]
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
            frozen = await self._deliver(sink, name, delivery)
        except LeadershipLost:
            self.hints.add(name, delay=AGAIN)
            return False
        except SinkRejected as refusal:
            self._refused(name, cursor, delivery, str(refusal))
            self._report(delivery, "refused", began, str(refusal))
        except SinkUnauthorized as refusal:
            self._unauthorized(sink, name, transition, str(refusal))
            self._report(delivery, "unauthorized", began, str(refusal))
            return False
        except SinkUnavailable as trouble:
            self._unavailable(sink, name, transition, trouble)
            self._report(delivery, "unavailable", began, str(trouble))
            return False
        else:
            self._accepted(name, cursor, delivery, frozen)
            self._report(delivery, "accepted", began)
        if sink is self.sink:
            self.gate.answered()
        self._desk.flush(slot.key, self.LINGER)
        return True

    async def _deliver(self, sink: Sink, name: str, delivery: Delivery) -> Mapping[str, str] | None:
        self._using[id(sink)] += 1
        try:
            return await sink.deliver(delivery)
        except SinkError:
            raise
        except asyncio.CancelledError:
            self._doubt.add((name, delivery.transition.seq))
            raise
        except Exception as error:
            raise SinkUnavailable(_unexpected(error), sent=True) from error
        finally:
            self._using[id(sink)] -= 1
            if not self._using[id(sink)]:
                del self._using[id(sink)]
                if sink is not self.sink:
                    await sink.close()

    def _accepted(self, name: str, cursor: Cursor, delivery: Delivery, frozen: Mapping[str, str] | None) -> None:
        if delivery.transition.kind.channel is Channel.STATE:
            frozen = cursor.frozen
        self._ended(name, delivery, frozen)
        self.health.last_accepted = self._desk.clock.now()

    def _refused(self, name: str, cursor: Cursor, delivery: Delivery, message: str) -> None:
        """Park it. A start that was refused opens nothing, an end that was refused leaves nothing open."""
        transition = delivery.transition
        frozen = cursor.frozen if transition.kind.channel is Channel.STATE else None
        parked = Parked(sink=self.sink.key, transition=transition, message=message, at=self._desk.clock.now())
        self._ended(name, delivery, frozen, parked)
        self.health.refused += 1
        self._desk.parked[self.sink.key] = self.health.refused

    def _ended(self, name: str, delivery: Delivery, frozen: Mapping[str, str] | None, *refused: Parked) -> None:
        """This delivery will not be made again."""
        transition = delivery.transition
        channels = frozenset({transition.kind.channel})
        made = Progress(seq=transition.seq, frozen=frozen, channels=channels, refused=refused)
        self._desk.book.told(name, self.sink.key, made, uid=delivery.slot_uid)
        self._doubt.discard((name, transition.seq))
        self._stuck.pop(name, None)

    def _unauthorized(self, sink: Sink, name: str, transition: Transition, message: str) -> None:
        self._stuck[name] = transition.at.time
        self.hints.add(name)
        if sink is self.sink:
            self.gate.unauthorized(message)

    def _unavailable(self, sink: Sink, name: str, transition: Transition, trouble: SinkUnavailable) -> None:
        self._stuck[name] = transition.at.time
        if trouble.sent:
            self._doubt.add((name, transition.seq))
        of_now = sink is self.sink
        self.hints.add(name, delay=self.gate.unavailable(str(trouble), trouble.retry_after) if of_now else 0.0)

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


def _unexpected(error: Exception) -> str:
    """One line on an error that no sink should raise, with the place where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__} in {place.name}, line {place.lineno}: {error}"[:300]
