"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest
import yaml

from rollbook.core import annotations, identity
from tests.docs import settings

ROOT = Path(__file__).parents[2]


def test_the_page_of_settings_is_up_to_date() -> None:
    assert settings.PAGE.read_text() == settings.page(), "run: python -m tests.docs"


def test_every_setting_says_what_it_means() -> None:
    rows = [row for row in settings.page().splitlines() if row.startswith("| `ROLLBOOK_")]
    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_every_annotation_of_the_code_is_documented() -> None:
    told = re.findall(r"^\| ([a-z][a-z, `.<>-]*) \| ", identity.__doc__ or "", re.MULTILINE)
    names = {name.strip(" `") for row in told for name in row.split(",")} - {"annotation"}
    documented = (ROOT / "docs" / "annotations.md").read_text()
    assert len(names) > 8
    assert [name for name in sorted(names) if f"`{name.replace('`', '')}`" not in documented] == []
    assert annotations.PREFIX == "rollbook.dev/"


def test_the_sinks_in_the_documentation_are_valid_sinks() -> None:
    from rollbook.crd.sink import parse  # noqa: PLC0415 - only here

    pages = (ROOT / "README.md").read_text() + (ROOT / "docs" / "sinks.md").read_text()
    objects = [
        each for block in re.findall(r"```yaml\n(.*?)```", pages, re.DOTALL) for each in yaml.safe_load_all(block)
    ]
    sinks = [each for each in objects if each["kind"] == "TrackingSink"]
    assert {each["metadata"]["name"] for each in sinks} == {"chainloop", "launchdarkly"}
    for sink in sinks:
        made = {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        assert parse({**sink, "metadata": {**sink["metadata"], **made}}).spec.type
