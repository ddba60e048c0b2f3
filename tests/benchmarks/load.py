"""The workloads of a benchmark: made, and rolled out at a rate."""

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.builders import Object, deployment
from tests.controlplane.api import KubeApi
from tests.controlplane.installing import new_namespace
from tests.controlplane.pods import complete
from tests.controlplane.progress import Say, Step

IN_FLIGHT = 16
NAMESPACES = 10
FIRST = "1.0.0"
"""The version that everything runs at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment of one container `app`."""

    namespace: str
    name: str

    @property
    def deployment_name(self) -> str:
        """As the tracker knows its slot."""
        return f"{self.namespace}/{self.name}/app"

    def image(self, version: str) -> str:
        """A reference with the version as its tag."""
        return f"registry.example/bench/{self.name}:{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One workload brought to another version."""

    workload: Workload
    version: str


class Load:
    """The workloads in one cluster.

    Args:
        api: Of an admin.
        workloads: How many.
        pods: Of each.
        say: Takes lines of progress.
    """

    def __init__(self, api: KubeApi, *, workloads: int, pods: int, say: Say) -> None:
        self._api = api
        self._pods = pods
        self._say = say
        self._count = workloads
        self.workloads: list[Workload] = []
        self._begun = 0
        self._stages = 0

    def create(self) -> None:
        """Make them all, and wait until all are complete."""
        labels = {"rollbook.dev/environment": "production"}
        namespaces = [new_namespace(self._api, prefix="bench", labels=labels) for _ in range(NAMESPACES)]
        self.workloads = [
            Workload(namespace=namespaces[number % NAMESPACES], name=f"app-{number:05}")
            for number in range(self._count)
        ]
        step = Step(f"creating {self._count} Deployments of {self._pods} pods", self._say)
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            for number, _ in enumerate(pool.map(self._create, self.workloads)):
                step.tick(f"{number} created")
        while (done := sum(map(complete, self._deployments()))) < self._count:
            step.tick(f"{done} complete")
            time.sleep(1)
        step.done()

    def _create(self, workload: Workload) -> Object:
        image = workload.image(FIRST)
        return self._api.create(
            deployment(workload.name, namespace=workload.namespace, replicas=self._pods, image=image)
        )

    def _deployments(self) -> list[Object]:
        found = self._api.find("apps/v1", "Deployment")
        return [each for each in found if each["metadata"]["name"].startswith("app-")]

    def roll_out(self, *, rate: float, count: int) -> list[Rollout]:
        """Change the image of one workload after the other, `rate` in a second, whatever becomes of them.

        A workload comes again when all have had their turn.
        """
        self._stages += 1
        numbers = range(self._begun, self._begun + count)
        self._begun += count
        taken = (self.workloads[number % self._count] for number in numbers)
        rollouts = [Rollout(workload=each, version=f"1.{self._stages}.{n}") for n, each in enumerate(taken)]
        step = Step(f"{count} rollouts at {rate:g}/s", self._say)
        began = time.monotonic()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            asked = []
            for number, rollout in enumerate(rollouts):
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
                asked.append(pool.submit(functools.partial(self._patch, rollout)))
                step.tick(f"{number} begun")
            for each in asked:
                each.result()
        step.done()
        return rollouts

    def _patch(self, rollout: Rollout) -> None:
        workload = rollout.workload
        meta = {"name": workload.name, "namespace": workload.namespace}
        containers = [{"name": "app", "image": workload.image(rollout.version)}]
        self._api.patch(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta},
            {"spec": {"template": {"spec": {"containers": containers}}}},
        )
