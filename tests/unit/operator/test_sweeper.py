"""Sweeps: nothing follows from half of one, and too much gone is not believed."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rollbook import metrics
from rollbook.core.errors import InvalidObject, RollbookError, Unavailable
from rollbook.core.slot import Slot
from rollbook.core.transition import RecordStatus
from rollbook.core.workload import Namespace, WorkloadRef
from rollbook.hints import Hints
from rollbook.kube.cluster import Sweep
from rollbook.operator.sweeper import HOLD_FROM, READ_AFTER, Sweeper
from tests.fakes import FakeCluster, FakeLedger, eventually
from tests.unit.core import make

PAYMENTS = Namespace(name="payments")
INCOMPLETE = Sweep(complete=False, error="503")


def ref(number: int) -> WorkloadRef:
    return WorkloadRef(namespace="payments", name=f"w{number}")


def slot(number: int, **overrides: Any) -> Slot:
    return make.slot(key=make.key(workload=ref(number)), seq=1, **{"current": make.entry(), **overrides})


class Desk:
    """A sweeper over fakes; all workloads that have slots are there."""

    def __init__(self, *slots: Slot, there: Sequence[int] | None = None, hold_above: float = 0.2) -> None:
        self.ledger = FakeLedger(*slots)
        self.cluster = FakeCluster()
        for number in range(len(slots)) if there is None else there:
            self.cluster.show(make.deployment(ref=ref(number)), PAYMENTS)
        self.tidied = 0
        self.tidy_failures: list[RollbookError] = []
        self.hints: Hints[WorkloadRef] = Hints()
        self.sweeper = Sweeper(
            self.cluster,
            self.ledger,
            0.02,
            hold_above=hold_above,
            tidy=self._tidy,
            first_interval=0.0001,
            patience=0.001,
        )

    async def _tidy(self) -> None:
        self.tidied += 1
        if self.tidy_failures:
            raise self.tidy_failures.pop(0)

    async def first(self, within: float = 5.0) -> None:
        """The sweeps of the start."""
        async with asyncio.timeout(within):
            await self.sweeper.first()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The sweeps that follow."""
        task = asyncio.ensure_future(self.sweeper.run(self.hints))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def swept(self, times: int) -> None:
        """Wait for so many sweeps to be over."""
        await eventually(lambda: self.cluster.swept > times)


def held() -> float | None:
    return metrics.REGISTRY.get_sample_value("rollbook_sweep_held")


# At the start


async def test_it_starts_when_all_that_is_listed_has_been_heard() -> None:
    desk = Desk(slot(0))
    desk.cluster.sweeps = [Sweep(complete=True, unheard=(ref(1),)), Sweep(complete=True, unheard=(ref(1),))]
    await desk.first()
    assert desk.cluster.swept == 3
    assert desk.cluster.reads == [], "its event was on the way"


async def test_it_does_not_start_from_incomplete_sweeps() -> None:
    desk = Desk(slot(0))
    desk.cluster.sweeps = [INCOMPLETE] * 5
    await desk.first()
    assert desk.cluster.swept == 6


async def test_what_stays_unheard_is_read_and_a_failure_of_that_is_tried_again() -> None:
    desk = Desk()
    unheard = Sweep(complete=True, unheard=(ref(1), ref(2)))
    desk.cluster.sweeps = [unheard] * (READ_AFTER + 2)
    desk.cluster.read_failures = [Unavailable("503"), InvalidObject("what is this")]
    await desk.first()
    assert desk.cluster.reads == [ref(1), ref(2)] * 2


@pytest.mark.parametrize(
    ("slots", "gone", "starts"),
    [
        (9, 9, True),  # fewer than ten are never held
        (10, 10, False),
        (50, 10, True),  # exactly a fifth
        (49, 10, False),  # more than a fifth
        (50, 11, False),
    ],
)
async def test_too_many_slots_without_a_workload_hold_the_start(slots: int, gone: int, starts: bool) -> None:  # noqa: FBT001  # a parameter of the test
    desk = Desk(*(slot(number) for number in range(slots)), there=range(gone, slots))
    if starts:
        await desk.first()
        assert (held(), desk.cluster.swept) == (0.0, 1)
        return
    starting = asyncio.ensure_future(desk.first())
    await desk.swept(READ_AFTER + 3)
    assert (starting.done(), held()) == (False, 1.0)
    for number in range(gone):
        desk.cluster.show(make.deployment(ref=ref(number)), PAYMENTS)
    await starting
    assert held() == 0.0, "the cluster shows otherwise"


async def test_an_admin_approves_by_raising_the_limit() -> None:
    desk = Desk(*(slot(number) for number in range(20)), there=(), hold_above=1.0)
    await desk.first()
    assert held() == 0.0


async def test_slots_that_ended_before_count_for_nothing() -> None:
    ended = {"current": make.entry(status=RecordStatus.DECOMMISSIONED)}
    desk = Desk(*(slot(number, **ended) for number in range(30)), slot(30), there=[30])
    await desk.first()
    assert held() == 0.0


async def test_an_attempt_that_would_end_counts() -> None:
    begun = {"current": None, "attempt": make.entry(status=None)}
    desk = Desk(*(slot(number, **begun) for number in range(HOLD_FROM)), there=())
    starting = asyncio.ensure_future(desk.first())
    await desk.swept(2)
    assert held() == 1.0
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


# Later


async def test_what_a_sweep_finds_gone_or_unheard_is_looked_at() -> None:
    desk = Desk(slot(0), slot(1))
    desk.cluster.sweeps = [Sweep(complete=True, missing=(ref(0),), unheard=(ref(7),))]
    async with desk.running():
        await desk.swept(1)
    assert await desk.hints.get() == ref(0)
    assert desk.cluster.view(ref(0)).deployment is None
    assert desk.cluster.reads == [ref(7)]


async def test_nothing_follows_from_an_incomplete_sweep() -> None:
    desk = Desk(slot(0))
    desk.cluster.sweeps = [INCOMPLETE] * 10_000
    async with desk.running():
        await desk.swept(3)
    assert (len(desk.hints), desk.cluster.reads, desk.tidied) == (0, [], 0)


@pytest.mark.parametrize(("slots", "believed"), [(50, True), (49, False)])
async def test_a_later_sweep_that_finds_too_much_gone_forgets_nothing(slots: int, believed: bool) -> None:  # noqa: FBT001  # likewise
    desk = Desk(*(slot(number) for number in range(slots)))
    missing = tuple(ref(number) for number in range(10))
    desk.cluster.sweeps = [Sweep(complete=True, missing=missing)] * 10_000
    async with desk.running():
        await eventually(lambda: desk.cluster.disbelieved or len(desk.hints))
        assert held() == (0.0 if believed else 1.0)
        assert (desk.cluster.view(ref(0)).deployment is None) == believed
        assert len(desk.hints) == (10 if believed else 0)
        desk.cluster.sweeps = []
        await eventually(lambda: held() == 0.0)


async def test_several_slots_of_a_workload_count_each() -> None:
    slots = [
        make.slot(key=make.key(workload=ref(0), container=f"c{number}"), seq=1, current=make.entry())
        for number in range(HOLD_FROM)
    ]
    desk = Desk(*slots, there=[0])
    desk.cluster.sweeps = [Sweep(complete=True, missing=(ref(0),))]
    async with desk.running():
        await eventually(lambda: desk.cluster.disbelieved)
    assert desk.cluster.view(ref(0)).deployment is not None


async def test_each_complete_sweep_tidies_and_goes_on_when_that_fails() -> None:
    desk = Desk(slot(0))
    desk.tidy_failures = [Unavailable("503")]
    async with desk.running():
        await eventually(lambda: desk.tidied >= 3)
    assert math.isclose(desk.cluster.swept, desk.tidied, abs_tol=1)
