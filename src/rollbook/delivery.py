"""What it means to deliver: one transition, one sink, and what became of it. The loop is in `courier`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from rollbook.core.slot import SlotKey
from rollbook.core.transition import Channel, Millis, Transition
from rollbook.core.workload import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One transition on its way to one sink."""

    key: SlotKey
    slot_uid: str
    transition: Transition
    uncertain: bool = False
    """Whether an earlier try may have taken effect: then look before repeating, where the API lets us."""
    frozen: Mapping[str, str] | None = None
    """The identity under which this sink was told of the start, while the attempt is open."""

    @property
    def id(self) -> str:
        """`<slot UID>/<sequence number>`: the same for every try of it."""
        return f"{self.slot_uid}/{self.transition.seq}"


class Sink(Protocol):
    """A configured tracking API. One file per kind; nothing but these."""

    @property
    def key(self) -> str:
        """Identity of sink and destination: `<UID>:<hash of the destination>`; cursors are kept under it."""
        ...

    @property
    def name(self) -> str:
        """The `TrackingSink`'s name, for people."""
        ...

    @property
    def channels(self) -> frozenset[Channel]:
        """What it hears."""
        ...

    @property
    def since(self) -> Millis:
        """When the `TrackingSink` was created: it is told no course of a rollout that began before."""
        ...

    def selects(self, key: SlotKey, namespace: Namespace, labels: Mapping[str, str]) -> bool:
        """Whether it hears of this slot at all; `labels` are the workload's."""
        ...

    async def deliver(self, delivery: Delivery) -> Mapping[str, str] | None:
        """Send it; return only when the API has accepted it.

        Returns:
            For a start, the identity that the end must be told under; else None.

        Raises:
            SinkUnavailable: try the same delivery again, later.
            SinkUnauthorized: the sink must wait for another credential.
            SinkRejected: never try it again; park it.
        """
        ...

    async def close(self) -> None:
        """Release its connections."""
        ...


Result = Literal["accepted", "refused", "unavailable", "unauthorized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one try, for logs and metrics."""

    sink: str
    delivery: Delivery
    result: Result
    message: str = ""
    seconds: float = 0.0
