"""When things happened: the cluster's own times where it has them, bounds where it has not.

Kubernetes writes times with one second's resolution; a comparison with our milliseconds is made in seconds.
"""

from typing import Final

from rollbook.core.observe import Sighting
from rollbook.core.slot import Slot
from rollbook.core.transition import Millis, Stamp, TimeSource

_SECOND: Final = 1000


def observed(not_before: Millis | None, now: Millis) -> Stamp:
    """We only know that it was so by `now`, and not yet at `not_before`."""
    return Stamp(time=now, source=TimeSource.OBSERVED, not_before=not_before or None, not_after=now)


def started(sighting: Sighting, slot: Slot, now: Millis) -> Stamp:
    """When the rollout in sight began.

    A new ReplicaSet's creation; where a rollback re-uses an old one (created weeks ago) the creation of its new
    pods; where nothing was created (a moved tag, a container restarted in place) the container's start.
    """
    if sighting.replica_set_created is not None and _fresh(sighting, slot):
        return Stamp(time=sighting.replica_set_created, source=TimeSource.REPLICA_SET_CREATION)
    since = slot.clock // _SECOND * _SECOND
    created = [each for each in sighting.pods_created if each >= since]
    if created:
        return Stamp(time=created[0], source=TimeSource.POD_CREATION)
    if sighting.container_started is not None and sighting.container_started >= since:
        return Stamp(time=sighting.container_started, source=TimeSource.CONTAINER_START)
    return observed(slot.clock, now)


def _fresh(sighting: Sighting, slot: Slot) -> bool:
    """Whether the ReplicaSet was made for this rollout."""
    if sighting.reused:
        return False
    if slot.current is None or sighting.workload_uid != slot.workload_uid:
        return True
    return sighting.revision != slot.current.revision


def ended(sighting: Sighting, start: Stamp | None, now: Millis) -> Stamp:
    """When the rollout in sight was complete: the condition's update, if it is of this rollout."""
    begun = start.time // _SECOND * _SECOND if start else 0
    if sighting.available and sighting.condition_updated is not None and sighting.condition_updated >= begun:
        return Stamp(time=sighting.condition_updated, source=TimeSource.PROGRESSING_CONDITION)
    if sighting.container_started is not None and sighting.container_started >= begun:
        return Stamp(time=sighting.container_started, source=TimeSource.CONTAINER_START)
    return observed(begun, now)


def failed_at(sighting: Sighting, slot: Slot, now: Millis) -> Stamp:
    """When the deadline was seen to have passed."""
    if sighting.condition_updated is not None:
        return Stamp(time=sighting.condition_updated, source=TimeSource.PROGRESSING_CONDITION)
    return observed(slot.clock, now)
