"""Reads what `sampled` wrote: which functions the operator's CPU time went to."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TOP: Final = 30

_BELOW: Final = "asyncio/events.py:Handle._run"
"""What calls this is the same for all."""


def summary(samples: Path) -> list[str]:
    """The functions that cost most, by themselves and with all that they call."""
    alone: Counter[str] = Counter()
    together: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    head, *lines = samples.read_text().splitlines()
    for stack, count in _stacks(lines):
        alone[stack[-1]] += count
        packages[stack[-1].split("/")[0]] += count
        together.update(dict.fromkeys(stack, count))
    spent = float(head.removeprefix("# "))
    seconds = spent / max(1, alone.total())
    return [
        f"profile: {alone.total()} samples of {spent:.2f} CPU-s",
        "by package, the functions themselves:",
        *_lines(packages, seconds),
        "by function, itself:",
        *_lines(alone, seconds),
        "by function, with what it calls:",
        *_lines(together, seconds),
    ]


def _stacks(lines: list[str]) -> Iterator[tuple[list[str], int]]:
    for line in lines:
        text, _, count = line.rpartition(" ")
        stack = text.split(";")
        loop = stack.index(_BELOW) if _BELOW in stack else 0
        yield stack[loop:], int(count)


def _lines(counts: Counter[str], seconds: float) -> Iterator[str]:
    """The largest, in milliseconds; a sample stands for so many seconds."""
    for name, count in counts.most_common(TOP):
        yield f"{1000 * seconds * count:7.0f} ms  {name}"
