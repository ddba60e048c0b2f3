"""The tree of errors, and what an error says of the next try."""

import re

import pytest

from rollbook.core import errors
from rollbook.core.errors import (
    KubeError,
    RollbookError,
    SinkError,
    SinkUnavailable,
    Unavailable,
)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = ["RollbookError", *re.findall(r"── (\w+)", errors.__doc__ or "")]
    made = [name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)]
    assert sorted(drawn) == sorted(made)
    assert all(issubclass(getattr(errors, name), RollbookError) for name in drawn)


@pytest.mark.parametrize("kind", [Unavailable, SinkUnavailable])
def test_who_is_not_available_may_say_for_how_long(kind: type[Unavailable | SinkUnavailable]) -> None:
    assert kind("later").retry_after is None
    asked = kind("in a moment", retry_after=2.5)
    assert (str(asked), asked.retry_after) == ("in a moment", 2.5)
    assert issubclass(kind, KubeError | SinkError)


def test_an_unavailable_sink_says_whether_it_was_reached() -> None:
    assert not SinkUnavailable("no connection").sent
    assert SinkUnavailable("no answer", sent=True).sent
