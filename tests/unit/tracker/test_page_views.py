"""What the pages compute."""

import pytest

from rollbook.tracker.chainloop_records import Record, Slot
from rollbook.tracker.page_views import DeploymentName, failure_reason, matrix, short_digest
from rollbook.tracker.times import ago, minute, rfc3339, span


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("pay/api/app", ("pay", "api", "app")),
        ("pay/StatefulSet/db/main", ("pay", "StatefulSet/db", "main")),
        ("api-server", ("", "api-server", "")),
        ("pay/api", ("", "pay/api", "")),
    ],
)
def test_a_deployment_name_is_split_where_it_has_three_parts(name: str, parts: tuple[str, str, str]) -> None:
    split = DeploymentName.split(name)
    assert (split.namespace, split.workload, split.container) == parts


def latest(environment: str, name: str) -> Record:
    slot = Slot(environment_name=environment, deployment_name=name, kind="CONTAINER_IMAGE")
    times = {"created_at": 1, "updated_at": 1, "last_seen_at": 1}
    return Record(id=name, slot=slot, digest="", artifact_name="", artifact_version="", status="DEPLOYED", **times)


def test_an_application_is_one_row_over_its_namespaces_and_environments() -> None:
    shown = matrix(
        [
            latest("production", "shop-prod-b/web/web"),
            latest("production", "shop-prod-a/web/web"),
            latest("qa", "shop-qa/cart/cart"),
            latest("development", "shop-dev/web/web"),
        ]
    )
    assert list(shown.environments) == ["development", "production", "qa"], "in the order of a release"
    assert [(row.workload, sorted(row.cells)) for row in shown.rows] == [
        ("cart", ["qa"]),
        ("web", ["development", "production"]),
    ]
    names = [record.slot.deployment_name for record in shown.rows[1].cells["production"]]
    assert names == ["shop-prod-a/web/web", "shop-prod-b/web/web"]


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"reason": "ImagePullBackOff", "message": "not found", "pod": "x"}, "ImagePullBackOff: not found"),
        ({"cause": "Interrupted"}, "Interrupted"),
        ({"step": 3, "job": "build"}, "step=3, job=build"),
        ({}, ""),
        ({"reason": "x" * 400}, "x" * 299 + "…"),
    ],
)
def test_the_reason_of_a_failure(metadata: dict[str, object], text: str) -> None:
    assert failure_reason(metadata) == text


def test_a_short_digest_has_twelve_digits() -> None:
    assert short_digest("sha256:" + "ab" * 32) == "abababababab"


def test_times_are_written_as_chainloop_does() -> None:
    # WIRE §2.1: `2000-01-23T04:56:07.000Z`
    assert rfc3339(948_603_367_000) == "2000-01-23T04:56:07.000Z"
    assert minute(948_603_367_009) == "2000-01-23 04:56 UTC"


@pytest.mark.parametrize(
    ("ms", "text"),
    [(1_234, "1.2 s"), (125_000, "2 min 5 s"), (3_660_000, "1 h 1 min"), (273_600_000, "3 d 4 h")],
)
def test_a_span_has_two_units(ms: int, text: str) -> None:
    assert span(ms) == text


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (-5, "just now"),
        (59_999, "just now"),
        (60_000, "1 min ago"),
        (7_200_000, "2 h ago"),
        (86_400_000, "1 day ago"),
    ],
)
def test_ago_has_one_unit(past: int, text: str) -> None:
    assert ago(1_000_000_000 - past, 1_000_000_000) == text
