"""Job: one attempt to run a call, from waiting for its arguments to its recorded result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from valuestore.db.ids import new_id
from valuestore.db.record.rows import CallRow, JobRow, Source
from valuestore.db.record.rows import call_hash as hash_call
from valuestore.db.record.subtree import EMPTY, FLAT_EXTERNALS, FLAT_TASKS, single, union
from valuestore.errors import ValuestoreError
from valuestore.hashing import Digest
from valuestore.tasks.call import Call, find_calls
from valuestore.tasks.task import Task
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import MAY_GO_STALE
from valuestore.values.identity.inside import calls_refused
from valuestore.values.payload import Encoded
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Value, value_types

_NOTHING = Digest("")
_NO_CLASSES: frozenset[type] = frozenset()

UNLOADED = object()
"""A result's value while its bytes are in the store alone."""

NO_STEP = object()
"""The step of a job whose body has not returned calls of its own."""


@dataclass(slots=True)
class Result:
    """What a job gave. ``ref`` is None if it cannot be stored; ``value`` may be ``UNLOADED`` if it is.

    ``externals`` are the values in it that can go stale, ``classes`` the user's own of the objects in it;
    ``trace_hash`` is the code that the cached one holds for.
    """

    value: Any
    ref: ValueRef | None
    externals: Externals = ()
    classes: frozenset[type] = frozenset()
    trace_hash: Digest = _NOTHING


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
    def externals(self) -> Externals:
        """The values in it that can go stale."""
        if self.encoded is not None:
            return externals_in(self.encoded)
        assert self.source is not None
        return self.source.result.externals if self.source.result is not None else ()

    @property
    def may_go_stale(self) -> bool:
        """Whether something inside can stand for outside state: plain data cannot."""
        codec = self.encoded.codec if self.encoded else self.ref.codec if self.ref else ""
        return codec in MAY_GO_STALE


class Within:
    """An expression whose calls became jobs together, and which of its calls each is, if anybody asks."""

    __slots__ = ("_hash_of", "_numbers", "expression")

    def __init__(self, expression: Any, hash_of: Callable[[object], str]) -> None:
        self.expression = expression
        self._hash_of = hash_of
        self._numbers: dict[int, int] | None = None

    def position_of(self, call: Call) -> int:
        """For values that tell calls apart by it (handles); see ``call_positions``."""
        if self._numbers is None:
            positions = call_positions(self.expression, self._hash_of)
            self._numbers = {id(one): position for one, position in positions}
            self.expression = None
        return self._numbers[id(call)]


class Job:
    """A call within an execution, met in the expression ``within``.

    ``needed`` counts the calls it still waits for; ``started`` is 0 until it is looked up.
    """

    __slots__ = (
        "args_hash",
        "arguments",
        "call",
        "call_hash",
        "calls",
        "children",
        "classes",
        "classes_hash",
        "eval_hash",
        "evaluated",
        "externals",
        "forced",
        "job_id",
        "needed",
        "parent",
        "replayable",
        "result",
        "sources",
        "started",
        "status",
        "step",
        "task",
        "task_hash",
        "tasks",
        "trace_hash",
        "twins",
        "waiters",
        "within",
    )

    def __init__(self, call: Call, parent: Job | None, within: Within | None) -> None:
        self.call = call
        self.task: Task[..., Any] = call._task  # type: ignore[assignment]  # what tasks make calls of
        self.parent = parent
        self.within = within
        self.job_id = new_id()
        self.started = 0
        self.status = "waiting"
        self.needed = 0
        self.forced = False  # run it whatever the cache says
        self.waiters: list[Job] = []
        self.twins: list[Job] = []
        self.children: list[Job] = []
        self.task_hash = Digest("")
        self.args_hash = Digest("")
        self.eval_hash = Digest("")
        self.classes = _NO_CLASSES  # the user's own in its arguments
        self.classes_hash: Digest | None = None  # what these bring that the task does not name
        self.trace_hash = _NOTHING  # what its body reached that the task does not name
        self.arguments: list[Argument] = []
        self.step: Any = NO_STEP  # what the body returned, while its calls are still to run
        self.evaluated: ValueRef | None = None  # what the body gave, to be recorded with the job
        self.result: Result | None = None
        self.call_hash: Digest | None = None
        self.calls: list[tuple[int, Call]] = []  # in its arguments, by the position of the argument
        self.sources: list[tuple[int, Job]] = []  # whose results the arguments are made of
        self.tasks = EMPTY  # what the calls below depend on, itself included
        self.externals = EMPTY
        self.replayable = self.task.cache

    def call_row(self, result: Result, algorithm: str) -> CallRow | None:
        """The finished call, whose address the job keeps; None if its result cannot be stored.

        Now that it and all its children are finished, it takes together what its subtree depends on.
        """
        self._gather(result, algorithm)
        if result.ref is None:
            return None
        children = tuple([child.call_hash for child in self.children if child.call_hash is not None])
        value_hash = result.ref.value_hash
        self.call_hash = hash_call(self.task_hash, self.args_hash, value_hash, children, algorithm)
        sources = tuple(
            [Source(position, job.call_hash) for position, job in self.sources if job.call_hash is not None]
        )
        return CallRow(
            self.call_hash,
            self.task_hash,
            self.args_hash,
            value_hash,
            children,
            sources,
            self.tasks,
            self.externals,
            self.replayable,
        )

    def _gather(self, result: Result, algorithm: str) -> None:
        """A call that cannot be looked up again is not replayable, nor is one above it."""
        children = self.children
        own = [*result.externals]
        for argument in self.arguments:
            if argument.may_go_stale:
                own += argument.externals
        if children or own or self.classes_hash or self.trace_hash:
            tasks, externals = [child.tasks for child in children], [child.externals for child in children]
            code = [self.task_hash, self.classes_hash, self.trace_hash]
            self.tasks = union([one for one in code if one], tasks, FLAT_TASKS, algorithm)
            self.externals = union(own, externals, FLAT_EXTERNALS, algorithm)
        else:
            self.tasks = single(self.task_hash)
        self.replayable = (
            self.replayable
            and result.ref is not None
            and all(child.replayable and child.call_hash is not None for child in children)
        )

    def share(self, first: Job) -> None:
        """Take over what another job of an equal call gave."""
        self.status, self.result, self.call_hash = "cached", first.result, first.call_hash
        self.tasks, self.externals, self.replayable = first.tasks, first.externals, first.replayable
        self.arguments, self.sources, self.trace_hash = [], [], first.trace_hash

    def row(
        self, execution_id: str, ended: int, error: str | None = None, trace: str | None = None
    ) -> JobRow:
        """What is recorded of it as it is now."""
        return JobRow(
            self.job_id,
            execution_id,
            self.parent.job_id if self.parent else None,
            self.task_hash,
            self.call_hash,
            None if self.call_hash else self.args_hash or None,
            self.status,
            self.started,
            ended,
            error,
            trace,
            self.classes_hash,
            self.trace_hash or None,
        )

    def __repr__(self) -> str:
        return f"<job {self.job_id} {self.status}: {self.call!r}>"


# --- Externals: which values a call was given or gave that stand for outside state and can go stale.
#
# They are named by their hashes. A value that was just encoded knows the values inside it; of one that came
# out of the database, they are looked for in the object.


Externals = tuple[Digest, ...]


def externals_in(root: Encoded | ValueRef) -> Externals:
    """The externals of a value that was just encoded, itself included; each once."""
    if root.codec not in MAY_GO_STALE:
        return ()
    found: dict[Digest, None] = {}
    stack: list[Encoded | ValueRef] = [root]
    while stack:
        current = stack.pop()
        if current.external is not None or _checks_itself(value_types.get(current.type_name)):
            found[current.value_hash] = None
        stack.extend(current.parts)
    return tuple(found)


def externals_of(value: object, registry: TypeRegistry) -> Externals:
    """The externals in a value that was loaded; each once. Raises: NotHashableError."""
    found: dict[Digest, None] = {}
    for one in registry.iter_values(value):
        if one.external() is not None or _checks_itself(type(one)):
            found[registry.hash(one)] = None
    return tuple(found)


def _checks_itself(cls: type | None) -> bool:
    return cls is not None and issubclass(cls, Value) and cls.is_valid is not Value.is_valid


def call_positions(obj: Any, hash_of: Callable[[object], str]) -> Iterator[tuple[Call, int]]:
    """Every call in ``obj`` and its position: those in arguments come before the call that takes them.

    So a call that is put around others, or after them, leaves their positions as they are. Equal calls have
    one position, since a call that is used twice comes back from a store as two.
    """
    positions: dict[object, int] = {}
    seen: set[int] = set()
    open_calls: list[tuple[Call | None, Iterator[Call]]] = [(None, iter(find_calls(obj)))]
    while open_calls:
        call, inner = open_calls[-1]
        following = next((one for one in inner if id(one) not in seen), None)
        if following is not None:
            seen.add(id(following))
            open_calls.append((following, iter(find_calls(following._arguments))))
            continue
        open_calls.pop()
        if call is not None:
            yield call, positions.setdefault(_key(call, hash_of), len(positions))


def _key(call: Call, hash_of: Callable[[object], str]) -> object:
    try:
        with calls_refused(step=call):
            return hash_of(call)
    except ValuestoreError:  # then it is never stored either
        return id(call)
