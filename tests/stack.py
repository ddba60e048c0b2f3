"""Rollbook on a control plane, as processes of their own: the operator under its ServiceAccount, and a tracker.

with ControlPlane() as cluster, Stack(cluster, folder) as stack:
    stack.start()
    cluster.kubectl(...)
    eventually(lambda: stack.tracker.current("production", "shop/web/web") == digest)
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.controlplane.api import eventually
from tests.controlplane.cluster import ControlPlane

NAMESPACE = "rollbook-system"
SETTLED = 30.0
"""Seconds in which a process of ours must have started, or stopped."""


class TrackerClient:
    """What a tracker holds, read through its API."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def slots(self) -> list[dict[str, Any]]:
        """All slots with their current record and their history, oldest first."""
        return list(self._http.get("/api/tracker/v1/slots").raise_for_status().json()["slots"])

    def rollouts(self) -> list[dict[str, Any]]:
        """All LaunchDarkly deployments with their events, oldest first."""
        return list(self._http.get("/api/tracker/v1/rollouts").raise_for_status().json()["rollouts"])

    def history(self, environment: str, name: str) -> list[tuple[str, str]]:
        """(version, status) of each record of one slot, oldest first."""
        for slot in self.slots():
            if (slot["environment_name"], slot["deployment_name"]) == (environment, name):
                return [(record["artifact"]["version"], record["status"]) for record in slot["history"]]
        return []

    def events(self, environment: str, application: str) -> list[tuple[str, str]]:
        """(version, event type) of an application's rollout events, in the order in which they were told."""
        told = [
            (event["sequence"], event["version"], event["eventType"])
            for rollout in self.rollouts()
            if (rollout["environmentKey"], rollout["applicationKey"]) == (environment, application)
            for event in rollout["events"]
        ]
        return [(version, kind) for _, version, kind in sorted(told)]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@dataclass(frozen=True)
class Addresses:
    """Where the processes listen."""

    tracker: int
    probes: int


class Stack:
    """An operator and a tracker on one control plane.

    Args:
        cluster: started; `crds/` and `deploy/` are installed into it by `start`.
        home: a folder for the database and the logs.
        settings: `ROLLBOOK_*` settings of the operator, without the prefix, lower case.
    """

    def __init__(self, cluster: ControlPlane, home: Path, settings: Mapping[str, object] | None = None) -> None:
        self.cluster = cluster
        self.home = home
        self.settings = {"cluster": "test", "identity": "operator-0", **(settings or {})}
        self.addresses = Addresses(tracker=free_port(), probes=free_port())
        self.token = "a-token-for-tests-only"
        self.tracker = TrackerClient(f"http://127.0.0.1:{self.addresses.tracker}", self.token)
        self._operator: subprocess.Popen[bytes] | None = None
        self._tracker: subprocess.Popen[bytes] | None = None
        self._kubeconfig: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_operator()
        self.stop_tracker()
        self.tracker.close()

    def start(self) -> Self:
        """Install everything, start both processes and wait until they are in sync."""
        self.install()
        self.start_tracker()
        self.add_sink()
        self.start_operator()
        return self

    def install(self) -> None:
        """Apply `crds/` and `deploy/`, without the sink that only works inside a cluster."""
        self.cluster.install(NAMESPACE)
        self.cluster.kubectl("delete", "trackingsink", "--all")

    def add_sink(self, name: str = "tracker", spec: Mapping[str, Any] | None = None) -> None:
        """Declare a sink for our tracker, with its credential."""
        port = self.addresses.tracker
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {"rollbook.dev/credentials": "true"},
                "annotations": {"rollbook.dev/hosts": f"127.0.0.1:{port}"},
            },
            "stringData": {"token": self.token},
        }
        sink = {
            "apiVersion": "rollbook.dev/v1alpha1",
            "kind": "TrackingSink",
            "metadata": {"name": name},
            "spec": {
                "credentials": {"secretName": name},
                "allowInsecureHTTP": True,
                **(spec or {"tracker": {"endpoint": self.tracker.url}}),
            },
        }
        self.cluster.api.apply(secret, sink)

    def start_tracker(self) -> None:
        """Start the tracker on its database, new or not."""
        token_file = self.home / "token"
        token_file.write_text(self.token)
        arguments = ["--port", str(self.addresses.tracker), "--database", str(self.home / "tracker.db")]
        self._tracker = self._spawn("tracker", [*arguments, "--token-file", str(token_file), "--public-page"], {})
        eventually(self._tracker_answers, within=SETTLED)

    def _tracker_answers(self) -> bool:
        assert self._tracker is not None, "the tracker was not started"
        if self._tracker.poll() is not None:
            raise AssertionError(f"the tracker has ended:\n{(self.home / 'tracker.log').read_text()[-3000:]}")
        return _text(f"{self.tracker.url}/healthz") is not None

    def start_operator(self, *, in_sync: bool = True) -> None:
        """Start the operator with the rights of its ServiceAccount, and wait until it is in sync."""
        if self._kubeconfig is None:
            self._kubeconfig = self.cluster.service_account_kubeconfig(NAMESPACE, "rollbook", seconds=14_400)
        flags = ["--kubeconfig", str(self._kubeconfig), "--listen-host", "127.0.0.1"]
        self._operator = self._spawn(
            "operator",
            [*flags, "--listen-port", str(self.addresses.probes)],
            {f"ROLLBOOK_{name.upper()}": str(value) for name, value in self.settings.items()},
        )
        if in_sync:
            self.wait_in_sync()

    def wait_in_sync(self, within: float = SETTLED) -> None:
        """Wait until /readyz says so; fails at once if the operator has ended."""
        eventually(self._in_sync, within=within)

    def _in_sync(self) -> bool:
        assert self._operator is not None, "the operator was not started"
        if self._operator.poll() is not None:
            raise AssertionError(f"the operator has ended:\n{self.operator_log()[-3000:]}")
        return _text(f"http://127.0.0.1:{self.addresses.probes}/readyz") == "in sync\n"

    @property
    def operator_pid(self) -> int:
        """Its process id."""
        assert self._operator is not None, "the operator was not started"
        return self._operator.pid

    def kill_operator(self) -> None:
        """SIGKILL, as a node's death or the OOM killer would."""
        assert self._operator is not None, "the operator was not started"
        self._operator.send_signal(signal.SIGKILL)
        self._operator.wait(SETTLED)

    def stop_operator(self) -> int | None:
        """SIGTERM; returns the exit code."""
        return _stop(self._operator)

    def kill_tracker(self) -> None:
        """SIGKILL."""
        assert self._tracker is not None, "the tracker was not started"
        self._tracker.send_signal(signal.SIGKILL)
        self._tracker.wait(SETTLED)

    def stop_tracker(self) -> int | None:
        """SIGTERM; returns the exit code."""
        return _stop(self._tracker)

    def operator_log(self) -> str:
        """What the operator has logged, over all its lives."""
        return (self.home / "operator.log").read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The operator's log lines of one event, over all its lives."""
        lines = (line for line in self.operator_log().splitlines() if line.startswith("{"))
        return [line for line in map(json.loads, lines) if line.get("event") == event]

    def metrics(self) -> dict[str, float]:
        """The operator's metrics: sample with labels -> value."""
        lines = (_text(f"http://127.0.0.1:{self.addresses.probes}/metrics") or "").splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def _spawn(self, command: str, arguments: list[str], settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.home / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "rollbook", command, *arguments],
                env={**os.environ, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes] | None) -> int | None:
    if process is None:
        return None
    if process.poll() is None:
        process.terminate()
    return process.wait(SETTLED)


def _text(url: str) -> str | None:
    try:
        return httpx.get(url, timeout=5).text
    except httpx.TransportError:
        return None
