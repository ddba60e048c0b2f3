"""Scenarios as data: what is done to a cluster, and what people and trackers then see of it.

One YAML document of `tests/scenarios/*.yaml` is one scenario. Each has a namespace of its own, labelled with an
environment of its own; all are played side by side. Their steps, one key each:

| step | does |
|---|---|
| deploy | applies a Deployment; given again, what is given is merged into it, null takes away |
| apply | applies any object |
| kubectl | runs kubectl in the namespace; `$namespace` and `$environment` are replaced |
| move tag | lets containers of all pods of a workload restart with another digest |
| replay | lets the pods of a workload start anew with other annotations of the harness |
| edit records | patches the status of all records, as an admin could |
| delete records | deletes the records that show what is given |
| see | waits until state, events, records, ready pods or a complete rollout are as given; the rest may be anything |

`before` is done before the operator is started for the first time. `expect` is the whole truth at the end, once
nothing more can come; `shown` says how it is written.
"""

import json
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests import builders
from tests.controlplane.api import Object, eventually
from tests.controlplane.pods import complete, move_tag, pods_of, replay
from tests.integration.shown import Lens, Showing, Shown, digest, fitted, full
from tests.stack import Stack

FOLDER: Final = Path(__file__).parents[1] / "scenarios"
GRACE: Final = 4.0
"""Seconds scaled to zero, or gone, before it counts: shorter than any install's, so that a test can wait for it."""

WITHIN: Final = 60.0
"""Seconds in which a step's outcome must be seen; all scenarios are played at once, on a busy machine."""

SIDE_BY_SIDE: Final = 32

_WAITING: Final = ("rollbook_queue_workloads", "rollbook_backlog_slots")
_STEERING: Final = ("digest", "delay", "fail", "mixed", "image-id-format")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One document of the YAML files."""

    name: str
    row: str
    """Of the table in `core.plan`."""
    why: str
    steps: Sequence[Mapping[str, Any]]
    expect: Mapping[str, Any]
    before: Sequence[Mapping[str, Any]] = ()


def load() -> list[Scenario]:
    """All scenarios, by file and in their order there."""
    return [Scenario(**each) for file in sorted(FOLDER.glob("*.yaml")) for each in _documents(file)]


def _documents(file: Path) -> Iterator[dict[str, Any]]:
    yield from (each for each in yaml.safe_load_all(file.read_text()) if each)


class Place:
    """A namespace of one's own, in an environment of its own.

    Args:
        stack: Where.
        showing: Shared by all who look at the same time.
        name: What the namespace's name begins with.
    """

    def __init__(self, stack: Stack, showing: Showing, name: str) -> None:
        slug = re.sub(r"\W+", "-", name.lower())[:40].strip("-")
        self.cluster = stack.cluster
        self.environment = f"env-{secrets.token_hex(3)}"
        self.namespace = self.cluster.new_namespace(
            prefix=slug, labels={"rollbook.dev/environment": self.environment}
        )
        self.lens = Lens(namespace=self.namespace, environment=self.environment)
        self._showing = showing
        self._deployed: dict[str, dict[str, Any]] = {}

    def kubectl(self, line: str) -> str:
        """Run kubectl in the namespace."""
        words = shlex.split(self._substituted(line))
        return self.cluster.kubectl("-n", self.namespace, *words)

    def apply(self, obj: Object) -> Object:
        """Apply any object."""
        return self.cluster.api.apply(json.loads(self._substituted(json.dumps(obj))), namespace=self.namespace)[0]

    def deploy(self, name: str = "web", **changes: Any) -> Object:
        """Apply a Deployment, or what changes of it; see `_manifest` for the names."""
        self.lens.learn(str(changes))
        self._deployed[name] = _merged(self._deployed.get(name, {}), changes)
        return self.apply(_manifest(name, self._deployed[name]))

    def move_tag(self, workload: str, to: str, *, container: str = "", pods: int = 99) -> None:
        """Let containers of (some) pods of a workload restart with another digest under the same reference."""
        for pod in pods_of(self.cluster.api, workload, self.namespace)[:pods]:
            move_tag(self.cluster.api, pod, digest(to), container=container)

    def replay(self, workload: str, annotations: Mapping[str, str | None]) -> None:
        """Let the pods of a workload start anew with other annotations of the harness."""
        for pod in pods_of(self.cluster.api, workload, self.namespace):
            replay(self.cluster.api, pod, **annotations)

    def edit_records(self, status: Mapping[str, Any]) -> None:
        """Write into the status of all records."""
        for record in self._records():
            self.cluster.api.patch(record, {"status": status}, subresource="status", kind="merge-patch")

    def delete_records(self, showing: Mapping[str, Any]) -> None:
        """Delete the records that show this."""
        for record in self._records():
            if fitted(self.lens.record(record), showing) == showing:
                self.cluster.api.delete(record)

    def _records(self) -> list[Object]:
        return self.cluster.api.find("rollbook.dev/v1alpha1", "DeploymentRecord", self.namespace)

    def see(self, within: float = WITHIN, **wanted: Any) -> None:
        """Wait until the namespace shows what is wanted; of what is not mentioned, anything."""
        try:
            eventually(lambda: not self.differences(self.shown(), wanted), within=within)
        except TimeoutError:
            raise AssertionError(_told(self.differences(self.shown(), wanted))) from None

    def shown(self) -> Shown:
        """What is shown now."""
        return self._showing.now()

    def differences(self, shown: Shown, wanted: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
        """What is not as wanted: its name, what it is, what it should be."""
        found = ((name, self._got(shown, name, value), value) for name, value in wanted.items())
        return [each for each in found if each[1] != each[2]]

    def everything(self, shown: Shown) -> dict[str, Any]:
        """What trackers and records show, complete."""
        return {"state": self.lens.state(shown), "events": self.lens.events(shown), "records": self.records(shown)}

    def records(self, shown: Shown) -> list[dict[str, Any]]:
        """What the records show."""
        return self.lens.records(shown)

    def _got(self, shown: Shown, name: str, wanted: Any) -> Any:
        match name:
            case "state":
                return fitted(self.lens.state(shown), wanted)
            case "events":
                return fitted(self.lens.events(shown), wanted)
            case "records":
                return fitted(self.records(shown), wanted)
            case "pods":
                return {each: self.lens.ready_pods(shown, each) for each in wanted}
            case "complete":
                found = self.lens.deployment(shown, wanted)
                return wanted if found and complete(found) else found and found.get("status")
            case _:
                raise LookupError(f"nothing is called {name}")

    def _substituted(self, text: str) -> str:
        self.lens.learn(text)
        return text.replace("$namespace", self.namespace).replace("$environment", self.environment)


def _told(differences: Sequence[tuple[str, Any, Any]]) -> str:
    return "\n".join(f"{name} is\n    {got}\nnot\n    {wanted}" for name, got, wanted in differences)


def _merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`before` with the changes in it, as a merge patch has them."""
    merged = dict(before)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = _merged(merged.get(name, {}), value)
        else:
            merged[name] = value
    return merged


def _manifest(name: str, given: Mapping[str, Any]) -> Object:
    """A Deployment from its short form.

    `image` or `containers` (name to image), `sidecars` and `init` likewise, `env` of all containers, `replicas`,
    `paused`, `recreate` (the strategy), `deadline`, `annotations`, `labels`, `pod-annotations`, and what steers the harness.
    """
    env = [{"name": key, "value": str(value)} for key, value in given.get("env", {}).items()]
    images = given.get("containers") or {"app": given["image"]}
    deadline = {"progressDeadlineSeconds": given["deadline"]} if "deadline" in given else {}
    started = [builders.container(each, full(image)) for each, image in given.get("init", {}).items()]
    kept = [
        builders.container(each, full(image), restartPolicy="Always")
        for each, image in given.get("sidecars", {}).items()
    ]
    return builders.deployment(
        name,
        namespace="$namespace",
        replicas=given.get("replicas", 1),
        annotations=given.get("annotations"),
        labels=given.get("labels"),
        spec={"paused": given.get("paused", False), **deadline, **_strategy(given)},
        containers=[builders.container(each, full(image), env=env) for each, image in images.items()],
        pod={"initContainers": [*started, *kept]},
        pod_annotations=given.get("pod-annotations"),
        harness=_steering(given),
    )


def _strategy(given: Mapping[str, Any]) -> Object:
    return {"strategy": {"type": "Recreate"}} if given.get("recreate") else {}


def _steering(given: Mapping[str, Any]) -> dict[str, str]:
    wanted = {name: str(given[name]).lower() for name in _STEERING if name in given}
    return wanted | ({"digest": digest(wanted["digest"])} if "digest" in wanted else {})


@dataclass(slots=True, kw_only=True)
class Play:
    """One scenario on its way."""

    scenario: Scenario
    place: Place
    error: BaseException | None = None

    def prepare(self) -> None:
        """Do what comes before the operator."""
        self._try(self.scenario.before)

    def run(self) -> None:
        """Do the rest."""
        if self.error is None:
            self._try(self.scenario.steps)

    def _try(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """What goes wrong is kept for the scenario's own test."""
        try:
            self._do(steps)
        except Exception as error:  # noqa: BLE001 - raised by the test that is about it
            self.error = error

    def _do(self, steps: Sequence[Mapping[str, Any]]) -> None:
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
            "edit records": lambda: place.edit_records(given),
            "delete records": lambda: place.delete_records(given),
            "replay": lambda: place.replay(given["workload"], given["annotations"]),
            "see": lambda: place.see(**given),
        }
        steps[name]()


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """All scenarios, played."""

    plays: Mapping[str, Play]
    shown: Shown
    """When nothing more could come."""
    decisions: Mapping[str, float] = field(default_factory=dict)
    """How often each row applied, by the operator's own count."""


def prepare(stack: Stack, showing: Showing, scenarios: Sequence[Scenario]) -> tuple[Play, ...]:
    """Give each scenario a place, and do what comes before the operator's first start."""

    def ready(scenario: Scenario) -> Play:
        place = Place(stack, showing, scenario.name)
        place.lens.learn(f"{scenario.before} {scenario.steps} {scenario.expect}")
        prepared = Play(scenario=scenario, place=place)
        prepared.prepare()
        return prepared

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return tuple(pool.map(ready, scenarios))


def play(stack: Stack, plays: Sequence[Play]) -> Played:
    """Play all, then wait until nothing more can come."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(Play.run, plays))
    quiet_from = time.monotonic() + 1.5 * GRACE
    eventually(lambda: time.monotonic() > quiet_from and _is_quiet(stack), within=WITHIN)
    return Played(
        plays={each.scenario.name: each for each in plays},
        shown=Showing(stack).now(),
        decisions=_decisions(stack),
    )


def _is_quiet(stack: Stack) -> bool:
    """Whether the operator owes nobody anything."""
    waiting = {name: value for name, value in stack.metrics().items() if name.startswith(_WAITING)}
    return bool(waiting) and not any(waiting.values())


def _decisions(stack: Stack) -> dict[str, float]:
    start = 'rollbook_decisions_total{row="'
    return {
        name.removeprefix(start).removesuffix('"}'): value
        for name, value in stack.metrics().items()
        if name.startswith(start)
    }
