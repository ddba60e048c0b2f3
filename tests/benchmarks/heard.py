"""Reads what the tap and the witness have written: what was accepted and what was complete, and when."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.load import Rollout, Workload

Fact = tuple[str, str, str]
"""What the tracker was told: the slot's or the application's name, the version, the status or event."""


def deployed(workload: Workload, version: str) -> Fact:
    """By *record a deployment*."""
    return workload.deployment_name, version, "DEPLOYED"


def event(workload: Workload, version: str, kind: str) -> Fact:
    """By *create deployment event*; `kind` is `started`, `finished` or `failed`."""
    return workload.name, version, kind


def owed(rollout: Rollout) -> tuple[Fact, ...]:
    """All that the tracker must be told of a rollout, each once."""
    workload, version = rollout.workload, rollout.version
    events = (event(workload, version, kind) for kind in ("started", "finished"))
    return deployed(workload, version), *events


class Lines:
    """Follows a file of JSON lines that another process writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """The whole lines since the last call; what is no JSON is passed over."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            if line.startswith(b"{"):
                yield json.loads(line)


@dataclass(slots=True)
class Accepted:
    """What the tracker has answered."""

    lines: Lines
    first: dict[Fact, int] = field(default_factory=dict)
    """When each was first accepted, in ns since the epoch."""
    times: Counter[Fact] = field(default_factory=Counter)
    """How often each was accepted."""
    posts: int = 0
    refused: int = 0

    def read(self) -> "Accepted":
        """Take up what has been written since."""
        for line in self.lines.new():
            self.posts += 1
            if not 200 <= line["status"] < 300:
                self.refused += 1
                continue
            fact = _fact(line["path"], line["body"])
            self.first.setdefault(fact, line["at"])
            self.times[fact] += 1
        return self

    def take_repeated(self) -> list[Fact]:
        """What was accepted more than once; each repetition is shown once."""
        repeated = [fact for fact, count in self.times.items() if count > 1]
        for fact in repeated:
            self.times[fact] = 1
        return repeated


def _fact(path: str, body: dict[str, Any]) -> Fact:
    if path == "/v1/deployments":
        return body["deployment_name"], body.get("artifact_version", ""), body["status"]
    return body["applicationKey"], body["version"], body["eventType"]


@dataclass(slots=True)
class Completed:
    """What the witness has seen complete."""

    lines: Lines
    first: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """By namespace, name and image, in ns since the epoch."""

    def read(self) -> "Completed":
        """Take up what has been written since."""
        for line in self.lines.new():
            self.first.setdefault((line["namespace"], line["name"], line["image"]), line["at"])
        return self

    def at(self, rollout: Rollout) -> int | None:
        """When a rollout was seen complete, if it was."""
        workload = rollout.workload
        return self.first.get((workload.namespace, workload.name, workload.image(rollout.version)))
