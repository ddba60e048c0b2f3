"""What one deployment event does to the deployments of its stream (pure).

A stream is (projectKey, environmentKey, applicationKey). The vendor publishes the words (WIRE §1.5), not
the rules; where it is silent the rule is our choice, marked (*). "The last one" is the deployment of the
event's version that was registered last.

| event    | the last one of this version | what happens                                                |
|----------|------------------------------|-------------------------------------------------------------|
| started  | none, or closed              | a new deployment, in progress                               |
| started  | in progress                  | (*) the same one: names and metadata refreshed, first start |
| started  | closed, never had a start    | (*) a late start, where it is not after the end: filled in  |
| finished | in progress                  | closed                                                      |
| finished | failed                       | (*) finished after all, same deployment                     |
| finished | none, or finished            | a new one whose start is its end                            |
| failed   | in progress                  | closed                                                      |
| failed   | failed                       | (*) nothing: the first failure stands                       |
| failed   | none, or finished            | (*) a new one whose start is its end                        |
| custom   | any                          | (*) stored, changes nothing                                 |

An event seen before (same stream, version, eventType and eventTime) never gets here (*).

`kind`, given when a deployment is registered: `redeployment` where its version is the one that finished
last in the stream, `rollback` where it finished earlier and another one since, else `deployment`. When a
rollback finishes (*, not when it starts: a failed rollback rolled nothing back), the closed deployments
registered since the earlier one become `rolledBack`. Only `redeployment` is evidenced on the wire; the
other spellings are ours (*).

`active` is the one deployment of the stream that finished last, by eventTime, then by arrival (*). Metadata
of several events is merged key by key, the later one wins (*). An end before the start is taken as the
start (*).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """`eventType` on the wire."""

    STARTED = "started"
    FAILED = "failed"
    FINISHED = "finished"
    CUSTOM = "custom"


class DeploymentKind(StrEnum):
    """`kind` on the wire."""

    DEPLOYMENT = "deployment"
    REDEPLOYMENT = "redeployment"
    ROLLBACK = "rollback"
    ROLLED_BACK = "rolledBack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What is deployed where, without the version."""

    project_key: str
    environment_key: str
    application_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A validated deployment event. Times are epoch milliseconds; absent names are empty.

    `time_given` says whether the sender gave `event_time`: only then is a second one a repetition.
    """

    stream: Stream
    version: str
    event_type: str
    event_time: int
    time_given: bool
    application_name: str
    application_kind: str
    version_name: str
    event_metadata: Mapping[str, Any]
    deployment_metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment of a version in a stream. Times are epoch milliseconds.

    `sequence` is the order of registration over all streams; 0 until it is stored. `start_known` is False where
    only an end was reported. `status` is the type of the event that decides: started, finished or failed.
    """

    sequence: int = 0
    id: str
    stream: Stream
    version: str
    application_name: str
    application_kind: str
    version_name: str
    started_at: int
    start_known: bool
    ended_at: int | None
    status: str
    kind: str
    active: bool
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What a decision may look at.

    Attributes:
        last: The deployment of the event's version registered last.
        live: The stream's active deployment.
        earlier: The finished deployment of the event's version registered last.
    """

    last: Deployment | None = None
    live: Deployment | None = None
    earlier: Deployment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What to write, in this order.

    Attributes:
        deactivate: A deployment that is not live any more.
        rolled_back_after: Mark the closed deployments registered after this sequence, before `deployment`.
        deployment: Insert it where its sequence is 0, else update it; None changes nothing.
    """

    deactivate: Deployment | None = None
    rolled_back_after: int | None = None
    deployment: Deployment | None = None


def decide(event: Event, facts: StreamFacts, *, new_id: str) -> Outcome:
    """Apply an event to its stream, by the table above; `new_id` names a deployment, should one be made."""
    if event.event_type == EventType.CUSTOM:
        return Outcome()
    if event.event_type == EventType.STARTED:
        return Outcome(deployment=_start(event, facts, new_id))
    if event.event_type == EventType.FINISHED:
        return _finish(event, facts, new_id)
    return Outcome(deployment=_fail(event, facts, new_id))


def _start(event: Event, facts: StreamFacts, new_id: str) -> Deployment:
    last = facts.last
    if last is not None and last.ended_at is None:
        return _refreshed(last, event)
    if (
        last is not None
        and last.ended_at is not None
        and not last.start_known
        and event.event_time <= last.ended_at
    ):
        return replace(_refreshed(last, event), started_at=event.event_time, start_known=True)
    return _registered(event, facts, new_id)


def _fail(event: Event, facts: StreamFacts, new_id: str) -> Deployment | None:
    last = facts.last
    if last is not None and last.status == EventType.FAILED:
        return None
    subject = last if last is not None and last.ended_at is None else _registered(event, facts, new_id)
    return _closed(subject, event)


def _finish(event: Event, facts: StreamFacts, new_id: str) -> Outcome:
    last = facts.last
    reusable = last is not None and last.status != EventType.FINISHED
    closed = _closed(last if last is not None and reusable else _registered(event, facts, new_id), event)
    live = facts.live
    if live is not None and _end(live) > _end(closed):
        return Outcome(deployment=closed)
    rolls_back = closed.kind == DeploymentKind.ROLLBACK and facts.earlier is not None
    return Outcome(
        deactivate=live,
        rolled_back_after=facts.earlier.sequence if rolls_back and facts.earlier is not None else None,
        deployment=replace(closed, active=True),
    )


def _end(deployment: Deployment) -> int:
    return deployment.started_at if deployment.ended_at is None else deployment.ended_at


def _kind(version: str, facts: StreamFacts) -> DeploymentKind:
    if facts.live is not None and facts.live.version == version:
        return DeploymentKind.REDEPLOYMENT
    return DeploymentKind.DEPLOYMENT if facts.earlier is None else DeploymentKind.ROLLBACK


def _registered(event: Event, facts: StreamFacts, new_id: str) -> Deployment:
    return Deployment(
        id=new_id,
        stream=event.stream,
        version=event.version,
        application_name=event.application_name,
        application_kind=event.application_kind or "server",
        version_name=event.version_name,
        started_at=event.event_time,
        start_known=event.event_type == EventType.STARTED,
        ended_at=None,
        status=EventType.STARTED,
        kind=_kind(event.version, facts),
        active=False,
        metadata=event.deployment_metadata,
    )


def _refreshed(deployment: Deployment, event: Event) -> Deployment:
    return replace(
        deployment,
        application_name=event.application_name or deployment.application_name,
        application_kind=event.application_kind or deployment.application_kind,
        version_name=event.version_name or deployment.version_name,
        metadata={**deployment.metadata, **event.deployment_metadata},
    )


def _closed(deployment: Deployment, event: Event) -> Deployment:
    return replace(
        _refreshed(deployment, event),
        ended_at=max(event.event_time, deployment.started_at),
        status=event.event_type,
    )
