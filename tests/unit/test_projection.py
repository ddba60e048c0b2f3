"""What people see of a slot. The first table has a row per row of the module's docstring."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from rollbook.core.projection import Record, labels, records, refusal, rfc3339
from rollbook.core.slot import Condition, Cursor, Entry, Parked, Slot
from rollbook.core.transition import (
    Artifact,
    Cause,
    Channel,
    Kind,
    Phase,
    RecordStatus,
    Stamp,
    TimeSource,
    Transition,
)
from tests.unit.crd.samples import CURRENT, IDENTITY, KEY, OLD, REPOSITORY, SLOT, STAMP, START
from tests.unit.crd.strategies import slots

HASH = KEY.object_name.rpartition("-")[2]
A, B, C = SLOT.cursors
SINKS = {A: "audit", B: "builds", C: "change-board"}
ATTEMPT = Entry(
    number=13,
    artifact=Artifact(name=REPOSITORY, reference=f"{REPOSITORY}:v1.43.0", version="v1.43.0"),
    identity=IDENTITY,
    phase=Phase.PROGRESSING,
    started=START,
    said=True,
)
FAILED = replace(
    ATTEMPT, phase=Phase.FAILED, ended=STAMP, reason="ImagePullBackOff", message="no such tag: v1.43.0"
)


def everything(_sink: str, _transition: Transition) -> bool:
    return True


def project(slot: Slot, sinks: Mapping[str, str] | None = None) -> tuple[Record, ...]:
    return records(slot, sinks=sinks or {}, owed=everything)


def conditions(record: Record) -> dict[str, tuple[str, str]]:
    """Type to (status, reason)."""
    return {one["type"]: (one["status"], one["reason"]) for one in record.status["conditions"]}


def of(entry: Entry, **fields: Any) -> Record:
    """The record of a slot's only entry."""
    (record,) = project(Slot(key=KEY, current=entry, **fields))
    return record


def transition(entry: Entry, seq: int, kind: Kind = Kind.DEPLOYED) -> Transition:
    return Transition(
        seq=seq,
        kind=kind,
        at=STAMP,
        artifact=entry.artifact,
        identity=entry.identity,
        entry=entry.number,
        began=START.time,
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (ATTEMPT, {"Ready": ("False", "Progressing")}),
        (FAILED, {"Ready": ("False", "ImagePullBackOff"), "Stalled": ("True", "ImagePullBackOff")}),
        (replace(FAILED, reason=""), {"Ready": ("False", "Failed"), "Stalled": ("True", "Failed")}),
        (
            replace(FAILED, phase=Phase.INTERRUPTED, reason=""),
            {"Ready": ("False", "Interrupted"), "Stalled": ("True", "Interrupted")},
        ),
        (replace(ATTEMPT, phase=Phase.SUCCEEDED), {"Ready": ("False", "AwaitingDigest")}),
        (CURRENT, {"Ready": ("True", "Deployed")}),
        (OLD, {"Ready": ("True", "Superseded")}),
        (
            replace(CURRENT, status=RecordStatus.DECOMMISSIONED),
            {"Ready": ("True", "Decommissioned")},
        ),
        (
            replace(FAILED, status=RecordStatus.SUPERSEDED),
            {"Ready": ("True", "Superseded")},
        ),
    ],
    ids=[
        "under way",
        "failed for a reason",
        "failed, reason unknown",
        "interrupted",
        "complete, digest not known",
        "deployed",
        "superseded",
        "decommissioned",
        "deployed and superseded, its last rollout failed",
    ],
)
def test_readiness(entry: Entry, expected: Mapping[str, tuple[str, str]]) -> None:
    assert conditions(of(entry)) == expected


def test_a_slot_of_which_nothing_is_known_has_no_records() -> None:
    assert project(Slot(key=KEY)) == ()


def test_one_record_each_for_the_attempt_what_is_current_and_what_is_closed() -> None:
    made = project(replace(SLOT, attempt=FAILED))

    assert [record.name for record in made] == [
        f"api-app-{HASH[:6]}-13",
        f"api-app-{HASH[:6]}-9",
        f"api-app-{HASH[:6]}-5",
    ]
    assert {record.namespace for record in made} == {"payments"}
    assert [record.status.get("status") for record in made] == [None, "DEPLOYED", "SUPERSEDED"]


def test_everything_that_is_known_of_an_entry() -> None:
    identity = replace(IDENTITY, version_name="Spring release")
    artifact = replace(CURRENT.artifact, running="sha256:" + "5" * 64)
    full = replace(CURRENT, identity=identity, artifact=artifact, rollback=True, reason="Because", message="m")
    (record,) = project(Slot(key=KEY, current=full, cursors={A: Cursor(seq=12)}), SINKS)

    assert record.labels == {
        "rollbook.dev/managed-by": "rollbook",
        "rollbook.dev/slot": HASH,
        "rollbook.dev/environment": "production",
        "rollbook.dev/workload": "api",
    }
    assert record.spec == {
        "cluster": "eu-1",
        "environment": "production",
        "workload": {"group": "apps", "kind": "Deployment", "name": "api"},
        "container": "app",
        "artifact": {
            "kind": "CONTAINER_IMAGE",
            "name": REPOSITORY,
            "reference": f"{REPOSITORY}:v1.42.0",
        },
    }
    assert record.status == {
        "status": "DEPLOYED",
        "phase": "Succeeded",
        "digest": CURRENT.artifact.digest,
        "digestShort": "1a2b3c4d5e6f",
        "runningDigest": "sha256:" + "5" * 64,
        "version": "v1.42.0",
        "versionName": "Spring release",
        "since": "2026-11-22T10:00:00Z",
        "sinceSource": "ProgressingCondition",
        "started": "2026-11-22T09:58:59Z",
        "startedSource": "ReplicaSetCreation",
        "finished": "2026-11-22T10:00:00Z",
        "finishedSource": "ProgressingCondition",
        "durationSeconds": 61,
        "cause": "Rollout",
        "reason": "Because",
        "message": "m",
        "revision": "4",
        "supersedes": CURRENT.replaces,
        "rollback": True,
        "deploymentName": "payments/api/app",
        "application": "api",
        "delivered": "1/1",
        "deliveries": [{"sink": "audit", "state": "Delivered"}],
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Deployed",
                "message": "m",
                "lastTransitionTime": "2026-11-22T10:00:00Z",
            },
            {"type": "Delivered", "status": "True", "reason": "Delivered", "message": ""},
        ],
    }


def test_what_is_not_known_is_absent() -> None:
    bare = Entry(
        number=1,
        artifact=Artifact(name="docker.io/library/nginx", reference="nginx"),
        identity=IDENTITY,
        phase=Phase.PROGRESSING,
    )

    assert of(bare).status == {
        "phase": "Progressing",
        "cause": "Rollout",
        "deploymentName": "payments/api/app",
        "application": "api",
        "conditions": [{"type": "Ready", "status": "False", "reason": "Progressing", "message": ""}],
    }


@pytest.mark.parametrize("bounded", ["started", "ended"])
@pytest.mark.parametrize("bound", ["not_before", "not_after"])
def test_a_bound_is_shown_and_gives_no_duration(bounded: str, bound: str) -> None:
    observed: Any = {"time": STAMP.time, "source": TimeSource.OBSERVED, bound: START.time}
    changed: Any = {bounded: Stamp(**observed)}
    entry = replace(CURRENT, **changed)
    name = {"started": "started", "ended": "finished"}[bounded]
    end = {"not_before": "NotBefore", "not_after": "NotAfter"}[bound]

    status = of(entry).status

    assert "durationSeconds" not in status
    assert {field: value for field, value in status.items() if "Not" in field} == {
        name + end: "2026-11-22T09:58:59Z"
    }


def test_no_duration_before_the_end() -> None:
    assert "durationSeconds" not in of(ATTEMPT).status


@pytest.mark.parametrize(
    ("entry", "time"),
    [
        (CURRENT, "2026-11-22T10:00:00Z"),
        (replace(CURRENT, since=START), "2026-11-22T10:00:00Z"),
        (replace(CURRENT, started=None, ended=None, since=START), "2026-11-22T09:58:59Z"),
        (ATTEMPT, "2026-11-22T09:58:59Z"),
    ],
    ids=["the end", "the end, resumed since", "adopted", "under way"],
)
def test_the_time_of_a_condition_is_the_ledgers(entry: Entry, time: str) -> None:
    assert of(entry).status["conditions"][0]["lastTransitionTime"] == time


# A sink has delivered an entry when nothing of it that it is owed is beyond its cursor.

PENDING = transition(CURRENT, 12)
BEHIND: Mapping[str, Cursor] = {A: Cursor(seq=12), B: Cursor(seq=11)}


def delivered(slot: Slot, sinks: Mapping[str, str] = SINKS) -> dict[str, Any]:
    record = records(slot, sinks=sinks, owed=everything)[0]
    return {
        "delivered": record.status.get("delivered"),
        "states": {one["sink"]: one["state"] for one in record.status.get("deliveries", ())},
        "condition": conditions(record).get("Delivered"),
    }


def test_no_sink_is_enrolled() -> None:
    nothing: dict[str, Any] = {"delivered": None, "states": {}, "condition": None}

    assert delivered(replace(SLOT, cursors={})) == nothing
    assert delivered(SLOT, {"somebody:else": "x"}) == nothing


def test_all_have_it() -> None:
    assert delivered(SLOT) == {
        "delivered": "3/3",
        "states": {"audit": "Delivered", "builds": "Delivered", "change-board": "Delivered"},
        "condition": ("True", "Delivered"),
    }


def test_one_is_behind() -> None:
    assert delivered(replace(SLOT, pending=(PENDING,), cursors=BEHIND)) == {
        "delivered": "1/2",
        "states": {"audit": "Delivered", "builds": "Pending"},
        "condition": ("False", "Pending"),
    }


def test_the_message_names_who_is_behind() -> None:
    behind = {A: Cursor(seq=11), B: Cursor(seq=12), C: Cursor(seq=11)}
    record = project(replace(SLOT, pending=(PENDING,), cursors=behind), SINKS)[0]

    assert record.status["conditions"][1]["message"] == "audit, change-board"


def test_what_waits_of_another_entry_is_not_this_ones() -> None:
    slot = replace(SLOT, attempt=FAILED, pending=(transition(FAILED, 13, Kind.FAILED),))
    attempt, current, closed = project(slot, SINKS)

    assert [record.status["delivered"] for record in (attempt, current, closed)] == ["0/3", "3/3", "3/3"]


def test_what_a_sink_is_not_owed_does_not_wait() -> None:
    slot = replace(SLOT, pending=(PENDING,), cursors=dict.fromkeys(SINKS, Cursor(seq=1)))

    def hears(sink: str, transition: Transition) -> bool:
        return sink == B and transition.kind.channel is Channel.STATE

    record = records(slot, sinks=SINKS, owed=hears)[0]

    assert record.status["delivered"] == "2/3"
    assert record.status["deliveries"][1] == {"sink": "builds", "state": "Pending"}


def test_a_refusal_shows_with_the_sinks_words_even_while_others_wait() -> None:
    refused = Parked(sink=A, transition=PENDING, message="422: unknown project", at=STAMP.time)
    elsewhere = Parked(sink=B, transition=transition(OLD, 5), message="no", at=STAMP.time)
    slot = replace(SLOT, pending=(PENDING,), cursors=BEHIND, parked=(refused, elsewhere))

    current, closed = project(slot, SINKS)

    assert conditions(current)["Delivered"] == ("False", "Parked")
    assert current.status["deliveries"] == [
        {"sink": "audit", "state": "Parked", "message": "422: unknown project"},
        {"sink": "builds", "state": "Pending"},
    ]
    assert closed.status["deliveries"] == [
        {"sink": "audit", "state": "Delivered"},
        {"sink": "builds", "state": "Parked", "message": "no"},
    ]


# They are on what is open and current, never on what is closed.


@pytest.mark.parametrize("name", ["SlotConflict", "NotAllowed", "ApplicationShared"])
def test_of_the_slot_as_a_whole(name: str) -> None:
    attempt, current, closed = having(name)

    assert conditions(attempt)[name] == conditions(current)[name] == ("True", "Why")
    assert name not in conditions(closed)


def test_the_digest_in_question_is_the_attempts() -> None:
    attempt, current, closed = having("DigestResolved", status=False)

    assert conditions(attempt)["DigestResolved"] == ("False", "Why")
    assert "DigestResolved" not in conditions(current) | conditions(closed)


def test_without_an_attempt_it_is_the_current_ones() -> None:
    current = having("DigestResolved", attempt=None, status=False)[0]

    assert conditions(current)["DigestResolved"] == ("False", "Why")


def test_what_drifts_is_what_is_current() -> None:
    attempt, current, closed = having("DigestDrift")

    assert conditions(current)["DigestDrift"] == ("True", "Why")
    assert "DigestDrift" not in conditions(attempt) | conditions(closed)


def test_a_message_is_kept() -> None:
    condition = Condition(type="SlotConflict", reason="Why", message="deployment/other/api is first")

    assert of(CURRENT, conditions=(condition,)).status["conditions"][-1] == {
        "type": "SlotConflict",
        "status": "True",
        "reason": "Why",
        "message": "deployment/other/api is first",
    }


def test_untracked() -> None:
    current, closed = project(replace(SLOT, tracked=False))

    assert conditions(current)["Tracked"] == ("False", "Untracked")
    assert current.status["status"] == "DEPLOYED"
    assert "Tracked" not in conditions(closed)


def having(name: str, attempt: Entry | None = FAILED, *, status: bool = True) -> tuple[Record, ...]:
    condition = Condition(type=name, reason="Why", status=status)
    return project(replace(SLOT, attempt=attempt, conditions=(condition,)))


def test_a_refusal_says_why_and_nothing_else() -> None:
    condition = Condition(type="NotAllowed", reason="EnvironmentNotGranted", message="not `production`")

    record = refusal(KEY, CURRENT.artifact, condition)

    assert record.name == f"api-app-{HASH[:6]}-refused"
    assert record.namespace == "payments"
    assert record.labels == of(CURRENT).labels
    assert record.spec == of(CURRENT).spec
    assert set(record.status) == {"conditions"}
    assert conditions(record) == {
        "Ready": ("False", "EnvironmentNotGranted"),
        "Stalled": ("True", "EnvironmentNotGranted"),
        "NotAllowed": ("True", "EnvironmentNotGranted"),
    }
    assert {one["message"] for one in record.status["conditions"]} == {"not `production`"}


@pytest.mark.parametrize(
    ("workload", "container", "name"),
    [
        ("api", "app", f"api-app-{{}}-{2**40}"),
        ("a" * 253, "app", "a" * 232 + f"-{{}}-{2**40}"),
        ("a" * 231 + ".-b", "app", "a" * 231 + f"-{{}}-{2**40}"),
    ],
    ids=["short", "too long", "cut where a name may not end"],
)
def test_names_are_bounded(workload: str, container: str, name: str) -> None:
    key = replace(KEY, workload=replace(KEY.workload, name=workload), container=container)
    (record,) = project(Slot(key=key, current=replace(CURRENT, number=2**40)))

    assert record.name == name.format(key.object_name[-12:][:6])
    assert len(record.name) <= 253


def test_the_same_workload_in_another_environment_has_other_names() -> None:
    (here,) = project(Slot(key=KEY, current=CURRENT))
    (there,) = project(Slot(key=replace(KEY, environment="staging"), current=CURRENT))

    assert here.name != there.name


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(slots)
def test_the_same_slot_gives_the_same_bytes(slot: Slot) -> None:
    first = [json.dumps([record.spec, record.status]) for record in project(slot, SINKS)]

    assert first == [json.dumps([record.spec, record.status]) for record in project(slot, SINKS)]


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("production", True),
        ("a", True),
        ("Eu_1.b", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("-a", False),
        ("a.", False),
        ("a b", False),
        ("é", False),
        ("a\n", False),
    ],
)
def test_label_values(value: str, *, accepted: bool) -> None:
    assert labels({"x": value}) == ({"rollbook.dev/x": value} if accepted else {})


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_341_600_000, "2026-11-22T10:00:00Z"),
        (1_795_341_600_007, "2026-11-22T10:00:00.007Z"),
    ],
)
def test_times(at: int, text: str) -> None:
    assert rfc3339(at) == text


def test_a_cause_is_told() -> None:
    assert of(replace(CURRENT, cause=Cause.TAG_MOVED)).status["cause"] == "TagMoved"
