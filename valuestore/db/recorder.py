"""Recorder: rows in, in few transactions.

Finished work is buffered and written by one background thread: 50 ms after the first row, at 1000 jobs,
or at ``flush``, whichever is first. Every table has one statement, and rows that exist already are left
alone, so a batch may be written twice and by many processes. What the rows point to is made durable
before they are. A killed process loses the unflushed rows, which are computed again.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table

from valuestore.db import schema
from valuestore.db.engine import Database
from valuestore.db.jobs import CallRow, ExecutionRow, JobRow, TaskRow
from valuestore.db.numbers import execution_numbers, task_numbers
from valuestore.db.tags import TagRow
from valuestore.errors import StoreClosed
from valuestore.hashing import Digest
from valuestore.values.archive import ValueRef

FLUSH_SECONDS = 0.05
FLUSH_JOBS = 1000
_COMMIT_SHARE = 5
"""After a commit of t seconds the next waits at least this many times t, so commits stay a small share."""
_LONGEST_WAIT_SECONDS = 0.5
_KNOWN_VALUES = 200_000

_ORDER = (
    schema.task,
    schema.execution,
    schema.dependency,
    schema.value,
    schema.payload,
    schema.subvalue,
    schema.file,
    schema.handle,
    schema.handle_edge,
    schema.evaluation,
    schema.set_member,
    schema.call_node,
    schema.call_edge,
    schema.argument,
    schema.argument_source,
    schema.job,
    schema.tag,
)
"""What is pointed to before what points to it."""


class Recorder:
    """Buffers rows for one database. Thread-safe; after a fork the child starts with an empty buffer.

    ``make_durable`` is called before each transaction: the payload store's ``flush``. A failed write keeps
    its rows, and the error is raised by the next ``flush`` or ``record_*`` call.
    """

    def __init__(self, database: Database, make_durable: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self._make_durable = make_durable
        self._statements = {table.name: _insert(table, database) for table in _ORDER}
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._rows: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in _ORDER}
        self._known_values: set[Digest] = set()
        self._jobs = 0
        self._oldest: float | None = None
        self._busy_until = 0.0
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    # --- what can be recorded ---------------------------------------------------------------

    def record_values(self, refs: Iterable[ValueRef]) -> None:
        """Record values and the payloads they point to."""
        with self._adding():
            for ref in refs:
                self._add_value(ref)

    def record_task(self, row: TaskRow) -> None:
        """Record a version of a task."""
        with self._adding():
            self._rows["task"].append(row)

    def record_evaluation(
        self, eval_hash: Digest, task_hash: Digest, args_hash: Digest, ref: ValueRef
    ) -> None:
        """Record what one step of a call gave: the cache entry."""
        with self._adding():
            self._add_value(ref)
            self._rows["evaluation"].append((eval_hash, ref.value_hash))

    def record_arguments(self, args_hash: Digest, arguments: Mapping[str, ValueRef]) -> None:
        """Record what a call is given, by parameter name in the order of the signature."""
        with self._adding():
            for position, (name, ref) in enumerate(arguments.items()):
                self._add_value(ref)
                self._rows["argument"].append((args_hash, position, name, ref.value_hash))

    def record_job(self, job: JobRow, call: CallRow | None, result: ValueRef | None = None) -> None:
        """Record a finished job, and its call with its children unless that is known already."""
        with self._adding():
            if result is not None:
                self._add_value(result)
            if call is not None:
                self._rows["call_node"].append(
                    (
                        call.call_hash,
                        call.task_hash,
                        call.args_hash,
                        call.value_hash,
                        call.task_set_hash,
                        call.external_set_hash,
                        call.replayable,
                    )
                )
                self._rows["call_edge"].extend(
                    (call.call_hash, position, child) for position, child in enumerate(call.children)
                )
            self._rows["job"].append(job)
            self._jobs += 1

    def record_execution(self, row: ExecutionRow) -> None:
        """Record an execution's start, or later its end."""
        with self._adding():
            self._rows["execution"].append(row)

    def record_tags(self, rows: Iterable[TagRow]) -> None:
        """Record tags."""
        with self._adding():
            self._rows["tag"].extend(rows)

    def flush(self) -> None:
        """Write everything recorded so far; when it returns, it is committed.

        Raises: DatabaseError, StoreError; the rows are kept and the next flush tries again.
        """
        if self._pid != os.getpid():
            self._reset()
        self._failure = None
        self._write_batch()

    def close(self) -> None:
        """Flush and stop the background thread; what is recorded later is refused."""
        with self._lock:
            self._closed = True
        try:
            self.flush()
        finally:
            thread, self._thread = self._thread, None
            with self._wake:
                self._wake.notify_all()
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    @property
    def pending(self) -> bool:
        """Whether rows wait to be written."""
        return self._oldest is not None

    # --- buffer and thread ------------------------------------------------------------------

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """Hold the lock while rows are added, and see to it that they will be written.

        Raises: what the last write failed with.
        """
        if self._pid != os.getpid():
            self._reset()
        if self._failure is not None:
            raise self._failure
        with self._lock:
            if self._closed:
                raise StoreClosed(self.database.name)
            yield
            self._added()

    def _add_value(self, ref: ValueRef) -> None:
        if ref.value_hash in self._known_values:
            return
        if len(self._known_values) >= _KNOWN_VALUES:
            self._known_values.clear()
        self._known_values.add(ref.value_hash)
        self._rows["value"].append(
            (ref.value_hash, ref.type_name, ref.codec, ref.payload_digest, ref.size, ref.inline, ref.preview)
        )
        if ref.inline is None:
            self._rows["payload"].append((ref.payload_digest, ref.size))

    def _added(self) -> None:
        """Called with the lock held: start or wake the thread that writes."""
        if self._oldest is None:
            self._oldest = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_flush_in_background,
                    args=(weakref.ref(self),),
                    name="valuestore-recorder",
                    daemon=True,
                )
                self._thread.start()
            self._wake.notify_all()
        elif self._jobs == FLUSH_JOBS:
            self._wake.notify_all()

    def _write_batch(self) -> None:
        with self._writing:
            with self._lock:
                batch = self._rows
                if self._oldest is None:
                    return
                self._rows = {name: [] for name in batch}
                jobs, self._jobs = self._jobs, 0
                self._oldest = None
            started = time.monotonic()
            try:
                self._make_durable()
                with self.database.write() as connection:
                    self._write_rows(connection, batch)
            except BaseException:
                self._put_back(batch, jobs)
                raise
            ended = time.monotonic()
            self._busy_until = ended + min(_COMMIT_SHARE * (ended - started), _LONGEST_WAIT_SECONDS)

    def _write_rows(self, connection: Connection, batch: dict[str, list[tuple[Any, ...]]]) -> None:
        for table in (schema.task, schema.execution):
            if batch[table.name]:
                self._statements[table.name](connection, batch[table.name])
        numbered = _numbered(connection, batch["call_node"], batch["job"])
        for table in _ORDER[2:]:
            rows = numbered.get(table.name, batch[table.name])
            if rows:
                self._statements[table.name](connection, rows)

    def _put_back(self, batch: dict[str, list[tuple[Any, ...]]], jobs: int) -> None:
        with self._lock:
            for name, rows in batch.items():
                self._rows[name][:0] = rows
            self._jobs += jobs
            self._oldest = time.monotonic()


def _numbered(
    connection: Connection, calls: list[tuple[Any, ...]], jobs: list[tuple[Any, ...]]
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of ``call_node`` and ``job`` with numbers in the place of task hashes and execution ids."""
    tasks = task_numbers(connection, {row[1] for row in calls} | {row[3] for row in jobs})
    runs = execution_numbers(connection, {row[1] for row in jobs})
    return {
        "call_node": [(row[0], tasks[row[1]], *row[2:]) for row in calls],
        "job": [(row[0], runs[row[1]], row[2], tasks[row[3]], *row[4:]) for row in jobs],
    }


def _flush_in_background(reference: weakref.ref[Recorder]) -> None:
    """The thread: write when it is time, end when the recorder is closed or gone."""
    while True:
        recorder = reference()
        if recorder is None or recorder._thread is not threading.current_thread():
            return
        with recorder._wake:
            if recorder._oldest is None or recorder._failure is not None:
                recorder._wake.wait(timeout=1.0)
                continue
            due = max(recorder._oldest + FLUSH_SECONDS, recorder._busy_until)
            wait = due - time.monotonic()
            if wait > 0 and recorder._jobs < FLUSH_JOBS:
                recorder._wake.wait(timeout=wait)
                continue
        try:
            recorder._write_batch()
        except Exception as error:  # noqa: BLE001  # raised again by the next call that records or flushes
            recorder._failure = error
        del recorder


def _insert(table: Table, database: Database) -> Callable[[Connection, list[tuple[Any, ...]]], None]:
    """An INSERT that leaves rows alone which are there, but for two tables.

    An execution's end replaces its start, and a call's newest result the one before, which may be stale.
    """
    dialect = import_module(f"sqlalchemy.dialects.{database.dialect.name}")  # the other is slow to import
    insert = dialect.insert(table)
    new = insert.excluded
    if table is schema.execution:
        statement = insert.on_conflict_do_update(
            index_elements=["execution_id"],
            set_={"status": new.status, "ended": new.ended, "updated": new.updated},
        )
    elif table is schema.evaluation:
        statement = insert.on_conflict_do_update(
            index_elements=["eval_hash"], set_={"value_hash": new.value_hash}
        )
    else:
        statement = insert.on_conflict_do_nothing()
    names = [column.name for column in table.columns if column is not table.autoincrement_column]
    compiled = statement.compile(dialect=database.dialect, column_keys=names)
    sql = str(compiled)
    if compiled.positional:
        return lambda connection, rows: _discard(connection.exec_driver_sql(sql, rows))
    return lambda connection, rows: _discard(
        connection.exec_driver_sql(sql, [dict(zip(names, row, strict=True)) for row in rows])
    )


def _discard(_result: object) -> None:
    """An INSERT's result says nothing that is needed."""
