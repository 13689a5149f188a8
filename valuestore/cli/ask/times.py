"""Times: where the time of an execution went, from when its jobs began and ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from valuestore.cli.terminal import print_facts, print_more

if TYPE_CHECKING:
    from valuestore.db.history.records import ExecutionRecord, JobRecord

Span = tuple[float, float]

_COLUMNS = ("task", "executed", "cached", "failed", "seconds", "mean", "longest", "share", "in_chain")


def times_of(execution: ExecutionRecord, jobs: Iterable[JobRecord]) -> dict[str, Any]:
    """Seconds by task, of the whole, and of when nothing ran; the chain of jobs that it took, oldest first.

    A job's seconds are its own: not those in which calls that it made ran. In the chain each began after the
    one before it had ended.
    """
    tasks: dict[str, dict[str, Any]] = {}
    spans: dict[str, Span] = {}
    made: dict[str | None, list[Span]] = defaultdict(list)
    for job in jobs:
        task = tasks.setdefault(job.task, dict.fromkeys(_COLUMNS, 0) | {"task": job.task, "jobs": []})
        task["executed" if job.status == "done" else job.status] += 1
        span = job.started.timestamp(), job.started.timestamp() + job.seconds
        made[job.parent_id].append(span)
        if job.status != "cached":
            spans[job.job_id] = span
            task["jobs"].append(job.job_id)
    own = {job_id: _without(span, made[job_id]) for job_id, span in spans.items()}
    parts = sorted((end, start, job_id) for job_id, ran in own.items() for start, end in ran)
    began = execution.started.timestamp()
    ended = max(began + (execution.seconds or 0.0), max(parts, default=(began,))[0])
    chain = _chain(parts)
    for task in tasks.values():
        jobs_seconds = [sum(end - start for start, end in own[job_id]) for job_id in task["jobs"]]
        task["in_chain"] = sum((chain.get(job_id, 0.0) for job_id in task.pop("jobs")), 0.0)
        task["seconds"], task["longest"] = sum(jobs_seconds, 0.0), max(jobs_seconds, default=0.0)
        task["mean"] = task["seconds"] / max(len(jobs_seconds), 1)
        task["share"] = task["seconds"] / (ended - began) if ended > began else 0.0
    idle = _without((began, ended), [(start, end) for end, start, _ in parts])
    return {
        "execution_id": execution.execution_id,
        "seconds": ended - began,
        "idle_seconds": sum(end - start for start, end in idle),
        "tasks": sorted(tasks.values(), key=lambda task: -task["seconds"]),
        "chain": list(chain),
    }


def _without(whole: Span, others: Iterable[Span]) -> list[Span]:
    """The parts of a span in which none of the others is."""
    parts, (start, end) = [], whole
    for began, ended in sorted(others):
        if start < began and start < end:
            parts.append((start, min(began, end)))
        start = max(start, ended)
    return [*parts, (start, end)] if start < end else parts


def _chain(parts: list[tuple[float, float, str]]) -> dict[str, float]:
    """From the part that ended last back, each time to the last that had ended by then: seconds by job."""
    found: dict[str, float] = {}
    before = float("inf")
    for end, start, job_id in reversed(parts):
        if end <= before:
            found[job_id] = found.get(job_id, 0.0) + end - start
            before = start
    return dict(reversed(found.items()))


def print_times(told: dict[str, Any]) -> None:
    """What ``times_of`` gives, as names, values and a table."""
    times = [(name, f"{told[key]:.3f} s") for name, key in (("seconds", "seconds"), ("idle", "idle_seconds"))]
    print_facts([("execution", told["execution_id"]), *times])
    rows = [
        [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in map(task.get, _COLUMNS)]
        for task in told["tasks"]
    ]
    print_more([name.replace("_", " ") for name in _COLUMNS], rows)
