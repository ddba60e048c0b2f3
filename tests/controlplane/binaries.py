"""Finds or builds the control plane's binaries.

Looked for in this order: a given directory (or `KUBEBUILDER_ASSETS`), the cache, a Go toolchain. A later
source fills in what an earlier one lacks: envtest's directories have no controller-manager, for one.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane import toolchain
from tests.controlplane.locking import exclusive
from tests.controlplane.progress import Say, Step, to_stderr

GO_MODULES = Path(__file__).parent / "go"

VERSION = "v1.35.4"
"""The Kubernetes version that the binaries say they are; `go build` of a module does not stamp it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A Go module of ours that only names tools.

    Args:
        name: Its folder under `go/`.
        binaries: What `go build tool` of it yields, by the name that we use.
        ldflags: Flags for the linker.
    """

    name: str
    binaries: Mapping[str, str]
    ldflags: str = "-s -w"

    @property
    def folder(self) -> Path:
        """Where its go.mod is."""
        return GO_MODULES / self.name

    def key(self) -> str:
        """Names what is built: other pins, another platform or other flags give another key."""
        digest = hashlib.sha256(f"{platform.system()} {platform.machine()} {self.ldflags}".encode())
        for file in ("go.mod", "go.sum"):
            digest.update((self.folder / file).read_bytes())
        return f"{self.name}-{digest.hexdigest()[:16]}"

    def go_version(self) -> tuple[int, int]:
        """The least Go version (major, minor) that its go.mod asks for."""
        match = re.search(r"^go (\d+)\.(\d+)", (self.folder / "go.mod").read_text(), re.MULTILINE)
        assert match, f"{self.folder}/go.mod has no go directive"
        return int(match[1]), int(match[2])


KUBERNETES = Module(
    name="kubernetes",
    binaries={
        "etcd": "server",  # etcd's main package is called `server`
        "kube-apiserver": "kube-apiserver",
        "kube-controller-manager": "kube-controller-manager",
        "kube-scheduler": "kube-scheduler",
    },
    ldflags=f"-s -w -X k8s.io/component-base/version.gitVersion={VERSION}",
)
KWOK = Module(name="kwok", binaries={"kwok": "kwok"})
MODULES = (KUBERNETES, KWOK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Paths of the executables."""

    etcd: Path
    apiserver: Path
    controller_manager: Path
    scheduler: Path
    kwok: Path
    kubectl: Path


class BuildError(RuntimeError):
    """A binary cannot be had; the message says why and what a person can do."""


def cache_dir() -> Path:
    """Where builds are kept, outside of any checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rollbook" / "controlplane"


def provide(directory: Path | None = None, *, say: Say = to_stderr) -> Binaries:
    """Find all binaries, building what is found nowhere (minutes, once per machine).

    Args:
        directory: Looked into first; default: `KUBEBUILDER_ASSETS`.
        say: Takes lines of progress.

    Raises:
        BuildError: The build failed.
        ToolMissingError: There is no Go toolchain or kubectl, and none can be installed.
    """
    assets = directory or (Path(given) if (given := os.environ.get("KUBEBUILDER_ASSETS")) else None)
    found: dict[str, Path] = {}
    for module in MODULES:
        found |= _of_module(module, assets, say)
    return Binaries(
        etcd=found["etcd"],
        apiserver=found["kube-apiserver"],
        controller_manager=found["kube-controller-manager"],
        scheduler=found["kube-scheduler"],
        kwok=found["kwok"],
        kubectl=_given(assets, "kubectl") or toolchain.kubectl(cache_dir(), say),
    )


def _of_module(module: Module, assets: Path | None, say: Say) -> dict[str, Path]:
    given = {name: path for name in module.binaries if (path := _given(assets, name))}
    if given.keys() == module.binaries.keys():
        return given
    built = cache_dir() / module.key()
    with exclusive(built, say):
        if not built.is_dir():
            _build(module, built, say)
    return {name: built / name for name in module.binaries} | given


def _given(assets: Path | None, name: str) -> Path | None:
    return assets / name if assets and (assets / name).is_file() else None


def _build(module: Module, target: Path, say: Say) -> None:
    """Build into a directory of its own and rename it last: `target` is whole or absent."""
    go = _go_or_advice(module, say)
    scratch = Path(tempfile.mkdtemp(prefix=f"{module.name}-", dir=target.parent))
    try:
        _compile(go, module, scratch, say)
        for name, product in module.binaries.items():
            (scratch / product).rename(scratch / name)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _go_or_advice(module: Module, say: Say) -> Path:
    try:
        return toolchain.go(cache_dir(), module.go_version(), say)
    except toolchain.ToolMissingError as error:
        raise BuildError(f"{error}\n{_no_go_advice(module)}") from error


def _no_go_advice(module: Module) -> str:
    """What is left to a person without Go; a cluster made by kind would be started from here, if ever."""
    version = ".".join(str(part) for part in module.go_version())
    return (
        f"The control plane's binaries are built with Go {version} or newer: install it, or point "
        f"KUBEBUILDER_ASSETS to a directory with {', '.join(module.binaries)}. Starting a cluster with kind "
        "instead is not built in: make one yourself and hand its kubeconfig to the end-to-end tests."
    )


def _compile(go: Path, module: Module, output: Path, say: Say) -> None:
    say(f"building {', '.join(module.binaries)} from source: minutes, once on this machine")
    step = Step(f"building {module.name}", say)
    flags = ["-v", "-trimpath", "-ldflags", module.ldflags, "-o", f"{output}{os.sep}"]
    # no C compiler needed, no toolchain or workspace of someone else's, and a pinned go.sum
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    environment["GOFLAGS"] = "-mod=readonly -buildvcs=false"
    log = output / "build.log"
    with (
        log.open("w") as sink,
        subprocess.Popen([go, "build", *flags, "tool"], cwd=module.folder, env=environment, stderr=sink) as build,
    ):
        while _still_running(build):
            packages = log.read_text().split()
            step.tick(f"{len(packages)} packages compiled, last {packages[-1] if packages else '-'}")
    if build.returncode:
        raise BuildError(f"go build of {module.name} failed:\n{log.read_text()[-4000:]}")
    log.unlink()
    step.done()


def _still_running(process: subprocess.Popen[bytes]) -> bool:
    """Whether it runs after another second; linking prints nothing, so its output is no clock."""
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return True
    return False
