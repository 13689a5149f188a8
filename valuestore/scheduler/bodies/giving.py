"""Giving: how a body gets to an executor: to a thread with its arguments, to another process as work.

And how what it gave comes home. Called by running.py, on the thread of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from valuestore.executors.worker import Outcome, run_body
from valuestore.repository import Repository
from valuestore.scheduler.cache import Cache
from valuestore.scheduler.job import UNLOADED, Job
from valuestore.scheduler.record import Execution
from valuestore.tasks.call import Expression
from valuestore.tasks.context import JobInfo
from valuestore.values.archive import ValueRef
from valuestore.values.code.function import Dependency
from valuestore.values.code.members import Version
from valuestore.values.code.ownership import is_own
from valuestore.values.payload import Encoded
from valuestore.values.trust.sending import dump_sent
from valuestore.values.value import hooks_in_use, value_types

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from valuestore.executors.work import Sender

Ask = Callable[[Expression], "Future[Any]"]


class Giving:
    """For one run. ``asker`` makes what an async body asks for the calls that it awaits."""

    def __init__(
        self, repository: Repository, cache: Cache, execution: Execution, asker: Callable[[Job], Ask]
    ) -> None:
        self._archive = repository.archive
        self._place = repository.folder, repository.settings
        self._cache = cache
        self._execution = execution
        self._asker = asker
        self._sender: Sender | None = None
        self._reached: dict[tuple[Dependency, ...], tuple[Dependency, ...]] = {}

    def beginning(self, job: Job, executor: Executor, *, is_here: bool) -> Callable[[], Future[Any]]:
        """What begins it. Raises: Lost, PayloadError; StoreError, NotSendable where it has to travel."""
        return self._here(job, executor) if is_here else self._away(job, executor)

    def _here(self, job: Job, executor: Executor) -> Callable[[], Future[Any]]:
        """To run its body in a thread of this process. Raises: Lost, PayloadError."""
        values = {argument.name: self._cache.private_value(argument) for argument in job.arguments}
        watched = [values[one.name] for one in job.arguments if self._cache.may_go_stale(one)]
        args, kwargs = job.task.call_arguments(values | self._told(job), job.call._given)
        capture = bool(job.task.capture)
        body = job.task.body, args, kwargs, self._archive, watched, job.eval_hash, capture, self._version(job)
        if job.task.binding.is_async:
            from valuestore.tasks.awaiting import answered_by  # late: few programs have such tasks

            return partial(executor.submit, answered_by, self._asker(job), run_body, *body)
        return partial(executor.submit, run_body, *body)

    def _away(self, job: Job, executor: Executor) -> Callable[[], Future[Any]]:
        """To run its body in another process. Raises: NotSendable, StoreError."""
        from valuestore.executors import threads, work  # late: few programs have workers

        if self._sender is None:
            self._sender = work.Sender(self._archive)
        told = self._told(job)
        options = {"cpus": job.options.cpus, "memory": job.options.memory, "resources": job.options.resources}
        sent = work.Work(
            job.task.name,
            self._sender.code(job.task, job.task_hash, [*sorted(job.classes, key=id), *_code_given(job)]),
            self._sender.place(),
            tuple((one.name, work.as_sent(self._cache.stored(one))) for one in job.arguments),
            tuple(job.call._given),
            dump_sent(told) if told else b"",
            tuple(one.name for one in job.arguments if self._cache.may_go_stale(one)),
            job.eval_hash,
            bool(job.task.capture),
            self._version(job),
            {name: value for name, value in options.items() if value},
            self._sender.reloads,
            None if threads.ends_bodies(executor) else job.options.timeout_seconds,
        )
        return partial(work.submit, executor, sent)

    def _told(self, job: Job) -> dict[str, JobInfo]:
        if not (names := job.task.binding.told):
            return {}
        place: tuple[object, ...] = self._place
        if job.task.namespace == "valuestore":  # a run below this one (subrun.py) is asked for what this is
            place += self._cache.code.asked(job.context)
        info = JobInfo(job.task.name, job.job_id, self._execution.execution_id, job.eval_hash, place)
        return dict.fromkeys(names, info)

    def _version(self, job: Job) -> Version:
        return self._cache.code.version(job.task, self._execution.execution_id, self._execution.around)

    def came_home(self, found: Any) -> Outcome:
        """What a body gave, wherever it ran. Raises: PayloadError."""
        if type(found) is not bytes:
            return found  # type: ignore[no-any-return]  # from a thread of this process
        from valuestore.executors.home import came_home

        outcome = came_home(found, self._archive, UNLOADED, with_values="postprocess" in hooks_in_use)
        reached = self._reached.setdefault(outcome.reached, outcome.reached)  # one object, as in a thread
        return outcome._replace(reached=reached)

    def gone(self, job: Job) -> list[Job]:
        """Those whose results it is given, and which the payload store has no more."""
        given = [(one.source, one.ref) for one in job.arguments if one.source and one.ref]
        missing = self._cache.replay.missing([ref for _, ref in given])
        return [source for source, ref in given if ref.payload_digest in missing]


def _code_given(job: Job) -> Iterator[object]:
    """What has to be there for its arguments to be read: functions, tasks and types of the user's own."""
    for one in job.arguments:
        given = one.encoded or (one.source and one.source.result)
        yield from (part for part in (given.code if given else ()) if not isinstance(part, str))
        known: list[Encoded | ValueRef] = [root for root in (one.encoded, one.ref) if root is not None][:1]
        while known:
            part = known.pop()
            known += part.parts
            kind = value_types.get(part.type_name)
            if kind is not None and is_own(kind.__module__):
                yield kind
