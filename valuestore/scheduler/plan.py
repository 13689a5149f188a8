"""Plan: what would run for a call and why, found out without running a body or recording anything.

It is a run (run.py) that gives no body to an executor: what needs the result of one is unknown until it has
run. Control flow is advanced, and iterators that ``map_`` draws from are drawn from.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, cast

from valuestore.db.history.code import CodePart
from valuestore.db.history.why import JobFacts, WhyFinder
from valuestore.db.ids import new_id
from valuestore.redaction import redact
from valuestore.repository import Repository
from valuestore.scheduler.job import Argument, Job
from valuestore.scheduler.record import Execution
from valuestore.scheduler.run import Run
from valuestore.tasks.options import Asked
from valuestore.values.archive import Archive
from valuestore.values.code.function import Dependency
from valuestore.values.code.members import verify

_MOST_EXPLAINED = 500  # each takes some queries
_MOST, _NOBODY = 1 << 62, cast(Any, None)


@dataclass(frozen=True)
class PlannedCall:
    """A call that would be looked up. Its body runs, or not (cached); unknown: what it needs is not there."""

    task: str
    arguments: str
    status: Literal["cached", "run", "unknown"]
    reason: str


@dataclass(frozen=True)
class Plan:
    """What is known before anything has run; ``calls`` in the order they are met, without control flow."""

    calls: tuple[PlannedCall, ...]


class _NotRun(Exception):
    """What a call fails with whose body would have to run, and with it what needs its result."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.job, self.arguments = job, job.arguments


class Planning(Run):
    """A run that gives no body to anybody."""

    def __init__(self, repository: Repository, asked: Asked, at_once: int) -> None:
        repository.flush()
        dry, self._rows = copy.copy(repository), _Rows()
        dry.recorder, dry.observers = self._rows, ()  # type: ignore[assignment]  # as far as a run asks
        dry.archive = Archive(dry.archive.registry, dry.payloads, _MOST)  # all inline: nothing is stored
        super().__init__(dry, _NOBODY, Execution(""), asked, at_once)
        self._why, self._lookup = WhyFinder(repository.database), repository.lookup
        self._left, self._outcome = _MOST_EXPLAINED, self.flows._outcome
        self.flows._outcome = self._known  # type: ignore[method-assign]  # it is no error that one may catch
        self.handles.enter = self._rows.nothing  # type: ignore[method-assign]  # no state is entered
        self.bodies.submit = lambda job: self.fail(job, _NotRun(job))  # type: ignore[method-assign]

    def plan(self, expression: Any) -> Plan:
        """The plan of a call, or of any structure of calls. Raises: ValuestoreError."""
        with self._kept():
            self.roots = self.waiting.begin(expression, None)
            self._work(all_of_it=True)
            return Plan(tuple(self._planned(job) for job in self._met_jobs()))

    def _known(self, asked: Any) -> tuple[Any, Exception | None]:
        value, error = self._outcome(asked)
        if isinstance(error, _NotRun):
            raise error
        return value, error

    def _met_jobs(self) -> list[Job]:
        """Each call once."""
        found, stack = {}, [*self.jobs.values()]
        while stack:
            if (job := stack.pop()).job_id not in found:
                found[job.job_id] = job
                stack += job.children
        firsts = {job.eval_hash or key: job for key, job in sorted(found.items(), reverse=True)}
        return sorted((job for job in firsts.values() if not job.task.is_control), key=lambda job: job.job_id)

    def _planned(self, job: Job) -> PlannedCall:
        told = job.task.name, redact(repr(job.call)).removeprefix(f"{job.task.name}(").removesuffix(")")
        if isinstance(job.error, _NotRun):
            if job.error.job is job:
                return PlannedCall(*told, "run", self._reason(job, job.error.arguments))
            if job.started:
                return PlannedCall(*told, "cached", "its body; not all calls that it made")
            return PlannedCall(*told, "unknown", f"until {job.error.job.task.name} has run")
        if job.error is not None:
            return PlannedCall(*told, "unknown", f"it cannot run: {job.error}")
        held = job.result.replayed if job.result else None
        return PlannedCall(*told, "cached", f"with the {held.calls - 1} calls below it" if held else "")

    def _reason(self, job: Job, arguments: Iterable[Argument]) -> str:
        self._left -= 1
        if self.options.is_forced is not None and self.options.is_forced(job.task):
            return "this run is to run it, whatever the cache has"
        if job.forced or self._left < 0:
            return "the earlier result was lost or damaged" if job.forced else "it is not in the cache"
        task, given = job.task, tuple(_row(*each) for each in enumerate(arguments))
        of_task = task.name, job.task_hash, task.version, task.source
        hashes = None, job.args_hash, None, job.classes_hash, self._reached(job)
        of_rows = given, self._rows.code, self.cache.replay._invalid
        facts = JobFacts(new_id(), _MOST, "done", *of_task, *hashes, *of_rows)
        return "; ".join(map(str, self._why.reasons(facts)))

    def _reached(self, job: Job) -> str:
        """A name for what its body reached in earlier runs and is no longer what it was."""
        traces = {trace for _, trace, _ in self._lookup.evaluations([job.eval_hash]) if trace}
        sets = self._lookup.code_sets(traces).values()
        parts = [Dependency(*each, None) for one in sets for each in one.items()]
        changed = [part.name for part in parts if not verify([part], self.archive.registry)]
        self._rows.code[job.eval_hash] = tuple(CodePart(name, "") for name in changed)
        return job.eval_hash


def _row(position: int, argument: Argument) -> SimpleNamespace:
    """As the history has the row of an argument."""
    known: Any = argument.encoded or argument.ref
    told = {"type_name": known.type_name, "preview": known.preview, "path": known.external}
    return SimpleNamespace(position=position, name=argument.name, value_hash=argument.value_hash, **told)


class _Rows:
    """In the place of a recorder: keeps what is said of code, and writes nothing."""

    def __init__(self) -> None:
        self.code: dict[str, tuple[CodePart, ...]] = {}

    def record_code(self, rows: Iterable[Any]) -> None:
        for code_hash, *part in rows:
            self.code[code_hash] = (*self.code.get(code_hash, ()), CodePart(*part))

    def record_task(self, _row: Any, dependencies: Iterable[Any] = ()) -> None:
        self.record_code(dependencies)

    def __getattr__(self, name: str) -> Any:
        return lambda *_given, **_more: None
