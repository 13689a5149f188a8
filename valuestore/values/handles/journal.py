"""Handle journal: which state a handle is in, and who is asked whether that is the current one.

The way by which handles are asked about without knowing a database: a run keeps a journal, and workers take
for valid what they are sent. The handles themselves (handle.py) are loaded by programs that have some.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, Self

from valuestore.hashing import hash_struct
from valuestore.values.value import Value

KEY_ALGORITHM = "blake3-256"
"""The same in every repository; and nobody finds two histories with one key."""


@dataclass(frozen=True, slots=True)
class HandleInfo:
    """Which handle, and which of its states.

    ``key`` digests what led to the state; it is empty before the first call. ``kind`` is what came last:
    ``init``, ``enter`` (was passed to a task), ``fork``, ``merge`` or ``call`` (was returned by one).
    ``anchors`` are the keys of the calls' results that the state rests on: it is current as long as they are.
    ``trail`` are the steps since the last of them, pairs of the key before and after.
    """

    name: str
    namespace: str
    arguments: dict[str, Any]
    key: str = ""
    kind: str = "init"
    fork_name: str | None = None
    anchors: tuple[str, ...] = ()
    trail: tuple[tuple[str, str], ...] = ()

    @property
    def fullname(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    def at(self, key: str) -> HandleInfo:
        """Another state of the same handle, of which no more than the key is known."""
        return HandleInfo(self.name, self.namespace, self.arguments, key)

    def next(self, kind: str, what: str | int) -> HandleInfo:
        key = hash_struct([self.key, kind, what], "handle", algorithm=KEY_ALGORITHM)
        fork_name = str(what) if kind == "fork" else None
        anchors = (key,) if kind == "call" else self.anchors
        trail = (*self.steps, (self.key, key))
        return HandleInfo(self.name, self.namespace, self.arguments, key, kind, fork_name, anchors, trail)

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """The trail that later steps go on with: a call's result begins a new one."""
        return () if self.kind == "call" else self.trail


class Journaled(Value, register=False):
    """A value that is a state of something outside: ``Handle`` and its subclasses."""

    __handle__: HandleInfo

    @abstractmethod
    def at(self, key: str) -> Self:
        """Another state of it, of which no more than the key is known."""


class HandleJournal(Protocol):
    """Who knows which states are current: in a run, the scheduler."""

    def is_valid(self, handle: Journaled, /) -> bool:
        """Whether all that the state rests on is still so."""

    def holds(self, ref: Any, /) -> bool:
        """Whether a name of the catalog stands for what a ref of it (values/entry.py) says."""


class _Answer:
    """A journal that says the same of every handle."""

    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def is_valid(self, handle: Journaled, /) -> bool:
        return self._answer

    def holds(self, ref: Any, /) -> bool:
        return self._answer


_NOBODY = _Answer(False)
_journal: ContextVar[HandleJournal] = ContextVar("journal")


def journal() -> HandleJournal:
    """The journal of the run that goes on here. Without one, no handle is known to be current."""
    return _journal.get(_NOBODY)


@contextmanager
def journal_kept_by(keeper: HandleJournal) -> Iterator[None]:
    token = _journal.set(keeper)
    try:
        yield
    finally:
        _journal.reset(token)


@contextmanager
def handles_taken_as_valid() -> Iterator[None]:
    """For workers: whoever sent them a handle has seen to it that it is current."""
    with journal_kept_by(_Answer(True)):
        yield
