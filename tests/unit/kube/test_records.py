"""Records: no write that is not needed, and no edit by somebody else that is not put right."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from rollbook.core.errors import Conflict, Forbidden, Unavailable
from rollbook.core.projection import Record
from rollbook.kube.client import Kube
from rollbook.kube.records import SELECTOR, Records
from tests.unit.kube.api import Api

SLOT = "shop-web-app-0123456789ab"
HASH = "0123456789ab"


def record(name: str = "web-app-012345-1", **status: Any) -> Record:
    return Record(
        name=name,
        namespace="shop",
        labels={"rollbook.dev/managed-by": "rollbook", "rollbook.dev/slot": HASH},
        spec={"environment": "prod", "artifact": {"reference": "app:1"}},
        status={"phase": "Succeeded", "durationSeconds": 12.0, **status},
    )


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
def records(kube: Kube, lost: list[str]) -> Records:
    return Records(kube, lost.append)


def stored(api: Api, name: str = "web-app-012345-1") -> dict[str, Any]:
    return api.objects["deploymentrecords", "shop", name]


def writes(api: Api) -> list[str]:
    """Since the last call: method and end of the path."""
    found = [f"{each.method} {each.path.split('/')[-1]}" for each in api.seen if each.method != "GET"]
    api.seen.clear()
    return found


async def test_a_new_record_is_created_then_its_status_written(api: Api, records: Records) -> None:
    await records.publish(SLOT, [record()])
    assert writes(api) == ["POST deploymentrecords", "PATCH web-app-012345-1", "PATCH status"]
    assert stored(api)["metadata"]["managedFields"] == [{}], "which the API server takes as: none"
    assert stored(api)["spec"] == record().spec
    assert stored(api)["status"] == {"observedGeneration": 1, **record().status}
    assert stored(api)["metadata"]["labels"] == record().labels


async def test_only_what_differs_is_written(api: Api, records: Records) -> None:
    await records.publish(SLOT, [record()])
    writes(api)
    await records.publish(SLOT, [record()])
    assert writes(api) == []
    await records.publish(SLOT, [record(phase="Failed")])
    assert writes(api) == ["PATCH status"]
    retagged = replace(record(), spec={"environment": "prod", "artifact": {"reference": "app:2"}})
    await records.publish(SLOT, [retagged])
    assert writes(api) == ["PATCH web-app-012345-1", "PATCH status"]
    assert stored(api)["spec"]["artifact"] == {"reference": "app:2"}
    assert stored(api)["status"]["observedGeneration"] == stored(api)["metadata"]["generation"] == 2


async def test_fields_that_are_gone_go(api: Api, records: Records) -> None:
    await records.publish(SLOT, [record(reason="Broken")])
    await records.publish(SLOT, [record()])
    assert "reason" not in stored(api)["status"]


async def test_records_that_are_no_longer_wanted_are_deleted(api: Api, records: Records) -> None:
    await records.publish(SLOT, [record("a"), record("b"), record("c")])
    writes(api)
    del api.objects["deploymentrecords", "shop", "b"]
    await records.publish(SLOT, [record("a")])
    assert sorted(writes(api)) == ["DELETE b", "DELETE c"]
    assert [key[2] for key in api.objects] == ["a"]
    assert len(records) == 1
    await records.publish(SLOT, [])
    assert api.objects == {}


async def test_after_a_restart_only_what_differs_is_written(api: Api, kube: Kube, records: Records) -> None:
    await records.publish(SLOT, [record("a"), record("b")])
    stored(api, "a")["status"]["durationSeconds"] = 12
    writes(api)
    again = Records(kube, lambda _: None)
    await again.load()
    assert api.seen[0].query["labelSelector"] == SELECTOR
    await again.publish(SLOT, [record("a"), record("c")])
    assert writes(api) == ["POST deploymentrecords", "PATCH c", "PATCH status", "DELETE b"]


async def test_a_crash_between_create_and_status_is_made_good(api: Api, kube: Kube, records: Records) -> None:
    api.refuse("PATCH", "/status", 503)
    with pytest.raises(Unavailable):
        await records.publish(SLOT, [record()])
    again = Records(kube, lambda _: None)
    await again.load()
    writes(api)
    await again.publish(SLOT, [record()])
    assert writes(api) == ["PATCH status"]
    await records.publish(SLOT, [record()])
    assert writes(api) == ["PATCH status"]


@pytest.mark.parametrize(
    ("code", "more"),
    [
        (403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}),
        (404, {"details": {"kind": "namespaces"}}),
    ],
)
async def test_a_namespace_that_goes_takes_nothing_and_that_is_final(
    api: Api, records: Records, code: int, more: dict[str, Any]
) -> None:
    api.refuse("POST", "/deploymentrecords", code, **more)
    await records.publish(SLOT, [record("a"), record("b")])
    assert writes(api) == ["POST deploymentrecords"]
    assert len(records) == 0


async def test_missing_rights_are_an_error(api: Api, records: Records) -> None:
    api.refuse("POST", "/deploymentrecords", 403)
    with pytest.raises(Forbidden):
        await records.publish(SLOT, [record()])


async def test_a_record_deleted_under_our_hands_is_made_again(api: Api, records: Records) -> None:
    await records.publish(SLOT, [record()])
    api.objects.clear()
    writes(api)
    await records.publish(SLOT, [record(phase="Failed")])
    assert writes(api) == ["PATCH status", "POST deploymentrecords", "PATCH web-app-012345-1", "PATCH status"]
    assert stored(api)["status"]["phase"] == "Failed"


async def test_a_record_whose_answer_was_lost_is_taken_as_ours(api: Api, records: Records) -> None:
    one = record()
    api.put("deploymentrecords", "shop", one.name, spec=one.spec, metadata={"labels": dict(one.labels)})
    await records.publish(SLOT, [one])
    assert writes(api) == ["POST deploymentrecords", "PATCH status"]


async def test_a_record_that_somebody_declared_is_not_taken(api: Api, records: Records) -> None:
    api.put("deploymentrecords", "shop", record().name, spec={"environment": "theirs"}, metadata={"labels": {}})
    before = copy.deepcopy(stored(api))
    with pytest.raises(Conflict):
        await records.publish(SLOT, [record()])
    assert stored(api) == before


async def test_an_edit_is_put_right(api: Api, records: Records, lost: list[str]) -> None:
    await records.publish(SLOT, [record()])
    for part, value in (("status", {"phase": "Edited"}), ("spec", {"environment": "edited"})):
        edited = api.put("deploymentrecords", "shop", record().name, **{part: value})
        records.heard(edited, deleted=False)
        await records.publish(SLOT, [record()])
        assert stored(api)[part].items() >= getattr(record(), part).items()
    relabelled = api.put("deploymentrecords", "shop", record().name, metadata={"labels": {}})
    records.heard(relabelled, deleted=False)
    await records.publish(SLOT, [record()])
    assert stored(api)["metadata"]["labels"] == record().labels
    assert lost == [HASH] * 3


async def test_an_edit_just_before_our_own_write_is_put_right(api: Api, records: Records, lost: list[str]) -> None:
    """Its event comes later than the answer to our write, which holds the edit already."""
    await records.publish(SLOT, [record()])
    edits: list[dict[str, Any]] = []

    def edit() -> None:
        edited = api.put("deploymentrecords", "shop", record().name, spec={"environment": "edited"})
        edits.append(copy.deepcopy(edited))

    api.faults.append(("PATCH", "/status", edit))
    await records.publish(SLOT, [record(phase="Failed")])
    records.heard(edits[0], deleted=False)
    assert stored(api)["spec"] == record().spec
    assert stored(api)["status"]["phase"] == "Failed"
    assert lost == []


async def test_a_deletion_is_put_right(api: Api, records: Records, lost: list[str]) -> None:
    await records.publish(SLOT, [record()])
    gone = copy.deepcopy(api.objects.pop(("deploymentrecords", "shop", record().name)))
    gone["metadata"]["resourceVersion"] = "9999"
    records.heard(gone, deleted=True)
    assert lost == [HASH]
    await records.publish(SLOT, [record()])
    assert stored(api)["status"]["phase"] == "Succeeded"


async def test_echoes_and_what_others_add_are_nothing(api: Api, records: Records, lost: list[str]) -> None:
    echoes: list[dict[str, Any]] = []
    api.faults.append(("PATCH", "/status", lambda: echoes.append(copy.deepcopy(stored(api)))))
    await records.publish(SLOT, [record()])
    await records.publish(SLOT, [record(phase="Failed")])
    records.heard(echoes[0], deleted=False)
    records.heard(copy.deepcopy(stored(api)), deleted=False)
    labels = {**record().labels, "team": "a"}
    annotated = api.put(
        "deploymentrecords", "shop", record().name, metadata={"labels": labels, "annotations": {"a": "b"}}
    )
    records.heard(annotated, deleted=False)
    records.heard({"metadata": {"name": "other", "namespace": "shop", "resourceVersion": "9999"}}, deleted=True)
    assert lost == []
    writes(api)
    await records.publish(SLOT, [record(phase="Failed")])
    assert writes(api) == []


async def test_an_edit_heard_during_our_own_write_is_not_overlooked(
    api: Api, records: Records, lost: list[str]
) -> None:
    edited: dict[str, Any] = {}

    def edit_meanwhile() -> None:
        edited.update(copy.deepcopy(stored(api)))
        edited["metadata"]["resourceVersion"] = "9999"
        records.heard(edited, deleted=True)

    api.faults.append(("PATCH", "/status", edit_meanwhile))
    await records.publish(SLOT, [record()])
    assert lost == [HASH]
    assert len(records) == 0
