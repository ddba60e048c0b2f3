"""Epoch milliseconds in words."""

from datetime import UTC, datetime
from functools import lru_cache

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


@lru_cache(maxsize=256)  # the three times of a fresh record are one
def rfc3339(ms: int) -> str:
    """`2000-01-23T04:56:07.000Z`, as Chainloop writes times (WIRE §2.1)."""
    seconds, millis = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{millis:03d}Z"


def minute(ms: int) -> str:
    """`2000-01-23 04:56 UTC`, for people."""
    return f"{rfc3339(ms)[:16].replace('T', ' ')} UTC"


def span(ms: int) -> str:
    """How long, in its two largest units: `3 d 4 h`, `2 min 5 s`, `1.2 s`."""
    if ms < _MINUTE:
        return f"{ms / 1000:.1f} s"
    if ms < _HOUR:
        return f"{ms // _MINUTE} min {ms % _MINUTE // 1000} s"
    if ms < _DAY:
        return f"{ms // _HOUR} h {ms % _HOUR // _MINUTE} min"
    return f"{ms // _DAY} d {ms % _DAY // _HOUR} h"


def ago(ms: int, now: int) -> str:
    """How long before `now`, in one unit; what lies ahead of our clock is `just now`."""
    past = now - ms
    if past < _MINUTE:
        return "just now"
    if past < _HOUR:
        return f"{past // _MINUTE} min ago"
    if past < _DAY:
        return f"{past // _HOUR} h ago"
    days = past // _DAY
    return f"{days} day{'s' if days > 1 else ''} ago"
