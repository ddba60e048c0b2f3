"""The rows of the table in `launchdarkly_state.py` (WIRE §1.5: state derivation)."""

from dataclasses import replace

import pytest

from rollbook.tracker.launchdarkly_state import Deployment, Event, Outcome, Stream, StreamFacts, decide

STREAM = Stream(project_key="shop", environment_key="production", application_key="api")


def event(event_type: str, at: int, version: str = "v1", **metadata: str) -> Event:
    return Event(
        stream=STREAM,
        version=version,
        event_type=event_type,
        event_time=at,
        time_given=True,
        application_name="",
        application_kind="",
        version_name="",
        event_metadata={},
        deployment_metadata=metadata,
    )


OPEN = Deployment(
    sequence=5,
    id="open",
    stream=STREAM,
    version="v1",
    application_name="",
    application_kind="server",
    version_name="",
    started_at=100,
    start_known=True,
    ended_at=None,
    status="started",
    kind="deployment",
    active=False,
    metadata={"build": "1"},
)
FAILED = replace(OPEN, ended_at=150, status="failed")
FINISHED = replace(OPEN, ended_at=150, status="finished", active=True)
END_ONLY = replace(FINISHED, started_at=150, start_known=False)
OTHER_LIVE = replace(FINISHED, sequence=6, id="other", version="v2", ended_at=180)
NEW = replace(OPEN, sequence=0, id="new", started_at=200, metadata={})
NEW_FINISHED = replace(NEW, start_known=False, ended_at=200, status="finished", active=True)
NEW_FAILED = replace(NEW, start_known=False, ended_at=200, status="failed")


def of_this(last: Deployment) -> StreamFacts:
    finished = last if last.status == "finished" else None
    return StreamFacts(last=last, live=finished, earlier=finished)


@pytest.mark.parametrize(
    ("facts", "said", "expected"),
    [
        pytest.param(StreamFacts(), event("started", 200), Outcome(deployment=NEW), id="started opens one"),
        pytest.param(of_this(OPEN), event("started", 200), Outcome(deployment=OPEN), id="started twice keeps one"),
        pytest.param(
            of_this(OPEN),
            event("started", 200, host="a"),
            Outcome(deployment=replace(OPEN, metadata={"build": "1", "host": "a"})),
            id="started twice merges the metadata",
        ),
        pytest.param(
            of_this(END_ONLY),
            event("started", 120),
            Outcome(deployment=replace(END_ONLY, started_at=120, start_known=True)),
            id="a late start is filled in",
        ),
        pytest.param(
            of_this(FAILED),
            event("started", 200),
            Outcome(deployment=NEW),
            id="started after a failure opens another",
        ),
        pytest.param(
            of_this(FINISHED),
            event("started", 200),
            Outcome(deployment=replace(NEW, kind="redeployment")),
            id="started for what finished last is a redeployment",
        ),
        pytest.param(
            StreamFacts(last=FINISHED, live=OTHER_LIVE, earlier=FINISHED),
            event("started", 200),
            Outcome(deployment=replace(NEW, kind="rollback")),
            id="started for what finished before another is a rollback",
        ),
        pytest.param(
            of_this(OPEN),
            event("finished", 150, build="2"),
            Outcome(deployment=replace(FINISHED, metadata={"build": "2"})),
            id="finished closes the open one, later metadata wins",
        ),
        pytest.param(
            of_this(FAILED),
            event("finished", 190),
            Outcome(deployment=replace(FINISHED, ended_at=190)),
            id="finished after failed is the same deployment",
        ),
        pytest.param(
            StreamFacts(),
            event("finished", 200),
            Outcome(deployment=NEW_FINISHED),
            id="a single finished starts when it ends",
        ),
        pytest.param(
            of_this(FINISHED),
            event("finished", 200),
            Outcome(deactivate=FINISHED, deployment=replace(NEW_FINISHED, kind="redeployment")),
            id="finished after finished is a redeployment",
        ),
        pytest.param(
            of_this(OPEN), event("failed", 150), Outcome(deployment=FAILED), id="failed closes the open one"
        ),
        pytest.param(of_this(FAILED), event("failed", 190), Outcome(), id="the first failure stands"),
        pytest.param(
            StreamFacts(),
            event("failed", 200),
            Outcome(deployment=NEW_FAILED),
            id="a single failed starts as it ends",
        ),
        pytest.param(of_this(OPEN), event("custom", 150), Outcome(), id="custom changes nothing"),
        pytest.param(
            of_this(OPEN),
            event("finished", 50),
            Outcome(deployment=replace(FINISHED, ended_at=100)),
            id="an end before the start is the start",
        ),
        pytest.param(
            StreamFacts(last=OPEN, live=OTHER_LIVE),
            event("finished", 150),
            Outcome(deployment=replace(FINISHED, active=False)),
            id="what finished earlier than the live one does not become live",
        ),
        pytest.param(
            StreamFacts(
                last=replace(OPEN, sequence=9, kind="rollback"),
                live=OTHER_LIVE,
                earlier=replace(FINISHED, active=False),
            ),
            event("finished", 200),
            Outcome(
                deactivate=OTHER_LIVE,
                rolled_back_after=5,
                deployment=replace(FINISHED, sequence=9, kind="rollback", ended_at=200),
            ),
            id="a finished rollback rolls back those in between",
        ),
    ],
)
def test_row(facts: StreamFacts, said: Event, expected: Outcome) -> None:
    assert decide(said, facts, new_id="new") == expected
