"""Run: brings one expression to its value, as an event loop over its jobs.

The story of a call: its inner calls finish (waiting.py), its arguments get an identity and the cache
is asked (``_turn``), its body runs elsewhere (bodies.py), what it returned may hold calls of its own
(``step``), and its result is recorded and handed on (``finish``). All of it happens on the thread that
called ``run``. Control flow is run here (flow.py); an error goes to those that wait (``fail``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, Any

from valuestore.db.ids import now
from valuestore.hashing import Digest
from valuestore.repository import Repository
from valuestore.scheduler.bodies.running import Bodies, result_of
from valuestore.scheduler.cache import Cache, Lost
from valuestore.scheduler.code import AnyTask, Code
from valuestore.scheduler.failure import Stopped, endless, error_of, failed_jobs, is_needed, raised
from valuestore.scheduler.flow import Flows, check_not_let_go
from valuestore.scheduler.handles import Handles
from valuestore.scheduler.job import NO_STEP, UNLOADED, Job, Result, added
from valuestore.scheduler.labels import Tagging
from valuestore.scheduler.record import Execution, Recording
from valuestore.scheduler.waiting import Once, Waiting
from valuestore.tasks.call import Call, evaluate, find_expressions
from valuestore.tasks.context import Context, nested
from valuestore.tasks.options import Asked, Resolver, merged
from valuestore.tasks.renewed import renewed
from valuestore.tasks.tag import tags_kept_by
from valuestore.values.code.trace import nobodys
from valuestore.values.codecs.plain import SIGNED, TAGGED
from valuestore.values.handles.journal import journal_kept_by
from valuestore.values.identity.inside import calls_refused

if TYPE_CHECKING:
    from concurrent.futures import Executor

TURN_JOBS = 1000
"""Ready jobs that are looked up together; bounds what their arguments keep in memory."""


class Run:
    """The loop, with what it holds between its turns. Used once."""

    def __init__(
        self,
        repository: Repository,
        executor_of: Callable[[str | None], Executor],
        execution: Execution,
        asked: Asked,
        at_once: int,
    ) -> None:
        self.stops, self.as_group, self.at_once = asked.on_error == "stop", asked.errors == "group", at_once
        self.options = Resolver(repository.settings.tasks, asked)
        context = Context(merged(nested(repository.settings.context), nested(asked.context)))
        self.archive = repository.archive
        self.recorder = repository.recorder
        self.counts = execution.counts
        self.tagging = Tagging(repository, execution, asked.tags)
        self.handles = Handles(repository)
        code = Code(repository, self._met, self.options, context)
        self.cache = Cache(repository, self.handles, code)
        self.recording = Recording(repository, execution)
        self.waiting = Waiting(execution.counts, self.archive.registry, self.options, context)
        self.jobs = self.waiting.jobs
        self.roots: list[Job] = []
        self.met: dict[int, Digest] = {}
        self.first: dict[object, Job] = {}
        self.ready, self.reducible = self.waiting.ready, self.waiting.reducible
        self.flows = Flows(repository, self, self.waiting, self.recording)
        self.bodies = Bodies(self, repository, executor_of, self.handles, self.cache, self.recording)
        self.once = Once(self, repository, self.recording, self.bodies.call_later)
        self.beside: Thread | None = None

    def value_of(self, expression: Any) -> Any:
        """The value of ``expression``. Raises: what a task raises; ValuestoreError.

        Whatever happens, what finished before is recorded. Side branches that are not done by then go on in a
        thread, ``beside``, which ends the run.
        """
        self.tagging.begin()
        self.recording.begin()
        try:
            with self._kept():
                value = self._loop(expression)
        except BaseException as problem:
            try:
                self.bodies.drain()
            finally:
                self._close("interrupted" if isinstance(problem, KeyboardInterrupt) else "failed")
            if isinstance(problem, Stopped):
                raise raised([problem.job], as_group=self.as_group) from None
            raise
        if self._is_busy():
            self.beside = Thread(target=self._go_on_beside, name="valuestore-branches")
            self.beside.start()
        else:
            self._close("done")
        return value

    def _loop(self, expression: Any) -> Any:
        self.roots = self.waiting.begin(expression, None)
        while True:
            self._work(all_of_it=False)
            failed = failed_jobs(expression, self.jobs) if self.counts.failed else []
            if failed:
                raise raised(failed, as_group=self.as_group)
            try:
                return self.evaluated(expression)
            except Lost as lost:
                self.redo(lost.job)

    def _work(self, *, all_of_it: bool) -> None:
        """Go on until all is done, or what the caller waits for."""
        while self._is_busy() and (all_of_it or not self._has_result()):
            self.bodies.interrupts.heed()
            while self.reducible:
                self._reduce(self.reducible.popleft())
            if self.ready:
                self._turn([self.ready.popleft() for _ in range(min(TURN_JOBS, len(self.ready)))])
            self.handles.flush()
            self.recording.hand_over()
            self.tagging.keep_checkout()
            wait = not (self.ready or self.reducible) and (all_of_it or not self._has_result())
            self.bodies.collect(wait=wait)
            if self.counts.waiting and not self._is_busy():
                self.fail(*endless(self.jobs, self.first))

    def _is_busy(self) -> bool:
        return bool(self.ready or self.bodies.is_busy or self.reducible)

    def _has_result(self) -> bool:
        """Whether what is still to be done is done for side branches alone."""
        return bool(self.flows.asides) and all(root.is_settled for root in self.roots)

    def _go_on_beside(self) -> None:
        """Bring side branches to their end, when the caller has its result."""
        try:
            with self._kept():
                self._work(all_of_it=True)
        finally:
            self._close("done")

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Within it, this thread runs what the run is made of."""
        with nobodys(), journal_kept_by(self.handles), tags_kept_by(self.tagging.keep), calls_refused():
            yield

    def _close(self, status: str) -> None:
        self.bodies.cancel()
        self.recording.end(status)
        self.tagging.end()
        self.handles.flush()
        self.recorder.flush()

    def _value(self, call: Call) -> Any:
        return self.cache.value(self.jobs[id(call)])

    def evaluated(self, expression: Any) -> Any:
        """Its value, when its calls are done. Raises: Lost; what operators raise."""
        return evaluate(expression, self._value)

    def redo(self, lost: Job, waiter: Job | None = None) -> None:
        """Run a job again whose result was there and then could not be read."""
        check_not_let_go(lost)
        if lost.result is not None:  # else somebody else has asked for it already
            lost.renew()
            self.counts.waiting += 1
            self.ready.append(lost)
        if waiter is not None:
            self.waiting.wait_for(waiter, lost)

    # --- ready, and run -----------------------------------------------------------------------

    def _turn(self, jobs: list[Job]) -> None:
        """Identify ready jobs, ask the cache for all of them at once, submit the misses."""
        moment = now()
        asked = [job for job in jobs if self._identify(job, moment)]
        results = self._found([job for job in asked if job.context is None])
        results |= self._found([job for job in asked if job.context is not None])
        missing = self.once.own([job for job in asked if job not in results], moment)
        while (stale := self.handles.enter([job for job in missing if job.error is None])) is not None:
            self.fail(*stale)
        for job, result in results.items():
            self.counts.waiting -= 1
            job.trace_hash = result.trace_hash
            self.step(job, result, "cached", moment)
        for job in missing:
            if job.task.is_control:
                self.flows.begin(job)
            elif job.error is None:
                self.bodies.submit(job)

    def _found(self, jobs: list[Job]) -> dict[Job, Result]:
        """What the cache has for these, of which those of equal calls are in one context."""
        asked = [job for job in jobs if job.options.cache and not job.forced]
        found = self.cache.find(asked) if asked else {}
        return {job: found[job.eval_hash] for job in asked if job.eval_hash in found}

    def _identify(self, job: Job, moment: int) -> bool:
        """Whether the cache is to be asked: not for a call that this run has met already."""
        job.started = moment
        try:
            job.task_hash = self.met.get(id(job.task)) or self._met(job.task)
            self.tagging.job = job.parent
            if job.call._options:
                job.options = self.options.of_call(job.task, self.evaluated(job.call._options))
                job.replayable = job.options.cache
            if job.task.is_control:
                self.flows.identify(job)
            else:
                self.cache.identify(job, self.jobs)
        except Lost as lost:
            self.redo(lost.job, job)
            return False
        except Exception as error:  # noqa: BLE001  # recorded, and raised again as it is
            job.replayable = False
            self.fail(job, error)
            return False
        key: object = job.eval_hash
        if job.context is not None or not job.recorded or not job.options.cache:
            context = job.context and job.context.hash(self.archive.registry)
            key = key, job.recorded, job.options.cache, context
        first = self.first.setdefault(key, job)
        if first is job:
            return True
        self.jobs[id(job.call)] = first  # whoever needs this call's value from now on asks there
        self.waiting.kept[id(job.call)] = job.call  # or its id would be given to another call
        if not first.is_settled:
            first.twins = added(first.twins, job)
        else:
            self._finish_twin(job, first)
        return False

    def _met(self, task: AnyTask) -> Digest:
        """The hash of a task, which is recorded when this run meets it for the first time."""
        known = self.met.get(id(task))
        if known is None:
            known = self.cache.code.task_hash(task)
            self.recording.task(task, *self.cache.code.task_row(task))
            self.met[id(task)] = known  # only now: who cannot be recorded is not met
        return known

    def step(self, job: Job, result: Result, status: str, ended: int) -> None:
        """One step of a call is done: finish it, or first run the calls that it returned."""
        job.status = status
        plain = result.ref is not None and result.ref.codec not in (TAGGED, SIGNED)
        if plain or result.replayed is not None or not find_expressions(result.value):
            self.finish(job, result, ended)
            return
        job.depends_on(result, self.cache.code)
        self.recording.step(job)
        is_apart = not (job.context is None and job.recorded and job.options.prov)
        self.waiting.wait(job, renewed(result.value) if is_apart else result.value)

    def _reduce(self, job: Job) -> None:
        """All that a job waits for is settled: put the values in their places, or go on with its body."""
        if job.is_settled or job.needed > job.slack:
            return
        self.tagging.job = job
        try:
            if job.flow is not None:
                self.flows.go_on(job)
            elif job.broken:
                self.fail(job, error_of(job, self.jobs), is_own=False)
            else:
                result, refused = self._result_of(job)
                if result.ref is None:
                    self.recording.warn_not_cached(job, refused)
                job.step = NO_STEP
                self.finish(job, result, now())
        except Lost as lost:
            self.redo(lost.job, job)
        except Exception as error:  # noqa: BLE001  # recorded, and raised again as it is
            self.fail(job, error)

    def _result_of(self, job: Job) -> tuple[Result, str]:
        """The result of a job whose calls are done, and why it is not kept. Raises: as ``evaluated``."""
        step = job.step
        if job.task.is_control and type(step) is Call:
            given = self.jobs[id(step)].result
            assert given is not None
            return replace(given, replayed=None), "its value is not"
        value = self.evaluated(step)
        ref, refused = self.archive.try_pack(value)
        return result_of(value, ref), refused

    # --- finished ----------------------------------------------------------------------------

    def finish(self, job: Job, result: Result, ended: int) -> None:
        if result.externals or result.classes or result.code:
            job.depends_on(result, self.cache.code)
        self.recording.finished(job, result, ended)
        if result.ref is not None and result.ref.inline is None and not job.forced:
            result.value = UNLOADED  # large results are kept in the store, not in memory
        if job.twins:
            self._finish_twins(job)
        self.waiting.release(job)

    def _finish_twin(self, twin: Job, first: Job) -> None:
        if first.error is None:
            self.recording.shared(twin, first)
        else:
            self.counts.waiting -= 1
            self.recording.failed(twin, first.error, is_own=False)
            twin.share(first)
        if twin.twins:
            self._finish_twins(twin)
        self.waiting.release(twin)

    def _finish_twins(self, job: Job) -> None:
        twins, job.twins = job.twins, ()
        for twin in twins:
            self._finish_twin(twin, job)

    # --- failed ------------------------------------------------------------------------------

    def fail(self, job: Job, error: BaseException, *, is_own: bool = True) -> None:
        """Record the failure, and tell those that wait. Raises: Stopped."""
        if job.status == "waiting":
            self.counts.waiting -= 1
        if not job.task.is_control and isinstance(error, Exception):
            job.rests_on_failure(self.cache.code)
        self.recording.failed(job, error, is_own=is_own)
        if not isinstance(error, Exception) or (self.stops and is_needed(job, self.roots)):
            raise Stopped(job)
        self._finish_twins(job)
        self.waiting.release(job)
