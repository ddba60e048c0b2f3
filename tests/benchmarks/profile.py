"""Reads what `sampled` wrote: which functions the operator's CPU time went to."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.sampled import RATE

TOP: Final = 30


def summary(samples: Path) -> list[str]:
    """The functions that cost most, by themselves and with all that they call."""
    alone: Counter[str] = Counter()
    together: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    total = 0
    for stack, count in _stacks(samples):
        total += count
        alone[stack[-1]] += count
        packages[stack[-1].split("/")[0]] += count
        together.update(dict.fromkeys(stack, count))
    return [
        f"profile: {total / RATE:.2f} CPU-s sampled",
        "",
        "by package, of the function itself:",
        *_lines(packages, total),
        "",
        "by function, itself:",
        *_lines(alone, total),
        "",
        "by function, with what it calls:",
        *_lines(together, total),
    ]


def _stacks(samples: Path) -> Iterator[tuple[list[str], int]]:
    for line in samples.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        yield stack.split(";"), int(count)


def _lines(counts: Counter[str], total: int) -> Iterator[str]:
    for name, count in counts.most_common(TOP):
        yield f"{100 * count / max(1, total):5.1f} %  {1000 * count / RATE:7.0f} ms  {name}"
