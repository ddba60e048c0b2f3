"""From a workload as the cluster shows it to what its slots are to be planned with. Pure.

| the workload | its slots |
|---|---|
| there, tracked | each claimed one is seen |
| ... a claim is refused, or its deployment name belongs to another | held; refused where nothing is known of it |
| ... in another environment than before | the old slot is absent (moved), the new one is seen with what moved |
| ... without the container | absent (removed) |
| there, tracking switched off for it or the container | absent (untracked) |
| gone | absent (deleted) |
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rollbook.core.identity import Claim, Rules, Untracked, claims
from rollbook.core.observe import observe, pods_left
from rollbook.core.seen import Absent, Held, Seen
from rollbook.core.slot import Condition, Slot, SlotKey
from rollbook.core.transition import Cause
from rollbook.core.workload import Deployment, Namespace, Pod, ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A workload with all that belongs to it, as far as we have heard."""

    deployment: Deployment | None
    namespace: Namespace | None
    replica_sets: tuple[ReplicaSet, ...] = ()
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A container of which nothing is known and nothing may be recorded."""

    claim: Claim
    condition: Condition


Look = tuple[SlotKey, Seen | Absent | Held | Refused]

Vet = Callable[[Claim], Claim]
"""Applies what only a view over all workloads can tell: whose name, whose application it is."""


def look(view: View, known: Iterable[Slot], rules: Rules, vet: Vet) -> tuple[Look, ...]:
    """What each slot of a workload is to be planned with; new slots come before those that they replace."""
    slots = tuple(known)
    if view.deployment is None:
        return tuple((slot.key, _absent(view, slot, Cause.DELETED)) for slot in slots)
    claimed = claims(view.deployment, view.namespace, rules)
    if isinstance(claimed, Untracked):
        return tuple((slot.key, Absent(cause=Cause.UNTRACKED)) for slot in slots)
    vetted = tuple(vet(claim) for claim in claimed)
    return (
        *(found for claim in vetted for found in _claimed(view, view.deployment, claim, slots)),
        *_unclaimed(view, view.deployment, vetted, slots),
    )


def _claimed(view: View, deployment: Deployment, claim: Claim, slots: Sequence[Slot]) -> Iterable[Look]:
    container = claim.key.container
    same = [slot for slot in slots if slot.key.container == container]
    if claim.refused:
        held = [(slot.key, Held(condition=claim.refused)) for slot in same]
        return held or [(claim.key, Refused(claim=claim, condition=claim.refused))]
    moved = (slot.deployed for slot in same if slot.key != claim.key and slot.tracked)
    sighting = observe(deployment, view.replica_sets, view.pods, container)
    seen = Seen(
        sighting=sighting,
        identity=claim.identity,
        version=claim.version,
        findings=claim.findings,
        moved=next((entry for entry in moved if entry), None),
    )
    return [(claim.key, seen)]


def _unclaimed(
    view: View, deployment: Deployment, vetted: Sequence[Claim], slots: Sequence[Slot]
) -> Iterable[Look]:
    keys = {claim.key for claim in vetted}
    tracked = {claim.key.container: claim for claim in vetted}
    there = {name for name, _ in deployment.containers}
    for slot in slots:
        container = slot.key.container
        if slot.key in keys or (container in tracked and tracked[container].refused):
            continue
        if container in tracked:
            yield slot.key, Absent(cause=Cause.MOVED)
        elif container in there:
            yield slot.key, Absent(cause=Cause.UNTRACKED)
        else:
            yield slot.key, _absent(view, slot, Cause.REMOVED)


def _absent(view: View, slot: Slot, cause: Cause) -> Absent:
    return Absent(cause=cause, pods_left=pods_left(view.replica_sets, view.pods, slot.key.container))


def not_reporting(claim: Claim, owner: str) -> Claim:
    """The claim of a workload whose application already has a reporting one in that environment."""
    message = f"{owner} reports the application {claim.identity.application} in {claim.key.environment}"
    shared = Condition(type="ApplicationShared", reason="ReportedByAnother", message=message)
    return replace(claim, identity=replace(claim.identity, reports=False), findings=(*claim.findings, shared))


def conflicting(claim: Claim, owner: str) -> Claim:
    """The claim of a workload whose deployment name belongs to another."""
    message = f"{owner} has the deployment name {claim.identity.deployment_name}"
    return replace(claim, refused=Condition(type="SlotConflict", reason="NameTaken", message=message))
