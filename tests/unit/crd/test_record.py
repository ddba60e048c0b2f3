"""The models of records read what the projection writes."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from rollbook.core.errors import InvalidObject
from rollbook.core.projection import Record, records
from rollbook.core.slot import Slot
from rollbook.core.transition import ArtifactKind, Phase, RecordStatus
from rollbook.crd.record import parse
from tests.unit.crd.samples import KEY, SLOT
from tests.unit.crd.strategies import slots

SINKS = {key: f"sink-{number}" for number, key in enumerate(SLOT.cursors)}


def stored(record: Record) -> dict[str, Any]:
    """The object as the API server gives it."""
    return {
        "apiVersion": "rollbook.dev/v1alpha1",
        "kind": "DeploymentRecord",
        "metadata": {"name": record.name, "namespace": record.namespace, "labels": record.labels},
        "spec": record.spec,
        "status": record.status,
    }


def test_a_record_is_read_as_it_was_written() -> None:
    (current, _) = records(SLOT, sinks=SINKS, owed=lambda _sink, _transition: True)

    read = parse(json.loads(json.dumps(stored(current))))

    assert (read.metadata.name, read.metadata.namespace) == (current.name, "payments")
    assert read.metadata.labels == current.labels
    assert read.spec.artifact.kind is ArtifactKind.CONTAINER_IMAGE
    assert read.spec.workload is not None
    assert read.spec.workload.name == "api"
    assert read.status.status is RecordStatus.DEPLOYED
    assert read.status.phase is Phase.SUCCEEDED
    assert read.status.since is not None
    assert read.status.since.timestamp() * 1000 == SLOT.clock
    assert read.status.duration_seconds == 61
    assert [delivery.sink for delivery in read.status.deliveries] == ["sink-0", "sink-1", "sink-2"]
    assert [condition.type for condition in read.status.conditions] == ["Ready", "Delivered"]


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(slots)
def test_every_field_that_is_written_has_a_model(slot: Slot) -> None:
    named = replace(slot, key=KEY)
    for record in records(named, sinks=dict.fromkeys(slot.cursors, "sink"), owed=lambda _s, _t: True):
        read = parse(stored(record))
        assert read.spec.workload is not None
        parts = [read, read.metadata, read.spec, read.spec.artifact, read.spec.workload, read.status]
        inner = [*read.status.deliveries, *read.status.conditions]
        unknown = [part.model_extra or {} for part in parts] + [part.model_extra or {} for part in inner]
        assert {name for found in unknown for name in found} == {"apiVersion", "kind"}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"status": "RUNNING"}, "status.status: Input should be 'DEPLOYED', 'SUPERSEDED' or 'DECOMMISSIONED'"),
        ({"since": "yesterday"}, "status.since: Input should be a valid datetime"),
    ],
)
def test_what_is_no_record_is_named(status: dict[str, str], message: str) -> None:
    (current, _) = records(SLOT, sinks={}, owed=lambda _sink, _transition: True)

    with pytest.raises(InvalidObject, match=message):
        parse(stored(current) | {"status": status})
