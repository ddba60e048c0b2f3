"""Any value of the core's dataclasses, every field of it filled."""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from rollbook.core.slot import Slot

END_OF_9999 = 253_402_300_799_999

texts = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, width=32) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
).filter(lambda value: value not in (float("inf"), float("-inf")))


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """A strategy for a type as the core's dataclasses use them."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: any_of(hints[field.name]) for field in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return st.one_of(*(any_of(part) for part in parts))
    if origin is tuple:
        return st.lists(any_of(parts[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(texts, any_of(parts[1]), max_size=2)
    return _PLAIN[kind]


_PLAIN: Mapping[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, END_OF_9999),
    str: texts,
    bool: st.booleans(),
    type(None): st.none(),
    object: json_values,
}

slots: st.SearchStrategy[Slot] = any_of(Slot)
