"""Views of workloads, hints at them, and sweeps, which must never take a failure for a deletion."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from rollbook.core.workload import Deployment, Namespace, WorkloadRef
from rollbook.kube.client import Kube
from rollbook.kube.cluster import Cluster
from rollbook.kube.deployments import project
from rollbook.kube.wire import METADATA_LIST, METADATA_ONLY
from tests.unit.kube.api import Api
from tests.unit.kube.test_projections import raw_deployment, raw_pod, raw_replica_set

WEB = WorkloadRef(namespace="shop", name="web")


@pytest.fixture
def hints() -> list[WorkloadRef]:
    return []


@pytest.fixture
def cluster(kube: Kube, hints: list[WorkloadRef]) -> Cluster:
    return Cluster(kube, hint=hints.append, on_error=pytest.fail)


def deployment(name: str = "web", uid: str | None = None, **changes: Any) -> Deployment:
    raw = raw_deployment()
    raw["metadata"] |= {"name": name, "uid": uid or f"uid-deployments-shop-{name}", **changes}
    return project(raw)


def store(api: Api, name: str) -> None:
    raw = raw_deployment()
    raw["metadata"].pop("uid")
    raw["metadata"].pop("name")
    api.put("deployments", "shop", name, **raw)


async def test_pods_hint_at_their_workload_through_its_replica_sets(
    api: Api, cluster: Cluster, hints: list[WorkloadRef]
) -> None:
    api.put("replicasets", "shop", "web-5d4f", **raw_replica_set())
    api.put("pods", "shop", "p", **raw_pod())
    async with asyncio.TaskGroup() as tasks:
        mirrors = [tasks.create_task(each.run()) for each in (cluster.pod_mirror, cluster.replica_set_mirror)]
        await asyncio.wait_for(cluster.synced(), 5)
        for each in mirrors:
            each.cancel()
    view = cluster.view(WEB)
    assert [each.uid for each in view.replica_sets] == ["rs"]
    assert [each.uid for each in view.pods] == ["p"]
    assert (view.deployment, view.namespace) == (None, None)
    assert set(hints) == {WEB}


def test_what_changes_nothing_is_not_hinted_at(cluster: Cluster, hints: list[WorkloadRef]) -> None:
    cluster.hear_deployment(deployment())
    cluster.hear_deployment(deployment())
    cluster.hear_namespace(Namespace(name="shop"))
    cluster.hear_namespace(Namespace(name="shop"))
    cluster.hear_namespace(Namespace(name="other"))
    assert hints == [WEB, WEB]
    view = cluster.view(WEB)
    assert (view.deployment, view.namespace) == (deployment(), Namespace(name="shop"))


def test_what_a_rollout_under_way_brings_along_is_only_murmured(kube: Kube, hints: list[WorkloadRef]) -> None:
    murmurs: list[WorkloadRef] = []
    cluster = Cluster(kube, hint=hints.append, on_error=pytest.fail, murmur=murmurs.append)
    half = replace(deployment(), replicas=3, current_replicas=3, updated_replicas=1)
    cluster.hear_deployment(half)
    cluster.hear_deployment(replace(half, updated_replicas=2))
    assert (hints, murmurs) == ([WEB], [WEB])
    done = replace(half, updated_replicas=3, available_replicas=3, observed_generation=half.generation)
    cluster.hear_deployment(done)
    assert (hints, murmurs) == ([WEB, WEB], [WEB])


def test_a_deployment_is_forgotten_only_by_its_uid(cluster: Cluster, hints: list[WorkloadRef]) -> None:
    cluster.hear_deployment(deployment(uid="new"))
    cluster.forget_deployment(WEB, "old")
    assert cluster.view(WEB).deployment is not None
    cluster.forget_deployment(WEB, "new")
    cluster.forget_deployment(WEB, "new")
    assert cluster.view(WEB).deployment is None
    assert list(cluster.deployments()) == []
    assert hints == [WEB, WEB]


def test_a_namespace_that_goes_hints_at_its_workloads(cluster: Cluster, hints: list[WorkloadRef]) -> None:
    cluster.hear_namespace(Namespace(name="shop"))
    cluster.hear_deployment(deployment())
    cluster.forget_namespace("shop")
    cluster.forget_namespace("shop")
    assert cluster.namespace("shop") is None
    assert hints == [WEB, WEB]


async def test_a_sweep_forgets_what_is_proven_gone(api: Api, cluster: Cluster, hints: list[WorkloadRef]) -> None:
    for name in ("web", "replaced", "unheard"):
        store(api, name)
    for each in (deployment(), deployment("gone"), deployment("replaced", uid="earlier")):
        cluster.hear_deployment(each)
    hints.clear()
    sweep = await cluster.sweep()
    assert sweep.complete
    assert {ref.name for ref in sweep.missing} == {"gone", "replaced"}
    assert {ref.name for ref in sweep.unheard} == {"replaced", "unheard"}
    assert {each.ref.name for each in cluster.deployments()} == {"web"}
    assert {ref.name for ref in hints} == {"gone", "replaced"}
    assert {each.headers["accept"] for each in api.seen} == {METADATA_LIST, METADATA_ONLY}


async def test_a_deployment_created_during_a_sweep_is_not_missing(api: Api, cluster: Cluster) -> None:
    cluster.hear_deployment(deployment())
    api.faults.append(("GET", "/deployments/web", lambda: store(api, "web")))
    sweep = await cluster.sweep()
    assert (sweep.complete, sweep.missing) == (True, ())


@pytest.mark.parametrize("code", [403, 404, 410, 429, 500])
async def test_a_sweep_that_could_not_list_forgets_nothing(api: Api, cluster: Cluster, code: int) -> None:
    cluster.hear_deployment(deployment())
    api.refuse("GET", "/deployments", code)
    sweep = await cluster.sweep()
    assert (sweep.complete, sweep.missing) == (False, ())
    assert str(code) in sweep.error
    assert cluster.view(WEB).deployment is not None


async def test_a_sweep_that_lost_a_page_forgets_nothing(api: Api, cluster: Cluster) -> None:
    for number in range(501):
        store(api, f"w{number:03}")
    cluster.hear_deployment(deployment("gone"))
    api.faults.append(("GET", "/deployments", lambda: api.refuse("GET", "/deployments", 410)))
    assert not (await cluster.sweep()).complete
    assert len(list(cluster.deployments())) == 1


async def test_a_sweep_that_could_not_confirm_forgets_nothing(api: Api, cluster: Cluster) -> None:
    for name in ("a", "b", "c"):
        cluster.hear_deployment(deployment(name))
    api.refuse("GET", "/deployments/b", 503)
    assert not (await cluster.sweep()).complete
    assert len(list(cluster.deployments())) == 3


async def test_whether_a_deployment_exists_may_be_unknown(api: Api, cluster: Cluster) -> None:
    store(api, "web")
    assert await cluster.exists(WEB) is True
    api.refuse("GET", "/web", 503)
    assert await cluster.exists(WEB) is None
    api.objects.clear()
    assert await cluster.exists(WEB) is False


async def test_an_unheard_deployment_can_be_read(api: Api, cluster: Cluster, hints: list[WorkloadRef]) -> None:
    await cluster.read(WEB)
    assert hints == []
    store(api, "web")
    await cluster.read(WEB)
    assert hints == [WEB]
    assert cluster.view(WEB).deployment == deployment()
