"""Subrun: a part of a pipeline that a scheduler of its own runs, in the body of a job, wherever that runs."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from valuestore.errors import WorkerLost
from valuestore.repository import Repository
from valuestore.scheduler.scheduler import Scheduler
from valuestore.tasks.context import JobInfo
from valuestore.tasks.control import Kept, Steps, control
from valuestore.tasks.options import checked
from valuestore.tasks.task import find_task, task

R = TypeVar("R")


def subrun(
    expression: R,
    executor: str | None = None,
    *,
    inside: str = "threads",
    workers: int | None = None,
    **options: Any,
) -> R:
    """The value of an expression, whose calls are run by a scheduler in one job of the ``executor``.

    That is an execution of its own, with the tag ``subrun`` that names the job, and the context, options and
    ``cache``, ``only``, ``on_error`` of the run around it. ``inside`` and ``workers``
    say where it runs bodies itself; ``options`` are those of the job, such as ``memory``. There it needs the
    repository's database, too. Raises, when it runs: what a task raises.
    """
    others = "inside", "workers"
    said = checked({**options, "executor": executor}, "subrun", others=others, is_at_call=True)
    return cast(R, _subrun(expression, inside, workers, said))


@control("subrun")
def _subrun(expression: Any, inside: str, workers: int | None, said: dict[str, Any]) -> Steps:
    step, tasks = yield Kept(expression)
    again: dict[str, Any] = {} if "retries" in said else {"retry_on": WorkerLost}  # others are, inside
    there: Any = _run_there.options(**again, **said)
    return (yield there(step, tasks, inside, workers))


@task(namespace="valuestore", name="subrun.run", version="1", cache=False)
def _run_there(step: str, tasks: list[Any], inside: str, workers: int | None, job: JobInfo) -> Any:  # noqa: ARG001
    """Not cached: what it runs is, so that a rerun asks for all of it. ``tasks`` are there for the step."""
    folder, settings, asked, context = job.place
    only = [name for name in asked.only if find_task(name)]
    with (
        Repository(folder, settings) as repository,
        Scheduler(repository, executor=inside, workers=workers) as own,
    ):
        return own.run(
            repository.get(step),
            tags={"subrun": job.job_id},
            on_error=asked.on_error,
            cache=asked.cache,
            only=only,
            options={name: value for name, value in asked.options.items() if name != "executor"},
            context=context,
        )
