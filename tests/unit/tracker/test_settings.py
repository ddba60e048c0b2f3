"""The token: read, or made once and kept private."""

from pathlib import Path

import pytest

from rollbook.tracker.settings import TrackerConfigError, TrackerSettings, load_token


def test_a_token_is_made_once_beside_the_database_for_its_owner_only(tmp_path: Path) -> None:
    settings = TrackerSettings(database=tmp_path / "data" / "tracker.db")
    first = load_token(settings)
    second = load_token(settings)
    assert (first.generated, second.generated) == (True, False)
    assert first.value == second.value
    assert len(first.value) > 40
    assert first.path == tmp_path / "data" / "tracker.db.token"
    assert first.path.stat().st_mode & 0o777 == 0o600


def test_a_given_token_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    token = load_token(TrackerSettings(database=tmp_path / "tracker.db", token_file=file))
    assert (token.value, token.generated) == ("0123456789abcdef", False)
    assert not (tmp_path / "tracker.db.token").exists()


@pytest.mark.parametrize("content", ["", "too short", "0123456789 abcdef", "0123456789\nabcdefgh", "ß" * 20])
def test_an_unusable_token_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(TrackerConfigError, match="token file"):
        load_token(TrackerSettings(token_file=file))


def test_a_missing_token_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackerConfigError, match="absent"):
        load_token(TrackerSettings(token_file=tmp_path / "absent"))
