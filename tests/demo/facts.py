"""Compares what is to be known with what the tracker and the cluster really hold."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.controlplane import images
from tests.controlplane.api import Object
from tests.demo.story import Known, Place
from tests.stack import Stack

RECORDS: Final = ("rollbook.dev/v1alpha1", "DeploymentRecord")

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is, as it was read.

    Args:
        slots: The tracker's, with their histories.
        rollouts: The tracker's, with their events.
        records: The cluster's `DeploymentRecord`s.
        pods: All pods.
    """

    slots: list[dict[str, Any]]
    rollouts: list[dict[str, Any]]
    records: list[Object]
    pods: list[Object]

    def history(self, place: Place) -> list[tuple[str, str, str]]:
        """(version, digest, status) of each record that the tracker has of a place, oldest first."""
        return [
            (record["artifact"]["version"], record["artifact"]["digest"], record["status"])
            for slot in self.slots
            if (slot["environment_name"], slot["deployment_name"]) == (place.environment, place.deployment_name)
            for record in slot["history"]
        ]

    def events(self, place: Place) -> list[dict[str, Any]]:
        """The rollout events that the tracker was told of a place, in the order in which they came."""
        events = (
            event
            for rollout in self.rollouts
            if (rollout["environmentKey"], rollout["applicationKey"]) == (place.environment, place.application)
            for event in rollout["events"]
        )
        return sorted(events, key=lambda event: int(event["sequence"]))

    def running(self, place: Place) -> set[str]:
        """The digests that the ready pods of a place show."""
        statuses = (
            status
            for pod in self.pods
            if pod["metadata"]["namespace"] == place.namespace
            and pod["metadata"].get("labels", {}).get("app") == place.application
            for status in pod.get("status", {}).get("containerStatuses", [])
        )
        return {match[0] for one in statuses if one["ready"] and (match := _DIGEST.search(one["imageID"]))}

    def statuses(self, place: Place) -> list[dict[str, Any]]:
        """What the cluster's records say of a place."""
        return [
            record.get("status", {})
            for record in self.records
            if record["metadata"]["namespace"] == place.namespace
            and record["spec"]["workload"]["name"] == place.application
        ]


def gather(stack: Stack) -> Facts:
    """Read everything."""
    api = stack.cluster.api
    return Facts(
        slots=stack.tracker.slots(),
        rollouts=stack.tracker.rollouts(),
        records=api.find(*RECORDS),
        pods=api.find("v1", "Pod"),
    )


def differences(facts: Facts, expected: Mapping[Place, Known]) -> list[str]:
    """What is not as it should be, one line each; empty when all is well."""
    return [line for place, known in expected.items() for line in _of_place(facts, place, known)]


def strangers(facts: Facts, expected: Mapping[Place, Known]) -> list[str]:
    """What the tracker holds though nobody did it, one line each."""
    slots = {(place.environment, place.deployment_name) for place in expected}
    streams = {(place.environment, place.application) for place in expected}
    found = [(slot["environment_name"], slot["deployment_name"]) for slot in facts.slots]
    told = [(rollout["environmentKey"], rollout["applicationKey"]) for rollout in facts.rollouts]
    unknown = [each for each in found if each not in slots] + [each for each in told if each not in streams]
    return [f"{' '.join(each)}: the tracker has it, the story does not" for each in unknown]


def _of_place(facts: Facts, place: Place, known: Known) -> Iterator[str]:
    where = f"{place.environment} {place.application}"
    history = [(version, images.digest(place.image(version)), status) for version, status in known.history]
    yield from _differ(f"{where}: history in the tracker", facts.history(place), history)
    events = facts.events(place)
    told = [(event["version"], event["eventType"]) for event in events]
    yield from _differ(f"{where}: rollout events", told, known.events)
    reasons = [event["eventMetadata"].get("reason", "") for event in events if event["eventType"] == "failed"]
    yield from _differ(f"{where}: reason of the last failure", "".join(reasons[-1:]), known.failure)
    deployed = {digest for _, digest, status in history if status == "DEPLOYED"}
    yield from _differ(f"{where}: digests of the ready pods", facts.running(place), deployed)
    yield from _of_records(where, facts.statuses(place), known, history)


def _of_records(
    where: str, statuses: list[dict[str, Any]], known: Known, history: list[tuple[str, str, str]]
) -> Iterator[str]:
    """The cluster keeps the two newest records of a slot, and one of the attempt that failed."""
    deployed = [one for one in statuses if "status" in one]
    shown = sorted((one.get("version", ""), one.get("digest", ""), one["status"]) for one in deployed)
    yield from _differ(f"{where}: records in the cluster", shown, sorted(history[-2:]))
    current = [one.get("rollback", False) for one in deployed if one["status"] == "DEPLOYED"]
    yield from _differ(f"{where}: recorded as a rollback", any(current), known.rollback)
    open_ = [(one.get("phase"), one.get("reason")) for one in statuses if "status" not in one]
    yield from _differ(f"{where}: open records", open_, [("Failed", known.failure)] if known.failing else [])
    pending = [one.get("delivered", "") for one in statuses if one.get("delivered") != "1/1"]
    yield from _differ(f"{where}: deliveries outstanding", pending, [])


def _differ(what: str, found: object, wanted: object) -> Iterator[str]:
    if found != wanted:
        yield f"{what}: {found} instead of {wanted}"
