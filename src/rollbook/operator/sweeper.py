"""Finds what no event has told: workloads that vanished while nobody watched, and those never heard of.

Nothing follows from a sweep that is not complete. One that would decommission more than a fifth of all slots at
once is held: a cluster that lost its objects, or a wrong cluster behind the same name, looks like that too.
"""

import asyncio
from typing import Final

from rollbook import metrics
from rollbook.core.errors import InvalidObject, KubeError, RollbookError
from rollbook.core.workload import WorkloadRef
from rollbook.hints import Hints
from rollbook.kube.cluster import Cluster, Sweep
from rollbook.kube.ledger import Ledger
from rollbook.logs import logger
from rollbook.wiring import failed

HOLD_ABOVE: Final = 0.2
"""The share of all slots that a sweep may find gone."""

HOLD_FROM: Final = 10
"""Slots; a sweep that finds fewer gone is never held: a small install may well lose a fifth of its workloads."""

LOOK_AGAIN: Final = 0.1
"""Seconds between two sweeps while what is listed has not all been heard of."""

READ_AFTER: Final = 20
"""Sweeps after which what is still unheard of is read one by one: its event may never come."""

log = logger(__name__)


class Sweeper:
    """Sweeps at the start, then now and then."""

    def __init__(self, cluster: Cluster, ledger: Ledger, interval: float) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._interval = interval

    async def first(self) -> None:
        """Sweep until all that is listed has been heard of, with its namespace, and nothing looks wrong."""
        for number in range(10**9):
            sweep = await self._cluster.sweep()
            if not sweep.complete:
                failed("sweep", RollbookError(sweep.error))
            elif sweep.unheard:
                await self._hear(sweep, number)
            elif not self._held():
                return
            await asyncio.sleep(LOOK_AGAIN if sweep.complete and sweep.unheard else 5 * LOOK_AGAIN)

    async def run(self, workloads: Hints[WorkloadRef]) -> None:
        """Sweep every now and then until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            sweep = await self._cluster.sweep()
            if not sweep.complete:
                failed("sweep", RollbookError(sweep.error))
                continue
            for ref in sweep.missing:
                workloads.add(ref)
            await self._hear(sweep, READ_AFTER)

    async def _hear(self, sweep: Sweep, number: int) -> None:
        if number < READ_AFTER:
            return
        for ref in sweep.unheard:
            try:
                await self._cluster.read(ref)
            except (KubeError, InvalidObject) as error:
                failed("sweep", error, workload=ref.label)

    def _held(self) -> bool:
        """Whether too much seems gone to be believed."""
        slots = [stored.slot for name in self._ledger.names() if (stored := self._ledger.get(name))]
        alive = [slot for slot in slots if slot.deployed or slot.attempt]
        gone = sum(self._cluster.view(slot.key.workload).deployment is None for slot in alive)
        held = gone >= HOLD_FROM and gone > HOLD_ABOVE * len(alive)
        metrics.SWEEP_HELD.set(int(held))
        if held:
            log.error("sweep held", slots=len(alive), gone=gone)
        return held
