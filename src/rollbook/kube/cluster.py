"""What the cluster shows of workloads, from memory; and sweeps, which find what no event has told.

kopf tells of Deployments and namespaces, our own mirrors of ReplicaSets and pods. Whatever changes, the workload
that it concerns is hinted at.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from rollbook.core.errors import InvalidObject, KubeError, NotFound
from rollbook.core.look import View
from rollbook.core.workload import Deployment, Namespace, WorkloadRef
from rollbook.kube.client import Kube
from rollbook.kube.deployments import project
from rollbook.kube.pods import PODS, PodStore
from rollbook.kube.replicasets import REPLICA_SETS, ReplicaSetStore
from rollbook.kube.watch import Reflector
from rollbook.kube.wire import METADATA_LIST, METADATA_ONLY, Bare, decoder

DEPLOYMENTS: Final = "/apis/apps/v1/deployments"

CONFIRMATIONS: Final = 8
"""Requests in flight while a sweep confirms what it misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep found; nothing counts unless it is complete."""

    complete: bool
    missing: tuple[WorkloadRef, ...] = ()
    """Known here and proven gone, each by a read of its own; they are forgotten now."""
    unheard: tuple[WorkloadRef, ...] = ()
    """There, and never heard of, or heard of with another UID."""
    error: str = ""
    """Why it is not complete."""


class Cluster:
    """Reads workloads.

    Args:
        kube: the connection.
        hint: told of a workload whenever something of it has changed.
        murmur: told instead where a rollout under way has brought along what was to be expected: pods, numbers of
            replicas. Nothing follows from it that the rollout's end, or its failure, will not hint at.
        on_error: told of failures of the mirrors.

    Attributes:
        pod_mirror: runs until cancelled; to be started by the owner.
        replica_set_mirror: likewise.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        hint: Callable[[WorkloadRef], None],
        on_error: Callable[[str], None],
        murmur: Callable[[WorkloadRef], None] | None = None,
    ) -> None:
        self._kube = kube
        self._hint = hint
        self._murmur = murmur or hint
        self._deployments: dict[str, dict[WorkloadRef, Deployment]] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._pods = PodStore(self._pods_changed)
        self._replica_sets = ReplicaSetStore(hint, lambda uid: bool(self._pods.of(uid)))
        self.pod_mirror = Reflector(
            kube, PODS, upsert=self._pods.upsert, delete=self._pods.delete, on_error=on_error
        )
        self.replica_set_mirror = Reflector(
            kube,
            REPLICA_SETS,
            upsert=self._replica_sets.upsert,
            delete=self._replica_sets.delete,
            on_error=on_error,
        )

    async def synced(self) -> None:
        """Wait until both mirrors have listed once."""
        await self.pod_mirror.synced.wait()
        await self.replica_set_mirror.synced.wait()

    def view(self, ref: WorkloadRef) -> View:
        """Everything known of a workload."""
        replica_sets = self._replica_sets.of(ref)
        return View(
            deployment=self._deployments.get(ref.namespace, {}).get(ref),
            namespace=self._namespaces.get(ref.namespace),
            replica_sets=replica_sets,
            pods=tuple(pod for each in replica_sets for pod in self._pods.of(each.uid)),
        )

    def deployments(self) -> Iterator[Deployment]:
        """All that have been heard of."""
        for siblings in self._deployments.values():
            yield from siblings.values()

    def namespace(self, name: str) -> Namespace | None:
        """A namespace, if it has been heard of."""
        return self._namespaces.get(name)

    def hear_deployment(self, deployment: Deployment) -> None:
        """Take up a Deployment; quiet if nothing of it has changed."""
        siblings = self._deployments.setdefault(deployment.ref.namespace, {})
        before = siblings.get(deployment.ref)
        if before == deployment:
            return
        siblings[deployment.ref] = deployment
        expected = before is not None and deployment.only_counts_on(before)
        (self._murmur if expected else self._hint)(deployment.ref)

    def forget_deployment(self, ref: WorkloadRef, uid: str) -> None:
        """Hear that the Deployment of that UID is gone; one that has taken its name since stays."""
        siblings = self._deployments.get(ref.namespace, {})
        known = siblings.get(ref)
        if known is None or known.uid != uid:
            return
        del siblings[ref]
        if not siblings:
            del self._deployments[ref.namespace]
        self._hint(ref)

    def hear_namespace(self, namespace: Namespace) -> None:
        """Take up a namespace; its workloads are hinted at if anything of it has changed."""
        if self._namespaces.get(namespace.name) != namespace:
            self._namespaces[namespace.name] = namespace
            self._hint_at_all(namespace.name)

    def forget_namespace(self, name: str) -> None:
        """Hear that a namespace is gone."""
        if self._namespaces.pop(name, None) is not None:
            self._hint_at_all(name)

    async def read(self, ref: WorkloadRef) -> None:
        """Read a Deployment that no event has told of, and take it up; quiet if there is none.

        Raises:
            KubeError: it could not be read.
            InvalidObject: it could not be understood.
        """
        try:
            body = await self._kube.get(_path(ref))
        except NotFound:
            return
        self.hear_deployment(project(body))

    async def exists(self, ref: WorkloadRef) -> bool | None:
        """Whether the Deployment exists, by a read of its own; None if that cannot be told now."""
        try:
            return await self._uid(ref) is not None
        except (KubeError, InvalidObject):
            return None

    async def sweep(self, believe: Callable[[Collection[WorkloadRef]], bool] = lambda _: True) -> Sweep:
        """Compare what has been heard with what is there; forget what is proven gone.

        Any failure, or a page that did not come, makes it incomplete, and then nothing is forgotten.

        Args:
            believe: asked about the workloads that seem gone; if it says no, the sweep is not complete either.
        """
        try:
            listed = await self._listed()
            suspects = [each for each in self.deployments() if listed.get(each.ref) != each.uid]
            gone = await self._confirmed(suspects)
        except (KubeError, InvalidObject) as error:
            return Sweep(complete=False, error=str(error))
        if not believe([each.ref for each in gone]):
            return Sweep(complete=False, error=f"{len(gone)} workloads seem gone, which is not believed")
        for deployment in gone:
            self.forget_deployment(deployment.ref, deployment.uid)
        return Sweep(
            complete=True,
            missing=tuple(each.ref for each in gone),
            unheard=tuple(ref for ref, uid in listed.items() if self._heard_uid(ref) != uid),
        )

    async def _listed(self) -> dict[WorkloadRef, str]:
        """The UIDs of all Deployments there are."""
        found: dict[WorkloadRef, str] = {}
        pages = self._kube.list_pages(DEPLOYMENTS, Bare, accept=METADATA_LIST)
        async with aclosing(pages):
            async for page in pages:
                for item in page.items:
                    metadata = item.metadata
                    ref = WorkloadRef(namespace=metadata.namespace, name=metadata.name)
                    found[ref] = metadata.uid
        return found

    async def _confirmed(self, suspects: list[Deployment]) -> list[Deployment]:
        """Those of which a read says that they are gone; an event may have told so meanwhile."""
        limit = asyncio.Semaphore(CONFIRMATIONS)

        async def is_gone(deployment: Deployment) -> bool:
            async with limit:
                return await self._uid(deployment.ref) != deployment.uid

        gone = await asyncio.gather(*(is_gone(each) for each in suspects), return_exceptions=True)
        for answer in gone:
            if isinstance(answer, BaseException):
                raise answer
        return [each for each, answer in zip(suspects, gone, strict=True) if answer]

    async def _uid(self, ref: WorkloadRef) -> str | None:
        """The UID of a Deployment as it is now; None if there is none."""
        try:
            return _bare(await self._kube.get(_path(ref), accept=METADATA_ONLY)).metadata.uid
        except NotFound:
            return None

    def _heard_uid(self, ref: WorkloadRef) -> str | None:
        known = self._deployments.get(ref.namespace, {}).get(ref)
        return known.uid if known else None

    def _pods_changed(self, replica_set: str) -> None:
        workload = self._replica_sets.workload(replica_set)
        self._replica_sets.emptied(replica_set)
        if workload is not None:
            known = self._deployments.get(workload.namespace, {}).get(workload)
            (self._murmur if known and known.under_way else self._hint)(workload)

    def _hint_at_all(self, namespace: str) -> None:
        for ref in self._deployments.get(namespace, {}):
            self._hint(ref)


def _path(ref: WorkloadRef) -> str:
    return f"/apis/apps/v1/namespaces/{ref.namespace}/deployments/{ref.name}"


_bare = decoder(Bare)
