"""One request and its answer, as they came by."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Moment(Enum):
    """When somebody may step in."""

    RECEIVED = auto()
    """The request is here, whole; the upstream does not know of it."""
    ANSWERED = auto()
    """The upstream has answered, so it has acted on it; the client does not know."""
    DELIVERED = auto()
    """The client has been sent the whole answer."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What is known of one; times are of `time.monotonic`, None while it has not come so far."""

    method: str
    target: str
    """Path and query."""
    body: bytes
    received: float
    forwarded: float | None = None
    answered: float | None = None
    status: int = 0
    delivered: float | None = None

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def json(self) -> dict[str, Any]:
        """The request's body."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded

    def reach(self, moment: Moment) -> None:
        """Note when it came so far."""
        now = time.monotonic()
        if moment is Moment.ANSWERED:
            self.answered = now
        elif moment is Moment.DELIVERED:
            self.delivered = now


class Cut(Exception):
    """Raised by a hook: the client's connection is cut, here and now."""


Hook = Callable[[Exchange, Moment], float]
"""Steps in: returns for how many seconds to hold the exchange (0: not at all), or raises `Cut`.

Called in the proxy's thread, so it may not block.
"""


def let_pass(_exchange: Exchange, _moment: Moment) -> float:
    """Hold nothing."""
    return 0.0
