"""What each slot of a workload is to be planned with."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rollbook.core.identity import Claim, Rules
from rollbook.core.image import Resolution
from rollbook.core.look import Look, Refused, View, conflicting, look, not_reporting
from rollbook.core.observe import Rollout
from rollbook.core.seen import Absent, Held, Seen
from rollbook.core.slot import Condition, Slot, SlotKey
from rollbook.core.transition import Cause, RecordStatus
from rollbook.core.workload import Deployment, Namespace
from tests.unit.core import make

NAMESPACE = Namespace(name="payments", labels={"rollbook.dev/environment": "production"})
STAGING = Namespace(name="payments", labels={"rollbook.dev/environment": "staging"})
RULES = Rules(cluster="east")
SIDECAR = make.key(container="sidecar")
TWO = (("web", make.image("v1")), ("sidecar", make.image("v2")))


def as_it_is(claim: Claim) -> Claim:
    """Nobody else claims anything."""
    return claim


def view(deployment: Deployment | None = None, namespace: Namespace | None = NAMESPACE, **parts: Any) -> View:
    """The default workload, complete, unless told otherwise."""
    fields: dict[str, Any] = {"replica_sets": (make.replica_set(),), "pods": (make.pod(), make.pod(uid="p2"))}
    return View(deployment=deployment or make.deployment(), namespace=namespace, **fields | parts)


def gone(namespace: Namespace | None = NAMESPACE, **parts: Any) -> View:
    """The same workload after its deletion."""
    return replace(view(namespace=namespace, **parts), deployment=None)


def recorded(key: SlotKey | None = None, **overrides: Any) -> Slot:
    """A slot with something DEPLOYED."""
    return make.slot(key=key or make.key(), current=make.entry(), seq=1, **overrides)


def found(
    seen: View, *slots: Slot, vet: Callable[[Claim], Claim] = as_it_is, rules: Rules = RULES
) -> tuple[Look, ...]:
    return look(seen, slots, rules, vet)


def test_a_new_workload_is_seen_with_what_it_runs_and_how_it_presents_itself() -> None:
    ((key, what),) = found(view())
    assert key == make.key()
    assert isinstance(what, Seen)
    assert (what.sighting.rollout, what.sighting.resolution.digest) == (Rollout.COMPLETE, make.A)
    assert what.identity == make.identity()
    assert (what.version(None), what.findings, what.moved) == ("v1", (), None)


def test_a_known_one_is_seen_in_its_slot_once() -> None:
    looks = found(view(), recorded())
    assert [(key, type(what)) for key, what in looks] == [(make.key(), Seen)]


def test_each_container_is_seen_by_itself() -> None:
    looks = found(view(make.deployment(containers=TWO)))
    assert [key for key, _ in looks] == [make.key(), SIDECAR]
    seen = [what for _, what in looks if isinstance(what, Seen)]
    assert [what.sighting.reference for what in seen] == [make.image("v1"), make.image("v2")]
    assert [what.identity.reports for what in seen] == [True, False]


def test_findings_of_the_annotations_come_along() -> None:
    ((_, what),) = found(view(make.deployment(annotations={"track": "perhaps"})))
    assert isinstance(what, Seen)
    assert [each.reason for each in what.findings] == ["UnknownValue"]


# Gone


@pytest.mark.parametrize(
    ("pods", "left"), [((make.pod(),), True), ((make.pod(leaving=True),), False), ((), False)]
)
def test_of_a_workload_that_is_gone_every_slot_is_absent_and_pods_that_run_on_are_told(
    pods: tuple[object, ...],
    left: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    looks = found(gone(pods=pods), recorded(), recorded(SIDECAR))
    assert looks == (
        (make.key(), Absent(cause=Cause.DELETED, pods_left=left)),
        (SIDECAR, Absent(cause=Cause.DELETED)),
    )


def test_a_workload_that_is_gone_with_its_namespace_is_gone() -> None:
    assert found(gone(None, pods=()), recorded()) == ((make.key(), Absent(cause=Cause.DELETED)),)


def test_a_workload_that_is_gone_and_was_never_recorded_is_nothing() -> None:
    assert found(gone()) == ()


# Not tracked


def test_tracking_switched_off_untracks_every_slot() -> None:
    off = make.deployment(annotations={"track": "off"})
    looks = found(view(off), recorded(), recorded(SIDECAR))
    assert looks == ((make.key(), Absent(cause=Cause.UNTRACKED)), (SIDECAR, Absent(cause=Cause.UNTRACKED)))


def test_an_excluded_namespace_untracks_too() -> None:
    rules = replace(RULES, excluded_namespaces=("pay*",))
    assert found(view(), recorded(), rules=rules) == ((make.key(), Absent(cause=Cause.UNTRACKED)),)
    assert found(view(), rules=rules) == ()


def test_a_container_that_is_not_listed_any_more_is_untracked_not_removed() -> None:
    listed = make.deployment(containers=TWO, annotations={"containers": "web"})
    (first, second) = found(view(listed), recorded(), recorded(SIDECAR))
    assert (first[0], type(first[1])) == (make.key(), Seen)
    assert second == (SIDECAR, Absent(cause=Cause.UNTRACKED))


@pytest.mark.parametrize(("pods", "left"), [((), False), ((make.pod(),), True)])
def test_a_container_that_is_not_there_any_more_is_removed(pods: tuple[object, ...], left: bool) -> None:  # noqa: FBT001  # likewise
    renamed = make.deployment(containers=(("app", make.image("v1")),))
    (new, old) = found(view(renamed, pods=pods), recorded())
    assert (new[0], type(new[1])) == (make.key(container="app"), Seen)
    assert old == (make.key(), Absent(cause=Cause.REMOVED, pods_left=left))


# Moved


def test_in_another_environment_the_new_slot_comes_first_and_knows_what_moved() -> None:
    (new, old) = found(view(namespace=STAGING), recorded())
    assert new[0] == make.key(environment="staging")
    assert isinstance(new[1], Seen)
    assert new[1].moved == make.entry()
    assert old == (make.key(), Absent(cause=Cause.MOVED))


@pytest.mark.parametrize(
    "before",
    [
        recorded(tracked=False),
        recorded(SIDECAR),
        make.slot(seq=1, current=make.entry(status=RecordStatus.DECOMMISSIONED)),
        make.slot(seq=1, attempt=make.entry(status=None)),
    ],
    ids=["untracked", "another container", "ended", "only begun"],
)
def test_only_what_is_deployed_and_tracked_in_the_same_container_moves(before: Slot) -> None:
    (_, what), *_ = found(view(namespace=STAGING), before)
    assert isinstance(what, Seen)
    assert what.moved is None


def test_what_moved_is_found_behind_slots_that_have_ended() -> None:
    ended = make.slot(
        key=make.key(environment="dev"), seq=1, current=make.entry(status=RecordStatus.DECOMMISSIONED)
    )
    (_, what), *others = found(view(namespace=STAGING), ended, recorded())
    assert isinstance(what, Seen)
    assert what.moved == make.entry()
    assert others == [
        (make.key(environment="dev"), Absent(cause=Cause.MOVED)),
        (make.key(), Absent(cause=Cause.MOVED)),
    ]


# Refused


def not_allowed(*slots: Slot) -> tuple[Look, ...]:
    """The workload chooses an environment that its namespace does not allow."""
    return found(view(make.deployment(annotations={"environment": "moon"})), *slots)


def test_what_is_not_allowed_is_refused_where_nothing_is_known() -> None:
    ((key, what),) = not_allowed()
    assert key == make.key()
    assert isinstance(what, Refused)
    assert (what.condition.type, what.claim.refused) == ("NotAllowed", what.condition)


def test_what_is_not_allowed_is_held_where_something_is_known_in_any_environment() -> None:
    elsewhere = make.key(environment="staging")
    looks = not_allowed(recorded(), recorded(elsewhere))
    assert [key for key, _ in looks] == [make.key(), elsewhere], "neither absent nor moved"
    assert [type(what) for _, what in looks] == [Held, Held]


def test_a_reference_that_cannot_be_read_is_refused_and_the_other_container_is_not() -> None:
    containers = (("web", "not an image!"), ("sidecar", make.image("v1")))
    (first, second) = found(view(make.deployment(containers=containers)))
    assert isinstance(first[1], Refused)
    assert first[1].condition.reason == "InvalidReference"
    assert (second[0], type(second[1])) == (SIDECAR, Seen)


def test_a_refused_container_holds_its_slot_while_others_go_their_way() -> None:
    containers = (("web", "not an image!"), ("sidecar", make.image("v1")))
    former = make.key(container="former")
    looks = found(
        view(make.deployment(containers=containers), pods=()), recorded(), recorded(SIDECAR), recorded(former)
    )
    assert {key.container: type(what) for key, what in looks} == {"web": Held, "sidecar": Seen, "former": Absent}


# What only a view over all workloads can tell


def test_every_claim_is_vetted_and_what_comes_back_counts() -> None:
    vetted: list[SlotKey] = []

    def vet(claim: Claim) -> Claim:
        vetted.append(claim.key)
        return conflicting(claim, "deployment/payments/other") if claim.key == SIDECAR else claim

    (first, second) = found(view(make.deployment(containers=TWO)), vet=vet)
    assert vetted == [make.key(), SIDECAR]
    assert (type(first[1]), type(second[1])) == (Seen, Refused)


def test_nothing_is_vetted_of_what_is_not_tracked_or_gone() -> None:
    def vet(claim: Claim) -> Claim:
        raise AssertionError(claim)

    assert found(gone(), vet=vet) == ()
    assert found(view(make.deployment(annotations={"track": "off"})), vet=vet) == ()


def test_whose_application_another_reports_says_so_and_keeps_its_other_findings() -> None:
    known = Condition(type="Annotations", reason="UnknownValue")
    claim = Claim(key=make.key(), reference_text="", reference=None, identity=make.identity(), findings=(known,))
    shared = not_reporting(claim, "deployment/payments/other")
    assert not shared.identity.reports
    assert shared.refused is None
    assert shared.findings[0] == known
    assert shared.findings[1].reason == "ReportedByAnother"
    assert shared.findings[1].message == ("deployment/payments/other reports the application shop in production")


def test_whose_name_another_has_is_refused() -> None:
    claim = Claim(key=make.key(), reference_text="", reference=None, identity=make.identity())
    refused = conflicting(claim, "deployment/payments/other").refused
    assert refused is not None
    assert (refused.type, refused.reason) == ("SlotConflict", "NameTaken")
    assert refused.message == "deployment/payments/other has the deployment name payments/shop/web"


def test_a_namespace_that_is_not_known_says_nothing_of_the_environment() -> None:
    ((key, _),) = found(view(namespace=None))
    assert key.environment == "east"


def test_a_digest_that_is_not_there_is_not_made_up() -> None:
    ((_, what),) = found(view(pods=()))
    assert isinstance(what, Seen)
    assert what.sighting.resolution == Resolution(digest=None, reason="PodsUnknown")
