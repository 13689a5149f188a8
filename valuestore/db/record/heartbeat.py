"""Heartbeat: running executions say that they are alive; one that has not for a while has crashed.

Times are the database's own, so the clocks of the machines that run and ask need not agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

from valuestore.db.engine.database import Database

BEAT_SECONDS = 5.0

CRASHED_AFTER_SECONDS = 30
"""An execution that is running and gave no sign of life for so long reads as ``crashed``."""

NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
}
"""Microseconds since 1970-01-01 UTC, as each database tells them."""


def status_sql(dialect: str, alias: str) -> str:
    """The status that an execution reads as, in SQL; ``alias`` names the table there."""
    limit = f"{NOW[dialect]} - {CRASHED_AFTER_SECONDS * 1_000_000}"
    return (
        f"CASE WHEN {alias}.status = 'running' AND COALESCE({alias}.updated, {alias}.started) < {limit} "
        f"THEN 'crashed' ELSE {alias}.status END"
    )


def beat(database: Database, execution_ids: Sequence[str]) -> None:
    """Note that these executions are alive. Raises: DatabaseError."""
    statement = text(
        f"UPDATE execution SET updated = {NOW[database.dialect.name]} "  # noqa: S608  # written above
        "WHERE execution_id IN :ids AND status = 'running'"
    ).bindparams(bindparam("ids", expanding=True))

    def update(connection: Connection) -> None:
        connection.execute(statement, {"ids": list(execution_ids)})

    database.transact(update)
