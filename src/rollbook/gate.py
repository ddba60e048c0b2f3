"""Whether deliveries to a sink may begin now, and how the sink is doing.

| what is known of the sink | the gate |
|---|---|
| it answers | open |
| it asks to wait, or has failed often in a row | shut for as long as asked, or as the back-off says |
| it refuses the credential | shut until there is another |
| it is suspended, or we are stopping | shut |

An answer to what was sent before the gate was shut does not open it.
"""

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Literal

from rollbook.clock import Clock
from rollbook.core.retry import RetryPolicy, next_attempt
from rollbook.core.transition import Millis


@dataclass(slots=True)
class Health:
    """How a sink is doing, for whoever reports it."""

    trouble: Literal["", "unavailable", "unauthorized"] = ""
    message: str = ""
    suspended: bool = False
    last_accepted: Millis | None = None
    refused: int = 0
    """Deliveries that it refused: those that slots keep from earlier lives, and those of this one."""

    @property
    def state(self) -> Literal["ready", "unavailable", "unauthorized", "suspended"]:
        """In one word."""
        return "suspended" if self.suspended else self.trouble or "ready"


class Gate:
    """One sink's gate."""

    PATIENCE: ClassVar = 8
    """Failures without an answer between them that shut it."""

    def __init__(self, policy: RetryPolicy, clock: Clock, *, refused: int = 0) -> None:
        self.health = Health(refused=refused)
        self._policy = policy
        self._clock = clock
        self._failures = 0
        self._pause: asyncio.TimerHandle | None = None
        self._open = asyncio.Event()
        self._open.set()

    @property
    def is_open(self) -> bool:
        """Whether a delivery may begin."""
        return self._open.is_set()

    async def opened(self) -> None:
        """Wait until a delivery may begin."""
        await self._open.wait()

    def suspend(self, *, suspended: bool) -> None:
        """Shut it, or open it if nothing else keeps it shut."""
        self.health.suspended = suspended
        self._settle()

    def answered(self) -> None:
        """The sink has accepted a delivery, or refused it."""
        if self._pause is None and self.health.trouble != "unauthorized":
            self.renew()

    def renew(self) -> None:
        """Nothing that was known of the sink counts any more, as after another credential."""
        self.close()
        self._failures = 0
        self.health.trouble, self.health.message = "", ""
        self._settle()

    def unauthorized(self, message: str) -> None:
        """The sink has refused the credential."""
        self.health.trouble, self.health.message = "unauthorized", message
        self._settle()

    def unavailable(self, message: str, retry_after: float | None) -> float:
        """The sink has not taken a delivery. Returns the seconds until the next try of it.

        Args:
            message: why.
            retry_after: seconds that the sink asked us to wait.
        """
        self._failures += 1
        if self.health.trouble != "unauthorized":
            self.health.trouble, self.health.message = "unavailable", message
        delay = self._delay(retry_after)
        if retry_after is not None or self._failures >= self.PATIENCE:
            self._shut(delay)
        return delay

    def close(self) -> None:
        """Stop the time that it waits for."""
        if self._pause:
            self._pause.cancel()
        self._pause = None

    def _delay(self, retry_after: float | None) -> float:
        now = self._clock.now()
        asked = int(retry_after * 1000) if retry_after is not None else None
        again = next_attempt(self._policy, self._failures, now, self._clock.jitter(), retry_after_ms=asked)
        return (again - now) / 1000

    def _shut(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        if self._pause is None or self._pause.when() < loop.time() + delay:
            self.close()
            self._pause = loop.call_later(delay, self._due)
        self._settle()

    def _due(self) -> None:
        self._pause = None
        self._settle()

    def _settle(self) -> None:
        if self.health.suspended or self.health.trouble == "unauthorized" or self._pause is not None:
            self._open.clear()
        else:
            self._open.set()
