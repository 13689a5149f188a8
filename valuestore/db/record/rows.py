"""Rows of tasks, executions, jobs, calls and evaluations, text as any database takes it, and inserts.

Each row is a tuple in the order of its table's columns (schema/tables.py), so it is written
as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from importlib import import_module
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Table, and_, bindparam, not_, select
from xxhash import xxh3_64_hexdigest

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
    code_hash: Digest | None = None


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
    classes_hash: Digest | None = None
    trace_hash: Digest | None = None


class DependencyRow(NamedTuple):
    """A row of ``dependency``: of a version of a task, or of a set of other code (``code_set_hash``)."""

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


class Evaluation(NamedTuple):
    """What one step of a call gave, as long as the code of this trace is what it was; empty: none."""

    eval_hash: Digest
    trace_hash: str
    ref: ValueRef

    def row(self) -> tuple[Any, ...]:
        """The row of ``evaluation``."""
        key = self.eval_hash, self.trace_hash, self.ref.value_hash
        return *key, checksum("".join(key).encode())


class FinishedJob(NamedTuple):
    """What one finished job leaves: its row, and its call, result and cache entry unless they are known."""

    row: JobRow
    call: CallRow | None = None
    result: ValueRef | None = None
    evaluation: Evaluation | None = None


def eval_hash(
    task_hash: Digest, args_hash: Digest, algorithm: str = DEFAULT_ALGORITHM, classes_hash: str | None = None
) -> Digest:
    """The key of the cache: which task, with which arguments, and whatever own classes these brought."""
    parts = [task_hash, args_hash, classes_hash] if classes_hash else [task_hash, args_hash]
    return hash_struct(parts, "evaluation", algorithm=algorithm)


def code_set_hash(parts: Iterable[tuple[str, Digest]], algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """The address of a set of code: its names with their digests."""
    return hash_struct(sorted(parts), "code set", algorithm=algorithm)


checksum = xxh3_64_hexdigest
"""Of the hashes in a row of ``evaluation``, one after the other: damage must not make another value of it."""


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


# --- Inserts: rows into a table, however often and by however many processes at once.


_KEY_COLUMNS = {
    "subvalue": 2,
    "handle_edge": 2,
    "dependency": 2,
    "evaluation": 2,
    "set_member": 2,
    "argument": 2,
    "call_edge": 2,
    "argument_source": 3,
}


def insert(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows, in the order of the table's columns without its own number, by their keys."""
    sql, names = _statement(table, connection.dialect.name)
    ordered = sorted(rows, key=itemgetter(*range(_KEY_COLUMNS.get(table.name, 1))))
    if not ordered:
        return
    if names is None:
        connection.exec_driver_sql(sql, ordered)
    else:
        connection.exec_driver_sql(sql, [dict(zip(names, row, strict=True)) for row in ordered])


@cache
def _statement(table: Table, dialect_name: str) -> tuple[str, list[str] | None]:
    """An INSERT that leaves rows alone which are there, with parameter names if it has named ones.

    Five tables differ: the newest code beside a version replaces the one before; an execution's end its
    start; a value's newest payload the one before, which may be damaged or signed by a foreign key; a call's
    newest result the one before, which may be stale; and
    a call that anybody found not replayable is not.
    """
    dialect = import_module(f"sqlalchemy.dialects.{dialect_name}")  # the other is slow to import
    statement = dialect.insert(table)
    new = statement.excluded
    if table is schema.execution:
        changed = {"status": new.status, "ended": new.ended, "updated": new.updated}
        statement = statement.on_conflict_do_update(index_elements=["execution_id"], set_=changed)
    elif table is schema.value:
        telling = ("type_name", "codec", "payload_digest", "inline")
        same = and_(*[table.c[name].is_not_distinct_from(new[name]) for name in telling])
        columns = (*telling, "size", "preview")
        statement = statement.on_conflict_do_update(
            index_elements=["value_hash"], set_={name: new[name] for name in columns}, where=not_(same)
        )
    elif table is schema.task:
        statement = statement.on_conflict_do_update(
            index_elements=["task_hash"],
            set_={"code_hash": new.code_hash},
            where=table.c.code_hash.is_distinct_from(new.code_hash),
        )
    elif table is schema.evaluation:
        statement = statement.on_conflict_do_update(
            index_elements=["eval_hash", "trace_hash"],
            set_={"value_hash": new.value_hash, "checksum": new.checksum},
            where=table.c.checksum.is_distinct_from(new.checksum),
        )
    elif table is schema.call_node:
        statement = statement.on_conflict_do_update(
            index_elements=["call_hash"],
            set_={"replayable": new.replayable},
            where=table.c.replayable & ~new.replayable,
        )
    else:
        statement = statement.on_conflict_do_nothing()
    names = [column.name for column in table.columns if column is not table.autoincrement_column]
    compiled = statement.compile(dialect=dialect.dialect(), column_keys=names)
    return str(compiled), None if compiled.positional else names
