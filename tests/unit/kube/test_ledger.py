"""The ledger: one request per write; whatever interferes ends in a Conflict that shows what is there."""

import asyncio
from dataclasses import replace

import pytest

from rollbook.core.errors import Conflict, InvalidObject, KubeError, NotFound, Unavailable
from rollbook.core.slot import Slot, SlotKey
from rollbook.core.workload import WorkloadRef
from rollbook.crd.slot import NewerSchema, encode
from rollbook.kube.client import Kube
from rollbook.kube.ledger import Ledger
from tests.unit.kube.api import Api, Refusal

WEB = WorkloadRef(namespace="shop", name="web")


def key(container: str = "app", workload: WorkloadRef = WEB) -> SlotKey:
    return SlotKey(cluster="c", environment="prod", workload=workload, container=container)


def store(api: Api, slot: Slot) -> None:
    body = encode(slot)
    name = body["metadata"].pop("name")
    api.put("environmentslots", "ops", name, **body)


SLOT = Slot(key=key(), seq=1)
NAME = SLOT.key.object_name


@pytest.fixture
def ledger(kube: Kube) -> Ledger:
    return Ledger(kube, "ops")


async def test_all_slots_are_listed_into_memory(api: Api, ledger: Ledger) -> None:
    slots = [Slot(key=key(f"c{number:03}"), seq=number) for number in range(501)]
    for slot in slots:
        store(api, slot)
    other = WorkloadRef(namespace="shop", name="other")
    store(api, Slot(key=key(workload=other)))
    await ledger.load()
    assert len(ledger) == 502
    assert [each.method for each in api.seen] == ["GET", "GET"]
    stored = ledger.get(slots[7].key.object_name)
    assert stored is not None
    assert stored.slot == slots[7]
    assert stored.uid == f"uid-environmentslots-ops-{stored.name}"
    assert len(ledger.by_workload(WEB)) == 501
    assert ledger.by_workload(other) == (key(workload=other).object_name,)
    assert set(ledger.workloads()) == {WEB, other}
    assert ledger.named(NAME.rpartition("-")[2]) is None
    assert ledger.named(stored.name.rpartition("-")[2]) == stored.name


async def test_a_slot_is_created_then_patched_in_one_request_each(api: Api, ledger: Ledger) -> None:
    uid = await ledger.save(SLOT)
    assert await ledger.save(replace(SLOT, seq=2)) == uid
    assert [each.method for each in api.seen] == ["POST", "PATCH"]
    assert set(api.seen[1].body) == {"metadata", "ledger", "status"}
    stored = ledger.get(NAME)
    assert stored is not None
    assert (stored.slot.seq, stored.uid, list(ledger.names())) == (2, uid, [NAME])
    assert ledger.by_workload(WEB) == (NAME,)


async def test_what_was_saved_is_what_is_loaded(kube: Kube, ledger: Ledger) -> None:
    await ledger.save(SLOT)
    again = Ledger(kube, "ops")
    await again.load()
    found = again.get(NAME)
    assert found == ledger.get(NAME)
    await again.load()
    assert again.by_workload(WEB) == (NAME,)


async def test_somebody_elses_write_is_read_again(api: Api, ledger: Ledger) -> None:
    await ledger.save(SLOT)
    store(api, replace(SLOT, seq=9))
    with pytest.raises(Conflict):
        await ledger.save(replace(SLOT, seq=2))
    stored = ledger.get(NAME)
    assert stored is not None
    assert stored.slot.seq == 9
    await ledger.save(replace(SLOT, seq=10))


async def test_somebody_elses_create_is_read(api: Api, ledger: Ledger) -> None:
    store(api, replace(SLOT, seq=9))
    with pytest.raises(Conflict):
        await ledger.save(SLOT)
    stored = ledger.get(NAME)
    assert stored is not None
    assert stored.slot.seq == 9


async def test_a_deleted_slot_leaves_memory_and_can_be_made_again(api: Api, ledger: Ledger) -> None:
    await ledger.save(SLOT)
    api.objects.clear()
    with pytest.raises(Conflict):
        await ledger.save(replace(SLOT, seq=2))
    assert ledger.get(NAME) is None
    assert ledger.by_workload(WEB) == ()
    await ledger.save(SLOT)


async def test_a_write_whose_answer_was_lost_is_met_again_as_a_conflict(api: Api, ledger: Ledger) -> None:
    await ledger.save(SLOT)

    def write_but_fail() -> None:
        store(api, replace(SLOT, seq=2))
        raise Refusal(504, "timeout")

    api.faults.append(("PATCH", NAME, write_but_fail))
    with pytest.raises(Unavailable):
        await ledger.save(replace(SLOT, seq=2))
    with pytest.raises(Conflict):
        await ledger.save(replace(SLOT, seq=3))
    stored = ledger.get(NAME)
    assert stored is not None
    assert stored.slot.seq == 2


async def test_a_missing_crd_is_no_conflict(api: Api, ledger: Ledger) -> None:
    api.refuse("POST", "/environmentslots", 404)
    with pytest.raises(NotFound):
        await ledger.save(SLOT)


async def test_slots_are_deleted_unless_somebody_wrote(api: Api, ledger: Ledger) -> None:
    await ledger.save(SLOT)
    store(api, replace(SLOT, seq=9))
    with pytest.raises(Conflict):
        await ledger.delete(NAME)
    await ledger.delete(NAME)
    assert (api.objects, ledger.get(NAME)) == ({}, None)
    await ledger.delete(NAME)
    await ledger.save(SLOT)
    api.objects.clear()
    await ledger.delete(NAME)
    assert len(ledger) == 0


async def test_a_list_that_fails_changes_nothing(api: Api, ledger: Ledger) -> None:
    await ledger.save(SLOT)
    api.refuse("GET", "/environmentslots", 500)
    with pytest.raises(KubeError):
        await ledger.load()
    assert len(ledger) == 1


async def test_a_slot_of_a_later_schema_stops_us(api: Api, ledger: Ledger) -> None:
    store(api, SLOT)
    api.objects["environmentslots", "ops", NAME]["spec"]["schemaVersion"] = 99
    with pytest.raises(NewerSchema, match=NAME):
        await ledger.load()


async def test_an_object_that_is_no_slot_is_told_when_it_is_read(api: Api, ledger: Ledger) -> None:
    api.put("environmentslots", "ops", "odd", spec={}, ledger="{}")
    await ledger.load()
    stored = ledger.get("odd")
    assert stored is not None
    with pytest.raises(InvalidObject):
        _ = stored.slot
    await ledger.delete("odd")
    assert len(ledger) == 0


async def test_slots_can_be_written_side_by_side(ledger: Ledger) -> None:
    slots = [Slot(key=key(f"c{number}")) for number in range(50)]
    uids = await asyncio.gather(*(ledger.save(slot) for slot in slots))
    assert len(set(uids)) == len(ledger) == 50
