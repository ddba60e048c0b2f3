"""The pure parts by themselves, over many slots: look, plan, projection, codec. CPU time, no I/O."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec

from rollbook.core.identity import Rules
from rollbook.core.look import View, look
from rollbook.core.outbox import Subscription, enroll, prune
from rollbook.core.plan import plan
from rollbook.core.projection import records
from rollbook.core.seen import Policy, Seen
from rollbook.core.slot import Slot
from rollbook.core.transition import Channel
from rollbook.core.workload import ContainerState, Deployment, Namespace, Pod, Progressing, ReplicaSet, WorkloadRef
from rollbook.crd.slot import decode, encode
from tests.benchmarks.figures import Report

STAGE: Final = "the pure core, CPU for each slot"

_NOW: Final = 1_795_341_600_000
_RULES: Final = Rules(cluster="bench")
_POLICY: Final = Policy(epoch=_NOW - 1000)
_SINK: Final = Subscription(
    key="7c9e6679-7425-40de-944b-e07fc1f90ae7:1f2e3d4c", channels=frozenset(Channel), since=0
)
_PODS: Final = 3

A = TypeVar("A")
B = TypeVar("B")


def measure(report: Report, *, slots: int) -> None:
    """Add the figures."""

    def timed(name: str, work: Callable[[A], B], over: Sequence[A]) -> list[B]:
        began = time.process_time()
        made = [work(each) for each in over]
        report.add(STAGE, name, 1e6 * (time.process_time() - began) / slots, "µs")
        return made

    report.add(STAGE, "a loop of additions, to compare machines and their load by", 1000 * yardstick(), "ms")
    numbers = range(slots)
    views = [_complete(number, "1.0.0", revision=1) for number in numbers]
    adopted = timed("look and plan: adopted", _first, views)
    settled = [_delivered(slot) for slot in adopted]
    timed("look and plan: unchanged", _next, list(zip(views, settled, strict=True)))
    begun = [_begun(number, "1.1.0", revision=2) for number in numbers]
    started = timed("look and plan: started", _next, list(zip(begun, settled, strict=True)))
    ended = [_complete(number, "1.1.0", revision=2) for number in numbers]
    finished = timed("look and plan: completed", _next, list(zip(ended, started, strict=True)))
    timed("records of a slot", _records, finished)
    objects = timed("encode", _encoded, finished)
    timed("decode", decode, objects)


def yardstick() -> float:
    """CPU seconds of a loop that nobody will ever improve: other work on the machine makes it slower, too."""
    began, total = time.process_time(), 0
    for number in range(2_000_000):
        total += number
    return time.process_time() - began


def _first(view: View) -> Slot:
    assert view.deployment is not None
    return _next((view, None))


def _next(pair: tuple[View, Slot | None]) -> Slot:
    """As the reconciler does with one container."""
    view, known = pair
    ((key, seen),) = look(view, [known] if known else [], _RULES, lambda claim: claim)
    assert isinstance(seen, Seen)
    slot = plan(enroll(known or Slot(key=key), [_SINK]), seen, _NOW, _POLICY).slot
    return prune(slot, [_SINK])


def _delivered(slot: Slot) -> Slot:
    cursors = {key: replace(cursor, seq=slot.seq) for key, cursor in slot.cursors.items()}
    return replace(slot, cursors=cursors, pending=())


def _records(slot: Slot) -> Iterable[Any]:
    return records(slot, sinks={_SINK.key: "tracker"}, owed=lambda _sink, _transition: True)


def _encoded(slot: Slot) -> bytes:
    return msgspec.json.encode(encode(slot))


def _complete(number: int, version: str, *, revision: int) -> View:
    return _view(number, version, revision=revision, updated=_PODS)


def _begun(number: int, version: str, *, revision: int) -> View:
    return _view(number, version, revision=revision, updated=0)


def _view(number: int, version: str, *, revision: int, updated: int) -> View:
    """A Deployment of three pods whose newest revision has `updated` of them."""
    name = f"app-{number:05}"
    image = f"registry.example/bench/{name}:{version}"
    began = _NOW + revision * 60_000
    deployment = Deployment(
        ref=WorkloadRef(namespace="bench", name=name),
        uid=f"deployment-{number}",
        created=_NOW - 1,
        generation=revision,
        observed_generation=revision,
        revision=str(revision),
        containers=(("app", image),),
        replicas=_PODS,
        current_replicas=_PODS,
        updated_replicas=updated,
        available_replicas=_PODS,
        progressing=Progressing(status="True", reason="NewReplicaSetAvailable", message="", updated=began + 1000)
        if updated
        else Progressing(status="True", reason="ReplicaSetUpdated", message="", updated=began),
    )
    new = ReplicaSet(
        uid=f"replica-set-{number}-{revision}",
        owner=deployment.uid,
        created=began,
        revision=str(revision),
        reused=False,
        containers=deployment.containers,
    )
    pods = tuple(_pod(new, each, image) for each in range(updated))
    return View(deployment=deployment, namespace=Namespace(name="bench"), replica_sets=(new,), pods=pods)


def _pod(owner: ReplicaSet, number: int, image: str) -> Pod:
    digest = f"{image.rpartition(':')[0]}@sha256:{hash(image) & (2**256 - 1):064x}"
    state = ContainerState(name="app", image_id=digest, ready=True, started=owner.created + 500)
    return Pod(
        uid=f"{owner.uid}-{number}",
        owner=owner.uid,
        created=owner.created + 100,
        ready=True,
        leaving=False,
        containers=(state,),
    )
