"""Job: one attempt to run a call, from waiting for its arguments to its recorded result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from valuestore.db.jobs import new_id, now
from valuestore.hashing import Digest
from valuestore.tasks.expression import Call
from valuestore.tasks.task import Task
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import TAGGED
from valuestore.values.registry import Encoded

UNLOADED = object()
"""A result's value while its bytes are in the store alone."""

NO_STEP = object()
"""The step of a job whose body has not returned calls of its own."""


@dataclass(slots=True)
class Result:
    """What a job gave. ``ref`` is None if it cannot be stored; ``value`` may be ``UNLOADED`` if it is."""

    value: Any
    ref: ValueRef | None


@dataclass(slots=True)
class Argument:
    """One argument of a job that is ready: its name, its identity and where its value comes from.

    ``encoded`` is None when the argument is the stored result of another job, ``source``.
    """

    name: str
    value: Any
    value_hash: Digest
    encoded: Encoded | None
    ref: ValueRef | None
    source: Job | None

    @property
    def may_go_stale(self) -> bool:
        """Whether something inside can stand for outside state: plain data cannot."""
        codec = self.encoded.payload.codec if self.encoded else self.ref.codec if self.ref else ""
        return codec == TAGGED


class Job:
    """A call within an execution. ``needed`` counts the calls it still waits for."""

    __slots__ = (
        "args_hash",
        "arguments",
        "call",
        "call_hash",
        "children",
        "eval_hash",
        "forced",
        "job_id",
        "needed",
        "parent",
        "result",
        "started",
        "status",
        "step",
        "task",
        "task_hash",
        "twins",
        "waiters",
    )

    def __init__(self, call: Call, parent: Job | None) -> None:
        self.call = call
        self.task: Task[..., Any] = call._task
        self.parent = parent
        self.job_id = new_id()
        self.started = now()
        self.status = "waiting"
        self.needed = 0
        self.forced = False  # run it whatever the cache says
        self.waiters: list[Job] = []
        self.twins: list[Job] = []
        self.children: list[Job] = []
        self.task_hash = Digest("")
        self.args_hash = Digest("")
        self.eval_hash = Digest("")
        self.arguments: list[Argument] = []
        self.step: Any = NO_STEP  # what the body returned, while its calls are still to run
        self.result: Result | None = None
        self.call_hash: Digest | None = None

    def __repr__(self) -> str:
        return f"<job {self.job_id} {self.status}: {self.call!r}>"
