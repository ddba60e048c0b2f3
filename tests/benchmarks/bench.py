"""What the stages of a benchmark work with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks import budgets
from tests.benchmarks.figures import Report
from tests.benchmarks.heard import Completed, Fact
from tests.benchmarks.load import Load
from tests.benchmarks.measures import Audit, counted
from tests.benchmarks.processes import MeasuredStack
from tests.benchmarks.profile import summary
from tests.controlplane.api import eventually
from tests.controlplane.audit import Request
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.progress import Say

PATIENCE: Final = 90.0
"""Seconds in which what is owed must have come, whatever the budget says; after that it counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run."""

    cluster: ControlPlane
    stack: MeasuredStack
    load: Load
    audit: Audit
    completed: Completed
    report: Report
    size: budgets.Size
    say: Say

    @property
    def patience(self) -> float:
        """Seconds that a start may take before the benchmark gives up."""
        return PATIENCE + 0.1 * len(self.load.workloads)

    def lost(self, stage: str, expected: Collection[Fact]) -> int:
        """Wait for what is expected; how much of it did not come."""
        accepted = self.stack.accepted
        try:
            eventually(lambda: accepted.read().first.keys() >= set(expected), within=PATIENCE, every=0.25)
        except TimeoutError:
            missing = [fact for fact in expected if fact not in accepted.first]
            self.report.faults.append(f"{stage}: {len(missing)} of {len(expected)} lost, e.g. {missing[:3]}")
            return len(missing)
        return 0

    def twice(self, stage: str) -> int:
        """How much was accepted more than once since this was last asked."""
        repeated = self.stack.accepted.read().take_repeated()
        if repeated:
            self.report.faults.append(f"{stage}: {len(repeated)} sent twice, e.g. {repeated[:3]}")
        return len(repeated)

    def profile(self, stage: str) -> None:
        """Add what the profiler has since it was last asked, if it runs."""
        samples = self.stack.take_profile(stage)
        if samples:
            self.report.profiles[stage] = summary(samples)

    def count(self, stage: str, requests: Sequence[Request]) -> None:
        """Count the operator's requests, and set the count of its own metrics beside that of the audit log.

        The metrics do not know of kopf's: four lists and four watches.
        """
        self.report.requests[stage] = dict(counted(requests))
        self.report.add(stage, "API requests, by the audit log", len(requests))

    def decisions(self) -> float:
        """How often the operator has looked at a slot since its start."""
        metrics = self.stack.metrics().items()
        return sum(count for name, count in metrics if name.startswith("rollbook_decisions_total"))

    def failures(self, stage: str) -> None:
        """Say what failed since the operator's start, by its own metrics, and what the tracker refused."""
        failed = {
            name.partition('"')[2].partition('"')[0]: value
            for name, value in self.stack.metrics().items()
            if name.startswith("rollbook_failures_total") and value
        }
        units = ", ".join(sorted(failed)) or "none"
        self.report.add(stage, f"failures that were retried, so far ({units})", sum(failed.values()))
        told = (f"{line['unit']}: {line['error']}" for line in self.stack.logged("failed"))
        self.report.failures = sorted(set(told))
        self.report.add(stage, "refused by the tracker, so far", self.stack.accepted.read().refused)
