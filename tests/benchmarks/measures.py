"""What processes, etcd and the API server say of themselves. Linux only, for /proc."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.controlplane.audit import Request
from tests.controlplane.cluster import ControlPlane

MB = 1_000_000
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """CPU seconds that a process has used, of all its threads."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = after_name[11], after_name[12]
    return (int(user) + int(system)) / _TICKS


def peak_memory(pid: int) -> float:
    """The most that was ever resident (VmHWM), in MB."""
    return _status(pid, "VmHWM")


def _status(pid: int, field: str) -> float:
    match = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match, f"/proc/{pid}/status has no {field}"
    return int(match[1]) * 1024 / MB


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneCost:
    """What the control plane holds, in MB.

    Args:
        resident: The API server's RSS after a collection. What Go has not given back yet is in it.
        live: The API server's heap after a collection.
        etcd: What is used of etcd's database, with all revisions since the last compaction.
        etcd_compacted: The same once only the newest revisions are left.
    """

    resident: float
    live: float
    etcd: float
    etcd_compacted: float


def control_plane_cost(cluster: ControlPlane) -> ControlPlaneCost:
    """Collect, compact and look; a second or two."""
    for _ in range(2):
        heap = str(cluster.api.request("GET", "/debug/pprof/heap", params={"gc": "1", "debug": "1"}))
    time.sleep(1)  # in which Go gives back what it frees
    live = re.search(r"^# HeapAlloc = (\d+)", heap, re.MULTILINE)
    assert live, "the API server's heap profile has no HeapAlloc"
    resident = _status(cluster.apiserver_pid, "VmRSS")
    etcd, compacted = _etcd(f"http://127.0.0.1:{cluster._layout.etcd_port}")
    return ControlPlaneCost(resident=resident, live=int(live[1]) / MB, etcd=etcd, etcd_compacted=compacted)


def _etcd(url: str) -> tuple[float, float]:
    """MB in use before and after a compaction, by etcd's JSON gateway."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as etcd:

        def status() -> dict[str, Any]:
            found: dict[str, Any] = etcd.post("/v3/maintenance/status", json={}).raise_for_status().json()
            return found

        before = status()
        wanted = {"revision": before["header"]["revision"], "physical": True}
        etcd.post("/v3/kv/compaction", json=wanted).raise_for_status()
        etcd.post("/v3/kv/put", json={"key": "YmVuY2g=", "value": ""})  # only the next commit frees its pages
        time.sleep(0.5)
        return int(before["dbSizeInUse"]) / MB, int(status()["dbSizeInUse"]) / MB


class Audit:
    """One user's requests, as the API server's audit log has them."""

    def __init__(self, cluster: ControlPlane, user: str) -> None:
        self._cluster = cluster
        self._user = user

    def mark(self) -> int:
        """Now."""
        return self._cluster.audit_size

    def since(self, mark: int) -> list[Request]:
        """The requests since then, oldest first."""
        return self._cluster.audit(user=self._user, after=mark)


def counted(requests: Iterable[Request]) -> Counter[str]:
    """By `<verb> <resource>`."""
    return Counter(f"{each.verb} {each.resource or each.uri.partition('?')[0]}" for each in requests)


def without_lease(requests: Iterable[Request]) -> Iterator[Request]:
    """All but the leader election's own."""
    return (each for each in requests if not each.resource.endswith("/leases"))


def without_watches(requests: Iterable[Request]) -> Iterator[Request]:
    """All but watches."""
    return (each for each in requests if each.verb != "watch")


def writes(requests: Iterable[Request]) -> Iterator[Request]:
    """What changed something, or tried to."""
    return (each for each in requests if each.verb not in {"get", "list", "watch"})


def ended_at(request: Request) -> int:
    """When it was answered, in ns since the epoch."""
    return nanoseconds(request.raw["stageTimestamp"])


def nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of an ISO time, exact to the microsecond."""
    since = datetime.fromisoformat(text).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
