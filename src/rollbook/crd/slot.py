"""The codec of the ledger: a `Slot` as an `EnvironmentSlot` object and back.

The key is in `spec`, for people and immutable. Everything else is in `ledger`, one string of compact JSON: as
nested fields it would cost the API server's memory half as much again. `status` repeats a few fields for
columns; it is written and never read.

The ledger's layout is derived from the dataclasses of the core, so that a field of the core is a field of the
ledger. Fields that equal their defaults are left out; `KEYS` has the short names of the others.
"""

import dataclasses
import functools
import operator
from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from rollbook.core.errors import InvalidObject
from rollbook.core.projection import condition_body, labels, present, rfc3339
from rollbook.core.slot import Slot, SlotKey
from rollbook.core.transition import ArtifactKind
from rollbook.core.workload import WorkloadRef
from rollbook.crd.meta import API_VERSION, SCHEMA_VERSION

KIND: Final = "EnvironmentSlot"

KEYS: Final = {
    "application": "app",
    "application_kind": "appKind",
    "application_name": "appName",
    "artifact": "art",
    "attempt": "att",
    "conditions": "cond",
    "current": "cur",
    "deployment_name": "dep",
    "digest": "dig",
    "idle_since": "idle",
    "identity": "id",
    "message": "msg",
    "metadata": "meta",
    "missing_since": "missing",
    "not_after": "to",
    "not_before": "from",
    "number": "n",
    "reference": "ref",
    "replaces": "repl",
    "revision": "rev",
    "source": "src",
    "started": "start",
    "time": "t",
    "transition": "tr",
    "version": "ver",
    "version_name": "verName",
    "workload_uid": "uid",
}
"""Fields of the core that have another name in the ledger. Never give a name a second meaning."""

_ELSEWHERE: Final = frozenset({"key", "extra"})
"""Fields of `Slot` that are not fields of the ledger."""

_STATUS: Final = (
    "status",
    "version",
    "digest",
    "since",
    "phase",
    "undelivered",
    "parked",
    "conditions",
)


_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, are no UTF-8, are nested without end or are of other types."""

_T = TypeVar("_T")


class NewerSchema(InvalidObject):
    """The slot was written by a later version, with a schema that this one does not know."""


class _Workload(msgspec.Struct, frozen=True):
    group: str
    kind: str
    name: str


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    cluster: str
    environment: str
    namespace: str
    workload: _Workload
    container: str
    artifact_kind: ArtifactKind


class _Metadata(msgspec.Struct, frozen=True):
    name: str


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec
    ledger: str


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int = 0


class _Header(msgspec.Struct, frozen=True):
    """What can be said of an object that is no slot of ours."""

    metadata: _Metadata = _Metadata(name="?")
    spec: _Version = _Version()


def encode(slot: Slot) -> dict[str, Any]:
    """The whole object, for its creation in one request; the namespace is the caller's."""
    key = slot.key
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": key.object_name,
            "labels": labels({"environment": key.environment, "namespace": key.namespace}),
        },
        "spec": {
            "schemaVersion": SCHEMA_VERSION,
            "cluster": key.cluster,
            "environment": key.environment,
            "namespace": key.namespace,
            "workload": {"group": key.workload.group, "kind": key.workload.kind, "name": key.workload.name},
            "container": key.container,
            "artifactKind": key.artifact_kind.value,
        },
        "ledger": _dump(slot),
        "status": _status(slot),
    }


def changes(slot: Slot) -> dict[str, Any]:
    """What an update writes, as a JSON merge patch: status fields that are gone are null, so that they go."""
    return {"ledger": _dump(slot), "status": dict.fromkeys(_STATUS) | _status(slot)}


def decode(raw: bytes | Mapping[str, Any]) -> Slot:
    """The slot of an object, from the API server's bytes or decoded already.

    Raises:
        NewerSchema: its schema is later than ours; do not write it.
        InvalidObject: it is no slot; the message has one line and names it.
    """
    try:
        found = _read(raw, _Object)
        if found.spec.schema_version <= SCHEMA_VERSION:
            return _load(_key(found.spec), found.ledger)
    except _UNREADABLE as error:
        raise _refused(raw, error) from error
    raise _newer(found.metadata.name, found.spec.schema_version)


def _status(slot: Slot) -> dict[str, Any]:
    current, latest = slot.current, slot.attempt or slot.current
    return present(
        status=current and current.status and current.status.value,
        version=current and current.artifact.version,
        digest=current and current.artifact.digest,
        since=rfc3339(current.since.time) if current and current.since else None,
        phase=latest and latest.phase.value,
        undelivered=len(slot.pending),
        parked=len(slot.parked),
        conditions=[condition_body(condition) for condition in slot.conditions] or None,
    )


def _key(spec: _Spec) -> SlotKey:
    workload = spec.workload
    return SlotKey(
        cluster=spec.cluster,
        environment=spec.environment,
        workload=WorkloadRef(
            namespace=spec.namespace, name=workload.name, kind=workload.kind, group=workload.group
        ),
        container=spec.container,
        artifact_kind=spec.artifact_kind,
    )


def _dump(slot: Slot) -> str:
    ledger = msgspec.convert(slot, _Ledger, from_attributes=True)
    if slot.extra:
        return msgspec.json.encode({**slot.extra, **msgspec.to_builtins(ledger)}).decode()
    return msgspec.json.encode(ledger).decode()


def _load(key: SlotKey, ledger: str) -> Slot:
    known = msgspec.structs.asdict(msgspec.json.decode(ledger, type=_Ledger))
    extra = {
        name: msgspec.json.decode(value)
        for name, value in msgspec.json.decode(ledger, type=dict[str, msgspec.Raw]).items()
        if name not in _KNOWN
    }
    return msgspec.convert(known | {"key": key, "extra": extra}, Slot, from_attributes=True)


def _refused(raw: bytes | Mapping[str, Any], error: Exception) -> InvalidObject:
    """Why an object is not a slot of ours; a later schema may well look like none."""
    try:
        header = _read(raw, _Header)
    except _UNREADABLE:
        header = _Header()
    if header.spec.schema_version > SCHEMA_VERSION:
        return _newer(header.metadata.name, header.spec.schema_version)
    return InvalidObject(f"slot {header.metadata.name}: {' '.join(str(error).split())}")


def _newer(name: str, version: int) -> NewerSchema:
    return NewerSchema(f"slot {name}: schema version {version} is later than ours, {SCHEMA_VERSION}")


def _read(raw: bytes | Mapping[str, Any], kind: type[_T]) -> _T:
    return msgspec.json.decode(raw, type=kind) if isinstance(raw, bytes) else msgspec.convert(raw, kind)


def _stored(hint: Any) -> Any:
    """A type of the core with every dataclass in it replaced by its layout in the ledger."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _layout(hint)
    parts = tuple(_stored(part) for part in get_args(hint))
    if not parts:
        return hint
    origin = get_origin(hint)
    return functools.reduce(operator.or_, parts) if origin in (Union, UnionType) else origin[parts]


@functools.cache
def _layout(kind: type) -> type[msgspec.Struct]:
    """A dataclass of the core as it is stored."""
    hints = get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if (kind is not Slot or field.name not in _ELSEWHERE)]
    return msgspec.defstruct(
        kind.__name__,
        [(field.name, _stored(hints[field.name]), _default(field)) for field in fields],
        kw_only=True,
        omit_defaults=True,
        rename=KEYS,
    )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.NODEFAULT if field.default is dataclasses.MISSING else field.default


_Ledger: Final = _layout(Slot)
_KNOWN: Final = frozenset(_Ledger.__struct_encode_fields__)
