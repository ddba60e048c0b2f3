"""Deliveries and sinks to test with: valid by default, whatever is given is replaced."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from rollbook.core.slot import SlotKey
from rollbook.core.transition import Artifact, Identity, Kind, Stamp, TimeSource, Transition
from rollbook.core.workload import WorkloadRef
from rollbook.crd import sink as crd
from rollbook.delivery import Delivery

TOKEN: Final = "tok-3cbd62b2-ad5e"
DIGEST: Final = "sha256:" + "0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427"
BEGAN: Final = 1706701522000
AT: Final = 1706712518000
SLOT_UID: Final = "5f0d9a3e-6a3c-4a83-9d8e-5f1c2c0d7b11"

KEY: Final = SlotKey(
    cluster="eu-1", environment="prod", workload=WorkloadRef(namespace="pay", name="billing"), container="app"
)
ARTIFACT: Final = Artifact(
    name="ghcr.io/acme/billing", reference="ghcr.io/acme/billing:1.4.2", version="1.4.2", digest=DIGEST
)
IDENTITY: Final = Identity(deployment_name="pay/billing/app", application="billing")


def delivery(kind: Kind, **changes: Any) -> Delivery:
    """A delivery; `changes` are fields of it, of its transition, artifact, identity or stamp."""
    artifact = _changed(ARTIFACT, changes)
    identity = _changed(IDENTITY, changes)
    at = Stamp(time=BEGAN if kind is Kind.STARTED else AT, source=TimeSource.PROGRESSING_CONDITION)
    transition = Transition(
        seq=7,
        kind=kind,
        at=_changed(at, changes),
        artifact=artifact,
        identity=identity,
        entry=6,
        began=BEGAN,
    )
    made = Delivery(key=KEY, slot_uid=SLOT_UID, transition=_changed(transition, changes))
    return replace(made, **changes)


def _changed(value: Any, changes: dict[str, Any]) -> Any:
    """`value` with those of the changes that are fields of it; they are used up."""
    mine = {name: changes.pop(name) for name in list(changes) if hasattr(value, name)}
    return replace(value, **mine)


def body(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A TrackingSink as the API server gives it."""
    return {
        "apiVersion": "rollbook.dev/v1alpha1",
        "kind": "TrackingSink",
        "metadata": {
            "name": "insights",
            "uid": "9b1f6c1e-0c7e-4b53-a6f5-1f5d3b0c8a11",
            "creationTimestamp": "2026-11-22T10:00:00Z",
            "generation": 1,
        },
        "spec": {
            "credentials": {"secretName": "tracking"},
            "selector": {"environments": ["prod"]},
            "allowInsecureHTTP": True,
            **spec,
        },
    }


def tracking_sink(spec: Mapping[str, Any]) -> crd.TrackingSink:
    """The same, parsed."""
    return crd.parse(body(spec))
