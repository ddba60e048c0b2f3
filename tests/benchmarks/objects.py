"""What our objects cost the API server: bytes of JSON, and memory for each.

    python -m tests.benchmarks.objects [--count 3000]

Every row has a control plane of its own. After the writes the API server also holds their history, for watches;
that passes, so it is measured there (`written`) and again after a restart, when it holds the objects alone
(`live` of its heap after a forced collection, `resident` of the process).

An object from which managedFields were once removed by a merge patch (`metadata.managedFields: [{}]`) gets none
again; rows show what that saves.
"""

import argparse
import functools
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rollbook.core.projection import Record, records
from rollbook.core.slot import Slot
from rollbook.crd.slot import changes, encode
from tests.controlplane import components
from tests.controlplane.api import KubeApi, KubeError, Object, eventually
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.installing import new_namespace
from tests.unit.crd.samples import CURRENT, KEY, SLOT

CRDS = Path(__file__).parents[2] / "crds"
IN_FLIGHT = 8
STRIPPED: Object = {"metadata": {"managedFields": [{}]}}
SINKS = dict(zip(SLOT.cursors, ("audit", "builds", "change-board"), strict=True))
FULL = replace(SLOT, digests=tuple(f"sha256:{number:064x}" for number in range(20)))

Writer = Callable[[KubeApi, str, int], Object]
"""Writes the object of a number into a namespace and returns what is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of the API server, in bytes."""

    live: int
    resident: int


def numbered(slot: Slot, number: int) -> Slot:
    """The slot of another workload, with texts of its own: equal strings may be stored once."""
    name = f"api-{number:05}"
    key = replace(KEY, workload=replace(KEY.workload, name=name))
    identity = replace(CURRENT.identity, deployment_name=f"payments/{name}/app", application=name)
    digest = f"sha256:{number:064x}"
    current = replace(CURRENT, identity=identity, artifact=replace(CURRENT.artifact, digest=digest))
    return replace(slot, key=key, current=current)


def write_slot(api: KubeApi, namespace: str, number: int) -> Object:
    """As the ledger does: created, and changed once."""
    slot = numbered(SLOT, number)
    obj = encode(slot)
    obj["metadata"]["namespace"] = namespace
    api.create(obj)
    return api.patch(obj, changes(slot), kind="merge-patch")


def write_stripped_slot(api: KubeApi, namespace: str, number: int) -> Object:
    """The same, without managedFields."""
    return api.patch(write_slot(api, namespace, number), STRIPPED, kind="merge-patch")


def write_full_slot(api: KubeApi, namespace: str, number: int) -> Object:
    """A slot that has seen twenty digests."""
    obj = encode(numbered(FULL, number))
    obj["metadata"]["namespace"] = namespace
    return api.create(obj)


def write_record(api: KubeApi, namespace: str, number: int) -> Object:
    """As the publisher does: created, then its status."""
    made: Record = records(numbered(SLOT, number), sinks=SINKS, owed=lambda _sink, _transition: True)[0]
    obj: dict[str, Any] = {
        "apiVersion": "rollbook.dev/v1alpha1",
        "kind": "DeploymentRecord",
        "metadata": {"name": made.name, "namespace": namespace, "labels": made.labels},
        "spec": made.spec,
    }
    api.create(obj)
    status = {"observedGeneration": 1, **made.status}
    return api.patch(obj, {"status": status}, subresource="status", kind="merge-patch")


def write_stripped_record(api: KubeApi, namespace: str, number: int) -> Object:
    """The same, without managedFields."""
    return api.patch(write_record(api, namespace, number), STRIPPED, kind="merge-patch")


ROWS: dict[str, Writer] = {
    "slot": write_slot,
    "slot, without managedFields": write_stripped_slot,
    "slot with 20 digests": write_full_slot,
    "record": write_record,
    "record, without managedFields": write_stripped_record,
}


def memory(cluster: ControlPlane) -> Memory:
    """Once the heap stands still: what starts with the server settles first."""
    live = [_live(cluster.api)]
    while len(live) < 2 or abs(live[-1] - live[-2]) > live[-1] / 200:
        time.sleep(2)
        live.append(_live(cluster.api))
    status = Path(f"/proc/{cluster.apiserver_pid}/status").read_text()
    resident = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert resident
    return Memory(live=live[-1], resident=int(resident[1]) * 1024)


def _live(api: KubeApi) -> int:
    heap = str(api.request("GET", "/debug/pprof/heap", params={"gc": "1", "debug": "1"}))
    found = re.search(r"^# HeapAlloc = (\d+)", heap, re.MULTILINE)
    assert found
    return int(found[1])


def restarted(cluster: ControlPlane) -> Memory:
    """Start the API server anew, have it load our objects, and look."""
    process = Path(f"/proc/{cluster.apiserver_pid}")
    os.kill(cluster.apiserver_pid, signal.SIGKILL)
    eventually(lambda: not process.exists())
    cluster._run("kube-apiserver", components.apiserver(cluster._layout, cluster._binaries))
    eventually(cluster._api_ready, within=60)
    for kind in ("EnvironmentSlot", "DeploymentRecord"):
        path = eventually(functools.partial(_served, cluster.api, kind), within=60)
        cluster.api.request("GET", path, params={"resourceVersion": "0", "limit": "1"})
    return memory(cluster)


def _served(api: KubeApi, kind: str) -> str:
    try:
        return api.path("rollbook.dev/v1alpha1", kind)
    except (LookupError, KubeError):
        return ""


def measure(write: Writer, count: int) -> tuple[Object, Sequence[int]]:
    """A stored object; what one more costs: written, live and resident."""
    with ControlPlane(nodes=0, say=lambda _line: None) as cluster, ThreadPoolExecutor(IN_FLIGHT) as pool:
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        namespace = new_namespace(cluster.api)
        write(cluster.api, namespace, count)
        before = restarted(cluster)
        *_, last = pool.map(lambda number: write(cluster.api, namespace, number), range(count))
        written, after = memory(cluster), restarted(cluster)
    growth = (written.live - before.live, after.live - before.live, after.resident - before.resident)
    return last, [each // count for each in growth]


def rows(count: int) -> Iterator[tuple[str, ...]]:
    """The table, row by row."""
    for name, write in ROWS.items():
        obj, cost = measure(write, count)
        bare = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}
        ours = {k: v for k, v in bare.items() if k != "metadata"}
        sizes = [len(_json(each)) for each in (ours, bare, obj)]
        yield name, *(f"{figure:,}" for figure in (*sizes, *cost))


def _json(obj: Object) -> bytes:
    return json.dumps(obj, separators=(",", ":")).encode()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=3000, help="objects of each kind")
    count = parser.parse_args().count
    table = Table(title=f"bytes for each of {count} objects")
    table.add_column("object")
    for column in ("ours", "+ metadata", "stored", "written", "live", "resident"):
        table.add_column(column, justify="right")
    for row in rows(count):
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
