"""The hand-written CRD and the models say the same, field by field, in both directions."""

import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rollbook.crd.meta import GROUP, SCHEMA_VERSION, VERSION, CrdModel
from rollbook.crd.sink import KIND, TrackingSinkSpec, TrackingSinkStatus

CRD: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "crds" / "trackingsinks.yaml").read_text(encoding="utf-8")
)
SERVED = CRD["spec"]["versions"][0]
SCHEMA = SERVED["schema"]["openAPIV3Schema"]

TYPES = {str: "string", int: "integer", bool: "boolean", datetime: "string"}


def shape(hint: Any) -> Any:
    """What a type is in a schema: a model, (`array`, of what), (`object`, of what), or a plain type."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (hint,) = [part for part in parts if part is not types.NoneType]
        return shape(hint)
    if origin is tuple:
        return ("array", shape(parts[0]))
    if origin is Mapping:
        return ("object", shape(parts[1]))
    return hint


def walk(
    model: type[CrdModel], schema: dict[str, Any], path: str
) -> Iterator[tuple[str, FieldInfo, dict[str, Any]]]:
    """Every field of the model beside its schema; missing ones on either side fail here."""
    fields = {str(field.alias): field for field in model.model_fields.values()}
    assert schema["type"] == "object", path
    assert fields.keys() == schema["properties"].keys(), path
    required = {name for name, field in fields.items() if field.is_required()}
    assert required == set(schema.get("required", [])), path
    for name, field in fields.items():
        yield from descend(field, shape(field.annotation), schema["properties"][name], f"{path}.{name}")


def descend(
    field: FieldInfo, wanted: Any, schema: dict[str, Any], path: str
) -> Iterator[tuple[str, FieldInfo, dict[str, Any]]]:
    yield path, field, schema
    match wanted:
        case ("array", inner):
            assert schema["type"] == "array", path
            yield from inside(inner, schema["items"], f"{path}[]")
        case ("object", inner):
            assert schema["type"] == "object", path
            yield from inside(inner, schema["additionalProperties"], f"{path}{{}}")
        case _:
            yield from inside(wanted, schema, path)


def inside(wanted: Any, schema: dict[str, Any], path: str) -> Iterator[tuple[str, FieldInfo, dict[str, Any]]]:
    if issubclass(wanted, CrdModel):
        yield from walk(wanted, schema, path)
    else:
        assert schema["type"] == TYPES[wanted], path
        assert (schema.get("format") == "date-time") is (wanted is datetime), path


FIELDS = [
    *walk(TrackingSinkSpec, SCHEMA["properties"]["spec"], "spec"),
    *walk(TrackingSinkStatus, SCHEMA["properties"]["status"], "status"),
]
"""Collected at import: a difference in names, types or required fields is an error of this module."""

every_field = pytest.mark.parametrize(
    ("field", "schema"), [found[1:] for found in FIELDS], ids=[found[0] for found in FIELDS]
)


@every_field
def test_every_field_is_described_in_a_sentence(field: FieldInfo, schema: dict[str, Any]) -> None:
    assert field.alias
    assert schema["description"].rstrip().endswith(".")


@every_field
def test_defaults_are_the_same(field: FieldInfo, schema: dict[str, Any]) -> None:
    plain = isinstance(field.default, str | bool)
    assert schema.get("default", PydanticUndefined) == (field.default if plain else PydanticUndefined)


def test_names_and_columns() -> None:
    names = CRD["spec"]["names"]
    assert CRD["metadata"]["name"] == f"{names['plural']}.{GROUP}"
    assert CRD["metadata"]["labels"] == {f"{GROUP}/schema-version": str(SCHEMA_VERSION)}
    assert (CRD["spec"]["group"], CRD["spec"]["scope"], SERVED["name"]) == (GROUP, "Cluster", VERSION)
    assert (names["kind"], names["shortNames"], names["categories"]) == (KIND, ["ts"], ["rollbook"])
    assert SERVED["subresources"] == {"status": {}}
    columns = [column["name"].upper() for column in SERVED["additionalPrinterColumns"]]
    assert columns == ["TYPE", "READY", "BACKLOG", "PARKED", "LAST DELIVERY"]


def test_columns_show_fields_that_exist() -> None:
    known = {path for path, _, _ in FIELDS}
    for column in SERVED["additionalPrinterColumns"]:
        path = column["jsonPath"].removeprefix(".").replace('[?(@.type=="Ready")]', "[]")
        assert path in known, column["name"]
