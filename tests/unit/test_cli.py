"""The command line, as a process: what it prints, where, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rollbook import __version__
from rollbook.cli import app

COMMANDS = ("operator", "tracker", "version")


def rollbook(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it, in a pipe, with nothing set but what is given."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("ROLLBOOK_", "POD_"))}
    quiet = {name: value for name, value in ours.items() if name not in {"FORCE_COLOR", "KUBECONFIG"}}
    return subprocess.run(
        [sys.executable, "-m", "rollbook", *arguments],
        env={**quiet, "COLUMNS": "100", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_prints_the_version_and_nothing_else() -> None:
    done = rollbook("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), *((command, "--help") for command in COMMANDS)])
def test_help_is_help(arguments: tuple[str, ...]) -> None:
    done = rollbook(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout
    assert "\x1b" not in done.stdout, "no colours in a pipe"


def test_help_names_every_command() -> None:
    assert {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    } == set(COMMANDS)
    shown = rollbook("--help").stdout
    assert [command for command in COMMANDS if command not in shown] == []


def test_without_a_command_it_shows_help() -> None:
    done = rollbook()
    assert done.returncode in (0, 2)
    assert "Usage: " in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [("operate",), ("operator", "--port", "1"), ("operator", "--listen-port", "x")]
)
def test_a_wrong_command_line_ends_with_2(arguments: tuple[str, ...]) -> None:
    done = rollbook(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (("--log-level", "loud"), {}, "ROLLBOOK_LOG_LEVEL"),
        (("--listen-port", "70000"), {}, "ROLLBOOK_LISTEN_PORT"),
        ((), {"ROLLBOOK_IDLE_GRACE": "-1"}, "ROLLBOOK_IDLE_GRACE"),
        ((), {"ROLLBOOK_NAMESPACE_ENVIRONMENTS": "a"}, "ROLLBOOK_NAMESPACE_ENVIRONMENTS"),
    ],
)
def test_what_is_wrong_is_one_line_on_stderr(
    arguments: tuple[str, ...], variables: dict[str, str], named: str
) -> None:
    done = rollbook("operator", *arguments, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rollbook: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_an_error_is_printed_as_it_is(tmp_path: Path) -> None:
    odd = tmp_path / "[bold]:100:[" / "config"
    done = rollbook("operator", "--kubeconfig", str(odd))
    assert done.returncode == 1
    assert str(odd) in done.stderr, "neither markup nor an emoji"
    assert (done.stderr.count("\n"), done.stderr.count("Traceback")) == (1, 0)


def test_the_trackers_errors_are_one_line_too(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("short")
    arguments = ("--database", str(tmp_path / "tracker.db"), "--token-file", str(token), "--port", "0")
    done = rollbook("tracker", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("rollbook: ")
    assert done.stderr.count("\n") == 1
