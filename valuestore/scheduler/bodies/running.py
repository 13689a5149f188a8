"""Bodies: those of ordinary tasks, which run in executors: given to them, and what they gave taken in.

Called by run.py, on the thread of the run.
"""

from __future__ import annotations

import heapq
import os
import queue
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from valuestore.errors import (
    NotSendable,
    PayloadError,
    StoreError,
    TaskError,
    TaskTimeout,
    WorkerLost,
)
from valuestore.executors.worker import Outcome
from valuestore.hashing import Digest
from valuestore.repository import Repository
from valuestore.scheduler.bodies.giving import Giving
from valuestore.scheduler.bodies.questions import Question, Questions
from valuestore.scheduler.cache import Cache, Lost
from valuestore.scheduler.handles import Handles
from valuestore.scheduler.interrupts import Interrupts
from valuestore.scheduler.job import Job, Result, externals_in
from valuestore.scheduler.record import Recording
from valuestore.scheduler.waiting import Limits, Loop
from valuestore.tasks.call import find_expressions
from valuestore.values.archive import ValueRef

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


_ATTENTION_SECONDS = 1.0
"""A Ctrl-C that comes when a wait begins is seen when it ends."""
_TICK_SECONDS = 0.02
"""How often the clock is looked at while something is to happen at a time."""


class Bodies:
    """Those of one run that are in executors."""

    def __init__(
        self,
        loop: Loop,
        repository: Repository,
        executor_of: Callable[[str | None], Executor],
        handles: Handles,
        cache: Cache,
        recording: Recording,
    ) -> None:
        self.loop = loop
        self.archive = repository.archive
        self.executor_of = executor_of
        self._refused = repository.refused
        self.handles = handles
        self.cache = cache
        self.recording = recording
        self.counts = recording.counts
        self.outcomes: queue.SimpleQueue[tuple[Job, Future[Any] | Question] | None] = queue.SimpleQueue()
        self.running: dict[Future[Any], Job] = {}
        self._limits = Limits(repository.settings.limits)
        self._questions = Questions(loop, repository.archive, self.outcomes)
        self._giving = Giving(repository, cache, recording.execution, self._questions.asker)
        self.interrupts = Interrupts(lambda: self.outcomes.put(None))
        self._attempts: dict[Job, int] = {}
        self._first: dict[Digest, Job] = {}  # by the call: whose body runs
        self._others: dict[Job, list[Job]] = {}  # who has its call in other contexts, and waits for it
        self._later: list[tuple[float, int, Callable[[], None]]] = []  # a heap: when to call them
        self._deadlines: dict[Future[Any], float | None] = {}  # None: its body has not begun
        self._away: set[Future[Any]] = set()  # what other processes have: they go on, whoever waits here
        self._looked = 0.0  # when the clock was looked at
        self._given_up: set[Future[Any]] = set()  # bodies that go on, and nobody waits for

    @property
    def is_busy(self) -> bool:
        """Whether there are bodies that run, or wait to."""
        return bool(self.running or self._limits.is_holding or self._later)

    def begun(self) -> list[Job]:
        """The jobs whose bodies run by now; another thread may ask."""
        return [job for future, job in self.running.copy().items() if future.running()]

    def submit(self, job: Job) -> None:
        """Run the job's body, once there is enough of what it takes. Raises: StoreReadOnly.

        Of equal calls in several contexts one body is run: what it gives is the same for all.
        """
        if self._refused is not None:
            raise self._refused
        first = self._first.setdefault(job.eval_hash, job)
        if first is not job and first.recorded == job.recorded and _may_share(first) and _may_share(job):
            self._others.setdefault(first, []).append(job)
            return
        self.recording.execution.has_bodies = True
        try:
            if job.options.limits and not self._limits.take(job):
                return
        except TaskError as error:
            self._end(job, error)
            return
        self._submit(job)

    def _submit(self, job: Job) -> None:
        from valuestore.executors.threads import ends_bodies, shares_memory  # late: not where all is cached

        executor = self.executor_of(job.options.executor or ("async" if job.task.binding.is_async else None))
        is_here = shares_memory(executor)
        try:
            begin = self._giving.beginning(job, executor, is_here=is_here)
        except Lost as lost:
            self._give_back(job)
            self._redo([lost.job], job)
            return
        except (PayloadError, StoreError, NotSendable) as error:
            self._give_back(job)
            self._end(job, error)
            return
        self.recording.started(job)
        self._record_arguments(job)
        try:
            future = begin()
        except RuntimeError as error:
            self._give_back(job)
            self._end(job, TaskError(f"the executor of {job.task.name} takes nothing any more: {error}"))
            return
        job.status = "running"
        self.counts.waiting -= 1
        self.counts.running += 1
        self.running[future] = job
        if not is_here:
            self._away.add(future)
        if job.options.timeout_seconds is not None and ends_bodies(executor):
            self._deadlines[future] = None
        future.add_done_callback(lambda done: self.outcomes.put((job, done)))

    def _record_arguments(self, job: Job) -> None:
        try:
            refs = {argument.name: self.cache.stored(argument) for argument in job.arguments}
        except StoreError as error:
            self.recording.warn_not_cached(job, f"its arguments cannot be stored: {error}")
        else:
            self.recording.arguments(job, refs)

    def collect(self, *, wait: bool) -> None:
        """Take in what executors have finished; with ``wait``, at least one outcome."""
        while self.is_busy:
            wait &= not self._look_at_clock()
            is_timed = self._later or self._deadlines
            outcome = self._next(wait, _TICK_SECONDS if is_timed else _ATTENTION_SECONDS)
            if outcome is None:
                if wait and not self._give_up_if_stuck():
                    continue
                return
            wait = False
            job, future = outcome
            if isinstance(future, Question):
                self._questions.answer(job, future)
            else:
                self._outcome(job, future)

    def _next(self, wait: bool, seconds: float) -> tuple[Job, Future[Any] | Question] | None:
        """What comes next, or None. Raises: KeyboardInterrupt."""
        self.interrupts.heed()  # before: what was taken would be lost
        try:
            return self.outcomes.get(wait, seconds)
        except queue.Empty:
            return None

    def _give_up_if_stuck(self) -> bool:
        """Whether nothing can go on, for all bodies that run wait for calls; then these calls fail."""
        running = {job for future, job in self.running.items() if future.running()}
        if self._later or self._away or not running or not running <= self._questions.askers:
            return False
        self._questions.give_up(is_circle=len(running) == len(self.running) and not self._limits.is_holding)
        return True

    def _look_at_clock(self) -> bool:
        """Call what is due, and give up bodies that take too long: whether there was any."""
        moment, was_any = time.monotonic(), False
        if moment - self._looked < _TICK_SECONDS:  # else each outcome would look at all that run
            return False
        self._looked = moment
        while self._later and self._later[0][0] <= moment:
            was_any = True
            heapq.heappop(self._later)[2]()
        for future, since in [*self._deadlines.items()]:
            job = self.running[future]
            seconds = job.options.timeout_seconds
            if since is None and future.running():
                self._deadlines[future] = moment
            elif since is not None and seconds is not None and moment - since > seconds:
                was_any = True
                self._leave_running(future)
                self._given_up.add(future)
                self._kill(job, future)
                self._fail(job, TaskTimeout(job.task.name, seconds))
        return was_any

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have the run call it when so much time has passed; until then it is busy."""
        heapq.heappush(self._later, (time.monotonic() + seconds, id(call), call))

    def _kill(self, job: Job, future: Future[Any]) -> None:
        from valuestore.executors.threads import kill

        kill(self.executor_of(job.options.executor), future)

    def _leave_running(self, future: Future[Any]) -> None:
        del self.running[future]
        self._deadlines.pop(future, None)
        self._away.discard(future)
        self.counts.running -= 1

    def _give_back(self, job: Job) -> None:
        """What it took is there for those that wait for it, in their order."""
        if job.options.limits:
            for other in self._limits.give(job):
                self._submit(other)

    def _fail(self, job: Job, error: Exception, *, may_retry: bool = True) -> None:
        """The body failed: run it again, or say so."""
        attempt = self._attempts[job] = self._attempts.get(job, 0) + 1
        if not may_retry or attempt > job.options.retries or not isinstance(error, job.options.retry_on):
            if attempt > 1:
                self.recording.tag(job, {"attempts": attempt})
            self._end(job, error)
            return
        self.call_later(job.options.wait_seconds(attempt, os.urandom(1)[0] / 255), partial(self.submit, job))
        self.counts.waiting += 1
        job.status = "waiting"

    def _outcome(self, job: Job, future: Future[Any]) -> None:
        from valuestore.executors.threads import lost_with

        if future in self._given_up:
            self._given_up.remove(future)
            self._give_back(job)
            return
        self._leave_running(future)
        self._give_back(job)
        error = lost_with(future)
        if error is not None:
            job.replayable = False
            self._lost(job, error)
            return
        outcome = self._taken_in(job, future)
        self.recording.reads(job, outcome.reads, say=type(future.result()) is bytes)
        if outcome.error is not None:
            job.replayable &= not outcome.refused
            self._fail(job, outcome.error, may_retry=not outcome.refused)  # else its arguments are others
            return
        if self._attempts.get(job):
            self.recording.tag(job, {"attempts": self._attempts[job] + 1})
        if outcome.ref is None:
            self.recording.warn_not_cached(job, outcome.refused)
        elif job.options.cache and not job.children:  # else it rests on what it awaited
            job.evaluated = outcome.ref
        others = self._end_sharing(job)
        self.loop.step(job, result_of(outcome.value, outcome.ref), "done", outcome.ended)
        for other in others:
            result = result_of(outcome.value, outcome.ref)
            if result.ref is None or result.externals:
                self.submit(other)
                continue
            self.counts.waiting -= 1
            other.trace_hash = job.trace_hash
            self.loop.step(other, result, "cached", outcome.ended)

    def _taken_in(self, job: Job, future: Future[Any]) -> Outcome:
        """What its body gave, and with it when it began, what it reached and which states it left."""
        outcome = self._giving.came_home(future.result())
        job.started = outcome.started
        job.trace_hash = self.cache.code.trace_hash(outcome.reached)
        self.handles.leave(job, outcome)
        return outcome

    def _lost(self, job: Job, error: BaseException) -> None:
        """Nobody knows what its body gave."""
        gone = self._giving.gone(job) if isinstance(error, PayloadError) else []
        if gone:
            job.status = "waiting"
            self.counts.waiting += 1
            self._redo(gone, job)
        elif isinstance(error, WorkerLost | TaskTimeout):
            self._fail(job, error)
        else:
            self._end(job, error)

    def _redo(self, gone: list[Job], job: Job) -> None:
        """It begins anew when these are there again, and so does who has the same in another context."""
        for source in gone:
            self.loop.redo(source, job)
        self.loop.waiting.ready.extend(self._end_sharing(job))

    def _end(self, job: Job, error: BaseException) -> None:
        """Its body is not run again: who has the same in another context runs it."""
        others = self._end_sharing(job)
        self.loop.fail(job, error)
        for other in others:
            self.submit(other)

    def _end_sharing(self, job: Job) -> list[Job]:
        """Those that wait for what its body gives, from now on no more."""
        if self._first.get(job.eval_hash) is job:
            del self._first[job.eval_hash]
        return self._others.pop(job, [])

    def cancel(self) -> None:
        """Cancel what has not started, and what is asked."""
        self._questions.end()
        for future in self.running:
            future.cancel()
        self.keep_finished()

    def drain(self) -> None:
        """Cancel what has not started; what runs already is let finish, and kept for the next run.

        A Ctrl-C then stops it, as far as its executor can, and the scripts that it has started.
        """
        self._questions.end()
        for future in list(self.running):
            if future.cancel():
                del self.running[future]
        try:
            self.interrupts.announce(len(self.running))
            while self.running:
                outcome = self._next(True, _ATTENTION_SECONDS)
                if outcome is not None:
                    job, ended = outcome
                    if not isinstance(ended, Question):
                        self.running.pop(ended, None)
                    self._keep(job, ended)
        except KeyboardInterrupt:
            for future, job in self.running.items():
                self._kill(job, future)
            if scripts := sys.modules.get("valuestore.tasks.script"):
                scripts.stop_all()

    def keep_finished(self) -> None:
        """Keep what has finished by now, without waiting for the rest."""
        while not self.outcomes.empty():
            outcome = self.outcomes.get()
            if outcome is not None:
                self._keep(*outcome)

    def _keep(self, job: Job, future: Future[Any] | Question) -> None:
        """Remember what a body gave, though this run will not go on with it; what it asks is not answered."""
        if isinstance(future, Question):
            future.future.cancel()
            return
        if future.cancelled() or future.exception() is not None or job.is_settled or future in self._given_up:
            return
        if job.task.binding.is_async:  # it may have met that its calls were cancelled
            return
        outcome = self._taken_in(job, future)
        if outcome.error is not None:
            self.recording.failed(job, outcome.error)
            return
        if outcome.ref is not None and job.options.cache:
            job.evaluated = outcome.ref
            self.recording.step(job)
        if outcome.ref is not None and not find_expressions(outcome.value):
            job.status = "done"
            self.loop.finish(job, result_of(outcome.value, outcome.ref), outcome.ended)


def _may_share(job: Job) -> bool:
    """Whether its body gives what that of an equal call in another context gives."""
    is_kept = job.options.cache and not job.forced and not job.task.is_whole
    return is_kept and not any(one.may_go_stale and one.externals for one in job.arguments)


def result_of(value: Any, ref: ValueRef | None) -> Result:
    """The result of a job that gave this value just now."""
    if ref is None:
        return Result(value, None)
    return Result(value, ref, externals_in(ref), ref.classes, code=ref.code)
