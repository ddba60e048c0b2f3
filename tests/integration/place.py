"""A namespace of one's own on a running Rollbook: what can be done in it, and what it then shows."""

import json
import re
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tests import builders
from tests.controlplane.api import Object, eventually
from tests.controlplane.pods import PREFIX, complete, move_tag, pods_of, replay
from tests.integration.shown import Lens, Showing, Shown, digest, fitted, full
from tests.stack import Stack

WITHIN: Final = 60.0
"""Seconds in which something must be seen; much happens at once, on a busy machine."""

_STEERING: Final = ("digest", "delay", "fail", "mixed", "image-id-format")


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
        """Let those pods of a workload start anew whose annotations of the harness differ."""
        wanted = {PREFIX + name: value for name, value in annotations.items()}
        for pod in pods_of(self.cluster.api, workload, self.namespace):
            said = pod["metadata"].get("annotations", {})
            if all(said.get(name) == value for name, value in wanted.items()):
                continue
            replay(self.cluster.api, pod, **annotations)

    def edit_records(self, spec: Mapping[str, Any] | None = None, status: Mapping[str, Any] | None = None) -> None:
        """Write into the spec or the status of all records, as an admin could."""
        for record in self.own_records():
            if spec:
                self.cluster.api.patch(record, {"spec": spec}, kind="merge-patch")
            if status:
                self.cluster.api.patch(record, {"status": status}, subresource="status", kind="merge-patch")

    def delete_records(self, showing: Mapping[str, Any]) -> None:
        """Delete the records that show this."""
        for record in self.own_records():
            if fitted(self.lens.record(record), showing) == showing:
                self.cluster.api.delete(record)

    def own_records(self) -> list[Object]:
        """The records of the namespace, as they are now."""
        return self.cluster.api.find("rollbook.dev/v1alpha1", "DeploymentRecord", self.namespace)

    def see(self, within: float = WITHIN, **wanted: Any) -> None:
        """Wait until the namespace shows what is wanted; of what is not mentioned, anything."""
        try:
            eventually(lambda: not self.differences(self.shown(), wanted), within=within)
        except TimeoutError:
            raise AssertionError(_told(self.differences(self.shown(), wanted))) from None

    def wait(self, until: Callable[[Shown], bool]) -> None:
        """Wait for what is shown to be so."""
        eventually(lambda: until(self.shown()), within=WITHIN)

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
            case "progressing":
                return fitted({each: self.lens.progressing(shown, each) for each in wanted}, wanted)
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
    `paused`, `recreate` (the strategy), `deadline`, `annotations`, `labels`, `pod-annotations`, and what
    steers the harness.
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
