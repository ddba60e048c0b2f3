"""What the embedded tracker needs to know before it starts, and the token that opens it."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

MINIMUM_TOKEN_LENGTH = 16
"""Characters. A shorter token in a file is refused: it guards everything that the tracker knows."""


class TrackerConfigError(Exception):
    """The tracker can not start as configured; the message names the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """Settings of one tracker process.

    Attributes:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        database: SQLite file, made at first start together with its folder.
        token_file: File that holds the access token, which must exist. Without it a token is generated
            at first start, into a file beside the database that only the owner can read.
        public_page: Whether the web page, which shows names, versions and digests, can be read without
            the token. The APIs always need it.
    """

    host: str = "127.0.0.1"
    port: int = 8484
    database: Path = Path("tracker.db")
    token_file: Path | None = None
    public_page: bool = False

    @property
    def generated_token_file(self) -> Path:
        """Where a generated token lies: `<database>.token`."""
        return self.database.with_name(f"{self.database.name}.token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The access token, and where it came from.

    Attributes:
        value: The secret itself; never logged.
        path: The file that holds it.
        generated: Whether this start made it.
    """

    value: str
    path: Path
    generated: bool


def load_token(settings: TrackerSettings) -> Token:
    """Read the access token, or make one where no file was named.

    Raises:
        TrackerConfigError: The file can not be read or written, or holds no usable token.
    """
    if settings.token_file is not None:
        return _read(settings.token_file)
    path = settings.generated_token_file
    return _read(path) if path.exists() else _generate(path)


def _read(path: Path) -> Token:
    try:
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TrackerConfigError(f"token file {path}: {error}") from error
    if len(value) < MINIMUM_TOKEN_LENGTH or not value.isprintable() or " " in value:
        raise TrackerConfigError(
            f"token file {path}: a token is at least {MINIMUM_TOKEN_LENGTH} printable characters without spaces"
        )
    return Token(value=value, path=path, generated=False)


def _generate(path: Path) -> Token:
    value = secrets.token_urlsafe(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive, and private from its first moment: nobody else reads it between creation and chmod.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{value}\n")
    except OSError as error:
        raise TrackerConfigError(f"token file {path}: {error}") from error
    return Token(value=value, path=path, generated=True)
