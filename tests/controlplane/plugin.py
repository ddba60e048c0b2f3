"""pytest's side of the harness: the fixtures, and the binaries made before any test's clock runs."""

from collections.abc import Iterator

import pytest

from tests.controlplane.binaries import provide
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.installing import new_namespace

_OFF = "--no-control-plane"
_MARKER = "controlplane"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a person without minutes for the first build run the rest."""
    parser.addoption(_OFF, action="store_true", help="skip the tests that need a real Kubernetes control plane")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses the fixture; skip what is marked, only when told to."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(_MARKER)
        if config.getoption(_OFF) and item.get_closest_marker(_MARKER):
            item.add_marker(pytest.mark.skip(reason=f"{_OFF} was given: not run against a real control plane"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the binaries when a selected test needs them: here, as tests have a time limit."""
    config = session.config
    needed = any(item.get_closest_marker(_MARKER) for item in session.items)
    if needed and not config.getoption(_OFF) and not config.option.collectonly:
        capture = config.pluginmanager.getplugin("capturemanager")
        assert capture is not None
        with capture.global_and_fixture_disabled():
            provide()


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane, shared by the session's tests: keep to a namespace of your own."""
    with ControlPlane() as cluster:
        yield cluster


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """The name of a fresh namespace, deleted (not waited for) after the test."""
    name = new_namespace(control_plane.api)
    yield name
    control_plane.api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
