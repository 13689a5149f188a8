"""Numbers: the short numbers by which rows of jobs and calls name their task and execution.

A digest of 32 characters in the row and again in each index of a job would be most of its size. The numbers
hold in one database alone, so nothing outside this folder sees them: the views resolve them.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Column, Connection, bindparam, select

from valuestore.db import schema

_BATCH = 500


def task_numbers(connection: Connection, task_hashes: Collection[str]) -> dict[str, int]:
    """The numbers of these versions of tasks; unknown ones are absent."""
    return _numbers(connection, schema.task.c.task_hash, schema.task.c.task_no, task_hashes)


def execution_numbers(connection: Connection, execution_ids: Collection[str]) -> dict[str, int]:
    """The numbers of these executions; unknown ones are absent."""
    return _numbers(
        connection, schema.execution.c.execution_id, schema.execution.c.execution_no, execution_ids
    )


def call_numbers(connection: Connection, call_hashes: Collection[str]) -> dict[str, int]:
    """The numbers of these calls; unknown ones are absent."""
    return _numbers(connection, schema.call_node.c.call_hash, schema.call_node.c.call_no, call_hashes)


def _numbers(
    connection: Connection, key: Column[str], number: Column[int], wanted: Collection[str]
) -> dict[str, int]:
    statement = select(key, number).where(key.in_(bindparam("wanted", expanding=True)))
    keys = sorted(wanted)
    found: dict[str, int] = {}
    for start in range(0, len(keys), _BATCH):
        rows = connection.execute(statement, {"wanted": keys[start : start + _BATCH]})
        found.update((row[0], row[1]) for row in rows)
    return found
