"""SQLAlchemy statements as SQL text, compiled once.

The write path runs some five statements per event. Compiled text on the driver's own connection costs a few
microseconds each, because `sqlite3` keeps prepared statements by their text; through an engine it is ten
times that.
"""

from sqlalchemy import ClauseElement
from sqlalchemy.dialects import sqlite


def compiled(statement: ClauseElement) -> str:
    """Return SQLite's SQL with `:name` parameters."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))
