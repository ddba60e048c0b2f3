"""The one use case: look at a workload, plan each of its slots, write what changed. A watch event is only a hint.

    hint -> view of the workload -> look (pure) -> plan (pure) -> one write of the slot

Every step may be repeated from anywhere: what was planned twice is written once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rollbook.book import Book
from rollbook.clock import Clock
from rollbook.core.identity import Claim, Rules
from rollbook.core.look import Look, Refused, View, look
from rollbook.core.outbox import Subscription, enroll
from rollbook.core.plan import Plan, plan
from rollbook.core.seen import Absent, Held, Policy, Seen
from rollbook.core.slot import Condition, Slot, SlotKey
from rollbook.core.transition import Millis
from rollbook.core.workload import WorkloadRef
from rollbook.hints import Hints
from rollbook.owners import Owners, uses


class Cluster(Protocol):
    """What we have heard of the cluster."""

    def view(self, ref: WorkloadRef) -> View:
        """A workload with all that belongs to it."""
        ...


class Refusals(Protocol):
    """Where people read why nothing is recorded of a container."""

    def refuse(self, workload: WorkloadRef, refused: Mapping[SlotKey, tuple[Claim, Condition]]) -> None:
        """These containers of the workload are refused, and no others."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about one slot, for logs, metrics and explanations."""

    key: SlotKey
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Brings the slots of one workload in line with what the cluster shows."""

    cluster: Cluster
    book: Book
    known: Callable[[WorkloadRef], Iterable[str]]
    """Names of the stored slots of a workload."""
    owners: Owners
    subscriptions: Callable[[Slot], Sequence[Subscription]]
    refusals: Refusals
    hints: Hints[WorkloadRef]
    rules: Rules
    policy: Policy
    clock: Clock
    on_decision: Callable[[Decision], None]

    async def reconcile(self, ref: WorkloadRef) -> None:
        """Look once.

        Raises:
            KubeError: a slot could not be written; look again later.
            LeadershipLost: we may not write any more.
        """
        view = self.cluster.view(ref)
        if view.deployment and view.namespace is None:
            return  # its environment is not known yet; the namespace's arrival is a hint of its own
        slots = [found[0] for name in self.known(ref) if (found := self.book.look(name))]
        looks = look(view, slots, self.rules, self.owners.vet)
        self.refusals.refuse(
            ref, {key: (what.claim, what.condition) for key, what in looks if isinstance(what, Refused)}
        )
        plans = [await self._plan(key, what) for key, what in looks if not isinstance(what, Refused)]
        for decided in plans:
            self._wake(ref, decided)
        self._release(ref, looks, [decided.slot for decided in plans])

    async def _plan(self, key: SlotKey, what: Seen | Absent | Held) -> Plan:
        decided: list[Plan] = []

        def change(slot: Slot) -> Slot:
            enrolled = enroll(slot, self.subscriptions(slot)) if isinstance(what, Seen) else slot
            decided.append(plan(enrolled, what, self.clock.now(), self.policy))
            return decided[-1].slot if decided[-1].slot.seq else slot

        await self.book.change(key, change)
        self.on_decision(Decision(key=key, plan=decided[-1]))
        return decided[-1]

    def _wake(self, ref: WorkloadRef, decided: Plan) -> None:
        if decided.wake is not None:
            self.hints.add(ref, delay=max(0.001, _seconds(decided.wake - self.clock.now())))

    def _release(self, ref: WorkloadRef, looks: Iterable[Look], slots: Iterable[Slot]) -> None:
        """Names that the workload does not use any more are free for those who wait for them."""
        seen = ((key, what.identity) for key, what in looks if isinstance(what, Seen))
        stored = (use for slot in slots for use in uses(slot))
        for waiting in self.owners.retain(ref, (*seen, *stored)):
            self.hints.add(waiting)


def _seconds(milliseconds: Millis) -> float:
    return milliseconds / 1000
