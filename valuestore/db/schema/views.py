"""The documented views: what people query. Plural names, readable times, JSON previews of values.

They are dropped and made anew with each migration, so they hold no data and no version of their own.
docs/sql.md describes them column by column.
"""

from __future__ import annotations

import re

CRASHED_AFTER_SECONDS = 30
"""An execution that is running and gave no sign of life for so long reads as ``crashed``."""

NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
}
"""Microseconds since 1970-01-01 UTC, as each database tells them."""


def seconds_sql(table: str) -> str:
    """How long a job took, in SQL, in just the words that are indexed: SQLite takes no others."""
    return f"({table}.ended - {table}.started) / 1000000.0"


def slow_sql(table: str) -> str:
    """Which jobs are in the index of slow ones: those that took 10 ms, so the many others cost it nothing."""
    return f"{seconds_sql(table)} >= 0.01"


def status_sql(dialect: str, alias: str) -> str:
    """The status that an execution reads as, in SQL; ``alias`` names the table there."""
    limit = f"{NOW[dialect]} - {CRASHED_AFTER_SECONDS * 1_000_000}"
    return (
        f"CASE WHEN {alias}.status = 'running' AND COALESCE({alias}.updated, {alias}.started) < {limit} "
        f"THEN 'crashed' ELSE {alias}.status END"
    )


_JOBS = """
        SELECT j.job_id, e.execution_id, j.parent_id, t.task_name AS task, j.status,
               {j.started} AS started,
               {seconds} AS seconds,
               v.type_name AS result_type, v.preview AS result, j.error,
               j.call_hash, t.task_hash, COALESCE(c.args_hash, j.args_hash) AS args_hash, c.value_hash,
               COALESCE(j.calls, 1) AS calls
          FROM job j
          LEFT JOIN execution e ON e.execution_no = j.execution_no
          LEFT JOIN task t ON t.task_no = j.task_no
          LEFT JOIN call_node c ON c.call_hash = j.call_hash
          LEFT JOIN value v ON v.value_hash = c.value_hash
    """

VIEWS = {
    "executions": """
        SELECT e.execution_id, e.label, {status} AS status,
               {e.started} AS started,
               CASE WHEN e.ended IS NOT NULL THEN (e.ended - e.started) / 1000000.0 END AS seconds,
               (SELECT count(*) FROM job j WHERE j.execution_no = e.execution_no) AS jobs,
               (SELECT count(*) FROM job j
                 WHERE j.execution_no = e.execution_no AND j.status = 'done') AS executed,
               (SELECT count(*) FROM job j
                 WHERE j.execution_no = e.execution_no AND j.status = 'cached')
               + COALESCE(e.replayed, 0) AS cached,
               (SELECT count(*) FROM job j
                 WHERE j.execution_no = e.execution_no AND j.status = 'failed') AS failed,
               e.command, COALESCE(e.replayed, 0) AS replayed
          FROM execution e
    """,
    "jobs": _JOBS,
    "running": """
        SELECT l.job_id, l.execution_id, t.task_name AS task,
               {l.started} AS started,
               ({now} - l.started) / 1000000.0 AS seconds
          FROM call_lease l
          JOIN execution e ON e.execution_id = l.execution_id
          LEFT JOIN task t ON t.task_hash = l.task_hash
         WHERE {status} = 'running'
    """,
    "slow_jobs": f"{_JOBS} WHERE {slow_sql('j')}",
    "task_counts": """
        SELECT t.task_name AS task, n.status, CAST(sum(n.jobs) AS BIGINT) AS jobs,
               sum(n.micros) / 1000000.0 AS seconds
          FROM task_count n
          LEFT JOIN task t ON t.task_no = n.task_no
         GROUP BY t.task_name, n.status
    """,
    "arguments": """
        SELECT a.args_hash, a.position, a.name, v.type_name AS type, v.preview AS value, f.path,
               a.value_hash
          FROM argument a
          LEFT JOIN value v ON v.value_hash = a.value_hash
          LEFT JOIN file f ON f.value_hash = a.value_hash
    """,
    "results": """
        SELECT c.call_hash, t.task_name AS task, v.type_name AS type, v.preview AS result, v.size AS bytes,
               f.path, c.args_hash, c.value_hash
          FROM call_node c
          LEFT JOIN task t ON t.task_no = c.task_no
          LEFT JOIN value v ON v.value_hash = c.value_hash
          LEFT JOIN file f ON f.value_hash = c.value_hash
    """,
    "lineage": """
        SELECT c.call_hash, t.task_name AS task, 'argument' AS via, a.name AS argument,
               s.call_hash AS source_call_hash, p.task_name AS source_task, s.value_hash
          FROM argument_source x
          JOIN call_node c ON c.call_no = x.call_no
          JOIN call_node s ON s.call_no = x.source_no
          LEFT JOIN argument a ON a.args_hash = c.args_hash AND a.position = x.position
          LEFT JOIN task t ON t.task_no = c.task_no
          LEFT JOIN task p ON p.task_no = s.task_no
        UNION ALL
        SELECT c.call_hash, t.task_name, 'call', NULL, s.call_hash, p.task_name, s.value_hash
          FROM call_edge x
          JOIN call_node c ON c.call_no = x.parent_no
          JOIN call_node s ON s.call_no = x.child_no
          LEFT JOIN task t ON t.task_no = c.task_no
          LEFT JOIN task p ON p.task_no = s.task_no
    """,
    "files": """
        SELECT f.path, f.kind, 'given' AS role, t.task_name AS task, a.name AS argument, c.call_hash,
               f.value_hash
          FROM file f
          JOIN argument a ON a.value_hash = f.value_hash
          JOIN call_node c ON c.args_hash = a.args_hash
          LEFT JOIN task t ON t.task_no = c.task_no
        UNION ALL
        SELECT f.path, f.kind, 'given', t.task_name, a.name, c.call_hash, f.value_hash
          FROM file f
          JOIN subvalue i ON i.child_hash = f.value_hash
          JOIN argument a ON a.value_hash = i.parent_hash
          JOIN call_node c ON c.args_hash = a.args_hash
          LEFT JOIN task t ON t.task_no = c.task_no
        UNION ALL
        SELECT f.path, f.kind, 'made', t.task_name, NULL, c.call_hash, f.value_hash
          FROM file f
          JOIN call_node c ON c.value_hash = f.value_hash
          LEFT JOIN task t ON t.task_no = c.task_no
        UNION ALL
        SELECT f.path, f.kind, 'made', t.task_name, NULL, c.call_hash, f.value_hash
          FROM file f
          JOIN subvalue i ON i.child_hash = f.value_hash
          JOIN call_node c ON c.value_hash = i.parent_hash
          LEFT JOIN task t ON t.task_no = c.task_no
    """,
    "tags": """
        SELECT g.entity, g.entity_id, g.key, g.value, g.author, {g.created} AS created
          FROM tag g
         WHERE g.ended IS NULL
    """,
    "entries": """
        SELECT e.name, e.version, v.size, v.attrs, v.author, {e.created} AS created,
               {v.modified} AS modified, v.payload_digest, v.value_hash, v.execution_id, e.entry_id
          FROM entry e
          JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version
         WHERE e.deleted IS NULL
    """,
    "storage": """
        SELECT v.type_name AS type, v.codec, count(*) AS number,
               COALESCE(sum(CASE WHEN v.inline IS NOT NULL THEN v.size END), 0) AS inline_bytes,
               COALESCE(sum(CASE WHEN v.inline IS NULL THEN v.size END), 0) AS stored_bytes
          FROM value v
         GROUP BY v.type_name, v.codec
    """,
}
"""View name -> SELECT; ``{e.started}`` and the like are filled in with the dialect's form of the time."""

_PLACE = r"\{([a-z.]+)\}"
_TIME = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S', {column} / 1000000, 'unixepoch')",
    "postgresql": "to_timestamp({column} / 1000000.0)",
}


def create_statements(dialect: str) -> list[str]:
    """The statements that make every view, on ``sqlite`` or ``postgresql``."""
    known = {"status": status_sql(dialect, "e"), "seconds": seconds_sql("j"), "now": NOW[dialect]}

    def filled(place: re.Match[str]) -> str:
        return known.get(place[1]) or _TIME[dialect].format(column=place[1])

    return [f"CREATE VIEW {name} AS {re.sub(_PLACE, filled, sql.strip())}" for name, sql in VIEWS.items()]


def drop_statements() -> list[str]:
    """The statements that remove every view."""
    return [f"DROP VIEW IF EXISTS {name}" for name in VIEWS]
