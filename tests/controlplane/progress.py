"""What the harness is doing, one line every few seconds, on stderr; coloured only on a terminal."""

import os
import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes one line for a person to read."""

PULSE = 5.0
"""Seconds between two lines about one long step: often enough to see it live, seldom enough for a CI log."""

_DIM, _RESET = "\x1b[2m", "\x1b[0m"


def to_stderr(line: str) -> None:
    """Print one line of progress."""
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    prefix = f"{_DIM}controlplane{_RESET}" if colour else "controlplane"
    print(f"{prefix} {line}", file=sys.stderr, flush=True)  # noqa: T201  # the command's output


class Step:
    """A step that takes long: says what, then how long it has been at it, then how long it took."""

    def __init__(self, what: str, say: Say) -> None:
        self._what = what
        self._say = say
        self._started = self._spoke = time.monotonic()
        say(f"{what} …")

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def tick(self, detail: str) -> None:
        """Say how far it is, unless the last line is younger than `PULSE`."""
        if time.monotonic() - self._spoke >= PULSE:
            self._spoke = time.monotonic()
            self._say(f"{self._what}: {detail}, {self.elapsed:.0f} s")

    def done(self) -> None:
        """Say that it is over."""
        self._say(f"{self._what}: done in {self.elapsed:.1f} s")
