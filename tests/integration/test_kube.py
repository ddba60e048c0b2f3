"""The cluster's side of Rollbook on a real control plane: rollouts as they are, conflicts as they come."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from rollbook.core.errors import Conflict, NotFound
from rollbook.core.look import View
from rollbook.core.projection import Record, records as project_records
from rollbook.core.slot import Entry, Slot, SlotKey
from rollbook.core.transition import Artifact, Identity, Phase, RecordStatus, Stamp, TimeSource
from rollbook.core.workload import WorkloadRef
from rollbook.kube.answers import NamespaceNotFound, Terminating
from rollbook.kube.client import Kube
from rollbook.kube.cluster import Cluster
from rollbook.kube.deployments import project
from rollbook.kube.lease import Lease, Timing
from rollbook.kube.ledger import Ledger
from rollbook.kube.records import Records
from rollbook.kube.wire import Bare
from tests import builders
from tests.controlplane import images
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.pods import complete
from tests.unit.kube.api import eventually

pytestmark = pytest.mark.controlplane

IMAGE = builders.IMAGE
OTHER = "registry.example/shop/web:2"
REPOSITORY = "registry.example/shop/web"


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    client = await Kube.connect(control_plane.kubeconfig)
    yield client
    await client.close()


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with our custom resources."""
    control_plane.install()
    return control_plane


@pytest.fixture
def ops(installed: ControlPlane) -> Iterator[str]:
    """A namespace for slots and a Lease."""
    name = installed.new_namespace(prefix="ops")
    yield name
    installed.api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@asynccontextmanager
async def mirrored(kube: Kube, hint: Callable[[WorkloadRef], None]) -> AsyncIterator[Cluster]:
    """A cluster whose mirrors run."""
    cluster = Cluster(kube, hint=hint, on_error=pytest.fail)
    tasks = [asyncio.create_task(each.run()) for each in (cluster.pod_mirror, cluster.replica_set_mirror)]
    try:
        await asyncio.wait_for(cluster.synced(), 20)
        yield cluster
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def running(view: View) -> list[tuple[str, bool, str]]:
    """Of the pods that stay: revision, readiness and image ID."""
    revisions = {each.uid: each.revision for each in view.replica_sets}
    return sorted(
        (revisions[pod.owner], pod.ready, state.image_id)
        for pod in view.pods
        if not pod.leaving
        for state in pod.containers
    )


def completed(control_plane: ControlPlane, namespace: str) -> bool:
    return complete(control_plane.api.get("apps/v1", "Deployment", "web", namespace))


def shows(image: str) -> str:
    return f"{REPOSITORY}@{images.digest(image)}"


async def test_views_follow_real_rollouts(control_plane: ControlPlane, kube: Kube, namespace: str) -> None:
    ref = WorkloadRef(namespace=namespace, name="web")
    hints: list[WorkloadRef] = []
    web = builders.deployment("web", namespace=namespace, replicas=3)
    async with mirrored(kube, hints.append) as cluster:
        control_plane.api.apply(web)
        await eventually(lambda: running(cluster.view(ref)) == [("1", True, shows(IMAGE))] * 3, within=20)
        assert ref in hints
        control_plane.kubectl("set", "image", "deployment/web", f"app={OTHER}", "-n", namespace)
        await eventually(lambda: running(cluster.view(ref)) == [("2", True, shows(OTHER))] * 3, within=20)
        (new,) = [each for each in cluster.view(ref).replica_sets if each.revision == "2"]
        assert (new.containers, new.reused) == ((("app", OTHER),), False)
        control_plane.kubectl("rollout", "undo", "deployment/web", "-n", namespace)
        await eventually(lambda: running(cluster.view(ref)) == [("3", True, shows(IMAGE))] * 3, within=20)
        (again,) = [each for each in cluster.view(ref).replica_sets if each.revision == "3"]
        assert again.reused
        control_plane.api.delete(web)
        await eventually(lambda: not cluster.view(ref).replica_sets and not cluster.view(ref).pods, within=20)


async def test_a_quiet_workload_is_not_hinted_at_again(
    control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    ref = WorkloadRef(namespace=namespace, name="web")
    hints: list[WorkloadRef] = []
    async with mirrored(kube, hints.append) as cluster:
        control_plane.api.apply(builders.deployment("web", namespace=namespace))
        await eventually(lambda: running(cluster.view(ref)) == [("1", True, shows(IMAGE))], within=20)
        (pod,) = cluster.view(ref).pods
        events, told = cluster.pod_mirror.counters.events, len(hints)
        control_plane.kubectl("label", "pods", "-n", namespace, "-l", "app=web", "some=label")
        await eventually(lambda: cluster.pod_mirror.counters.events > events, within=20)
        assert cluster.view(ref).pods == (pod,)
        assert len(hints) == told


async def test_orphaned_pods_are_still_seen_as_the_workloads(
    control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    ref = WorkloadRef(namespace=namespace, name="web")
    control_plane.api.apply(builders.deployment("web", namespace=namespace))
    async with mirrored(kube, lambda _: None) as cluster:
        await eventually(lambda: running(cluster.view(ref)) == [("1", True, shows(IMAGE))], within=20)
        control_plane.kubectl("delete", "deployment/web", "-n", namespace, "--cascade=orphan")
        await eventually(lambda: [each.owner for each in cluster.view(ref).replica_sets] == [""], within=20)
        assert len(running(cluster.view(ref))) == 1
    async with mirrored(kube, lambda _: None) as restarted:
        assert [each.owner for each in restarted.view(ref).replica_sets] == [""]
        assert len(running(restarted.view(ref))) == 1


async def test_a_deployment_is_read_as_it_is(control_plane: ControlPlane, kube: Kube, namespace: str) -> None:
    applied = control_plane.api.apply(
        builders.deployment("web", namespace=namespace, annotations={"rollbook.dev/track": "true"})
    )[0]
    ref = WorkloadRef(namespace=namespace, name="web")
    cluster = Cluster(kube, hint=lambda _: None, on_error=pytest.fail)

    await eventually(lambda: completed(control_plane, namespace), within=20)
    await cluster.read(ref)
    deployment = cluster.view(ref).deployment
    assert deployment is not None
    assert (deployment.revision, deployment.annotations) == ("1", {"track": "true"})
    assert deployment.containers == (("app", IMAGE),)
    assert (deployment.updated_replicas, deployment.available_replicas) == (1, 1)
    assert deployment.progressing is not None
    assert deployment.progressing.reason == "NewReplicaSetAvailable"
    assert deployment.created <= deployment.progressing.updated
    assert (
        project(control_plane.api.get("apps/v1", "Deployment", "web", namespace)).uid == applied["metadata"]["uid"]
    )


async def test_a_sweep_finds_what_no_event_told(control_plane: ControlPlane, kube: Kube, namespace: str) -> None:
    gone, here = builders.deployment("gone", namespace=namespace), builders.deployment("here", namespace=namespace)
    cluster = Cluster(kube, hint=lambda _: None, on_error=pytest.fail)
    control_plane.api.apply(gone)
    await cluster.read(WorkloadRef(namespace=namespace, name="gone"))
    control_plane.api.apply(here)
    control_plane.api.delete(gone)
    sweep = await cluster.sweep()
    assert sweep.complete
    assert sweep.missing == (WorkloadRef(namespace=namespace, name="gone"),)
    assert WorkloadRef(namespace=namespace, name="here") in sweep.unheard
    assert await cluster.exists(sweep.missing[0]) is False
    assert await cluster.exists(WorkloadRef(namespace=namespace, name="here")) is True


async def test_a_list_goes_on_page_by_page(control_plane: ControlPlane, kube: Kube, namespace: str) -> None:
    for number in range(5):
        control_plane.api.create(_config_map(f"c{number}", namespace))
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    pages = [page async for page in kube.list_pages(path, Bare, limit=2)]
    names = {item.metadata.name for page in pages for item in page.items}
    assert {f"c{number}" for number in range(5)} <= names
    assert len(pages) >= 3
    assert len({page.metadata.resource_version for page in pages}) == 1


def _config_map(name: str, namespace: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


async def test_the_api_servers_refusals_are_ours(installed: ControlPlane, kube: Kube) -> None:
    missing = "/apis/rollbook.dev/v1alpha1/namespaces/no-such-namespace/deploymentrecords"
    body = {
        "apiVersion": "rollbook.dev/v1alpha1",
        "kind": "DeploymentRecord",
        "metadata": {"name": "a"},
        "spec": {"environment": "e", "artifact": {"kind": "CONTAINER_IMAGE", "name": "n", "reference": "r"}},
    }
    with pytest.raises(NamespaceNotFound):
        await kube.create(missing, body)
    with pytest.raises(NotFound):
        await kube.get("/apis/rollbook.dev/v1alpha1/nosuchthings")
    namespace = installed.new_namespace()
    held = _config_map("held", namespace)
    held["metadata"]["finalizers"] = ["test.rollbook.dev/held"]
    installed.api.create(held)
    installed.api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    with pytest.raises(Terminating):
        await kube.create(missing.replace("no-such-namespace", namespace), body)
    installed.api.patch(held, {"metadata": {"finalizers": None}}, kind="merge-patch")


def _slot(namespace: str, seq: int = 1) -> Slot:
    workload = WorkloadRef(namespace=namespace, name="web")
    stamp = Stamp(time=1_772_359_200_000, source=TimeSource.OBSERVED)
    entry = Entry(
        number=1,
        artifact=Artifact(name=REPOSITORY, reference=IMAGE, version="1.0.0", digest=images.digest(IMAGE)),
        identity=Identity(deployment_name=f"{namespace}/web/app", application="web"),
        phase=Phase.SUCCEEDED,
        started=stamp,
        ended=replace(stamp, time=stamp.time + 12_000),
        status=RecordStatus.DEPLOYED,
        since=stamp,
    )
    key = SlotKey(cluster="c", environment="prod", workload=workload, container="app")
    return Slot(key=key, seq=seq, clock=stamp.time, workload_uid="u", current=entry)


async def test_slots_are_stored_and_conflicts_are_read_again(kube: Kube, ops: str) -> None:
    ours, theirs = Ledger(kube, ops), Ledger(kube, ops)
    slot = _slot("shop")
    name = slot.key.object_name
    uid = await ours.save(slot)
    await theirs.load()
    stored = theirs.get(name)
    assert stored is not None
    assert (stored.slot, stored.uid) == (slot, uid)
    await theirs.save(replace(slot, seq=2))
    with pytest.raises(Conflict):
        await ours.save(replace(slot, seq=3))
    again = ours.get(name)
    assert again is not None
    assert again.slot.seq == 2
    assert await ours.save(replace(slot, seq=3)) == uid
    with pytest.raises(Conflict):
        await theirs.delete(name)
    await theirs.delete(name)
    with pytest.raises(Conflict):
        await ours.save(replace(slot, seq=4))
    assert await ours.save(replace(slot, seq=4)) != uid


def _records(slot: Slot) -> tuple[Record, ...]:
    return project_records(slot, sinks={}, owed=lambda _key, _transition: False)


def _find(control_plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    return control_plane.api.find("rollbook.dev/v1alpha1", "DeploymentRecord", namespace)


async def test_records_are_published_and_put_right(installed: ControlPlane, kube: Kube, namespace: str) -> None:
    lost: list[str] = []
    requests: list[tuple[str, str]] = []
    slot = _slot(namespace)
    name = slot.key.object_name
    records = Records(kube, lost.append)
    kube.observer = lambda verb, resource, _status, _seconds: requests.append((verb, resource))
    await records.publish(name, _records(slot))
    made = [("POST", "deploymentrecords"), ("PATCH", "deploymentrecords"), ("PATCH", "deploymentrecords/status")]
    assert requests == made
    (stored,) = _find(installed, namespace)
    assert "managedFields" not in stored["metadata"]
    assert stored["status"]["status"] == "DEPLOYED"
    assert stored["status"]["observedGeneration"] == stored["metadata"]["generation"]

    requests.clear()
    restarted = Records(kube, lost.append)
    await restarted.load()
    requests.clear()
    await restarted.publish(name, _records(slot))
    await records.publish(name, _records(slot))
    records.heard(stored, deleted=False)
    restarted.heard(stored, deleted=False)
    assert (requests, lost) == ([], [])

    edited = installed.api.patch(
        stored, {"status": {"status": "SUPERSEDED"}}, subresource="status", kind="merge-patch"
    )
    records.heard(edited, deleted=False)
    assert lost == [name.rpartition("-")[2]]
    await records.publish(name, _records(slot))
    assert [each["status"]["status"] for each in _find(installed, namespace)] == ["DEPLOYED"]

    await records.publish(name, ())
    assert _find(installed, namespace) == []


async def test_one_of_two_leads_and_the_other_follows(kube: Kube, ops: str) -> None:
    timing = Timing(duration=2.0, deadline=1.0, renew=0.2, retry=0.1)
    errors: list[str] = []
    lost: list[str] = []
    first, second = (
        Lease(kube, ops, lost=lambda: lost.append("lost"), on_error=errors.append, timing=timing) for _ in range(2)
    )
    await first.acquire("first")
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire("second"))
    await asyncio.wait([waiting], timeout=timing.duration * 1.5)
    assert (first.held, second.held, waiting.done()) == (True, False, False)
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await asyncio.wait_for(waiting, 10)
    assert (first.held, second.held) == (False, True)
    assert second.created_at == first.created_at > 0
    third = Lease(kube, ops, lost=lambda: None, on_error=errors.append, timing=timing)
    await second.release()
    await asyncio.wait_for(third.acquire("third"), 1)
    assert (third.held, lost, errors) == (True, [], [])
