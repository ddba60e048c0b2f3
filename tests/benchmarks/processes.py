"""The processes of a benchmark: a tracker with a tap, an operator with or without a profiler, a witness."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.heard import Accepted, Completed, Lines
from tests.benchmarks.measures import cpu
from tests.controlplane.api import eventually
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.installing import CHECKOUT
from tests.stack import NAMESPACE, Stack

OPERATOR = f"system:serviceaccount:{NAMESPACE}:rollbook"
"""The operator's user name in the audit log."""

_LOOK = 0.5
"""Seconds between two looks at a process's CPU time."""

_QUIET = 3
"""So many looks in a row that find (almost) none used: longer than progress waits for company."""

_ALMOST_NONE = 0.03
"""CPU seconds between two looks: the Lease and the benchmark's own look cost that."""


class MeasuredStack(Stack):
    """A stack whose tracker notes what it accepts, and whose operator may run under the profiler.

    Args:
        cluster: As `Stack`.
        home: As `Stack`.
        profile: Where to put samples of the operator; None: none are taken.
    """

    def __init__(self, cluster: ControlPlane, home: Path, *, profile: Path | None) -> None:
        super().__init__(cluster, home)
        self._profile = profile
        self._life = 0
        self._profiles = 0
        self._tap = home / "tap.jsonl"
        self._log = Lines(home / "operator.log")
        self.accepted = Accepted(Lines(self._tap))

    def _spawn(  # type: ignore[explicit-override]  # typing.override: Python 3.12
        self, command: str, arguments: list[str], settings: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self.home / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self._program(command), command, *arguments],
                cwd=CHECKOUT,
                env={**os.environ, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _program(self, command: str) -> list[str]:
        """What runs in place of `rollbook`: a module, and its own first argument."""
        if command == "tracker":
            return ["tests.benchmarks.tapped", str(self._tap)]
        if self._profile is None:
            return ["rollbook"]
        self._life, self._profiles = self._life + 1, 0
        return ["tests.benchmarks.sampled", self._samples]

    @property
    def _samples(self) -> str:
        """What the names of the profiler's files begin with, in this life of the operator."""
        return str(self.home / f"profile-{self._life}")

    def await_in_sync(self, *, within: float) -> str:
        """Wait for the log line of the life begun last; its timestamp."""
        return eventually(self._synced, within=within, every=0.1)

    def _synced(self) -> str:
        self.alive()
        return next((str(line["timestamp"]) for line in self._log.new() if line.get("event") == "in sync"), "")

    def alive(self) -> None:
        """Fail if the operator has ended."""
        assert self._operator is not None, "the operator was not started"
        if self._operator.poll() is not None:
            raise AssertionError(f"the operator has ended:\n{self.operator_log()[-3000:]}")

    def await_quiet(self, *, within: float) -> float:
        """Wait until the operator does nothing any more; its CPU seconds by then."""
        deadline = time.monotonic() + within
        used, quiet = cpu(self.operator_pid), 0
        while quiet < _QUIET:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operator is not quiet after {within:.0f} s")
            time.sleep(_LOOK)
            before, used = used, cpu(self.operator_pid)
            quiet = quiet + 1 if used - before <= _ALMOST_NONE else 0
        return used

    def take_profile(self, stage: str) -> Path | None:
        """The samples since the last call; None without a profiler."""
        if self._profile is None:
            return None
        written = Path(f"{self._samples}.{self._profiles}")
        self._profiles += 1
        os.kill(self.operator_pid, signal.SIGUSR1)
        eventually(written.exists)
        self._profile.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", stage)
        return Path(shutil.copy(written, self._profile / f"{name}.stacks"))


@contextmanager
def witness(cluster: ControlPlane, home: Path) -> Iterator[Completed]:
    """A bare watch in a process of its own; hears from the moment this returns."""
    log = home / "witness.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.witness", cluster.server, str(cluster.ca), str(log)],
        cwd=CHECKOUT,
        env={**os.environ, "TOKEN": cluster.admin_token},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", "the witness did not get ready"
            yield Completed(Lines(log))
            assert process.poll() is None, "the witness has ended: latencies are missing"
        finally:
            process.kill()
