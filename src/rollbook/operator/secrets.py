"""The labelled Secrets of the operator's namespace, mirrored; no other Secret is ever read."""

from collections.abc import Callable, Mapping

import msgspec

from rollbook.kube.client import Kube
from rollbook.kube.watch import Collection, Reflector
from rollbook.kube.wire import Metadata, Wire
from rollbook.operator.tracking_sinks import HOSTS, Secret, TrackingSinks
from rollbook.wiring import failed


class _SecretMetadata(Metadata, frozen=True):
    annotations: Mapping[str, str] | None = None


class _SecretWire(Wire, frozen=True):
    metadata: _SecretMetadata
    data: Mapping[str, str] = msgspec.field(default_factory=dict)


def _project(wire: _SecretWire) -> Secret:
    hosts = (wire.metadata.annotations or {}).get(HOSTS, "")
    return Secret(
        uid=wire.metadata.uid,
        name=wire.metadata.name,
        data=wire.data,
        hosts=frozenset(host.strip() for host in hosts.split(",") if host.strip()),
    )


def secrets(
    kube: Kube, namespace: str, sinks: TrackingSinks, changed: Callable[[], None]
) -> Reflector[_SecretWire, Secret]:
    """A mirror that keeps the sinks' credentials current; `changed` is called after each change."""

    def upsert(secret: Secret) -> None:
        sinks.take_secret(secret)
        changed()

    def delete(uid: str) -> None:
        sinks.drop_secret(uid)
        changed()

    collection = Collection(
        path=f"/api/v1/namespaces/{namespace}/secrets",
        shape=_SecretWire,
        project=_project,
        params={"labelSelector": "rollbook.dev/credentials=true"},
    )
    return Reflector(
        kube,
        collection,
        upsert=upsert,
        delete=delete,
        on_error=lambda message: failed("watch", Exception(message)),
    )
