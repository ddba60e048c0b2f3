"""Deployments, ReplicaSets and pods come by three watches: the last of them may be the Deployment."""

from rollbook.core.observe import Rollout, observe
from tests.unit.core.make import CONTAINER, B, deployment, image_id, pod, replica_set


def test_the_pods_of_a_deployment_that_has_no_revision_yet_did_not_run_before() -> None:
    just_created = deployment(observed_generation=0, revision="", current_replicas=0, progressing=None)
    found = observe(just_created, (replica_set(),), (pod(),), CONTAINER)
    assert (found.rollout, found.previous) == (Rollout.WAITING, None)


def test_the_pods_of_a_later_revision_than_the_deployment_speaks_of_did_not_run_before() -> None:
    asked_for = deployment(tag="v2", generation=2, observed_generation=1)
    later = replica_set(uid="r2", revision="2", tag="v2")
    pods = (pod(), *(pod(uid=uid, owner="r2", runs=image_id(B)) for uid in ("p2", "p3")))
    found = observe(asked_for, (replica_set(), later), pods, CONTAINER)
    assert found.rollout is Rollout.WAITING
    assert found.previous is not None
    assert found.previous.reference == replica_set().containers[0][1]
