"""The models of `TrackingSink`: where transitions go; `crds/trackingsinks.yaml` says the same to the API server.

The rules over several fields (CEL in the YAML) are checked here too, since an object may be older than a rule.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self

from pydantic import Field, ValidationError, model_validator

from rollbook.core.errors import InvalidObject
from rollbook.core.transition import Millis
from rollbook.crd.meta import CrdModel

KIND: Final = "TrackingSink"


class ChainloopSpec(CrdModel):
    """Chainloop's platform API (WIRE §2): hears the state of slots."""

    endpoint: str = "https://api.app.chainloop.dev"
    environments: Mapping[str, str] = {}
    """Our environments' names to Chainloop's, where they differ."""


class LaunchDarklySpec(CrdModel):
    """LaunchDarkly's engineering insights (WIRE §1): hears rollout events."""

    endpoint: str = "https://app.launchdarkly.com"
    project_key: str = Field(min_length=1)
    allowed_projects: tuple[str, ...] = ()
    """The other projects that the annotation `project` may choose."""
    environments: Mapping[str, str] = {}
    """Our environments' names to LaunchDarkly's keys, where they differ."""


class TrackerSpec(CrdModel):
    """The embedded tracker: hears the state by Chainloop's call, rollout events by LaunchDarkly's."""

    endpoint: str
    project_key: str = Field(default="rollbook", min_length=1)
    environments: Mapping[str, str] = {}
    """Our environments' names to the tracker's, where they differ."""


class Credentials(CrdModel):
    """A Secret in the operator's namespace; it says itself to which hosts it may be sent."""

    secret_name: str = Field(min_length=1)
    key: str = Field(default="token", min_length=1)


class Selector(CrdModel):
    """Which slots a sink hears of: those that meet every criterion given."""

    environments: tuple[str, ...] = ()
    namespace_labels: Mapping[str, str] = {}
    workload_labels: Mapping[str, str] = {}

    @property
    def given(self) -> bool:
        """Whether there is a criterion at all."""
        return bool(self.environments or self.namespace_labels or self.workload_labels)


Destination = ChainloopSpec | LaunchDarklySpec | TrackerSpec


class TrackingSinkSpec(CrdModel):
    """What the admin wants."""

    chainloop: ChainloopSpec | None = None
    launch_darkly: LaunchDarklySpec | None = None
    tracker: TrackerSpec | None = None
    credentials: Credentials
    selector: Selector = Selector()
    allow_insecure_http: bool = Field(default=False, alias="allowInsecureHTTP")
    suspend: bool = False
    backfill: bool = True

    @property
    def given(self) -> Mapping[str, Destination]:
        """The destinations that are set, by the name of their field."""
        named = {"chainloop": self.chainloop, "launchDarkly": self.launch_darkly, "tracker": self.tracker}
        return {name: destination for name, destination in named.items() if destination is not None}

    @property
    def type(self) -> str:
        """`chainloop`, `launchDarkly` or `tracker`."""
        return next(iter(self.given))

    @property
    def destination(self) -> Destination:
        """Where to, as the one field that is set says."""
        return next(iter(self.given.values()))

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if len(self.given) != 1:
            raise ValueError("exactly one of chainloop, launchDarkly and tracker must be set")
        if self.launch_darkly and not self.selector.given:
            raise ValueError("launchDarkly needs a selector: every application it hears of stays there for ever")
        return self


class SinkCondition(CrdModel):
    """A condition, as Kubernetes has them."""

    type: str
    status: str
    reason: str
    message: str | None = None
    last_transition_time: datetime
    observed_generation: int | None = None


class TrackingSinkStatus(CrdModel):
    """What the operator says of the sink."""

    observed_generation: int | None = None
    type: str | None = None
    """`spec.type`, for the column: a path in a column cannot say which field is set."""
    backlog: int | None = None
    """Deliveries not yet made."""
    oldest_undelivered: datetime | None = None
    last_delivery: datetime | None = None
    parked: int | None = None
    """Deliveries that the sink refused for good."""
    conditions: tuple[SinkCondition, ...] = ()


class SinkMeta(CrdModel):
    """What a sink's metadata must hold."""

    name: str = Field(min_length=1)
    uid: str = Field(min_length=1)
    creation_timestamp: datetime
    generation: int = 0


class TrackingSink(CrdModel):
    """The object as the API server gives it."""

    metadata: SinkMeta
    spec: TrackingSinkSpec
    status: TrackingSinkStatus = TrackingSinkStatus()

    @property
    def since(self) -> Millis:
        """When it was created."""
        return int(self.metadata.creation_timestamp.timestamp()) * 1000


def parse(body: Mapping[str, Any]) -> TrackingSink:
    """The sink that an object describes.

    Raises:
        InvalidObject: it breaks the schema or a rule; the message names the first field that does.
    """
    try:
        return TrackingSink.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidObject(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
