"""What workloads' pods show, and what kubelets do to running ones: restart, fail, recover."""

import re
from datetime import UTC, datetime
from typing import Any

from tests.controlplane.api import KubeApi, Object

PREFIX = "harness.rollbook.dev/"
"""Of the annotations by which a test steers kwok's stages; README.md lists them."""

_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{64}$")


def pods_of(api: KubeApi, workload: str, namespace: str) -> list[Object]:
    """The pods with the label `app` that `tests.builders` gives the pods of a workload."""
    return api.find("v1", "Pod", namespace, f"app={workload}")


def complete(deployment: Object) -> bool:
    """Whether a Deployment's rollout is complete, by the rule of `kubectl rollout status`."""
    spec, status = deployment["spec"], deployment.get("status", {})
    if status.get("observedGeneration") != deployment["metadata"]["generation"]:
        return False
    counts = {status.get(f"{which}eplicas", 0) for which in ("r", "updatedR", "availableR")}
    return counts == {spec["replicas"]}


def move_tag(api: KubeApi, pod: Object, digest: str, *, container: str = "") -> Object:
    """Let containers restart in place with another digest under the same reference, as after a moved tag.

    Args:
        api: Of an admin.
        pod: A running pod; its namespace and name count.
        digest: What the new image is, `sha256:…`.
        container: Only this one; default: all.
    """
    pod = api.get("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    statuses = [
        _restarted(status, digest, now) if container in ("", status["name"]) else status
        for status in pod["status"]["containerStatuses"]
    ]
    return api.patch(pod, {"status": {"containerStatuses": statuses}}, subresource="status", kind="merge-patch")


def _restarted(status: dict[str, Any], digest: str, now: str) -> dict[str, Any]:
    ended = {"exitCode": 0, "reason": "Completed", "finishedAt": now, "containerID": status["containerID"]}
    return {
        **status,
        "imageID": _DIGEST.sub(digest, status["imageID"]),
        "restartCount": status["restartCount"] + 1,
        "lastState": {"terminated": {**ended, **status["state"].get("running", {})}},
        "state": {"running": {"startedAt": now}},
    }


def replay(api: KubeApi, pod: Object, **annotations: str | None) -> Object:
    """Let kwok play a pod from the start once more, with other annotations.

    `replay(api, pod, fail=None)` lets a failing pod recover, `fail="crash-loop"` lets a running one fail.

    Args:
        api: Of an admin.
        pod: Its namespace and name count.
        annotations: By their names without the prefix, `_` for `-`; None removes one.
    """
    changed = {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}
    api.patch(pod, {"metadata": {"annotations": changed}}, kind="merge-patch")
    forgotten = {"phase": "Pending", "containerStatuses": None, "initContainerStatuses": None}
    return api.patch(pod, {"status": forgotten}, subresource="status", kind="merge-patch")
