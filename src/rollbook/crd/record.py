"""The models of `DeploymentRecord`; `crds/deploymentrecords.yaml` says the same to the API server.

The operator writes records as `core.projection` makes them; these models are for whoever reads them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from rollbook.core.errors import InvalidObject
from rollbook.core.transition import ArtifactKind, Phase, RecordStatus
from rollbook.crd.meta import CrdModel


class Workload(CrdModel):
    """The top-level owner of pods, in the record's namespace."""

    group: str
    kind: str
    name: str


class RecordArtifact(CrdModel):
    """The artifact; `digest` and `version` are there only where they are declared."""

    kind: ArtifactKind
    name: str
    reference: str | None = None
    digest: str | None = None
    version: str | None = None


class RecordSpec(CrdModel):
    """Which artifact, and where."""

    cluster: str | None = None
    environment: str
    workload: Workload | None = None
    container: str | None = None
    artifact: RecordArtifact


class RecordDelivery(CrdModel):
    """What became of it at one sink."""

    sink: str
    state: str
    """`Delivered`, `Pending` or `Parked`."""
    message: str | None = None


class RecordCondition(CrdModel):
    """A condition, as Kubernetes has them."""

    type: str
    status: str
    """`True`, `False` or `Unknown`."""
    reason: str
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int | None = None


class DeploymentRecordStatus(CrdModel):
    """What the operator says of it; what is not known is None."""

    observed_generation: int | None = None
    status: RecordStatus | None = None
    phase: Phase | None = None
    digest: str | None = None
    digest_short: str | None = None
    running_digest: str | None = None
    version: str | None = None
    version_name: str | None = None
    since: datetime | None = None
    since_source: str | None = None
    since_not_before: datetime | None = None
    since_not_after: datetime | None = None
    started: datetime | None = None
    started_source: str | None = None
    started_not_before: datetime | None = None
    started_not_after: datetime | None = None
    finished: datetime | None = None
    finished_source: str | None = None
    finished_not_before: datetime | None = None
    finished_not_after: datetime | None = None
    duration_seconds: float | None = None
    cause: str | None = None
    reason: str | None = None
    message: str | None = None
    revision: str | None = None
    supersedes: str | None = None
    rollback: bool = False
    deployment_name: str | None = None
    application: str | None = None
    delivered: str | None = None
    """`2/3`: how many of the sinks that hear of it have it all."""
    deliveries: tuple[RecordDelivery, ...] = ()
    conditions: tuple[RecordCondition, ...] = ()


class RecordMeta(CrdModel):
    """What a record's metadata must hold."""

    name: str = Field(min_length=1)
    namespace: str = Field(min_length=1)
    labels: Mapping[str, str] = {}
    creation_timestamp: datetime | None = None
    generation: int = 0


class DeploymentRecord(CrdModel):
    """The object as the API server gives it."""

    metadata: RecordMeta
    spec: RecordSpec
    status: DeploymentRecordStatus = DeploymentRecordStatus()


def parse(body: Mapping[str, Any]) -> DeploymentRecord:
    """The record that an object holds.

    Raises:
        InvalidObject: it breaks the schema; the message names the first field that does.
    """
    try:
        return DeploymentRecord.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidObject(f"{where}: {first['msg']}") from None
