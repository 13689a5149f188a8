"""Questions: calls that async bodies await (tasks/awaiting.py), which the run answers."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from valuestore.errors import EndlessCall, PayloadError, StoreError, TaskError
from valuestore.scheduler.job import Job, Result
from valuestore.scheduler.waiting import Loop
from valuestore.tasks.call import Call, Expression
from valuestore.tasks.control import identity
from valuestore.values.archive import Archive
from valuestore.values.identity.inside import calls_refused

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(eq=False)
class Question:
    """A call that a body awaits, and the future of its value."""

    call: Call
    future: Future[Any]


class Questions:
    """Those of one run that are not answered yet."""

    def __init__(self, loop: Loop, archive: Archive, asked: queue.SimpleQueue[Any]) -> None:
        self._loop = loop
        self._archive = archive
        self._asked = asked
        self._open: dict[Question, Job] = {}
        self._is_over, self._lock = False, Lock()

    @property
    def askers(self) -> set[Job]:
        """The jobs whose bodies wait for an answer."""
        return set(self._open.values())

    def asker(self, job: Job) -> Callable[[Expression], Future[Any]]:
        """For the job's body, in whose thread it is called."""
        from concurrent.futures import Future

        def ask(expression: Expression) -> Future[Any]:
            with calls_refused(step=expression):
                ref, _ = self._archive.try_pack(expression)
            own = expression if ref is None else self._archive.unpack(ref)  # the body may change what it gave
            question = Question(cast(Call, identity(own)), Future())
            with self._lock:
                if self._is_over:
                    question.future.cancel()
                else:
                    self._asked.put((job, question))
            return question.future

        return ask

    def answer(self, job: Job, question: Question) -> None:
        """Run it as a call below the job; not for a body that was given up."""
        if job.is_settled:
            question.future.cancel()
            return
        self._open[question] = job
        [asked] = self._loop.waiting.begin(question.call, job)
        asked.told = lambda settled: self._tell(question, settled)

    def _tell(self, question: Question, job: Job) -> None:
        if question not in self._open:
            return
        value, error = None, job.error
        if job.result is not None:
            try:
                value = self._value(question, job.result)
            except (PayloadError, StoreError):  # its bytes went away: it is run again
                first = self._loop.waiting.jobs[id(question.call)]
                first.told = lambda settled: self._tell(question, settled)
                self._loop.redo(first)
                return
            except Exception as raised:  # noqa: BLE001  # the body's to handle
                error = raised
        del self._open[question]
        _settle(question, value, error)

    def _value(self, question: Question, result: Result) -> Any:
        if result.ref is None:
            call = question.call._arguments["value"]
            raise TaskError(f"what {call!r} gave cannot be stored, so no other body is given it")
        return self._archive.unpack(result.ref)

    def give_up(self, *, is_circle: bool) -> None:
        """Nothing can go on: have all that is awaited fail."""
        for question in [*self._open]:
            del self._open[question]
            call = repr(question.call._arguments["value"])
            problem = f"{call} cannot begin: all bodies that run, or hold what it takes, wait for calls"
            _settle(question, None, EndlessCall(call) if is_circle else TaskError(problem))

    def end(self) -> None:
        """Answer no more."""
        with self._lock:
            self._is_over = True
        for question in self._open:
            question.future.cancel()
        self._open.clear()


def _settle(question: Question, value: Any, error: BaseException | None) -> None:
    if not question.future.set_running_or_notify_cancel():
        return
    if isinstance(error, StopIteration):  # which no coroutine raises
        problem = RuntimeError("a call raised StopIteration")
        problem.__cause__, error = error, problem
    if error is None:
        question.future.set_result(value)
    else:
        question.future.set_exception(error)
