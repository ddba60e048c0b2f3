"""Rollbook is read-only on what it does not own: the API server's audit log over all that the tests made it do."""

from collections import Counter

import pytest

from rollbook.operator.handlers import GROUP
from tests.controlplane.api import Object
from tests.controlplane.audit import Request
from tests.integration.conftest import World
from tests.stack import NAMESPACE

pytestmark = pytest.mark.controlplane

USER = f"system:serviceaccount:{NAMESPACE}:rollbook"

ENOUGH = 100
"""Requests below which nothing is proven."""

READS = frozenset({"get", "list", "watch"})

OWN = {
    f"{GROUP}/deploymentrecords": {"create", "patch", "delete"},
    f"{GROUP}/deploymentrecords/status": {"patch"},
    f"{GROUP}/environmentslots": {"create", "patch", "delete"},
    f"{GROUP}/trackingsinks/status": {"patch"},
    "coordination.k8s.io/leases": {"create", "patch"},
    "events": {"create", "patch"},
}
"""What it may write, by resource."""

AT_HOME = frozenset({f"{GROUP}/environmentslots", "coordination.k8s.io/leases", "events"})
"""What it may write in its own namespace only."""

USERS = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod"), ("v1", "Namespace"))


@pytest.fixture(scope="module")
def requests(world: World) -> list[Request]:
    """All that the operator asked of the API server, in all its lives."""
    place = world.place("read only")
    place.deploy(image="web:1")
    place.see(records=[{"status": "DEPLOYED", "delivered": "1/1"}])
    return world.stack.cluster.audit(user=USER)


def test_it_was_at_work(requests: list[Request]) -> None:
    """The log is of this operator, reads and writes."""
    verbs = Counter(each.verb for each in requests)
    assert sum(verbs.values()) >= ENOUGH
    assert {"get", "list", "watch", "create", "patch"} <= verbs.keys()


def test_it_writes_only_what_it_owns(requests: list[Request]) -> None:
    writes = [each for each in requests if each.verb not in READS]
    assert len(writes) > 3
    assert [each for each in writes if not is_own(each)] == []


def is_own(write: Request) -> bool:
    """Whether a request may change what it is about."""
    if write.verb not in OWN.get(write.resource, ()):
        return False
    if write.resource == "coordination.k8s.io/leases" and write.verb == "patch" and write.name != "rollbook":
        return False
    return write.resource not in AT_HOME or write.namespace == NAMESPACE


def test_nothing_was_forbidden_but_records_of_terminating_namespaces(requests: list[Request]) -> None:
    """No rule is missing, and none is tried that is not there."""
    forbidden = [each for each in requests if each.code in {401, 403}]
    assert [each for each in forbidden if not is_end(each)] == []


def is_end(refused: Request) -> bool:
    """Whether the namespace was being deleted: nothing can be created there any more."""
    what = (refused.verb, refused.resource, refused.code)
    said = refused.raw["responseStatus"].get("message", "")
    return what == ("create", f"{GROUP}/deploymentrecords", 403) and "because it is being terminated" in said


def test_the_namespace_that_took_its_time_refused_records(requests: list[Request]) -> None:
    """A namespace that is terminating answers 403 to a creation; `test_scenarios` proves that it is no error."""
    held = [each for each in requests if each.namespace.startswith("namespace-that-takes-its-time")]
    if not held:
        pytest.skip("that scenario was not selected")
    assert [each for each in held if is_end(each)] != []


@pytest.mark.usefixtures("requests")
def test_it_left_no_trace_on_objects_of_others(world: World) -> None:
    """No field of a workload, a pod or a namespace is managed by who holds the Lease, or by kopf."""
    api = world.stack.cluster.api
    ours = managers([api.get("coordination.k8s.io/v1", "Lease", "rollbook", NAMESPACE)])
    assert ours == {"rollbook"}
    objects = [each for kind in USERS for each in api.find(*kind)]
    assert len(objects) > len(USERS)
    assert managers(objects) != set()
    assert managers(objects) & (ours | {"kopf"}) == set()
    finalizers = [name for each in objects for name in each["metadata"].get("finalizers", ()) if GROUP in name]
    assert finalizers == []


def managers(objects: list[Object]) -> set[str]:
    """Who manages fields of these objects."""
    return {each["manager"] for obj in objects for each in obj["metadata"].get("managedFields", ())}
