"""Short fingerprints of JSON values, alike where the API server makes no difference."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec


def fingerprint(value: Any) -> int:
    """64 bits of a JSON value; the order of keys does not count."""
    text = msgspec.json.encode(_normal(value), order="sorted")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def _normal(value: Any) -> Any:
    """The API server stores 12.0 as 12."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _normal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_normal(each) for each in value]
    return value
