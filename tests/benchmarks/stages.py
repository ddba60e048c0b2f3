"""The stages of a benchmark, each on what the one before has left."""

import time
from collections.abc import Iterable
from typing import Final

from tests.benchmarks import budgets
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import quantile
from tests.benchmarks.heard import Fact, deployed, event, owed
from tests.benchmarks.load import FIRST, Rollout
from tests.benchmarks.measures import (
    ControlPlaneCost,
    control_plane_cost,
    cpu,
    ended_at,
    nanoseconds,
    peak_memory,
    without_lease,
    without_watches,
    writes,
)
from tests.controlplane.audit import Request
from tests.controlplane.progress import Step

INSTALL: Final = "first install"
COST: Final = "what it costs the control plane"
IDLE: Final = "idle"
RESTART: Final = "restart"

IDLE_FOR: Final = 30.0
"""Seconds."""

LAST_WORDS: Final = 12.0
"""Seconds after which a change has been told of everywhere: a sink's counters are written every ten."""


def install(bench: Bench) -> None:
    """The operator meets a running cluster, with an empty ledger."""
    stack, report, workloads = bench.stack, bench.report, bench.load.workloads
    before = control_plane_cost(bench.cluster)
    step, mark, api_before = Step(INSTALL, bench.say), bench.audit.mark(), cpu(bench.cluster.apiserver_pid)
    began = time.time_ns()
    stack.start_operator(in_sync=False)
    synced = nanoseconds(stack.await_in_sync(within=bench.patience))
    expected = [deployed(each, FIRST) for each in workloads]
    lost = bench.lost(INSTALL, expected)
    used = stack.await_quiet(within=bench.patience)
    api_used = cpu(bench.cluster.apiserver_pid) - api_before
    step.done()

    requests = bench.audit.since(mark)
    slots = [ended_at(each) for each in requests if _creates_slot(each)]
    accepted = [stack.accepted.first[fact] for fact in expected if fact in stack.accepted.first]
    written = map(ended_at, writes(without_lease(requests)))
    report.add(
        INSTALL,
        "all in the ledger, in sync and accepted after",
        _seconds(began, [synced, *slots, *accepted]),
        "s",
        budget=bench.size.install,
    )
    report.add(INSTALL, "... in sync after", _seconds(began, [synced]), "s")
    report.add(INSTALL, "... last slot in the ledger after", _seconds(began, slots), "s")
    report.add(INSTALL, "... last one accepted after", _seconds(began, accepted), "s")
    report.add(INSTALL, "last record and cursor written after", _seconds(began, written), "s")
    report.add(INSTALL, "CPU of the operator, until quiet", used, "s", budget=bench.size.install_cpu)
    report.add(INSTALL, "CPU of the API server meanwhile", api_used, "s")
    _memory(bench, INSTALL)
    report.add(INSTALL, "workloads without a slot", len(workloads) - len(slots), budget=0)
    report.add(INSTALL, "lost", lost, budget=0)
    report.add(INSTALL, "sent twice", bench.twice(INSTALL), budget=0)
    bench.count(INSTALL, requests)
    bench.failures(INSTALL)
    bench.profile(INSTALL)
    _cost(bench, before, control_plane_cost(bench.cluster))


def _cost(bench: Bench, before: ControlPlaneCost, after: ControlPlaneCost) -> None:
    report, api = bench.report, bench.cluster.api
    kinds = ("EnvironmentSlot", "DeploymentRecord")
    objects = sum(len(api.find("rollbook.dev/v1alpha1", kind)) for kind in kinds)
    pairs = {
        "API server, resident": (before.resident, after.resident),
        "API server, live heap": (before.live, after.live),
        "etcd, compacted": (before.etcd_compacted, after.etcd_compacted),
        "etcd, with what the next compaction removes": (before.etcd_compacted, after.etcd),
    }
    report.add(COST, "objects of ours", objects)
    for name, (was, is_now) in pairs.items():
        report.add(COST, f"{name}, before", was, "MB")
        report.add(COST, f"{name}, growth", is_now - was, "MB")
        report.add(COST, f"{name}, growth", 1000 * (is_now - was) / max(1, objects), "KB/object")
    share = 100 * (after.resident - before.resident) / before.resident
    report.add(COST, "API server, resident, growth", share, "%", budget=20)


def idle(bench: Bench) -> None:
    """Nothing changes for a while."""
    time.sleep(LAST_WORDS)
    step, mark, used = Step(IDLE, bench.say), bench.audit.mark(), cpu(bench.stack.operator_pid)
    time.sleep(IDLE_FOR)
    used = cpu(bench.stack.operator_pid) - used
    requests = bench.audit.since(mark)
    step.done()
    others = list(without_lease(requests))
    written = list(writes(others))
    bench.report.add(IDLE, "writes other than the Lease's", len(written), budget=0)
    bench.report.add(IDLE, "reads", len(others) - len(written))
    bench.report.add(IDLE, "CPU of the operator", 1000 * used / IDLE_FOR, "ms/s")
    bench.count(IDLE, requests)
    bench.profile(IDLE)


def rollouts(bench: Bench, *, rate: float, count: int) -> None:
    """Workloads are brought to other versions at a rate."""
    stage = f"rollouts at {rate:g}/s"
    report, accepted = bench.report, bench.stack.accepted
    mark, used, looks = bench.audit.mark(), cpu(bench.stack.operator_pid), bench.decisions()
    made = bench.load.roll_out(rate=rate, count=count)
    lost = bench.lost(stage, [fact for each in made for fact in owed(each)])
    used = bench.stack.await_quiet(within=bench.patience) - used
    done = {each: at for each in made if (at := bench.completed.read().at(each)) is not None}

    report.add(stage, "rollouts", count)
    report.add(stage, "seen complete in the API", len(done))
    _latencies(bench, stage, "DEPLOYED", {deployed(each.workload, each.version): at for each, at in done.items()})
    finished = {event(each.workload, each.version, "finished"): at for each, at in done.items()}
    _latencies(bench, stage, "finished", finished, budget=budgets.of_rate(rate))
    last = [accepted.first[fact] for fact in finished if fact in accepted.first]
    lag = _seconds(max(done.values(), default=0), last)
    report.add(stage, "last accepted after the last complete", lag, "s", budget=budgets.RECOVERY)
    report.add(stage, "lost", lost, budget=0)
    report.add(stage, "sent twice", bench.twice(stage), budget=0)
    report.add(stage, "not as rolled out, in the tracker's own view", _wrong(bench, stage, made), budget=0)
    requests = list(without_watches(without_lease(bench.audit.since(mark))))
    per_rollout = len(requests) / count
    report.add(stage, "API requests per rollout", per_rollout, budget=budgets.REQUESTS_PER_ROLLOUT)
    report.add(stage, "decisions per rollout", (bench.decisions() - looks) / count)
    report.add(stage, "CPU of the operator per rollout", 1000 * used / count, "ms")
    _memory(bench, stage)
    bench.count(stage, requests)
    bench.failures(stage)
    bench.profile(stage)


def _latencies(
    bench: Bench,
    stage: str,
    what: str,
    complete: dict[Fact, int],
    budget: budgets.Latency = budgets.FLOOD,
) -> None:
    """From complete in the API to accepted by the tracker, in ms."""
    first = bench.stack.accepted.first
    taken = [(first[fact] - at) / 1e6 for fact, at in complete.items() if fact in first]
    bench.report.add(stage, f"complete -> {what} accepted, p50", quantile(taken, 0.5), "ms", budget=budget.p50)
    bench.report.add(stage, f"complete -> {what} accepted, p99", quantile(taken, 0.99), "ms", budget=budget.p99)
    bench.report.add(stage, f"complete -> {what} accepted, max", max(taken, default=0.0), "ms")


def _wrong(bench: Bench, stage: str, made: Iterable[Rollout]) -> int:
    """How many slots do not show the last version of their workload as DEPLOYED."""
    last = {each.workload.deployment_name: each.version for each in made}
    shown = {slot["deployment_name"]: slot["current"] for slot in bench.stack.tracker.slots()}
    wrong = [
        name
        for name, version in last.items()
        if not (current := shown.get(name)) or current["artifact"]["version"] != version
    ]
    if wrong:
        bench.report.faults.append(f"{stage}: {len(wrong)} slots are not as they should be, e.g. {wrong[:3]}")
    return len(wrong)


def restart(bench: Bench) -> None:
    """The operator is stopped and started again on the same cluster."""
    stack, report = bench.stack, bench.report
    told = _held(bench)
    stack.stop_operator()
    posts, mark = stack.accepted.read().posts, bench.audit.mark()
    step, began = Step(RESTART, bench.say), time.time_ns()
    stack.start_operator(in_sync=False)
    synced = nanoseconds(stack.await_in_sync(within=bench.patience))
    used = stack.await_quiet(within=bench.patience)
    step.done()

    again = stack.accepted.read().posts - posts
    if again:
        report.faults.append(f"{RESTART}: {again} requests were sent to the tracker although nothing had changed")
    deliveries = sum(
        count for name, count in stack.metrics().items() if name.startswith("rollbook_deliveries_total")
    )
    requests = bench.audit.since(mark)
    report.add(RESTART, "in sync after", _seconds(began, [synced]), "s", budget=bench.size.restart)
    report.add(RESTART, "CPU of the operator, until quiet", used, "s", budget=bench.size.restart_cpu)
    _memory(bench, RESTART)
    report.add(RESTART, "requests to the tracker", again, budget=0)
    report.add(RESTART, "deliveries by the operator's metrics", deliveries, budget=0)
    report.add(RESTART, "records and events that the tracker holds more", _held(bench) - told, budget=0)
    report.add(RESTART, "writes other than the Lease's", len(list(writes(without_lease(requests)))), budget=0)
    bench.count(RESTART, requests)
    bench.failures(RESTART)
    bench.profile(RESTART)


def _held(bench: Bench) -> int:
    """How many records and events the tracker holds."""
    tracker = bench.stack.tracker
    records = sum(len(slot["history"]) for slot in tracker.slots())
    return records + sum(len(rollout["events"]) for rollout in tracker.rollouts())


def _memory(bench: Bench, stage: str) -> None:
    peak = peak_memory(bench.stack.operator_pid)
    bench.report.add(stage, "peak memory of the operator (VmHWM)", peak, "MB", budget=bench.size.memory)


def _creates_slot(request: Request) -> bool:
    return (
        request.verb == "create" and request.resource.endswith("environmentslots") and request.code == 201
    )  # Created


def _seconds(began: int, times: Iterable[int]) -> float:
    """From `began` to the last of these, all in ns."""
    return (max(times, default=began) - began) / 1e9
