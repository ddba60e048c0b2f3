"""The harness itself: what all other integration tests stand on."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests import builders
from tests.controlplane import images, installing
from tests.controlplane.api import KubeApi, KubeError, Object, eventually
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.pods import complete, move_tag, pods_of, replay

IMAGE = builders.IMAGE
PINNED = f"{IMAGE}@sha256:{'ab' * 32}"
GIVEN = f"sha256:{'cd' * 32}"
REPOSITORY = "registry.example/shop/web"

pytestmark = pytest.mark.controlplane


def played(api: KubeApi, name: str, namespace: str, count: int = 1) -> list[Object]:
    """The pods of workload `name` once kwok has given `count` of them a status."""

    def ready() -> list[Object]:
        found = [pod for pod in pods_of(api, name, namespace) if "containerStatuses" in pod["status"]]
        return found if len(found) >= count else []

    return eventually(ready)


def condition(obj: Object, kind: str) -> dict[str, Any]:
    found = obj.get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def completed(api: KubeApi, name: str, namespace: str) -> bool:
    return complete(api.get("apps/v1", "Deployment", name, namespace))


def test_a_deployment_completes_and_its_pods_show_the_default_digest(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    api.apply(builders.deployment("web", namespace=namespace, replicas=3))
    eventually(lambda: completed(api, "web", namespace))
    pods = pods_of(api, "web", namespace)
    statuses = [status for pod in pods for status in pod["status"]["containerStatuses"]]
    assert {status["imageID"] for status in statuses} == {f"{REPOSITORY}@{images.digest(IMAGE)}"}
    assert all(status["ready"] and "startedAt" in status["state"]["running"] for status in statuses)
    assert "successfully rolled out" in control_plane.kubectl(
        "rollout", "status", "deployment/web", "-n", namespace, "--timeout=10s"
    )


def test_a_rollout_replaces_the_pods_and_deletion_removes_them(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    web = builders.deployment("web", namespace=namespace, replicas=3)
    api.apply(web)
    eventually(lambda: completed(api, "web", namespace))
    control_plane.kubectl("set", "image", "deployment/web", "app=registry.example/shop/web:2", "-n", namespace)
    control_plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=10s")
    expected = {f"{REPOSITORY}@{images.digest('registry.example/shop/web:2')}"}
    eventually(lambda: {_image_id(pod) for pod in pods_of(api, "web", namespace)} == expected)
    api.delete(web)
    eventually(lambda: not pods_of(api, "web", namespace))


def _image_id(pod: Object) -> str:
    image_id: str = pod["status"].get("containerStatuses", [{}])[0].get("imageID", "")
    return image_id


@pytest.mark.parametrize(
    ("image", "annotations", "expected"),
    [
        (IMAGE, {}, f"{REPOSITORY}@{images.digest(IMAGE)}"),
        ("nginx", {}, f"docker.io/library/nginx@{images.digest('nginx')}"),
        ("shop/web:1", {}, f"docker.io/shop/web@{images.digest('shop/web:1')}"),
        ("localhost:5000/web", {}, f"localhost:5000/web@{images.digest('localhost:5000/web')}"),
        (PINNED, {}, f"{REPOSITORY}@sha256:{'ab' * 32}"),
        (PINNED, {"digest": GIVEN}, f"{REPOSITORY}@{GIVEN}"),
        (IMAGE, {"digest": GIVEN}, f"{REPOSITORY}@{GIVEN}"),
        (IMAGE, {"digest.app": GIVEN, "digest": f"sha256:{'0' * 64}"}, f"{REPOSITORY}@{GIVEN}"),
        (
            IMAGE,
            {"digest": GIVEN, "image-id-format": "docker-pullable"},
            f"docker-pullable://{REPOSITORY}@{GIVEN}",
        ),
        (IMAGE, {"digest": GIVEN, "image-id-format": "config"}, images.config_digest(GIVEN)),
        (
            IMAGE,
            {"digest": GIVEN, "image-id-format": "bare-hex"},
            images.config_digest(GIVEN).removeprefix("sha256:"),
        ),
        (IMAGE, {"image-id-format": "empty"}, ""),
    ],
)
def test_annotations_choose_what_image_id_a_ready_pod_shows(
    control_plane: ControlPlane, namespace: str, image: str, annotations: dict[str, str], expected: str
) -> None:
    api = control_plane.api
    api.apply(builders.deployment("web", namespace=namespace, image=image, harness=annotations))
    (pod,) = played(api, "web", namespace)
    assert _image_id(pod) == expected
    assert pod["status"]["containerStatuses"][0]["image"] == images.reference(image)
    assert condition(pod, "Ready")["status"] == "True"


def test_mixed_pods_of_one_rollout_show_different_digests(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.apply(builders.deployment("web", namespace=namespace, replicas=2, harness={"mixed": "true"}))
    for pod in played(api, "web", namespace, count=2):
        assert _image_id(pod) == f"{REPOSITORY}@{images.digest(IMAGE, mixed_for=pod['metadata']['name'])}"


def test_sidecars_run_and_init_containers_are_done(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    init = [
        builders.container("setup", "busybox:1"),
        builders.container("proxy", "envoy:1", restartPolicy="Always"),
    ]
    api.apply(builders.deployment("web", namespace=namespace, pod={"initContainers": init}))
    (pod,) = played(api, "web", namespace)
    setup, proxy = pod["status"]["initContainerStatuses"]
    assert setup["state"]["terminated"]["reason"] == "Completed"
    assert setup["imageID"] == f"docker.io/library/busybox@{images.digest('busybox:1')}"
    assert (proxy["ready"], proxy["started"], "running" in proxy["state"]) == (True, True, True)
    assert proxy["imageID"] == f"docker.io/library/envoy@{images.digest('envoy:1')}"


@pytest.mark.parametrize(
    ("fail", "phase", "shown"),
    [
        (
            "image-pull",
            "Pending",
            {"waiting": "ImagePullBackOff", "imageID": "", "restarts": False, "started": False},
        ),
        (
            "crash-loop",
            "Running",
            {
                "waiting": "CrashLoopBackOff",
                "imageID": f"{REPOSITORY}@{images.digest(IMAGE)}",
                "restarts": True,
                "started": False,
            },
        ),
        (
            "never-ready",
            "Running",
            {
                "waiting": None,
                "imageID": f"{REPOSITORY}@{images.digest(IMAGE)}",
                "restarts": False,
                "started": True,
            },
        ),
    ],
)
def test_a_failing_pod_shows_why_and_its_deployment_misses_its_deadline_until_it_recovers(
    control_plane: ControlPlane, namespace: str, fail: str, phase: str, shown: dict[str, object]
) -> None:
    api = control_plane.api
    deadline = {"progressDeadlineSeconds": 1}
    api.apply(builders.deployment("web", namespace=namespace, harness={"fail": fail}, spec=deadline))
    (pod,) = played(api, "web", namespace)
    (status,) = pod["status"]["containerStatuses"]
    assert pod["status"]["phase"] == phase
    assert (status["ready"], condition(pod, "Ready")["status"]) == (False, "False")
    assert shown == {
        "waiting": status["state"].get("waiting", {}).get("reason"),
        "imageID": status["imageID"],
        "restarts": status["restartCount"] > 0,
        "started": status["started"],
    }

    def reason() -> str:
        web = api.get("apps/v1", "Deployment", "web", namespace)
        return str(condition(web, "Progressing").get("reason"))

    eventually(lambda: reason() == "ProgressDeadlineExceeded")
    replay(api, pod, fail=None)
    eventually(lambda: completed(api, "web", namespace))
    assert reason() == "NewReplicaSetAvailable"


def test_a_delayed_pod_is_being_created_and_then_gets_ready(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.apply(builders.deployment("web", namespace=namespace, harness={"delay": "1500ms"}))
    (pod,) = played(api, "web", namespace)
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert _image_id(pod) == ""
    eventually(lambda: completed(api, "web", namespace))
    assert _image_id(pods_of(api, "web", namespace)[0]).startswith(REPOSITORY)


def test_a_tag_moves_in_a_running_pod_and_kwok_leaves_it_so(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.apply(builders.deployment("web", namespace=namespace))
    eventually(lambda: completed(api, "web", namespace))
    move_tag(api, pods_of(api, "web", namespace)[0], GIVEN)
    # kwok sees every later change of the pod: a label must not bring the old digest back
    control_plane.kubectl("label", "pod", "-n", namespace, "-l", "app=web", "touched=yes")
    (pod,) = api.find("v1", "Pod", namespace, "touched=yes")
    (status,) = pod["status"]["containerStatuses"]
    assert (status["imageID"], status["restartCount"]) == (f"{REPOSITORY}@{GIVEN}", 1)
    assert completed(api, "web", namespace)


def test_the_other_workloads_run_too(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.apply(
        builders.statefulset("db", namespace=namespace, replicas=2),
        builders.daemonset("agent", namespace=namespace),
        builders.job("migrate", namespace=namespace),
        builders.cronjob("report", namespace=namespace),
    )
    control_plane.kubectl("create", "job", "now", "--from=cronjob/report", "-n", namespace)

    def done(kind: str, name: str, field: str, count: int, group: str = "apps/v1") -> bool:
        return bool(api.get(group, kind, name, namespace)["status"].get(field) == count)

    eventually(lambda: done("StatefulSet", "db", "readyReplicas", 2))
    eventually(lambda: done("DaemonSet", "agent", "numberReady", len(api.find("v1", "Node"))))
    eventually(lambda: done("Job", "migrate", "succeeded", 1, "batch/v1"))
    eventually(lambda: done("Job", "now", "succeeded", 1, "batch/v1"))
    (pod,) = pods_of(api, "migrate", namespace)
    assert _image_id(pod) == f"{REPOSITORY}@{images.digest(IMAGE)}"


def test_a_service_account_has_only_its_rights_and_the_audit_log_tells_what_it_did(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("create", "serviceaccount", "robot", "-n", namespace)
    binding = ["robot", "--clusterrole=view", f"--serviceaccount={namespace}:robot", "-n", namespace]
    control_plane.kubectl("create", "rolebinding", *binding)
    before = control_plane.audit_size
    given = yaml.safe_load(control_plane.service_account_kubeconfig(namespace, "robot").read_text())
    robot = KubeApi(server=control_plane.server, ca=control_plane.ca, token=given["users"][0]["user"]["token"])
    eventually(lambda: _allowed(lambda: robot.find("v1", "Pod", namespace)))
    assert not _allowed(lambda: robot.apply(builders.deployment("web", namespace=namespace)))
    robot.close()
    user = f"system:serviceaccount:{namespace}:robot"
    (refused,) = eventually(lambda: control_plane.audit(user=user, verb="patch", after=before))
    assert (refused.resource, refused.name, refused.code) == ("apps/deployments", "web", 403)
    listed = control_plane.audit(user=user, verb="list", after=before)
    assert {(one.resource, one.namespace) for one in listed} == {("pods", namespace)}
    assert control_plane.audit(user="admin", verb="create")


def _allowed(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except KubeError as error:
        if error.reason != "Forbidden":
            raise
        return False
    return True


def test_installing_into_another_namespace_rewrites_every_mention_of_the_shipped_one() -> None:
    shipped = {"metadata": {"namespace": "rollbook-system"}, "subjects": [{"namespace": "rollbook-system"}]}
    moved = {"metadata": {"namespace": "elsewhere"}, "subjects": [{"namespace": "elsewhere"}]}
    assert installing._moved(shipped, "elsewhere") == moved
