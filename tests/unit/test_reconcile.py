"""The use case: look at a workload, plan each of its slots, write what changed."""

from dataclasses import replace
from typing import Any

import pytest

from rollbook.book import Book, Change
from rollbook.core.errors import Unavailable
from rollbook.core.identity import Rules
from rollbook.core.outbox import Subscription
from rollbook.core.slot import Cursor, Slot
from rollbook.core.transition import Cause, Kind, RecordStatus
from rollbook.core.workload import Namespace, WorkloadRef
from rollbook.hints import Hints
from rollbook.owners import Owners
from rollbook.publisher import Publisher
from rollbook.reconcile import Decision, Reconciler
from tests.fakes import FakeClock, FakeCluster, FakeLedger, FakeRecords
from tests.unit.core import make

NAME = make.key().object_name
PAYMENTS = Namespace(name="payments", labels={"rollbook.dev/environment": "production"})
STAGING = Namespace(name="payments", labels={"rollbook.dev/environment": "staging"})
OTHER = WorkloadRef(namespace="payments", name="other")
GRACE = make.policy().missing_grace


class Desk:
    """A reconciler over fakes; what it hints at is looked at by `run`."""

    def __init__(self, *slots: Slot) -> None:
        self.ledger = FakeLedger(*slots)
        self.cluster = FakeCluster()
        self.clock = FakeClock(make.T + make.MINUTE)
        self.hints: Hints[WorkloadRef] = Hints()
        self.decisions: list[Decision] = []
        self.changes: list[Change] = []
        self.audience = tuple[Subscription, ...]()
        book = Book(self.ledger, lambda _: self.audience, self.changes.append)
        self.publisher = Publisher(book=book, records=FakeRecords(), names=dict, owed=lambda _: lambda *_: False)
        self.owners = Owners()
        self.reconciler = Reconciler(
            cluster=self.cluster,
            book=book,
            known=self.ledger.by_workload,
            owners=self.owners,
            subscriptions=lambda _: self.audience,
            refusals=self.publisher,
            hints=self.hints,
            rules=Rules(cluster="east"),
            policy=make.policy(),
            clock=self.clock,
            on_decision=self.decisions.append,
        )

    def show(self, namespace: Namespace | None = PAYMENTS, ref: WorkloadRef = make.REF, **overrides: Any) -> None:
        """The workload is there, complete unless told otherwise."""
        deployment = make.deployment(ref=ref, **overrides)
        tag = overrides.get("tag", "v1")
        parts = {"replica_sets": (make.replica_set(tag=tag),), "pods": (make.pod(), make.pod(uid="p2"))}
        self.cluster.show(deployment, namespace, **parts)

    async def look(self, ref: WorkloadRef = make.REF) -> list[str]:
        """Look once; returns the rows that applied."""
        self.decisions.clear()
        await self.reconciler.reconcile(ref)
        return [each.plan.row for each in self.decisions]

    async def run(self) -> list[WorkloadRef]:
        """Look at everything that was hinted at."""
        seen: list[WorkloadRef] = []
        while len(self.hints):
            ref = await self.hints.get()
            await self.reconciler.reconcile(ref)
            self.hints.done(ref)
            seen.append(ref)
        return seen

    def slot(self, **key: Any) -> Slot:
        """A slot as it is stored."""
        return self.ledger.server[make.key(**key).object_name].slot


@pytest.fixture
async def desk() -> Any:
    made = Desk()
    yield made
    made.hints.close()


async def test_a_workload_is_recorded_in_one_write(desk: Desk) -> None:
    desk.show()
    assert await desk.look() == ["completed"]
    assert len(desk.ledger.saves) == 1
    assert desk.slot().deployed is not None
    assert [each.kind for each in desk.decisions[0].plan.transitions] == [
        Kind.STARTED,
        Kind.DEPLOYED,
        Kind.FINISHED,
    ]
    assert desk.decisions[0].key == make.key()


async def test_looking_again_writes_nothing(desk: Desk) -> None:
    desk.show()
    await desk.look()
    for _ in range(3):
        assert await desk.look() == ["unchanged"]
    assert len(desk.ledger.saves) == 1


async def test_while_the_namespace_is_not_known_nothing_is_decided(desk: Desk) -> None:
    desk.show(namespace=None)
    assert await desk.look() == []
    assert (desk.ledger.server, desk.hints.pending) == ({}, 0)
    desk.show()
    assert await desk.look() == ["completed"]


async def test_a_workload_of_which_nothing_was_ever_known_is_nothing(desk: Desk) -> None:
    assert await desk.look() == []
    assert desk.ledger.server == {}


async def test_what_only_waits_makes_no_slot(desk: Desk) -> None:
    desk.show(replicas=0)
    assert await desk.look() == ["idle"]
    assert desk.ledger.server == {}


async def test_it_looks_again_when_the_grace_is_over(desk: Desk) -> None:
    desk.show()
    await desk.look()
    desk.cluster.hide(make.REF)
    assert await desk.look() == ["missing"]
    assert desk.hints.pending == 1, "to look again"
    desk.clock.time += GRACE
    assert await desk.look() == ["deleted"]
    current = desk.slot().current
    assert current is not None
    assert current.status is RecordStatus.DECOMMISSIONED
    assert current.since is not None
    assert current.since.time == make.T + make.MINUTE, "since it was missed, not since the grace was over"


async def test_a_wake_up_that_is_due_comes_at_once(desk: Desk) -> None:
    desk.show()
    await desk.look()
    desk.cluster.hide(make.REF)
    desk.clock.time += 1
    await desk.look()
    desk.clock.time += GRACE - 1  # a millisecond before the end
    desk.hints.close()
    await desk.look()
    assert await desk.hints.get() == make.REF


async def test_a_sink_is_enrolled_before_the_change_that_it_shall_hear_of(desk: Desk) -> None:
    desk.audience = (make.subscription(),)
    desk.show()
    await desk.look()
    assert desk.slot().cursors == {"sink": Cursor(seq=0)}
    assert [each.kind for each in desk.slot().pending] == [Kind.STARTED, Kind.DEPLOYED, Kind.FINISHED]


async def test_a_sink_that_comes_late_is_told_todays_state_only(desk: Desk) -> None:
    desk.show()
    await desk.look()
    seq = desk.slot().seq
    desk.audience = (make.subscription("late"),)
    assert await desk.look() == ["unchanged"]
    (today,) = desk.slot().pending
    assert (today.seq, today.kind, today.cause, today.only) == (seq + 1, Kind.DEPLOYED, Cause.ADOPTED, "late")
    assert desk.slot().cursors == {"late": Cursor(seq=seq)}
    await desk.look()
    assert len(desk.ledger.saves) == 2


async def test_a_sink_that_has_left_is_forgotten(desk: Desk) -> None:
    desk.audience = (make.subscription(),)
    desk.show()
    await desk.look()
    desk.audience = ()
    await desk.look()
    assert (desk.slot().cursors, desk.slot().pending) == ({}, ())


async def test_what_is_gone_or_held_enrolls_nobody(desk: Desk) -> None:
    desk.show()
    await desk.look()
    desk.audience = (make.subscription("late"),)
    desk.show(annotations={"environment": "moon"})
    assert await desk.look() == ["held"]
    assert desk.slot().cursors == {}


async def test_a_move_makes_the_new_slot_before_it_ends_the_old_one(desk: Desk) -> None:
    desk.show()
    await desk.look()
    desk.show(namespace=STAGING)
    assert await desk.look() == ["moved", "moved"]
    _, new, old = desk.ledger.saves
    assert (new.key.environment, old.key.environment) == ("staging", "production")
    assert new.deployed is not None
    assert new.deployed.cause is Cause.MOVED
    assert old.deployed is None


async def test_a_move_that_is_interrupted_between_its_two_writes_goes_on(desk: Desk) -> None:
    desk.show()
    await desk.look()
    desk.show(namespace=STAGING)
    desk.ledger.failures = [None, Unavailable("down")]
    with pytest.raises(Unavailable):
        await desk.look()
    assert desk.slot().deployed is not None
    assert desk.slot(environment="staging").deployed is not None
    assert await desk.look() == ["unchanged", "moved"]
    assert desk.slot().deployed is None
    assert len([each for each in desk.slot(environment="staging").pending if each.kind is Kind.DEPLOYED]) == 0


async def test_a_write_that_fails_leaves_no_trace_and_is_repeated_as_it_was(desk: Desk) -> None:
    desk.show()
    desk.ledger.failures = [Unavailable("down")]
    with pytest.raises(Unavailable):
        await desk.look()
    assert (desk.ledger.server, desk.decisions) == ({}, [])
    assert await desk.look() == ["completed"]


async def test_a_write_whose_answer_was_lost_is_not_told_twice(desk: Desk) -> None:
    desk.audience = (make.subscription(),)
    desk.show()
    desk.ledger.lost = [Unavailable("no answer")]
    with pytest.raises(Unavailable):
        await desk.look()
    assert await desk.look() == ["unchanged"]
    assert [each.seq for each in desk.slot().pending] == sorted({each.seq for each in desk.slot().pending})
    assert [each.after.seq for each in desk.changes] == [desk.slot().seq], "what it owes is due"


async def test_a_conflict_is_planned_again_over_what_is_there(desk: Desk) -> None:
    desk.show()
    await desk.look()
    desk.ledger.edit(replace(desk.slot(), extra={"note": "by hand"}))
    desk.show(annotations={"version": "2026.1"})
    assert await desk.look() == ["retagged"]
    assert desk.slot().extra == {"note": "by hand"}
    deployed = desk.slot().deployed
    assert deployed is not None
    assert deployed.artifact.version == "2026.1"


# Refusals and names


async def test_what_is_refused_is_said_and_nothing_is_recorded(desk: Desk) -> None:
    desk.show(annotations={"environment": "moon"})
    assert await desk.look() == []
    assert desk.ledger.server == {}
    assert set(desk.publisher.refused) == {NAME}
    desk.show()
    await desk.look()
    assert desk.publisher.refused == {}


async def test_a_refusal_ends_with_its_workload(desk: Desk) -> None:
    desk.show(annotations={"environment": "moon"})
    await desk.look()
    desk.cluster.hide(make.REF)
    await desk.look()
    assert desk.publisher.refused == {}


async def test_a_name_goes_on_when_its_owner_has_ended_and_not_before(desk: Desk) -> None:
    name = {"deployment-name": "n"}
    desk.show(annotations=name)
    desk.show(ref=OTHER, annotations=name)
    await desk.look()
    await desk.look(OTHER)
    refused = make.key(workload=OTHER).object_name
    assert set(desk.publisher.refused) == {refused}
    desk.cluster.hide(make.REF)
    await desk.look()
    assert await desk.run() == [], "its end has not been recorded"
    desk.clock.time += GRACE
    await desk.look()
    assert await desk.run() == [OTHER]
    assert desk.publisher.refused == {}
    assert desk.slot(workload=OTHER).deployed is not None


async def test_an_application_goes_on_when_its_reporter_takes_another(desk: Desk) -> None:
    desk.show(annotations={"application": "store"})
    desk.show(ref=OTHER, annotations={"application": "store"})
    await desk.look()
    await desk.look(OTHER)
    assert [each.type for each in desk.slot(workload=OTHER).conditions] == ["ApplicationShared"]
    desk.show(annotations={"application": "shop"})
    await desk.look()
    assert await desk.run() == [OTHER]
    assert desk.slot(workload=OTHER).conditions == ()


async def test_a_container_renamed_under_a_chosen_name_follows_the_one_before(desk: Desk) -> None:
    name = {"deployment-name": "n"}
    desk.show(annotations=name)
    await desk.look()
    desk.show(annotations=name, containers=(("app", make.image("v1")),))
    await desk.look()
    assert set(desk.publisher.refused) == {make.key(container="app").object_name}
    view = desk.cluster.views[make.REF]
    desk.cluster.views[make.REF] = replace(view, pods=())
    await desk.look()
    desk.clock.time += GRACE
    await desk.look()
    assert desk.slot().deployed is None
    assert await desk.run() == [make.REF]
    assert desk.publisher.refused == {}
