"""The operator, the tracker and its credential go away and come again: nothing is lost, repeated or invented.

What happens while the operator is away is in `tests/scenarios/restarts/*.yaml`.
"""

import base64
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.controlplane.api import Object, eventually
from tests.integration import scenario as scenarios
from tests.integration.conftest import World, next_second
from tests.integration.place import Place
from tests.integration.scenario import Play, Scenario
from tests.integration.shown import Shown
from tests.stack import NAMESPACE, Stack

pytestmark = pytest.mark.controlplane

AWAY = scenarios.load("restarts")

STOPS_WITHIN = 10.0
"""Seconds after SIGTERM; a pod is killed after 30."""

REPORTED = 30.0
"""Seconds until a sink's status is written: it is every ten."""

SINK = {"apiVersion": "rollbook.dev/v1alpha1", "kind": "TrackingSink"}


def terminate(stack: Stack) -> None:
    """SIGTERM: it ends in order and soon."""
    began = time.monotonic()
    assert stack.stop_operator() == 0
    assert time.monotonic() - began < STOPS_WITHIN


ENDS: dict[str, Callable[[Stack], None]] = {"SIGTERM": terminate, "SIGKILL": Stack.kill_operator}


class Outage:
    """All that happens while the operator is away, and what is shown when it is back."""

    def __init__(self, world: World, end: Callable[[Stack], None]) -> None:
        stack, showing = world.stack, world.showing
        plays = scenarios.stage(stack, showing, AWAY)
        scenarios.act(plays, "steps")
        end(stack)
        scenarios.act(plays, "away")
        stack.start_operator()
        self.plays: dict[str, Play] = {each.scenario.name: each for each in plays}
        self.shown: Shown = scenarios.settled(stack, showing)


@pytest.fixture(scope="module", params=ENDS)
def outage(request: pytest.FixtureRequest, world: World) -> Outage:
    """One outage for all scenarios, by each of the two ends."""
    return Outage(world, ENDS[request.param])


@pytest.mark.parametrize("away", AWAY, ids=lambda each: re.sub(r"\W+", "-", each.name))
def test_while_away(outage: Outage, away: Scenario) -> None:
    seen, expected = outage.plays[away.name].outcome(outage.shown)
    assert seen == expected


def test_a_kill_in_the_middle_of_deliveries_repeats_none(world: World) -> None:
    place = world.place("killed")
    names = [f"web-{number}" for number in range(12)]
    for name in names:
        place.deploy(name, image="web:1")
    place.wait(lambda shown: len(place.lens.events(shown)) >= 3)
    world.stack.kill_operator()
    world.stack.start_operator()
    place.see(
        state={f"{name}/app": ["1 web:1 DEPLOYED"] for name in names},
        events={name: ["1 started", "1 finished"] for name in names},
        records=[{"workload": name, "status": "DEPLOYED", "delivered": "1/1"} for name in sorted(names)],
    )
    shown = scenarios.settled(world.stack, world.showing)
    assert place.lens.events(shown).keys() == set(names)
    assert {len(lines) for lines in place.lens.events(shown).values()} == {2}


def test_a_tracker_that_was_down_hears_all_in_order_and_once(world: World) -> None:
    """Meanwhile the operator too ends, and soon: what is owed stands in the slots."""
    place = world.place("tracker down")
    place.deploy(image="web:1")
    place.see(records=[{"delivered": "1/1"}])
    world.stack.kill_tracker()
    try:
        for version in ("2", "3"):
            place.deploy(image=f"web:{version}")
            eventually(lambda: records(place)[-1] == (version, "DEPLOYED", "0/1"), within=60)  # noqa: B023  # now
        terminate(world.stack)
        world.stack.start_operator()
    finally:
        world.stack.start_tracker()
    place.see(records=[{"version": 2, "status": "SUPERSEDED"}, {"version": 3, "delivered": "1/1"}])
    shown = scenarios.settled(world.stack, world.showing)
    assert place.lens.state(shown) == {"web/app": ["1 web:1 SUPERSEDED", "2 web:2 SUPERSEDED", "3 web:3 DEPLOYED"]}
    assert courses(place, shown, "web") == [
        (version, kind) for version in "123" for kind in ("started", "finished")
    ]


def test_a_wrong_credential_is_waited_out_and_its_repair_resumes_by_itself(world: World) -> None:
    place = world.place("credential")
    place.deploy(image="web:1")
    place.see(records=[{"delivered": "1/1"}])
    set_token(world.stack, "tracker", "a-wrong-one")
    try:
        place.deploy(image="web:2")
        eventually(lambda: ready(world.stack, "tracker") == ("False", "Unauthorized"), within=REPORTED)
        assert records(place)[-1] == ("2", "DEPLOYED", "0/1")
    finally:
        set_token(world.stack, "tracker", world.stack.token)
    place.see(
        state={"web/app": ["1 web:1 SUPERSEDED", "2 web:2 DEPLOYED"]},
        events={"web": ["1 started", "1 finished", "2 started", "2 finished"]},
        records=[{"version": 1}, {"version": 2, "delivered": "1/1"}],
    )
    eventually(lambda: ready(world.stack, "tracker") == ("True", "Delivering"), within=REPORTED)


@contextmanager
def sinks(world: World, place: Place) -> Iterator[None]:
    """A Chainloop and a LaunchDarkly sink, at the tracker's routes, of what the place's namespace shows only."""
    stack, here = world.stack, place.environment
    selector = {"namespaceLabels": {"kubernetes.io/metadata.name": place.namespace}}
    chainloop = {"endpoint": stack.tracker.url, "environments": {here: f"{here}-c"}}
    launchdarkly = {"endpoint": stack.tracker.url, "environments": {here: f"{here}-l"}, "projectKey": "shop"}
    stack.add_sink("chainloop", {"chainloop": chainloop, "selector": selector})
    stack.add_sink("launchdarkly", {"launchDarkly": launchdarkly, "selector": selector})
    left = len(stack.logged("sink left"))
    try:
        yield
    finally:
        stack.cluster.kubectl("delete", "trackingsink", "chainloop", "launchdarkly")
        eventually(lambda: len(stack.logged("sink left")) == left + 2)


def test_a_later_sink_is_told_todays_state_once_and_no_old_rollouts(world: World) -> None:
    place = world.place("later sinks")
    for version in ("1", "2"):
        place.deploy(image=f"web:{version}")
        place.see(records=[{}, {"version": 2, "delivered": "1/1"}][: int(version)])
    next_second()
    with sinks(world, place):
        place.see(state={"web/app@c": ["2 web:2 DEPLOYED"]})
        place.see(records=[{"version": 1}, {"version": 2, "delivered": "3/3"}])
        assert "web@l" not in place.lens.events(place.shown())
        place.deploy(image="web:3")
        place.see(events={"web@l": ["3 started", "3 finished"]})
        place.see(state={"web/app@c": ["2 web:2 SUPERSEDED", "3 web:3 DEPLOYED"]})
        seen = place.lens.told(place.shown())["web@l"]
        assert {event["projectKey"] for event in seen} == {"shop"}
    place.deploy(image="web:4")
    place.see(state={"web/app": [f"{each} web:{each} {status(each)}" for each in "1234"]})
    place.see(records=[{"version": 3, "delivered": "1/1"}, {"version": 4, "delivered": "1/1"}])
    next_second()
    with sinks(world, place):
        place.see(state={"web/app@c": ["2 web:2 SUPERSEDED", "3 web:3 SUPERSEDED", "4 web:4 DEPLOYED"]})
        shown = scenarios.settled(world.stack, world.showing)
        assert len(place.lens.state(shown)["web/app@c"]) == 3
        assert courses(place, shown, "web@l") == [("3", "started"), ("3", "finished")]


def status(version: str) -> str:
    """Of the last version and of the others."""
    return "DEPLOYED" if version == "4" else "SUPERSEDED"


def test_what_a_sink_refuses_is_parked_and_later_deliveries_go_on(world: World) -> None:
    """LaunchDarkly's versions have no `+` (WIRE §1.1); Chainloop takes it."""
    place = world.place("refused")
    before = sink(world.stack, "tracker").get("parked", 0)
    place.deploy(image="web:1", annotations={"rollbook.dev/version": "1.0+x"})
    place.see(
        state={"web/app": ["1.0+x web:1 DEPLOYED"]},
        records=[{"version": "1.0+x", "status": "DEPLOYED", "conditions": {"Delivered": "False Parked"}}],
    )
    (refused,) = place.lens.records(place.shown())
    assert [each["state"] for each in refused["deliveries"]] == ["Parked"]
    assert "version '1.0+x' is not 1 to 64 letters" in refused["deliveries"][0]["message"]
    eventually(lambda: slot(world.stack, place)["status"]["parked"] == 2)
    eventually(lambda: sink(world.stack, "tracker").get("parked") == before + 2, within=REPORTED)
    place.deploy(image="web:2", annotations={"rollbook.dev/version": "1.1"})
    place.see(
        state={"web/app": ["1.0+x web:1 SUPERSEDED", "1.1 web:2 DEPLOYED"]},
        events={"web": ["1.1 started", "1.1 finished"]},
        records=[{"version": "1.0+x"}, {"version": "1.1", "conditions": {"Delivered": "True Delivered"}}],
    )


def test_failures_are_of_the_kinds_that_were_provoked(world: World) -> None:
    """No error of our own, and each failed delivery says what became of it."""
    lines = [line for line in world.stack.operator_log().splitlines() if '"level": "info"' not in line]
    failures = world.stack.logged("failed")
    assert len(failures) == len(lines)
    assert [each for each in failures if each["level"] == "error" or "trace" in each] == []
    kinds = {(each["unit"], each.get("result")) for each in failures}
    assert kinds <= {("delivery", result) for result in ("unavailable", "unauthorized", "refused")}


def records(place: Place) -> list[tuple[str, str, str]]:
    """Version, status and deliveries of the place's records."""
    found = [each.get("status", {}) for each in place.own_records()]
    by_number = sorted(found, key=lambda each: str(each.get("version")))
    return [(each.get("version", ""), each.get("status", ""), each.get("delivered", "")) for each in by_number]


def courses(place: Place, shown: Shown, application: str) -> list[tuple[str, str]]:
    """Version and type of an application's rollout events."""
    return [(each["version"], each["eventType"]) for each in place.lens.told(shown)[application]]


def set_token(stack: Stack, name: str, token: str) -> None:
    """Give a Secret another token."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}
    stack.cluster.api.patch(secret, {"data": {"token": base64.b64encode(token.encode()).decode()}})


def sink(stack: Stack, name: str) -> dict[str, Any]:
    """A sink's status."""
    found = stack.cluster.api.get(SINK["apiVersion"], SINK["kind"], name)
    return dict(found.get("status", {}))


def ready(stack: Stack, name: str) -> tuple[str, str] | None:
    """Status and reason of a sink's condition `Ready`."""
    conditions = {each["type"]: each for each in sink(stack, name).get("conditions", [])}
    return (conditions["Ready"]["status"], conditions["Ready"]["reason"]) if conditions else None


def slot(stack: Stack, place: Place) -> Object:
    """The only slot of the place."""
    found = stack.cluster.api.find(
        "rollbook.dev/v1alpha1", "EnvironmentSlot", NAMESPACE, f"rollbook.dev/namespace={place.namespace}"
    )
    assert len(found) == 1
    return found[0]
