"""The table of settings, from the settings themselves."""

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from rollbook.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

INTRODUCTION = """\
# Settings

The operator takes its settings from environment variables; the most used are flags of `rollbook operator` too,
and a flag wins. A wrong value is refused at start, with its name and what is allowed. Durations are in seconds.
Lists are separated by commas.

This page is made from the code: `python -m tests.docs`.
"""

COMPUTED = {
    "namespace": "the pod's (`POD_NAMESPACE`), else `rollbook-system`",
    "identity": "the pod's name (`POD_NAME`), else unique",
}
"""Defaults that depend on where it runs."""


def page() -> str:
    """The whole page."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    table = ["| variable | default | allowed | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([INTRODUCTION, *table, ""])


def _row(name: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("\n", " ")
    allowed = _allowed(Settings.model_json_schema()["properties"][name])
    return (
        f"| `ROLLBOOK_{name.upper()}` | {COMPUTED.get(name) or _default(field.default)} | {allowed} | {meaning} |"
    )


def _default(value: Any) -> str:
    if value in (None, "", ()):
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "maximum" in schema:
        return f"{schema['minimum']:g} to {schema['maximum']:g}"
    words = {"boolean": "`true`, `false`", "array": "a list", "string": "text"}
    return words.get(schema.get("type", ""), "text")
