"""The composition root: settings in, a running operator's parts out. Nothing here decides anything."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from rollbook import metrics
from rollbook.book import Book, Change
from rollbook.clock import Clock
from rollbook.core.errors import Conflict, KubeError, LeadershipLost
from rollbook.core.retry import RetryPolicy
from rollbook.core.slot import Slot, SlotKey
from rollbook.core.transition import Millis
from rollbook.core.workload import Namespace, WorkloadRef
from rollbook.courier import Desk
from rollbook.delivery import Outcome
from rollbook.hints import Hints, K
from rollbook.kube.client import Kube
from rollbook.kube.cluster import Cluster
from rollbook.kube.ledger import Ledger
from rollbook.kube.records import Records
from rollbook.logs import logger
from rollbook.owners import Owners
from rollbook.publisher import Publisher
from rollbook.reconcile import Decision, Reconciler
from rollbook.roster import Roster
from rollbook.settings import Settings

WORKERS = 16
"""Workloads looked at side by side, and slots published side by side: enough to hide the API server's latency."""

COMPANY = 0.2
"""Seconds that a record waits for deliveries under way, so that both are published by one request."""

AGAIN = 1.0
"""Seconds until a failed unit of work is tried again; the API server asks for longer itself when it wants to."""

AFTER_A_BUG = 60.0
"""Seconds until a unit of work is tried again that failed by an error of our own: it must not stop the others."""

TIDY_EVERY = 3600.0
"""Seconds between two looks for slots that ended long ago: each has to be decoded for it, and a month is long."""

KEEP_ENDED: Millis = 30 * 24 * 3600 * 1000
"""Milliseconds that a slot stays after its end: a workload that was away for some weeks comes back to its history,
and whoever asks next month what was removed last week still finds it."""

LULL = 0.5
"""Seconds until a look at what a rollout under way has brought along; its end is looked at at once."""

SINK_RETRY = RetryPolicy(base_ms=500, cap_ms=60_000, factor=2.0)

log = logger(__name__)


def failed(unit: str, error: Exception, **context: object) -> None:
    """The one log line and the one metric of a failed unit of work."""
    metrics.FAILURES.labels(unit=unit).inc()
    log.warning("failed", unit=unit, error=str(error), kind=type(error).__name__, **context)


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


@dataclass(slots=True, kw_only=True)
class App:
    """The parts of a leading operator."""

    settings: Settings
    kube: Kube
    clock: Clock
    cluster: Cluster
    ledger: Ledger
    records: Records
    book: Book
    roster: Roster
    publisher: Publisher
    reconciler: Reconciler
    owners: Owners
    workloads: Hints[WorkloadRef]
    flushes: Hints[SlotKey]
    earlier: dict[str, int]
    parked: dict[str, int]
    _tidied: float = field(default=0.0)

    async def load(self) -> None:
        """Read the ledger and the records: what an earlier life left.

        Raises:
            KubeError: they could not be read.
            InvalidObject: a slot is of a newer version, or cannot be read.
        """
        await self.ledger.load()
        await self.records.load()
        for name in self.ledger.names():
            stored = self.ledger.get(name)
            if stored:
                slot = stored.slot
                self.earlier[name] = slot.seq
                self.owners.remember(slot)
                for refused in slot.parked:
                    self.parked[refused.sink] = self.parked.get(refused.sink, 0) + 1

    def work(self) -> tuple[Awaitable[None], ...]:
        """The workers, to be run until they are cancelled."""
        return (
            *(_work(self.workloads, self._reconcile, "reconcile") for _ in range(WORKERS)),
            *(_work(self.publisher.hints, self.publisher.publish, "publish") for _ in range(WORKERS)),
            *(_work(self.flushes, self._flush, "progress") for _ in range(WORKERS // 2)),
        )

    def look_at_everything(self) -> None:
        """Hint at every workload that there is or was."""
        for deployment in self.cluster.deployments():
            self.workloads.add(deployment.ref)
        for name in self.ledger.names():
            found = self.book.look(name)
            if found:
                self.workloads.add(found[0].key.workload)
                self.publisher.hints.add(name)
                self.roster.hint(name, found[0])

    def drop_orphans(self) -> None:
        """Have records deleted whose slot is gone: somebody has deleted it, or we have just before an end."""
        names = (*self.ledger.names(), *self.publisher.refused)
        for orphan in self.records.slots() - {name.rpartition("-")[2] for name in names} - {""}:
            self.publisher.hints.add(orphan)

    async def tidy(self) -> None:
        """Delete what nobody needs any more: slots that ended long ago, and records without a slot.

        Raises:
            KubeError: something could not be deleted; next time.
            LeadershipLost: we may not write any more.
        """
        if self.clock.monotonic() - self._tidied >= TIDY_EVERY:
            self._tidied = self.clock.monotonic()
            await self._forget_ended()
        self.drop_orphans()

    async def _forget_ended(self) -> None:
        before = self.clock.now() - KEEP_ENDED
        for name in self.ledger.names():
            if await self.book.remove(name, when=lambda slot: self._is_forgotten(slot, before)):
                self.earlier.pop(name, None)
                self.publisher.hints.add(name)
            await asyncio.sleep(0)  # to read a slot takes time, and there may be many

    def _is_forgotten(self, slot: Slot, before: Millis) -> bool:
        """Nothing runs in it, nothing is owed, and no workload is left that could go on with it."""
        ended = slot.deployed is None and slot.attempt is None and not slot.pending
        return ended and slot.clock < before and self.cluster.view(slot.key.workload).deployment is None

    async def _reconcile(self, ref: WorkloadRef) -> None:
        await self.reconciler.reconcile(ref)

    async def _flush(self, key: SlotKey) -> None:
        await self.book.flush(key)

    def gauge(self) -> None:
        """Set the gauges before a scrape."""
        metrics.SLOTS.set(len(self.ledger))
        metrics.QUEUE.set(len(self.workloads))
        for courier in self.roster:
            metrics.BACKLOG.labels(sink=courier.sink.name).set(courier.backlog)


async def _work(hints: Hints[K], unit: Callable[[K], Awaitable[None]], name: str) -> None:
    """Do one unit of work after the other; a failed one comes again."""
    while True:
        key = await hints.get()
        try:
            await unit(key)
        except KubeError as error:
            if not isinstance(error, Conflict):
                failed(name, error, key=str(key))
            hints.add(key, delay=getattr(error, "retry_after", None) or AGAIN)
        except LeadershipLost:
            raise
        except Exception as error:  # noqa: BLE001 - a bug met by one workload must not stop the others
            failed(name, error, key=str(key), trace=_trace(error))
            hints.add(key, delay=AFTER_A_BUG)
        finally:
            hints.done(key)


def wire(settings: Settings, kube: Kube, *, epoch: Millis, may_send: Callable[[], None]) -> App:
    """Put an operator together."""
    clock = Clock()
    workloads: Hints[WorkloadRef] = Hints()
    flushes: Hints[SlotKey] = Hints()
    cluster = Cluster(
        kube,
        hint=workloads.add,
        on_error=lambda message: failed("watch", Exception(message)),
        murmur=lambda ref: workloads.add(ref, delay=LULL),
    )
    ledger = Ledger(kube, settings.namespace)
    earlier: dict[str, int] = {}
    parked: dict[str, int] = {}

    def saved(change: Change) -> None:
        name = change.after.key.object_name
        waiting = roster.hint(name, change.after)
        publisher.hints.add(name, delay=COMPANY if waiting else 0.0)

    def describe(ref: WorkloadRef) -> tuple[Namespace | None, Mapping[str, str] | None]:
        view = cluster.view(ref)
        return view.namespace, view.deployment.labels if view.deployment else None

    book = Book(ledger, lambda slot: roster.subscriptions(slot), saved)  # noqa: PLW0108 - the roster is made below
    desk = Desk(
        book=book,
        clock=clock,
        policy=SINK_RETRY,
        earlier=earlier,
        parked=parked,
        may_send=may_send,
        flush=lambda key, delay: flushes.add(key, delay=delay),
        on_outcome=_tell_outcome,
        on_bug=lambda name, error: failed("delivery", error, key=name, trace=_trace(error)),
    )
    roster = Roster(describe, desk)

    def lost(slot_hash: str) -> None:
        refused = (name for name in publisher.refused if name.endswith(f"-{slot_hash}"))
        name = ledger.named(slot_hash) or next(refused, None)
        if name:
            publisher.hints.add(name)

    records = Records(kube, lost=lost)
    publisher = Publisher(book=book, records=records, names=lambda: roster.names, owed=roster.owed)
    owners = Owners()
    reconciler = Reconciler(
        cluster=cluster,
        book=book,
        known=ledger.by_workload,
        owners=owners,
        subscriptions=roster.subscriptions,
        refusals=publisher,
        hints=workloads,
        rules=settings.rules,
        policy=settings.policy(epoch),
        clock=clock,
        on_decision=_tell_decision,
    )
    return App(
        settings=settings,
        kube=kube,
        clock=clock,
        cluster=cluster,
        ledger=ledger,
        records=records,
        book=book,
        roster=roster,
        publisher=publisher,
        reconciler=reconciler,
        owners=owners,
        workloads=workloads,
        flushes=flushes,
        earlier=earlier,
        parked=parked,
    )


def _tell_decision(decision: Decision) -> None:
    metrics.DECISIONS.labels(row=decision.plan.row).inc()
    for each in decision.plan.transitions:
        metrics.TRANSITIONS.labels(kind=each.kind.value, cause=each.cause.value).inc()
        log.info(
            "transition",
            slot=decision.key.object_name,
            seq=each.seq,
            transition=each.kind.value,
            environment=decision.key.environment,
            workload=decision.key.workload.label,
            container=decision.key.container,
            version=each.artifact.version,
            digest=each.artifact.digest,
            cause=each.cause.value,
            reason=each.reason or None,
            at=each.at.time,
            source=each.at.source.value,
        )


def _tell_outcome(outcome: Outcome) -> None:
    metrics.DELIVERIES.labels(sink=outcome.sink, result=outcome.result).inc()
    metrics.DELIVERY_SECONDS.labels(sink=outcome.sink).observe(outcome.seconds)
    if outcome.result != "accepted":
        metrics.FAILURES.labels(unit="delivery").inc()
        delivery = outcome.delivery
        log.warning(
            "failed",
            unit="delivery",
            sink=outcome.sink,
            result=outcome.result,
            error=outcome.message,
            slot=delivery.key.object_name,
            seq=delivery.transition.seq,
            transition=delivery.transition.kind.value,
        )
