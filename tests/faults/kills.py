"""Kills an operator at chosen moments, and tells afterwards what each kill has hit.

The operator talks to the API server and to the tracker through a `Proxy` each: what it had asked for when it died,
and whether it had its answer, is known to the millisecond.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.faults.exchange import Exchange, Moment

SLOTS: Final = "/environmentslots"
EVENTS: Final = "/api/v2/engineering-insights/deployment-events"
RECORDS: Final = "/v1/deployments"

HOLD: Final = 0.03
"""Seconds for which every answer of the tracker is held, as if it were not next door."""


class Hit(StrEnum):
    """What the operator was at when it died."""

    BEFORE = "before any write of the step"
    SLOT_SENT = "during a slot write, not answered yet"
    SLOT_TAKEN = "during a slot write, taken, its answer lost"
    WRITTEN = "after a slot write, before the first POST"
    POST_SENT = "during a POST, not answered yet"
    POST_TAKEN = "during a POST, taken, its answer lost"
    TOLD = "after a POST, before its progress was written"
    SETTLED = "after the progress was written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """When to kill: at a moment of the nth slot write or POST from now on, or by the clock alone.

    Args:
        at: `slot`, `post`, or empty for the clock.
        moment: Of that exchange.
        nth: Which of them, from 1.
        delay: Seconds after that.
    """

    at: str = ""
    moment: Moment = Moment.RECEIVED
    nth: int = 1
    delay: float = 0.0


def deck(rng: random.Random, count: int) -> list[Aim]:
    """So many aims, all kinds of them, in random order; most at writes: only so are the short moments hit."""
    aims = [_aim(rng, _TARGETS[number % len(_TARGETS)]) for number in range(count)]
    return rng.sample(aims, count)


_TARGETS: Final = (
    ("slot", Moment.RECEIVED),
    ("slot", Moment.ANSWERED),
    ("slot", Moment.DELIVERED),
    ("post", Moment.RECEIVED),
    ("post", Moment.ANSWERED),
    ("post", Moment.DELIVERED),
    ("", Moment.RECEIVED),
    ("", Moment.RECEIVED),
)


def _aim(rng: random.Random, target: tuple[str, Moment]) -> Aim:
    at, moment = target
    if not at:
        return Aim(delay=rng.choice((rng.uniform(0, 0.05), rng.uniform(0, 0.5))))
    if target == ("slot", Moment.DELIVERED):
        return Aim(at=at, moment=moment)  # the first one is followed by a POST, always
    delay = rng.uniform(0, 0.1) if moment is Moment.DELIVERED else 0.0
    return Aim(at=at, moment=moment, nth=rng.randint(1, 3), delay=delay)


class Assassin:
    """Waits for its moment and sends SIGKILL."""

    def __init__(self) -> None:
        self.killed: float | None = None
        """When, by `time.monotonic`."""
        self._struck = threading.Event()
        self._lock = threading.Lock()
        self._pid = 0
        self._aim: Aim | None = None
        self._left = 0

    def arm(self, pid: int, aim: Aim) -> None:
        """Kill process `pid` when the time has come."""
        with self._lock:
            self._pid, self._aim, self._left, self.killed = pid, aim, aim.nth, None
            self._struck.clear()
        if not aim.at:
            self._later(aim)

    def hook(self, exchange: Exchange, moment: Moment) -> float:
        """Of both proxies: holds the tracker's answers, and what it kills in."""
        at = kind_of(exchange)
        hold = HOLD if at == "post" and moment is Moment.ANSWERED else 0.0
        with self._lock:
            aim = self._aim
            if aim is None or (at, moment) != (aim.at, aim.moment):
                return hold
            self._left -= 1
            if self._left != 0:
                return hold
        if aim.delay:
            self._later(aim)
            return hold
        self.strike(aim)
        return HOLD

    def strike(self, aim: Aim | None = None) -> None:
        """Kill now, unless the time for `aim` is over."""
        with self._lock:
            if self._aim is None or aim not in (None, self._aim):
                return
            os.kill(self._pid, signal.SIGKILL)
            self._aim, self.killed = None, time.monotonic()
            self._struck.set()

    def has_struck(self, within: float) -> bool:
        """Whether it has killed, waiting for so many seconds."""
        return self._struck.wait(within)

    def _later(self, aim: Aim) -> None:
        timer = threading.Timer(aim.delay, self.strike, [aim])
        timer.daemon = True
        timer.start()


def kind_of(exchange: Exchange) -> str:
    """`slot` for a write of a slot, `post` for a delivery, else empty."""
    if exchange.method in {"POST", "PATCH"} and SLOTS in exchange.path:
        return "slot"
    return "post" if exchange.method == "POST" and exchange.path in {EVENTS, RECORDS} else ""


def classify(exchanges: Iterable[Exchange], *, step: float, life: float, killed: float) -> Hit:
    """What a kill has hit.

    Args:
        exchanges: All that the operator ever asked for.
        step: When the step began.
        life: When the killed process began.
        killed: When it was killed.
    """
    asked = sorted((each for each in exchanges if kind_of(each)), key=lambda each: each.received)
    for kind, sent, taken in (
        ("post", Hit.POST_SENT, Hit.POST_TAKEN),
        ("slot", Hit.SLOT_SENT, Hit.SLOT_TAKEN),
    ):
        flying = [each for each in asked if kind_of(each) == kind and each.received >= life]
        flying = [each for each in flying if each.delivered is None or each.delivered > killed]
        if flying:
            answered = (each.answered for each in flying)
            return taken if any(at is not None and at <= killed for at in answered) else sent
    return max(_after(asked, step), key=list(Hit).index, default=Hit.BEFORE)


def _after(asked: list[Exchange], step: float) -> Iterator[Hit]:
    """How far each slot was when nothing was under way; what has least behind it counts."""
    names = {each.json["metadata"]["name"]: _deployment(each) for each in asked if _creates(each)}
    last: dict[str, Hit] = {}
    for each in asked:
        if each.received < step or each.answered is None:
            continue
        if kind_of(each) == "slot":
            name = each.json["metadata"]["name"] if _creates(each) else each.path.rpartition("/")[2]
            last[names[name]] = Hit.WRITTEN if each.json["status"].get("undelivered") else Hit.SETTLED
        else:
            last[_told_of(each)] = Hit.TOLD
    order = (Hit.WRITTEN, Hit.TOLD, Hit.SETTLED)
    yield from sorted(last.values(), key=order.index)[:1]


def _creates(exchange: Exchange) -> bool:
    return exchange.method == "POST" and exchange.path.endswith(SLOTS)


def _deployment(creation: Exchange) -> str:
    spec = creation.json["spec"]
    return f"{spec['namespace']}/{spec['workload']['name']}/{spec['container']}"


def _told_of(post: Exchange) -> str:
    """The deployment name in a delivery."""
    if post.path == RECORDS:
        return str(post.json["deployment_name"])
    return str(post.json["deploymentMetadata"]["deploymentName"])
