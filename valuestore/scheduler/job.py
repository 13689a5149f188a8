"""Job: one attempt to run a call, from waiting for its arguments to its recorded result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from valuestore.db.ids import new_id
from valuestore.db.record.rows import CallRow, JobRow, Source
from valuestore.db.record.rows import call_hash as hash_call
from valuestore.db.record.subtree import EMPTY, FLAT_EXTERNALS, FLAT_TASKS, SubtreeSet, single, union
from valuestore.errors import NotHashableError
from valuestore.hashing import Digest
from valuestore.scheduler.within import Within
from valuestore.tasks.call import Call
from valuestore.tasks.context import Context
from valuestore.tasks.options import Options
from valuestore.tasks.task import Task
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import MAY_GO_STALE
from valuestore.values.payload import Encoded
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Value, value_types

if TYPE_CHECKING:
    from valuestore.scheduler.code import Code

T = TypeVar("T")

_NOTHING = Digest("")
_NO_CLASSES: frozenset[type] = frozenset()


@dataclass(frozen=True, slots=True)
class Replayed:
    """A finished call that holds with all below it: its node, its size, and what it depends on."""

    call_hash: Digest
    calls: int
    tasks: SubtreeSet
    externals: SubtreeSet


UNLOADED = object()
"""A result's value while its bytes are in the store alone."""

NO_STEP = object()
"""The step of a job whose body has not returned calls of its own."""


@dataclass(slots=True)
class Result:
    """What a job gave. ``ref`` is None if it cannot be stored; ``value`` may be ``UNLOADED`` if it is.

    ``externals`` are the values in it that can go stale, ``classes`` the user's own of the objects in it;
    ``trace_hash`` is the code that the cached one holds for; ``replayed`` is the finished call, if the
    result is that of a whole subtree; ``code`` as of ``Encoded``.
    """

    value: Any
    ref: ValueRef | None
    externals: Externals = ()
    classes: frozenset[type] = frozenset()
    trace_hash: Digest = _NOTHING
    replayed: Replayed | None = None
    code: tuple[object, ...] = ()


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


Several = list[T] | tuple[()]
"""A list, or the one empty tuple of all jobs that have none: a million of them wait at once."""


def added(those: Several[T], one: T) -> list[T]:
    """Those and one more."""
    if isinstance(those, list):
        those.append(one)
        return those
    return [one]


class Job:
    """A call within an execution, met in the expression ``within``.

    ``needed`` counts the calls it still waits for; ``started`` is 0 until it is looked up.
    """

    __slots__ = (
        "apart",
        "args_hash",
        "arguments",
        "broken",
        "call",
        "call_hash",
        "calls",
        "children",
        "classes",
        "classes_hash",
        "context",
        "count",
        "error",
        "eval_hash",
        "evaluated",
        "externals",
        "flow",
        "forced",
        "job_id",
        "lease",
        "needed",
        "options",
        "own_code",
        "own_externals",
        "parent",
        "recorded",
        "replayable",
        "result",
        "signature_hash",
        "slack",
        "sources",
        "started",
        "status",
        "step",
        "task",
        "task_hash",
        "tasks",
        "told",
        "trace_hash",
        "twins",
        "waiters",
        "within",
    )

    def __init__(
        self,
        call: Call,
        parent: Job | None,
        within: Within | None,
        options: Options,
        context: Context | None = None,
    ) -> None:
        self.call = call
        self.options = options
        self.context = context  # None: that of the run
        self.recorded: bool = parent is None or (parent.recorded and parent.options.prov)
        self.task: Task[..., Any] = call._task  # type: ignore[assignment]  # what tasks make calls of
        self.parent = parent
        self.within = within
        self.job_id = new_id()
        self.started = 0
        self.status = "waiting"
        self.needed = 0
        self.slack = 0  # so many of them may be open while it draws more
        self.broken = False  # one of them failed
        self.error: BaseException | None = None  # why it failed
        self.flow: Any = None  # where it is, if its task is control flow (flow.py)
        self.forced = False  # run it whatever the cache says
        self.lease = ""  # the key of the one that it holds (waiting.py)
        self.waiters: Several[Job] = ()
        self.told: Callable[[Job], None] | None = None  # once it is settled
        self.twins: Several[Job] = ()
        self.children: Several[Job] = ()
        self.task_hash = self.args_hash = self.eval_hash = _NOTHING
        self.classes = _NO_CLASSES  # the user's own in its arguments
        self.classes_hash: Digest | None = None  # what these bring that the task does not name
        self.signature_hash = _NOTHING  # how its arguments were bound
        self.own_code: tuple[Digest, ...] = ()  # that the values it was given, and those it gave, bring
        self.own_externals: Externals = ()  # in what it gave
        self.trace_hash = _NOTHING  # what its body reached that the task does not name
        self.arguments: Several[Argument] = ()
        self.step: Any = NO_STEP  # what the body returned, while its calls are still to run
        self.evaluated: ValueRef | None = None  # what the body gave, to be recorded with the job
        self.result: Result | None = None
        self.call_hash: Digest | None = None
        self.calls: Several[tuple[int, Call]] = ()  # in its arguments, by the position of the argument
        self.sources: Several[tuple[int, Job]] = ()  # whose results the arguments are made of
        self.tasks = EMPTY  # what the calls below depend on, itself included
        self.externals = EMPTY
        self.replayable = options.cache
        self.apart = False  # its sets do not tell what ``update_context`` around it says
        self.count = 1  # jobs, itself and those below

    def depends_on(self, given: Result, code: Code) -> None:
        """Note what its result rests on besides its task and arguments: what its body gave, or the result.

        Its sets tell of the files in it, of the code of the own classes in it, and of code that is a value by
        itself, if a name leads to that.
        """
        if given.replayed is None:
            self.own_externals += given.externals
            if given.classes or given.code:
                self.bring(code.brought(given.classes, given.code))

    def bring(self, brought: tuple[Digest, ...] | None) -> None:
        """Note code that a value brings. None: nobody can tell whether it is still the same."""
        self.replayable = self.replayable and brought is not None
        self.own_code += brought or ()

    def rests_on_failure(self, code: Code) -> None:
        """Note what decides, besides its arguments, that it fails: whoever catches that gives it again."""
        try:
            self.task_hash = self.task_hash or code.met(self.task)
        except NotHashableError:
            self.replayable = False
        self.signature_hash = self.signature_hash or code.signature_hash(self.task)
        self.bring((code.options_hash(self.task),))

    def renew(self) -> None:
        """Before it runs again: forget what it gave."""
        self.job_id, self.result, self.forced, self.children = new_id(), None, True, ()
        self.status, self.flow, self.broken = "waiting", None, False
        self.own_externals, self.own_code, self.replayable = (), (), self.options.cache
        self.apart = False

    def call_row(self, result: Result, algorithm: str) -> CallRow | None:
        """The finished call, whose address the job keeps; None if its result cannot be stored.

        Now that it and all its children are finished, it takes together what its subtree depends on.
        """
        if (held := result.replayed) is not None:
            self.call_hash, self.count = held.call_hash, held.calls
            self.tasks, self.externals = held.tasks, held.externals
            return None
        self.gather(algorithm)
        if result.ref is None:
            self.replayable = False
        if result.ref is None or not self.recorded:
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
            self.replayable and not self.apart,
            self.count,
            self.apart,
        )

    def gather(self, algorithm: str) -> None:
        """Take together what the subtree depends on.

        A call that cannot be looked up again is not replayable, nor is one above it. One that failed may be:
        whoever caught the error gives the same while nothing below has changed.
        """
        children = self.children
        if self.context is not None:
            self.apart = self.apart or any(child.apart for child in children)
        own = [*self.own_externals]
        self.count = 1 + sum([child.count for child in children])
        for argument in self.arguments:
            if argument.may_go_stale:
                own += argument.externals
        if children or own or self.trace_hash or self.own_code:
            tasks, externals = [child.tasks for child in children], [child.externals for child in children]
            code = [self.task_hash, self.trace_hash, *self.own_code]
            code += [child.signature_hash for child in children]
            self.tasks = union([one for one in code if one], tasks, FLAT_TASKS, algorithm)
            self.externals = union(own, externals, FLAT_EXTERNALS, algorithm)
        else:
            self.tasks = single(self.task_hash)
        self.replayable = self.replayable and all(
            child.replayable
            and (
                child.call_hash is not None
                or child.error is not None
                or (child.result is not None and not child.recorded)
            )
            for child in children
        )

    @property
    def is_settled(self) -> bool:
        """Whether it has a result, or failed."""
        return self.result is not None or self.error is not None

    def share(self, first: Job) -> None:
        """Take over what another job of an equal call gave."""
        self.status, self.result, self.call_hash = "cached", first.result, first.call_hash
        self.tasks, self.externals, self.replayable = first.tasks, first.externals, first.replayable
        self.apart = first.apart
        self.arguments, self.sources, self.trace_hash = (), (), first.trace_hash

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
            self.count if self.count > 1 and self.result is not None and self.result.replayed else None,
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


def externals_of(asked: Iterable[object], registry: TypeRegistry) -> Externals:
    """The externals among what is inside a value that was loaded; each once. Raises: NotHashableError."""
    found: dict[Digest, None] = {}
    for one in asked:
        if isinstance(one, Value) and (one.external() is not None or _checks_itself(type(one))):
            found[registry.hash(one)] = None
    return tuple(found)


def _checks_itself(cls: type | None) -> bool:
    return cls is not None and issubclass(cls, Value) and cls.is_valid is not Value.is_valid
