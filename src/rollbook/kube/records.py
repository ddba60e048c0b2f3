"""Makes the `DeploymentRecord`s of a slot in the cluster what the projection says, with as few writes as can be.

Of each record only digests are kept: of what was sent last, to write nothing that is there already, and of what
the API server made of it, to tell an edit by somebody else from the echo of our own write.

| the record is | requests |
|---|---|
| not there | create, one to shed `managedFields`, then its status |
| there, its labels or spec differ | one patch of both |
| there, its status differs | one patch of the status |
| as it should be | none |
| the slot's, but no longer wanted | delete |

Nobody applies to observed records field by field, and the bookkeeping for that (`managedFields`) costs the API
server more memory than the record itself, about 11 of 18 KB. Once shed, it does not come back.

A namespace that is terminating or gone takes nothing, and needs nothing: that is an end, not an error.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from sys import intern
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from rollbook.core.errors import Conflict, NotFound
from rollbook.core.projection import Record
from rollbook.crd.meta import API_VERSION
from rollbook.kube.answers import NamespaceNotFound, Terminating
from rollbook.kube.client import Kube
from rollbook.kube.fingerprints import fingerprint
from rollbook.kube.wire import OURS, Metadata, Wire, convert, decoder

MANAGED_BY: Final = OURS + "managed-by"
SLOT: Final = OURS + "slot"
SELECTOR: Final = f"{MANAGED_BY}=rollbook"

_UNOBSERVED: Final = -1
"""No digest: the status is of an earlier generation and must be written, whatever it says."""

_Key = tuple[str, str]
"""Namespace and name."""


class _Metadata(Metadata, frozen=True):
    generation: int = 0
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class _RecordWire(Wire, frozen=True):
    metadata: _Metadata
    spec: Mapping[str, Any] = msgspec.field(default_factory=dict)
    status: Mapping[str, Any] = msgspec.field(default_factory=dict)


_read = decoder(_RecordWire)


@dataclass(slots=True, kw_only=True)
class _Known:
    """A record in the cluster."""

    slot: str
    """The hash in its label."""
    facts: int
    """Digest of labels and spec as they were sent, or else as they are."""
    status: int
    """Digest of the status, likewise."""
    seen: tuple[int, int] = (0, 0)
    """Digests of both as they are stored."""
    version: int = 0
    generation: int = 0

    def take(self, wire: _RecordWire) -> None:
        """Note what is stored."""
        self.seen = _digests(wire)
        self.version = _version(wire)
        self.generation = wire.metadata.generation


class Records:
    """The records of all slots.

    Args:
        kube: the connection.
        lost: told of a slot, by its hash, whose record somebody else has deleted or edited: publish it again.
    """

    def __init__(self, kube: Kube, lost: Callable[[str], None]) -> None:
        self._kube = kube
        self._lost = lost
        self._known: dict[_Key, _Known] = {}
        self._of: dict[str, tuple[_Key, ...]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._later: dict[str, list[tuple[_RecordWire, bool]]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def slots(self) -> frozenset[str]:
        """The hashes of all slots that have records, as they stand in the label `rollbook.dev/slot`."""
        return frozenset(self._of)

    async def load(self) -> None:
        """List the observed records, so that only what differs is written.

        Raises:
            KubeError: they could not be listed; the records known so far stay so.
        """
        path = f"/apis/{API_VERSION}/deploymentrecords"
        found: dict[_Key, _Known] = {}
        async with aclosing(self._kube.list_pages(path, _RecordWire, params={"labelSelector": SELECTOR})) as pages:
            async for page in pages:
                found.update((_key(wire), _as_stored(wire)) for wire in page.items)
        self._known.clear()
        self._of.clear()
        for key, known in found.items():
            self._keep(key, known)

    async def publish(self, slot_object_name: str, records: Sequence[Record]) -> None:
        """Make the slot's records these, and no others.

        Raises:
            Conflict: a record's name is taken by an object that is not ours.
            KubeError: not all could be written; what was is noted, so that a repetition writes only the rest.
        """
        slot = slot_object_name.rpartition("-")[2]
        lock = self._locks.setdefault(slot, asyncio.Lock())
        async with lock:
            self._later[slot] = []
            try:
                await self._match(slot, records)
            except (Terminating, NamespaceNotFound):
                pass
            finally:
                for wire, deleted in self._later.pop(slot):
                    self._hear(wire, deleted=deleted)

    def heard(self, raw: Mapping[str, Any], *, deleted: bool) -> None:
        """Take up an event of a record; what is not ours, or is the echo of our own write, changes nothing.

        Raises:
            InvalidObject: it is no record.
        """
        self._hear(convert(raw, _RecordWire), deleted=deleted)

    def _hear(self, wire: _RecordWire, *, deleted: bool) -> None:
        key = _key(wire)
        known = self._known.get(key)
        slot = known.slot if known else wire.metadata.labels.get(SLOT, "")
        if slot in self._later:
            self._later[slot].append((wire, deleted))
            return
        if known is None or _version(wire) <= known.version:
            return
        if deleted:
            self._drop(key)
        elif _digests(wire) == known.seen:
            known.version = _version(wire)
            return
        else:
            self._keep(key, _as_stored(wire, slot))
        self._lost(slot)

    async def _match(self, slot: str, records: Sequence[Record]) -> None:
        for record in records:
            try:
                await self._write(slot, record)
            except NamespaceNotFound:
                raise
            except NotFound:  # deleted under our hands
                self._drop((record.namespace, record.name))
                await self._write(slot, record)
        wanted = {(record.namespace, record.name) for record in records}
        for key in self._of.get(slot, ()):
            if key not in wanted:
                await self._delete(key)

    async def _write(self, slot: str, record: Record) -> None:
        """Bring one record to what it should be."""
        facts, status = fingerprint([record.labels, record.spec]), fingerprint(_settled(record.status))
        key = (record.namespace, record.name)
        known = self._known.get(key) or await self._create(slot, record, facts)
        if known.facts != facts:
            operations = [_put("/spec", record.spec), _put("/metadata/labels", record.labels)]
            known.take(_read(await self._kube.json_patch(_path(key), operations)))
            known.facts, known.status = facts, _UNOBSERVED
        if known.status != status:
            value = {**record.status, "observedGeneration": known.generation}
            written = await self._kube.json_patch(f"{_path(key)}/status", [_put("/status", value)])
            stood = known.seen[0]
            known.take(_read(written))
            known.status = status
            if known.seen[0] != stood:  # edited just before: the event of it is older, and would count as an echo
                known.facts = known.seen[0]
                await self._write(slot, record)

    async def _create(self, slot: str, record: Record, facts: int) -> _Known:
        namespace = intern(record.namespace)
        key = (namespace, record.name)
        body = {
            "apiVersion": API_VERSION,
            "kind": "DeploymentRecord",
            "metadata": {"name": record.name, "labels": record.labels},
            "spec": record.spec,
        }
        try:
            wire = _read(await self._kube.create(_collection(namespace), body))
        except Conflict:
            return self._keep(key, await self._adopted(key, slot, record))
        known = self._keep(key, _as_stored(wire, slot))
        known.take(_read(await self._kube.json_patch(_path(key), [_put("/metadata/managedFields", [{}])])))
        known.facts = facts
        return known

    async def _adopted(self, key: _Key, slot: str, record: Record) -> _Known:
        """The record that has the name already, if it can only be ours."""
        wire = _read(await self._kube.get(_path(key)))
        if wire.metadata.labels.get(SLOT) != slot and fingerprint(wire.spec) != fingerprint(record.spec):
            raise Conflict(f"deploymentrecord {key[0]}/{key[1]} exists and is not Rollbook's")
        return _as_stored(wire, slot)

    async def _delete(self, key: _Key) -> None:
        with suppress(NotFound):
            await self._kube.delete(_path(key))
        self._drop(key)

    def _keep(self, key: _Key, known: _Known) -> _Known:
        if key not in self._known:
            self._of[known.slot] = (*self._of.get(known.slot, ()), key)
        self._known[key] = known
        return known

    def _drop(self, key: _Key) -> None:
        known = self._known.pop(key, None)
        if known is None:
            return
        others = tuple(each for each in self._of[known.slot] if each != key)
        if others:
            self._of[known.slot] = others
        else:
            del self._of[known.slot]


def _collection(namespace: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/deploymentrecords"


def _path(key: _Key) -> str:
    return f"{_collection(key[0])}/{key[1]}"


def _put(path: str, value: Any) -> dict[str, Any]:
    """Replaces what is there, whatever it is: a merge would leave fields that are gone."""
    return {"op": "add", "path": path, "value": value}


def _key(wire: _RecordWire) -> _Key:
    return intern(wire.metadata.namespace), wire.metadata.name


def _version(wire: _RecordWire) -> int:
    """Comparable: the API server's versions of one resource are increasing numbers."""
    return int(wire.metadata.resource_version or 0)


def _as_stored(wire: _RecordWire, slot: str = "") -> _Known:
    """A record as it is in the cluster, whoever wrote it."""
    facts, status = _digests(wire)
    if wire.status.get("observedGeneration") != wire.metadata.generation:
        status = _UNOBSERVED
    known = _Known(slot=slot or intern(wire.metadata.labels.get(SLOT, "")), facts=facts, status=status)
    known.take(wire)
    return known


def _digests(wire: _RecordWire) -> tuple[int, int]:
    """Of labels and spec, and of the status; labels of others do not count."""
    labels = {key: value for key, value in wire.metadata.labels.items() if key.startswith(OURS)}
    return fingerprint([labels, wire.spec]), fingerprint(_settled(wire.status))


def _settled(status: Mapping[str, Any]) -> dict[str, Any]:
    """Without the generation, which the API server counts and we repeat."""
    return {key: value for key, value in status.items() if key != "observedGeneration"}
