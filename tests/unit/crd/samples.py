"""A slot as most slots are: one artifact DEPLOYED, one SUPERSEDED, three sinks, all delivered."""

from dataclasses import replace

from rollbook.core.slot import Cursor, Entry, Slot, SlotKey
from rollbook.core.transition import Artifact, Identity, Phase, RecordStatus, Stamp, TimeSource
from rollbook.core.workload import WorkloadRef

KEY = SlotKey(
    cluster="eu-1",
    environment="production",
    workload=WorkloadRef(namespace="payments", name="api"),
    container="app",
)
REPOSITORY = "ghcr.io/acme/payments/api"
STAMP = Stamp(time=1_795_341_600_000, source=TimeSource.PROGRESSING_CONDITION)
START = Stamp(time=STAMP.time - 61_000, source=TimeSource.REPLICA_SET_CREATION)
IDENTITY = Identity(deployment_name="payments/api/app", application="api")

CURRENT = Entry(
    number=9,
    artifact=Artifact(
        name=REPOSITORY,
        reference=f"{REPOSITORY}:v1.42.0",
        version="v1.42.0",
        digest="sha256:" + "1a2b3c4d5e6f7a8b" * 4,
    ),
    identity=IDENTITY,
    phase=Phase.SUCCEEDED,
    started=START,
    ended=STAMP,
    status=RecordStatus.DEPLOYED,
    since=STAMP,
    revision="4",
    replaces="sha256:" + "9f8e7d6c5b4a3928" * 4,
    said=True,
)
OLD = replace(
    CURRENT,
    number=5,
    artifact=Artifact(
        name=REPOSITORY,
        reference=f"{REPOSITORY}:v1.41.0",
        version="v1.41.0",
        digest="sha256:" + "9f8e7d6c5b4a3928" * 4,
    ),
    status=RecordStatus.SUPERSEDED,
    revision="3",
    replaces=None,
)
SLOT = Slot(
    key=KEY,
    seq=12,
    clock=STAMP.time,
    workload_uid="0b0f5c1e-6f0a-4c1e-9d3e-2f4b7a9c1d55",
    current=CURRENT,
    closed=(OLD,),
    digests=("sha256:" + "1a2b3c4d5e6f7a8b" * 4, "sha256:" + "9f8e7d6c5b4a3928" * 4),
    cursors={
        "7c9e6679-7425-40de-944b-e07fc1f90ae7:1f2e3d4c": Cursor(seq=12),
        "16fd2706-8baf-433b-82eb-8c7fada847da:a0b1c2d3": Cursor(seq=12),
        "6fa459ea-ee8a-3ca4-894e-db77e160355e:99887766": Cursor(seq=12),
    },
)
