"""When things happened: the cluster's own times where it has them, bounds where it has not.

Kubernetes writes times with one second's resolution; a comparison with our milliseconds is made in seconds.
"""

from typing import Final

from rollbook.core.observe import Rollout, Sighting
from rollbook.core.slot import Slot
from rollbook.core.transition import Millis, Stamp, TimeSource

_SECOND: Final = 1000


def observed(not_before: Millis | None, now: Millis) -> Stamp:
    """We only know that it was so by `now`, and not yet at `not_before`."""
    return Stamp(time=now, source=TimeSource.OBSERVED, not_before=not_before or None, not_after=now)


def started(sighting: Sighting, slot: Slot, now: Millis) -> Stamp:
    """When the rollout in sight began.

    A new ReplicaSet's creation; where a rollback re-uses an old one (created weeks ago) or scaling up wakes it,
    the creation of its new pods. What was made before the slot's last transition is not of this rollout.
    """
    since = _second(slot.clock)
    made = _made_for_it(sighting, since)
    if made is not None:
        return Stamp(time=made, source=TimeSource.REPLICA_SET_CREATION)
    created = [each for each in sighting.pods_created if each >= since]
    if created:
        return Stamp(time=created[0], source=TimeSource.POD_CREATION)
    return observed(slot.clock, now)


def moved(sighting: Sighting, slot: Slot, now: Millis) -> Stamp:
    """When what a moved tag names now began to run.

    A restart brings it with a ReplicaSet of its own. Else nodes pulled it when they happened to: that was after
    the slot's last transition, and by the time the last of the containers started.
    """
    last = now if sighting.container_started is None else sighting.container_started
    updated = sighting.condition_updated
    made = _made_for_it(sighting, _second(slot.clock))
    if made is not None and sighting.available and updated is not None and last <= updated:
        return Stamp(time=made, source=TimeSource.REPLICA_SET_CREATION)
    return observed(slot.clock, last)


def ended(sighting: Sighting, start: Stamp, now: Millis) -> Stamp:
    """When the rollout in sight was complete: the condition's update, if it is of this rollout."""
    begun = _second(start.time)
    if sighting.available and sighting.condition_updated is not None and sighting.condition_updated >= begun:
        return Stamp(time=max(sighting.condition_updated, start.time), source=TimeSource.PROGRESSING_CONDITION)
    if sighting.container_started is not None and sighting.container_started >= begun:
        return Stamp(time=max(sighting.container_started, start.time), source=TimeSource.CONTAINER_START)
    return observed(start.time, max(now, start.time))


def failed_at(sighting: Sighting, start: Stamp, now: Millis, deadline: Millis) -> Stamp | None:
    """When the rollout in sight was given up; None while it is not.

    While a rollback begins, the condition may still be the failure that it rolls back: it is older than the start.
    A workload without a deadline has ours, `deadline` after the start.
    """
    updated = sighting.condition_updated
    if sighting.rollout is Rollout.FAILED and updated is not None and updated > _second(start.time):
        return Stamp(time=updated, source=TimeSource.PROGRESSING_CONDITION)
    if is_without_deadline(sighting) and now >= start.time + deadline:
        return observed(start.time + deadline, now)
    return None


def is_without_deadline(sighting: Sighting) -> bool:
    """Whether a rollout is under way of which the cluster will never say that it took too long."""
    return sighting.rollout is Rollout.PROGRESSING and not sighting.has_deadline


def _made_for_it(sighting: Sighting, since: Millis) -> Millis | None:
    """The creation of the ReplicaSet if it was made for what we have not recorded yet."""
    created = sighting.replica_set_created
    return None if sighting.reused or created is None or created < since else created


def _second(time: Millis) -> Millis:
    return time // _SECOND * _SECOND
