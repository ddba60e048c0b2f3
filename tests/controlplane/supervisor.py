"""Keeps a cluster's processes on a leash: run as a script, with nothing but the standard library.

Reads orders from stdin, one JSON object per line, `{"argv": […], "env": {…}, "log": path}`: starts that
process and answers on stdout with its process id. When stdin closes, or the parent is gone, however it went,
it kills all of them, removes the cluster's directory, and ends.

Arguments: the cluster's directory, the parent's process id.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PULSE = 0.2
"""Seconds between two looks at the children and the parent. A closed stdin is noticed at once; this is for a
parent that died while another process still holds the pipe's other end."""


def _die_with_the_supervisor() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(order: dict[str, object]) -> subprocess.Popen[bytes]:
    argv, log, env = order["argv"], order["log"], order["env"]
    assert isinstance(argv, list)
    assert isinstance(log, str)
    assert isinstance(env, dict)
    with Path(log).open("ab") as output:
        return subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_the_supervisor if sys.platform == "linux" else None,  # noqa: PLW1509  # one thread
        )


def _obey(parent: int, started: list[subprocess.Popen[bytes]]) -> None:
    """Start what is ordered and report what ends, until the parent lets go."""
    pending = b""
    while os.getppid() == parent:
        for process in started:
            process.poll()  # reaps what ended, so that the parent sees it gone
        if not select.select([0], [], [], _PULSE)[0]:
            continue
        if not (chunk := os.read(0, 65536)):
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            process = _start(json.loads(line))
            started.append(process)
            print(process.pid, flush=True)  # noqa: T201  # the answer


def main() -> None:
    """Obey, then clean up: by SIGKILL, as nothing of a test cluster is worth a graceful end."""
    directory, parent = sys.argv[1], int(sys.argv[2])
    started: list[subprocess.Popen[bytes]] = []
    try:
        _obey(parent, started)
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
