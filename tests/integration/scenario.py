"""Scenarios as data: what is done to a cluster, and what people and trackers then see of it.

One YAML document below `tests/scenarios/` is one scenario. Each has a namespace of its own, labelled with an
environment of its own; all are played side by side. Their steps, one key each:

| step | does |
|---|---|
| deploy | applies a Deployment; given again, what is given is merged into it, null takes away |
| apply | applies any object |
| kubectl | runs kubectl in the namespace; `$namespace` and `$environment` are replaced |
| move tag | lets containers of all pods of a workload restart with another digest |
| replay | lets the pods of a workload start anew with other annotations of the harness |
| edit records | patches spec or status of all records, as an admin could |
| delete records | deletes the records that show what is given |
| see | waits until state, events, records, pods (ready ones), progressing (that condition) or complete are so |

`before` is done before the operator is started for the first time, `away` while it is not running. `expect` is the
whole truth at the end, once nothing more can come; `shown` says how it is written.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.controlplane.api import eventually
from tests.integration.place import WITHIN, Place
from tests.integration.shown import Showing, Shown, fitted
from tests.stack import Stack

FOLDER: Final = Path(__file__).parents[1] / "scenarios"
GRACE: Final = 4.0
"""Seconds scaled to zero, or gone, before it counts: so short that a test can wait for it."""

SIDE_BY_SIDE: Final = 32

_WAITING: Final = ("rollbook_queue_workloads", "rollbook_backlog_slots")


Steps = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One document of the YAML files."""

    name: str
    row: str
    """Of the table in `core.plan`."""
    why: str
    expect: Mapping[str, Any]
    before: Steps = ()
    steps: Steps = ()
    away: Steps = ()


def load(folder: str) -> list[Scenario]:
    """The scenarios of a folder, by file and in their order there."""
    return [Scenario(**each) for file in sorted((FOLDER / folder).glob("*.yaml")) for each in _documents(file)]


def _documents(file: Path) -> Iterator[dict[str, Any]]:
    yield from (each for each in yaml.safe_load_all(file.read_text()) if each)


@dataclass(slots=True, kw_only=True)
class Play:
    """One scenario on its way."""

    scenario: Scenario
    place: Place
    error: BaseException | None = None

    def act(self, steps: Steps) -> None:
        """Do some of its steps; what goes wrong is kept for the scenario's own test."""
        if self.error is not None:
            return
        try:
            self._do(steps)
        except Exception as error:  # noqa: BLE001 - raised by the test that is about it
            self.error = error

    def _do(self, steps: Steps) -> None:
        for number, step in enumerate(steps, start=1):
            ((name, given),) = step.items()
            try:
                self._step(name, given)
            except Exception as error:
                raise AssertionError(f"step {number}, {name}: {error}") from error

    def _step(self, name: str, given: Any) -> None:
        place = self.place
        steps: Mapping[str, Callable[[], object]] = {
            "deploy": lambda: place.deploy(**given),
            "apply": lambda: place.apply(given),
            "kubectl": lambda: place.kubectl(given),
            "move tag": lambda: place.move_tag(**given),
            "edit records": lambda: place.edit_records(**given),
            "delete records": lambda: place.delete_records(given),
            "replay": lambda: place.replay(given["workload"], given["annotations"]),
            "see": lambda: place.see(**given),
        }
        steps[name]()

    def outcome(self, shown: Shown) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What is shown in the end, and what should be."""
        if self.error:
            raise self.error
        expected: dict[str, Any] = {"state": {}, "events": {}, "records": [], **self.scenario.expect}
        got = self.place.everything(shown)
        seen = {
            name: {key: fitted(lines, expected[name].get(key)) for key, lines in got[name].items()}
            for name in ("state", "events")
        }
        return {**seen, "records": fitted(got["records"], expected["records"])}, expected


def stage(stack: Stack, showing: Showing, scenarios: Sequence[Scenario]) -> tuple[Play, ...]:
    """Give each scenario a place of its own."""

    def placed(scenario: Scenario) -> Play:
        place = Place(stack, showing, scenario.name)
        place.lens.learn(str(scenario))
        return Play(scenario=scenario, place=place)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return tuple(pool.map(placed, scenarios))


def act(plays: Sequence[Play], part: str) -> None:
    """Do `before`, `steps` or `away` of all, side by side."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(lambda each: each.act(getattr(each.scenario, part)), plays))


def settled(stack: Stack, showing: Showing) -> Shown:
    """What is shown when nothing more can come: past all graces, with nothing owed to anybody."""
    quiet_from = time.monotonic() + 1.5 * GRACE
    eventually(lambda: time.monotonic() > quiet_from and _is_quiet(stack), within=WITHIN)
    return showing.now()


def _is_quiet(stack: Stack) -> bool:
    """Whether the operator owes nobody anything."""
    waiting = {name: value for name, value in stack.metrics().items() if name.startswith(_WAITING)}
    return bool(waiting) and not any(waiting.values())


def decisions(stack: Stack) -> dict[str, float]:
    """How often each row applied in this life of the operator, by its own count."""
    start = 'rollbook_decisions_total{row="'
    return {
        name.removeprefix(start).removesuffix('"}'): value
        for name, value in stack.metrics().items()
        if name.startswith(start)
    }
