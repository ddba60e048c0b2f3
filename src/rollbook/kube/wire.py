"""Partial shapes of API objects: only the fields that somebody reads. Everything else is skipped undecoded.

A field that the API server leaves out has its default here, so that an absent `status` is an empty one.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from sys import intern
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from rollbook.core.errors import InvalidObject
from rollbook.core.transition import Millis

METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""`Accept` of a GET that needs no spec and no status."""

METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""The same for a LIST."""

OURS: Final = "rollbook.dev/"
"""The prefix of our labels and annotations."""


class Wire(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """The base of partial shapes; trees without cycles, so the garbage collector need not look at them."""


class OwnerReference(Wire, frozen=True):
    """One of `metadata.ownerReferences`."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Metadata(Wire, frozen=True):
    """What is read of `metadata` of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def created(self) -> Millis:
        """When it was created; 0 of an object that was never stored."""
        return millis(self.creation_timestamp) or 0

    def controller(self, kind: str) -> OwnerReference | None:
        """The controller that owns it, if that is of `kind`."""
        owner = next((each for each in self.owner_references if each.controller), None)
        return owner if owner is not None and owner.kind == kind else None


class Identified(Protocol):
    """What every listed object has."""

    @property
    def metadata(self) -> Metadata:
        """Its name, UID and version."""
        ...


class Bare(Wire, frozen=True):
    """Of an object, only its metadata."""

    metadata: Metadata = Metadata()


ItemT = TypeVar("ItemT")


class ListMetadata(Wire, frozen=True):
    """`metadata` of a list."""

    resource_version: str = ""
    continue_token: str = msgspec.field(default="", name="continue")


class Page(Wire, Generic[ItemT], frozen=True):
    """One page of a list."""

    metadata: ListMetadata = ListMetadata()
    items: list[ItemT] = msgspec.field(default_factory=list)


class WatchEvent(Wire, frozen=True):
    """One line of a watch; what the object is depends on the type."""

    type: str
    object: msgspec.Raw


class Container(Wire, frozen=True):
    """A container of a pod template."""

    name: str = ""
    image: str = ""
    restart_policy: str | None = None


class PodSpec(Wire, frozen=True):
    """`spec` of a pod template."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()

    def images(self) -> tuple[tuple[str, str], ...]:
        """(name, image reference): containers in order, then the init containers that keep running."""
        sidecars = (each for each in self.init_containers if each.restart_policy == "Always")
        found = (*self.containers, *sidecars)
        return tuple((intern(each.name), intern(each.image)) for each in found)


def millis(time: datetime | None) -> Millis | None:
    """Milliseconds since the epoch."""
    return None if time is None else round(time.timestamp() * 1000)


def shared(mapping: Mapping[str, str], keys: Iterable[str] | None = None) -> dict[str, str]:
    """A copy (of `keys`) whose strings exist once in memory: labels repeat a great deal."""
    return {intern(key): intern(mapping[key]) for key in (mapping if keys is None else keys)}


def ours(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that are ours, without the prefix."""
    start = len(OURS)
    return {intern(key[start:]): value for key, value in annotations.items() if key.startswith(OURS)}


def decoder(shape: type[ItemT]) -> Callable[[bytes | msgspec.Raw], ItemT]:
    """A function from JSON text to `shape`.

    Raises:
        InvalidObject: (the function) the text is cut, or not what was asked for.
    """
    decode = msgspec.json.Decoder(shape).decode

    def read(body: bytes | msgspec.Raw) -> ItemT:
        try:
            return decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidObject(f"cannot read {shape}: {error}") from error

    return read


def convert(raw: Mapping[str, Any], shape: type[ItemT]) -> ItemT:
    """Read `shape` from an object that is decoded already.

    Raises:
        InvalidObject: a field is of another type.
    """
    try:
        return msgspec.convert(raw, shape)
    except msgspec.MsgspecError as error:
        raise InvalidObject(str(error)) from error
