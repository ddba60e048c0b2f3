"""One builder at a time, over processes: a lock file beside what is being made."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.controlplane.progress import Say


@contextmanager
def exclusive(path: Path, say: Say) -> Iterator[None]:
    """Hold the lock of `path`, waiting for who holds it; the kernel frees it with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is making {path.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
