"""Every row of the ledger's rules on a real control plane: what the cluster shows, what trackers and people see.

The scenarios are in `tests/scenarios/*.yaml`; `scenario.py` says how they are written and played.
"""

import re
from typing import Any

import pytest

from rollbook.core import plan
from tests.integration import scenario as scenarios
from tests.integration.conftest import World
from tests.integration.scenario import Played, Scenario
from tests.integration.shown import fitted

pytestmark = pytest.mark.controlplane

ALL = scenarios.load()


@pytest.fixture(scope="session")
def played(world: World) -> Played:
    """All selected scenarios, played side by side."""
    return scenarios.play(world.stack, world.plays)


@pytest.mark.parametrize("scenario", ALL, ids=lambda each: re.sub(r"\W+", "-", each.name))
def test_scenario(played: Played, scenario: Scenario) -> None:
    play = played.plays[scenario.name]
    if play.error:
        raise play.error
    got: dict[str, Any] = play.place.everything(played.shown)
    expected = {"state": {}, "events": {}, "records": [], **scenario.expect}
    seen = {
        name: {key: fitted(lines, expected[name].get(key)) for key, lines in got[name].items()}
        for name in ("state", "events")
    }
    seen["records"] = fitted(got["records"], expected["records"])
    assert seen == expected


def rows() -> set[str]:
    """The names of the rows of the table in `core.plan`."""
    assert plan.__doc__ is not None
    table = [line for line in plan.__doc__.splitlines() if line.startswith("| ")]
    named = [name for line in table[1:] for name in re.split(r", ", line.split("|")[1].strip())]
    return set(named)


def test_every_row_has_a_scenario() -> None:
    assert rows() - {each.row for each in ALL} == set()
    assert {each.row for each in ALL} - rows() == set()


def test_names_of_scenarios_are_their_own() -> None:
    assert len({each.name for each in ALL}) == len(ALL)


def test_every_row_was_decided_by_the_operator(played: Played) -> None:
    """A row that never applies would have a scenario that shows something else."""
    if len(played.plays) < len(ALL):
        pytest.skip("not all scenarios were selected")
    assert rows() - {row for row, count in played.decisions.items() if count} == set()
