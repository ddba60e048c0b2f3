"""Tells the story in a few lines: colours on a terminal, plain text in a pipe."""

import os
import shlex
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.demo.facts import Facts
from tests.demo.story import Place, Step

_STYLES: Final = {
    "DEPLOYED": "green",
    "SUPERSEDED": "dim",
    "DECOMMISSIONED": "yellow",
    "started": "cyan",
    "finished": "green",
    "failed": "red",
}

_WIDE: Final = 200
"""Columns where there is no terminal: lines are not broken for somebody's file."""


class Narrator:
    """Writes to stdout."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty() and "CI" not in os.environ
        """Whether a person is looking, who can press Ctrl-C."""
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)

    def say(self, line: str = "", style: str = "") -> None:
        """One line."""
        self._console.print(Text(line, style=style), soft_wrap=True)

    def step(self, number: int, step: Step) -> None:
        """What is done next."""
        self.say()
        self.say(f"{number}. {step.title}", "bold")
        for command in step.commands:
            self.say(f"   $ kubectl {shlex.join(command.line)}", "cyan")
            if command.really:
                self.say("     (the nodes are played: a patch tells them, too, that they cannot pull it)", "dim")

    def known(self, facts: Facts, places: tuple[Place, ...], seconds: float) -> None:
        """What Rollbook has recorded of it."""
        for place in places:
            line = Text(f"   → {place.environment:<11} {place.application}  ")
            line.append_text(_history(facts, place)).append("  | ").append_text(_last_rollout(facts, place))
            self._console.print(line, soft_wrap=True)
        self.say(f"     known {seconds:.1f} s after the command", "dim")

    def verbatim(self, command: str, output: str) -> None:
        """A command and what it printed."""
        self.say()
        self.say(f"$ {command}", "bold cyan")
        self.say(output.rstrip())

    def tracker(self, facts: Facts, places: tuple[Place, ...]) -> None:
        """What the tracker holds, as a table."""
        table = Table(
            "environment", "deployment", "history", "rollouts", box=None, header_style="bold", padding=(0, 2, 0, 0)
        )
        for place in sorted(places, key=lambda one: (one.application, one.environment)):
            table.add_row(
                place.environment, place.deployment_name, _history(facts, place), _rollouts(facts, place)
            )
        self.say()
        self.say("What the tracker holds:", "bold")
        self._console.print(table)

    def verdict(self, wrong: list[str]) -> int:
        """What is wrong, if anything is; returns the exit code."""
        self.say()
        for line in wrong:
            self.say(f"wrong: {line}", "red")
        if not wrong:
            self.say("Checked: the tracker, the records and the running pods agree with the story.", "green")
        return 1 if wrong else 0


def _history(facts: Facts, place: Place) -> Text:
    parts = [
        Text(f"{version} {status}", _STYLES[status]).append(
            f" {digest.removeprefix('sha256:')[:12]}" if status == "DEPLOYED" else "", "default"
        )
        for version, digest, status in reversed(facts.history(place))
    ]
    return Text(", ").join(parts)


def _rollouts(facts: Facts, place: Place) -> Text:
    parts = [_ended(rollout) for rollout in facts.rollouts if _is_of(rollout, place)]
    return Text(", ").join(parts)


def _last_rollout(facts: Facts, place: Place) -> Text:
    events = facts.events(place)
    last = [event for event in events[-2:] if event["version"] == events[-1]["version"]]
    line = Text(f"rollout of {last[-1]['version']}: ")
    line.append_text(Text(", ").join(Text(event["eventType"], _STYLES[event["eventType"]]) for event in last))
    reason = last[-1]["eventMetadata"].get("reason")
    return line.append(f" ({reason})") if reason else line


def _ended(rollout: dict[str, Any]) -> Text:
    status = rollout["status"]
    line = Text(f"{rollout['applicationVersion']} ").append(status, _STYLES[status])
    reasons = [
        event["eventMetadata"].get("reason") for event in rollout["events"] if event["eventType"] == "failed"
    ]
    return line.append(f" ({reasons[-1]})") if reasons else line


def _is_of(rollout: dict[str, Any], place: Place) -> bool:
    return (rollout["environmentKey"], rollout["applicationKey"]) == (place.environment, place.application)
