"""What is promised, for a size of cluster. Latencies in ms, times and CPU in s, memory in MB."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Budgets that grow with the cluster."""

    install: float
    restart: float
    memory: float
    install_cpu: float | None = None
    restart_cpu: float | None = None


THOUSAND: Final = Size(install=15, restart=5, memory=130)
TEN_THOUSAND: Final = Size(install=120, install_cpu=90, restart=20, restart_cpu=15, memory=200)

REQUESTS_PER_ROLLOUT: Final = 10
RECOVERY: Final = 10.0
"""Seconds from the last completed rollout to the last delivery, at any rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From complete in the API to accepted by the tracker."""

    p50: float | None = None
    p99: float | None = None


IDLE: Final = Latency(p50=30)
BUSY: Final = Latency(p50=50, p99=150)
FLOOD: Final = Latency()


def of_size(workloads: int) -> Size:
    """The budgets for so many workloads: those of the next larger size for which there are any."""
    return THOUSAND if workloads <= 1000 else TEN_THOUSAND


def of_rate(per_second: float) -> Latency:
    """The budgets for so many rollouts a second."""
    if per_second <= 1:
        return IDLE
    return BUSY if per_second <= 10 else FLOOD
