"""Logs: JSON lines, ours and those of libraries alike."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from rollbook import logs


class Terminal(io.StringIO):
    """A stream with somebody before it."""

    def isatty(self) -> bool:  # type: ignore[explicit-override]  # typing.override: Python 3.12
        """Yes."""
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging is the process's own: put it back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


def configured(
    monkeypatch: pytest.MonkeyPatch, level: str = "info", out: io.StringIO | None = None
) -> io.StringIO:
    out = out or io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    logs.configure(level)
    return out


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    out = configured(monkeypatch)
    logs.logger("rollbook.test").info("transition", slot="a-b", seq=3, digest=None)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "transition",
        "level": "info",
        "logger": "rollbook.test",
        "slot": "a-b",
        "seq": 3,
        "digest": None,
    }


def test_what_libraries_log_takes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    out = configured(monkeypatch)
    logging.getLogger("kopf.reactor").warning("watching %s", "pods")
    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"]) == ("watching pods", "warning", "kopf.reactor")


def test_a_traceback_and_a_line_break_stay_on_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out = configured(monkeypatch)
    try:
        int("two\nlines")
    except ValueError:
        logs.logger("rollbook.test").exception("a part has ended")
        logging.getLogger("library").exception("it has, too")
    first, second = lines(out)
    for line in (first, second):
        assert line["exception"].startswith("Traceback")
        assert "ValueError: invalid literal" in line["exception"]


def test_what_is_no_json_is_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    out = configured(monkeypatch)
    logs.logger("rollbook.test").info("odd", what={1, 2}, where=b"bytes")
    (line,) = lines(out)
    assert line["what"] == "{1, 2}"


@pytest.mark.parametrize(("level", "seen"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_counts_for_all(monkeypatch: pytest.MonkeyPatch, level: str, seen: int) -> None:
    out = configured(monkeypatch, level)
    log = logs.logger(f"rollbook.test.{level}")
    log.debug("d")
    log.info("i")
    log.warning("w")
    assert len(lines(out)) == seen


def test_the_chatter_of_libraries_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    out = configured(monkeypatch)
    for name in ("kopf.objects", "httpx", "httpcore", "aiohttp.access"):
        logging.getLogger(name).info("GET / 200")
    assert out.getvalue() == ""


def test_a_terminal_gets_text_and_a_pipe_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = configured(monkeypatch, out=Terminal())
    logs.logger("rollbook.terminal").info("in sync", slots=3)
    assert "in sync" in shown.getvalue()
    assert not shown.getvalue().startswith("{")
    piped = configured(monkeypatch)
    logging.getLogger("rollbook.pipe").info("in sync")
    assert "\x1b" not in piped.getvalue()
    assert lines(piped)[0]["event"] == "in sync"
