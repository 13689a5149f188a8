"""Events: what happens to stored bytes, jobs and executions, as it happens, for those who want to know.

Whoever does the work tells ``notify``; an observer is any callable that takes an ``Event``, and it can
never break the work. ``stores.wrappers.Observed`` tells of any store, ``Tiered`` of its hits and misses, and
``scheduler.record`` of executions and their jobs. A ``Change`` is what became visible, told after the fact,
once, in order.
"""

from __future__ import annotations

import itertools
import pickle
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self, TypeVar

from valuestore.errors import NotFound

_numbers = itertools.count(1)

Phase = Literal["start", "step", "end"]


@dataclass(frozen=True, slots=True)
class Event:
    """A moment of one operation: a start, any number of steps, an end. ``number`` is the same in all.

    ``bytes_done`` never shrinks and ends at what was moved; ``bytes_total`` is None while unknown.
    """

    operation: str
    """``get put stat delete list open copy move``, ``*_many``, ``cache_hit cache_miss cache_error`` ..."""
    key: str
    phase: Phase
    bytes_done: int = 0
    bytes_total: int | None = None
    seconds: float = 0.0
    """Since the start."""
    error: BaseException | None = None
    """Why it ended, if it failed."""
    place: str = ""
    """The store's URL, without credentials."""
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True, slots=True)
class JobEvent(Event):
    """A start or an end of an ``execution`` or a ``job``, which is what its operation says. No bytes move.

    ``key`` is its id, ``place`` the repository's folder, ``seconds`` what it took: 0 if it was cached.
    """

    task: str = ""
    """The name of the job's task; of an execution, its label."""
    outcome: str = ""
    """At the end: ``done``, ``cached``, ``failed`` or ``interrupted``."""
    message: str = ""
    """Why it failed, without the secrets that the text of ``error`` may hold."""
    parent: int = 0
    """The number of the job that called it, or of the execution; 0 for that."""
    call: object = ""
    """Of a job: ``str(event.call)`` is its call, without secrets. It is made when it is asked for."""


@dataclass(frozen=True, slots=True)
class Change:
    """A key that was ``set`` (it is new), got an ``update``, or fell to a ``delete``.

    ``attrs`` are those it has now, or for a delete those it had last.
    """

    kind: Literal["set", "update", "delete"]
    key: str
    attrs: Mapping[str, Any]
    place: str = ""


class Observer(Protocol):
    """Whatever takes events. It is called in the thread that does the work, so it is quick, or queues."""

    def __call__(self, event: Event, /) -> object: ...


_E = TypeVar("_E", Event, Change)


def notify(observers: Iterable[Callable[[_E], object]], event: _E) -> None:
    """Tell each of them, in order. What an observer raises is logged, and the next one is told."""
    for observer in observers:
        try:
            observer(event)
        except Exception:
            import logging  # late: few observers fail

            logging.getLogger(__name__).warning(
                "observer %r failed at %s of %r", observer, event, event.key, exc_info=True
            )


class Audience:
    """Several observers as one. Its pickle holds those that can be pickled, so that work can move."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def __call__(self, event: Event) -> None:
        notify(self._observers, event)

    def __reduce__(self) -> tuple[Any, ...]:
        return Audience, tuple(observer for observer in self._observers if _can_move(observer))


def _can_move(observer: Observer) -> bool:
    try:
        pickle.dumps(observer)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the work goes on
        return False
    return True


class Watch:
    """The events of one operation. As a block, it ends with the block, and fails with its error."""

    def __init__(
        self, observers: Iterable[Observer], operation: str, key: str, place: str, total: int | None = None
    ) -> None:
        self._observers = tuple(observers)
        self._began = time.perf_counter()
        self._event = Event(operation, key, "start", bytes_total=total, place=place)
        self._ended = False
        notify(self._observers, self._event)

    def step(self, count: int) -> None:
        self._tell(replace(self._event, phase="step", bytes_done=self._event.bytes_done + count))

    def end(self, error: BaseException | None = None) -> None:
        """It is done, or has failed; which counts once."""
        if not self._ended:
            self._ended = True
            self._tell(replace(self._event, phase="end", error=error))

    def _tell(self, event: Event) -> None:
        self._event = replace(event, seconds=time.perf_counter() - self._began)
        notify(self._observers, self._event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.end(error)


watch = Watch


def is_failure(event: Event) -> bool:
    """Whether the operation failed. That a key asked for is not there is an answer, to ``stat`` and such."""
    absent = isinstance(event.error, NotFound) and event.operation in ("stat", "size", "exists")
    return event.error is not None and not absent


class RunWatch:
    """The events of one execution and of its jobs. What began and has not ended, ends with the execution."""

    def __init__(self, observers: Iterable[Observer], execution_id: str, label: str, place: str) -> None:
        self._observers = tuple(observers)
        self._place = place
        self._open: dict[str, JobEvent] = {}
        self._run = JobEvent("execution", execution_id, "start", place=place, task=label)
        notify(self._observers, self._run)

    def start(self, job_id: str, task: str, parent: str | None = None, call: object = "") -> None:
        """The job begins, unless it has; ``parent`` is the id of the job that called it."""
        if job_id in self._open:
            return
        above = self._open.get(parent or "", self._run)
        began = JobEvent("job", job_id, "start", place=self._place, task=task, parent=above.number, call=call)
        self._open[job_id] = began
        notify(self._observers, began)

    def end(
        self,
        job_id: str,
        task: str,
        parent: str | None,
        call: object,
        outcome: str,
        seconds: float = 0.0,
        error: BaseException | None = None,
        message: str = "",
    ) -> None:
        """The job has ended. What needed no start of its own, since it was cached, starts now."""
        self.start(job_id, task, parent, call)
        self._end(self._open.pop(job_id), outcome=outcome, seconds=seconds, error=error, message=message)

    def close(self, outcome: str, seconds: float) -> None:
        while self._open:
            self._end(self._open.popitem()[1], outcome="interrupted")
        self._end(self._run, outcome=outcome, seconds=seconds)

    def _end(self, began: JobEvent, **facts: Any) -> None:
        notify(self._observers, replace(began, phase="end", **facts))
