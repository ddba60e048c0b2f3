"""Measures Rollbook on a real control plane: `python -m tests.benchmarks --help`, docs/benchmarks.md."""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import budgets, micro, stages
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Report
from tests.benchmarks.load import Load
from tests.benchmarks.measures import Audit
from tests.benchmarks.processes import OPERATOR, MeasuredStack, witness
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.progress import to_stderr

LEAST_TURN = 2.0
"""Seconds that a rollout must have before its workload's turn comes again: else it would be interrupted."""


def main() -> None:
    """Measure, print, and fail if anything was lost or sent twice."""
    arguments = _parser().parse_args()
    report = Report(parameters=_parameters(arguments))
    try:
        micro.measure(report, slots=arguments.slots)
        if not arguments.micro:
            _measure(arguments, report)
    finally:  # what was measured before an error is shown all the same
        _show(arguments, report)
    sys.exit(1 if report.faults else 0)


def _show(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.json:
        report.save(arguments.json)
    if arguments.markdown:
        print(report.markdown())  # noqa: T201  # the command's output
    else:
        report.show(Console(width=None if sys.stdout.isatty() else 110))


def _measure(arguments: argparse.Namespace, report: Report) -> None:
    with ControlPlane() as cluster, tempfile.TemporaryDirectory(prefix="rollbook-bench-") as folder:
        home = Path(folder)
        with MeasuredStack(cluster, home, profile=arguments.profile) as stack:
            stack.install()
            stack.start_tracker()
            stack.add_sink()
            load = Load(cluster.api, workloads=arguments.workloads, pods=arguments.pods, say=to_stderr)
            load.create()
            with witness(cluster, home) as completed:
                _run(
                    Bench(
                        cluster=cluster,
                        stack=stack,
                        load=load,
                        audit=Audit(cluster, OPERATOR),
                        completed=completed,
                        report=report,
                        size=budgets.of_size(arguments.workloads),
                        say=to_stderr,
                    ),
                    arguments.rollouts,
                )


def _run(bench: Bench, rollouts: list[tuple[float, int]]) -> None:
    stages.install(bench)
    stages.idle(bench)
    for rate, count in rollouts:
        stages.rollouts(bench, rate=rate, count=count)
    stages.restart(bench)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--workloads", type=int, default=1000, help="Deployments (%(default)s)")
    parser.add_argument("--pods", type=int, default=3, help="of each (%(default)s)")
    parser.add_argument(
        "--rollouts",
        type=_rollouts,
        default="1x30,10x300",
        metavar="RATExCOUNT,...",
        help="so many in a second, so many in all (%(default)s)",
    )
    parser.add_argument(
        "--slots", type=int, default=10_000, help="of the benchmarks of plan and codec (%(default)s)"
    )
    parser.add_argument("--micro", action="store_true", help="only those, without a control plane")
    parser.add_argument(
        "--profile", type=Path, metavar="DIR", help="sample the operator, keep its stacks there; a little slower"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    return parser


def _rollouts(text: str) -> list[tuple[float, int]]:
    pairs = (part.split("x") for part in text.split(",") if part)
    return [(float(rate), int(count)) for rate, count in pairs]


def _parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was run, and on what; a machine that was busy before gives other figures."""
    for rate, count in arguments.rollouts:
        if count > arguments.workloads and arguments.workloads / rate < LEAST_TURN:
            sys.exit(f"{arguments.workloads} workloads are too few for {count} rollouts at {rate:g}/s")
    return {
        "workloads": arguments.workloads,
        "pods": arguments.workloads * arguments.pods,
        "CPUs": os.cpu_count(),
        "Python": platform.python_version(),
        "load average before": round(os.getloadavg()[0], 1),
        "profiled": arguments.profile is not None,
    }


if __name__ == "__main__":
    main()
