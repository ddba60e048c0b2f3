"""Builders of the core's values: keyword overrides, valid by default.

The default workload is the Deployment `shop` of 2 replicas in namespace `payments`, its container `web` at `v1`
(digest `A`), rolled out at `T` and complete 30 s later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rollbook.core.image import Resolution, is_moving, parse_reference, short
from rollbook.core.observe import Rollout, Running, Sighting
from rollbook.core.outbox import Subscription
from rollbook.core.plan import Plan, plan
from rollbook.core.seen import Absent, Held, Policy, Seen
from rollbook.core.slot import Cursor, Entry, Slot, SlotKey
from rollbook.core.transition import (
    Artifact,
    Channel,
    Identity,
    Kind,
    Millis,
    Phase,
    RecordStatus,
    Stamp,
    TimeSource,
    Transition,
)
from rollbook.core.workload import ContainerState, Deployment, Pod, Progressing, ReplicaSet, WorkloadRef

A: Final = "sha256:" + "a" * 64
B: Final = "sha256:" + "b" * 64
C: Final = "sha256:" + "c" * 64

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
T: Final = 1_800_000_000 * SECOND
"""When the default rollout began."""
WEEKS_AGO: Final = T - 600 * HOUR

CONTAINER: Final = "web"
REF: Final = WorkloadRef(namespace="payments", name="shop")
ALL: Final = frozenset(Channel)


def image(tag: str) -> str:
    """A reference: by tag, or pinned where it is a digest."""
    return f"registry.example/shop{'@' if tag.startswith('sha256:') else ':'}{tag}"


def image_id(digest: str) -> str:
    """What a kubelet says of a pod that runs `digest`."""
    return f"registry.example/shop@{digest}"


# What the cluster holds


def progressing(reason: str = "NewReplicaSetAvailable", updated: Millis = T + 30 * SECOND) -> Progressing:
    """A `Progressing` condition, True unless the deadline passed."""
    status = "False" if reason == "ProgressDeadlineExceeded" else "True"
    return Progressing(status=status, reason=reason, message=f"says {reason}", updated=updated)


def deployment(**overrides: Any) -> Deployment:
    """A Deployment that is complete and quiet; `tag` instead of `containers`."""
    tag = overrides.pop("tag", "v1")
    replicas = overrides.get("replicas", 2)
    fields: dict[str, Any] = {
        "ref": REF,
        "uid": "d1",
        "created": T,
        "generation": 1,
        "observed_generation": overrides.get("generation", 1),
        "revision": "1",
        "containers": ((CONTAINER, image(tag)),),
        "replicas": replicas,
        "current_replicas": replicas,
        "updated_replicas": replicas,
        "available_replicas": replicas,
        "progressing": progressing(),
    }
    return Deployment(**fields | overrides)


def replica_set(**overrides: Any) -> ReplicaSet:
    """The ReplicaSet of the default Deployment's only revision; `tag` instead of `containers`."""
    tag = overrides.pop("tag", "v1")
    fields: dict[str, Any] = {
        "uid": "r1",
        "owner": "d1",
        "created": T,
        "revision": "1",
        "reused": False,
        "containers": ((CONTAINER, image(tag)),),
    }
    return ReplicaSet(**fields | overrides)


def pod(**overrides: Any) -> Pod:
    """A ready pod; `runs`, `waiting` and `started` describe its container instead of `containers`."""
    ready, created = overrides.get("ready", True), overrides.get("created", T + SECOND)
    state = ContainerState(
        name=CONTAINER,
        image_id=overrides.pop("runs", image_id(A)),
        ready=ready,
        waiting=overrides.pop("waiting", ""),
        started=overrides.pop("started", created + 2 * SECOND),
    )
    fields: dict[str, Any] = {
        "uid": "p1",
        "owner": "r1",
        "created": created,
        "ready": ready,
        "leaving": False,
        "containers": (state,),
    }
    return Pod(**fields | overrides)


# What is seen of it


def resolution(digest: str | None = A, **overrides: Any) -> Resolution:
    """A digest that all ready pods agree on, or the reason why there is none."""
    digests = (digest,) if digest else ()
    return replace(Resolution(digest=digest, digests=digests), **overrides)


def sighting(tag: str = "v1", **overrides: Any) -> Sighting:
    """The container complete at `tag`; `began` moves all its times."""
    began = overrides.pop("began", T)
    digest = overrides.pop("digest", {"v1": A, "v2": B, "v3": C}.get(tag, A))
    fields: dict[str, Any] = {
        "workload_uid": "d1",
        "container": CONTAINER,
        "reference": image(tag),
        "revision": "1",
        "rollout": Rollout.COMPLETE,
        "resolution": resolution(digest),
        "replica_set_created": began,
        "pods_created": (began + SECOND,),
        "container_started": began + 3 * SECOND,
        "condition_updated": began + 30 * SECOND,
        "available": True,
    }
    return Sighting(**fields | overrides)


def progress(tag: str = "v1", **overrides: Any) -> Sighting:
    """The container on the way to `tag`."""
    began = overrides.pop("began", T)
    fields: dict[str, Any] = {
        "began": began,
        "rollout": Rollout.PROGRESSING,
        "resolution": resolution(None, reason="PodsUnknown"),
        "container_started": None,
        "condition_updated": began + SECOND,
        "available": False,
    }
    return sighting(tag, **fields | overrides)


def failure(tag: str = "v1", **overrides: Any) -> Sighting:
    """The container's rollout to `tag` is past the deadline, ten minutes after it began."""
    began = overrides.pop("began", T)
    fields: dict[str, Any] = {
        "began": began,
        "rollout": Rollout.FAILED,
        "condition_updated": began + 10 * MINUTE,
        "reason": "ImagePullBackOff",
        "message": "has timed out progressing",
    }
    return progress(tag, **fields | overrides)


def running(tag: str = "v1", digest: str | None = A) -> Running:
    """What older ready pods run."""
    return Running(reference=image(tag), resolution=resolution(digest, reason="" if digest else "Empty"))


def identity(**overrides: Any) -> Identity:
    """How the default slot presents itself."""
    return replace(Identity(deployment_name="payments/shop/web", application="shop"), **overrides)


def seen(what: Sighting | None = None, *, version: str | None = None, **overrides: Any) -> Seen:
    """A sighting with its presentation: the version is the tag, of `latest` and pinned ones the digest."""
    what = what or sighting()
    tag = parse_reference(what.reference).tag
    named = version if version is not None else ("" if tag is None or is_moving(tag, ()) else tag)
    fields: dict[str, Any] = {
        "sighting": what,
        "identity": identity(),
        "version": lambda digest: named or (short(digest) if digest else ""),
    }
    return Seen(**fields | overrides)


# What is recorded


def key(**overrides: Any) -> SlotKey:
    """The default slot's key."""
    return replace(
        SlotKey(cluster="east", environment="production", workload=REF, container=CONTAINER), **overrides
    )


def slot(**overrides: Any) -> Slot:
    """A fresh slot."""
    return replace(Slot(key=key()), **overrides)


def stamp(time: Millis = T, **overrides: Any) -> Stamp:
    """A time that the cluster gave."""
    return replace(Stamp(time=time, source=TimeSource.PROGRESSING_CONDITION), **overrides)


def artifact(tag: str = "v1", digest: str | None = A) -> Artifact:
    """An image."""
    return Artifact(name="registry.example/shop", reference=image(tag), version=tag, digest=digest)


def entry(**overrides: Any) -> Entry:
    """What is DEPLOYED."""
    fields: dict[str, Any] = {
        "number": 1,
        "artifact": artifact(),
        "identity": identity(),
        "phase": Phase.SUCCEEDED,
        "started": stamp(T),
        "ended": stamp(T + 30 * SECOND),
        "status": RecordStatus.DEPLOYED,
        "since": stamp(T + 30 * SECOND),
        "revision": "1",
    }
    return Entry(**fields | overrides)


def transition(seq: int, kind: Kind = Kind.DEPLOYED, **overrides: Any) -> Transition:
    """One fact, made `seq` seconds after `T`."""
    fields: dict[str, Any] = {
        "seq": seq,
        "kind": kind,
        "at": stamp(T + seq * SECOND),
        "artifact": artifact(),
        "identity": identity(),
        "entry": 1,
        "began": T,
    }
    return Transition(**fields | overrides)


def subscription(name: str = "sink", **overrides: Any) -> Subscription:
    """A sink that hears everything since ever."""
    fields: dict[str, Any] = {"key": name, "channels": ALL, "since": 0}
    return Subscription(**fields | overrides)


def cursors(**at: int) -> Mapping[str, Cursor]:
    """Cursors by sink."""
    return {name: Cursor(seq=seq) for name, seq in at.items()}


# What comes of it


def policy(**overrides: Any) -> Policy:
    """An install that has led since long before `T`."""
    return replace(Policy(epoch=WEEKS_AGO), **overrides)


def states(done: Plan) -> list[str]:
    """The STATE column: kinds with causes."""
    return [f"{each.kind} {each.cause}" for each in done.transitions if each.kind.channel is Channel.STATE]


def events(done: Plan) -> list[str]:
    """The ROLLOUT column: kinds, of failures with their reasons."""
    told = [each for each in done.transitions if each.kind.channel is Channel.ROLLOUT]
    return [f"{each.kind} {each.reason}".strip() for each in told]


@dataclass
class Story:
    """The life of a slot: `plan` folded over what is seen, one moment after the other."""

    slot: Slot = field(default_factory=slot)
    policy: Policy = field(default_factory=policy)
    told: list[Transition] = field(default_factory=list)

    def see(self, what: Sighting | Seen | Absent | Held, at: Millis | None = None) -> Plan:
        """Look at a moment, by default when what is seen had just happened; a second look must change nothing."""
        if isinstance(what, Sighting):
            what = seen(what)
        if at is None:
            assert isinstance(what, Seen), "of what is not there, say when"
            at = (what.sighting.condition_updated or T) + 100
        done = plan(self.slot, what, at, self.policy)
        again = plan(done.slot, what, at, self.policy)
        assert (again.slot, again.transitions) == (done.slot, ()), "a plan is idempotent"
        self.slot = done.slot
        self.told.extend(done.transitions)
        return done


def story(*sightings: Sighting, **overrides: Any) -> Story:
    """A slot that has seen these already."""
    told = Story(**overrides)
    for each in sightings:
        told.see(each)
    return told
