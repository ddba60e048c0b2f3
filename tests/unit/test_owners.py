"""Who has a name: the first to claim it, as long as it uses it."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from rollbook.core.identity import Claim
from rollbook.core.slot import Condition, Slot
from rollbook.core.transition import RecordStatus
from rollbook.core.workload import WorkloadRef
from rollbook.owners import Owners, uses
from tests.unit.core import make

ONE = WorkloadRef(namespace="payments", name="one")
TWO = WorkloadRef(namespace="payments", name="two")
THREE = WorkloadRef(namespace="payments", name="three")


def claim(workload: WorkloadRef, container: str = "web", **identity: Any) -> Claim:
    key = make.key(workload=workload, container=container, environment=identity.pop("environment", "production"))
    fields = {"deployment_name": f"payments/{workload.name}/{container}", "application": workload.name}
    return Claim(
        key=key, reference_text=make.image("v1"), reference=None, identity=make.identity(**fields | identity)
    )


def stored(wanted: Claim, **overrides: Any) -> Slot:
    return make.slot(key=wanted.key, current=make.entry(identity=wanted.identity), **overrides)


def use(*claims: Claim) -> list[Any]:
    return [(each.key, each.identity) for each in claims]


def test_a_claim_that_nobody_disputes_stands_as_it_is() -> None:
    owners, wanted = Owners(), claim(ONE)
    assert owners.vet(wanted) is wanted
    assert owners.vet(wanted) is wanted


def test_the_first_has_the_deployment_name_and_the_second_is_told_who() -> None:
    owners = Owners()
    owners.vet(claim(ONE, deployment_name="payments/shop"))
    refused = owners.vet(claim(TWO, deployment_name="payments/shop")).refused
    assert refused == Condition(
        type="SlotConflict",
        reason="NameTaken",
        message="deployment/payments/one has the deployment name payments/shop",
    )


def test_the_first_reports_the_application_and_the_second_deploys_without_reporting() -> None:
    owners = Owners()
    owners.vet(claim(ONE, application="shop"))
    second = owners.vet(claim(TWO, application="shop"))
    assert second.refused is None
    assert not second.identity.reports
    assert [each.type for each in second.findings] == ["ApplicationShared"]
    assert "deployment/payments/one reports the application shop in production" in second.findings[0].message


def test_names_are_names_within_an_environment() -> None:
    owners = Owners()
    owners.vet(claim(ONE, deployment_name="n", application="a"))
    elsewhere = claim(TWO, deployment_name="n", application="a", environment="staging")
    assert owners.vet(elsewhere) is elsewhere


def test_several_containers_of_a_workload_share_its_application() -> None:
    owners = Owners()
    owners.vet(claim(ONE, "web", application="shop"))
    second = claim(ONE, "sidecar", application="shop", reports=False)
    assert owners.vet(second) is second


def test_who_does_not_report_claims_no_application() -> None:
    owners = Owners()
    owners.vet(claim(ONE, application="shop", reports=False))
    second = claim(TWO, application="shop")
    assert owners.vet(second) is second


def test_a_refused_claim_claims_nothing() -> None:
    owners = Owners()
    refused = replace(claim(ONE, deployment_name="n"), refused=Condition(type="NotAllowed", reason="X"))
    assert owners.vet(refused) is refused
    second = claim(TWO, deployment_name="n")
    assert owners.vet(second) is second


@pytest.mark.parametrize("order", list(permutations([ONE, TWO, THREE])))
def test_after_a_restart_what_is_stored_claims_first_whoever_is_heard_of_first(
    order: tuple[WorkloadRef, ...],
) -> None:
    owners = Owners()
    owners.remember(stored(claim(TWO, deployment_name="n", application="a")))
    vetted = {ref: owners.vet(claim(ref, deployment_name="n", application="a")) for ref in order}
    assert [ref for ref in order if vetted[ref].refused is None] == [TWO]


def test_an_attempt_and_what_is_deployed_both_hold_their_names() -> None:
    owners = Owners()
    old, new = claim(ONE, deployment_name="old"), claim(ONE, deployment_name="new")
    owners.remember(stored(old, attempt=make.entry(identity=new.identity, status=None)))
    assert owners.vet(claim(TWO, deployment_name="old")).refused
    assert owners.vet(claim(THREE, deployment_name="new")).refused


def test_what_has_ended_holds_no_name() -> None:
    owners = Owners()
    gone = stored(claim(ONE, deployment_name="n"))
    assert gone.current is not None
    owners.remember(replace(gone, current=replace(gone.current, status=RecordStatus.DECOMMISSIONED)))
    assert owners.vet(claim(TWO, deployment_name="n")).refused is None
    assert list(uses(make.slot())) == []


def test_names_of_a_workload_that_is_gone_go_to_those_who_wait() -> None:
    owners = Owners()
    owners.vet(claim(ONE, deployment_name="n", application="a"))
    owners.vet(claim(TWO, deployment_name="n"))
    owners.vet(claim(THREE, application="a"))
    assert owners.retain(ONE, []) == {TWO, THREE}
    assert owners.retain(ONE, []) == set()
    assert owners.vet(claim(TWO, deployment_name="n")).refused is None
    assert owners.vet(claim(THREE, application="a")).identity.reports


def test_a_name_that_is_still_used_is_kept_and_one_that_is_not_goes_on() -> None:
    owners = Owners()
    former, now = claim(ONE, application="shop"), claim(ONE, application="store")
    owners.vet(former)
    owners.vet(claim(TWO, application="shop"))
    owners.vet(now)
    assert owners.retain(ONE, use(former, now)) == set(), "the rollout that was begun as shop is still open"
    assert owners.retain(ONE, use(now)) == {TWO}
    assert owners.vet(claim(TWO, application="shop")).identity.reports
    assert not owners.vet(claim(ONE, application="shop")).identity.reports, "it has been handed on"


def test_a_container_renamed_under_a_chosen_name_gets_it_when_the_former_one_has_ended() -> None:
    owners = Owners()
    former, renamed = claim(ONE, "web", deployment_name="n"), claim(ONE, "app", deployment_name="n")
    owners.vet(former)
    assert owners.vet(renamed).refused is not None, "the former one is still DEPLOYED under it"
    assert owners.retain(ONE, use(former)) == set()
    assert owners.retain(ONE, use()) == {ONE}
    assert owners.vet(renamed) is renamed


def test_a_renamed_container_keeps_the_workloads_application_throughout() -> None:
    owners = Owners()
    former, renamed = claim(ONE, "web", application="shop"), claim(ONE, "app", application="shop")
    owners.vet(former)
    owners.vet(claim(TWO, application="shop"))
    assert owners.vet(renamed).identity.reports
    assert owners.retain(ONE, use(renamed)) == set()
    assert not owners.vet(claim(TWO, application="shop")).identity.reports
