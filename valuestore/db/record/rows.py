"""Rows of tasks, executions, jobs, calls and evaluations, and text as any database takes it.

Each row is a tuple in the order of its table's columns (schema/tables.py), so it is written
as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, bindparam, select

from valuestore.db.record.subtree import EMPTY, SubtreeSet
from valuestore.db.schema import tables as schema
from valuestore.hashing import DEFAULT_ALGORITHM, Digest, hash_struct
from valuestore.values.archive import ValueRef


def clean_text(text: str, longest: int = 20_000) -> str:
    """Text that any database takes: lone surrogates and NUL escaped, what is too long cut in the middle."""
    if len(text) <= longest and text.isascii() and "\0" not in text:
        return text
    if len(text) > longest:
        text = f"{text[: longest // 2]} ... {text[-longest // 3 :]}"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class TaskRow(NamedTuple):
    """A row of ``task``."""

    task_hash: Digest
    task_name: str
    version: str | None
    source: str


class ExecutionRow(NamedTuple):
    """A row of ``execution``; ``ended`` is None while it runs."""

    execution_id: str
    label: str
    status: str
    started: int
    ended: int | None
    updated: int | None = None
    command: str | None = None


class JobRow(NamedTuple):
    """A row of ``job``."""

    job_id: str
    execution_id: str
    parent_id: str | None
    task_hash: Digest
    call_hash: Digest | None
    args_hash: Digest | None
    status: str
    started: int
    ended: int
    error: str | None
    traceback: str | None


class DependencyRow(NamedTuple):
    """A row of ``dependency``."""

    task_hash: Digest
    name: str
    digest: Digest
    source: str | None


class TagRow(NamedTuple):
    """A row of ``tag``."""

    tag_id: str
    entity: str
    entity_id: str
    key: str
    value: str
    value_digest: str
    author: str | None
    created: int
    ended: int | None
    ended_by: str | None


class Source(NamedTuple):
    """Where an argument came from: its position in the signature, and a call whose result is in it."""

    position: int
    call_hash: Digest


class CallRow(NamedTuple):
    """A finished call with its children (call hashes, in the order they were called).

    ``tasks`` and ``externals`` are what its subtree depends on; they say all if it is ``replayable``.
    """

    call_hash: Digest
    task_hash: Digest
    args_hash: Digest
    value_hash: Digest
    children: tuple[Digest, ...]
    sources: tuple[Source, ...] = ()
    tasks: SubtreeSet = EMPTY
    externals: SubtreeSet = EMPTY
    replayable: bool = False


class FinishedJob(NamedTuple):
    """What one finished job leaves: its row, and its call, result and cache entry unless they are known."""

    row: JobRow
    call: CallRow | None = None
    result: ValueRef | None = None
    evaluation: tuple[Digest, ValueRef] | None = None


def eval_hash(task_hash: Digest, args_hash: Digest, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """The key of the cache: which task, with which arguments."""
    return hash_struct([task_hash, args_hash], "evaluation", algorithm=algorithm)


def call_hash(
    task_hash: Digest,
    args_hash: Digest,
    value_hash: Digest,
    children: tuple[Digest, ...],
    algorithm: str = DEFAULT_ALGORITHM,
) -> Digest:
    """The address of a finished call: a Merkle node over its children, in the order they were called."""
    return hash_struct([task_hash, args_hash, value_hash, children], "call", algorithm=algorithm)


# --- Rows of values: a ref as the rows that record it, and a row of ``value`` as a ref again.
#
# Most small payloads are the very bytes that the value hash was made from. Their rows have no payload
# digest: the hash itself vouches for them, and it is checked when they are read.


FILE_KINDS = {"valuestore.File": "File", "valuestore.FileSet": "FileSet", "valuestore.Dir": "Dir"}
"""Type names of values that stand for files, with their kind in the table ``file``."""

LONGEST_PATH = 2000
"""Characters of a path that are kept: Postgres indexes no more than 2,704 bytes, and no system has longer."""


def value_row(ref: ValueRef) -> tuple[Any, ...]:
    """The row of ``value``."""
    preview = clean_text(ref.preview)
    type_name = clean_text(ref.type_name)
    return ref.value_hash, type_name, ref.codec, ref.payload_digest, ref.size, ref.inline, preview


def ref_of(row: Any) -> ValueRef:
    """The ref behind the columns of a row of ``value``, in their order. Nothing of it is verified here."""
    return ValueRef(*row)


def file_row(ref: ValueRef) -> tuple[str, str, str] | None:
    """The row of ``file``, for a value that stands for one."""
    kind = FILE_KINDS.get(ref.type_name)
    if kind is None or ref.external is None:
        return None
    return ref.value_hash, clean_text(ref.external)[:LONGEST_PATH], kind


# --- Numbers: the short numbers by which rows of jobs and calls name their task and execution.
#
# A digest of 32 characters in the row and again in each index of a job would be most of its size. The numbers
# hold in one database alone, so nothing outside this folder sees them: the views resolve them.

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
