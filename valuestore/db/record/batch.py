"""Batch: rows that are written together in one transaction, in an order that many processes can share.

Rows that exist already are left alone or get the same content, so a batch may be written twice, and by
many processes: after a lost connection the same batch is simply written again. Tables come in one order,
and rows by their keys, so that two writers never wait for each other in a circle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from valuestore.db.record.rows import (
    CallRow,
    DependencyRow,
    Evaluation,
    ExecutionRow,
    JobRow,
    TaskRow,
    clean_text,
    count_rows,
    file_row,
    signature_row,
    value_row,
)
from valuestore.db.record.writer import Writer
from valuestore.db.schema.kept import key_lists
from valuestore.hashing import Digest
from valuestore.redaction import redact_source
from valuestore.values.archive import ValueRef

Rows = list[tuple[Any, ...]]

_ORDER = (
    "task",
    "execution",
    "dependency",
    "value",
    "signature",
    "payload",
    "subvalue",
    "file",
    "held",
    "evaluation",
    "set_member",
    "call_node",
    "call_edge",
    "argument_source",
    "argument",
    "job",
    "tag",
    "task_count",
)
"""What is pointed to before what points to it; last what writers wait for each other at."""

_LONGEST_SOURCE = 1_000_000


class Seen:
    """What a recorder has written before, so that it is not written again; forgets when there is much."""

    def __init__(self, most: int = 200_000) -> None:
        self.hashes: set[Digest] = set()
        self.tasks: dict[str, TaskRow] = {}
        self.code: dict[str, tuple[DependencyRow, ...]] = {}  # of these
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
    """Rows by table, calls and jobs apart: those get their numbers when they are written; leases that end."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.rows: dict[str, Rows] = {table: [] for table in _ORDER}
        self.calls: list[CallRow] = []
        self.jobs: list[JobRow] = []
        self.released: dict[str, str] = {}
        self.refs: list[ValueRef] = []  # of all values, whether or not they were written before
        self.given: dict[Digest, Mapping[str, ValueRef]] = {}  # arguments, likewise
        self.known: list[CallRow] = []  # calls that were written before
        self.is_asked = False  # whether somebody asked for a value to be kept

    # --- filling ------------------------------------------------------------------------------

    def add_value(self, ref: ValueRef) -> None:
        """A value, the values inside it, and what files they stand for."""
        self.refs.append(ref)
        stack, walked = [ref], set[int]()
        while stack:
            current = stack.pop()
            if id(current) in walked:
                continue
            walked.add(id(current))
            if self.seen.is_new(current.value_hash):
                self.rows["value"].append(value_row(current))
                if current.signature is not None:
                    self.rows["signature"].append(signature_row(current))
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
        self.seen.tasks[row.task_hash], self.seen.code[row.task_hash] = row, tuple(dependencies)
        self.rows["task"].append(row)
        self.add_code(self.seen.code[row.task_hash])

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
        self.given[args_hash] = arguments
        is_new = self.seen.is_new(args_hash)
        for position, (name, ref) in enumerate(arguments.items()):
            self.add_value(ref)
            if is_new:
                self.rows["argument"].append((args_hash, position, _text(name), ref.value_hash))

    def add_call(self, call: CallRow) -> None:
        """A finished call, and its sets; again if it made others, since a replay goes by the newest."""
        is_known = not self.seen.is_new(call.call_hash) and not call.children
        (self.known if is_known else self.calls).append(call)
        for whole in () if is_known else (call.tasks, call.externals):
            if whole.is_set:
                for one in whole.unrecorded(self.seen.hashes):
                    self.rows["set_member"].extend(one.rows())

    # --- writing ------------------------------------------------------------------------------

    def write(self, writer: Writer) -> None:
        """Write everything, in the transaction that is on."""
        self._keep_signed(writer)
        for table in _ORDER:
            if table == "job" and self.jobs:
                self.rows["task_count"] = count_rows(writer.insert_new("job", self._job_rows(writer)))
            else:
                writer.insert(table, self._numbered(writer, table))
        writer.release(self.released)

    def _numbered(self, writer: Writer, table: str) -> Rows:
        if table == "call_node" and self.calls:
            return self._call_rows(writer)
        if table == "call_edge" and self.calls:
            self._number_edges(writer)
        return self.rows[table]

    def _keep_signed(self, writer: Writer) -> None:
        """Leave to other keys the small bytes that they signed, where a value's row is to get others."""
        signed = {row[0]: row[3] for row in self.rows["signature"]}
        for some in key_lists(signed):
            digests = json.dumps([signed[value_hash] for value_hash in json.loads(some)])
            writer.change("keep signed", keys=some, digests=digests)

    def _call_rows(self, writer: Writer) -> Rows:
        tasks = self._numbers(writer, "task", {one.task_hash for one in self.calls}, self.seen.tasks)
        return [call.row(tasks[call.task_hash]) for call in self.calls]

    def _job_rows(self, writer: Writer) -> Rows:
        tasks = self._numbers(writer, "task", {job.task_hash for job in self.jobs}, self.seen.tasks)
        runs = self._numbers(
            writer, "execution", {job.execution_id for job in self.jobs}, self.seen.executions
        )
        return [(job[0], runs[job[1]], job[2], tasks[job[3]], *job[4:]) for job in self.jobs]

    def _number_edges(self, writer: Writer) -> None:
        """Fill in the rows that point from call to call; a call that nobody recorded is left out."""
        linked = [call for call in self.calls if call.children or call.sources]
        wanted = {call.call_hash for call in linked}
        for call in linked:
            wanted.update(call.children)
            wanted.update(source.call_hash for source in call.sources)
        numbers = writer.numbers("call_node", wanted)
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

    def _numbers(self, writer: Writer, table: str, wanted: set[Any], known: Mapping[Any, Any]) -> Any:
        """Numbers by hash or id; the row of one that somebody has removed is written again."""
        numbers = writer.numbers(table, wanted)
        if missing := wanted - numbers.keys():
            writer.insert(table, [known[one] for one in missing])
            numbers |= writer.numbers(table, missing)
        return numbers


def _text(text: str) -> str:
    return clean_text(text, _LONGEST_SOURCE)


def _source(code: str) -> str:
    return _text(redact_source(code))
