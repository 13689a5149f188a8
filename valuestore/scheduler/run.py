"""Run: brings one expression to its value, as an event loop over its jobs.

The story of a call: its inner calls finish (``_schedule``), its arguments get an identity and the cache
is asked (``_turn``), its body runs elsewhere (``_submit``), what it returned may hold calls of its own
(``_step``), and its result is recorded and handed on (``_finish``). All of it happens on the thread that
called ``run``; bodies run in executors.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, NoReturn

from valuestore.db.ids import new_id, now
from valuestore.errors import PayloadError, StoreError, TaskError
from valuestore.executors.worker import Outcome, run_body
from valuestore.hashing import ATOMS, Digest
from valuestore.repository import Repository
from valuestore.scheduler.cache import Cache, Lost
from valuestore.scheduler.handles import Handles
from valuestore.scheduler.job import NO_STEP, UNLOADED, Job, Result, Within, externals_in
from valuestore.scheduler.labels import Tagging
from valuestore.scheduler.record import Execution, Recording
from valuestore.tasks.call import Call, evaluate, find_calls, find_expressions
from valuestore.tasks.tag import tags_kept_by
from valuestore.values.archive import ValueRef
from valuestore.values.code.trace import nobodys
from valuestore.values.codecs.plain import SIGNED, TAGGED
from valuestore.values.handles.journal import journal_kept_by
from valuestore.values.identity.inside import calls_refused
from valuestore.values.value import hooks_in_use

TURN_JOBS = 1000
"""Ready jobs that are looked up together; bounds what their arguments keep in memory."""


class Run:
    """The loop, with what it holds between its turns. Used once."""

    def __init__(
        self,
        repository: Repository,
        executor_of: Callable[[str | None], Executor],
        execution: Execution,
        tags: Mapping[str, Any],
    ) -> None:
        self.archive = repository.archive
        self.recorder = repository.recorder
        self.executor_of = executor_of
        self.counts = execution.counts
        self.tagging = Tagging(repository, execution, tags)
        self.handles = Handles(repository)
        self.cache = Cache(repository, self.handles)
        self.recording = Recording(repository, execution)
        self.jobs: dict[int, Job] = {}
        self.kept: list[Call] = []
        self.first: dict[str, Job] = {}
        self.ready: deque[Job] = deque()
        self.reducible: deque[Job] = deque()
        self.outcomes: queue.SimpleQueue[tuple[Job, Future[Outcome]]] = queue.SimpleQueue()
        self.running: dict[Future[Outcome], Job] = {}

    def value_of(self, expression: Any) -> Any:
        """The value of ``expression``. Raises: what a task raises; ValuestoreError.

        Whatever happens, what finished before is recorded.
        """
        self.tagging.begin()
        self.recording.begin()
        try:
            with nobodys(), journal_kept_by(self.handles), tags_kept_by(self.tagging.keep), calls_refused():
                value = self._loop(expression)
        except KeyboardInterrupt:
            try:
                self._keep_finished()
            finally:
                self._close("interrupted")
            raise
        except BaseException:
            try:
                self._drain()
            finally:
                self._close("failed")
            raise
        self._close("done")
        return value

    def _loop(self, expression: Any) -> Any:
        while True:
            self._schedule(expression, None)
            while self.ready or self.running or self.reducible:
                while self.reducible:
                    self._reduce(self.reducible.popleft())
                if self.ready:
                    self._turn([self.ready.popleft() for _ in range(min(TURN_JOBS, len(self.ready)))])
                self.recording.hand_over()
                self.tagging.keep_checkout()
                self._collect(wait=not (self.ready or self.reducible))
            if self.counts.waiting:
                endless = next(job.call for job in self.jobs.values() if job.result is None)
                raise TaskError("a call waits for its own result:", repr(endless))
            try:
                return evaluate(expression, self._value)
            except Lost as lost:
                self._redo(lost.job)

    def _close(self, status: str) -> None:
        for future in self.running:
            future.cancel()
        self.recording.end(status)
        self.tagging.end()
        self.handles.flush()
        self.recorder.flush()

    # --- waiting -----------------------------------------------------------------------------

    def _schedule(self, obj: Any, parent: Job | None) -> list[Job]:
        """Make jobs for the calls in ``obj`` and for those in their arguments; return the former."""
        made: deque[Job] = deque()
        within = Within(obj, self.archive.registry.hash) if "preprocess" in hooks_in_use else None
        direct = [self._job(call, parent, made, within) for call in find_calls(obj)]
        while made:
            job = made.popleft()
            for position, argument in enumerate(job.call._arguments.values()):
                if type(argument) not in ATOMS:
                    for call in find_calls(argument):
                        job.calls.append((position, call))
                        self._await(job, self._job(call, parent, made, within))
            if job.needed == 0:
                self.ready.append(job)
        return direct

    def _job(self, call: Call, parent: Job | None, made: deque[Job], within: Within | None) -> Job:
        job = self.jobs.get(id(call))
        if job is None:
            job = self.jobs[id(call)] = Job(call, parent, within)
            self.counts.waiting += 1
            made.append(job)
            if parent is not None:
                parent.children.append(job)
        return job

    def _job_of(self, call: Call) -> Job:
        return self.jobs[id(call)]

    def _value(self, call: Call) -> Any:
        return self.cache.value(self.jobs[id(call)])

    def _await(self, job: Job, other: Job) -> None:
        if other.result is None:
            job.needed += 1
            other.waiters.append(job)

    def _redo(self, lost: Job, waiter: Job | None = None) -> None:
        """Run a job again whose result was there and then could not be read."""
        if lost.result is not None:  # else somebody else has asked for it already
            lost.job_id, lost.result, lost.forced, lost.children = new_id(), None, True, []
            self.counts.waiting += 1
            self.ready.append(lost)
        if waiter is not None:
            self._await(waiter, lost)

    # --- ready, and run -----------------------------------------------------------------------

    def _turn(self, jobs: list[Job]) -> None:
        """Identify ready jobs, ask the cache for all of them at once, submit the misses."""
        moment = now()
        asked = [job for job in jobs if self._identify(job, moment)]
        found = self.cache.find([job for job in asked if not job.forced])
        self._enter_handles([job for job in asked if job.forced or job.eval_hash not in found])
        for job in asked:
            result = None if job.forced else found.get(job.eval_hash)
            if result is not None:
                self.counts.waiting -= 1
                job.trace_hash = result.trace_hash
                self._step(job, result, "cached", moment)
            else:
                self._submit(job)

    def _identify(self, job: Job, moment: int) -> bool:
        """Whether the cache is to be asked: not for a call that this run has met already."""
        job.started = moment
        try:
            job.task_hash = self.cache.code.task_hashes.get(id(job.task)) or self._met(job)
            self.tagging.job_id = job.parent.job_id if job.parent else None
            self.cache.identify(job, self._job_of)
        except Lost as lost:
            self._redo(lost.job, job)
            return False
        except Exception as error:  # noqa: BLE001  # recorded, and raised again as it is
            self._fail(job, error)
        first = self.first.setdefault(job.eval_hash, job)
        if first is job:
            return True
        self.jobs[id(job.call)] = first  # whoever needs this call's value from now on asks there
        self.kept.append(job.call)  # or its id would be given to another call
        if first.result is None:
            first.twins.append(job)
        else:
            self._finish_twin(job, first)
        return False

    def _met(self, job: Job) -> Digest:
        """The hash of a task that this run meets for the first time, which is recorded."""
        job.task_hash = self.cache.code.task_hash(job.task)
        self.recording.task(job, *self.cache.code.task_row(job.task))
        return job.task_hash

    def _enter_handles(self, jobs: list[Job]) -> None:
        stale = self.handles.enter(jobs)
        if stale is not None:
            self._fail(*stale)

    def _submit(self, job: Job) -> None:
        try:
            values = {argument.name: self.cache.private_value(argument) for argument in job.arguments}
        except Lost as lost:
            self._redo(lost.job, job)
            return
        except PayloadError as error:
            self._fail(job, error)
        watched = [values[one.name] for one in job.arguments if self.cache.may_go_stale(one)]
        self.recording.started(job)
        self._record_arguments(job)
        args, kwargs = job.task.call_arguments(values, job.call._given)
        job.status = "running"
        self.counts.waiting -= 1
        self.counts.running += 1
        executor = self.executor_of(job.task.executor)
        capture = bool(job.task.capture)
        version = self.cache.code.version(job.task, self.recording.execution.execution_id)
        future = executor.submit(
            run_body, job.task.func, args, kwargs, self.archive, watched, job.eval_hash, capture, version
        )
        self.running[future] = job
        future.add_done_callback(lambda done: self.outcomes.put((job, done)))

    def _record_arguments(self, job: Job) -> None:
        try:
            refs = {argument.name: self.cache.stored(argument) for argument in job.arguments}
        except StoreError as error:
            self.recording.warn_not_cached(job, f"its arguments cannot be stored: {error}")
        else:
            self.recording.arguments(job, refs)

    def _collect(self, *, wait: bool) -> None:
        """Take in what executors have finished; with ``wait``, at least one outcome."""
        while self.running:
            try:
                job, future = self.outcomes.get(block=wait)
            except queue.Empty:
                return
            wait = False
            self._outcome(job, future)

    def _outcome(self, job: Job, future: Future[Outcome]) -> None:
        del self.running[future]
        self.counts.running -= 1
        error = future.exception()
        if error is not None:
            self._fail(job, error)
        outcome = future.result()
        job.started = outcome.started
        job.trace_hash = self.cache.code.trace_hash(outcome.reached)
        self.recording.reads(job, outcome.reads)
        self.handles.leave(job, outcome)
        if outcome.ref is None:
            self.recording.warn_not_cached(job, outcome.refused)
        elif job.task.cache:
            job.evaluated = outcome.ref
        self._step(job, _result(outcome.value, outcome.ref), "done", outcome.ended)

    def _step(self, job: Job, result: Result, status: str, ended: int) -> None:
        """One step of a call is done: finish it, or first run the calls that it returned."""
        job.status = status
        plain = result.ref is not None and result.ref.codec not in (TAGGED, SIGNED)
        if plain or not find_expressions(result.value):
            self._finish(job, result, ended)
            return
        job.step = result.value
        self.recording.step(job)
        for child in self._schedule(job.step, job):
            self._await(job, child)
        if not job.needed:
            self.reducible.append(job)

    def _reduce(self, job: Job) -> None:
        """All calls that a body returned are done: put their values in their places."""
        step, job.step = job.step, NO_STEP
        self.tagging.job_id = job.job_id
        try:
            value = evaluate(step, self._value)
            ref, refused = self.archive.try_pack(value)
        except Lost as lost:
            job.step = step
            self._redo(lost.job, job)
            return
        except Exception as error:  # noqa: BLE001  # recorded, and raised again as it is
            self._fail(job, error)
        if ref is None:
            self.recording.warn_not_cached(job, refused)
        self._finish(job, _result(value, ref), now())

    # --- finished ----------------------------------------------------------------------------

    def _finish(self, job: Job, result: Result, ended: int) -> None:
        self.recording.finished(job, result, ended)
        if result.ref is not None and result.ref.inline is None and not job.forced:
            result.value = UNLOADED  # large results are kept in the store, not in memory
        twins, job.twins = job.twins, []
        for twin in twins:
            self._finish_twin(twin, job)
        self._notify(job)

    def _finish_twin(self, twin: Job, first: Job) -> None:
        self.recording.shared(twin, first)
        self._notify(twin)

    def _notify(self, job: Job) -> None:
        waiters, job.waiters = job.waiters, []
        for waiter in waiters:
            waiter.needed -= 1
            if not waiter.needed:
                (self.ready if waiter.step is NO_STEP else self.reducible).append(waiter)

    # --- failed ------------------------------------------------------------------------------

    def _fail(self, job: Job, error: BaseException) -> NoReturn:
        """Record the failure and raise the error as it is."""
        self.recording.failed(job, error)
        with suppress(Exception):  # an exception may refuse to be added to
            error.add_note(
                f"in task {job.task.name}, job {job.job_id}; `valuestore show {job.job_id}` has more"
            )
        raise error

    def _drain(self) -> None:
        """Cancel what has not started; what runs already is let finish, and kept for the next run."""
        for future in list(self.running):
            if future.cancel():
                del self.running[future]
        while self.running:
            job, future = self.outcomes.get()
            if self.running.pop(future, None) is not None:
                self._keep(job, future)

    def _keep_finished(self) -> None:
        """Keep what has finished by now, without waiting for the rest."""
        while not self.outcomes.empty():
            self._keep(*self.outcomes.get())

    def _keep(self, job: Job, future: Future[Outcome]) -> None:
        """Remember what a body gave, though this run will not go on with it."""
        if future.cancelled() or future.exception() is not None:
            return
        outcome = future.result()
        self.handles.leave(job, outcome)
        job.trace_hash = self.cache.code.trace_hash(outcome.reached)
        if outcome.ref is not None and job.task.cache:
            job.evaluated = outcome.ref
            self.recording.step(job)
            if not find_expressions(outcome.value):
                job.status, job.started = "done", outcome.started
                self._finish(job, _result(outcome.value, outcome.ref), outcome.ended)


def _result(value: Any, ref: ValueRef | None) -> Result:
    return Result(value, ref, externals_in(ref), ref.classes) if ref is not None else Result(value, None)
