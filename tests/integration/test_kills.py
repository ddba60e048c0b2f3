"""The demo's story with an operator that dies again and again: no crash loses, repeats or reorders anything."""

import itertools
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.controlplane.api import eventually
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.installing import service_account_token
from tests.controlplane.kubeconfig import kubeconfig
from tests.demo.facts import differences, gather, strangers
from tests.demo.performance import act, await_known, set_the_scene
from tests.demo.story import GRACES, Known, Place, Step, outcome, tell
from tests.faults.kills import EVENTS, RECORDS, Aim, Assassin, Hit, classify, deck
from tests.faults.proxy import Proxy
from tests.stack import NAMESPACE, Stack

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(900)]

KILLS = 50
SEED = "ROLLBOOK_KILLS_SEED"
"""The environment variable that repeats a run's aims."""

AGAIN = 0.3
"""The share of restarts that are killed too, before or after they are in sync."""

WAIT = 20.0
"""Seconds for a step to be killed or known."""


@dataclass(kw_only=True)
class Ordeal:
    """One run: the operator behind two proxies, and somebody who is after it."""

    stack: Stack
    kube: Proxy
    tracker: Proxy
    rng: random.Random
    aims: list[Aim]
    assassin: Assassin = field(default_factory=Assassin)
    hits: list[Hit] = field(default_factory=list)
    life: float = 0.0

    def perform(self, step: Step) -> None:
        """Do what the step says, kill while it is being recorded, and wait until all is known after all."""
        began, times = time.monotonic(), 0
        while self.aims and (times == 0 or self.rng.random() < AGAIN):
            self._kill(step, began, act_first=times == 0)
            times += 1
            self._start(in_sync=False)
        if times == 0:
            act(self.stack.cluster, step)
        self.stack.wait_in_sync()
        await_known(self.stack, step.then)

    def _kill(self, step: Step, began: float, *, act_first: bool) -> None:
        aim = self.aims.pop()
        if not act_first and not aim.at:
            aim = Aim(delay=aim.delay * 4)  # its start takes longer than a step
        self.assassin.arm(self.stack.operator_pid, aim)
        if act_first:
            act(self.stack.cluster, step)
        deadline = time.monotonic() + WAIT
        while not self.assassin.has_struck(0.05):
            if time.monotonic() > deadline or not differences(gather(self.stack), step.then):
                self.assassin.strike()
        self.stack.kill_operator()
        eventually(lambda: self.kube.connections == self.tracker.connections == 0)
        assert self.assassin.killed is not None
        asked = (*self.kube.exchanges, *self.tracker.exchanges)
        self.hits.append(classify(asked, step=began, life=self.life, killed=self.assassin.killed))

    def _start(self, *, in_sync: bool) -> None:
        self.life = time.monotonic()
        self.stack.start_operator(in_sync=in_sync)

    def begin(self) -> None:
        """The first life, undisturbed."""
        self._start(in_sync=True)


@contextmanager
def ordeal(home: Path, seed: int) -> Iterator[Ordeal]:
    """Everything up and in sync."""
    with ControlPlane() as cluster, Stack(cluster, home, settings={**GRACES}) as stack:
        stack.install()
        stack.start_tracker()
        set_the_scene(cluster)
        with Proxy(cluster.server, ca=cluster.ca) as kube, Proxy(stack.tracker.url) as tracker:
            _lead_through(stack, kube, tracker)
            rng = random.Random(seed)  # noqa: S311  # aims, no secrets
            run = Ordeal(stack=stack, kube=kube, tracker=tracker, rng=rng, aims=deck(rng, KILLS))
            kube.hook = tracker.hook = run.assassin.hook
            run.begin()
            yield run
            stack.stop_operator()


def _lead_through(stack: Stack, kube: Proxy, tracker: Proxy) -> None:
    """Point the operator and its sink at the proxies."""
    cluster, user = stack.cluster, "rollbook"
    token = service_account_token(cluster.api, NAMESPACE, user, seconds=14_400)
    stack._kubeconfig = stack.home / "through-the-proxy.kubeconfig"
    stack._kubeconfig.write_text(kubeconfig(server=kube.url, ca=cluster.ca, user=user, token=token))
    stack.add_sink(spec={"tracker": {"endpoint": tracker.url}})
    hosts = {"rollbook.dev/hosts": tracker.url.removeprefix("http://")}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tracker", "namespace": NAMESPACE}}
    cluster.api.patch(secret, {"metadata": {"annotations": hosts}})


def test_fifty_kills_lose_repeat_and_reorder_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    _say(capsys, f"repeat these aims with {SEED}={seed}")
    expected: dict[Place, Known] = {}
    with ordeal(tmp_path, seed) as run:
        began = time.monotonic()
        for number in itertools.count():
            steps = tell(f"-{number}")
            for step in steps:
                run.perform(step)
            expected |= outcome(steps)
            if not run.aims:
                break
        _say(capsys, *_histogram(run, time.monotonic() - began))
        facts = gather(run.stack)
        assert differences(facts, expected) == []
        assert strangers(facts, expected) == []
        _assert_told_once(run)
        _assert_nothing_owed(run.stack)
    assert len(run.hits) == KILLS
    assert set(run.hits) == set(Hit), "every kind of moment was hit"


def _say(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    with capsys.disabled():
        sys.stderr.write("".join(f"\n{line}" for line in lines))
        sys.stderr.flush()


def _histogram(run: Ordeal, seconds: float) -> Iterator[str]:
    found = Counter(run.hits)
    yield f"{len(run.hits)} kills in {seconds:.0f} s:"
    yield from (f"{found[hit]:4}  {'#' * found[hit]:<16} {hit}" for hit in Hit)
    yield f"{_posts(run, EVENTS).total()} rollout events and {_posts(run, RECORDS).total()} records sent"


def _posts(run: Ordeal, path: str) -> Counter[str]:
    """How often each delivery was sent to the tracker; a rollout event is known by slot and sequence number."""
    sent = (
        each for each in run.tracker.exchanges if (each.method, each.path) == ("POST", path) and each.forwarded
    )
    return Counter(
        each.json["deploymentMetadata"]["id"] if path == EVENTS else each.body.decode() for each in sent
    )


def _assert_told_once(run: Ordeal) -> None:
    """A rollout event reached the tracker once; a record may come again, and then is the same one."""
    assert {each: times for each, times in _posts(run, EVENTS).items() if times > 1} == {}
    refused = [each for each in run.tracker.exchanges if each.method == "POST" and each.status // 100 != 2]
    assert refused == []


def _assert_nothing_owed(stack: Stack) -> None:
    slots = stack.cluster.api.find("rollbook.dev/v1alpha1", "EnvironmentSlot", NAMESPACE)
    owed = [
        slot["metadata"]["name"] for slot in slots if slot["status"]["undelivered"] or slot["status"]["parked"]
    ]
    assert owed == []
    assert [line for line in stack.logged("failed") if "trace" in line] == [], "no bug was met"
