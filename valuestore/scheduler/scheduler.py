"""Scheduler: runs calls against a repository.

It holds what outlives a single run: the repository and the executors. One run is an ``Execution``.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from valuestore.db.record.rows import clean_text
from valuestore.errors import TaskError
from valuestore.executors.threads import open_executor
from valuestore.executors.worker import inside_body
from valuestore.lazy import renew_after_fork
from valuestore.redaction import redact
from valuestore.repository import Repository
from valuestore.scheduler.record import Execution
from valuestore.scheduler.run import Run
from valuestore.tasks.call import Expression, label_of
from valuestore.values.identity.inside import find

R = TypeVar("R")

_LABEL_MAX_CHARS = 200


class Scheduler:
    """Runs lazy calls; a context manager that closes what it opened.

    ``repository`` is one that is open, or where to open one (default: ``.valuestore/`` here or above).
    ``executor`` is a name such as ``"threads"`` or any ``concurrent.futures.Executor``; ``executors`` maps
    the names that tasks ask for to others. ``workers`` bounds the executors opened here.
    """

    def __init__(
        self,
        repository: Repository | str | Path | None = None,
        *,
        executor: str | Executor = "threads",
        executors: Mapping[str, str | Executor] | None = None,
        workers: int | None = None,
    ) -> None:
        self._owns_repository = not isinstance(repository, Repository)
        self.repository = repository if isinstance(repository, Repository) else Repository.open(repository)
        self._given: dict[str | None, str | Executor] = {None: executor}
        self._given.update(executors or {})
        self._workers = workers
        self._executors: dict[str | None, Executor] = {}
        renew_after_fork(self._forget_executors)
        self._runs = 0
        self.execution: Execution | None = None
        """The newest run, with its job counts; also while it goes on."""

    def run(self, call: R, *, tags: Mapping[str, Any] | None = None) -> R:
        """The value of a call, or of any structure of calls. Calls that were run before are not run again.

        Raises: what a task raises, with its type and a note of the job; NotHashableError for an argument
        without identity. What finished before the error is recorded and cached.
        """
        if inside_body.get() and self._runs:
            raise TaskError("a task called run of the scheduler that runs it; let it return the call instead")
        self.execution = Execution(clean_text(redact(label_of(call, _LABEL_MAX_CHARS)), _LABEL_MAX_CHARS))
        for other in find(call, Expression).others:
            self.repository.archive.registry.check_no_calls(other)
        self._runs += 1
        try:
            return self._run(call, tags or {})
        finally:
            self._runs -= 1

    def _run(self, call: R, tags: Mapping[str, Any]) -> R:
        assert self.execution is not None
        value: R = Run(self.repository, self._executor, self.execution, tags).value_of(call)
        return value

    def close(self) -> None:
        """Stop the executors opened here and close the repository if it was opened here."""
        for name, executor in self._executors.items():
            if not isinstance(self._given.get(name), Executor):
                executor.shutdown(wait=False, cancel_futures=True)
        self._executors.clear()
        if self._owns_repository:
            self.repository.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _forget_executors(self) -> None:
        """In a child process, which has no threads of its parent's."""
        self._executors = {}

    def _executor(self, name: str | None) -> Executor:
        executor = self._executors.get(name)
        if executor is None:
            given = self._given.get(name, name)
            executor = given if isinstance(given, Executor) else open_executor(str(given), self._workers)
            self._executors[name] = executor
        return executor
