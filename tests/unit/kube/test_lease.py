"""The Lease between holders, with times in fractions of seconds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from rollbook.core.errors import Forbidden, LeadershipLost
from rollbook.kube.client import WRITE_TIMEOUT, Kube
from rollbook.kube.lease import DEFAULT_TIMING, Lease, Timing
from tests.unit.kube.api import CREATED_MS, Api, eventually

QUICK = Timing(duration=1.0, deadline=0.3, renew=0.05, retry=0.02)


def spec(api: Api) -> dict[str, object]:
    found: dict[str, object] = api.objects["leases", "ops", "rollbook"]["spec"]
    return found


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def make(kube: Kube, lost: list[str], errors: list[str]) -> Callable[[], Lease]:
    return lambda: Lease(kube, "ops", lost=lambda: lost.append("lost"), on_error=errors.append, timing=QUICK)


@asynccontextmanager
async def holding(lease: Lease) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(lease.hold())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_no_write_can_outlive_the_lease() -> None:
    assert DEFAULT_TIMING.duration - DEFAULT_TIMING.deadline >= WRITE_TIMEOUT


async def test_a_free_lease_is_taken_at_once(api: Api, make: Callable[[], Lease]) -> None:
    lease = make()
    with pytest.raises(LeadershipLost):
        lease.check()
    await lease.acquire("a")
    lease.check()
    assert lease.created_at == CREATED_MS
    assert (spec(api)["holderIdentity"], spec(api)["leaseTransitions"]) == ("a", 0)


async def test_our_own_restart_takes_it_at_once(api: Api, make: Callable[[], Lease]) -> None:
    await make().acquire("a")
    await asyncio.wait_for(make().acquire("a"), 0.5)
    assert spec(api)["leaseTransitions"] == 1


async def test_it_is_renewed_past_its_deadline(api: Api, make: Callable[[], Lease], lost: list[str]) -> None:
    lease = make()
    await lease.acquire("a")
    first = spec(api)["renewTime"]
    async with holding(lease):
        await eventually(lambda: len(api.calls("PATCH")) > 8)
        lease.check()
    assert spec(api)["renewTime"] != first
    assert lost == []


async def test_a_standby_waits_while_the_holder_lives(api: Api, make: Callable[[], Lease]) -> None:
    first, second = make(), make()
    await first.acquire("a")
    waiting = asyncio.create_task(second.acquire("b"))
    async with holding(first):
        await asyncio.wait([waiting], timeout=QUICK.duration * 1.3)
        assert not waiting.done()
    await first.release()
    await asyncio.wait_for(waiting, 1)
    assert spec(api)["holderIdentity"] == "b"
    second.check()
    with pytest.raises(LeadershipLost):
        first.check()


async def test_a_dead_holders_lease_is_taken_after_its_duration_not_by_the_clock(
    api: Api, make: Callable[[], Lease]
) -> None:
    old = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "2001-01-01T00:00:00.000000Z"}
    api.put("leases", "ops", "rollbook", spec=old)
    begun = asyncio.get_running_loop().time()
    await asyncio.wait_for(make().acquire("b"), 5)
    assert asyncio.get_running_loop().time() - begun >= 1
    assert spec(api)["holderIdentity"] == "b"


async def test_without_renewal_the_holder_stops_before_another_may_begin(
    api: Api, make: Callable[[], Lease], lost: list[str], errors: list[str]
) -> None:
    lease = make()
    await lease.acquire("a")
    for _ in range(100):
        api.refuse("PATCH", "/rollbook", 503)
    async with holding(lease) as task:
        await asyncio.wait_for(task, QUICK.duration)
    with pytest.raises(LeadershipLost):
        lease.check()
    assert lost == ["lost"]
    assert errors


async def test_a_lease_that_another_took_is_lost_at_once(
    api: Api, make: Callable[[], Lease], lost: list[str]
) -> None:
    lease = make()
    await lease.acquire("a")
    api.put("leases", "ops", "rollbook", spec={"holderIdentity": "b"})
    async with holding(lease) as task:
        await asyncio.wait_for(task, QUICK.deadline)
    assert lost == ["lost"]
    assert spec(api)["holderIdentity"] == "b"


async def test_an_edit_that_leaves_the_holder_is_survived(
    api: Api, make: Callable[[], Lease], lost: list[str]
) -> None:
    lease = make()
    await lease.acquire("a")
    api.put("leases", "ops", "rollbook", metadata={"labels": {"edited": "yes"}})
    async with holding(lease):
        await eventually(lambda: len(api.calls("PATCH")) > 8)
        lease.check()
    assert lost == []


async def test_a_released_lease_is_nobodys(api: Api, make: Callable[[], Lease], lost: list[str]) -> None:
    lease = make()
    await lease.acquire("a")
    await lease.release()
    await lease.release()
    assert "holderIdentity" not in spec(api)
    with pytest.raises(LeadershipLost):
        lease.check()
    assert (lost, len(api.calls("PATCH"))) == ([], 1)


async def test_two_that_want_it_at_the_same_time_do_not_both_get_it(api: Api, make: Callable[[], Lease]) -> None:
    leases = {name: make() for name in ("a", "b", "c")}
    tasks = [asyncio.create_task(lease.acquire(name)) for name, lease in leases.items()]
    await eventually(lambda: any(task.done() for task in tasks))
    await asyncio.wait(tasks, timeout=QUICK.deadline / 2)
    assert [name for name, lease in leases.items() if lease.held] == [spec(api)["holderIdentity"]]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_failures_are_waited_out_but_missing_rights_are_not(
    api: Api, make: Callable[[], Lease], errors: list[str]
) -> None:
    api.refuse("GET", "/rollbook", 503)
    await make().acquire("a")
    assert len(errors) == 1
    api.refuse("GET", "/rollbook", 403)
    with pytest.raises(Forbidden):
        await make().acquire("a")
