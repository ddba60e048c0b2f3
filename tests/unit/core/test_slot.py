"""The words of the ledger, and what a slot says of itself."""

from rollbook.core.slot import KEPT_DIGESTS
from rollbook.core.transition import TRANSITIONS, ArtifactKind, Channel, Kind, RecordStatus
from rollbook.core.workload import WorkloadRef
from tests.unit.core.make import REF, A, B, C, artifact, entry, key, slot


def test_a_slot_without_history_has_neither_target_nor_deployed_entry() -> None:
    assert slot().deployed is None
    assert slot().target is None


def test_what_was_decommissioned_is_the_target_but_not_deployed() -> None:
    gone = slot(current=entry(status=RecordStatus.DECOMMISSIONED))
    assert gone.deployed is None
    assert gone.target == artifact().reference


def test_the_attempt_is_the_target_beside_what_is_deployed() -> None:
    both = slot(current=entry(), attempt=entry(number=2, artifact=artifact("v2", None), status=None))
    assert both.deployed == entry()
    assert both.target == artifact("v2").reference


def test_digests_are_kept_newest_first_each_once() -> None:
    assert slot(digests=(B, A, C)).with_digest(A).digests == (A, B, C)


def test_digests_are_bounded() -> None:
    many = slot()
    for number in range(KEPT_DIGESTS + 5):
        many = many.with_digest(f"sha256:{number:064x}")
    assert len(many.digests) == KEPT_DIGESTS
    assert many.digests[0] == f"sha256:{KEPT_DIGESTS + 4:064x}"


def test_every_part_of_the_key_makes_another_object() -> None:
    others = [
        key(cluster="west"),
        key(environment="staging"),
        key(container="proxy"),
        key(artifact_kind=ArtifactKind.HELM_CHART),
        key(workload=WorkloadRef(namespace="other", name="shop")),
        key(workload=WorkloadRef(namespace="payments", name="other")),
        key(workload=WorkloadRef(namespace="payments", name="shop", kind="StatefulSet")),
        key(workload=WorkloadRef(namespace="payments", name="shop", group="other.example")),
    ]
    names = {each.object_name for each in (key(), *others)}
    assert len(names) == len(others) + 1


def test_what_is_cut_from_a_name_still_counts() -> None:
    long = [key(container="c" * 63, workload=WorkloadRef(namespace="n" * 63, name=end * 253)) for end in "ab"]
    names = {each.object_name for each in long}
    assert len(names) == 2
    assert all(len(name) <= 213 for name in names)


def test_a_boundary_between_namespace_and_name_is_no_way_into_another_slot() -> None:
    one = key(workload=WorkloadRef(namespace="a-b", name="c"))
    other = key(workload=WorkloadRef(namespace="a", name="b-c"))
    assert one.object_name != other.object_name


def test_an_object_name_is_readable_and_stable() -> None:
    assert key().object_name == "payments-shop-web-" + key().object_name.rpartition("-")[2]
    assert key().object_name == key().object_name
    assert key().namespace == REF.namespace


def test_a_workload_names_itself_for_people() -> None:
    assert REF.label == "deployment/payments/shop"


def test_rollout_events_and_states_are_told_apart() -> None:
    rollout = {Kind.STARTED, Kind.FINISHED, Kind.FAILED}
    assert {kind for kind in Kind if kind.channel is Channel.ROLLOUT} == rollout
    assert {kind for kind in Kind if kind.channel is Channel.STATE} == set(Kind) - rollout


def test_only_states_are_in_the_table_of_transitions_and_superseded_is_final() -> None:
    assert set(TRANSITIONS) == {None, *RecordStatus}
    assert all(kind.channel is Channel.STATE for kinds in TRANSITIONS.values() for kind in kinds)
    assert TRANSITIONS[RecordStatus.SUPERSEDED] == frozenset()
