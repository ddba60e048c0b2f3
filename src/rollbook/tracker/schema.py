"""The requests, validated.

Unknown fields are ignored, as both vendors do (WIRE §1.0, §2.4). Where a vendor's limits are not published,
ours are stated here: they are what the page and the database can carry.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from rollbook.tracker.chainloop_records import ArtifactKind, Report, Slot
from rollbook.tracker.errors import Problem
from rollbook.tracker.launchdarkly_state import Event, EventType, Stream

# Nothing that could hide in a page or a log: no control characters.
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
DNS_LABEL: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
DIGEST: Final = r"^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$"
VERSION: Final = r"^[A-Za-z0-9._-]+$"
LATEST_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: what follows has no RFC 3339 form."""

Model = TypeVar("Model", bound=BaseModel)


def _or_empty(value: Any) -> Any:
    return "" if value is None else value


def _or_no_object(value: Any) -> Any:
    return {} if value is None else value


Key = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE)]
Name = Annotated[str, StringConstraints(max_length=512, pattern=PRINTABLE), BeforeValidator(_or_empty)]
Millis = Annotated[int, Field(strict=True, ge=0, le=LATEST_MS)]
Metadata = Annotated[dict[str, Any], BeforeValidator(_or_no_object)]


def _both_spellings(name: str) -> AliasChoices:
    return AliasChoices(name, to_camel(name))


class RecordInput(BaseModel):
    """Body of `POST /v1/deployments` (WIRE §2.1); both spellings of every field (WIRE §2.4)."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=_both_spellings))

    environment_name: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
    deployment_name: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=PRINTABLE)]
    artifact_digest: Annotated[str, StringConstraints(pattern=DIGEST)]
    kind: ArtifactKind
    # SUPERSEDED follows from a new artifact in the slot; to record it would be to guess.
    status: Literal["DEPLOYED", "DECOMMISSIONED"]
    artifact_name: Name = ""
    artifact_version: Name = ""

    def to_report(self) -> Report:
        """Return the core's value."""
        return Report(
            slot=Slot(
                environment_name=self.environment_name,
                deployment_name=self.deployment_name,
                kind=self.kind.value,
            ),
            digest=self.artifact_digest,
            artifact_name=self.artifact_name,
            artifact_version=self.artifact_version,
            status=self.status,
        )


class EventInput(BaseModel):
    """Body of `POST …/deployment-events` (WIRE §1.1)."""

    model_config = ConfigDict(alias_generator=to_camel)

    project_key: Key
    environment_key: Key
    application_key: Key
    version: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=VERSION)]
    event_type: EventType
    application_name: Name = ""
    application_kind: Literal["server", "browser", "mobile", ""] | None = ""
    version_name: Name = ""
    event_time: Millis | None = None
    event_metadata: Metadata = Field(default_factory=dict)
    deployment_metadata: Metadata = Field(default_factory=dict)

    def to_event(self, now: int) -> Event:
        """Return the core's value; without an `eventTime` it happened `now` (epoch milliseconds)."""
        for name, value in (
            ("eventMetadata", self.event_metadata),
            ("deploymentMetadata", self.deployment_metadata),
        ):
            _require_json(name, value)
        return Event(
            stream=Stream(
                project_key=self.project_key,
                environment_key=self.environment_key,
                application_key=self.application_key,
            ),
            version=self.version,
            event_type=self.event_type.value,
            event_time=now if self.event_time is None else self.event_time,
            time_given=self.event_time is not None,
            application_name=self.application_name,
            application_kind=self.application_kind or "",
            version_name=self.version_name,
            event_metadata=self.event_metadata,
            deployment_metadata=self.deployment_metadata,
        )


class DeploymentQuery(BaseModel):
    """Query of `GET …/deployments` (WIRE §1.2); numbers come as text."""

    model_config = ConfigDict(alias_generator=to_camel)

    project_key: Key
    environment_key: Key
    application_key: str = ""
    limit: int = Field(default=20, ge=1, le=100)
    expand: Annotated[str, StringConstraints(pattern=r"^((pullRequests|flagReferences)(,|$))*$")] = ""
    started_from: int | None = Field(default=None, alias="from", ge=0, le=LATEST_MS)
    started_to: int | None = Field(default=None, alias="to", ge=0, le=LATEST_MS)
    after: str = ""
    before: str = ""
    kind: str = ""
    status: str = ""


class RecordQuery(BaseModel):
    """Query of `GET /v1/deployments` (WIRE §2.2); page 0 is taken as 1."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=_both_spellings))

    page: int = Field(default=1, ge=0, le=2**31)
    page_size: int = Field(default=100, ge=1, le=100)
    environment_name: str = ""
    deployment_name: str = ""
    kind: Literal["", "ARTIFACT_KIND_UNSPECIFIED", "CONTAINER_IMAGE", "HELM_CHART"] = ""
    status: Literal["", "DEPLOYMENT_STATUS_UNSPECIFIED", "DEPLOYED", "SUPERSEDED", "DECOMMISSIONED"] = ""
    project_name: str = ""
    project_version_name: str = ""


def parse_body(model: type[Model], body: bytes) -> Model:
    """Validate a JSON body.

    Raises:
        Problem: 400, naming every attribute that is wrong.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, fields=_reasons(error)) from None


def parse_query(model: type[Model], query: Mapping[str, str]) -> Model:
    """Validate query parameters; an empty one counts as absent.

    Raises:
        Problem: 400, naming every attribute that is wrong.
    """
    try:
        return model.model_validate({name: value for name, value in query.items() if value})
    except ValidationError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, fields=_reasons(error)) from None


def _reasons(error: ValidationError) -> dict[str, str]:
    return {
        ".".join(map(str, detail["loc"])) or "body": _reason(detail["type"], detail["msg"], detail["input"])
        for detail in error.errors(include_url=False, include_context=False)
    }


def _reason(kind: str, message: str, given: Any) -> str:
    if kind == "missing" or given in ("", None):
        return "must be present"
    if kind in {"json_invalid", "model_type"}:
        return "must be a JSON object"
    return message[:1].lower() + message[1:]


def _require_json(name: str, value: Mapping[str, Any]) -> None:
    """Refuse what Python's parser lets through and JSON does not know: NaN and infinities."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, fields={name: "must be JSON"}) from None
