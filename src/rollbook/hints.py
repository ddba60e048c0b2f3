"""A queue of keys to look at: hints are coalesced, never delayed by a fixed debounce.

A key that is in hand is not handed out twice; hinted meanwhile, it comes again when it is done.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Hints(Generic[K]):
    """Keys waiting to be looked at, each at most once. For one event loop."""

    def __init__(self) -> None:
        self._order: deque[K] = deque()
        self._waiting: set[K] = set()
        self._in_hand: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """How many keys wait or are in hand, without those that wait for a time."""
        return len(self._waiting) + len(self._in_hand)

    @property
    def pending(self) -> int:
        """How many keys wait, are in hand or wait for a time."""
        return len(self._waiting | self._in_hand | self._timers.keys())

    def add(self, key: K, *, delay: float = 0.0) -> None:
        """Ask for a look at `key`, at once or in `delay` seconds (the earlier of two delays counts)."""
        if delay > 0:
            self._later(key, delay)
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._in_hand:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._order.append(key)
            self._wake.set()
            self._drained.clear()

    def _later(self, key: K, delay: float) -> None:
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer and timer.when() <= loop.time() + delay:
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def get(self) -> K:
        """Wait for a key and take it in hand; `done` must follow."""
        while not self._order:
            self._wake.clear()
            await self._wake.wait()
        key = self._order.popleft()
        self._waiting.discard(key)
        self._in_hand.add(key)
        self._idle.clear()
        return key

    def done(self, key: K) -> None:
        """Put `key` out of hand."""
        self._in_hand.discard(key)
        if not self._in_hand:
            self._idle.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif not self._waiting and not self._in_hand:
            self._drained.set()

    async def drained(self) -> None:
        """Wait until nothing waits or is in hand."""
        await self._drained.wait()

    async def idle(self) -> None:
        """Wait until nothing is in hand."""
        await self._idle.wait()

    def close(self) -> None:
        """Drop what waits for a time."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
