"""The YAML in `crds/` and the code say the same, field by field, in both directions."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from rollbook.core.slot import Slot
from rollbook.crd.meta import GROUP, SCHEMA_VERSION, VERSION, CrdModel
from rollbook.crd.record import DeploymentRecord
from rollbook.crd.slot import encode
from tests.unit.crd.strategies import slots

CRDS = Path(__file__).parents[3] / "crds"
Schema = Mapping[str, Any]

TYPES: Mapping[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    datetime: "string",
}
THE_SERVERS_OWN = {"apiVersion", "kind", "metadata"}


def crd(plural: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return found


def schema(plural: str) -> Schema:
    (version,) = crd(plural)["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def parts(name: str, found: Schema) -> Iterator[tuple[str, Schema]]:
    """Every schema within a schema, by its path."""
    yield name, found
    for field, inner in found.get("properties", {}).items():
        yield from parts(f"{name}.{field}", inner)
    if "items" in found:
        yield from parts(f"{name}[]", found["items"])


def bare(hint: Any) -> Any:
    """The type, without None."""
    inner = [part for part in get_args(hint) if part is not type(None)]
    return inner[0] if type(None) in get_args(hint) else hint


def compare(model: type[CrdModel], found: Schema, path: str) -> None:
    """Assert that a model and a schema have the same fields, of the same types, wanted or not alike."""
    fields = {info.alias: info for info in model.model_fields.values()}
    properties = {name: each for name, each in found["properties"].items() if path or name not in THE_SERVERS_OWN}
    assert {name for name in fields if path or name != "metadata"} == properties.keys(), path
    for name, inner in properties.items():
        info = fields[name]
        assert info.is_required() == (name in found.get("required", ())), f"{path}.{name}"
        compare_type(bare(info.annotation), inner, f"{path}.{name}")


def compare_type(hint: Any, found: Schema, path: str) -> None:
    if get_origin(hint) is tuple:
        assert found["type"] == "array", path
        compare_type(get_args(hint)[0], found["items"], f"{path}[]")
    elif issubclass(hint, CrdModel):
        assert found["type"] == "object", path
        compare(hint, found, path)
    elif issubclass(hint, StrEnum):
        assert found["enum"] == [member.value for member in hint], path
    else:
        assert found["type"] == TYPES[hint], path
        assert (found.get("format") == "date-time") == (hint is datetime), path


def test_the_models_of_records_are_the_schema() -> None:
    compare(DeploymentRecord, schema("deploymentrecords"), "")


def violations(value: Any, found: Schema, path: str = "") -> list[str]:
    """What the API server would refuse or drop of a value, as far as our schemas go."""
    match found["type"]:
        case "object":
            known = found.get("properties", {})
            wrong = [f"{path}.{name} unknown" for name in value if path and name not in known]
            wrong += [f"{path}.{name} missing" for name in found.get("required", ()) if name not in value]
            inner = ((value[name], known[name], f"{path}.{name}") for name in value if name in known)
            return wrong + [each for one in inner if one[1].get("properties") for each in violations(*one)]
        case "array":
            return [each for item in value for each in violations(item, found["items"], f"{path}[]")]
        case "string":
            allowed = found.get("enum", [value])
            return [] if isinstance(value, str) and value in allowed else [f"{path}: {value!r}"]
        case kind:
            python = {"integer": int, "number": int | float, "boolean": bool}[kind]
            return [] if isinstance(value, python) else [f"{path}: {value!r}"]


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(slots)
def test_what_the_codec_writes_is_in_the_schema(slot: Slot) -> None:
    assert violations(encode(slot), schema("environmentslots")) == []


def test_the_schema_of_slots_has_nothing_that_the_codec_does_not_write() -> None:
    fields = schema("environmentslots")["properties"]

    assert fields.keys() - THE_SERVERS_OWN == {"spec", "ledger", "status"}
    assert set(fields["spec"]["required"]) == fields["spec"]["properties"].keys()


@pytest.mark.parametrize("plural", ["deploymentrecords", "environmentslots"])
class TestEveryDefinition:
    """What all our CRDs have in common."""

    def test_names_our_group_version_and_schema(self, plural: str) -> None:
        """The operator reads the label before it leads."""
        definition = crd(plural)

        assert definition["metadata"] == {
            "name": f"{plural}.{GROUP}",
            "labels": {"rollbook.dev/schema-version": str(SCHEMA_VERSION)},
        }
        assert definition["spec"]["group"] == GROUP
        assert definition["spec"]["names"]["categories"] == ["rollbook"]
        assert [each["name"] for each in definition["spec"]["versions"]] == [VERSION]

    def test_describes_every_field(self, plural: str) -> None:
        """`kubectl explain` answers from these. Of metadata, the API server lets nothing be said."""
        undescribed = [path for path, found in parts(plural, schema(plural)) if not found.get("description")]

        assert undescribed == [f"{plural}.metadata"]

    def test_digests_have_a_pattern(self, plural: str) -> None:
        """All algorithms that a reference may pin."""
        digests = [found for path, found in parts(plural, schema(plural)) if path.lower().endswith("digest")]

        for found in digests:
            assert re.search(found["pattern"], "sha256:" + "0a" * 32)
            assert re.search(found["pattern"], "sha512:" + "0a" * 64)
            assert not re.search(found["pattern"], "sha256:" + "0A" * 32)
            assert not re.search(found["pattern"], "sha256:" + "0a" * 31)
        assert digests
