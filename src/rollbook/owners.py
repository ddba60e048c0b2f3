"""Who has a name: deployment names and application streams, the first one to claim them.

Known over all workloads, in memory; after a restart the stored slots claim first, in the order of their making,
so that nobody loses a name by it.
"""

from rollbook.core.identity import Claim
from rollbook.core.look import conflicting, not_reporting
from rollbook.core.slot import Slot
from rollbook.core.workload import WorkloadRef

Name = tuple[str, str, str]


class Owners:
    """Names and their owners."""

    def __init__(self) -> None:
        self._owners: dict[Name, tuple[WorkloadRef, str]] = {}
        self._names: dict[WorkloadRef, set[Name]] = {}
        self._losers: dict[Name, set[WorkloadRef]] = {}

    def remember(self, slot: Slot) -> None:
        """A stored slot claims the names that it was told under."""
        entry = slot.attempt or slot.deployed
        if entry:
            owner = (slot.key.workload, slot.key.container)
            self._claim(("name", slot.key.environment, entry.identity.deployment_name), owner)
            if entry.identity.reports:
                self._claim(("application", slot.key.environment, entry.identity.application), owner)

    def vet(self, claim: Claim) -> Claim:
        """The claim as it may stand beside those of all other workloads."""
        if claim.refused:
            return claim
        owner, environment = (claim.key.workload, claim.key.container), claim.key.environment
        holder = self._claim(("name", environment, claim.identity.deployment_name), owner)
        if holder != owner:
            return conflicting(claim, holder[0].label)
        if not claim.identity.reports:
            return claim
        reporter = self._claim(("application", environment, claim.identity.application), owner)
        return claim if reporter[0] == owner[0] else not_reporting(claim, reporter[0].label)

    def release(self, workload: WorkloadRef) -> set[WorkloadRef]:
        """The workload is gone. Returns those who waited for one of its names."""
        freed = self._names.pop(workload, set())
        for name in freed:
            self._owners.pop(name, None)
        return {loser for name in freed for loser in self._losers.pop(name, set())}

    def _claim(self, name: Name, owner: tuple[WorkloadRef, str]) -> tuple[WorkloadRef, str]:
        holder = self._owners.setdefault(name, owner)
        if holder == owner:
            self._names.setdefault(owner[0], set()).add(name)
        elif holder[0] != owner[0]:
            self._losers.setdefault(name, set()).add(owner[0])
        return holder
