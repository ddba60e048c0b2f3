"""Mirrors a collection: list, watch from the list's version, and list again when in doubt.

| what happens | what follows |
|---|---|
| the server ends the watch, cuts it, or half a line comes | watch again from the last version heard |
| silence (there may be nothing to say) | the same: a dead connection is found that way |
| refusals, no connection | the same after a growing, jittered pause; after long, list again |
| 410, or an ERROR event of any code | list again |
| an object is in our memory and not in a new list | it is deleted, exactly when that list is complete |

Nothing of an object is kept but what its projection keeps.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Generic, NoReturn, TypeVar

import msgspec

from rollbook.core.errors import Gone, KubeError, Unavailable
from rollbook.kube.answers import Silence, Status
from rollbook.kube.client import SILENCE, Kube, Params
from rollbook.kube.wire import Bare, Identified, WatchEvent, decoder

WireT = TypeVar("WireT", bound=Identified)
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, in seconds."""

    silence: float = SILENCE
    """Without a byte, until a watch counts as dead."""
    doubt: float = 180.0
    """Of failures without a success between, until we list again: the version itself may be what is refused."""
    pause: float = 0.1
    """After a first failure; doubled with each one that follows."""
    longest_pause: float = 30.0


DEFAULT_PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection(Generic[WireT, ValueT]):
    """What is mirrored."""

    path: str
    shape: type[WireT]
    """The partial shape that an object is decoded to."""
    project: Callable[[WireT], ValueT | None]
    """What is kept of it; None: nothing, it does not concern us (any more)."""
    params: Params | None = None
    """Selectors."""


@dataclass(slots=True, kw_only=True)
class Counters:
    """What a reflector has gone through."""

    lists: int = 0
    events: int = 0
    ignored: int = 0
    """Objects heard of that do not concern us, once for each time."""
    failures: int = 0


class Reflector(Generic[WireT, ValueT]):
    """Keeps somebody told of a collection: `upsert(value)` and `delete(uid)`.

    Args:
        kube: the connection.
        collection: what to mirror.
        upsert: told of each object that is new or may have changed.
        delete: told of the UID of each that is gone, or no longer concerns us; only if `upsert` was told of it.
        on_error: told of each failure, once, in one line.
        patience: how long to wait for what.

    Attributes:
        synced: set once a first list is complete.
        counters: for metrics.
    """

    def __init__(  # noqa: PLR0913  # one collaborator each
        self,
        kube: Kube,
        collection: Collection[WireT, ValueT],
        *,
        upsert: Callable[[ValueT], None],
        delete: Callable[[str], None],
        on_error: Callable[[str], None],
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        self._kube = kube
        self._collection = collection
        self._upsert = upsert
        self._delete = delete
        self._on_error = on_error
        self._patience = patience
        self._read_event = decoder(WatchEvent)
        self._read_item = decoder(collection.shape)
        self._known: set[str] = set()
        self._version: str | None = None
        self._failures = 0
        self._failing_since = 0.0
        self.synced = asyncio.Event()
        self.counters = Counters()

    async def run(self) -> None:
        """Mirror until cancelled, whatever happens."""
        while True:
            try:
                await self._round()
            except Silence:
                self._succeeded()
            except KubeError as error:
                await self._recover(error, relist=isinstance(error, Gone))
            except Exception as error:  # noqa: BLE001  # a mirror that stops unseen is worse than any error
                await self._recover(error, relist=True)

    async def _round(self) -> None:
        """One watch, after a list if there is no version to watch from."""
        version = self._version or await self._list()
        if not await self._watch(version):
            raise Unavailable(f"WATCH {self._collection.path}: ended without a word")

    async def _list(self) -> str:
        """Take up what is there and drop what is not; return the version of that."""
        listed: set[str] = set()
        version = ""
        async with aclosing(
            self._kube.list_pages(self._collection.path, self._collection.shape, params=self._collection.params)
        ) as pages:
            async for page in pages:
                version = version or page.metadata.resource_version
                listed.update(item.metadata.uid for item in page.items)
                for item in page.items:
                    self._take(item)
        for uid in self._known - listed:
            self._drop(uid)
        self._version = version
        self.counters.lists += 1
        self.synced.set()
        return version

    async def _watch(self, version: str) -> bool:
        """Hear events until the server ends the watch; whether there was any."""
        params = {**(self._collection.params or {}), "resourceVersion": version}
        heard = False
        async with aclosing(
            self._kube.stream(self._collection.path, params, silence=self._patience.silence)
        ) as lines:
            async for line in lines:
                self._hear(line)
                heard = True
                self._succeeded()
        return heard

    def _hear(self, line: bytes) -> None:
        event = self._read_event(line)
        match event.type:
            case "ADDED" | "MODIFIED":
                self.counters.events += 1
                item = self._read_item(event.object)
                self._take(item)
                self._version = item.metadata.resource_version
            case "DELETED":
                self.counters.events += 1
                gone = _bare(event.object)
                self._drop(gone.metadata.uid)
                self._version = gone.metadata.resource_version
            case "ERROR":
                _refuse(event.object)
            case _:  # BOOKMARK: only a version; a type of the future may well be the same
                self._version = _bare(event.object).metadata.resource_version or self._version

    def _take(self, item: WireT) -> None:
        value = self._collection.project(item)
        if value is None:
            self.counters.ignored += 1
            self._drop(item.metadata.uid)
        else:
            self._known.add(item.metadata.uid)
            self._upsert(value)

    def _drop(self, uid: str) -> None:
        if uid in self._known:
            self._known.discard(uid)
            self._delete(uid)

    def _succeeded(self) -> None:
        self._failures = 0

    async def _recover(self, error: Exception, *, relist: bool) -> None:
        """Tell of a failure, and pause: longer with each that follows, and as long as the server asks."""
        self.counters.failures += 1
        if self._failures == 0:
            self._failing_since = time.monotonic()
        self._failures += 1
        if relist or time.monotonic() - self._failing_since > self._patience.doubt:
            self._version = None
        self._on_error(f"{type(error).__name__}: {error}")
        longest = min(self._patience.longest_pause, self._patience.pause * 2 ** min(self._failures - 1, 20))
        asked = error.retry_after if isinstance(error, Unavailable) else None
        jitter = 0.5 + random.random() / 2  # noqa: S311  # spreads load; not a secret
        await asyncio.sleep(max(longest * jitter, asked or 0.0))


_bare = decoder(Bare)
_status = decoder(Status)


def _refuse(raw: msgspec.Raw) -> NoReturn:
    status = _status(raw)
    raise Gone(f"watch: {status.code} {status.reason} {status.message}"[:300])
