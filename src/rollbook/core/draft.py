"""A slot being changed by a plan: gives the sequence numbers, keeps the times in order, collects the facts."""

from dataclasses import replace

from rollbook.core.slot import TRUNCATED, Condition, Entry, Slot
from rollbook.core.transition import TRANSITIONS, Cause, Channel, Kind, Phase, RecordStatus, Stamp, Transition


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
        """`at`, but never earlier than the slot's last transition; bounds stay around the time."""
        time = max(at.time, self.slot.clock)
        return replace(
            at,
            time=time,
            not_before=None if at.not_before is None else min(at.not_before, time),
            not_after=None if at.not_after is None else max(at.not_after, time),
        )

    def say(self, kind: Kind, entry: Entry, at: Stamp, *, cause: Cause | None = None) -> Stamp:
        """Record one transition of `entry`, under a number of its own.

        Returns:
            The time under which it was recorded.
        """
        assert kind.channel is Channel.ROLLOUT or kind in TRANSITIONS[entry.status], (
            f"{entry.status} cannot become {kind}"
        )
        at = self.in_order(at)
        began = entry.started or at
        fact = Transition(
            seq=self.number(),
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

    def fail(self, at: Stamp, reason: str, message: str = "") -> None:
        """Close the open attempt as failed; told only if its start was."""
        attempt = self.slot.attempt
        assert attempt is not None, "only an attempt can fail"
        failed = replace(attempt, phase=Phase.FAILED, reason=reason, message=message)
        at = self.say(Kind.FAILED, failed, at) if failed.said else self.in_order(at)
        self.set(attempt=replace(failed, ended=at))

    def drop_attempt(self, at: Stamp, reason: str, message: str = "") -> None:
        """End the attempt, as failed if it was under way; nothing of it stays.

        One that was complete, and only its digest never known, did not fail.
        """
        attempt = self.slot.attempt
        if attempt and attempt.phase is Phase.PROGRESSING:
            self.fail(at, reason, message)
        elif attempt and attempt.phase is Phase.SUCCEEDED and attempt.said:
            self.say(Kind.FINISHED, attempt, attempt.ended or at)
        self.set(attempt=None)

    def deploy(self, entry: Entry, at: Stamp) -> Entry:
        """Make `entry` the DEPLOYED one; what was DEPLOYED before is SUPERSEDED.

        Returns:
            The entry as it stands in the slot.
        """
        digest = entry.artifact.digest
        assert digest is not None, "only a known digest can be deployed"
        replaced = self.slot.deployed
        self._make_room(at, entry.cause)
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

    def condition(self, *conditions: Condition) -> None:
        """Set the slot's conditions, in a fixed order; what the outbox says of itself stays."""
        kept = (each for each in self.slot.conditions if each.type == TRUNCATED)
        self.set(conditions=tuple(sorted((*kept, *conditions), key=lambda each: (each.type, each.reason))))

    def _make_room(self, at: Stamp, cause: Cause) -> None:
        """Close what is current; what was DEPLOYED is SUPERSEDED, for the reason that the next one is there."""
        before = self.slot.current
        if before is None:
            return
        if before.status is RecordStatus.DEPLOYED:
            at = self.say(Kind.SUPERSEDED, before, at, cause=cause)
            before = replace(before, status=RecordStatus.SUPERSEDED, since=at)
        self.set(closed=(before, *self.slot.closed)[: self._history])
