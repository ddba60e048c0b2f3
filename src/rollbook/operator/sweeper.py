"""Finds what no event has told: workloads that vanished while nobody watched, and those never heard of.

Nothing follows from a sweep that is not complete. One that would decommission more than a fifth of all slots at
once is held: a cluster that lost its objects, or a wrong cluster behind the same name, looks like that too. It is
held until the cluster shows otherwise, or the admin approves by raising the limit (setting `hold_above`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Final, Protocol

from rollbook import metrics
from rollbook.core.errors import InvalidObject, KubeError, RollbookError
from rollbook.core.look import View
from rollbook.core.slot import Slot
from rollbook.core.workload import WorkloadRef
from rollbook.hints import Hints
from rollbook.kube.cluster import Sweep
from rollbook.logs import logger
from rollbook.wiring import failed

HOLD_FROM: Final = 10
"""Slots; a sweep that finds fewer gone is never held: a small install may well lose a fifth of its workloads."""

LOOK_AGAIN: Final = 0.1
"""Seconds between two sweeps at the start, while the first events are still on their way."""

LISTEN_FOR: Final = 20
"""Looks at what has been heard of before it is listed again."""

READ_AFTER: Final = 4
"""Sweeps after which what is still unheard of is read one by one: its event may never come."""

PATIENCE: Final = 5.0
"""Seconds between two sweeps after that: what hinders them then is not over in a moment."""

log = logger(__name__)


class Cluster(Protocol):
    """What we have heard of the cluster, and what is there."""

    def view(self, ref: WorkloadRef) -> View:
        """A workload with all that belongs to it."""
        ...

    async def sweep(self, believe: Callable[[Collection[WorkloadRef]], bool] = ...) -> Sweep:
        """Compare both; what is gone is forgotten, if it is believed."""
        ...

    async def read(self, ref: WorkloadRef) -> None:
        """Read a workload that no event has told of."""
        ...


class Stored(Protocol):
    """A slot as it is stored."""

    @property
    def slot(self) -> Slot:
        """The slot itself."""
        ...


class Ledger(Protocol):
    """All slots."""

    def workloads(self) -> Collection[WorkloadRef]:
        """All workloads that have slots."""
        ...

    def by_workload(self, ref: WorkloadRef) -> Collection[str]:
        """The names of a workload's slots."""
        ...

    def names(self) -> Iterator[str]:
        """The names of all slots."""
        ...

    def get(self, name: str) -> Stored | None:
        """One slot."""
        ...


class Sweeper:
    """Sweeps at the start, then now and then.

    Args:
        cluster: what is compared.
        ledger: the slots that would end by it.
        interval: seconds between two sweeps.
        hold_above: the share of all slots that a sweep may find gone.
        tidy: done after each sweep that was complete.
        first_interval: seconds between two sweeps at the start.
        patience: seconds between them when that takes long.
    """

    def __init__(  # noqa: PLR0913 - what is compared, and how patiently
        self,
        cluster: Cluster,
        ledger: Ledger,
        interval: float,
        *,
        hold_above: float,
        tidy: Callable[[], Awaitable[None]],
        first_interval: float = LOOK_AGAIN,
        patience: float = PATIENCE,
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._interval = interval
        self._hold_above = hold_above
        self._tidy = tidy
        self._first_interval = first_interval
        self._patience = patience
        self._held = False

    async def first(self) -> None:
        """Sweep until all that is listed has been heard of, and nothing looks wrong."""
        number = 0
        while True:
            sweep = await self._cluster.sweep()
            if not sweep.complete:
                self._incomplete(sweep)
            elif sweep.unheard:
                await self._hear(sweep, number)
                await self._heard(sweep.unheard)
            elif self._believe(self._away()):
                return
            number += 1
            await asyncio.sleep(self._first_interval if number < READ_AFTER else self._patience)

    async def run(self, workloads: Hints[WorkloadRef]) -> None:
        """Sweep every now and then until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            sweep = await self._cluster.sweep(self._believe)
            if not sweep.complete:
                self._incomplete(sweep)
                continue
            for ref in sweep.missing:
                workloads.add(ref)
            await self._hear(sweep, READ_AFTER)
            try:
                await self._tidy()
            except KubeError as error:
                failed("tidy", error)

    async def _heard(self, refs: Sequence[WorkloadRef]) -> None:
        """Wait until these have been heard of, if they soon are: to list again meanwhile would tell nothing."""
        for _ in range(LISTEN_FOR):
            if all(self._cluster.view(ref).deployment for ref in refs):
                return
            await asyncio.sleep(self._first_interval)

    def _away(self) -> list[WorkloadRef]:
        return [ref for ref in self._ledger.workloads() if self._cluster.view(ref).deployment is None]

    def _incomplete(self, sweep: Sweep) -> None:
        if not self._held:
            failed("sweep", RollbookError(sweep.error))

    async def _hear(self, sweep: Sweep, number: int) -> None:
        if number < READ_AFTER:
            return
        for ref in sweep.unheard:
            try:
                await self._cluster.read(ref)
            except (KubeError, InvalidObject) as error:
                failed("sweep", error, workload=ref.label)

    def _believe(self, gone: Collection[WorkloadRef]) -> bool:
        """Whether so little is gone that it can be true; that it is not is told once."""
        away = {name for ref in gone for name in self._ledger.by_workload(ref)}
        alive = self._alive() if len(away) >= HOLD_FROM else frozenset()
        ended = len(alive & away)
        held = ended >= HOLD_FROM and ended > self._hold_above * len(alive)
        metrics.SWEEP_HELD.set(int(held))
        if held and not self._held:
            log.error("sweep held", slots=len(alive), gone=ended)
        self._held = held
        return not held

    def _alive(self) -> frozenset[str]:
        """The slots that have something to end."""
        slots = ((name, stored.slot) for name in self._ledger.names() if (stored := self._ledger.get(name)))
        return frozenset(name for name, slot in slots if slot.deployed or slot.attempt)
