"""The codec of the ledger: nothing is lost, nothing is guessed, and it stays small."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from rollbook.core.errors import InvalidObject
from rollbook.core.slot import Condition, Cursor, Entry, Parked, Slot
from rollbook.core.transition import Kind, Phase, Transition
from rollbook.core.workload import WorkloadRef
from rollbook.crd import slot as codec
from rollbook.crd.slot import NewerSchema, changes, decode, encode
from tests.unit.crd.samples import CURRENT, KEY, OLD, SLOT, STAMP
from tests.unit.crd.strategies import json_values, slots

slow_to_draw = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386, as the API server applies it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


@slow_to_draw
@given(slots)
def test_what_is_encoded_is_decoded_as_it_was(slot: Slot) -> None:
    assert decode(encode(slot)) == slot


@slow_to_draw
@given(slots)
def test_it_survives_the_api_servers_bytes(slot: Slot) -> None:
    assert decode(json.dumps(encode(slot)).encode()) == slot


@slow_to_draw
@given(slots, slots)
def test_an_update_over_any_earlier_object_is_as_good_as_writing_it_anew(before: Slot, after: Slot) -> None:
    after = replace(after, key=before.key)

    assert merge_patch(encode(before), changes(after)) == encode(after)


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_other_bytes_are_invalid_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(InvalidObject) as caught:
        decode(raw)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40) | json_values.map(json.dumps))
def test_another_ledger_is_invalid_or_an_empty_slot_that_keeps_it(ledger: str) -> None:
    try:
        slot = decode(encode(SLOT) | {"ledger": ledger})
    except InvalidObject as refused:
        assert KEY.object_name in str(refused)  # noqa: PT017 - either outcome is right
    else:
        assert json.loads(encode(slot)["ledger"]) == json.loads(ledger)


def test_an_empty_slot_has_an_empty_ledger() -> None:
    assert encode(Slot(key=KEY))["ledger"] == "{}"


def test_the_object_is_readable() -> None:
    body = encode(SLOT)

    assert body["apiVersion"] == "rollbook.dev/v1alpha1"
    assert body["kind"] == "EnvironmentSlot"
    assert body["metadata"] == {
        "name": KEY.object_name,
        "labels": {"rollbook.dev/environment": "production", "rollbook.dev/namespace": "payments"},
    }
    assert body["spec"] == {
        "schemaVersion": 1,
        "cluster": "eu-1",
        "environment": "production",
        "namespace": "payments",
        "workload": {"group": "apps", "kind": "Deployment", "name": "api"},
        "container": "app",
        "artifactKind": "CONTAINER_IMAGE",
    }


def test_an_environment_that_cannot_be_a_label_is_none() -> None:
    key = replace(KEY, environment="production (eu)")

    assert encode(Slot(key=key))["metadata"]["labels"] == {"rollbook.dev/namespace": "payments"}


def test_status_has_the_columns() -> None:
    transition = Transition(
        seq=13,
        kind=Kind.FAILED,
        at=STAMP,
        artifact=OLD.artifact,
        identity=OLD.identity,
        entry=12,
        began=STAMP.time,
    )
    slot = replace(
        SLOT,
        attempt=replace(CURRENT, number=12, phase=Phase.FAILED),
        pending=(transition,),
        parked=(Parked(sink="a:b", transition=transition, message="no", at=1),),
        conditions=(Condition(type="DigestDrift", reason="TwoDigests", message="b", status=True),),
    )

    assert encode(slot)["status"] == {
        "status": "DEPLOYED",
        "version": "v1.42.0",
        "digest": CURRENT.artifact.digest,
        "since": "2026-11-22T10:00:00Z",
        "phase": "Failed",
        "undelivered": 1,
        "parked": 1,
        "conditions": [{"type": "DigestDrift", "status": "True", "reason": "TwoDigests", "message": "b"}],
    }


@pytest.mark.parametrize(
    ("slot", "status"),
    [
        (Slot(key=KEY), {}),
        (
            Slot(key=KEY, attempt=replace(CURRENT, phase=Phase.PROGRESSING, status=None, since=None)),
            {"phase": "Progressing"},
        ),
        (
            Slot(key=KEY, current=replace(CURRENT, status=None, since=None)),
            {"phase": "Succeeded", "version": "v1.42.0", "digest": CURRENT.artifact.digest},
        ),
    ],
    ids=["nothing yet", "a first attempt", "complete, not deployed"],
)
def test_status_says_nothing_that_is_not_known(slot: Slot, status: Mapping[str, Any]) -> None:
    assert encode(slot)["status"] == {"undelivered": 0, "parked": 0, **status}


def test_an_update_removes_what_is_no_more() -> None:
    patch = changes(Slot(key=KEY))

    assert patch["status"] == {
        **dict.fromkeys(("status", "version", "digest", "since", "phase", "conditions")),
        "undelivered": 0,
        "parked": 0,
    }
    assert set(patch) == {"ledger", "status"}


def test_fields_of_a_later_version_are_written_back() -> None:
    body = encode(SLOT)
    body["ledger"] = body["ledger"][:-1] + ',"approval":{"by":["a"],"n":1.5}}'

    slot = decode(body)

    assert slot.extra == {"approval": {"by": ["a"], "n": 1.5}}
    assert json.loads(changes(slot)["ledger"]) == json.loads(body["ledger"])


def test_what_is_known_wins_over_a_kept_field_of_the_same_name() -> None:
    slot = replace(SLOT, extra={"seq": 99, "other": 1})

    assert decode(encode(slot)) == replace(SLOT, extra={"other": 1})


def test_a_later_schema_is_told_apart() -> None:
    body = encode(SLOT)
    body["spec"]["schemaVersion"] = 2

    with pytest.raises(NewerSchema, match=f"slot {KEY.object_name}: schema version 2 is later than ours, 1"):
        decode(body)


def test_a_later_schema_that_looks_like_none_of_ours_is_told_apart_too() -> None:
    later = {"metadata": {"name": "x"}, "spec": {"schemaVersion": 7, "place": "moon"}}

    with pytest.raises(NewerSchema, match="slot x: schema version 7"):
        decode(json.dumps(later).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ledger": "{"}, "truncated"),
        ({"ledger": '{"seq":"1"}'}, "Expected `int`, got `str` - at `$.seq`"),
        ({"ledger": '{"cur":{"n":1}}'}, "missing required field `art`"),
        ({"ledger": "[]"}, "Expected `object`, got `array`"),
        ({"ledger": '{"later":' + "[" * 100_000 + "]" * 100_000 + "}"}, "recursion"),
        ({"ledger": 1}, "Expected `str`, got `int` - at `$.ledger`"),
        ({"spec": {}}, "missing required field `schemaVersion`"),
    ],
)
def test_what_cannot_be_read_is_invalid_and_named(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InvalidObject, match=f"slot {KEY.object_name}: .*{message.replace('$', '.')}") as caught:
        decode(json.dumps(encode(SLOT) | dict(change)).encode())
    assert not isinstance(caught.value, NewerSchema)


def test_no_two_fields_of_a_part_of_the_ledger_share_a_name() -> None:
    for kind in (Slot, Entry, Transition, Parked, Cursor, Condition, WorkloadRef):
        names = [codec.KEYS.get(field.name, field.name) for field in dataclasses.fields(kind)]
        assert len(names) == len(set(names)), kind


def test_the_table_has_only_fields_that_exist() -> None:
    known = {name for layout in _layouts(codec._Ledger) for name in layout.__struct_fields__}

    assert set(codec.KEYS) <= known


def test_a_typical_slot_is_small() -> None:
    assert len(msgspec.json.encode(encode(SLOT))) <= 2300


def _layouts(layout: Any) -> list[Any]:
    """A layout and all within it."""
    found, waiting = [], [layout]
    while waiting:
        hint = waiting.pop()
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            found.append(hint)
            waiting += list(hint.__annotations__.values())
        else:
            waiting += list(getattr(hint, "__args__", ()))
    return found
