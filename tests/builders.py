"""Builds Kubernetes objects as dicts, short enough to be read in a test."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.controlplane.pods import PREFIX

Object = dict[str, Any]

IMAGE = "registry.example/shop/web:1.0.0"
"""The image of a container that names none."""


def container(name: str = "app", image: str = IMAGE, **spec: Any) -> Object:
    """A container; `spec` has its further fields, e.g. `restartPolicy="Always"` for a sidecar."""
    return {"name": name, "image": image, **spec}


def pod_template(  # noqa: PLR0913  # keywords, most calls give one
    name: str,
    *,
    image: str = IMAGE,
    containers: Sequence[Mapping[str, Any]] = (),
    pod_annotations: Mapping[str, str] | None = None,
    harness: Mapping[str, str] | None = None,
    pod: Mapping[str, Any] | None = None,
) -> Object:
    """A pod template labelled `app: <name>`.

    Args:
        name: What its label says.
        image: Of its only container `app`, when `containers` is empty.
        containers: Its containers.
        pod_annotations: Annotations of the pods.
        harness: Annotations that steer kwok's stages, by their names without the prefix.
        pod: Further fields of the pod's spec, e.g. `initContainers`.
    """
    steering = {PREFIX + key: value for key, value in (harness or {}).items()}
    metadata = {"labels": {"app": name}, "annotations": {**(pod_annotations or {}), **steering}}
    spec = {"containers": list(containers) or [container(image=image)], **(pod or {})}
    return {"metadata": metadata, "spec": spec}


def workload(  # noqa: PLR0913  # keywords, most calls give one or two
    kind: str,
    name: str,
    *,
    namespace: str = "default",
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    **template: Any,
) -> Object:
    """A workload of group `apps`.

    Args:
        kind: `Deployment`, `StatefulSet` or `DaemonSet`.
        name: Its name, which is also its pods' label `app`.
        namespace: Where it goes.
        annotations: Its own annotations.
        labels: Its own labels.
        spec: Further fields of its spec.
        template: See `pod_template`.
    """
    selected = {"selector": {"matchLabels": {"app": name}}, "template": pod_template(name, **template)}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": _metadata(name, namespace, annotations, labels),
        "spec": {**selected, **(spec or {})},
    }


def deployment(name: str, *, replicas: int = 1, spec: Mapping[str, Any] | None = None, **rest: Any) -> Object:
    """A Deployment; see `workload` and `pod_template` for the rest."""
    return workload("Deployment", name, spec={"replicas": replicas, **(spec or {})}, **rest)


def statefulset(name: str, *, replicas: int = 1, spec: Mapping[str, Any] | None = None, **rest: Any) -> Object:
    """A StatefulSet; see `workload` and `pod_template` for the rest."""
    extended = {"replicas": replicas, "serviceName": name, **(spec or {})}
    return workload("StatefulSet", name, spec=extended, **rest)


def daemonset(name: str, **rest: Any) -> Object:
    """A DaemonSet; see `workload` and `pod_template`."""
    return workload("DaemonSet", name, **rest)


def job(
    name: str, *, namespace: str = "default", annotations: Mapping[str, str] | None = None, **template: Any
) -> Object:
    """A Job, whose pods complete at once; see `pod_template`."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, namespace, annotations),
        "spec": {"template": _runs_once(name, template)},
    }


def cronjob(
    name: str,
    *,
    namespace: str = "default",
    annotations: Mapping[str, str] | None = None,
    schedule: str = "0 0 1 1 *",
    **template: Any,
) -> Object:
    """A CronJob, due at New Year unless said otherwise; `kubectl create job --from=cronjob/…` runs it now."""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(name, namespace, annotations),
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": _runs_once(name, template)}}},
    }


def _runs_once(name: str, template: Mapping[str, Any]) -> Object:
    pod = {"restartPolicy": "Never", **template.get("pod", {})}
    return pod_template(name, **{**template, "pod": pod})


def _metadata(
    name: str,
    namespace: str,
    annotations: Mapping[str, str] | None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    return {
        "name": name,
        "namespace": namespace,
        "annotations": dict(annotations or {}),
        "labels": dict(labels or {}),
    }
