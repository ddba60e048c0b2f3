"""Every row of the ledger's rules on a real control plane: what the cluster shows, what trackers and people see.

The scenarios are in `tests/scenarios/*.yaml`; `scenario.py` says how they are written and played.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pytest

from rollbook.core import plan
from rollbook.core.image import short
from tests.controlplane.api import Object
from tests.integration import scenario as scenarios
from tests.integration.conftest import World, next_second
from tests.integration.place import Place
from tests.integration.scenario import Play, Scenario
from tests.integration.shown import REGISTRY, Shown, digest

pytestmark = pytest.mark.controlplane

ALL = scenarios.load("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """All selected scenarios, played."""

    plays: Mapping[str, Play]
    shown: Shown
    decisions: Mapping[str, float]


@pytest.fixture(scope="session")
def played(world: World) -> Played:
    """All selected scenarios, played side by side."""
    scenarios.act(world.plays, "steps")
    shown = scenarios.settled(world.stack, world.showing)
    plays = {each.scenario.name: each for each in world.plays}
    return Played(plays=plays, shown=shown, decisions=scenarios.decisions(world.stack))


@pytest.mark.parametrize("scenario", ALL, ids=lambda each: re.sub(r"\W+", "-", each.name))
def test_scenario(played: Played, scenario: Scenario) -> None:
    seen, expected = played.plays[scenario.name].outcome(played.shown)
    assert seen == expected


def rows() -> set[str]:
    """The names of the rows of the table in `core.plan`."""
    assert plan.__doc__ is not None
    table = [line for line in plan.__doc__.splitlines() if line.startswith("| ")]
    return {name for line in table[1:] for name in line.split("|")[1].strip().split(", ")}


def test_every_row_has_a_scenario() -> None:
    assert {each.row for each in ALL} == rows()


def test_names_of_scenarios_are_their_own() -> None:
    assert len({each.name for each in ALL}) == len(ALL)


def test_every_row_was_decided_by_the_operator(played: Played) -> None:
    """A row that never applies would have a scenario that shows something else."""
    if len(played.plays) < len(ALL):
        pytest.skip("not all scenarios were selected")
    assert rows() - {row for row, count in played.decisions.items() if count} == set()


def test_the_operator_met_no_error(world: World, played: Played) -> None:
    """Nothing here is a failure: neither a rollout that fails nor a namespace that refuses records."""
    assert len(world.stack.logged("transition")) >= len(played.plays)
    lines = world.stack.operator_log().splitlines()
    assert [line for line in lines if '"level": "info"' not in line] == []


def test_kubectl_shows_what_runs_since_when(world: World) -> None:
    place = world.place("columns")
    for image in ("web:1", "web:2"):
        rolled_out(place, image)
    place.see(records=[{"status": "SUPERSEDED"}, {"status": "DEPLOYED", "delivered": "1/1"}])
    header, *lines = place.kubectl("get dr").splitlines()
    assert "ENVIRONMENT ARTIFACT VERSION DIGEST STATUS SINCE PHASE DELIVERED" in " ".join(header.split())
    found = {tuple(line.split()[1:6]) for line in lines}
    web = f"{REGISTRY}web"
    assert found == {
        (place.environment, web, "1", short(digest("web:1")), "SUPERSEDED"),
        (place.environment, web, "2", short(digest("web:2")), "DEPLOYED"),
    }


def test_times_are_the_clusters_own(world: World) -> None:
    """DESIGN §4, Time: starts are ReplicaSets' creations, ends the condition's last update, not its transition."""
    place = world.place("times")
    for version in ("1", "2"):
        deployed = rolled_out(place, f"web:{version}")
        started, finished = times(place)[-2:]
        assert started == millis(replica_set(place, version)["metadata"]["creationTimestamp"])
        assert finished == millis(progressing(deployed)["lastUpdateTime"])
        next_second()
    assert finished > millis(progressing(deployed)["lastTransitionTime"])


def test_a_rollback_begins_with_its_pods_not_with_the_old_replica_set(world: World) -> None:
    """DESIGN §4, Time: the ReplicaSet that a rollback re-uses may be weeks old."""
    place = world.place("rollback times")
    for image in ("web:1", "web:2"):
        rolled_out(place, image)
        next_second()
    deployed = rolled_out(place, "web:1")
    started, finished = times(place)[-2:]
    pods = [each for each in place.shown().pods if each["metadata"]["namespace"] == place.namespace]
    assert started == min(millis(pod["metadata"]["creationTimestamp"]) for pod in pods)
    assert started > millis(replica_set(place, "3")["metadata"]["creationTimestamp"])
    assert finished == millis(progressing(deployed)["lastUpdateTime"])


def rolled_out(place: Place, image: str) -> Object:
    """Deploy, wait until the tracker heard of the end, and return the Deployment."""
    told = len(place.lens.told(place.shown()).get("web", ()))
    place.deploy(image=image)
    place.wait(lambda shown: len(place.lens.told(shown).get("web", ())) == told + 2)
    deployed = place.lens.deployment(place.shown(), "web")
    assert deployed is not None
    return deployed


def times(place: Place) -> list[int]:
    """When each rollout event happened."""
    return [event["eventTime"] for event in place.lens.told(place.shown())["web"]]


def replica_set(place: Place, revision: str) -> Object:
    """The ReplicaSet of a revision."""
    found = place.cluster.api.find("apps/v1", "ReplicaSet", place.namespace)
    name = "deployment.kubernetes.io/revision"
    return next(each for each in found if each["metadata"]["annotations"][name] == revision)


def progressing(deployment: Object) -> dict[str, str]:
    """Its condition of that name."""
    found: list[dict[str, str]] = deployment["status"]["conditions"]
    return next(each for each in found if each["type"] == "Progressing")


def millis(time: str) -> int:
    """A time of the API in milliseconds since the epoch."""
    return int(datetime.fromisoformat(time).timestamp() * 1000)
