"""The demo tells its story, checks it, stays up where somebody is looking, and leaves nothing behind."""

import copy
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.controlplane import images
from tests.controlplane.api import eventually
from tests.controlplane.installing import CHECKOUT
from tests.demo.facts import Facts, differences, strangers
from tests.demo.narration import Narrator
from tests.demo.story import Known, Place, outcome, tell

DEMO = [sys.executable, "-m", "tests.demo"]


@pytest.mark.controlplane
def test_without_a_terminal_it_tells_the_story_in_plain_text_and_checks_it() -> None:
    done = subprocess.run(
        DEMO, cwd=CHECKOUT, env={**os.environ, "CI": "1"}, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "\x1b" not in done.stdout
    told = [
        r"\$ kubectl -n shop-prod set image deployment/web web=registry\.example/shop/web:1\.1\.0",
        r"production +web  1\.1\.0 DEPLOYED [0-9a-f]{12}, 1\.0\.0 SUPERSEDED .*started, finished",
        r"production +cart .*rollout of 2\.1\.0: started, failed \(ImagePullBackOff\)",
        r"\$ kubectl -n shop-prod rollout undo deployment/cart",
        r"development +cart  2\.0\.0 DECOMMISSIONED",
        r"\$ kubectl get dr -A",
        r"NAMESPACE +NAME +ENVIRONMENT +ARTIFACT +VERSION +DIGEST +STATUS",
        r"shop-prod +web-web-\S+ +production +registry\.example/shop/web +1\.0\.0 +[0-9a-f]{12} +DEPLOYED .* 1/1",
        r"The tracker's page: +http://127\.0\.0\.1:\d+/",
        r"export KUBECONFIG=",
        r"Checked: the tracker, the records and the running pods agree with the story\.",
    ]
    assert [line for line in told if not re.search(line, done.stdout)] == []


@pytest.mark.controlplane
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_on_a_terminal_it_stays_up_until_ctrl_c_and_leaves_no_process() -> None:
    with on_a_terminal() as (process, screen, type_in):
        shown = "".join(_until(screen, "It stays up until Ctrl-C."))
        assert "\x1b[" in shown, "coloured"
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        page = _found(r"page: +(http://\S+)", plain)
        kubeconfig = Path(_found(r"KUBECONFIG=(\S+)", plain))
        assert "shop-prod/web/web" in httpx.get(page).text
        assert kubeconfig.is_file()
        group = _descendants(process.pid)
        assert len(group) >= 8, "the operator, the tracker and the control plane"
        type_in("\x03")
        assert process.wait(timeout=30) == 0
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in group), within=10)
        assert not kubeconfig.exists()


@contextmanager
def on_a_terminal() -> Iterator[tuple[subprocess.Popen[bytes], int, Callable[[str], int]]]:
    """The demo with a terminal of its own: the process, what it shows, and how to type."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}}
    with subprocess.Popen(
        [sys.executable, "-c", _AS_FOREGROUND, *DEMO[1:]],
        cwd=CHECKOUT,
        env={**environment, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield process, ours, lambda text: os.write(ours, text.encode())
        finally:
            process.kill()
            os.close(ours)


_AS_FOREGROUND = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Ctrl-C reaches who has the terminal as its controlling one."""


def _until(screen: int, end: str) -> Iterator[str]:
    """What is shown, until `end` is."""
    shown = ""
    while end not in shown:
        try:
            text = os.read(screen, 65536).decode(errors="replace")
        except OSError:  # its end is closed
            pytest.fail(f"it ended early: {shown[-3000:]}")
        shown += text
        yield text


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def _descendants(pid: int) -> list[int]:
    """The process and all that it has started."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [pid, *(each for child in children for each in _descendants(child))]


def test_every_step_says_what_must_be_known_of_the_places_that_it_touches() -> None:
    for step in tell():
        touched = {command.line[1] for command in step.commands}
        assert touched == {place.namespace for place in step.then}
        assert all(known.history and known.events for known in step.then.values())


PLACE = next(place for place in outcome(tell()) if (place.namespace, place.container) == ("shop-prod", "web"))
KNOWN = outcome(tell())[PLACE]


def faithful() -> Facts:
    """What the tracker and the cluster would show of one place if all is well."""
    history = [(version, images.digest(PLACE.image(version)), status) for version, status in KNOWN.history]
    return Facts(
        slots=[
            {
                "environment_name": PLACE.environment,
                "deployment_name": PLACE.deployment_name,
                "history": [
                    {"artifact": {"version": version, "digest": digest}, "status": status}
                    for version, digest, status in history
                ],
            }
        ],
        rollouts=[
            {
                "environmentKey": PLACE.environment,
                "applicationKey": PLACE.application,
                "events": [
                    {"sequence": number, "version": version, "eventType": kind, "eventMetadata": {}}
                    for number, (version, kind) in enumerate(KNOWN.events)
                ],
            }
        ],
        records=[
            {
                "metadata": {"namespace": PLACE.namespace},
                "spec": {"workload": {"name": PLACE.application}},
                "status": {
                    "version": version,
                    "digest": digest,
                    "status": status,
                    "delivered": "1/1",
                    "rollback": status == "DEPLOYED",
                },
            }
            for version, digest, status in history[-2:]
        ],
        pods=[
            {
                "metadata": {"namespace": PLACE.namespace, "labels": {"app": PLACE.application}},
                "status": {"containerStatuses": [{"ready": True, "imageID": f"web@{history[-1][1]}"}]},
            }
        ],
    )


def doctored(change: Callable[[Facts], object]) -> Facts:
    """The same with one thing changed."""
    facts = copy.deepcopy(faithful())
    change(facts)
    return facts


OTHER = "sha256:" + "0" * 64


def test_what_is_as_it_should_be_shows_no_difference() -> None:
    assert differences(faithful(), {PLACE: KNOWN}) == []
    assert strangers(faithful(), {PLACE: KNOWN}) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda it: it.slots[0]["history"][1].update(status="DEPLOYED"), "history in the tracker"),
        (lambda it: it.slots[0]["history"][2]["artifact"].update(digest=OTHER), "history in the tracker"),
        (lambda it: it.slots[0]["history"].reverse(), "history in the tracker"),
        (lambda it: it.slots.clear(), "history in the tracker"),
        (lambda it: it.rollouts[0]["events"].pop(), "rollout events"),
        (
            lambda it: it.rollouts[0]["events"].append({**it.rollouts[0]["events"][0], "sequence": 9}),
            "rollout events",
        ),
        (lambda it: it.rollouts[0]["events"][0].update(sequence=9), "rollout events"),
        (
            lambda it: it.rollouts[0]["events"][3].update(eventType="failed"),
            "reason of the last failure|rollout events",
        ),
        (lambda it: it.records.pop(0), "records in the cluster"),
        (lambda it: it.records[-1]["status"].update(digest=OTHER), "records in the cluster"),
        (lambda it: it.records[-1]["status"].update(rollback=False), "recorded as a rollback"),
        (lambda it: it.records[-1]["status"].update(delivered="0/1"), "deliveries outstanding"),
        (
            lambda it: it.pods[0]["status"]["containerStatuses"][0].update(imageID=f"web@{OTHER}"),
            "digests of the ready",
        ),
    ],
)
def test_each_difference_is_named_with_its_place(change: Callable[[Facts], object], named: str) -> None:
    found = differences(doctored(change), {PLACE: KNOWN})
    assert found
    assert all(re.match(f"production web: ({named})", line) for line in found), found


def test_what_the_story_does_not_know_of_is_named() -> None:
    assert strangers(faithful(), {}) == [
        "production shop-prod/web/web: the tracker has it, the story does not",
        "production web: the tracker has it, the story does not",
    ]


def test_a_difference_is_told_and_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    planted: dict[Place, Known] = {PLACE: Known(slot="1.0.0 DEPLOYED", told=KNOWN.told, rollback=True)}
    assert Narrator().verdict(differences(faithful(), planted)) == 1
    assert "wrong: production web: history in the tracker: [('1.0.0', " in capsys.readouterr().out
    assert Narrator().verdict(differences(faithful(), {PLACE: KNOWN})) == 0


def test_what_stops_it_is_one_line(tmp_path: Path) -> None:
    fake = tmp_path / "etcd"
    fake.write_text("#!/bin/sh\necho no etcd here; exit 1\n")
    fake.chmod(0o755)
    done = subprocess.run(
        DEMO,
        cwd=CHECKOUT,
        env={**os.environ, "KUBEBUILDER_ASSETS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if not line.startswith("controlplane ")] == [
        "demo: etcd ended; its log ends with: no etcd here"
    ]
