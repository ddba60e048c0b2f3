"""What kwok's stages (stages/pod-run.yaml) show for an image, computed again for tests to compare with."""

import hashlib
import re

_PINNED = re.compile(r"sha256:[0-9a-f]{64}$")
_HAS_REGISTRY = re.compile(r"(localhost|[^/]*[.:][^/]*)/")


def digest(image: str, *, mixed_for: str = "") -> str:
    """The digest that a container of `image` shows when no annotation gives one.

    Args:
        image: The reference in the pod's spec.
        mixed_for: The pod's name, where the pod is annotated `mixed: "true"`.
    """
    if pinned := _PINNED.search(image):
        return pinned[0]
    return f"sha256:{_sha256(image + mixed_for)}"


def reference(image: str) -> str:
    """`image` with registry and namespace spelled out, as container statuses show it."""
    if "/" not in image:
        return f"docker.io/library/{image}"
    return image if _HAS_REGISTRY.match(image) else f"docker.io/{image}"


def repository(image: str) -> str:
    """The reference without tag and digest."""
    return re.sub(r":[^:/]*$", "", reference(image).split("@")[0])


def config_digest(manifest_digest: str) -> str:
    """The config digest that goes with a manifest's: `image-id-format: config` shows it."""
    return f"sha256:{_sha256(f'config of {manifest_digest}')}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
