"""Recorder: rows in, in few transactions.

Finished work is buffered and written by one background thread: 50 ms after the first row, at 1000 jobs,
or at ``flush``, whichever is first. What the rows point to is made durable before they are. A killed
process loses the unflushed rows, which are computed again. The same thread tells the database every few
seconds that the executions that are running here still run.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

from sqlalchemy import Connection, bindparam, text

from valuestore.db.engine.database import Database
from valuestore.db.record.batch import Batch, Seen
from valuestore.db.record.rows import (
    DependencyRow,
    Evaluation,
    ExecutionRow,
    FinishedJob,
    TagRow,
    TaskRow,
)
from valuestore.db.schema.views import NOW
from valuestore.errors import StoreClosed, ValuestoreError
from valuestore.hashing import Digest
from valuestore.lazy import renew_after_fork
from valuestore.values.archive import ValueRef

FLUSH_SECONDS = 0.05
FLUSH_JOBS = 1000
BEAT_SECONDS = 5.0
"""How often executions that are running here are said to be alive."""
_COMMIT_SHARE = 5
"""After a commit of t seconds the next waits at least this many times t, so commits stay a small share."""
_LONGEST_WAIT_SECONDS = 0.5


class Recorder:
    """Buffers rows for one database. Thread-safe; after a fork the child starts with an empty buffer.

    ``make_durable`` is called before each transaction: the payload store's ``flush``. A failed write keeps
    its rows, and the error is raised by the next ``flush`` or ``record_*`` call.
    """

    def __init__(self, database: Database, make_durable: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self._make_durable = make_durable
        self._reset()
        renew_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._adding = _Adding(self)
        self._seen = Seen()
        self._batch = Batch(self._seen)
        self._failed: list[Batch] = []
        self._alive: set[str] = set()
        self._beaten = 0.0
        self._oldest: float | None = None
        self._busy_until = 0.0
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    # --- what can be recorded ---------------------------------------------------------------

    def record_values(self, refs: Iterable[ValueRef]) -> None:
        """Record values with the values inside them, the payloads they point to and the files they are.

        Each is written whether or not it was before: its row may have been damaged meanwhile (I6).
        """
        with self._adding:
            for ref in refs:
                self._seen.hashes.discard(ref.value_hash)
                self._batch.add_value(ref)

    def record_task(self, row: TaskRow, dependencies: Iterable[DependencyRow] = ()) -> None:
        """Record a version of a task, and the code it depends on."""
        with self._adding:
            self._batch.add_task(row, dependencies)

    def record_code(self, rows: Iterable[DependencyRow]) -> None:
        """Record a set of code that jobs depend on beside that of their tasks."""
        with self._adding:
            self._batch.add_code(rows)

    def record_evaluation(self, evaluation: Evaluation) -> None:
        """Record what one step of a call gave: the cache entry."""
        with self._adding:
            self._batch.add_evaluation(evaluation)

    def record_arguments(self, args_hash: Digest, arguments: Mapping[str, ValueRef]) -> None:
        """Record what a call is given, by parameter name in the order of the signature."""
        with self._adding:
            self._batch.add_arguments(args_hash, arguments)

    def record_jobs(self, jobs: Iterable[FinishedJob]) -> None:
        """Record finished jobs with their calls, results and cache entries."""
        with self._adding:
            batch = self._batch
            for row, call, result, evaluation in jobs:
                if evaluation is not None:
                    batch.add_evaluation(evaluation)
                if result is not None:
                    batch.add_value(result)
                if call is not None:
                    batch.add_call(call)
                batch.jobs.append(row)

    def record_execution(self, row: ExecutionRow) -> None:
        """Record an execution's start, or later its end. In between it is said to be alive."""
        with self._adding:
            (self._alive.add if row.status == "running" else self._alive.discard)(row.execution_id)
            self._batch.add_execution(row)

    def record_tags(self, rows: Iterable[TagRow]) -> None:
        """Record tags."""
        with self._adding:
            self._batch.rows["tag"].extend(rows)

    def forget(self, value_hash: Digest) -> None:
        """This value's row or payload was found damaged or lost: when it is recorded next, it is written."""
        self._seen.hashes.discard(value_hash)

    def flush(self) -> None:
        """Write everything recorded so far; when it returns, it is committed.

        Raises: DatabaseError, StoreError; the rows are kept and the next flush tries again.
        """
        self._failure = None
        self._write_batch()

    def close(self) -> None:
        """Flush and stop the background thread; what is recorded later is refused."""
        with self._lock:
            self._closed = True
            self._alive.clear()
        try:
            self.flush()
        finally:
            with self._wake:
                thread, self._thread = self._thread, None
                self._wake.notify_all()
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    @property
    def pending(self) -> bool:
        """Whether rows wait to be written."""
        return self._oldest is not None

    # --- buffer and thread ------------------------------------------------------------------

    def _begin(self) -> None:
        """Take the lock for adding rows. Raises: what the last write did; StoreClosed; StoreReadOnly."""
        self.database.check_writable()
        if self._failure is not None:
            raise self._failure
        self._lock.acquire()
        if self._closed:
            self._lock.release()
            raise StoreClosed(self.database.name)

    def _end(self) -> None:
        """See to it that what was added will be written, and release the lock."""
        try:
            if self._oldest is None:
                self._oldest = time.monotonic()
                if self._thread is None:
                    self._start_thread()
                self._wake.notify_all()
            elif len(self._batch.jobs) >= FLUSH_JOBS:
                self._wake.notify_all()
        finally:
            self._lock.release()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(
            target=_write_in_background,
            args=(weakref.ref(self),),
            name="valuestore-recorder",
            daemon=True,
        )
        self._thread.start()

    def _write_batch(self) -> None:
        with self._writing:
            with self._lock:
                if self._oldest is None:
                    return
                self._failed.append(self._batch)
                self._batch = Batch(self._seen)
                self._oldest = None
            started = time.monotonic()
            try:
                self._make_durable()
                while self._failed:
                    self.database.transact(self._failed[0].write)
                    del self._failed[0]
            except BaseException:
                self._oldest = time.monotonic()
                raise
            ended = time.monotonic()
            self._busy_until = ended + min(_COMMIT_SHARE * (ended - started), _LONGEST_WAIT_SECONDS)

    def _beat_if_due(self) -> None:
        """Say that the executions here are alive; a database that is busy hears it the next time."""
        with self._lock:
            alive = sorted(self._alive)
        if not alive or time.monotonic() - self._beaten < BEAT_SECONDS:
            return
        self._beaten = time.monotonic()
        try:
            beat(self.database, alive)
        except ValuestoreError:
            return


class _Adding:
    """Holds a recorder's lock while rows are added. One object for all: it is entered several times a job."""

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = weakref.proxy(recorder)

    def __enter__(self) -> None:
        self._recorder._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder._end()


def _write_in_background(reference: weakref.ref[Recorder]) -> None:
    """The thread: write when it is time, end when the recorder is closed or gone."""
    while True:
        recorder = reference()
        if recorder is None:
            return
        recorder._beat_if_due()
        with recorder._wake:
            if recorder._thread is not threading.current_thread():  # with the lock: no notice is missed
                return
            if recorder._oldest is None or recorder._failure is not None:
                recorder._wake.wait(timeout=1.0)
                continue
            due = max(recorder._oldest + FLUSH_SECONDS, recorder._busy_until)
            wait = due - time.monotonic()
            if wait > 0 and len(recorder._batch.jobs) < FLUSH_JOBS:
                recorder._wake.wait(timeout=wait)
                continue
        try:
            recorder._write_batch()
        except Exception as error:  # noqa: BLE001  # raised again by the next call that records or flushes
            recorder._failure = error
        del recorder


def beat(database: Database, execution_ids: Sequence[str]) -> None:
    """Note that these executions are alive. Raises: DatabaseError."""
    statement = text(
        f"UPDATE execution SET updated = {NOW[database.dialect.name]} "  # noqa: S608  # written above
        "WHERE execution_id IN :ids AND status = 'running'"
    ).bindparams(bindparam("ids", expanding=True))

    def update(connection: Connection) -> None:
        connection.execute(statement, {"ids": list(execution_ids)})

    database.transact(update)
