"""Deployments and namespaces, from objects that kopf has decoded already."""

from collections.abc import Mapping
from datetime import datetime
from sys import intern
from typing import Any, Final

from rollbook.core.errors import InvalidObject
from rollbook.core.workload import Deployment, Namespace, Progressing, WorkloadRef
from rollbook.kube.replicasets import REVISION
from rollbook.kube.wire import Metadata, PodSpec, Wire, convert, decoder, millis, ours, shared

VERSION_LABEL: Final = "app.kubernetes.io/version"


class _Labelled(Wire, frozen=True):
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None


class _Metadata(Metadata, frozen=True):
    generation: int = 0
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None


class _Template(Wire, frozen=True):
    metadata: _Labelled | None = None
    spec: PodSpec = PodSpec()


class _Spec(Wire, frozen=True):
    template: _Template
    replicas: int | None = None
    paused: bool = False


class _Condition(Wire, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_update_time: datetime | None = None


class _Status(Wire, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[_Condition, ...] | None = None


class _DeploymentWire(Wire, frozen=True):
    metadata: _Metadata
    spec: _Spec
    status: _Status = _Status()


class _NamespaceWire(Wire, frozen=True):
    metadata: _Metadata


_read = decoder(_DeploymentWire)


def project(raw: Mapping[str, Any] | bytes) -> Deployment:
    """What is kept of an apps/v1 Deployment, decoded already or not.

    Raises:
        InvalidObject: it is not one.
    """
    wire = _read(raw) if isinstance(raw, bytes) else convert(raw, _DeploymentWire)
    metadata, spec, status = wire.metadata, wire.spec, wire.status
    template = spec.template.metadata or _Labelled()
    labels = metadata.labels or {}
    annotations = metadata.annotations or {}
    return Deployment(
        ref=_ref(metadata),
        uid=intern(metadata.uid),
        created=metadata.created,
        generation=metadata.generation,
        observed_generation=status.observed_generation,
        revision=intern(annotations.get(REVISION, "")),
        containers=spec.template.spec.images(),
        replicas=1 if spec.replicas is None else spec.replicas,
        current_replicas=status.replicas,
        updated_replicas=status.updated_replicas,
        available_replicas=status.available_replicas,
        paused=spec.paused,
        progressing=_progressing(status),
        annotations=ours(annotations) | ours(template.annotations or {}),
        labels=shared(labels),
        version_label=(template.labels or {}).get(VERSION_LABEL) or labels.get(VERSION_LABEL),
    )


def project_namespace(raw: Mapping[str, Any]) -> Namespace:
    """What is kept of a namespace: all labels (sinks select by them), of the annotations only ours.

    Raises:
        InvalidObject: it is not one.
    """
    metadata = convert(raw, _NamespaceWire).metadata
    if not metadata.name:
        raise InvalidObject("a namespace without a name")
    return Namespace(
        name=intern(metadata.name),
        labels=shared(metadata.labels or {}),
        annotations=ours(metadata.annotations or {}),
    )


def _ref(metadata: Metadata) -> WorkloadRef:
    if not (metadata.name and metadata.namespace and metadata.uid):
        raise InvalidObject("a Deployment without a name, a namespace or a UID")
    return WorkloadRef(namespace=intern(metadata.namespace), name=intern(metadata.name))


def _progressing(status: _Status) -> Progressing | None:
    condition = next((each for each in status.conditions or () if each.type == "Progressing"), None)
    if condition is None:
        return None
    return Progressing(
        status=intern(condition.status),
        reason=intern(condition.reason),
        message=condition.message,
        updated=millis(condition.last_update_time) or 0,
    )
