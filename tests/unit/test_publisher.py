"""What people see: the records of slots, and refusals where there is no slot."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from rollbook.book import Book
from rollbook.core.errors import Unavailable
from rollbook.core.identity import Claim
from rollbook.core.image import parse_reference
from rollbook.core.slot import Condition, Slot, SlotKey
from rollbook.core.transition import Phase, RecordStatus, Transition
from rollbook.core.workload import WorkloadRef
from rollbook.publisher import Publisher
from tests.fakes import FakeLedger, FakeRecords
from tests.unit.core import make

NAME = make.key().object_name
OTHER = WorkloadRef(namespace="payments", name="other")
TAKEN = Condition(type="SlotConflict", reason="NameTaken", message="deployment/payments/other has the name")


class Desk:
    """A publisher over fakes."""

    def __init__(self, *slots: Slot) -> None:
        self.ledger = FakeLedger(*slots)
        self.records = FakeRecords()
        self.names = {"sink": "insights"}
        self.publisher = Publisher(
            book=Book(self.ledger, lambda _: (), lambda _: None),
            records=self.records,
            names=lambda: self.names,
            owed=self._owed,
        )

    def _owed(self, _slot: Slot) -> Callable[[str, Transition], bool]:
        return lambda key, _transition: key == "sink"

    async def publish(self) -> list[str]:
        """Publish everything that was hinted at; returns the slots."""
        done: list[str] = []
        hints = self.publisher.hints
        while len(hints):
            name = await hints.get()
            await self.publisher.publish(name)
            hints.done(name)
            done.append(name)
        return done

    def shown(self, name: str = NAME) -> list[Mapping[str, object]]:
        """The statuses of a slot's records."""
        return [record.status for record in self.records.published[name]]


def claim(key: SlotKey, text: str = "registry.example/shop:v1", *, read: bool = True) -> Claim:
    reference = parse_reference(text) if read else None
    return Claim(key=key, reference_text=text, reference=reference, identity=make.identity())


def refused(*keys: SlotKey, why: Condition = TAKEN) -> dict[SlotKey, tuple[Claim, Condition]]:
    return {key: (claim(key), why) for key in keys}


async def test_a_slot_is_published_as_it_projects_with_its_progress() -> None:
    told = make.slot(seq=2, current=make.entry(), pending=(make.transition(2),), cursors=make.cursors(sink=1))
    desk = Desk(told)
    await desk.publisher.publish(NAME)
    (status,) = desk.shown()
    assert (status["status"], status["delivered"]) == ("DEPLOYED", "0/1")
    desk.ledger.put(replace(told, cursors=make.cursors(sink=2)))
    await desk.publisher.publish(NAME)
    (status,) = desk.shown()
    assert (status["delivered"], status["deliveries"]) == ("1/1", [{"sink": "insights", "state": "Delivered"}])


async def test_a_sink_that_has_left_is_not_spoken_of() -> None:
    desk = Desk(make.slot(seq=1, current=make.entry(), cursors=make.cursors(sink=1)))
    desk.names.clear()
    await desk.publisher.publish(NAME)
    (status,) = desk.shown()
    assert "deliveries" not in status


async def test_the_records_of_a_slot_that_is_gone_go_too() -> None:
    desk = Desk(make.slot(seq=1, current=make.entry()))
    await desk.publisher.publish(NAME)
    desk.ledger.drop(NAME)
    desk.ledger.reread(NAME)
    await desk.publisher.publish(NAME)
    assert desk.records.published == {NAME: ()}


async def test_a_refusal_is_shown_until_it_is_over() -> None:
    desk = Desk()
    desk.publisher.refuse(make.REF, refused(make.key()))
    assert await desk.publish() == [NAME]
    (status,) = desk.shown()
    conditions = status["conditions"]
    assert isinstance(conditions, list)
    assert [(each["type"], each["status"], each["reason"]) for each in conditions] == [
        ("Ready", "False", "NameTaken"),
        ("Stalled", "True", "NameTaken"),
        ("SlotConflict", "True", "NameTaken"),
    ]
    desk.publisher.refuse(make.REF, {})
    assert await desk.publish() == [NAME]
    assert desk.records.published == {NAME: ()}
    assert desk.publisher.refused == {}


async def test_what_is_said_already_is_not_said_again() -> None:
    desk = Desk()
    for _ in range(3):
        desk.publisher.refuse(make.REF, refused(make.key()))
    assert await desk.publish() == [NAME]
    desk.publisher.refuse(make.REF, refused(make.key()))
    assert await desk.publish() == []
    desk.publisher.refuse(make.REF, refused(make.key(), why=replace(TAKEN, message="deployment/payments/third")))
    assert await desk.publish() == [NAME]


async def test_of_several_containers_each_has_its_own_refusal() -> None:
    desk, sidecar = Desk(), make.key(container="sidecar")
    desk.publisher.refuse(make.REF, refused(make.key(), sidecar))
    assert sorted(await desk.publish()) == sorted([NAME, sidecar.object_name])
    desk.publisher.refuse(make.REF, refused(sidecar))
    assert await desk.publish() == [NAME]
    assert set(desk.publisher.refused) == {sidecar.object_name}


async def test_refusals_of_another_workload_are_not_touched() -> None:
    desk, other = Desk(), make.key(workload=OTHER)
    desk.publisher.refuse(make.REF, refused(make.key()))
    desk.publisher.refuse(OTHER, refused(other))
    desk.publisher.refuse(make.REF, {})
    await desk.publish()
    assert set(desk.publisher.refused) == {other.object_name}


async def test_a_refusal_gives_way_to_the_slot_that_comes() -> None:
    desk = Desk()
    desk.publisher.refuse(make.REF, refused(make.key()))
    await desk.publish()
    desk.ledger.put(make.slot(seq=1, attempt=make.entry(status=None, phase=Phase.PROGRESSING)))
    desk.publisher.refuse(make.REF, {})
    await desk.publish()
    (status,) = desk.shown()
    assert status["phase"] == "Progressing"


async def test_an_image_that_cannot_be_read_is_shown_as_it_stands() -> None:
    desk = Desk()
    desk.publisher.refuse(make.REF, {make.key(): (claim(make.key(), "not an image!", read=False), TAKEN)})
    await desk.publish()
    (record,) = desk.records.published[NAME]
    assert record.spec["artifact"]["reference"] == "not an image!"
    assert record.spec["artifact"]["name"] == "not an image!"


async def test_a_failure_is_the_workers_to_repeat() -> None:
    desk = Desk(make.slot(seq=1, current=make.entry()))
    desk.records.failures = [Unavailable("down")]
    with pytest.raises(Unavailable):
        await desk.publisher.publish(NAME)
    await desk.publisher.publish(NAME)
    assert len(desk.shown()) == 1


async def test_a_new_namespace_of_an_old_name_inherits_no_records() -> None:
    ended = make.entry(status=RecordStatus.DECOMMISSIONED)
    old, new = make.entry(number=2, status=RecordStatus.SUPERSEDED), make.entry(number=3)
    desk = Desk(
        make.slot(seq=3, current=new, closed=(old,)), make.slot(key=make.key(container="b"), current=ended)
    )
    desk.publisher.born["payments"] = make.T + make.HOUR
    await desk.publisher.publish(NAME)
    assert [status["status"] for status in desk.shown()] == ["DEPLOYED"], "what runs is shown, since whenever"
    other = make.key(container="b").object_name
    await desk.publisher.publish(other)
    assert desk.records.published[other] == ()
