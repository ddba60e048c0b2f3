"""Image references of specs, image IDs of kubelets, and the digest that both amount to.

A reference is what container runtimes accept (the grammar of distribution/reference):

    reference  = name [":" tag] ["@" digest]
    name       = [domain "/"] path             without a domain it is docker.io; there a lone component gets
                                               "library/" before it
    domain     = host [":" port]               the first component is one if it has a "." or ":" or a capital
                                               letter in it, or is "localhost"; at most 259 characters
    host       = label *("." label) / "[" IPv6 "]"
    label      = letters, digits and inner "-"
    path       = component *("/" component)    at most 255 characters
    component  = word *(separator word)        word: lower-case letters and digits
    separator  = "." / "_" / "__" / 1*"-"
    tag        = 1 to 128 letters, digits, "_", "." and "-"; neither "." nor "-" comes first
    digest     = algorithm ":" lower-case hex  sha256, sha384 or sha512, each with its own length

Two things are read as no reference: a bare digest and 64 bare hex digits. Runtimes take them for image IDs.
"""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, NewType

from rollbook.core.errors import InvalidObject

Digest = NewType("Digest", str)
"""`<algorithm>:<hex>`, checked: `parse_digest` makes it."""

KEPT: Final = 2048
"""Parsed texts that are remembered: a rollout reads the same few again and again."""

SHORT: Final = 12
"""How many hex digits tell one digest from another for people."""

_HEX_DIGITS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX: Final = re.compile(r"[a-f0-9]+")
_IMAGE_ID: Final = re.compile(r"[a-f0-9]{64}")
_DOMAIN: Final = re.compile(
    r"""(?: [a-z0-9] (?: [a-z0-9-]* [a-z0-9] )?  (?: \. [a-z0-9] (?: [a-z0-9-]* [a-z0-9] )? )*
          | \[ [a-f0-9:]+ \] )
        (?: : [0-9]+ )?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_PATH_LENGTH: Final = 255
_DOMAIN_LENGTH: Final = 259  # a DNS name's 253 and a port; runtimes have no bound, but a ledger must

_HUB: Final = "docker.io"
_HUB_ALIASES: Final = frozenset({_HUB, "index.docker.io"})
_SCHEMES: Final = ("docker-pullable://", "docker://")
_IMPORTED: Final = re.compile(r"docker\.io/library/import-\d{4}-\d{2}-\d{2}")
"""The name that containerd gives to an archive without one: it was never in a registry (WIRE §5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """What a container's spec asks for. Equal if they ask for the same, however they are written."""

    repository: str
    """Normalised: `docker.io/library/nginx`."""
    tag: str | None = None
    digest: Digest | None = None
    """The digest that the reference pins."""
    text: str = field(compare=False)
    """As given."""

    @property
    def canonical(self) -> str:
        """The normalised text: reading it gives an equal reference."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


class ImageIdKind(StrEnum):
    """What an image ID tells."""

    REPO = "Repo"
    """The digest under which a registry knows the image: of an index or of one platform's manifest."""
    CONFIG = "Config"
    """The digest of the image's configuration: local to the node, no registry resolves it."""
    LOCAL = "Local"
    """A digest under a name that the runtime made up when an archive was imported."""
    EMPTY = "Empty"
    """Nothing: the image is being pulled, or the runtime has forgotten the container (WIRE §5.2)."""
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningImage:
    """An image ID, read."""

    kind: ImageIdKind
    digest: Digest | None = None
    repository: str = ""
    """For people only: a runtime may name another repository of the same content (WIRE §5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Which digest is the artifact's. Either `digest` is set or `reason` says why not, never both."""

    digest: str | None = None
    running: str | None = None
    """What all pods run, where the reference pins another form of it (index, platform)."""
    reason: str = ""
    """`Empty`, `ConfigDigest`, `LocalImport`, `Unrecognised` or `Disagree`."""
    digests: tuple[str, ...] = ()
    """The registry digests that were seen, sorted, each once."""


def parse_digest(text: str) -> Digest:
    """Read `<algorithm>:<hex>`.

    Raises:
        InvalidObject: it is not one, or of an algorithm that registries do not use.
    """
    algorithm, _, encoded = text.partition(":")
    if len(encoded) != _HEX_DIGITS.get(algorithm) or not _HEX.fullmatch(encoded):
        raise _invalid("a digest", text)
    return Digest(text)


def short(digest: str) -> str:
    """The first 12 hex digits of a digest."""
    return digest.rpartition(":")[2][:SHORT]


@functools.lru_cache(maxsize=KEPT)
def parse_reference(text: str) -> ImageReference:
    """Read an image reference by the grammar above.

    Raises:
        InvalidObject: it is not one.
    """
    if _is_image_id(text):
        raise _invalid("an image reference but an image ID", text)
    named, at, digest = text.partition("@")
    domain, remainder = _split_domain(named)
    path, colon, tag = remainder.partition(":")
    if not (_is_host(domain) and _is_path(path) and (not colon or _TAG.fullmatch(tag))):
        raise _invalid("an image reference", text)
    return ImageReference(
        repository=f"{domain}/{path}",
        tag=tag or None,
        digest=parse_digest(digest) if at else None,
        text=text,
    )


def is_moving(tag: str, patterns: Iterable[str]) -> bool:
    """Whether a tag is known to be moved from image to image, so that it names no version.

    `latest` always is; `patterns` are further names or globs (`main`, `release-*`).
    """
    return tag == "latest" or any(fnmatchcase(tag, pattern) for pattern in patterns)


@functools.lru_cache(maxsize=KEPT)
def parse_image_id(text: str) -> RunningImage:
    """Read a container status's `imageID` in the forms of all known runtimes (WIRE §5.1, §5.4); never fails."""
    if not text:
        return RunningImage(kind=ImageIdKind.EMPTY)
    bare = text
    for scheme in _SCHEMES:
        bare = bare.removeprefix(scheme)
    if _is_image_id(bare):
        digest = bare if ":" in bare else f"sha256:{bare}"
        return RunningImage(kind=ImageIdKind.CONFIG, digest=Digest(digest))
    return _parse_repo_digest(bare)


def resolve(reference: ImageReference, image_ids: Sequence[str]) -> Resolution:
    """Which digest an artifact has, by its reference and the image IDs of the pods that run it.

    | the reference | the image IDs | the artifact's digest | reason |
    |---|---|---|---|
    | pins a digest | any | the pinned one; beside it what all pods run, if that is another | |
    | does not | one registry digest, all of them | that one | |
    | does not | several registry digests, or one beside something else that is not empty | none | Disagree |
    | does not | one that cannot be read | none | Unrecognised |
    | does not | a config digest | none | ConfigDigest |
    | does not | an image imported on its node | none | LocalImport |
    | does not | none, or an empty one | none | Empty |
    """
    images = [parse_image_id(text) for text in set(image_ids)]
    kinds = {image.kind for image in images} or {ImageIdKind.EMPTY}
    digests = tuple(sorted({image.digest for image in images if image.digest and _is_repo(image)}))
    agreed = digests[0] if len(digests) == 1 and kinds == {ImageIdKind.REPO} else None
    if reference.digest:
        running = agreed if agreed != reference.digest else None
        return Resolution(digest=reference.digest, running=running, digests=digests)
    reason = "" if agreed else _reason(kinds, len(digests))
    return Resolution(digest=agreed, reason=reason, digests=digests)


_REASONS: Final = (
    (ImageIdKind.UNKNOWN, "Unrecognised"),
    (ImageIdKind.CONFIG, "ConfigDigest"),
    (ImageIdKind.LOCAL, "LocalImport"),
)


def _reason(kinds: set[ImageIdKind], digests: int) -> str:
    """Why there is no digest. What is still empty contradicts nothing, and is not agreement either."""
    if digests > 1 or (digests and kinds - {ImageIdKind.REPO, ImageIdKind.EMPTY}):
        return "Disagree"
    return next((reason for kind, reason in _REASONS if kind in kinds), "Empty")


def _parse_repo_digest(text: str) -> RunningImage:
    try:
        reference = parse_reference(text)
    except InvalidObject:
        return RunningImage(kind=ImageIdKind.UNKNOWN)
    if not reference.digest:
        return RunningImage(kind=ImageIdKind.UNKNOWN, repository=reference.repository)
    imported = _IMPORTED.fullmatch(reference.repository)
    kind = ImageIdKind.LOCAL if imported else ImageIdKind.REPO
    return RunningImage(kind=kind, digest=reference.digest, repository=reference.repository)


def _split_domain(name: str) -> tuple[str, str]:
    head, slash, tail = name.partition("/")
    if not (slash and _is_domain(head)):
        head, tail = _HUB, name
    if head not in _HUB_ALIASES:
        return head, tail
    return _HUB, tail if "/" in tail else f"library/{tail}"


def _is_domain(component: str) -> bool:
    return component == "localhost" or component != component.lower() or bool({".", ":"} & set(component))


def _is_host(domain: str) -> bool:
    return len(domain) <= _DOMAIN_LENGTH and bool(_DOMAIN.fullmatch(domain))


def _is_path(path: str) -> bool:
    return len(path) <= _PATH_LENGTH and all(_COMPONENT.fullmatch(part) for part in path.split("/"))


def _is_repo(image: RunningImage) -> bool:
    return image.kind is ImageIdKind.REPO


def _is_image_id(text: str) -> bool:
    """Whether it is a digest with nothing before it; CRI-O leaves even `sha256:` away."""
    if _IMAGE_ID.fullmatch(text):
        return True
    try:
        parse_digest(text)
    except InvalidObject:
        return False
    return True


def _invalid(wanted: str, text: str) -> InvalidObject:
    return InvalidObject(f"not {wanted}: {text[:200]!r}")
