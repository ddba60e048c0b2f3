"""The one writer of slots: changes are functions, progress rides along, conflicts are read again.

Every write of a slot goes through `Book.change`, one at a time per slot. What sinks have accepted since the last
write is merged into every write, so that most progress costs no request of its own.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from rollbook.core.errors import Conflict
from rollbook.core.outbox import Progress, Subscription, compact, prune, settle
from rollbook.core.slot import Slot, SlotKey

MAX_CONFLICTS = 5
"""Another writer is a person with an editor or a deposed leader; neither comes back five times at once."""


class Stored(Protocol):
    """A slot as it is stored."""

    @property
    def slot(self) -> Slot:
        """The slot itself."""
        ...

    @property
    def uid(self) -> str:
        """Its object's UID."""
        ...


class Ledger(Protocol):
    """All slots: stored in the cluster, mirrored in memory."""

    def get(self, name: str) -> Stored | None:
        """The slot of that object name."""
        ...

    async def save(self, slot: Slot) -> str:
        """Write a slot in one request; raises Conflict after having read again what is there."""
        ...

    async def delete(self, name: str) -> None:
        """Delete a slot; raises Conflict after having read again what is there."""
        ...


Audience = Callable[[Slot], Collection[Subscription]]
"""Which sinks hear of a slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a write did."""

    before: Slot
    after: Slot
    uid: str


class Book:
    """The slots as everybody in this process sees them."""

    def __init__(self, ledger: Ledger, audience: Audience, saved: Callable[[Change], None]) -> None:
        self._ledger = ledger
        self._audience = audience
        self._saved = saved
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._progress: defaultdict[str, dict[str, Progress]] = defaultdict(dict)

    def look(self, name: str) -> tuple[Slot, str] | None:
        """A slot with all progress applied, and its UID."""
        stored = self._ledger.get(name)
        if stored is None:
            return None
        return settle(stored.slot, self._progress.get(name, {})), stored.uid

    def told(self, name: str, sink: str, progress: Progress, *, uid: str) -> None:
        """Remember what a sink accepted or refused; it is written with the next change.

        A slot that has been deleted meanwhile, whether there is another of its name or not, is told nothing: the
        sequence numbers of the other are its own.
        """
        stored = self._ledger.get(name)
        if stored is None or stored.uid != uid:
            return
        before = self._progress[name].get(sink)
        if before:
            progress = replace(
                progress,
                channels=before.channels | progress.channels,
                refused=(*before.refused, *progress.refused),
            )
        self._progress[name][sink] = progress

    def unwritten(self, name: str, sink: str) -> Progress | None:
        """What `sink` was told and the stored slot does not say yet."""
        return self._progress.get(name, {}).get(sink)

    def unwritten_keys(self) -> tuple[SlotKey, ...]:
        """The slots whose progress is not all written."""
        stored = (self._ledger.get(name) for name in tuple(self._progress))
        return tuple(each.slot.key for each in stored if each)

    async def flush(self, key: SlotKey) -> Slot:
        """Write the progress of a slot now."""
        return await self.change(key, lambda slot: slot, flush=True)

    async def change(self, key: SlotKey, change: Callable[[Slot], Slot], *, flush: bool = False) -> Slot:
        """Apply `change` to the slot of `key` (a fresh one where there is none) and write it if it differs.

        Progress alone is not written, unless it is to be flushed: it rides along with the next change.

        Raises:
            Conflict: others keep writing it.
            KubeError: the API server did not take it; nothing has changed.
            LeadershipLost: we may not write any more.
        """
        name = key.object_name
        async with self._locks[name]:
            for _ in range(MAX_CONFLICTS):
                former = self._ledger.get(name)
                try:
                    return await self._write(name, key, change, flush=flush)
                except Conflict as conflict:
                    error = conflict
                    self._reread(name, former)
            raise error

    async def remove(self, name: str, *, when: Callable[[Slot], bool]) -> bool:
        """Delete a slot if it is (still) so; True if it was deleted.

        Raises:
            Conflict: others have written it.
            KubeError: the API server did not take it.
            LeadershipLost: we may not write any more.
        """
        async with self._locks[name]:
            found = self.look(name)
            if found is None or not when(found[0]):
                return False
            await self._ledger.delete(name)
            self._progress.pop(name, None)
            return True

    def _reread(self, name: str, former: Stored | None) -> None:
        """What was read again may be a write of our own whose answer was lost: what it owes is due."""
        stored = self._ledger.get(name)
        if stored is None or former is None or stored.uid != former.uid:
            self._progress.pop(name, None)
        if stored is None:
            return
        slot = stored.slot
        self._trim(name, slot)
        self._saved(Change(before=slot, after=slot, uid=stored.uid))

    def _trim(self, name: str, slot: Slot) -> None:
        """Forget the progress that the slot says already, so that no refusal is kept twice."""
        for sink, made in list(self._progress.get(name, {}).items()):
            cursor = slot.cursors.get(sink)
            if cursor is None:
                continue
            if made.seq <= cursor.seq:
                self._forget(name, [(sink, made)])
            else:
                refused = tuple(each for each in made.refused if each.transition.seq > cursor.seq)
                self._progress[name][sink] = replace(made, refused=refused)

    async def _write(self, name: str, key: SlotKey, change: Callable[[Slot], Slot], *, flush: bool) -> Slot:
        stored = self._ledger.get(name)
        before = stored.slot if stored else Slot(key=key)
        progress = dict(self._progress.get(name, {}))
        settled = settle(before, progress)
        after = change(settled)
        if after == settled and not (flush and progress):
            return settled
        after = compact(prune(after, self._audience(after)))
        uid = await self._ledger.save(after)
        self._forget(name, progress.items())
        self._saved(Change(before=before, after=after, uid=uid))
        return after

    def _forget(self, name: str, written: Iterable[tuple[str, Progress]]) -> None:
        unwritten = self._progress.get(name)
        if unwritten is None:
            return
        for sink, progress in written:
            if unwritten.get(sink) is progress:
                del unwritten[sink]
            elif later := unwritten.get(sink):
                refused = tuple(each for each in later.refused if each not in progress.refused)
                unwritten[sink] = replace(later, refused=refused)
        if not unwritten:
            del self._progress[name]
