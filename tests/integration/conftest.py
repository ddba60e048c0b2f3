"""One Rollbook for the modules that look at all of it: scenarios, restarts, and what the API server saw of both.

It has a control plane of its own, as other modules may run an operator on the shared one. Modules that use it run
last, in the order of `_LAST`: the audit log is read when all is done.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

import pytest

from tests.controlplane.api import KubeError, eventually
from tests.controlplane.cluster import ControlPlane
from tests.integration.place import Place
from tests.integration.scenario import GRACE, Play, Scenario, act, stage
from tests.integration.shown import Showing
from tests.stack import Stack

_LAST = ("test_scenarios", "test_restarts", "test_read_only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scenarios come before restarts, and the audit log after all others."""
    items.sort(key=lambda item: _LAST.index(_module(item)) + 1 if _module(item) in _LAST else 0)


def _module(item: pytest.Item) -> str:
    return item.path.stem


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running Rollbook and the scenarios that wait to be played in it."""

    stack: Stack
    showing: Showing
    plays: tuple[Play, ...]

    def place(self, name: str) -> Place:
        """A namespace of one's own."""
        return Place(self.stack, self.showing, name)


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Rollbook with short graces; the selected scenarios have done what comes before its first start."""
    settings = {"idle_grace": GRACE, "missing_grace": GRACE, "sweep_interval": 5, "log_level": "info"}
    home = tmp_path_factory.mktemp("stack")
    with ControlPlane() as cluster, Stack(cluster, home, settings=settings) as stack:
        stack.install()
        stack.start_tracker()
        showing = Showing(stack)
        eventually(lambda: _is_served(showing), within=60)
        plays = stage(stack, showing, _selected(request.session))
        act(plays, "before")
        next_second()
        stack.add_sink()
        stack.start_operator()
        yield World(stack=stack, showing=showing, plays=plays)


def _is_served(showing: Showing) -> bool:
    """Whether the API server has made room for custom resources that it has just been told of."""
    try:
        showing.now()
    except KubeError as error:
        if error.status != HTTPStatus.TOO_MANY_REQUESTS:
            raise
        return False
    return True


def next_second() -> None:
    """Kubernetes' times are whole seconds: what was before is then earlier than what comes."""
    now = int(time.time())
    eventually(lambda: int(time.time()) > now)


def _selected(session: pytest.Session) -> list[Scenario]:
    """The scenarios that have a test in this session."""
    specs = [spec for item in session.items if (spec := getattr(item, "callspec", None))]
    return [spec.params["scenario"] for spec in specs if "scenario" in spec.params]
