"""Sinks as admins declare them: whatever they write, and whenever, the others go on."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rollbook.core.errors import Forbidden, SinkUnauthorized
from rollbook.core.transition import Channel, Kind
from rollbook.core.workload import Namespace
from rollbook.courier import Courier
from rollbook.crd.sink import parse
from rollbook.kube.client import Kube
from rollbook.operator.tracking_sinks import Secret, TrackingSinks
from rollbook.sinks.registry import WaitingSink, key
from tests.fakes import eventually, settle
from tests.unit.core import make
from tests.unit.kube.api import Api
from tests.unit.office import Office, open_office, owing
from tests.unit.sinks import builders

HOST = "127.0.0.1:9"
"""Nobody listens there."""

CHAINLOOP = {"chainloop": {"endpoint": f"http://{HOST}"}, "selector": {}}


def body(version: int = 1, **changes: Any) -> dict[str, Any]:
    """A sink's object; `changes` are of its metadata, `spec` and `status` of the object."""
    made = builders.body({**CHAINLOOP, **changes.pop("spec", {})})
    made["metadata"] |= {"resourceVersion": str(version), **changes}
    return made


def secret(token: str | bytes = "a-token", uid: str = "s1", **changes: Any) -> Secret:  # noqa: S107 - made up
    data = token if isinstance(token, bytes) else base64.b64encode(token.encode())
    fields = {"uid": uid, "name": "tracking", "data": {"token": data.decode()}, "hosts": frozenset({HOST})}
    return Secret(**fields | changes)


class Desk:
    """Sinks over the small API server and an office."""

    def __init__(self, api: Api, kube: Kube, office: Office) -> None:
        self.api, self.kube, self.office = api, kube, office
        self.looks = 0
        self.sinks = self._new()

    def _new(self) -> TrackingSinks:
        return TrackingSinks(self.kube, self.office.roster, self._look)

    def _look(self) -> None:
        self.looks += 1
        self.office.hint()

    def restart(self) -> None:
        """Forget what was written."""
        self.sinks = self._new()

    async def heard(self, made: dict[str, Any], *, deleted: bool = False) -> None:
        """An event, and the object in the cluster."""
        if not deleted:
            self.api.put("trackingsinks", "", made["metadata"]["name"], **json.loads(json.dumps(made)))
        await self.sinks.heard(made, deleted=deleted)

    async def take(self, found: Secret) -> None:
        """A Secret has come or changed."""
        self.sinks.take_secret(found)
        await self.sinks.refresh()

    @property
    def courier(self) -> Courier:
        """The only one."""
        (courier,) = self.office.roster
        return courier

    async def ready(self, name: str = "insights") -> tuple[str, str]:
        """Status and reason of `Ready` after a report."""
        await self.sinks.report()
        condition = self.condition(name)
        return condition["status"], condition["reason"]

    def status(self, name: str = "insights") -> dict[str, Any]:
        """As it is in the cluster."""
        found: dict[str, Any] = self.api.objects["trackingsinks", "", name].get("status", {})
        return found

    def condition(self, name: str = "insights") -> dict[str, str]:
        """The condition `Ready` as it is in the cluster."""
        (condition,) = self.status(name)["conditions"]
        assert isinstance(condition, dict)
        return condition

    @property
    def writes(self) -> int:
        """How often a status was written."""
        return len(self.api.calls("PATCH", "/status"))


@pytest.fixture
async def desk(api: Api, kube: Kube) -> AsyncIterator[Desk]:
    async with open_office() as office:
        yield Desk(api, kube, office)


# Joining


async def test_a_sink_and_its_secret_make_a_member_of_the_roster(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(spec={"backfill": False}))
    assert desk.courier.sink.key == key(parse(body()))
    assert desk.courier.sink.channels == frozenset({Channel.STATE})
    assert desk.looks == 1
    assert await desk.ready() == ("True", "Delivering")
    assert desk.status()["type"] == "chainloop"
    assert (desk.status()["observedGeneration"], desk.status()["backlog"], desk.status()["parked"]) == (1, 0, 0)


async def test_all_are_read_before_anything_is_decided(desk: Desk) -> None:
    items = [
        body(name="one", uid="1"),
        body(name="two", uid="2"),
        body(name="three", uid="3", spec={"chainloop": None}),
    ]
    desk.api.refuse("GET", "/trackingsinks", 200, raw=json.dumps({"items": items}))
    await desk.sinks.load()
    assert sorted(desk.office.roster.names.values()) == ["one", "two"]


async def test_a_broken_spec_is_a_condition_and_the_others_go_on(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(name="good", uid="g"))
    await desk.heard(body(name="bad", uid="b", generation=4, spec={"tracker": {"endpoint": f"http://{HOST}"}}))
    assert list(desk.office.roster.names.values()) == ["good"]
    assert await desk.ready("bad") == ("False", "InvalidSpec")
    assert "exactly one of" in desk.condition("bad")["message"]
    assert desk.status("bad")["observedGeneration"] == 4
    assert await desk.ready("good") == ("True", "Delivering")


async def test_a_spec_that_is_broken_later_leaves_and_repaired_joins_again(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    await desk.heard(body(2, spec={"chainloop": None}))
    assert list(desk.office.roster) == []
    assert await desk.ready() == ("False", "InvalidSpec")
    await desk.heard(body(3))
    assert await desk.ready() == ("True", "Delivering")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"allowInsecureHTTP": False}, "not https"),
        ({"chainloop": {"endpoint": "http://169.254.169.254"}}, "link-local"),
        ({"chainloop": {"endpoint": "http://elsewhere.example"}}, "may not be sent to elsewhere.example"),
    ],
)
async def test_where_a_credential_must_not_go_nothing_is_sent(desk: Desk, spec: dict[str, Any], said: str) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(spec=spec))
    assert isinstance(desk.courier.sink, WaitingSink)
    assert await desk.ready() == ("False", "InvalidSpec")
    assert said in desk.condition()["message"]


# The Secret


@pytest.mark.parametrize(
    ("found", "reason", "said"),
    [
        (None, "CredentialMissing", "no Secret tracking with the key token"),
        (secret(data={"other": "eA=="}), "CredentialMissing", "no Secret tracking with the key token"),
        (secret(name="another"), "CredentialMissing", "no Secret tracking"),
        (secret(b"%%%"), "InvalidSpec", "is no text"),
        (secret(base64.b64encode(b"\xff\xfe")), "InvalidSpec", "is no text"),
        (secret(" \n"), "InvalidSpec", "token is empty"),
        (secret("two words"), "InvalidSpec", "cannot be sent in a header"),
        (secret(hosts=frozenset()), "InvalidSpec", "none"),
    ],
    ids=["missing", "another key", "another name", "no base64", "no text", "empty", "two words", "no host"],
)
async def test_a_secret_that_cannot_be_used_is_a_condition_until_it_can(
    desk: Desk, found: Secret | None, reason: str, said: str
) -> None:
    if found:
        desk.sinks.take_secret(found)
    await desk.heard(body())
    assert await desk.ready() == ("False", reason)
    assert said in desk.condition()["message"]
    assert "two words" not in json.dumps(desk.status()), "the token is nobody's business"
    await desk.take(secret())
    assert await desk.ready() == ("True", "Delivering")
    assert desk.looks == 1, "it has had its place all the time"


async def test_what_happens_while_a_secret_is_missing_stays_owed(api: Api, kube: Kube) -> None:
    slot = owing("DEPLOYED", cursors={key(parse(body())): make.cursors(x=0)["x"]})
    async with open_office(slot) as office:
        desk = Desk(api, kube, office)
        desk.sinks.take_secret(secret())
        await desk.heard(body(spec={"suspend": True}))
        courier = desk.courier
        desk.sinks.drop_secret("s1")
        await desk.sinks.refresh()
        assert [each.key for each in office.roster.subscriptions(slot)] == [key(parse(body()))]
        await desk.heard(body(2))
        await eventually(lambda: courier.health.state == "unauthorized")
        assert await desk.ready() == ("False", "CredentialMissing")
        assert (desk.status()["backlog"], desk.status()["oldestUndelivered"]) == (1, "2027-01-15T08:00:01Z")
        await desk.take(secret(uid="s2"))
        await eventually(lambda: courier.health.state == "unavailable")
        assert desk.courier is courier, "it goes on where it was; only nobody listens there"


async def test_a_secret_that_takes_the_name_of_a_former_one_stays_when_that_goes(desk: Desk) -> None:
    await desk.heard(body())
    await desk.take(secret(uid="former"))
    await desk.take(secret("another", uid="new"))
    desk.sinks.drop_secret("former")
    desk.sinks.drop_secret("never heard of")
    await desk.sinks.refresh()
    assert await desk.ready() == ("True", "Delivering")
    desk.sinks.drop_secret("new")
    await desk.sinks.refresh()
    assert await desk.ready() == ("False", "CredentialMissing")


async def test_only_the_sinks_whose_credential_changed_are_built_again(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body())
    courier, sink = desk.courier, desk.courier.sink
    courier.gate.unauthorized("401")
    await desk.take(secret())
    await desk.take(secret(name="another", uid="s9"))
    assert courier.sink is sink
    assert not courier.gate.is_open
    await desk.take(secret("another"))
    assert courier.sink is not sink
    assert courier.gate.is_open


# Changes


async def test_an_echo_of_our_own_status_changes_nothing(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    sink = desk.courier.sink
    await desk.heard(body(2) | {"status": {"backlog": 0}})
    assert (desk.courier.sink, desk.looks) == (sink, 1)


@pytest.mark.parametrize(
    ("spec", "looks"),
    [({"suspend": True}, 1), ({"selector": {"environments": ["prod"]}}, 2), ({"backfill": False}, 2)],
)
async def test_the_same_destination_goes_on_and_all_is_looked_at_if_its_audience_changed(
    desk: Desk, spec: dict[str, Any], looks: int
) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    courier = desk.courier
    await desk.heard(body(2, spec=spec))
    assert desk.courier is courier
    assert desk.looks == looks
    assert (courier.health.state == "suspended") == ("suspend" in spec)


async def test_suspension_is_shown_and_ends(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1, spec={"suspend": True}))
    assert await desk.ready() == ("False", "Suspended")
    await desk.heard(body(2))
    assert await desk.ready() == ("True", "Delivering")


async def test_another_destination_is_another_member_and_all_is_looked_at(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    former = desk.courier
    await desk.heard(body(2, spec={"chainloop": {"endpoint": f"http://{HOST}/other"}}))
    assert desk.courier is not former
    assert desk.courier.sink.key.startswith(former.sink.key.partition(":")[0])
    assert desk.courier.sink.key != former.sink.key
    assert desk.looks >= 2


async def test_a_deleted_sink_leaves_and_all_is_looked_at_for_nobody_waits_for_it(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    await desk.heard(body(2), deleted=True)
    assert (list(desk.office.roster), desk.looks) == ([], 2)
    await desk.heard(body(3), deleted=True)
    await desk.sinks.report()
    assert (desk.looks, desk.writes) == (2, 0)


async def test_a_sink_made_again_under_the_same_name_is_another_one_with_a_status_of_its_own(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    await desk.ready()
    former = desk.courier
    del desk.api.objects["trackingsinks", "", "insights"]
    await desk.heard(body(5, uid="another"))
    assert desk.courier is not former
    assert desk.status() == {}
    assert await desk.ready() == ("True", "Delivering")


async def test_the_end_of_a_former_one_heard_late_does_not_end_the_new_one(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    await desk.heard(body(5, uid="another"))
    await desk.heard(body(4), deleted=True)
    await desk.heard(body(3))
    assert desk.courier.sink.key.startswith("another:")
    await desk.heard(body(6, uid="another"), deleted=True)
    assert list(desk.office.roster) == []


async def test_events_and_secrets_that_come_at_once_take_their_turns(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body(1))
    other = {"chainloop": {"endpoint": f"http://{HOST}/other"}}
    desk.sinks.take_secret(secret("another"))
    await asyncio.gather(
        desk.sinks.heard(body(2, spec=other), deleted=False),
        desk.sinks.refresh(),
        desk.sinks.heard(body(3, spec=other), deleted=True),
        desk.sinks.refresh(),
    )
    assert list(desk.office.roster) == []


# Statuses


async def test_a_status_is_written_when_it_changes_and_only_then(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body())
    for _ in range(3):
        await desk.sinks.report()
    assert desk.writes == 1
    desk.courier.gate.unavailable("503", None)
    await desk.sinks.report()
    await desk.sinks.report()
    assert desk.writes == 2
    assert desk.condition()["message"] == "503"


async def test_after_a_restart_a_status_that_still_holds_is_not_written(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body())
    await desk.sinks.report()
    desk.restart()
    desk.sinks.take_secret(secret())
    await desk.heard(body(2) | {"status": desk.status()})
    await desk.sinks.report()
    assert desk.writes == 1


async def test_the_time_of_a_condition_is_that_of_its_last_change(desk: Desk) -> None:
    since = "2026-01-01T00:00:00Z"
    said = {"type": "Ready", "status": "True", "reason": "Delivering", "message": "", "lastTransitionTime": since}
    desk.sinks.take_secret(secret())
    await desk.heard(body() | {"status": {"conditions": [said]}})
    await desk.sinks.report()
    assert desk.condition()["lastTransitionTime"] == since
    desk.courier.gate.unavailable("503", None)
    await desk.sinks.report()
    changed = desk.condition()["lastTransitionTime"]
    assert changed > since
    desk.courier.gate.unavailable("504", None)
    desk.courier.gate.unauthorized("401")
    await desk.sinks.report()
    assert desk.condition()["reason"] == "Unauthorized"
    assert desk.condition()["lastTransitionTime"] == changed, "it was not ready before either"


async def test_what_does_not_apply_any_more_goes_and_the_last_delivery_stays(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    before = {"oldestUndelivered": "2026-01-01T00:00:00Z", "lastDelivery": "2025-12-31T23:59:59Z", "backlog": 7}
    await desk.heard(body() | {"status": before})
    await desk.sinks.report()
    assert "oldestUndelivered" not in desk.status()
    assert (desk.status()["lastDelivery"], desk.status()["backlog"]) == ("2025-12-31T23:59:59Z", 0)
    await desk.heard(body(2, spec={"chainloop": None}) | {"status": desk.status()})
    await desk.sinks.report()
    assert "backlog" not in desk.status()
    writes = desk.writes
    await desk.sinks.report()
    assert desk.writes == writes


async def test_the_last_delivery_is_told_in_whole_seconds(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.heard(body())
    desk.courier.health.last_accepted = make.T + 999
    await desk.sinks.report()
    assert desk.status()["lastDelivery"] == "2027-01-15T08:00:00Z"


async def test_one_status_that_cannot_be_written_does_not_keep_the_others_waiting(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    for name in ("one", "two", "three"):
        await desk.heard(body(name=name, uid=name))
    desk.api.refuse("PATCH", "/one/status", 403, "forbidden")
    del desk.api.objects["trackingsinks", "", "two"]
    with pytest.raises(Forbidden):
        await desk.sinks.report()
    assert desk.status("one") == {}
    assert desk.condition("three")["status"] == "True"
    await desk.sinks.report()
    assert desk.condition("one")["status"] == "True"


async def test_a_sink_that_waits_says_why_and_selects_as_the_real_one_does() -> None:
    declared = parse(body(spec={"selector": {"environments": ["prod"], "workloadLabels": {"tier": "front"}}}))
    waiting = WaitingSink(sink=declared, why="no Secret")
    namespace = Namespace(name="payments")
    assert (waiting.key, waiting.name, waiting.since) == (key(declared), "insights", declared.since)
    assert waiting.selects(make.key(environment="prod"), namespace, {"tier": "front"})
    assert not waiting.selects(make.key(environment="prod"), namespace, {})
    assert not waiting.selects(make.key(environment="test"), namespace, {"tier": "front"})
    with pytest.raises(SinkUnauthorized, match="no Secret"):
        await waiting.deliver(builders.delivery(Kind.DEPLOYED))
    await waiting.close()


async def test_a_roster_that_is_closed_takes_no_sink_and_says_so(desk: Desk) -> None:
    desk.sinks.take_secret(secret())
    await desk.office.roster.close(0.1)
    await desk.heard(body())
    await settle()
    assert list(desk.office.roster) == []
    assert await desk.ready() == ("False", "Stopping")


async def test_a_sink_that_was_deleted_while_nobody_watched_is_sent_nothing_more(desk: Desk) -> None:
    await desk.take(secret())
    await desk.heard(body())
    assert len(list(desk.office.roster)) == 1
    desk.api.objects.clear()
    await desk.sinks.report()
    assert list(desk.office.roster) == []
