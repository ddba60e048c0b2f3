"""The rules of tests/conftest.py hold: a test that leaves a task behind fails, a seed is shown, skips are told."""

import subprocess
import sys
from pathlib import Path

from tests.controlplane.installing import CHECKOUT

LEAKS = """
import asyncio

async def test_leaves_a_task():
    asyncio.create_task(asyncio.sleep(60), name="forgotten")

async def test_ends_its_task():
    await asyncio.create_task(asyncio.sleep(0))

def test_without_a_loop():
    assert True
"""

MARKED = """
import pytest

@pytest.mark.controlplane
def test_marked(): raise AssertionError("ran")

def test_asks(control_plane): raise AssertionError("ran")

def test_plain(): pass
"""


def run(tmp_path: Path, text: str, *options: str) -> str:
    """What pytest says about a test file under our conftest."""
    file = tmp_path / "test_it.py"
    file.write_text(text)
    ours = ["-c", str(CHECKOUT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *ours, "--rootdir", str(tmp_path), *options, str(file)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_test_that_leaves_a_task_behind_fails_and_the_task_is_named(tmp_path: Path) -> None:
    said = run(tmp_path, LEAKS)
    assert "3 passed, 1 error" in said
    assert "the test left asyncio tasks behind" in said
    assert "name='forgotten'" in said


def test_the_seed_of_random_tests_is_shown_and_can_be_given(tmp_path: Path) -> None:
    assert "repeat with --hypothesis-seed=" in run(tmp_path, LEAKS)
    assert "repeat with --hypothesis-seed=7\n" in run(tmp_path, LEAKS, "--hypothesis-seed=7")


def test_what_needs_a_control_plane_is_skipped_only_when_told_and_says_so(tmp_path: Path) -> None:
    said = run(tmp_path, MARKED, "--no-control-plane")
    assert "1 passed, 2 skipped" in said
    assert "--no-control-plane was given: not run against a real control plane" in said
