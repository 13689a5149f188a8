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
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from valuestore.db.engine.database import Database
from valuestore.db.record.batch import Batch, Seen
from valuestore.db.record.guard import Guard
from valuestore.db.record.rows import (
    DependencyRow,
    Evaluation,
    ExecutionRow,
    FinishedJob,
    TagRow,
    TaskRow,
)
from valuestore.db.record.writer import Writer
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
_LONGEST_LOG_BYTES = 11 << 20
"""Where a transaction makes SQLite's write-ahead log so long, the next ones are smaller."""
_PATIENCE_SECONDS = 1.0
"""After a failed write: how long the next tries, and how long the thread waits before it."""
_NONE: Mapping[str, str] = {}
running_here: set[str] = set()
"""The executions of this process whose ends are not written; one that could not be is among them no more."""


class Recorder:
    """Buffers rows for one database. Thread-safe; after a fork the child starts with an empty buffer.

    ``make_durable`` is called before each transaction: the payload store's ``flush``. A failed write keeps
    its rows and is tried again, by the thread and by each call of ``flush`` or ``record_*``: these raise what
    it fails by then.
    """

    def __init__(
        self,
        database: Database,
        make_durable: Callable[[], None] = lambda: None,
        guard: Guard | None = None,
    ) -> None:
        self.database = database
        self._make_durable = make_durable
        self._guard = guard
        self._reset()
        renew_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._seen = Seen()
        self._batch = Batch(self._seen)
        self._sealed: list[Batch] = []
        self._most = FLUSH_JOBS
        self._alive: set[str] = set()
        self._beaten = 0.0
        self._oldest: float | None = None
        self._busy_until = 0.0
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    # --- what can be recorded ---------------------------------------------------------------

    def record_values(self, refs: Iterable[ValueRef], *, by_hand: bool = False) -> None:
        """Record values with the values inside them, the payloads they point to and the files they are.

        Each is written whether or not it was before: its row may have been damaged meanwhile (I6). What is
        put ``by_hand`` is kept until it is deleted.
        """
        self._check()
        with self._lock:
            self._expect()
            self._batch.is_asked = True
            for ref in refs:
                self._seen.hashes.discard(ref.value_hash)
                self._batch.add_value(ref)
                if by_hand:
                    self._batch.rows["held"].append((ref.value_hash, None))

    def record_task(self, row: TaskRow, dependencies: Iterable[DependencyRow] = ()) -> None:
        """Record a version of a task, and the code it depends on."""
        self._check()
        with self._lock:
            self._expect()
            self._batch.add_task(row, dependencies)

    def record_code(self, rows: Iterable[DependencyRow]) -> None:
        """Record a set of code that jobs depend on beside that of their tasks."""
        self._check()
        with self._lock:
            self._expect()
            self._batch.add_code(rows)

    def record_evaluation(self, evaluation: Evaluation) -> None:
        """Record what one step of a call gave: the cache entry."""
        self._check()
        with self._lock:
            self._expect()
            self._batch.add_evaluation(evaluation)

    def record_arguments(self, args_hash: Digest, arguments: Mapping[str, ValueRef]) -> None:
        """Record what a call is given, by parameter name in the order of the signature."""
        self._check()
        with self._lock:
            self._expect()
            self._batch.add_arguments(args_hash, arguments)
            if len(self._batch.rows["argument"]) >= 2 * self._most:
                self._seal()

    def record_jobs(self, jobs: Iterable[FinishedJob], released: Mapping[str, str] = _NONE) -> None:
        """Record finished jobs with their calls, results and cache entries.

        With them, or after what was recorded before, end the leases that are ``released``: job ids by key.
        """
        self._check()
        with self._lock:
            self._expect()
            for row, call, result, evaluation in jobs:
                batch = self._batch
                if evaluation is not None:
                    batch.add_evaluation(evaluation)
                if result is not None:
                    batch.add_value(result)
                if call is not None:
                    batch.add_call(call)
                batch.jobs.append(row)
                if len(batch.jobs) >= self._most:
                    self._seal()
            self._batch.released.update(released)

    def record_execution(self, row: ExecutionRow) -> None:
        """Record an execution's start, or later its end. In between it is said to be alive."""
        with self._lock:
            (self._alive.add if row.status == "running" else self._alive.discard)(row.execution_id)
            if row.status == "running":
                running_here.add(row.execution_id)
        try:
            self._check()
        except BaseException:
            running_here.discard(row.execution_id)  # whose end is not to be recorded
            raise
        with self._lock:
            self._expect()
            self._batch.add_execution(row)

    def record_tags(self, rows: Iterable[TagRow]) -> None:
        self._check()
        with self._lock:
            self._expect()
            self._batch.rows["tag"].extend(rows)

    def forget(self, value_hash: Digest | None) -> None:
        """This value's row or payload was found damaged or lost: when it is recorded next, it is written."""
        self._seen.hashes -= {value_hash}

    def flush(self) -> None:
        """Write everything recorded so far; when it returns, it is committed.

        Raises: StoreClosed; StoreError for a value put by hand that was collected before it was written;
        DatabaseError, StoreError: the rows are kept and the next flush tries again.
        """
        if self._closed:
            raise StoreClosed(self.database.name)
        self._failure = None
        self._write_batch()
        if self._guard is not None:
            self._guard.check()

    def drop(self) -> bool:
        """Forget what waits to be written, if it is but the record of what was known: whether it was."""
        with self._writing, self._lock:
            if any(batch.is_asked or batch.rows["evaluation"] for batch in (*self._sealed, self._batch)):
                return False
            _say_ended((*self._sealed, self._batch))
            self._seen.hashes.clear()  # they were to be written
            self._sealed, self._batch = [], Batch(self._seen)
            self._oldest = self._failure = None
            return True

    def close(self) -> None:
        """Flush and stop the background thread; what is recorded later is refused."""
        with self._lock:
            self._closed = True
            running_here.difference_update(self._alive)
            self._alive.clear()
        try:
            self._failure = None
            self._write_batch()
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

    def _check(self) -> None:
        """Raises: what keeps rows from being written, if it still does; StoreReadOnly."""
        self.database.check_writable()
        if self._failure is not None:
            self._write_batch()

    def _expect(self) -> None:
        """With the lock, of which no interrupt can come in between: see to it that rows will be written."""
        if self._closed:
            raise StoreClosed(self.database.name)
        if self._oldest is None:
            self._oldest = time.monotonic()
            if self._thread is None:
                self._start_thread()
            self._wake.notify_all()
        elif self._guard is not None and self._guard.pending.is_full and not self._sealed:
            self._seal()

    def _seal(self) -> None:
        """With the lock: what was recorded so far is a transaction, which is to be written now."""
        self._sealed.append(self._batch)
        self._batch = Batch(self._seen)
        self._wake.notify_all()

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=_write_in_background,
            args=(weakref.ref(self),),
            name="valuestore-recorder",
            daemon=True,
        )
        thread.start()
        self._thread = thread  # after an interrupt in between there is one that ends by itself

    def _write_batch(self) -> None:
        with self._writing:
            patience = None if self._failure is None else _PATIENCE_SECONDS
            started, guard = time.monotonic(), self._guard
            try:
                with self._lock:
                    if self._oldest is None:
                        return
                    self._seal()
                    self._oldest = None
                self._make_durable()
                while self._sealed:
                    batch = self._sealed[0]
                    work = partial(guard.write, batch) if guard else batch.write
                    Writer.transact(self.database, work, patience=patience)
                    if guard:
                        guard.committed(batch)
                    _say_ended([self._sealed.pop(0)])  # not before: who asks has to wait for what they gave
                    if self.database.log_bytes > _LONGEST_LOG_BYTES:  # in a large database each row is a page
                        self._most = FLUSH_JOBS // 3
                self._failure = None
            except BaseException:
                _say_ended(self._sealed)
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
        with suppress(ValuestoreError):
            Writer.transact(self.database, lambda writer: writer.change_all("beat", alive))


def _say_ended(batches: Iterable[Batch]) -> None:
    """Of executions whose ends are in these batches."""
    rows = (row for batch in batches for row in batch.rows["execution"])
    running_here.difference_update(row[0] for row in rows if row[2] != "running")


class Unrecorded:
    """A recorder that keeps nothing, for runs on a database that can only be read."""

    pending = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(Recorder, name):
            raise AttributeError(name)
        return lambda *_, **__: None


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
            if recorder._oldest is None:
                recorder._wake.wait(timeout=1.0)
                continue
            pause = FLUSH_SECONDS if recorder._failure is None else _PATIENCE_SECONDS
            due = max(recorder._oldest + pause, recorder._busy_until)
            wait = due - time.monotonic()
            if wait > 0 and (recorder._failure is not None or not recorder._sealed):
                recorder._wake.wait(timeout=wait)
                continue
        try:
            recorder._write_batch()
        except Exception as error:  # noqa: BLE001  # who records or flushes next finds out whether it lasts
            recorder._failure = error
        del recorder
