"""The ledger: all `EnvironmentSlot` objects, written through and mirrored in memory.

The operator is their only writer, so they are listed once and never watched: what was written last is what is
there. A write carries the version it builds on; where that is not the newest, somebody else has written (an
editor, a deposed leader, or a request of ours whose answer was lost), so the object is read again and the caller
plans again. Slots are kept as compact JSON and decoded when asked for: 10,000 decoded ones would cost several
times the memory.
"""

import functools
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from sys import intern

import msgspec

from rollbook.core.errors import Conflict, InvalidObject, NotFound
from rollbook.core.slot import Slot
from rollbook.core.workload import WorkloadRef
from rollbook.crd.meta import API_VERSION, SCHEMA_VERSION
from rollbook.crd.slot import changes, decode, encode
from rollbook.kube.client import Kube
from rollbook.kube.wire import Metadata, Wire, decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A slot as it is stored."""

    name: str
    uid: str
    resource_version: str
    workload: WorkloadRef | None
    """Whose slot it is; None if the object does not say."""
    raw: bytes

    @property
    def slot(self) -> Slot:
        """The slot itself; it is frozen, so those looked at last are kept decoded.

        Raises:
            NewerSchema: a later version of ours has written it.
            InvalidObject: it is no slot.
        """
        return _decoded(self.raw)


_decoded = functools.lru_cache(maxsize=256)(decode)
"""A rollout looks at its slot some fifty times; 10,000 decoded slots would cost several times the memory."""


class _Workload(Wire, frozen=True):
    group: str
    kind: str
    name: str


class _Spec(Wire, frozen=True):
    namespace: str
    workload: _Workload
    schema_version: int = 0


class _SlotWire(Wire, frozen=True):
    metadata: Metadata
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    ledger: str = ""


_read_slot = decoder(_SlotWire)
_read_spec = decoder(_Spec)


class Ledger:
    """All slots of one operator.

    Args:
        kube: the connection.
        namespace: the operator's, where the slots are.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._path = f"/apis/{API_VERSION}/namespaces/{namespace}/environmentslots"
        self._stored: dict[str, Stored] = {}
        self._of: dict[WorkloadRef, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._stored)

    async def load(self) -> None:
        """List all slots; what was known before is replaced when the list is complete.

        Raises:
            KubeError: they could not be listed; nothing has changed.
            NewerSchema: a slot was written by a later version of ours, which we must not lead after.
        """
        found: list[Stored] = []
        async with aclosing(self._kube.list_pages(self._path, _SlotWire)) as pages:
            async for page in pages:
                found.extend(_stored(item) for item in page.items)
        self._stored.clear()
        self._of.clear()
        for stored in found:
            self._keep(stored)

    def get(self, name: str) -> Stored | None:
        """The slot of that object name."""
        return self._stored.get(name)

    def by_workload(self, ref: WorkloadRef) -> tuple[str, ...]:
        """The object names of a workload's slots."""
        return self._of.get(ref, ())

    def workloads(self) -> tuple[WorkloadRef, ...]:
        """All workloads that have slots."""
        return tuple(self._of)

    def names(self) -> Iterator[str]:
        """The object names of all slots."""
        return iter(tuple(self._stored))

    def named(self, slot_hash: str) -> str | None:
        """The object name that ends in this hash (the label `rollbook.dev/slot` of its records)."""
        return next((name for name in self._stored if name.endswith(f"-{slot_hash}")), None)

    async def save(self, slot: Slot) -> str:
        """Write a slot in one request and return its object's UID.

        Raises:
            Conflict: somebody else has written, created or deleted it; it has been read again, so plan again.
            KubeError: in another kind; unless the API server said why, the write may have taken effect, and
                then the next one meets a Conflict.
        """
        name = slot.key.object_name
        stored = self._stored.get(name)
        try:
            body = await (
                self._kube.create(self._path, encode(slot)) if stored is None else self._update(stored, slot)
            )
        except Conflict:
            await self._reread(name)
            raise
        return self._keep(_stored(_read_slot(body))).uid

    async def delete(self, name: str) -> None:
        """Delete a slot; quiet if it is gone already.

        Raises:
            Conflict: somebody else has written it; it has been read again.
        """
        stored = self._stored.get(name)
        if stored is None:
            return
        try:
            await self._kube.delete(f"{self._path}/{name}", resource_version=stored.resource_version)
        except NotFound:
            pass
        except Conflict:
            await self._reread(name)
            raise
        self._drop(name)

    async def _update(self, stored: Stored, slot: Slot) -> bytes:
        # `managedFields` are shed: nobody applies to slots, and they double a slot's memory in the API server.
        metadata = {"resourceVersion": stored.resource_version, "managedFields": [{}]}
        patch = {"metadata": metadata, **changes(slot)}
        try:
            return await self._kube.merge_patch(f"{self._path}/{stored.name}", patch)
        except NotFound as error:
            raise Conflict(f"slot {stored.name} has been deleted") from error

    async def _reread(self, name: str) -> None:
        try:
            body = await self._kube.get(f"{self._path}/{name}")
        except NotFound:
            self._drop(name)
        else:
            self._keep(_stored(_read_slot(body)))

    def _keep(self, stored: Stored) -> Stored:
        ref = stored.workload
        if stored.name not in self._stored and ref is not None:
            self._of[ref] = (*self._of.get(ref, ()), stored.name)
        self._stored[stored.name] = stored
        return stored

    def _drop(self, name: str) -> None:
        stored = self._stored.pop(name, None)
        if stored is None or stored.workload is None:
            return
        others = tuple(each for each in self._of[stored.workload] if each != name)
        if others:
            self._of[stored.workload] = others
        else:
            del self._of[stored.workload]


def _stored(wire: _SlotWire) -> Stored:
    """The compact form; a copy, since the answer it came with is large.

    Raises:
        NewerSchema: its schema is later than ours.
    """
    metadata = wire.metadata
    compact = {"metadata": {"name": metadata.name}, "spec": wire.spec, "ledger": wire.ledger}
    raw = msgspec.json.encode(compact)
    return Stored(
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        workload=_workload(wire.spec, raw),
        raw=raw,
    )


def _workload(raw_spec: msgspec.Raw, raw: bytes) -> WorkloadRef | None:
    try:
        spec = _read_spec(raw_spec)
    except InvalidObject:
        return None
    if spec.schema_version > SCHEMA_VERSION:
        decode(raw)  # says which slot it is
    workload = spec.workload
    return WorkloadRef(
        namespace=intern(spec.namespace),
        name=intern(workload.name),
        kind=intern(workload.kind),
        group=intern(workload.group),
    )
