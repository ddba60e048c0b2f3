"""Performs the story on a cluster, and waits until what is to be known is known."""

import time
from collections.abc import Mapping

from tests.controlplane.api import KubeError, eventually
from tests.controlplane.cluster import ControlPlane
from tests.demo.facts import Facts, differences, gather
from tests.demo.story import ENVIRONMENTS, Known, Place, Step
from tests.stack import Stack

KNOWN_WITHIN = 20.0
"""Seconds in which a step must be known everywhere; the slowest takes three."""


class DemoError(Exception):
    """The story did not go as it is told; the message says where."""


def set_the_scene(cluster: ControlPlane) -> None:
    """Make the namespaces of the story, ready for pods."""
    for namespace, environment in ENVIRONMENTS.items():
        labels = {"rollbook.dev/environment": environment}
        meta = {"name": namespace, "labels": labels}
        cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    eventually(lambda: all(_takes_pods(cluster, namespace) for namespace in ENVIRONMENTS))


def _takes_pods(cluster: ControlPlane, namespace: str) -> bool:
    """Whether its ServiceAccount is there; without it pods are refused for a while."""
    try:
        return bool(cluster.api.get("v1", "ServiceAccount", "default", namespace))
    except KubeError:
        return False


def act(cluster: ControlPlane, step: Step) -> None:
    """Do what the step says."""
    for command in step.commands:
        cluster.kubectl(*(command.really or command.line))


def await_known(stack: Stack, expected: Mapping[Place, Known], within: float = KNOWN_WITHIN) -> Facts:
    """Wait until the tracker and the cluster hold what they must, and return what they hold.

    Raises:
        DemoError: they do not in time; names every difference.
    """
    deadline = time.monotonic() + within
    while wrong := differences(facts := gather(stack), expected):
        if time.monotonic() > deadline:
            raise DemoError(f"not known within {within:.0f} s: " + "; ".join(wrong))
        time.sleep(0.05)
    return facts
