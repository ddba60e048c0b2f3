"""Our annotations, read: the nearest wins, values are bounded, and what cannot be read is remembered.

A value that cannot be read counts as not there. Nothing is altered to fit.
"""

from typing import Final

from rollbook.core.slot import Condition
from rollbook.core.workload import Deployment, Namespace

PREFIX: Final = "rollbook.dev/"
VALUE_LENGTH: Final = 256
"""Of an annotation, in characters: every transition carries them, and a slot is bounded."""
METADATA_ENTRIES: Final = 16

_METADATA: Final = "metadata."


class Words:
    """The annotations of a workload while they are read; what cannot be read is remembered."""

    def __init__(self, deployment: Deployment, namespace: Namespace | None) -> None:
        self.levels = (namespace.annotations if namespace else {}, deployment.annotations)
        self._values = nearest(deployment, namespace)
        self._problems: dict[str, tuple[str, str]] = {}

    @property
    def findings(self) -> tuple[Condition, ...]:
        """All problems as one condition, since a type stands once among an object's conditions."""
        if not self._problems:
            return ()
        problems = [self._problems[name] for name in sorted(self._problems)]
        message = "; ".join(message for _, message in problems)
        return (Condition(type="InvalidAnnotation", reason=problems[0][0], message=message),)

    def problem(self, name: str, reason: str, message: str) -> None:
        """Remember what is wrong with an annotation; once, however often it is read."""
        self._problems[name] = (reason, f"{name}: {message}")

    def get(self, name: str) -> str | None:
        """An annotation's value, unless it is too long to be kept."""
        value = self._values.get(name)
        if value is None or len(value) <= VALUE_LENGTH:
            return value
        self.problem(name, "TooLong", f"longer than {VALUE_LENGTH} characters")
        return None

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """An annotation's value, if it is an allowed one."""
        value = self.get(name)
        if value is None or value in allowed:
            return value
        self.problem(name, "UnknownValue", f"{quoted(value)} is none of {', '.join(allowed)}")
        return None

    def names(self, name: str) -> frozenset[str]:
        """An annotation's value as a list."""
        return names(self._values.get(name, ""))

    def metadata(self) -> dict[str, str]:
        """The annotations `metadata.<key>`, as many as are kept, in the order of their keys."""
        told = {name: value for name, value in self._values.items() if name.startswith(_METADATA)}
        fit = [name for name in sorted(told) if len(told[name]) <= VALUE_LENGTH][:METADATA_ENTRIES]
        if len(fit) < len(told):
            bounds = f"longer than {VALUE_LENGTH} characters or more than {METADATA_ENTRIES}"
            self.problem("metadata", "TooLong", f"{len(told) - len(fit)} left out: {bounds}")
        return {name.removeprefix(_METADATA): told[name] for name in fit}


def nearest(deployment: Deployment, namespace: Namespace | None) -> dict[str, str]:
    """Our annotations of a workload, the nearest of each name, without the empty ones and the prefix."""
    said = {**(namespace.annotations if namespace else {}), **deployment.annotations}
    return {name: value for name, value in said.items() if value}


def names(text: str) -> frozenset[str]:
    """A list by comma; its spaces and gaps say nothing."""
    return frozenset(name.strip() for name in text.split(",")) - {""}


def quoted(text: str) -> str:
    """A value for a message, cut: it may be of any length and hold any character."""
    return repr(text[:64])
