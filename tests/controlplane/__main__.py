"""`python -m tests.controlplane`: a control plane at hand until Ctrl-C, or only its binaries."""

import argparse
import contextlib
import signal
import sys

from tests.controlplane.binaries import BuildError, provide
from tests.controlplane.cluster import ControlPlane, ControlPlaneError
from tests.controlplane.progress import to_stderr
from tests.controlplane.toolchain import ToolMissingError


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["up", "build"], default="up")
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes kwok plays (default: 3)")
    given = parser.parse_args()
    try:
        if given.command == "build":
            provide()
        else:
            _stay_up(given.nodes)
    except (BuildError, ToolMissingError, ControlPlaneError) as error:
        to_stderr(str(error))
        return 1
    return 0


def _stay_up(nodes: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), ControlPlane(nodes=nodes) as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)  # noqa: T201  # for eval
        to_stderr("Ctrl-C stops it")
        signal.pause()
    to_stderr("stopped")


if __name__ == "__main__":
    sys.exit(main())
