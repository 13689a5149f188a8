"""Waiting: the jobs of a run, which of them each waits for, and which may go on; what other runs are running,
and what bodies take meanwhile.

Called by run.py and flow.py, on the thread of the run.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count
from typing import Any, Protocol

from valuestore.db.upkeep.leases import Holder, LeaseRow, Leases
from valuestore.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    TaskError,
    ValuestoreError,
    ValuestoreWarning,
)
from valuestore.hashing import ATOMS
from valuestore.lazy import this_process
from valuestore.repository import Repository
from valuestore.scheduler.cache import Cache
from valuestore.scheduler.job import NO_STEP, Job, Result, added
from valuestore.scheduler.record import Counts, Recording
from valuestore.scheduler.within import Within
from valuestore.tasks.call import Call, find_calls
from valuestore.tasks.context import Context
from valuestore.tasks.options import Resolver
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import hooks_in_use


class Waiting:
    """The jobs of one run, by the ids of their calls.

    ``kept`` are calls whose ids others must not get; ``ready`` jobs may be looked up, those that are
    ``reducible`` have all that the calls they made gave.
    """

    def __init__(self, counts: Counts, registry: TypeRegistry, options: Resolver, context: Context) -> None:
        self.counts = counts
        self.context = context
        self._options = options
        self.jobs: dict[int, Job] = {}
        self.kept: dict[int, Call] = {}
        self.ready: deque[Job] = deque()
        self.reducible: deque[Job] = deque()
        self._registry = registry

    def begin(self, obj: Any, parent: Job | None) -> list[Job]:
        """Make jobs for the calls in ``obj`` and for those in their arguments; return the former."""
        made: deque[tuple[Job, Context | None]] = deque()
        within = None
        if "preprocess" in hooks_in_use:
            outer = parent.within if parent is not None and parent.task.is_control else None
            within = Within(obj, self._registry.hash_calls, outer)
        context = parent.context if parent is not None else None
        direct = [self._job(call, parent, made, within, context) for call in find_calls(obj)]
        while made:
            job, around = made.popleft()
            for call in find_calls(job.call._options) if job.call._options else ():
                self.wait_for(job, self._job(call, parent, made, within, around))
            arguments = {} if job.task.is_control else job.call._arguments
            for position, (name, argument) in enumerate(arguments.items()):
                if type(argument) not in ATOMS:
                    context = around if name in job.call._given else job.context  # of its defaults
                    for call in find_calls(argument):
                        job.calls = added(job.calls, (position, call))
                        self.wait_for(job, self._job(call, parent, made, within, context))
            if job.needed == 0:
                self.ready.append(job)
        return direct

    def _job(
        self,
        call: Call,
        parent: Job | None,
        made: deque[tuple[Job, Context | None]],
        within: Within | None,
        context: Context | None,
    ) -> Job:
        job = self.jobs.get(id(call))
        if job is None:
            task = call._task
            options = self._options.by_task.get(id(task)) or self._options.of(task)
            own = self._updated(context, call) if call._options else context
            job = self.jobs[id(call)] = Job(call, parent, within, options, own)
            if self._options.is_forced is not None:
                job.forced = self._options.is_forced(task)
            self.counts.waiting += 1
            made.append((job, context))
            if parent is not None:
                parent.children = added(parent.children, job)
        elif parent is not None and job.parent is not parent and job not in parent.children:
            parent.children = added(parent.children, job)  # one call in what two bodies returned
        return job

    def _updated(self, context: Context | None, call: Call) -> Context | None:
        more = call._options.get("context")
        return (context or self.context).updated(more) if more else context

    def wait(self, job: Job, expression: Any, calls: list[Job] | None = None) -> None:
        """Have the job go on when the calls in an expression are settled; those that ``begin`` made of it."""
        job.step = expression
        for child in self.begin(expression, job) if calls is None else calls:
            self.wait_for(job, child)
        if not job.needed:
            self.reducible.append(job)

    def wait_for(self, job: Job, other: Job) -> None:
        """Have the job go on when the other is settled."""
        job.broken |= other.error is not None
        if not other.is_settled:
            job.needed += 1
            other.waiters = added(other.waiters, job)

    def release(self, job: Job) -> None:
        """Tell those that waited for a job that it is settled."""
        if job.told is not None:
            job.told(job)
        waiters, job.waiters = job.waiters, ()
        for waiter in waiters:
            waiter.needed -= 1
            waiter.broken |= job.error is not None
            if waiter.needed <= waiter.slack:
                is_ready = waiter.step is NO_STEP and not waiter.broken
                (self.ready if is_ready else self.reducible).append(waiter)


class Loop(Protocol):
    """What flows and bodies ask of the run that they are part of (run.py)."""

    at_once: int
    cache: Cache
    waiting: Waiting

    def evaluated(self, expression: Any) -> Any:
        """The value of an expression whose calls are done. Raises: Lost; what operators raise."""

    def fail(self, job: Job, error: BaseException, *, is_own: bool = True) -> None:
        """End the job with an error."""

    def redo(self, lost: Job, waiter: Job | None = None) -> None:
        """Run a job again whose result was there and then could not be read."""

    def step(self, job: Job, result: Result, status: str, ended: int) -> None:
        """One step of a job is done."""

    def finish(self, job: Job, result: Result, ended: int) -> None:
        """The job is done."""


# --- Once: what other runs are running is left to them (db/upkeep/leases.py).


_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.02, 0.5
"""Between two looks at whether others are done."""
_LONGEST_IN_BODY_SECONDS = 60.0
"""A body that waits keeps a worker, for which what it waits for may be waiting in turn."""


class Once:
    """The calls that one run leaves to others; of those that it is to run itself it holds leases."""

    def __init__(
        self,
        loop: Loop,
        repository: Repository,
        recording: Recording,
        call_later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._loop, self._recording, self._run = loop, recording, recording.execution
        self._call_later = call_later
        self._database, self._registry = repository.database, repository.archive.registry
        self._leases: Leases | None = None  # until something is to be run
        self._is_on = self._run.once
        self._away: dict[str, tuple[Job, float]] = {}  # by key, and since when
        self._pause = _SHORTEST_SECONDS
        self._locked_since: float | None = None

    def own(self, jobs: list[Job], moment: int) -> list[Job]:
        """Those of these missing jobs that are to run now, and here; the others become ready again.

        Control flow takes no lease, nor what is not recorded.
        """
        wanted: dict[str, Job] = {}
        for job in jobs if self._is_on else ():
            if job.recorded and not job.lease and not job.task.is_control:
                key = self._key(job)
                if key not in self._recording.leased:  # else it is in another context
                    wanted.setdefault(key, job)
        if not wanted:
            return jobs
        gone = self._take(wanted, moment)
        return [job for job in jobs if job not in gone] if gone else jobs

    def _key(self, job: Job) -> str:
        """Of the lease. What is not shared has one for people to see what runs, which nobody waits for."""
        if not job.options.cache or job.forced:
            return job.job_id
        context = job.context or self._loop.waiting.context
        if not job.task.binding.is_async or not context.values:
            return job.eval_hash
        # it is held while the body waits for other calls, and these may be others in another context
        return self._registry.hash([job.eval_hash, context.hash(self._registry)])

    def _take(self, wanted: dict[str, Job], moment: int) -> set[Job]:
        """Take leases for these; those of them that are not to run now."""
        holder = self._run.execution_id, this_process()
        rows = [LeaseRow(key, job.job_id, *holder, job.task_hash, moment) for key, job in wanted.items()]
        self._recording.leased.update({key: job.job_id for key, job in wanted.items()})
        if self._leases is None:
            self._leases = Leases(self._database, self._run.row(), self._run.around)
        try:
            others, known = self._leases.take(rows, [job.eval_hash for job in wanted.values()])
            self._locked_since = None
        except ValuestoreError as error:
            if self._is_to_try_again(error):
                self._leave(wanted)
                return set(wanted.values())
            return set()
        self._leave({key: wanted[key] for key in others})
        if others:
            self._say(others.values())
        gone = {wanted[key] for key in others}
        for key, job in wanted.items():
            if key not in others:
                job.lease = key
                if key != job.job_id and (job.eval_hash in known or job.task.is_whole):
                    gone.add(job)  # somebody may have recorded it since it was looked up
                    self._loop.waiting.ready.append(job)
        return gone

    def _is_to_try_again(self, error: ValuestoreError) -> bool:
        """Whether the database is locked or away, and not for too long; else it goes on without leases."""
        since = self._locked_since = self._locked_since or time.monotonic()
        may_end = isinstance(error, DatabaseBusy | DatabaseUnavailable)
        if may_end and time.monotonic() - since < self._database.busy_timeout_seconds:
            return True
        self._is_on = False
        problem = f"this run does not know what others are running, nor do these know of it: {error}"
        warnings.warn(problem, ValuestoreWarning, stacklevel=2)
        return False

    def _leave(self, jobs: Mapping[str, Job]) -> None:
        for key, job in jobs.items():
            del self._recording.leased[key]
            if not self._away:
                self._call_later(self._pause, self._look_again)
            self._away[key] = job, time.monotonic()

    def _look_again(self) -> None:
        """Have those become ready that nobody runs any more: they are looked up, and else run here."""
        assert self._leases is not None
        try:
            held = self._leases.held(self._away)
        except ValuestoreError:
            held = {}  # who takes leases finds out what it is
        free = [key for key in self._away if key not in held or self._is_too_long(key)]
        for key in free:
            job, _ = self._away.pop(key)
            if key in held:  # it holds none, and is to run
                job.lease = key
                self._recording.leased[key] = job.job_id
            self._loop.waiting.ready.append(job)
        self._run.waits_for = tuple(sorted({held[key].execution_id for key in self._away}))
        self._pause = _SHORTEST_SECONDS if free else min(1.5 * self._pause, _LONGEST_SECONDS)
        if self._away:
            self._call_later(self._pause, self._look_again)

    def _is_too_long(self, key: str) -> bool:
        return bool(self._run.around) and time.monotonic() - self._away[key][1] > _LONGEST_IN_BODY_SECONDS

    def _say(self, holders: Collection[Holder]) -> None:
        """For whom is waited: a line for each other run."""
        from logging import getLogger  # late: few runs wait

        numbers = Counter(holder.execution_id for holder in holders)
        self._run.waits_for = tuple(sorted({*self._run.waits_for, *numbers}))
        for run, number in numbers.items():
            getLogger("valuestore").info("%s waits for %d calls of %s", self._run.execution_id, number, run)


# --- Limits: how much there is, in one run, of what bodies take while they run, such as connections.


class Limits:
    """What is left of each resource, and the jobs that wait for some, those that take the same together.

    A resource that the configuration does not name is there once.
    """

    def __init__(self, available: Mapping[str, int]) -> None:
        self._available = available
        self._taken: dict[str, int] = {}
        self._held: dict[tuple[tuple[str, int], ...], deque[tuple[int, Job]]] = {}
        self._came = count()

    @property
    def is_holding(self) -> bool:
        """Whether a job waits."""
        return bool(self._held)

    def take(self, job: Job) -> bool:
        """Take all that the job takes, or have it wait: whether it was there.

        Raises: TaskError if it never can be.
        """
        needed = job.options.limits
        for name, number in needed.items():
            there = self._available.get(name, 1)
            if number > there:
                problem = f"{job.task.name} takes {number} of {name!r}, and there is {there}"
                raise TaskError(f"{problem}: say how much there is in [limits] of valuestore.toml")
        key = tuple(sorted(needed.items()))
        is_there = self._fits(key)
        if is_there:
            self._add(key, 1)
        else:
            self._held.setdefault(key, deque()).append((next(self._came), job))
        return is_there

    def give(self, job: Job) -> list[Job]:
        """Give back what a job took: those that have it now instead, in the order that they came."""
        self._add(tuple(job.options.limits.items()), -1)
        able: list[Job] = []
        while fitting := [key for key in self._held if self._fits(key)]:
            key = min(fitting, key=lambda key: self._held[key][0][0])
            able.append(self._held[key].popleft()[1])
            if not self._held[key]:
                del self._held[key]
            self._add(key, 1)
        return able

    def _fits(self, needed: Iterable[tuple[str, int]]) -> bool:
        return all(self._taken.get(name, 0) + n <= self._available.get(name, 1) for name, n in needed)

    def _add(self, needed: Iterable[tuple[str, int]], sign: int) -> None:
        for name, number in needed:
            self._taken[name] = self._taken.get(name, 0) + sign * number
