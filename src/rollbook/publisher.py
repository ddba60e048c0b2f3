"""Shows people what the slots say: keeps the deployment records as the slots project them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from rollbook.book import Book
from rollbook.core.identity import Claim
from rollbook.core.projection import Record, records, refusal
from rollbook.core.slot import Condition, Entry, Slot, SlotKey
from rollbook.core.transition import Artifact, Millis, RecordStatus, Transition
from rollbook.core.workload import WorkloadRef
from rollbook.hints import Hints


class Records(Protocol):
    """The records in the cluster."""

    async def publish(self, slot: str, records: Sequence[Record]) -> None:
        """Make the records of one slot (its object name) what they should be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Publishes the records of slots, and refusals where there is no slot."""

    book: Book
    records: Records
    names: Callable[[], Mapping[str, str]]
    """Sink names by key."""
    owed: Callable[[Slot], Callable[[str, Transition], bool]]
    hints: Hints[str] = field(default_factory=Hints)
    refused: dict[str, Record] = field(default_factory=dict)
    """By the slot's object name."""
    born: dict[str, Millis] = field(default_factory=dict)
    """When each namespace was created: one that takes the name of another does not inherit its records."""
    _of: dict[WorkloadRef, frozenset[str]] = field(default_factory=dict)

    async def publish(self, name: str) -> None:
        """Publish the records of one slot.

        Raises:
            KubeError: not all of them could be written; try again.
            LeadershipLost: we may not write any more.
        """
        found = self.book.look(name)
        if found is not None:
            slot = _since(found[0], self.born.get(found[0].key.namespace, 0))
            await self.records.publish(name, records(slot, sinks=self.names(), owed=self.owed(slot)))
        else:
            await self.records.publish(name, [self.refused[name]] if name in self.refused else [])

    def refuse(self, workload: WorkloadRef, refused: Mapping[SlotKey, tuple[Claim, Condition]]) -> None:
        """Say of these containers of the workload, and of no others, why nothing is recorded."""
        wanted = {key.object_name: _refusal(key, *why) for key, why in refused.items()}
        former = self._of.pop(workload, frozenset())
        for name in former - wanted.keys():
            del self.refused[name]
            self.hints.add(name)
        for name, record in wanted.items():
            if self.refused.get(name) != record:
                self.refused[name] = record
                self.hints.add(name)
        if wanted:
            self._of[workload] = frozenset(wanted)


def _since(slot: Slot, born: Millis) -> Slot:
    """The slot without what was over before its namespace was created."""

    def stays(entry: Entry) -> bool:
        over = entry.status in {RecordStatus.SUPERSEDED, RecordStatus.DECOMMISSIONED}
        return not over or entry.since is None or entry.since.time >= born

    current = slot.current if slot.current and stays(slot.current) else None
    return replace(slot, current=current, closed=tuple(each for each in slot.closed if stays(each)))


def _refusal(key: SlotKey, claim: Claim, condition: Condition) -> Record:
    name = claim.reference.repository if claim.reference else claim.reference_text
    return refusal(key, Artifact(name=name, reference=claim.reference_text), condition)
