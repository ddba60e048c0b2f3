"""The clocks and the dice of the process, in one place so that tests can hold them."""

import random
import time

from rollbook.core.transition import Millis


class Clock:
    """Wall clock for what people read, monotonic clock for what must not jump, jitter for what must not align."""

    def now(self) -> Millis:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    def jitter(self) -> float:
        """A fraction in [0, 1)."""
        return random.random()  # noqa: S311 - spreads retries, protects nothing
