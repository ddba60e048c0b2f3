"""What a Deployment's status says by itself."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.core import make

DONE = make.deployment(
    generation=2, observed_generation=2, replicas=3, current_replicas=3, updated_replicas=3, available_replicas=3
)
ON_THE_WAY = replace(DONE, current_replicas=4, updated_replicas=1, available_replicas=3)


@pytest.mark.parametrize(
    ("changed", "under_way"),
    [
        ({}, False),
        ({"generation": 3}, True),
        ({"current_replicas": 4}, True),
        ({"available_replicas": 2}, True),
        ({"current_replicas": 2, "updated_replicas": 2}, True),
        ({"replicas": 2}, False),
    ],
)
def test_a_rollout_is_under_way_while_something_is_missing(changed: dict[str, Any], *, under_way: bool) -> None:
    assert replace(DONE, **changed).under_way is under_way


def test_counts_alone_are_nothing_to_look_at_while_it_is_under_way() -> None:
    assert replace(ON_THE_WAY, updated_replicas=2, available_replicas=2).only_counts_on(ON_THE_WAY)


def test_the_end_the_beginning_and_all_else_are() -> None:
    assert not DONE.only_counts_on(ON_THE_WAY)
    assert not ON_THE_WAY.only_counts_on(DONE)
    assert not replace(ON_THE_WAY, revision="9").only_counts_on(ON_THE_WAY)
    assert not replace(ON_THE_WAY, paused=True).only_counts_on(ON_THE_WAY)


def test_a_condition_counts_by_its_reason() -> None:
    started = replace(ON_THE_WAY, progressing=make.progressing(reason="NewReplicaSetCreated", updated=1000))
    assert replace(
        started, progressing=make.progressing(reason="NewReplicaSetCreated", updated=2000)
    ).only_counts_on(started)
    failed = replace(started, progressing=make.progressing(reason="ProgressDeadlineExceeded", updated=2000))
    assert not failed.only_counts_on(started)
    assert not failed.only_counts_on(replace(started, progressing=None))
