"""A slot being changed by a plan: gives the sequence numbers, keeps the times in order, collects the facts."""

from dataclasses import replace
from typing import Final

from rollbook.core.slot import Condition, Entry, Slot
from rollbook.core.transition import TRANSITIONS, Cause, Kind, Phase, RecordStatus, Stamp, Transition

_STATUS: Final = {
    Kind.DEPLOYED: RecordStatus.DEPLOYED,
    Kind.SUPERSEDED: RecordStatus.SUPERSEDED,
    Kind.DECOMMISSIONED: RecordStatus.DECOMMISSIONED,
}


class Draft:
    """One slot under change. Lives inside one call of `plan`; what leaves it are frozen values."""

    def __init__(self, slot: Slot, *, history: int) -> None:
        self.slot = slot
        self.said: list[Transition] = []
        self._history = history

    def set(self, **fields: object) -> None:
        """Replace fields of the slot."""
        self.slot = replace(self.slot, **fields)  # type: ignore[arg-type]  # names and types are Slot's own

    def number(self) -> int:
        """Give the next sequence number."""
        self.set(seq=self.slot.seq + 1)
        return self.slot.seq

    def in_order(self, at: Stamp) -> Stamp:
        """`at`, but never earlier than the slot's last transition."""
        return replace(at, time=max(at.time, self.slot.clock))

    def say(
        self, kind: Kind, entry: Entry, at: Stamp, *, cause: Cause | None = None, seq: int | None = None
    ) -> Stamp:
        """Record one transition of `entry`; `seq` only where its number was given before.

        Returns:
            The time under which it was recorded.
        """
        at = self.in_order(at)
        self._check(kind, entry)
        began = entry.started or at
        fact = Transition(
            seq=seq or self.number(),
            kind=kind,
            at=at,
            artifact=entry.artifact,
            identity=entry.identity,
            entry=entry.number,
            began=began.time,
            cause=cause or entry.cause,
            reason=entry.reason if kind is Kind.FAILED else "",
            message=entry.message if kind is Kind.FAILED else "",
            revision=entry.revision,
            replaces=entry.replaces if kind is Kind.DEPLOYED else None,
            rollback=entry.rollback,
        )
        self.said.append(fact)
        self.set(clock=at.time, pending=(*self.slot.pending, fact))
        return at

    @staticmethod
    def _check(kind: Kind, entry: Entry) -> None:
        if kind in _STATUS or kind is Kind.UNTRACKED:
            assert kind in TRANSITIONS[entry.status], f"{entry.status} cannot become {kind}"

    def fail(self, at: Stamp, reason: str, message: str = "") -> None:
        """Close the open attempt as failed; told only if its start was."""
        attempt = self.slot.attempt
        assert attempt is not None, "only an attempt can fail"
        failed = replace(attempt, phase=Phase.FAILED, reason=reason, message=message)
        at = self.say(Kind.FAILED, failed, at) if failed.said else self.in_order(at)
        self.set(attempt=replace(failed, ended=at))

    def drop_attempt(self, at: Stamp, reason: str, message: str = "") -> None:
        """End the attempt, as failed if it was under way; nothing of it stays."""
        if self.slot.attempt and self.slot.attempt.phase is Phase.PROGRESSING:
            self.fail(at, reason, message)
        self.set(attempt=None)

    def deploy(self, entry: Entry, at: Stamp) -> Entry:
        """Make `entry` the DEPLOYED one; what was DEPLOYED before is SUPERSEDED.

        Returns:
            The entry as it stands in the slot.
        """
        digest = entry.artifact.digest
        assert digest is not None, "only a known digest can be deployed"
        before, replaced = self.slot.current, self.slot.deployed
        if replaced:
            self._close(Kind.SUPERSEDED, at)
        elif before:
            self._keep(before)
        entry = replace(
            entry,
            phase=Phase.SUCCEEDED,
            replaces=replaced.artifact.digest if replaced else None,
            rollback=digest in self.slot.digests[1:],
            reason="",
            message="",
        )
        at = self.say(Kind.DEPLOYED, entry, at)
        entry = replace(entry, status=RecordStatus.DEPLOYED, since=at, started=entry.started or at, ended=at)
        self.slot = self.slot.with_digest(digest)
        self.set(current=entry, attempt=None, tracked=True)
        return entry

    def decommission(self, at: Stamp, cause: Cause) -> None:
        """Make the DEPLOYED entry DECOMMISSIONED; it stays as what was last there."""
        entry = self.slot.deployed
        assert entry is not None, "only what is DEPLOYED can be decommissioned"
        at = self.say(Kind.DECOMMISSIONED, entry, at, cause=cause)
        self.set(current=replace(entry, status=RecordStatus.DECOMMISSIONED, since=at, cause=cause))

    def reassert(self, entry: Entry, at: Stamp, cause: Cause) -> None:
        """Tell again that the DEPLOYED entry is there, with what changed of it."""
        self.say(Kind.DEPLOYED, entry, at, cause=cause)
        self.set(current=entry, attempt=None, tracked=True)

    def _close(self, kind: Kind, at: Stamp) -> None:
        entry = self.slot.deployed
        assert entry is not None, "closes what is DEPLOYED"
        at = self.say(kind, entry, at)
        self._keep(replace(entry, status=_STATUS[kind], since=at))

    def _keep(self, entry: Entry) -> None:
        self.set(current=None, closed=(entry, *self.slot.closed)[: self._history])

    def condition(self, *conditions: Condition) -> None:
        """Set the slot's conditions, in a fixed order."""
        self.set(conditions=tuple(sorted(conditions, key=lambda each: (each.type, each.reason))))
