"""A server for each test, and a client that talks to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from rollbook.kube.client import Kube
from tests.unit.kube.api import Api, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    server = Api()
    async with serving(server):
        yield server


@pytest.fixture
def kubeconfig(api: Api, tmp_path: Path) -> Path:
    return write_kubeconfig(tmp_path, api.url)


@pytest.fixture
async def kube(kubeconfig: Path) -> AsyncIterator[Kube]:
    client = await Kube.connect(kubeconfig)
    yield client
    await client.close()


def write_kubeconfig(directory: Path, server: str) -> Path:
    """A kubeconfig whose token is in a file beside it."""
    (directory / "token").write_text("first\n")
    path = directory / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"tokenFile": str(directory / "token")}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path
