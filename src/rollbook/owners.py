"""Who has a name: deployment names and application streams, the first one to claim them.

Known over all workloads, in memory; after a restart the stored slots claim first, so that nobody loses a name by
it.
A name is free again when neither its owner's claims nor anything that still stands in its slots uses it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from rollbook.core.identity import Claim
from rollbook.core.look import conflicting, not_reporting
from rollbook.core.slot import Slot, SlotKey
from rollbook.core.transition import Identity
from rollbook.core.workload import WorkloadRef

_NAME: Final = "name"
_APPLICATION: Final = "application"

Name = tuple[str, str, str]
"""Of what it is the name, the environment, and the name itself."""

Owner = tuple[WorkloadRef, str]
"""A workload; and its container, or nothing where the name is the whole workload's."""

Use = tuple[SlotKey, Identity]
"""A slot and how it presents itself."""


class Owners:
    """Names and their owners."""

    def __init__(self) -> None:
        self._owners: dict[Name, Owner] = {}
        self._names: dict[WorkloadRef, set[Name]] = {}
        self._losers: dict[Name, set[WorkloadRef]] = {}

    def remember(self, slot: Slot) -> None:
        """A stored slot claims the names that it was told under."""
        for use in uses(slot):
            for name, owner in _names(*use):
                self._claim(name, owner)

    def vet(self, claim: Claim) -> Claim:
        """The claim as it may stand beside those of all other containers."""
        if claim.refused:
            return claim
        for name, owner in _names(claim.key, claim.identity):
            holder = self._claim(name, owner)
            if holder != owner:
                return (conflicting if name[0] == _NAME else not_reporting)(claim, holder[0].label)
        return claim

    def retain(self, workload: WorkloadRef, used: Iterable[Use]) -> set[WorkloadRef]:
        """The workload uses these names only. Returns those who waited for one of the others."""
        kept = {each for use in used for each in _names(*use)}
        held = self._names.pop(workload, set())
        freed = {name for name in held if (name, self._owners[name]) not in kept}
        if held - freed:
            self._names[workload] = held - freed
        for name in freed:
            del self._owners[name]
        return {loser for name in freed for loser in self._losers.pop(name, set())}

    def _claim(self, name: Name, owner: Owner) -> Owner:
        holder = self._owners.setdefault(name, owner)
        if holder == owner:
            self._names.setdefault(owner[0], set()).add(name)
        else:
            self._losers.setdefault(name, set()).add(owner[0])
        return holder


def uses(slot: Slot) -> Iterator[Use]:
    """How what stands in a slot was presented."""
    for entry in (slot.attempt, slot.deployed):
        if entry:
            yield slot.key, entry.identity


def _names(key: SlotKey, identity: Identity) -> Iterator[tuple[Name, Owner]]:
    yield (_NAME, key.environment, identity.deployment_name), (key.workload, key.container)
    if identity.reports:
        yield (_APPLICATION, key.environment, identity.application), (key.workload, "")
