"""What was measured, beside what was promised: figures, and how they are shown."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value. Every budget is an upper bound."""

    stage: str
    name: str
    value: float
    unit: str = ""
    budget: float | None = None

    @property
    def verdict(self) -> str:
        """`ok`, `MISS`, or nothing where nothing was promised."""
        if self.budget is None:
            return ""
        return "ok" if self.value <= self.budget else "MISS"

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Its row in a table."""
        budget = "" if self.budget is None else f"<= {readable(self.budget)}"
        return self.name, readable(self.value), self.unit, budget, self.verdict


@dataclass(slots=True, kw_only=True)
class Report:
    """All that one run has found.

    Attributes:
        parameters: What was run, and on what.
        figures: In the order of measuring.
        requests: By stage: `<verb> <resource>` of the operator's requests, as the audit log counts them.
        profiles: By stage: lines of text.
        failures: What the operator has logged as failed, and tried again; each once.
        faults: What was lost, or sent twice, one sentence each: these are no matter of speed.
    """

    parameters: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    profiles: dict[str, list[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, stage: str, name: str, value: float, unit: str = "", *, budget: float | None = None) -> None:
        """Add a figure."""
        self.figures.append(Figure(stage=stage, name=name, value=value, unit=unit, budget=budget))

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        figures = [{**asdict(each), "verdict": each.verdict} for each in self.figures]
        path.write_text(json.dumps({**asdict(self), "figures": figures}, indent=2) + "\n")

    def show(self, console: Console) -> None:
        """Print tables for people."""
        for stage, figures in _by_stage(self.figures):
            table = Table("figure", title=stage, title_justify="left", min_width=80)
            for column in ("value", "unit", "budget", ""):
                table.add_column(column, justify="left" if column == "unit" else "right")
            for each in figures:
                colour = {"ok": "green", "MISS": "bold red", "": None}[each.verdict]
                table.add_row(*each.cells[:4], f"[{colour}]{each.verdict}[/]" if colour else "")
            console.print(table)
            if stage in self.requests:
                console.print(f"  API requests: {_listed(self.requests[stage])}", soft_wrap=True, highlight=False)
            for line in self.profiles.get(stage, ()):
                console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        for failure in self.failures:
            console.print(f"failed and retried: {failure}", markup=False, highlight=False, soft_wrap=True)
        for fault in self.faults:
            console.print(f"FAULT: {fault}", style="bold red", markup=False)

    def markdown(self) -> str:
        """The same tables, for docs/benchmarks.md."""
        lines = [", ".join(f"{name} {value}" for name, value in self.parameters.items()) + "."]
        for stage, figures in _by_stage(self.figures):
            lines += ["", f"### {stage[:1].upper()}{stage[1:]}", "", "| figure | value | | budget | |"]
            lines += ["|---|---:|---|---:|---|"]
            lines += [f"| {' | '.join(each.cells)} |" for each in figures]
            if stage in self.requests:
                lines += ["", f"API requests: {_listed(self.requests[stage])}."]
        return "\n".join([*lines, *(f"\n**{fault}**" for fault in self.faults)])


def readable(value: float) -> str:
    """Three significant digits are as many as a machine that does other things can tell."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _by_stage(figures: Sequence[Figure]) -> Iterator[tuple[str, list[Figure]]]:
    for stage in dict.fromkeys(each.stage for each in figures):
        yield stage, [each for each in figures if each.stage == stage]


def _listed(requests: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(requests.items(), key=lambda item: -item[1]))
