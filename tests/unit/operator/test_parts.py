"""The parts of a leading operator, wired: what is heard, what is counted at the start, what is tidied away."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from rollbook import metrics
from rollbook.core.errors import LeadershipLost, Unavailable
from rollbook.core.projection import Record
from rollbook.core.slot import Parked, Slot
from rollbook.core.transition import Cause, RecordStatus
from rollbook.core.workload import WorkloadRef
from rollbook.crd.slot import encode
from rollbook.kube.client import Kube
from rollbook.operator.ears import ears
from rollbook.operator.tracking_sinks import TrackingSinks
from rollbook.settings import Settings
from rollbook.wiring import KEEP_ENDED, App, wire
from tests import builders
from tests.fakes import FakeSink, eventually
from tests.unit.core import make
from tests.unit.kube.api import Api

NAMESPACE = "rollbook-system"
NAME = make.key().object_name
HASH = NAME.rpartition("-")[2]


@pytest.fixture
async def app(kube: Kube) -> AsyncIterator[App]:
    made = wire(Settings.load(namespace=NAMESPACE), kube, epoch=make.WEEKS_AGO, may_send=lambda: None)
    yield made
    await made.roster.close(0.1)
    for hints in (made.workloads, made.flushes, made.publisher.hints):
        hints.close()


def put_slot(api: Api, slot: Slot) -> None:
    made = encode(slot)
    api.put("environmentslots", NAMESPACE, slot.key.object_name, **made)


def put_record(api: Api, slot_hash: str, name: str = "shop-1") -> None:
    labels = {"rollbook.dev/managed-by": "rollbook", **({"rollbook.dev/slot": slot_hash} if slot_hash else {})}
    api.put("deploymentrecords", "payments", name, metadata={"labels": labels}, spec={}, status={})


def names(api: Api, resource: str) -> set[str]:
    return {name for kind, _, name in api.objects if kind == resource}


def ended(at: int, **overrides: Any) -> Slot:
    entry = make.entry(status=RecordStatus.DECOMMISSIONED, since=make.stamp(at))
    return make.slot(seq=2, clock=at, current=entry, **overrides)


async def published(app: App) -> None:
    """Publish everything that was hinted at."""
    hints = app.publisher.hints
    while len(hints):
        name = await hints.get()
        await app.publisher.publish(name)
        hints.done(name)


def failures(unit: str) -> float:
    return metrics.REGISTRY.get_sample_value("rollbook_failures_total", {"unit": unit}) or 0.0


# Heard


async def test_what_kopf_hears_is_taken_up_and_hinted_at(app: App, kube: Kube) -> None:
    told = ears(app, TrackingSinks(kube, app.roster, lambda: None))
    ref = WorkloadRef(namespace="payments", name="shop")
    made = {"uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "1", "generation": 1}
    deployment = builders.deployment("shop", namespace="payments")
    deployment["metadata"] |= made
    namespace = {"metadata": {"name": "payments", "labels": {}, **made}}
    await told.namespace(namespace, False)  # noqa: FBT003 - kopf's ports
    await told.deployment(deployment, False)  # noqa: FBT003
    view = app.cluster.view(ref)
    assert view.deployment is not None
    assert view.namespace is not None
    assert await app.workloads.get() == ref
    app.workloads.done(ref)
    await told.deployment(deployment, True)  # noqa: FBT003
    assert app.cluster.view(ref).deployment is None
    assert await app.workloads.get() == ref
    await told.namespace(namespace, True)  # noqa: FBT003
    assert app.cluster.view(ref).namespace is None


async def test_the_late_end_of_the_one_before_does_not_end_its_namesake(app: App, kube: Kube) -> None:
    told = ears(app, TrackingSinks(kube, app.roster, lambda: None))
    ref = WorkloadRef(namespace="payments", name="shop")

    def made(uid: str, version: int) -> dict[str, Any]:
        times = {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
        return {"uid": uid, "resourceVersion": str(version), **times}

    def space(uid: str, version: int) -> dict[str, Any]:
        return {"metadata": {"name": "payments", "labels": {}, **made(uid, version)}}

    def workload(uid: str, version: int) -> dict[str, Any]:
        body = builders.deployment("shop", namespace="payments")
        body["metadata"] |= made(uid, version)
        return body

    for uid, version, gone in (("old", 5, False), ("new", 7, False), ("old", 6, False), ("old", 6, True)):
        await told.namespace(space(uid, version), gone)
        await told.deployment(workload(uid, version), gone)
    view = app.cluster.view(ref)
    assert view.namespace is not None
    assert view.deployment is not None
    assert view.deployment.uid == "new"
    await told.deployment(workload("new", 8), True)  # noqa: FBT003 - kopf's port
    assert app.cluster.view(ref).deployment is None


@pytest.mark.parametrize("kind", ["deployment", "namespace", "record"])
async def test_what_cannot_be_read_is_one_failure_and_no_crash(app: App, kube: Kube, kind: str) -> None:
    told = ears(app, TrackingSinks(kube, app.roster, lambda: None))
    before = failures(kind)
    await getattr(told, kind)({"metadata": {"name": 7}}, False)  # noqa: FBT003 - kopf's port
    assert failures(kind) == before + 1


async def test_sinks_are_handed_to_their_keeper(app: App, kube: Kube) -> None:
    from tests.unit.operator.test_tracking_sinks import body  # noqa: PLC0415 - one of another test's builders

    await ears(app, TrackingSinks(kube, app.roster, lambda: None)).sink(body(), False)  # noqa: FBT003 - kopf's port
    assert list(app.roster.names.values()) == ["insights"]


async def test_an_edited_record_is_published_again(api: Api, app: App, kube: Kube) -> None:
    put_slot(api, make.slot(seq=1, current=make.entry()))
    await app.load()
    app.publisher.hints.add(NAME)
    await published(app)
    (record,) = names(api, "deploymentrecords")
    stored = api.objects["deploymentrecords", "payments", record]
    edited = api.put("deploymentrecords", "payments", record, status={**stored["status"], "version": "forged"})
    await ears(app, TrackingSinks(kube, app.roster, lambda: None)).record(edited, False)  # noqa: FBT003 - kopf's port
    await published(app)
    assert api.objects["deploymentrecords", "payments", record]["status"]["version"] == "v1"


# The start


async def test_at_the_start_what_an_earlier_life_left_is_counted(api: Api, app: App) -> None:
    refused = tuple(
        Parked(sink=sink, transition=make.transition(seq), message="no", at=1)
        for seq, sink in ((1, "a"), (2, "a"), (3, "b"))
    )
    put_slot(api, make.slot(seq=3, current=make.entry(), parked=refused))
    put_slot(api, make.slot(key=make.key(container="x"), seq=9, parked=refused[:1]))
    await app.load()
    assert app.parked == {"a": 3, "b": 1}
    assert app.earlier == {NAME: 3, make.key(container="x").object_name: 9}
    await app.roster.put(FakeSink(key="a"), backfill=True, suspended=True)
    (courier,) = app.roster
    assert courier.health.refused == 3


async def test_looking_at_everything_looks_at_what_is_and_what_was(api: Api, app: App) -> None:
    put_slot(api, make.slot(seq=1, current=make.entry()))
    await app.load()
    other = WorkloadRef(namespace="payments", name="other")
    app.cluster.hear_deployment(make.deployment(ref=other))
    app.look_at_everything()
    assert {await app.workloads.get(), await app.workloads.get()} == {make.REF, other}
    assert await app.publisher.hints.get() == NAME


# The workers


async def at_work(app: App, until: Any) -> None:
    tasks = [asyncio.ensure_future(worker) for worker in app.work()]
    try:
        await eventually(until)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_unit_of_work_that_fails_comes_again_and_others_go_on(api: Api, app: App) -> None:
    put_slot(api, make.slot(seq=1, current=make.entry()))
    await app.load()
    before = failures("publish")
    api.refuse("POST", "/deploymentrecords", 503, "later", headers={"Retry-After": "0"})
    app.publisher.hints.add(NAME)
    app.workloads.add(make.REF)
    await at_work(app, lambda: names(api, "deploymentrecords"))
    assert failures("publish") == before + 1


async def test_lost_leadership_ends_the_workers(api: Api, app: App, kube: Kube) -> None:
    def guard() -> None:
        raise LeadershipLost("no")

    put_slot(api, make.slot(seq=1, current=make.entry()))
    await app.load()
    kube.guard = guard
    app.workloads.add(make.REF)
    tasks = [asyncio.ensure_future(worker) for worker in app.work()]
    ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION, timeout=5)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert [type(task.exception()) for task in ended] == [LeadershipLost]


async def test_the_gauges_count(api: Api, app: App) -> None:
    put_slot(api, make.slot(seq=1, current=make.entry(), cursors=make.cursors(a=0), pending=(make.transition(1),)))
    await app.load()
    await app.roster.put(FakeSink(key="a", name="gauged"), backfill=True, suspended=True)
    app.look_at_everything()
    app.gauge()
    read = metrics.REGISTRY.get_sample_value
    assert read("rollbook_slots") == 1.0
    assert read("rollbook_queue_workloads") == 1.0
    assert read("rollbook_backlog_slots", {"sink": "gauged"}) == 1.0


# Tidied away


async def test_records_whose_slot_is_gone_are_deleted_and_others_stay(api: Api, app: App) -> None:
    put_slot(api, make.slot(seq=1, current=make.entry()))
    put_record(api, HASH, "of-a-slot")
    put_record(api, "0123456789ab", "of-no-slot")
    put_record(api, "", "of-whom")
    refused = make.key(container="refused")
    put_record(api, refused.object_name.rpartition("-")[2], "of-a-refusal")
    await app.load()
    app.publisher.refused[refused.object_name] = Record(
        name="of-a-refusal", namespace="payments", labels={}, spec={}, status={}
    )
    app.drop_orphans()
    await published(app)
    assert names(api, "deploymentrecords") == {"of-a-slot", "of-a-refusal", "of-whom"}
    app.drop_orphans()
    assert len(app.publisher.hints) == 0


async def test_slots_that_ended_long_ago_go_with_their_records(api: Api, app: App) -> None:
    now = app.clock.now()
    old, young = now - KEEP_ENDED - 1000, now - KEEP_ENDED + 60_000
    put_slot(api, ended(old))
    put_slot(api, ended(young, key=make.key(container="young")))
    put_slot(api, ended(old, key=make.key(container="owing"), pending=(make.transition(2),)))
    put_slot(api, replace(ended(old, key=make.key(container="alive")), current=make.entry()))
    put_slot(api, ended(old, key=make.key(container="again"), attempt=make.entry(status=None)))
    put_record(api, HASH)
    await app.load()
    await app.tidy()
    await published(app)
    kept = {make.key(container=each).object_name for each in ("young", "owing", "alive", "again")}
    assert names(api, "environmentslots") == kept
    assert set(app.ledger.names()) == set(app.earlier) == kept
    assert "shop-1" not in names(api, "deploymentrecords")


async def test_the_slot_of_a_workload_that_only_sleeps_stays(api: Api, app: App) -> None:
    slot = ended(app.clock.now() - 2 * KEEP_ENDED)
    assert slot.current is not None
    put_slot(api, replace(slot, current=replace(slot.current, cause=Cause.SCALED_TO_ZERO)))
    await app.load()
    app.cluster.hear_deployment(make.deployment(replicas=0))
    await app.tidy()
    assert set(app.ledger.names()) == {NAME}


async def test_it_is_tidied_once_an_hour_and_what_failed_then_the_next_time(api: Api, app: App) -> None:
    put_slot(api, ended(1000))
    await app.load()
    api.refuse("DELETE", NAME, 503, "later")
    with pytest.raises(Unavailable):
        await app.tidy()
    await app.tidy()
    assert set(app.ledger.names()) == {NAME}, "not within the hour"
    app._tidied -= 3600
    await app.tidy()
    assert set(app.ledger.names()) == set()
