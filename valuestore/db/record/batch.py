"""Batch: rows that are written together in one transaction, in an order that many processes can share.

Rows that exist already are left alone or get the same content, so a batch may be written twice, and by
many processes: after a lost connection the same batch is simply written again. Tables come in one order,
and rows by their keys, so that two writers never wait for each other in a circle. Filled and written by
the recorder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table

from valuestore.db.record.rows import (
    CallRow,
    DependencyRow,
    Evaluation,
    ExecutionRow,
    JobRow,
    TaskRow,
    call_numbers,
    clean_text,
    execution_numbers,
    file_row,
    insert,
    task_numbers,
    value_row,
)
from valuestore.db.schema import tables as schema
from valuestore.hashing import Digest
from valuestore.redaction import redact_source
from valuestore.values.archive import ValueRef

Rows = list[tuple[Any, ...]]

_ORDER = (
    schema.task,
    schema.execution,
    schema.dependency,
    schema.value,
    schema.payload,
    schema.subvalue,
    schema.file,
    schema.evaluation,
    schema.set_member,
    schema.call_node,
    schema.call_edge,
    schema.argument_source,
    schema.argument,
    schema.job,
    schema.tag,
)
"""What is pointed to before what points to it."""

_LONGEST_SOURCE = 1_000_000


class Seen:
    """What a recorder has written before, so that it is not written again; forgets when there is much."""

    def __init__(self, most: int = 200_000) -> None:
        self.hashes: set[Digest] = set()
        self.tasks: dict[str, TaskRow] = {}
        self.executions: dict[str, ExecutionRow] = {}
        self._most = most

    def is_new(self, digest: Digest) -> bool:
        """Whether this is the first time that the hash is met; it is known from now on."""
        if digest in self.hashes:
            return False
        if len(self.hashes) >= self._most:
            self.hashes.clear()
        self.hashes.add(digest)
        return True


class Batch:
    """Rows by table, calls and jobs apart: those get their numbers when they are written."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.rows: dict[str, Rows] = {table.name: [] for table in _ORDER}
        self.calls: list[CallRow] = []
        self.jobs: list[JobRow] = []

    # --- filling ------------------------------------------------------------------------------

    def add_value(self, ref: ValueRef) -> None:
        """A value, the values inside it, and what files they stand for."""
        stack = [ref]
        walked: set[int] = set()
        while stack:
            current = stack.pop()
            if id(current) in walked:
                continue
            walked.add(id(current))
            if self.seen.is_new(current.value_hash):
                self.rows["value"].append(value_row(current))
                if current.inline is None:
                    self.rows["payload"].append((current.payload_digest, current.size))
                if current.external is not None and (row := file_row(current)):
                    self.rows["file"].append(row)
            for part in current.parts:  # a known value may come with more: a file's content, captured later
                if self.seen.is_new(Digest(f"{current.value_hash} {part.value_hash}")):
                    self.rows["subvalue"].append((current.value_hash, part.value_hash))
                stack.append(part)

    def add_task(self, row: TaskRow, dependencies: Iterable[DependencyRow] = ()) -> None:
        """A version of a task and the code it depends on."""
        version = None if row.version is None else _text(row.version)
        row = TaskRow(row.task_hash, _text(row.task_name), version, _source(row.source), row.code_hash)
        self.seen.tasks[row.task_hash] = row
        self.rows["task"].append(row)
        self.add_code(dependencies)

    def add_code(self, rows: Iterable[DependencyRow]) -> None:
        """The parts of a version of a task, or of another set of code."""
        for one in rows:
            source = None if one.source is None else _source(one.source)
            self.rows["dependency"].append((one.task_hash, _text(one.name), one.digest, source))

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """A cache entry with its value."""
        self.add_value(evaluation.ref)
        self.rows["evaluation"].append(evaluation.row())

    def add_execution(self, row: ExecutionRow) -> None:
        """An execution as it is now."""
        self.seen.executions[row.execution_id] = row
        self.rows["execution"].append(row)

    def add_arguments(self, args_hash: Digest, arguments: Mapping[str, ValueRef]) -> None:
        """What calls are given."""
        is_new = self.seen.is_new(args_hash)
        for position, (name, ref) in enumerate(arguments.items()):
            self.add_value(ref)
            if is_new:
                self.rows["argument"].append((args_hash, position, _text(name), ref.value_hash))

    def add_call(self, call: CallRow) -> None:
        """A finished call, and the sets of what it depends on."""
        if not self.seen.is_new(call.call_hash):
            return
        self.calls.append(call)
        for whole in (call.tasks, call.externals):
            if whole.is_set:
                for one in whole.unrecorded(self.seen.hashes):
                    self.rows["set_member"].extend(one.rows())

    # --- writing ------------------------------------------------------------------------------

    def write(self, connection: Connection) -> None:
        """Write everything on a connection that is in a transaction."""
        for table in _ORDER:
            insert(connection, table, self._numbered(connection, table))

    def _numbered(self, connection: Connection, table: Table) -> Rows:
        if table is schema.call_node and self.calls:
            return self._call_rows(connection)
        if table is schema.call_edge and self.calls:
            self._number_edges(connection)
        if table is schema.job and self.jobs:
            return self._job_rows(connection)
        return self.rows[table.name]

    def _call_rows(self, connection: Connection) -> Rows:
        tasks = self._task_numbers(connection, {call.task_hash for call in self.calls})
        return [_call_row(call, tasks[call.task_hash]) for call in self.calls]

    def _job_rows(self, connection: Connection) -> Rows:
        tasks = self._task_numbers(connection, {job.task_hash for job in self.jobs})
        runs = self._execution_numbers(connection, {job.execution_id for job in self.jobs})
        return [(job[0], runs[job[1]], job[2], tasks[job[3]], *job[4:]) for job in self.jobs]

    def _number_edges(self, connection: Connection) -> None:
        """Fill in the rows that point from call to call; a call that nobody recorded is left out."""
        linked = [call for call in self.calls if call.children or call.sources]
        wanted = {call.call_hash for call in linked}
        for call in linked:
            wanted.update(call.children)
            wanted.update(source.call_hash for source in call.sources)
        numbers = call_numbers(connection, wanted)
        edges: Rows = []
        sources: Rows = []
        for call in linked:
            own = numbers[call.call_hash]
            for position, child in enumerate(call.children):
                if child in numbers:
                    edges.append((own, position, numbers[child]))
            sources += [
                (own, source.position, numbers[source.call_hash])
                for source in call.sources
                if source.call_hash in numbers
            ]
        self.rows["call_edge"], self.rows["argument_source"] = edges, sources

    def _task_numbers(self, connection: Connection, hashes: set[Any]) -> dict[str, int]:
        """The numbers of tasks; the row of one that somebody has removed is written again."""
        numbers = task_numbers(connection, hashes)
        if missing := hashes - numbers.keys():
            insert(connection, schema.task, [self.seen.tasks[one] for one in missing])
            numbers |= task_numbers(connection, missing)
        return numbers

    def _execution_numbers(self, connection: Connection, ids: set[str]) -> dict[str, int]:
        numbers = execution_numbers(connection, ids)
        if missing := ids - numbers.keys():
            insert(connection, schema.execution, [self.seen.executions[one] for one in missing])
            numbers |= execution_numbers(connection, missing)
        return numbers


def _text(text: str) -> str:
    return clean_text(text, _LONGEST_SOURCE)


def _source(code: str) -> str:
    return _text(redact_source(code))


def _call_row(call: CallRow, task_no: int) -> tuple[Any, ...]:
    own_alone = call.tasks.set_hash == call.task_hash
    return (
        call.call_hash,
        task_no,
        call.args_hash,
        call.value_hash,
        None if own_alone else call.tasks.set_hash,
        call.externals.set_hash,
        call.replayable,
    )
