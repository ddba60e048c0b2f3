"""Every metric, declared once. Labels are bounded: kinds, reasons, sinks; never workloads."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from rollbook import __version__

REGISTRY: Final = CollectorRegistry()

TRANSITIONS: Final = Counter(
    "rollbook_transitions",
    "Transitions recorded in the ledger.",
    ["kind", "cause"],
    registry=REGISTRY,
)
DECISIONS: Final = Counter(
    "rollbook_decisions",
    "Decisions by the row of the ledger's rules that applied.",
    ["row"],
    registry=REGISTRY,
)
DELIVERIES: Final = Counter(
    "rollbook_deliveries",
    "Tries to deliver a transition, by what became of them.",
    ["sink", "result"],
    registry=REGISTRY,
)
DELIVERY_SECONDS: Final = Histogram(
    "rollbook_delivery_seconds",
    "How long a try took.",
    ["sink"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
BACKLOG: Final = Gauge("rollbook_backlog_slots", "Slots that owe a sink something.", ["sink"], registry=REGISTRY)
API_REQUESTS: Final = Counter(
    "rollbook_api_requests",
    "Requests to the API server.",
    ["verb", "resource", "status"],
    registry=REGISTRY,
)
FAILURES: Final = Counter(
    "rollbook_failures",
    "Failed units of work, each with one log line.",
    ["unit"],
    registry=REGISTRY,
)
SLOTS: Final = Gauge("rollbook_slots", "Environment slots in the ledger.", registry=REGISTRY)
QUEUE: Final = Gauge("rollbook_queue_workloads", "Workloads waiting to be looked at.", registry=REGISTRY)
IN_SYNC: Final = Gauge(
    "rollbook_in_sync", "1 when all that the cluster showed at the start has been recorded.", registry=REGISTRY
)
LEADER: Final = Gauge("rollbook_leader", "1 while this process holds the Lease.", registry=REGISTRY)
SWEEP_HELD: Final = Gauge(
    "rollbook_sweep_held", "1 while a sweep is stopped because it would decommission too much.", registry=REGISTRY
)
BUILD: Final = Info("rollbook_build", "Which Rollbook this is.", registry=REGISTRY)
BUILD.info({"version": __version__})


def exposition() -> bytes:
    """All metrics in the text format."""
    return generate_latest(REGISTRY)
