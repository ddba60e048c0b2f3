"""The laws of waiting."""

import pytest
from hypothesis import given, strategies as st

from rollbook.core.retry import LONGEST_ASKED_MS, RetryPolicy, next_attempt
from tests.unit.core.strategies import unhurried

NOW = 1_700_000_000_000
POLICY = RetryPolicy(base_ms=1_000, cap_ms=60_000)
ALMOST_ONE = 1 - 2**-53

policies = st.builds(
    lambda base, more, factor: RetryPolicy(base_ms=base, cap_ms=base + more, factor=factor),
    st.integers(1, 10_000),
    st.integers(0, 10_000_000),
    st.floats(1, 1_000),
)
attempts = st.integers(1, 10_000)
jitters = st.floats(0, 1, exclude_max=True)
asked = st.integers(0, 100 * LONGEST_ASKED_MS)


@pytest.mark.parametrize(
    ("tries", "least", "most"),
    [(1, 500, 999), (2, 1_000, 1_999), (3, 2_000, 3_999), (7, 30_000, 59_999), (10_000, 30_000, 59_999)],
)
def test_waits_double_up_to_the_cap_and_half_of_each_is_certain(tries: int, least: int, most: int) -> None:
    assert next_attempt(POLICY, tries, NOW, 0.0) - NOW == least
    assert next_attempt(POLICY, tries, NOW, ALMOST_ONE) - NOW == most


def test_what_is_asked_is_a_floor_and_the_crowd_is_spread_above_it() -> None:
    assert next_attempt(POLICY, 1, NOW, 0.0, 10_000) - NOW == 10_000
    assert next_attempt(POLICY, 1, NOW, 0.5, 10_000) - NOW == 10_500
    assert next_attempt(POLICY, 7, NOW, 0.0, 10_000) - NOW == 30_000


def test_more_than_an_hour_is_not_granted() -> None:
    assert next_attempt(POLICY, 1, NOW, 0.0, NOW) - NOW == LONGEST_ASKED_MS


@pytest.mark.parametrize(
    ("base", "cap", "factor"), [(0, 10, 2.0), (-1, 10, 2.0), (10, 9, 2.0), (1, 10, 0.5), (1, 10, float("nan"))]
)
def test_a_policy_that_cannot_grow_is_refused(base: int, cap: int, factor: float) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        RetryPolicy(base_ms=base, cap_ms=cap, factor=factor)


@unhurried
@given(policies, attempts, jitters)
def test_the_next_try_is_later_than_now_and_within_the_cap(policy: RetryPolicy, tries: int, jitter: float) -> None:
    assert 1 <= next_attempt(policy, tries, NOW, jitter) - NOW <= policy.cap_ms


@unhurried
@given(policies, attempts, jitters, st.none() | asked)
def test_more_tries_never_shorten_the_wait(
    policy: RetryPolicy, tries: int, jitter: float, floor: int | None
) -> None:
    one, another = (next_attempt(policy, count, NOW, jitter, floor) for count in (tries, tries + 1))

    assert one <= another


@unhurried
@given(policies, attempts, jitters, jitters)
def test_more_jitter_never_shortens_the_wait(policy: RetryPolicy, tries: int, jitter: float, other: float) -> None:
    less, more = sorted((jitter, other))

    assert next_attempt(policy, tries, NOW, less) <= next_attempt(policy, tries, NOW, more)


@unhurried
@given(policies, attempts, jitters, asked)
def test_what_was_asked_is_kept_and_bounded(policy: RetryPolicy, tries: int, jitter: float, floor: int) -> None:
    wait = next_attempt(policy, tries, NOW, jitter, floor) - NOW

    assert wait >= min(floor, LONGEST_ASKED_MS)
    assert wait >= next_attempt(policy, tries, NOW, jitter) - NOW
    assert wait <= max(policy.cap_ms, LONGEST_ASKED_MS + policy.base_ms)


@unhurried
@given(policies, attempts, jitters, st.integers(0, 10**13))
def test_the_wait_does_not_depend_on_the_time_of_day(
    policy: RetryPolicy, tries: int, jitter: float, now: int
) -> None:
    assert next_attempt(policy, tries, now, jitter) - now == next_attempt(policy, tries, 0, jitter)
