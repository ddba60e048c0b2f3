"""What a real API server makes of our custom resources and of the manifests that install Rollbook."""

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollbook.core.projection import records
from rollbook.crd.record import parse
from rollbook.crd.slot import changes, decode, encode
from tests.controlplane.api import KubeApi, KubeError, Object, eventually
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.installing import new_namespace
from tests.unit.crd.samples import SLOT

ROOT = Path(__file__).parents[2]
API = "rollbook.dev/v1alpha1"
DIGEST = "sha256:" + "0a" * 32
SINKS = dict(zip(SLOT.cursors, ("audit", "builds", "change-board"), strict=True))
OPERATOR = "system:serviceaccount:rollbook-system:rollbook"

pytestmark = pytest.mark.controlplane


@pytest.fixture(scope="module")
def installed() -> Iterator[ControlPlane]:
    """A control plane of this module's own, with Rollbook installed as the manifests say it is done."""
    with ControlPlane(nodes=0) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "deploy"))
        yield cluster


@pytest.fixture(scope="module")
def api(installed: ControlPlane) -> KubeApi:
    return installed.api


@pytest.fixture
def place(api: KubeApi) -> str:
    return new_namespace(api)


def definition(kind: str) -> Object:
    found = (yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml"))
    return next(crd for crd in found if crd["spec"]["names"]["kind"] == kind)


def full(schema: Mapping[str, Any], name: str = "") -> Any:
    """A value that has every field of a schema."""
    match schema["type"]:
        case "object" if "properties" in schema:
            return {field: full(inner, field) for field, inner in schema["properties"].items()}
        case "object":
            return {"key": full(schema.get("additionalProperties", {"type": "string"}))}
        case "array":
            return [full(schema["items"])]
        case "string":
            return _text(schema, name)
        case plain:
            return {"integer": 1, "number": 1.5, "boolean": True}[plain]


def _text(schema: Mapping[str, Any], name: str) -> str:
    if "enum" in schema:
        return str(schema["enum"][0])
    if schema.get("format") == "date-time":
        return "2026-11-22T10:00:00Z"
    if "sha" in schema.get("pattern", ""):
        return DIGEST
    return "https://tracker.example" if name == "endpoint" else "x"


def populated(kind: str, **metadata: str) -> Object:
    """An object with every field that the kind's schema has."""
    (version,) = definition(kind)["spec"]["versions"]
    fields = full(version["schema"]["openAPIV3Schema"])
    return {**fields, "apiVersion": API, "kind": kind, "metadata": metadata}


def stored(api: KubeApi, obj: Object) -> Object:
    """Create an object, with its status, and read it again."""
    api.create(obj)
    (version,) = definition(obj["kind"])["spec"]["versions"]
    if "status" in version.get("subresources", {}):
        api.patch(obj, {"status": obj["status"]}, subresource="status", kind="merge-patch")
    return api.get(API, obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))


def content(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "metadata"}


def slot(place: str) -> Object:
    body = encode(SLOT)
    body["metadata"]["namespace"] = place
    return body


def record(place: str, number: int = 0) -> Object:
    made = records(SLOT, sinks=SINKS, owed=lambda _sink, _transition: True)[number]
    return {
        "apiVersion": API,
        "kind": "DeploymentRecord",
        "metadata": {"name": made.name, "namespace": place, "labels": made.labels},
        "spec": made.spec,
        "status": {"observedGeneration": 1, **made.status},
    }


def test_definitions_become_established_without_complaint(api: KubeApi) -> None:
    for kind in ("DeploymentRecord", "EnvironmentSlot", "TrackingSink"):
        name = definition(kind)["metadata"]["name"]
        found = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
        conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}

        assert conditions["Established"] == conditions["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in conditions
        assert found["metadata"]["labels"]["rollbook.dev/schema-version"] == "1"


@pytest.mark.parametrize("kind", ["DeploymentRecord", "EnvironmentSlot"])
def test_every_field_is_kept(api: KubeApi, place: str, kind: str) -> None:
    obj = populated(kind, name="full", namespace=place)

    assert content(stored(api, obj)) == content(obj)


@pytest.mark.parametrize("destination", ["chainloop", "launchDarkly", "tracker"])
def test_every_field_of_a_sink_is_kept(api: KubeApi, destination: str) -> None:
    obj = populated("TrackingSink", name=f"full-{destination.lower()}")
    others = {"chainloop", "launchDarkly", "tracker"} - {destination}
    obj["spec"] = {name: value for name, value in obj["spec"].items() if name not in others}
    try:
        assert content(stored(api, obj)) == content(obj)
    finally:
        api.delete(obj)


def test_a_slot_comes_back_as_it_was(api: KubeApi, place: str) -> None:
    found = stored(api, slot(place))

    assert content(found) == content(encode(SLOT))
    assert decode(found) == decode(json.dumps(found).encode()) == SLOT


@pytest.mark.parametrize("number", [0, 1], ids=["deployed", "superseded"])
def test_a_record_comes_back_as_it_was(api: KubeApi, place: str, number: int) -> None:
    obj = record(place, number)

    found = stored(api, obj)

    assert content(found) == content(obj)
    assert found["metadata"]["labels"] == obj["metadata"]["labels"]
    assert parse(found).status.observed_generation == found["metadata"]["generation"]


RETAGGED = {"spec": {"artifact": {"name": "mirror.example/api", "reference": "mirror.example/api:v1"}}}
DECLARED = {"spec": {"artifact": {"digest": DIGEST}}}


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"spec": {"environment": "staging"}}, "the key of a slot never changes"),
        ({"spec": {"namespace": "other"}}, "the key of a slot never changes"),
        ({"spec": {"workload": {"name": "other"}}}, "the key of a slot never changes"),
        ({"spec": {"container": "other"}}, "the key of a slot never changes"),
        ({"spec": {"artifactKind": "HELM_CHART"}}, "the key of a slot never changes"),
        ({"spec": {"schemaVersion": 0}}, "should be greater than or equal to 1"),
        ({"spec": None}, "spec: Required value"),
        ({"ledger": None}, "ledger: Required value"),
        ({"status": {"status": "RUNNING"}}, "Unsupported value"),
        ({"status": {"digest": "sha256:ab"}}, "status.digest"),
    ],
)
def test_what_is_refused_of_a_slot(api: KubeApi, place: str, change: Mapping[str, Any], refusal: str) -> None:
    obj = slot(place)
    api.create(obj)

    with pytest.raises(KubeError, match=refusal) as caught:
        api.patch(obj, change, kind="merge-patch")
    assert caught.value.status == 422


def test_a_slot_is_not_written_back_to_an_earlier_schema(api: KubeApi, place: str) -> None:
    obj = slot(place)
    api.create(obj)
    api.patch(obj, {"spec": {"schemaVersion": 2}}, kind="merge-patch")

    with pytest.raises(KubeError, match="not written back to an earlier schema"):
        api.patch(obj, {"spec": {"schemaVersion": 1}}, kind="merge-patch")


@pytest.mark.parametrize(
    ("before", "change", "refusal"),
    [
        ({}, {"spec": {"cluster": "us-1"}}, "the place of a record never changes"),
        ({}, {"spec": {"cluster": None}}, "the place of a record never changes"),
        ({}, {"spec": {"environment": "staging"}}, "the place of a record never changes"),
        ({}, {"spec": {"workload": {"kind": "StatefulSet"}}}, "the place of a record never changes"),
        ({}, {"spec": {"container": None}}, "the place of a record never changes"),
        ({}, {"spec": {"artifact": {"kind": "HELM_CHART"}}}, "the place of a record never changes"),
        (DECLARED, RETAGGED, "a declared artifact never changes"),
        (DECLARED, {"spec": {"artifact": {"digest": None}}}, "a declared artifact never changes"),
        (DECLARED, {"spec": {"artifact": {"version": "2"}}}, "a declared artifact never changes"),
        ({}, {"spec": {"artifact": {"digest": "latest"}}}, "spec.artifact.digest"),
        ({}, {"spec": {"artifact": {"name": ""}}}, "spec.artifact.name"),
    ],
)
def test_what_is_refused_of_a_record(
    api: KubeApi, place: str, before: Mapping[str, Any], change: Mapping[str, Any], refusal: str
) -> None:
    obj = record(place)
    api.create(obj)
    api.patch(obj, before, kind="merge-patch")

    with pytest.raises(KubeError, match=refusal) as caught:
        api.patch(obj, change, kind="merge-patch")
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        ({"status": "RUNNING"}, "status.status"),
        ({"phase": "Done"}, "status.phase"),
        ({"digest": "sha256:" + "0A" * 32}, "status.digest"),
        ({"since": "yesterday"}, "status.since"),
        ({"deliveries": [{"sink": "a", "state": "Lost"}]}, "status.deliveries"),
        ({"conditions": [{"type": "Ready", "status": "Maybe", "reason": "R"}]}, "status.conditions"),
    ],
)
def test_what_is_refused_of_a_records_status(
    api: KubeApi, place: str, status: Mapping[str, Any], refusal: str
) -> None:
    obj = record(place)
    api.create(obj)

    with pytest.raises(KubeError, match=re.escape(refusal)):
        api.patch(obj, {"status": status}, subresource="status", kind="merge-patch")


def test_an_observed_artifact_may_get_another_reference(api: KubeApi, place: str) -> None:
    """A retag deploys nothing: the record stays and names what the workload asks for now."""
    obj = record(place)
    api.create(obj)

    changed = api.patch(obj, RETAGGED, kind="merge-patch")

    assert changed["spec"]["artifact"]["reference"] == "mirror.example/api:v1"
    assert changed["metadata"]["generation"] == 2


def test_the_status_of_a_record_is_written_through_its_subresource_only(api: KubeApi, place: str) -> None:
    created = api.create(record(place))

    assert "status" not in created


def test_an_update_keeps_what_others_added_and_drops_what_is_no_more(api: KubeApi, place: str) -> None:
    obj = slot(place)
    created = api.create(obj)
    api.patch(obj, {"metadata": {"annotations": {"example.com/note": "kept"}}}, kind="merge-patch")
    later = decode({**created, "ledger": created["ledger"][:-1] + ',"later":[1]}'})

    changed = api.patch(obj, changes(later), kind="merge-patch")

    assert changed["metadata"]["annotations"] == {"example.com/note": "kept"}
    assert decode(changed) == later
    assert decode(changed).extra == {"later": [1]}
    assert content(api.patch(obj, {"status": {"digest": None}}, kind="merge-patch"))["status"] == {
        name: value for name, value in changed["status"].items() if name != "digest"
    }


def test_an_update_of_an_older_version_is_refused(api: KubeApi, place: str) -> None:
    obj = slot(place)
    created = api.create(obj)
    version = {"resourceVersion": created["metadata"]["resourceVersion"]}
    api.patch(obj, {"metadata": version, "ledger": '{"seq":13}'}, kind="merge-patch")

    with pytest.raises(KubeError) as caught:
        api.patch(obj, {"metadata": version, **changes(SLOT)}, kind="merge-patch")
    assert caught.value.status == 409


def test_managed_fields_once_removed_stay_away(api: KubeApi, place: str) -> None:
    """They cost the API server more than the rest of the object (tests/benchmarks/objects.py)."""
    none: Object = {"metadata": {"managedFields": [{}]}}
    written, shown = slot(place), record(place)
    api.create(written)
    assert "managedFields" in api.create(shown)["metadata"]

    api.patch(written, {**none, **changes(SLOT)}, kind="merge-patch")
    api.patch(shown, none, kind="merge-patch")

    later = api.patch(written, {"ledger": "{}"}, kind="merge-patch")
    status = api.patch(shown, {"status": shown["status"]}, subresource="status", kind="merge-patch")
    assert "managedFields" not in later["metadata"]
    assert "managedFields" not in status["metadata"]
    assert content(status) == content(shown)


def test_fields_outside_the_schema_are_dropped_without_a_word(api: KubeApi, place: str) -> None:
    """Why the ledger is a string, and why an operator does not lead over definitions older than it needs."""
    obj = slot(place)
    obj["spec"]["later"] = obj["status"]["later"] = obj["later"] = 1

    created = api.create(obj)

    assert "later" not in created["spec"]
    assert "later" not in created["status"]
    assert "later" not in created


def columns(output: str) -> list[dict[str, str]]:
    """The rows of a table of kubectl's, where a cell may be empty: each column begins where its header does."""
    header, *rows = output.splitlines()
    starts = [found.start() for found in re.finditer(r"(?<!\S)\S", header)]
    cuts = [slice(start, end) for start, end in itertools.zip_longest(starts, starts[1:])]
    return [{header[cut].strip(): row[cut].strip() for cut in cuts} for row in rows]


def test_columns_of_records(installed: ControlPlane, api: KubeApi, place: str) -> None:
    obj = record(place)
    stored(api, obj)

    (row,) = [row for row in columns(installed.kubectl("get", "dr", "-A")) if row["NAMESPACE"] == place]
    (wide,) = columns(installed.kubectl("get", "deploymentrecords", "-n", place, "-o", "wide"))

    assert row.pop("SINCE") not in {"", "<none>", "<unknown>"}
    assert row == {
        "NAMESPACE": place,
        "NAME": obj["metadata"]["name"],
        "ENVIRONMENT": "production",
        "ARTIFACT": "ghcr.io/acme/payments/api",
        "VERSION": "v1.42.0",
        "DIGEST": "1a2b3c4d5e6f",
        "STATUS": "DEPLOYED",
        "PHASE": "Succeeded",
        "DELIVERED": "3/3",
    }
    assert wide.keys() - row.keys() == {"SINCE", "STARTED", "REASON", "WORKLOAD", "CONTAINER"}
    assert (wide["WORKLOAD"], wide["CONTAINER"]) == ("api", "app")


def test_columns_of_slots(installed: ControlPlane, api: KubeApi, place: str) -> None:
    api.create(slot(place))

    (row,) = columns(installed.kubectl("get", "slot", "-n", place))

    assert row.pop("SINCE")
    assert row == {
        "NAME": SLOT.key.object_name,
        "ENVIRONMENT": "production",
        "NAMESPACE": "payments",
        "WORKLOAD": "api",
        "CONTAINER": "app",
        "VERSION": "v1.42.0",
        "STATUS": "DEPLOYED",
        "PHASE": "Succeeded",
        "UNDELIVERED": "0",
        "PARKED": "0",
    }


def test_one_can_wait_for_a_record(installed: ControlPlane, api: KubeApi, place: str) -> None:
    obj = record(place)
    stored(api, obj)
    name = f"dr/{obj['metadata']['name']}"

    for what in ("condition=Ready", "condition=Delivered", "jsonpath={.status.status}=DEPLOYED"):
        assert "condition met" in installed.kubectl("wait", name, "-n", place, f"--for={what}", "--timeout=5s")


def test_all_of_ours_is_one_category(installed: ControlPlane, api: KubeApi, place: str) -> None:
    api.create(slot(place))
    api.create(record(place))

    names = installed.kubectl("get", "rollbook", "-n", place, "-o", "name").split()

    assert {name.partition(".")[0] for name in names} == {"deploymentrecord", "environmentslot", "trackingsink"}


def test_kubectl_explains_every_kind(installed: ControlPlane) -> None:
    for path in ("dr.status.since", "slot.ledger", "ts.spec.selector"):
        assert "DESCRIPTION" in installed.kubectl("explain", path)


def test_applying_again_changes_nothing_and_keeps_the_trackers_token(
    installed: ControlPlane, api: KubeApi
) -> None:
    secret = api.get("v1", "Secret", "rollbook-tracker", "rollbook-system")
    assert "data" not in secret
    api.patch(secret, {"stringData": {"token": "0123456789abcdef"}}, kind="merge-patch")

    installed.kubectl("apply", "--server-side", "-f", str(ROOT / "deploy"))
    installed.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy"))

    again = api.get("v1", "Secret", "rollbook-tracker", "rollbook-system")
    assert again["data"].keys() == {"token"}
    assert again["metadata"]["annotations"] == secret["metadata"]["annotations"]


def test_the_pods_meet_the_namespaces_security_standard(api: KubeApi) -> None:
    """Both Deployments get their pods; the namespace enforces `restricted`."""

    def created(name: str) -> bool:
        status = api.get("apps/v1", "Deployment", name, "rollbook-system").get("status", {})
        return bool(status.get("unavailableReplicas"))

    namespace = api.get("v1", "Namespace", "rollbook-system")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name in ("rollbook", "rollbook-tracker"):
        eventually(functools.partial(created, name))
        labels = "app.kubernetes.io/component=" + {"rollbook": "operator"}.get(name, "tracker")
        assert eventually(functools.partial(api.find, "v1", "Pod", "rollbook-system", labels))


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "name", "allowed"),
    [
        ("watch", "apps/deployments", "", "", True),
        ("watch", "apps/replicasets", "", "", True),
        ("watch", "/pods", "", "", True),
        ("watch", "/namespaces", "", "", True),
        ("create", "rollbook.dev/deploymentrecords", "any", "", True),
        ("patch", "rollbook.dev/deploymentrecords/status", "any", "", True),
        ("patch", "rollbook.dev/trackingsinks/status", "", "", True),
        ("create", "rollbook.dev/environmentslots", "rollbook-system", "", True),
        ("patch", "coordination.k8s.io/leases", "rollbook-system", "rollbook", True),
        ("watch", "/secrets", "rollbook-system", "", True),
        (
            "get",
            "apiextensions.k8s.io/customresourcedefinitions",
            "",
            "environmentslots.rollbook.dev",
            True,
        ),
        ("patch", "apps/deployments", "any", "", False),
        ("update", "apps/deployments/finalizers", "any", "", False),
        ("patch", "/namespaces", "", "", False),
        ("patch", "/pods", "any", "", False),
        ("create", "/pods/exec", "any", "", False),
        ("get", "/secrets", "any", "", False),
        ("patch", "rollbook.dev/trackingsinks", "", "", False),
        ("get", "rollbook.dev/environmentslots", "any", "", False),
        ("patch", "coordination.k8s.io/leases", "rollbook-system", "other", False),
        ("get", "apiextensions.k8s.io/customresourcedefinitions", "", "others.example.com", False),
        ("patch", "apiextensions.k8s.io/customresourcedefinitions", "", "environmentslots.rollbook.dev", False),
    ],
)
def test_the_operators_rights(  # noqa: PLR0913 - a row of the table
    api: KubeApi, verb: str, resource: str, namespace: str, name: str, *, allowed: bool
) -> None:
    assert may(api, OPERATOR, verb, resource, namespace, name) is allowed


def test_the_tracker_has_no_rights(api: KubeApi) -> None:
    account = "system:serviceaccount:rollbook-system:rollbook-tracker"

    assert not may(api, account, "get", "/secrets", "rollbook-system", "rollbook-tracker")
    assert not may(api, account, "list", "rollbook.dev/deploymentrecords", "any", "")


def may(api: KubeApi, user: str, verb: str, resource: str, *where: str) -> bool:
    """Whether RBAC lets a user do it.

    Args:
        api: Of an admin.
        user: Who.
        verb: What.
        resource: `group/resource[/subresource]`.
        where: Namespace and name; empty means all.
    """
    group, plural, *sub = resource.split("/")
    namespace, name = where
    attributes = {"verb": verb, "group": group, "resource": plural, "namespace": namespace, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": user, "resourceAttributes": {**attributes, "subresource": "".join(sub)}},
    }
    return bool(api.create(review)["status"]["allowed"])
