"""What people and trackers see of one namespace, in words short enough to be written down in a scenario.

Images are written without their registry (`web:1`), digests by the image that shows them or as one letter
(`a` is `sha256:aaa…`), `short(web:1)` is a digest's first twelve digits.

| of | one line is |
|---|---|
| state | version, digest, status: `1 web:1 SUPERSEDED` |
| events | version, type, a failure's reason, the time's source: `2 failed CrashLoopBackOff ProgressingCondition` |
| records | the fields of a DeploymentRecord, its conditions as `True Deployed` |

An expected line may leave out what stands at its end, an expected record any field.
"""

import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.controlplane import images
from tests.controlplane.api import Object
from tests.stack import Stack

REGISTRY = "registry.example/shop/"

PACE = 0.25
"""Seconds between two looks at everything, however many ask: looking must not be what keeps the machine busy."""

Lines = dict[str, list[str]]
"""By deployment name or application; `@2` behind it where the environment is the namespace's second one."""

_LETTERS = "abcdef0123456789"
_IMAGE = re.compile(r"\b[a-z]+:[a-z0-9][a-z0-9.+]*")
_LABELS = ("rollbook.dev/managed-by", "rollbook.dev/workload")
_DIGESTS = ("digest", "supersedes", "runningDigest")


def full(image: str) -> str:
    """`web:1` with the registry that all images of scenarios come from."""
    return image if "/" in image else REGISTRY + image


def digest(word: str) -> str:
    """The digest that a letter or an image stands for."""
    return "sha256:" + 64 * word if word in _LETTERS else images.digest(full(word))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Everything, read at about the same time."""

    began: float
    slots: Sequence[Mapping[str, Any]]
    rollouts: Sequence[Mapping[str, Any]]
    records: Sequence[Object]
    deployments: Sequence[Object]
    pods: Sequence[Object]


class Showing:
    """Reads everything once for all who ask at the same time."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._last: Shown | None = None

    def now(self) -> Shown:
        """What is shown; nothing of it was read before this call."""
        asked = time.monotonic()
        with self._lock:
            if self._last is None or self._last.began < asked:
                self._last = self._read(self._last.began + PACE if self._last else asked)
            return self._last

    def _read(self, at: float) -> Shown:
        time.sleep(max(0.0, at - time.monotonic()))
        api, tracker = self._stack.cluster.api, self._stack.tracker
        return Shown(
            began=time.monotonic(),
            slots=tracker.slots(),
            rollouts=tracker.rollouts(),
            records=api.find("rollbook.dev/v1alpha1", "DeploymentRecord"),
            deployments=api.find("apps/v1", "Deployment"),
            pods=api.find("v1", "Pod"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """One namespace and its environments, and the words for the digests in it."""

    namespace: str
    environment: str
    words: dict[str, str] = field(default_factory=dict)

    def learn(self, text: str) -> None:
        """Take up the names of images in `text`, so that their digests can be told by them."""
        for image in _IMAGE.findall(text):
            self.words[digest(image)] = image

    def word(self, value: str) -> str:
        """What a digest, or the beginning of one, is called."""
        for known, name in (*self.words.items(), *((digest(letter), letter) for letter in _LETTERS)):
            if value == known:
                return name
            if value == known[7:19]:
                return f"short({name})"
        return value

    def state(self, shown: Shown) -> Lines:
        """The history of each slot in the tracker, oldest first."""
        start = f"{self.namespace}/"
        return {
            slot["deployment_name"].removeprefix(start) + self._place(slot["environment_name"]): [
                self._state_line(record) for record in slot["history"]
            ]
            for slot in shown.slots
            if slot["deployment_name"].startswith(start)
        }

    def _state_line(self, record: Mapping[str, Any]) -> str:
        artifact = record["artifact"]
        return f"{self.word(artifact['version'])} {self.word(artifact['digest'])} {record['status']}"

    def told(self, shown: Shown) -> dict[str, list[Mapping[str, Any]]]:
        """The rollout events of each application, in the order in which the tracker heard them."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for rollout in shown.rollouts:
            if rollout["environmentKey"].startswith(self.environment):
                application = rollout["applicationKey"] + self._place(rollout["environmentKey"])
                found.setdefault(application, []).extend(rollout["events"])
        return {name: sorted(events, key=lambda each: each["sequence"]) for name, events in found.items()}

    def events(self, shown: Shown) -> Lines:
        """The same as lines."""
        return {name: [self._event_line(each) for each in events] for name, events in self.told(shown).items()}

    def _event_line(self, event: Mapping[str, Any]) -> str:
        more = event["eventMetadata"]
        words = (self.word(event["version"]), event["eventType"], more.get("reason", ""), more["timeSource"])
        return " ".join(word for word in words if word)

    def records(self, shown: Shown) -> list[dict[str, Any]]:
        """The records of the namespace: by workload, container and environment, then in their order."""
        own = [each for each in shown.records if each["metadata"]["namespace"] == self.namespace]
        return [self.record(each) for each in sorted(own, key=_order)]

    def record(self, record: Object) -> dict[str, Any]:
        """What one record shows."""
        spec, status = record["spec"], dict(record.get("status", {}))
        status["conditions"] = {
            each["type"]: f"{each['status']} {each['reason']}" for each in status.get("conditions", [])
        }
        labels = {name: value for name, value in record["metadata"].get("labels", {}).items() if name in _LABELS}
        words = {name: self.word(status[name]) for name in ("version", *_DIGESTS) if name in status}
        return {
            "workload": spec["workload"]["name"],
            "container": spec["container"],
            "place": self._place(spec["environment"]),
            "labels": {name.partition("/")[2]: value for name, value in labels.items()},
            "reference": spec["artifact"]["reference"].removeprefix(REGISTRY),
            **status,
            **words,
        }

    def ready_pods(self, shown: Shown, workload: str) -> int:
        """How many pods of a workload are ready and stay."""
        own = (each for each in shown.pods if each["metadata"]["namespace"] == self.namespace)
        return sum(_is_ready(each) for each in own if each["metadata"]["labels"].get("app") == workload)

    def deployment(self, shown: Shown, name: str) -> Object | None:
        """A Deployment, if it is there."""
        wanted = (self.namespace, name)
        found = (
            each
            for each in shown.deployments
            if (each["metadata"]["namespace"], each["metadata"]["name"]) == wanted
        )
        return next(found, None)

    def progressing(self, shown: Shown, name: str) -> str | None:
        """The condition `Progressing` of a Deployment."""
        found = self.deployment(shown, name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        told = (f"{each['status']} {each['reason']}" for each in conditions if each["type"] == "Progressing")
        return next(told, None)

    def _place(self, environment: str) -> str:
        """Nothing in the namespace's first environment, else `@` and what tells it apart."""
        if environment == self.environment:
            return ""
        return "@" + environment.removeprefix(f"{self.environment}-")


def fitted(got: Any, wanted: Any) -> Any:
    """`got` with every part that is as wanted put as `wanted` puts it: equal, or different where it matters."""
    if isinstance(got, str) and isinstance(wanted, str):
        return wanted if f"{got} ".startswith(f"{wanted} ") else got
    if isinstance(got, list) and isinstance(wanted, list):
        return [fitted(*pair) for pair in zip(got, wanted, strict=False)] + got[len(wanted) :]
    if isinstance(got, Mapping) and isinstance(wanted, Mapping):
        return _fitted_mapping(got, wanted)
    return wanted if str(got) == str(wanted) else got


def _fitted_mapping(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted of it; a null says that it must not be there."""
    return {name: fitted(got.get(name), value) for name, value in wanted.items()}


def _order(record: Object) -> tuple[str, str, str, int]:
    spec, number = record["spec"], record["metadata"]["name"].rpartition("-")[2]
    place = (spec["workload"]["name"], spec["container"], spec["environment"])
    return (*place, int(number) if number.isdigit() else 0)


def _is_ready(pod: Object) -> bool:
    conditions: Iterable[Mapping[str, str]] = pod.get("status", {}).get("conditions", [])
    ready = any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
