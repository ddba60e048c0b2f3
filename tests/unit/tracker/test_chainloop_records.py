"""The rows of the table in `chainloop_records.py` (WIRE §2.1: statuses, automatic superseding, idempotency)."""

from dataclasses import replace

import pytest

from rollbook.tracker.chainloop_records import Decision, Record, Report, Slot, decide

SLOT = Slot(environment_name="production", deployment_name="pay/api/app", kind="CONTAINER_IMAGE")
OLD = Record(
    sequence=7,
    id="old",
    slot=SLOT,
    digest="c",
    artifact_name="ghcr.io/acme/api",
    artifact_version="v1",
    status="DEPLOYED",
    created_at=100,
    updated_at=150,
    last_seen_at=150,
)


def report(
    digest: str, status: str = "DEPLOYED", *, name: str = "ghcr.io/acme/api", version: str = "v2"
) -> Report:
    return Report(slot=SLOT, digest=digest, artifact_name=name, artifact_version=version, status=status)


def decided(said: Report, *, current: Record | None, known: Record | None = None, now: int = 200) -> Decision:
    return decide(said, current=current, known=known, now=now, new_id="new")


NEW = replace(
    OLD, sequence=0, id="new", digest="d", artifact_version="v2", created_at=200, updated_at=200, last_seen_at=200
)
GONE = replace(OLD, status="DECOMMISSIONED", updated_at=200)
SUPERSEDED = replace(OLD, status="SUPERSEDED", updated_at=200)
REFRESHED = replace(OLD, artifact_version="v2", updated_at=200, last_seen_at=200)


@pytest.mark.parametrize(
    ("current", "known", "said", "expected"),
    [
        pytest.param(None, None, report("d"), Decision(insert=NEW, answer=NEW), id="an empty slot takes d"),
        pytest.param(
            OLD,
            None,
            report("c"),
            Decision(updates=(REFRESHED,), answer=REFRESHED),
            id="the same digest refreshes",
        ),
        pytest.param(
            OLD,
            None,
            report("d"),
            Decision(updates=(SUPERSEDED,), insert=NEW, answer=NEW),
            id="another digest supersedes",
        ),
        pytest.param(
            OLD,
            OLD,
            report("c", "DECOMMISSIONED"),
            Decision(updates=(GONE,), answer=GONE),
            id="the current digest is decommissioned",
        ),
        pytest.param(
            None,
            GONE,
            report("c", "DECOMMISSIONED"),
            Decision(answer=GONE),
            id="decommissioned twice changes nothing",
        ),
        pytest.param(
            replace(OLD, digest="d"),
            SUPERSEDED,
            report("c", "DECOMMISSIONED"),
            Decision(answer=SUPERSEDED),
            id="decommissioning what was superseded changes nothing",
        ),
        pytest.param(
            OLD, None, report("x", "DECOMMISSIONED"), Decision(answer=None), id="a digest never seen is refused"
        ),
        pytest.param(
            None, None, report("c", "DECOMMISSIONED"), Decision(answer=None), id="an unknown slot is refused"
        ),
    ],
)
def test_row(current: Record | None, known: Record | None, said: Report, expected: Decision) -> None:
    assert decided(said, current=current, known=known) == expected


def test_an_empty_name_or_version_does_not_erase_a_known_one() -> None:
    answer = decided(report("c", name="", version=""), current=OLD).answer
    assert answer is not None
    assert (answer.artifact_name, answer.artifact_version) == ("ghcr.io/acme/api", "v1")


def test_times_of_a_slot_never_run_backwards() -> None:
    decision = decided(report("d"), current=OLD, now=120)
    assert [record.updated_at for record in decision.updates] == [150]
    assert decision.insert is not None
    assert decision.insert.created_at == 150
