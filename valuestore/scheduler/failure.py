"""Failure: which error a job fails with when calls that it needs failed, and what the caller of a run gets.

A job fails when all that it waits for is settled, with the error of the first that failed in the order of the
expression: so the same error is caught in every run, whichever came first. Called by run.py and flow.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from valuestore.errors import EndlessCall
from valuestore.scheduler.job import NO_STEP, Job
from valuestore.tasks.call import find_calls

Jobs = Mapping[int, Job]


def first_error(expression: Any, jobs: Jobs) -> BaseException | None:
    """The error of the first call in an expression that failed, or None."""
    return next(
        (error for call in find_calls(expression) if (error := jobs[id(call)].error) is not None), None
    )


def error_of(job: Job, jobs: Jobs) -> BaseException:
    """The error that ends a job, one of whose calls failed."""
    error = first_error(_needed(job), jobs)
    assert error is not None
    return error


def _needed(job: Job) -> Any:
    """What it waits for: what it is given, or what its body gave."""
    call = job.call
    return [*call._arguments.values(), *call._options.values()] if job.step is NO_STEP else job.step


def is_needed(job: Job, roots: Iterable[Job]) -> bool:
    """Whether the run fails with this job: nobody who can catch its error stands between it and the roots."""
    ends = {id(root) for root in roots}
    stack, seen = [job], {id(job)}
    while stack:
        current = stack.pop()
        if id(current) in ends:
            return True
        for one in (*current.waiters, *current.twins):
            if id(one) not in seen and not (one.flow is not None and getattr(one.task, "catches", False)):
                seen.add(id(one))
                stack.append(one)
    return False


def failed_jobs(expression: Any, jobs: Jobs) -> list[Job]:
    """The jobs whose own errors the expression fails with, in its order, each error once."""
    found: dict[int, Job] = {}
    stack = list(_failed(expression, jobs))[::-1]
    seen = {id(job) for job in stack}
    while stack:
        job = stack.pop()
        below = [one for one in _below(job, jobs) if id(one) not in seen]
        seen |= {id(one) for one in below}
        if below:
            stack += below[::-1]
        else:
            found.setdefault(id(job.error), job)
    return list(found.values())


def _below(job: Job, jobs: Jobs) -> Iterator[Job]:
    if job.broken:
        yield from _failed(_needed(job), jobs)


def _failed(expression: Any, jobs: Jobs) -> Iterator[Job]:
    return (job for call in find_calls(expression) if (job := jobs[id(call)]).error is not None)


def endless(jobs: Jobs, firsts: Mapping[object, Job]) -> tuple[Job, EndlessCall]:
    """A job of a circle, each of which waits for the next, and its error. Nothing is left that could run.

    Raises: the error of a job, if none waits: what cannot be recorded (a database that fails) is not counted.
    """
    job = next((job for job in jobs.values() if not job.is_settled), None)
    if job is None:
        raise next(job.error for job in jobs.values() if job.error is not None)
    seen: set[int] = set()
    while True:
        job = firsts.get(job.eval_hash, job) if job.eval_hash else job
        if id(job) in seen:
            job.replayable = False
            return job, EndlessCall(repr(job.call))
        seen.add(id(job))
        calls = (jobs[id(call)] for call in find_calls(_needed(job)))
        job = next((one for one in calls if not one.is_settled), job)


class Stopped(BaseException):
    """The run is to end with this job's error."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.job = job


def raised(failed: Sequence[Job], *, as_group: bool) -> BaseException:
    """What the caller gets: the first of these errors, or an ExceptionGroup of all of them."""
    if not as_group:
        return noted(failed[0])
    errors = [noted(job) for job in failed]
    return BaseExceptionGroup(f"{len(errors)} of the run's calls failed", errors)


def noted(job: Job) -> BaseException:
    """The job's error, with a note of where it is from."""
    error = job.error
    assert error is not None
    while (below := next((one for one in job.children if one.error is error), None)) is not None:
        job = below
    with suppress(Exception):  # an exception may refuse to be added to
        error.add_note(f"in task {job.task.name}, job {job.job_id}; `valuestore show {job.job_id}` has more")
    return error
