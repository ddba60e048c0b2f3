"""`rollbook operator` under a sampling profiler. Arguments: PREFIX, then the operator's.

Every few milliseconds of CPU time (as fine as the kernel's clock allows) the stack of the main thread is noted: a
function's share of the samples is its share of the CPU, and the program is hardly slower for it. C functions count
for the Python function that calls them.

On SIGUSR1 the samples so far go to `PREFIX.<n>` and counting starts anew: first `# <CPU seconds>`, then lines of
`caller;...;function count`, which flame graph tools read.
"""

import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from rollbook import cli

EVERY: Final = 0.002

_ROOT: Final = re.compile(r"^.*/(site-packages|src|lib/python3\.\d+)/")
"""Where packages are."""

Stack = tuple[CodeType, ...]


class Sampler:
    """Counts stacks."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._written = 0
        self._since = 0.0
        self._stacks: Counter[Stack] = Counter()

    def start(self) -> None:
        """Sample until the process ends."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(signal.SIGUSR1, self._write)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        stack: list[CodeType] = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._stacks[tuple(stack)] += 1

    def _write(self, *_: object) -> None:
        stacks, self._stacks = self._stacks, Counter()
        lines = (f"{';'.join(map(_named, reversed(stack)))} {count}\n" for stack, count in stacks.items())
        partial = Path(f"{self._prefix}.partial")
        used = time.process_time()
        partial.write_text(f"# {used - self._since}\n" + "".join(lines))
        self._since = used
        partial.rename(f"{self._prefix}.{self._written}")
        self._written += 1


def _named(code: CodeType) -> str:
    """`package/module.py:function`."""
    return f"{_ROOT.sub('', code.co_filename)}:{code.co_qualname}"


def main() -> None:
    """Run the operator."""
    _, prefix, *arguments = sys.argv
    sys.argv = ["rollbook", *arguments]
    Sampler(prefix).start()
    cli.main()


if __name__ == "__main__":
    main()
