"""When to try again: exponential backoff with jitter, and what the other side asked for.

The wait before the next try, after `n` tries that failed:

    bound(n) = min(cap, base * factor ** (n - 1))
    wait(n)  = bound / 2 + jitter * bound / 2                 half is certain, half spreads the crowd
    asked    = at least what was asked, up to an hour, and up to one `base` more, spread as well
"""

import math
from dataclasses import dataclass
from typing import Final

from rollbook.core.transition import Millis

LONGEST_ASKED_MS: Final = 3_600_000
"""More than an hour is not granted: a header in the wrong unit must not silence a sink for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How the waits grow.

    Raises:
        ValueError: unless 1 <= base_ms <= cap_ms and factor >= 1.
    """

    base_ms: int
    """The bound of the first wait."""
    cap_ms: int
    """The bound of all waits that nobody asked for."""
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not (1 <= self.base_ms <= self.cap_ms and self.factor >= 1):
            raise ValueError(f"1 <= base_ms <= cap_ms and factor >= 1 do not hold: {self}")


def next_attempt(
    policy: RetryPolicy, attempts: int, now: Millis, jitter: float, retry_after_ms: int | None = None
) -> Millis:
    """When to try again; always later than `now`.

    Args:
        policy: how the waits grow.
        attempts: tries made so far, the one that has just failed included (1 or more).
        now: epoch milliseconds.
        jitter: random, 0 <= jitter < 1.
        retry_after_ms: the wait that the other side asked for.
    """
    bound = _bound(policy, attempts)
    half = math.ceil(bound / 2)
    wait = half + int(jitter * (bound - half))
    if retry_after_ms is not None:
        asked = min(retry_after_ms, LONGEST_ASKED_MS) + int(jitter * policy.base_ms)
        wait = max(wait, asked)
    return now + wait


def _bound(policy: RetryPolicy, attempts: int) -> int:
    try:
        return int(min(policy.cap_ms, policy.base_ms * policy.factor ** (attempts - 1)))
    except OverflowError:
        return policy.cap_ms
