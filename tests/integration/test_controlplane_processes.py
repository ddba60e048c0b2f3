"""The harness's processes: they come up beside others, say why when they cannot, and never stay behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.controlplane import binaries, installing
from tests.controlplane.api import eventually
from tests.controlplane.cluster import ControlPlane, ControlPlaneError

pytestmark = pytest.mark.controlplane


def processes_of(home: Path) -> set[int]:
    """Ids of all processes whose command line mentions a cluster's directory."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(home).encode() in entry.read_bytes():
                found.add(int(entry.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@contextmanager
def cluster_by_command() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`python -m tests.controlplane up` in a process of its own, and the directory of its cluster."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.controlplane", "up", "--nodes=1"],
        cwd=installing.CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            kubeconfig = process.stdout.readline().removeprefix("export KUBECONFIG=").strip()
            yield process, Path(kubeconfig).parent
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_cluster_beside_another_leaves_no_process_behind_however_its_parent_ends(
    control_plane: ControlPlane, number: signal.Signals
) -> None:
    with cluster_by_command() as (process, home):
        assert len(processes_of(home)) == 6, "five of the control plane and the supervisor"
        assert control_plane.api.find("v1", "Node"), "the other cluster answers beside it"
        process.send_signal(number)
        eventually(lambda: not processes_of(home) and not home.exists(), within=10)
        assert process.wait(timeout=5) == (0 if number is signal.SIGINT else -signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal")
def test_the_processes_do_not_outlive_their_supervisor_either() -> None:
    with ControlPlane(nodes=1, say=lambda _: None) as cluster:
        home = cluster.home
        (supervisor,) = processes_of(home) - set(cluster.pids.values())
        os.kill(supervisor, signal.SIGKILL)
        eventually(lambda: not any(_runs(pid) for pid in cluster.pids.values()), within=10)
    assert not home.exists()


def _runs(pid: int) -> bool:
    """Whether it runs; a zombie that nobody reaps does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_process_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho it will not run; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(ControlPlaneError, match=r"(?s)kube-apiserver ended.*it will not run"):
        ControlPlane(binaries=tmp_path, say=lambda _: None).start()


def test_a_given_directory_comes_first_and_the_cache_fills_in(tmp_path: Path) -> None:
    (tmp_path / "etcd").touch()
    found = binaries.provide(tmp_path)
    assert found.etcd == tmp_path / "etcd"
    assert found.apiserver.parent == binaries.cache_dir() / binaries.KUBERNETES.key()
