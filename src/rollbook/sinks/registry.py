"""From a `TrackingSink` to the sink that delivers to it. Another kind is one file, and one line in `_APIS`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from rollbook.core.errors import ConfigError, SinkUnauthorized
from rollbook.core.slot import SlotKey
from rollbook.core.transition import Channel, Millis
from rollbook.core.workload import Namespace
from rollbook.crd.sink import Selector, TrackingSink
from rollbook.delivery import Delivery, Sink
from rollbook.sinks import endpoint
from rollbook.sinks.chainloop import ChainloopApi
from rollbook.sinks.http import HttpClient, Timeouts
from rollbook.sinks.launchdarkly import LaunchDarklyApi
from rollbook.sinks.tracker import TrackerApi


class Api(Protocol):
    """What differs from one kind of sink to another."""

    @property
    def channels(self) -> frozenset[Channel]:
        """What it hears."""
        ...

    async def deliver(self, delivery: Delivery) -> Mapping[str, str] | None:
        """See `Sink.deliver`."""
        ...


class _Kind(Protocol):
    """The class of an API."""

    @property
    def channels(self) -> frozenset[Channel]:
        """What each of its instances hears."""
        ...

    def __call__(self, spec: Any, http: HttpClient, /) -> Api:
        """Make one."""
        ...


_APIS: Final[Mapping[str, _Kind]] = {
    "chainloop": ChainloopApi,
    "launchDarkly": LaunchDarklyApi,
    "tracker": TrackerApi,
}
"""By the name of the field in `TrackingSink.spec`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A token, and where its Secret says that it may be sent."""

    token: str = field(repr=False)
    hosts: frozenset[str]
    """`host` or `host:port` each, from the Secret's annotation `rollbook.dev/hosts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSink:
    """One `TrackingSink`, ready to deliver. Implements `Sink`."""

    key: str
    name: str
    since: Millis
    selector: Selector
    api: Api
    http: HttpClient = field(repr=False)

    @property
    def channels(self) -> frozenset[Channel]:
        """See `Sink.channels`."""
        return self.api.channels

    def selects(self, key: SlotKey, namespace: Namespace, labels: Mapping[str, str]) -> bool:
        """See `Sink.selects`."""
        return selected(self.selector, key, namespace, labels)

    async def deliver(self, delivery: Delivery) -> Mapping[str, str] | None:
        """See `Sink.deliver`."""
        return await self.api.deliver(delivery)

    async def close(self) -> None:
        """See `Sink.close`."""
        await self.http.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSink:
    """A `TrackingSink` that cannot be used now: it keeps its place and what it is owed. Implements `Sink`."""

    sink: TrackingSink
    why: str

    @property
    def key(self) -> str:
        """See `Sink.key`."""
        return key(self.sink)

    @property
    def name(self) -> str:
        """See `Sink.name`."""
        return self.sink.metadata.name

    @property
    def channels(self) -> frozenset[Channel]:
        """See `Sink.channels`."""
        return _APIS[self.sink.spec.type].channels

    @property
    def since(self) -> Millis:
        """See `Sink.since`."""
        return self.sink.since

    def selects(self, key: SlotKey, namespace: Namespace, labels: Mapping[str, str]) -> bool:
        """See `Sink.selects`."""
        return selected(self.sink.spec.selector, key, namespace, labels)

    async def deliver(self, delivery: Delivery) -> None:
        """Deliver nothing.

        Raises:
            SinkUnauthorized: always.
        """
        raise SinkUnauthorized(f"{delivery.id}: {self.why}")

    async def close(self) -> None:
        """Close nothing."""


def selected(wanted: Selector, key: SlotKey, namespace: Namespace, labels: Mapping[str, str]) -> bool:
    """Whether a slot meets every criterion given; `labels` are the workload's."""
    return (
        (not wanted.environments or key.environment in wanted.environments)
        and wanted.namespace_labels.items() <= namespace.labels.items()
        and wanted.workload_labels.items() <= labels.items()
    )


def build(sink: TrackingSink, credential: Credential, *, timeouts: Timeouts | None = None) -> Sink:
    """The sink that this object configures. It connects to nothing yet; close it when it is replaced.

    Raises:
        ConfigError: the endpoint or the credential cannot be used; the message is one sentence, for the
            sink's condition.
    """
    spec = sink.spec
    address = endpoint.check(spec.destination.endpoint, hosts=credential.hosts, insecure=spec.allow_insecure_http)
    http = HttpClient(address, _token(credential.token), timeouts=timeouts or Timeouts())
    return ConfiguredSink(
        key=key(sink),
        name=sink.metadata.name,
        since=sink.since,
        selector=spec.selector,
        api=_APIS[spec.type](spec.destination, http),
        http=http,
    )


def key(sink: TrackingSink) -> str:
    """`<UID>:<8 hex>`: another destination is another sink, whose cursors start anew; a slash more is not."""
    spec = sink.spec
    project = getattr(spec.destination, "project_key", "")
    parts = (spec.type, spec.destination.endpoint.rstrip("/"), project)
    destination = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{sink.metadata.uid}:{destination}"


def _token(token: str) -> str:
    """Without the line break that files end with."""
    stripped = token.strip()
    if not stripped:
        raise ConfigError("the credential's token is empty")
    if not (stripped.isascii() and stripped.isprintable()) or " " in stripped:
        raise ConfigError("the credential's token holds characters that cannot be sent in a header")
    return stripped
