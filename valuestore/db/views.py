"""The documented views: what people query. Plural names, readable times, JSON previews of results.

They are dropped and made anew with each migration, so they hold no data and no version of their own.
"""

from __future__ import annotations

from valuestore.db.heartbeat import status_sql

VIEWS = {
    "executions": """
        SELECT e.execution_id, e.label, {status} AS status,
               {started} AS started,
               CASE WHEN e.ended IS NOT NULL THEN (e.ended - e.started) / 1000000.0 END AS seconds,
               (SELECT count(*) FROM job j WHERE j.execution_no = e.execution_no) AS jobs,
               (SELECT count(*) FROM job j
                 WHERE j.execution_no = e.execution_no AND j.status = 'done') AS executed,
               (SELECT count(*) FROM job j
                 WHERE j.execution_no = e.execution_no AND j.status = 'cached') AS cached,
               (SELECT count(*) FROM job j
                 WHERE j.execution_no = e.execution_no AND j.status = 'failed') AS failed
          FROM execution e
    """,
    "jobs": """
        SELECT j.job_id, e.execution_id, j.parent_id, t.task_name AS task, j.status,
               {started} AS started,
               (j.ended - j.started) / 1000000.0 AS seconds,
               v.type_name AS result_type, v.preview AS result, j.error,
               j.call_hash, t.task_hash, COALESCE(c.args_hash, j.args_hash) AS args_hash, c.value_hash
          FROM job j
          LEFT JOIN execution e ON e.execution_no = j.execution_no
          LEFT JOIN task t ON t.task_no = j.task_no
          LEFT JOIN call_node c ON c.call_hash = j.call_hash
          LEFT JOIN value v ON v.value_hash = c.value_hash
    """,
}
"""View name -> SELECT; ``{started}`` and ``{status}`` are filled in for the dialect."""

_STARTED = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S', {alias}.started / 1000000, 'unixepoch')",
    "postgresql": "to_timestamp({alias}.started / 1000000.0)",
}


def create_statements(dialect: str) -> list[str]:
    """The statements that make every view, on ``sqlite`` or ``postgresql``."""
    statements = []
    for name, select in VIEWS.items():
        alias = name[0]
        body = select.format(started=_STARTED[dialect].format(alias=alias), status=status_sql(dialect, alias))
        statements.append(f"CREATE VIEW {name} AS {body.strip()}")
    return statements


def drop_statements() -> list[str]:
    """The statements that remove every view."""
    return [f"DROP VIEW IF EXISTS {name}" for name in VIEWS]
