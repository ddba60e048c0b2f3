"""`ControlPlane`: a real Kubernetes control plane of one's own, up in seconds, gone without a trace."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.controlplane import components
from tests.controlplane.api import KubeApi, Object
from tests.controlplane.audit import Request, requests
from tests.controlplane.binaries import provide
from tests.controlplane.installing import SHIPPED_NAMESPACE, install, new_namespace, service_account_token
from tests.controlplane.kubeconfig import kubeconfig
from tests.controlplane.progress import Say, to_stderr

START_WITHIN = 60.0
"""Seconds that a cluster may take to start; three is normal, a busy machine needs more."""

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ControlPlaneError(RuntimeError):
    """A process of the control plane ended, or did not get ready; the message has the end of its log."""


class ControlPlane:
    """etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok on loopback ports of their own.

    Several may run side by side. All processes end, and the directory goes, with `stop()`, with the `with`
    block, or with the process that started them, however that ends.

    Args:
        nodes: How many nodes kwok plays.
        binaries: Directory to look for binaries in first; default: `KUBEBUILDER_ASSETS`.
        say: Takes lines of progress.
    """

    def __init__(self, *, nodes: int = 3, binaries: Path | None = None, say: Say = to_stderr) -> None:
        self._nodes = nodes
        self._directory = binaries
        self._say = say
        self._supervisor: subprocess.Popen[str] | None = None
        self._pids: dict[str, int] = {}

    def start(self) -> Self:
        """Start and wait until pods can be scheduled.

        Raises:
            ControlPlaneError: A process ended or did not get ready; everything is stopped by then.
        """
        began = time.monotonic()
        self._binaries = provide(self._directory, say=self._say)
        self._layout = components.plan_layout(Path(tempfile.mkdtemp(prefix="rollbook-controlplane-")))
        try:
            self._bring_up(began + START_WITHIN)
        except BaseException:
            self.stop()
            raise
        self._say(f"Kubernetes is ready at {self.server} after {time.monotonic() - began:.1f} s")
        return self

    def _bring_up(self, deadline: float) -> None:
        layout, binaries = self._layout, self._binaries
        components.write_files(layout)
        self._supervisor = self._start_supervisor()
        self._run("etcd", components.etcd(layout, binaries))
        self._await("etcd", lambda: _accepts(layout.etcd_port), deadline)
        self._run("kube-apiserver", components.apiserver(layout, binaries))
        self._await("kube-apiserver", self._api_ready, deadline)
        components.write_kubeconfigs(layout)
        for number in range(self._nodes):
            self.api.create(components.node(number))
        self._run("kube-controller-manager", components.controller_manager(layout, binaries))
        self._run("kube-scheduler", components.scheduler(layout, binaries))
        self._run("kwok", components.kwok(layout, binaries))
        self._await("kwok", self._nodes_ready, deadline)
        self._await("kube-controller-manager", self._default_account_made, deadline)

    def _start_supervisor(self) -> subprocess.Popen[str]:
        # -I: needs nothing of ours; a session of its own: Ctrl-C reaches only the parent, which then lets go
        return subprocess.Popen(
            [sys.executable, "-I", _SUPERVISOR, self._layout.home, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _run(self, name: str, argv: list[str]) -> None:
        """Have the supervisor start a process, in the cluster's directory as its home."""
        home = str(self._layout.home)
        env = {"HOME": home, "PATH": os.environ.get("PATH", "")}
        order = {"argv": argv, "env": env, "log": str(self._layout.log(name))}
        assert self._supervisor is not None
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        self._supervisor.stdin.write(json.dumps(order) + "\n")
        self._supervisor.stdin.flush()
        answer = self._supervisor.stdout.readline()
        if not answer:
            raise ControlPlaneError(f"cannot start {argv[0]}")
        self._pids[name] = int(answer)

    def _await(self, name: str, ready: Callable[[], bool], deadline: float) -> None:
        while not ready():
            ended = [one for one, pid in self._pids.items() if not _alive(pid)]
            if ended or time.monotonic() > deadline:
                what = f"{ended[0]} ended" if ended else f"{name} is not ready in {START_WITHIN:.0f} s"
                log = self._layout.log(ended[0] if ended else name)
                raise ControlPlaneError(f"{what}; its log ends with:\n{log.read_text()[-3000:]}")
            time.sleep(0.02)

    def _api_ready(self) -> bool:
        if not (self._layout.ca.exists() and _accepts(self._layout.api_port)):
            return False
        try:
            return self.api.http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _nodes_ready(self) -> bool:
        nodes = self.api.find("v1", "Node")
        return all(_has_condition(node, "Ready") for node in nodes)

    def _default_account_made(self) -> bool:
        return bool(self.api.find("v1", "ServiceAccount", "default"))

    def stop(self) -> None:
        """Kill all processes and remove the directory. Does nothing when stopped already."""
        if (supervisor := self._supervisor) is None:
            return
        self._supervisor = None
        if api := self.__dict__.pop("api", None):
            api.close()
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            supervisor.stdin.close()
        supervisor.wait()
        supervisor.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)  # left only where the supervisor was killed

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._layout.server

    @property
    def ca(self) -> Path:
        """File with the certificate to trust."""
        return self._layout.ca

    @property
    def admin_token(self) -> str:
        """Bearer token of the admin, who may do everything."""
        return self._layout.tokens[components.ADMIN]

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""
        return self._layout.kubeconfig(components.ADMIN)

    @property
    def home(self) -> Path:
        """The cluster's directory: logs of its processes, kubeconfigs; gone after `stop()`."""
        return self._layout.home

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object per line; see `audit`."""
        return self._layout.audit_log

    @property
    def pids(self) -> Mapping[str, int]:
        """Process ids by name, e.g. `etcd`, `kube-controller-manager`."""
        return dict(self._pids)

    @property
    def apiserver_pid(self) -> int:
        """The API server's process id."""
        return self._pids["kube-apiserver"]

    @cached_property
    def api(self) -> KubeApi:
        """Requests as the admin."""
        return KubeApi(server=self.server, ca=self.ca, token=self.admin_token)

    def kubectl(self, *arguments: str, stdin: str | None = None, within: float = 60) -> str:
        """Run `kubectl` as the admin and return what it prints.

        Args:
            arguments: Its command line.
            stdin: Text for `-f -`.
            within: Seconds it may take.

        Raises:
            ControlPlaneError: It failed; the message has what it said.
        """
        done = subprocess.run(
            [self._binaries.kubectl, *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        if done.returncode:
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def install(self, namespace: str = SHIPPED_NAMESPACE) -> list[Object]:
        """Apply `crds/` and `deploy/`, as `installing.install`."""
        return install(self.api, namespace)

    def new_namespace(self, *, prefix: str = "test", labels: Mapping[str, str] | None = None) -> str:
        """Create a fresh namespace and return its name, as `installing.new_namespace`."""
        return new_namespace(self.api, prefix=prefix, labels=labels)

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 3600) -> Path:
        """A kubeconfig that acts as a ServiceAccount, with nothing but its rights.

        Args:
            namespace: The ServiceAccount's.
            name: The ServiceAccount's.
            seconds: For how long the token is good.
        """
        token = service_account_token(self.api, namespace, name, seconds=seconds)
        path = self.home / f"{namespace}.{name}.kubeconfig"
        path.write_text(kubeconfig(server=self.server, ca=self.ca, user=name, token=token, namespace=namespace))
        return path

    def audit(self, *, user: str = "", verb: str = "", after: int = 0) -> list[Request]:
        """What was asked of the API so far, as `audit.requests`; `after` takes an earlier `audit_size`."""
        return list(requests(self.audit_log, user=user, verb=verb, after=after))

    @property
    def audit_size(self) -> int:
        """Size of the audit log now, in bytes."""
        return self.audit_log.stat().st_size


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _has_condition(obj: Object, kind: str) -> bool:
    conditions = obj.get("status", {}).get("conditions", [])
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)
