"""What is kept of pods, ReplicaSets, Deployments and namespaces, and when their stores speak."""

import json
from typing import Any

import pytest

from rollbook.core.errors import InvalidObject
from rollbook.core.workload import ContainerState, Deployment, Namespace, Pod, Progressing, ReplicaSet, WorkloadRef
from rollbook.kube import deployments, pods, replicasets
from rollbook.kube.deployments import project_namespace
from rollbook.kube.pods import PodStore, PodWire
from rollbook.kube.replicasets import Owned, ReplicaSetStore, ReplicaSetWire
from rollbook.kube.wire import decoder
from tests.unit.kube.api import CREATED, CREATED_MS

WEB = WorkloadRef(namespace="shop", name="web")
OLD = WorkloadRef(namespace="shop", name="old")


def raw_pod(**changes: Any) -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "rs", "controller": True}
    metadata = {"name": "p", "uid": "p", "creationTimestamp": CREATED, "ownerReferences": [owner]}
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "initContainerStatuses": [
            {"name": "proxy", "imageID": "proxy@sha256:1", "ready": True, "state": {"terminated": {"exitCode": 0}}}
        ],
        "containerStatuses": [
            {
                "name": "app",
                "imageID": "app@sha256:2",
                "ready": True,
                "state": {"running": {"startedAt": CREATED}},
            },
            {"name": "side", "imageID": "", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}},
        ],
    }
    return {"metadata": metadata | changes.pop("metadata", {}), "status": status | changes}


def read_pod(raw: dict[str, Any]) -> Pod | None:
    return pods.project(decoder(PodWire)(json.dumps(raw).encode()))


def test_of_a_pod_owner_times_and_containers_are_kept() -> None:
    assert read_pod(raw_pod()) == Pod(
        uid="p",
        owner="rs",
        created=CREATED_MS,
        ready=True,
        leaving=False,
        containers=(
            ContainerState(name="app", image_id="app@sha256:2", ready=True, started=CREATED_MS),
            ContainerState(name="side", image_id="", ready=False, waiting="ImagePullBackOff"),
            ContainerState(name="proxy", image_id="proxy@sha256:1", ready=True),
        ),
    )


@pytest.mark.parametrize(
    "changes",
    [{"metadata": {"deletionTimestamp": CREATED}}, {"phase": "Succeeded"}, {"phase": "Failed"}],
)
def test_a_pod_leaves_when_its_deletion_has_begun_or_it_has_ended(changes: dict[str, Any]) -> None:
    pod = read_pod(raw_pod(**changes))
    assert pod is not None
    assert pod.leaving


def test_a_new_pod_has_no_status_yet() -> None:
    raw = raw_pod()
    raw["status"] = {"phase": "Pending"}
    pod = read_pod(raw)
    assert pod is not None
    assert (pod.ready, pod.containers) == (False, ())


@pytest.mark.parametrize(
    "owners", [[], [{"kind": "Job", "uid": "j", "controller": True}], [{"kind": "ReplicaSet"}]]
)
def test_a_pod_that_no_replica_set_controls_is_not_kept(owners: list[dict[str, Any]]) -> None:
    assert read_pod(raw_pod(metadata={"ownerReferences": owners})) is None


def kept_pod(uid: str = "p", owner: str = "rs", *, ready: bool = True) -> Pod:
    return Pod(uid=uid, owner=owner, created=1, ready=ready, leaving=False)


def test_the_pod_store_speaks_only_of_changes() -> None:
    told: list[str] = []
    store = PodStore(told.append)
    store.upsert(kept_pod())
    store.upsert(kept_pod())
    store.upsert(kept_pod(ready=False))
    store.upsert(kept_pod("q"))
    assert store.of("rs") == (kept_pod(ready=False), kept_pod("q"))
    store.delete("p")
    store.delete("p")
    store.upsert(kept_pod("q", owner="other"))
    assert told == ["rs", "rs", "rs", "rs", "rs", "other"]
    assert (store.of("rs"), store.of("other"), len(store)) == ((), (kept_pod("q", owner="other"),), 1)


def raw_replica_set(**changes: Any) -> dict[str, Any]:
    metadata = {
        "name": "web-5d4f",
        "namespace": "shop",
        "uid": "rs",
        "creationTimestamp": CREATED,
        "labels": {"pod-template-hash": "5d4f", "app": "web"},
        "annotations": {"deployment.kubernetes.io/revision": "3", "other": "x"},
        "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "d", "controller": True}],
    }
    pod = {
        "initContainers": [
            {"name": "setup", "image": "setup:1"},
            {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "app", "image": "app:1"}, {"name": "side", "image": "side:1"}],
    }
    return {
        "metadata": metadata | changes.pop("metadata", {}),
        "spec": {"replicas": changes.pop("wanted", 2), "template": {"metadata": {}, "spec": pod}},
        "status": {"replicas": changes.pop("actual", 2)},
    }


def read_replica_set(raw: dict[str, Any]) -> Owned | None:
    return replicasets.project(decoder(ReplicaSetWire)(json.dumps(raw).encode()))


CONTAINERS = (("app", "app:1"), ("side", "side:1"), ("proxy", "proxy:1"))


def kept_replica_set(uid: str = "rs", owner: str = "d") -> ReplicaSet:
    return ReplicaSet(uid=uid, owner=owner, created=CREATED_MS, revision="3", reused=False, containers=CONTAINERS)


def test_of_a_replica_set_revision_and_images_are_kept() -> None:
    assert read_replica_set(raw_replica_set()) == Owned(workload=WEB, replica_set=kept_replica_set())


def test_a_replica_set_with_a_history_was_used_before() -> None:
    annotations = {"deployment.kubernetes.io/revision": "3", "deployment.kubernetes.io/revision-history": "1"}
    owned = read_replica_set(raw_replica_set(metadata={"annotations": annotations}))
    assert owned is not None
    assert owned.replica_set.reused


@pytest.mark.parametrize(("wanted", "actual", "kept"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_a_replica_set_is_kept_while_it_has_or_wants_pods(wanted: int, actual: int, kept: bool) -> None:  # noqa: FBT001  # a column of the table
    assert (read_replica_set(raw_replica_set(wanted=wanted, actual=actual)) is not None) is kept


def test_an_orphans_deployment_is_in_its_name_but_owns_it_no_more() -> None:
    owned = read_replica_set(raw_replica_set(metadata={"ownerReferences": []}))
    assert owned == Owned(workload=WEB, replica_set=kept_replica_set(owner=""))


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": [{"kind": "Rollout", "name": "web", "uid": "r", "controller": True}]},
        {"ownerReferences": [], "labels": {}},
        {"ownerReferences": [], "name": "5d4f"},
        {"ownerReferences": [], "name": "web-other"},
    ],
)
def test_a_replica_set_that_was_never_a_deployments_is_not_kept(metadata: dict[str, Any]) -> None:
    assert read_replica_set(raw_replica_set(metadata=metadata)) is None


def test_the_replica_set_store_speaks_only_of_changes() -> None:
    told: list[WorkloadRef] = []
    store = ReplicaSetStore(told.append, lambda _: False)
    owned = Owned(workload=WEB, replica_set=kept_replica_set())
    store.upsert(owned)
    store.upsert(owned)
    assert (store.of(WEB), store.workload("rs"), told) == ((owned.replica_set,), WEB, [WEB])
    store.upsert(Owned(workload=OLD, replica_set=kept_replica_set()))
    assert (store.of(WEB), store.of(OLD)) == ((), (owned.replica_set,))
    store.delete("rs")
    store.delete("rs")
    assert (store.of(OLD), len(store), told) == ((), 0, [WEB, WEB, OLD, OLD])


def test_a_replica_set_that_is_gone_stays_until_its_pods_are() -> None:
    has_pods = True
    store = ReplicaSetStore(lambda _: None, lambda _: has_pods)
    store.upsert(Owned(workload=WEB, replica_set=kept_replica_set()))
    store.delete("rs")
    store.emptied("rs")
    assert len(store.of(WEB)) == 1
    has_pods = False
    store.emptied("rs")
    assert store.of(WEB) == ()


def raw_deployment() -> dict[str, Any]:
    return {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "d",
            "creationTimestamp": CREATED,
            "generation": 7,
            "labels": {"app.kubernetes.io/version": "1", "team": "a"},
            "annotations": {
                "deployment.kubernetes.io/revision": "3",
                "rollbook.dev/track": "true",
                "rollbook.dev/application": "shop",
            },
        },
        "spec": {
            "paused": True,
            "template": {
                "metadata": {
                    "labels": {"app.kubernetes.io/version": "2"},
                    "annotations": {"rollbook.dev/application": "web", "prometheus.io/scrape": "true"},
                },
                "spec": raw_replica_set()["spec"]["template"]["spec"],
            },
        },
        "status": {
            "observedGeneration": 6,
            "replicas": 3,
            "updatedReplicas": 2,
            "availableReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "True"},
                {
                    "type": "Progressing",
                    "status": "True",
                    "reason": "ReplicaSetUpdated",
                    "message": "going on",
                    "lastUpdateTime": CREATED,
                    "lastTransitionTime": "2020-01-01T00:00:00Z",
                },
            ],
        },
    }


EXPECTED = Deployment(
    ref=WEB,
    uid="d",
    created=CREATED_MS,
    generation=7,
    observed_generation=6,
    revision="3",
    containers=CONTAINERS,
    replicas=1,
    current_replicas=3,
    updated_replicas=2,
    available_replicas=1,
    paused=True,
    progressing=Progressing(status="True", reason="ReplicaSetUpdated", message="going on", updated=CREATED_MS),
    annotations={"track": "true", "application": "web"},
    labels={"app.kubernetes.io/version": "1", "team": "a"},
    version_label="2",
)


def test_of_a_deployment_the_nearest_annotation_wins() -> None:
    assert deployments.project(raw_deployment()) == EXPECTED
    assert deployments.project(json.dumps(raw_deployment()).encode()) == EXPECTED


def test_a_deployment_may_say_little() -> None:
    raw = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "d", "creationTimestamp": CREATED},
        "spec": {"replicas": 0, "template": {"metadata": {"labels": None}, "spec": {"containers": []}}},
    }
    found = deployments.project(raw)
    assert (found.replicas, found.progressing, found.version_label, dict(found.labels)) == (0, None, None, {})


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"metadata": {}, "spec": {"template": {}}},
        {"metadata": {"name": "a", "namespace": "b", "uid": "c"}},
        {"metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"template": {}, "replicas": "many"}},
        {"metadata": {"name": 1}, "spec": {"template": {}}},
    ],
)
def test_what_is_no_deployment_is_invalid(raw: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject):
        deployments.project(raw)


def test_of_a_namespace_all_labels_and_our_annotations_are_kept() -> None:
    annotations = {"rollbook.dev/environment": "prod", "other": "x"}
    raw = {"metadata": {"name": "shop", "labels": {"team": "a"}, "annotations": annotations}}
    assert project_namespace(raw) == Namespace(
        name="shop", labels={"team": "a"}, annotations={"environment": "prod"}
    )


@pytest.mark.parametrize("raw", [{}, {"metadata": {}}, {"metadata": {"name": ["a"]}}])
def test_what_is_no_namespace_is_invalid(raw: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject):
        project_namespace(raw)
