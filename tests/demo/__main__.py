"""`python -m tests.demo`: tells Rollbook's story on a real control plane, then stays up for a look around.

With no terminal, or `CI` set, it ends there: 0 when all is as it should be, else it says what is wrong.
"""

import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.controlplane.binaries import BuildError
from tests.controlplane.cluster import ControlPlane, ControlPlaneError
from tests.controlplane.progress import to_stderr
from tests.controlplane.toolchain import ToolMissingError
from tests.demo.facts import differences, gather, strangers
from tests.demo.narration import Narrator
from tests.demo.performance import DemoError, act, await_known, set_the_scene
from tests.demo.story import GRACES, Step, outcome, tell
from tests.stack import Stack

_TOLD_WHOLE = 3
"""Lines of an error that are told in full."""


def main() -> int:
    """Perform, and say how it went by the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    narrator = Narrator()
    try:
        with _stack() as stack:
            wrong = _perform(stack, narrator)
            _point_to(stack, narrator)
            code = narrator.verdict(wrong)
            if narrator.terminal:
                _stay(narrator)
            return code
    except KeyboardInterrupt:
        narrator.say("stopped")
        return 130
    except (AssertionError, TimeoutError) as error:  # what the stack raises when a process of ours does not start
        return _failed(f"Rollbook did not get ready: {error}")
    except (BuildError, ToolMissingError, ControlPlaneError, DemoError, OSError) as error:
        return _failed(str(error))


@contextlib.contextmanager
def _stack() -> Iterator[Stack]:
    with (
        tempfile.TemporaryDirectory(prefix="rollbook-demo-") as home,
        ControlPlane() as cluster,
        Stack(cluster, Path(home), settings={"cluster": "demo", **GRACES}) as stack,
    ):
        began = time.monotonic()
        stack.start()
        to_stderr(f"Rollbook is installed and in sync after {time.monotonic() - began:.1f} s")
        set_the_scene(cluster)
        yield stack


def _perform(stack: Stack, narrator: Narrator) -> list[str]:
    """Tell the story; returns what is wrong in the end."""
    steps = tell()
    for number, step in enumerate(steps, start=1):
        narrator.step(number, step)
        _perform_step(stack, step, narrator)
    expected = outcome(steps)
    facts = gather(stack)
    narrator.verbatim("kubectl get dr -A", stack.cluster.kubectl("get", "dr", "-A"))
    narrator.tracker(facts, tuple(expected))
    return differences(facts, expected) + strangers(facts, expected)


def _perform_step(stack: Stack, step: Step, narrator: Narrator) -> None:
    began = time.monotonic()
    act(stack.cluster, step)
    facts = await_known(stack, step.then)
    narrator.known(facts, tuple(step.then), time.monotonic() - began)


def _point_to(stack: Stack, narrator: Narrator) -> None:
    narrator.say()
    narrator.say(f"The tracker's page:   {stack.tracker.url}/")
    narrator.say(f"kubectl for yourself: export KUBECONFIG={stack.cluster.kubeconfig}")


def _stay(narrator: Narrator) -> None:
    narrator.say("It stays up until Ctrl-C.", "bold")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    narrator.say("stopped")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _failed(message: str) -> int:
    """One line, whatever it was: of a long one, as with a log's end in it, what begins and what ends it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    told = lines if len(lines) <= _TOLD_WHOLE else [lines[0], "…", lines[-1]]
    sys.stderr.write(f"demo: {' '.join(told)}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
