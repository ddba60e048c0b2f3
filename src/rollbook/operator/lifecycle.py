"""One life of the operator: standby, leader, in sync, stopped.

    connect -> serve probes -> acquire the Lease -> read what an earlier life left -> mirrors -> kopf
            -> sweep until all that is listed has been heard -> workers -> in sync -> ... -> stop

Nothing is decided before all that the cluster shows has been heard: a workload that has not been heard of yet
would look deleted.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import kopf
import msgspec

from rollbook import metrics
from rollbook.core.errors import ConfigError, KubeError, LeadershipLost, NotFound, RollbookError, Unavailable
from rollbook.crd.meta import SCHEMA_VERSION
from rollbook.kube.client import Kube
from rollbook.kube.lease import Lease
from rollbook.logs import logger
from rollbook.operator.ears import ears
from rollbook.operator.handlers import listen, registry
from rollbook.operator.probes import Readiness, serving
from rollbook.operator.secrets import secrets
from rollbook.operator.sweeper import Sweeper
from rollbook.operator.tracking_sinks import TrackingSinks
from rollbook.settings import Settings
from rollbook.wiring import App, failed, wire

CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OUR_CRDS: Final = ("deploymentrecords", "environmentslots", "trackingsinks")
REPORT_EVERY: Final = 10.0
"""Seconds between two writes of a sink's counters."""

STOP_WITHIN: Final = 8.0
"""Seconds for deliveries under way to end and their progress to be written."""

PATIENCE: Final = 1.0
"""Seconds between two tries to read what the start needs."""

LOGIN_EVERY: Final = timedelta(minutes=10)

log = logger(__name__)


@dataclass(slots=True)
class _Life:
    """What one life shares."""

    settings: Settings
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    readiness: Readiness = field(default_factory=Readiness)
    problem: RollbookError | None = None

    def end(self, problem: RollbookError | None = None) -> None:
        """Stop, because of `problem` if there is one; the first one counts."""
        self.problem = self.problem or problem
        self.stop.set()


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigError: it cannot start as configured.
        RollbookError: it cannot go on; started again, it goes on where it was.
    """
    life = _Life(settings)
    with _signals(life):
        kube = await Kube.connect(settings.kubeconfig)
        kube.observer = _count
        app: list[App] = []
        try:
            async with serving(
                settings.listen_host, settings.listen_port, life.readiness, lambda: _gauge(app)
            ) as port:
                log.info("serving", port=port, identity=settings.identity)
                await _lead(life, kube, app)
        finally:
            await kube.close()
    if life.problem:
        raise life.problem


async def _lead(life: _Life, kube: Kube, app: list[App]) -> None:
    settings = life.settings
    lease = Lease(
        kube,
        settings.namespace,
        lost=lambda: life.end(LeadershipLost("the Lease is held by another now")),
        on_error=lambda message: failed("lease", RollbookError(message)),
    )
    life.readiness.phase, life.readiness.ready = "standby", True
    if not await _unless_stopped(life, lease.acquire(settings.identity)):
        return
    life.readiness.phase, life.readiness.ready = "syncing", False
    metrics.LEADER.set(1)
    kube.guard = lease.check
    try:
        async with _background(life, lease.hold()):
            await _patiently(life, lambda: _check_schemas(kube))
            app.append(wire(settings, kube, epoch=lease.created_at, may_send=lease.check))
            await _operate(life, app[0])
    finally:
        metrics.LEADER.set(0)
        metrics.IN_SYNC.set(0)
        await lease.release()


async def _operate(life: _Life, app: App) -> None:
    changed = asyncio.Event()
    sinks = TrackingSinks(app.kube, app.roster, added=app.look_at_everything)
    secret_mirror = secrets(app.kube, life.settings.namespace, sinks, changed.set)
    mirrors = (secret_mirror, app.cluster.pod_mirror, app.cluster.replica_set_mirror)
    handlers = registry(ears(app, sinks), lambda: _login(app.kube))
    kopf_stop = asyncio.Event()
    async with _background(life, *(mirror.run() for mirror in mirrors)):
        await _patiently(life, app.load)
        await _unless_stopped(life, secret_mirror.synced.wait())
        await _patiently(life, sinks.load)
        async with _background(life, _hear(life, handlers, kopf_stop), _refresh(sinks, changed)):
            try:
                await _sync_and_work(life, app, sinks)
            finally:
                kopf_stop.set()


async def _hear(life: _Life, handlers: kopf.OperatorRegistry, stop: asyncio.Event) -> None:
    """Let kopf hear. It takes the signals for itself; once it has begun, they are ours again."""
    ready = asyncio.Event()
    heard = asyncio.ensure_future(listen(handlers, stop, ready))
    began = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait({heard, began}, return_when=asyncio.FIRST_COMPLETED)
        with _signals(life):
            await heard
    finally:
        began.cancel()
        heard.cancel()
    life.end()


async def _sync_and_work(life: _Life, app: App, sinks: TrackingSinks) -> None:
    own = life.settings
    sweeper = Sweeper(app.cluster, app.ledger, own.sweep_interval, hold_above=own.hold_above, tidy=app.tidy)
    if not await _unless_stopped(life, app.cluster.synced()):
        return
    if not await _unless_stopped(life, sweeper.first()):
        return
    app.look_at_everything()
    try:
        async with _background(life, *app.work(), sweeper.run(app.workloads), _report(sinks)):
            if await _unless_stopped(life, app.workloads.drained()):
                life.readiness.phase, life.readiness.ready = "in sync", True
                metrics.IN_SYNC.set(1)
                log.info("in sync", slots=len(app.ledger))
                app.drop_orphans()
                await life.stop.wait()
    finally:
        life.readiness.phase, life.readiness.ready = "stopping", False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_wind_up(app), STOP_WITHIN)


async def _wind_up(app: App) -> None:
    """End what is under way and write what was accepted, so that no delivery is half recorded."""
    await app.roster.close(STOP_WITHIN / 2)
    for key in app.book.unwritten_keys():
        try:
            await app.book.flush(key)
        except (KubeError, LeadershipLost) as error:
            failed("progress", error, slot=key.object_name)
    for hints in (app.workloads, app.flushes, app.publisher.hints):
        hints.close()


async def _check_schemas(kube: Kube) -> None:
    """Refuse to lead with CRDs older than this operator: the API server would drop fields without a word."""
    for plural in OUR_CRDS:
        try:
            crd = msgspec.json.decode(await kube.get(f"{CRDS}/{plural}.rollbook.dev"))
        except NotFound:
            raise ConfigError(f"the CRD {plural}.rollbook.dev is not installed: apply crds/ first") from None
        labels: dict[str, str] = crd["metadata"].get("labels") or {}
        found = labels.get("rollbook.dev/schema-version", "0")
        if not found.isdigit() or int(found) < SCHEMA_VERSION:
            raise ConfigError(
                f"the CRD {plural}.rollbook.dev has schema version {found}, this operator needs"
                f" {SCHEMA_VERSION}: apply crds/ first"
            )


async def _login(kube: Kube) -> kopf.ConnectionInfo:
    """Never equal to the one before: kopf gives up on credentials that it has seen refused once."""
    connection = await kube.connection()
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_path=connection.ca_path,
        insecure=not connection.verify,
        token=connection.token,
        scheme="Bearer" if connection.token else None,
        certificate_path=connection.certificate_path,
        private_key_path=connection.private_key_path,
        expiration=datetime.now(UTC) + LOGIN_EVERY,
    )


async def _refresh(sinks: TrackingSinks, changed: asyncio.Event) -> None:
    """Take up Secrets that have changed."""
    while True:
        await changed.wait()
        changed.clear()
        await sinks.refresh()


async def _report(sinks: TrackingSinks) -> None:
    while True:
        try:
            await sinks.report()
        except KubeError as error:
            failed("sink status", error)
        await asyncio.sleep(REPORT_EVERY)


@contextlib.asynccontextmanager
async def _background(life: _Life, *units: Awaitable[Any]) -> AsyncIterator[None]:
    """Run units beside the body; whichever of them ends by an error ends this life."""
    tasks = [asyncio.ensure_future(_guarded(life, unit)) for unit in units]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _guarded(life: _Life, unit: Awaitable[Any]) -> None:
    try:
        await unit
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except RollbookError as error:
        life.end(error)
    except Exception as error:
        log.exception("a part of the operator has ended")
        life.end(RollbookError(f"a part of the operator has ended: {type(error).__name__}: {error}"))


async def _unless_stopped(life: _Life, unit: Awaitable[Any]) -> bool:
    """Wait for `unit`, or for the stop; True if it was the unit."""
    task = asyncio.ensure_future(unit)
    stop = asyncio.ensure_future(life.stop.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        await task
        return not life.stop.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


async def _patiently(life: _Life, unit: Callable[[], Awaitable[None]]) -> None:
    """Do what the start needs, again and again while the API server is not available."""
    while not life.stop.is_set():
        try:
            await unit()
        except Unavailable as error:
            failed("start", error)
            await asyncio.sleep(error.retry_after or PATIENCE)
        else:
            return


@contextlib.contextmanager
def _signals(life: _Life) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, life.end)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _count(verb: str, resource: str, status: int, _seconds: float) -> None:
    metrics.API_REQUESTS.labels(verb=verb, resource=resource, status=str(status)).inc()


def _gauge(app: list[App]) -> None:
    for each in app:
        each.gauge()
