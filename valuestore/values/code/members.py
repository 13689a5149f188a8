"""Members: what a trace is made of, each by a name that another process can follow, with a digest.

==================  ==================================================================================
``module.name``     a function, method or class of the user's own, with all that it refers to
``code module.name``  the same of what no name leads to, such as lambdas: all code called so in the file
``module NAME``     a module that was imported while a body ran: its source, and what it imports
``file PATH``       a file whose code ran though it is no module, by its source
``made NAME``       code that no file holds; never the same again
==================  ==================================================================================

Nothing is imported because a row says so, and no name leads to a library: such a member is not verified.
"""

from __future__ import annotations

import functools
import os
import sys
import types
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from threading import RLock
from types import CodeType, FunctionType
from typing import Any, NamedTuple, Self
from weakref import WeakKeyDictionary

from valuestore.errors import NotHashableError
from valuestore.hashing import Digest
from valuestore.values.code.files import file_of_member, source_form, written_path
from valuestore.values.code.function import Dependency, walked
from valuestore.values.code.ownership import is_own
from valuestore.values.code.reads import Read, Reads, listen, warn_of
from valuestore.values.code.source import (
    accessors,
    nested_codes,
    same_code,
    source_of,
    text_of,
    unwrap,
)
from valuestore.values.code.surroundings import surroundings
from valuestore.values.code.trace import Place, Reach, place_of, reached_too, trace_refused
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import find_object, is_task, module_name_of, module_named

_NEVER = Digest("")


inside_body: ContextVar[tuple[str, ...]] = ContextVar("inside_body", default=())
"""The runs whose bodies call this code, from the innermost out; empty outside of bodies."""


class Version(NamedTuple):
    """Whose body it is: the task's name for warnings, its hash, the run that asks for it, those around that.

    Without a hash nothing is traced. What was found in one run is not looked up again in it.
    """

    task: str = ""
    code: str = ""
    run: str = ""
    around: tuple[str, ...] = ()


class Body:
    """One call of a task's function. ``with`` it, in the thread that calls."""

    __slots__ = ("_function", "_outer", "_reads", "_registry", "_token", "_trace", "_version")

    def __init__(self, function: Any, version: Version, registry: TypeRegistry) -> None:
        self._function = function
        self._version = version
        self._registry = registry
        self._trace = trace = _trace_of(version.code, function, registry)
        if trace.run != version.run:
            trace.begin_run(version.run)
        self._reads = Reads()

    def __enter__(self) -> Self:
        self._token = inside_body.set((self._version.run, *self._version.around))
        self._outer = self._reads.begin()
        if self._version.code:
            self._trace.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._version.code:
            self._trace.__exit__()
        self._reads.end(self._outer)
        inside_body.reset(self._token)

    def seen(self, arguments: Iterable[Any]) -> tuple[tuple[Dependency, ...], tuple[Read, ...]]:
        """What it has shown that it depends on. Warns of what it used undeclared, once in a run.

        First the code that bodies of this version reached in this process and that its identity does not
        have, by name: the same object while nothing new is reached. Then what it read, which is not among
        its ``arguments``, and what its code says of its surroundings.
        """
        trace = self._trace
        if len(trace.codes) != trace.looked_at:
            trace.look(self._registry, traced=bool(self._version.code) and not trace_refused())
        reads = trace.surroundings
        if self._reads.found:
            reads = tuple(dict.fromkeys((*self._reads.undeclared(arguments), *reads)))
        if reads and not trace.said.issuperset(reads):
            name = self._version.task or getattr(self._function, "__qualname__", "a task")
            warn_of(name, [read for read in reads if read not in trace.said])
            trace.said.update(reads)
        return trace.members, reads


class _Trace(Reach):
    """What the bodies of a task version reached, with what that makes: taken anew when it grows."""

    __slots__ = ("known", "lock", "looked_at", "members", "run", "said", "surroundings")

    def __init__(self, static: dict[int, CodeType]) -> None:
        super().__init__(static)
        self.lock = RLock()  # a finalizer that runs while it is held may be a body's
        self.run = ""
        self.known: dict[str, _Known] = {}
        self.said: set[Read] = set()
        self.looked_at = -1
        self.members: tuple[Dependency, ...] = ()
        self.surroundings: tuple[Read, ...] = ()

    def begin_run(self, run: str) -> None:
        """In a new run digests are taken anew, and code that a reload has replaced is forgotten."""
        self.run, self.known, self.said, self.looked_at, self.round = run, {}, set(), -1, -1
        for key, code in list(self.codes.items()):
            place = place_of(code)
            name, parts = ("", []) if place is None else _named(code, place)
            if place is None or (name.startswith("code ") and parts[0].__code__ is code):
                self.codes.pop(key, None)

    def look(self, registry: TypeRegistry, *, traced: bool) -> None:
        """Take stock of what was reached. What it has seen is said last: nobody takes a stock half made."""
        with self.lock:
            count = len(self.codes)
            members = tuple(sorted(self._found(registry)))
            self.members = self.members if members == self.members else members
            lost = [("code", one.name) for one in members if not one.digest]
            self.surroundings = (*surroundings({**self.static, **self.codes}, traced=traced), *lost)
            self.looked_at = count

    def _found(self, registry: TypeRegistry) -> Iterator[Dependency]:
        """In the order in which they were reached, so that who calls covers what it names."""
        reached = list(self.codes.values())
        covered = set(self.static)
        covered.update(id(inner) for code in reached for inner in nested_codes(code) if inner is not code)
        names = set()
        for code in reached:
            place = place_of(code)
            if id(code) in covered or place is None:
                continue
            name, parts = _named(code, place)
            if name and name not in names:
                names.add(name)
                if name not in self.known:
                    self.known[name] = _dependency(name, parts, registry)
                covered.update(self.known[name].codes)
                yield self.known[name].dependency


_traces: dict[str, _Trace] = {}
_untraced: WeakKeyDictionary[Any, _Trace] = WeakKeyDictionary()


def _trace_of(code: str, function: Any, registry: TypeRegistry) -> _Trace:
    """That of a task version by its hash; without one that of a function, for what its code says."""
    traces: Any = _traces if code else _untraced
    try:
        trace = traces.get(code or function)
        if trace is None:
            trace = traces.setdefault(code or function, _Trace({}))
    except TypeError:  # a callable that is neither hashed nor referred to weakly
        trace = _Trace({})
    if id(getattr(function, "__code__", None)) not in trace.static:  # the first one, or a reloaded one
        listen()
        trace.static = {**trace.static, **walked(function, registry).codes}
    return trace  # type: ignore[no-any-return]


def hand_on(code: str) -> None:
    """Have the body that runs in this thread reach what bodies of that version did: it has called one."""
    if code in _traces:
        reached_too(_traces[code].codes)


def members_of(code: Iterable[object], registry: TypeRegistry) -> tuple[Dependency, ...]:
    """The user's own of these, as members. Raises: NotHashableError for others, and what no name leads to."""
    found = {}
    for one in code:
        part = one if isinstance(one, type) else unwrap(one)
        if not isinstance(part, FunctionType | type):
            raise NotHashableError("value", f"a {type(one).__name__} has no name that leads to it")
        if is_own(part.__module__):
            name = f"{module_name_of(part.__module__)}.{part.__qualname__}"
            member = _dependency(name, _at(name), registry).dependency
            if _at(name) != [part] or not member.digest:
                raise NotHashableError("value", f"{name} is no name that leads to it")
            found[name] = member
    return tuple(found.values())


def verify(
    members: Iterable[Dependency], registry: TypeRegistry, memo: dict[str, Digest] | None = None
) -> bool:
    """Whether all of it is here and the same. ``memo`` keeps digests by name, for one run.

    Imports nothing, and runs no code to find out. A module that is not imported is looked up as a file.
    """
    memo = {} if memo is None else memo
    for name, digest, _ in members:
        if name not in memo:
            memo[name] = _dependency(name, _at(name), registry).dependency.digest
        if memo[name] != digest or not digest:
            return False
    return True


# --- names of code --------------------------------------------------------------------------------


def _named(code: CodeType, place: Place) -> tuple[str, list[Any]]:
    """The name of code that ran, and what it stands for; no name for what a body makes itself."""
    module = sys.modules.get(place.module or "")
    has_file = not code.co_filename.startswith("<")
    if code.co_name == "<module>":
        if not has_file:
            return "", []
        name = f"module {place.module}"
        is_there = (
            module is not None
            and place.module != "__main__"
            and file_of_member(name) == os.path.abspath(code.co_filename)
        )
        name = name if is_there else f"file {written_path(code.co_filename)}"
        return name, _at(name)
    if module is None:
        name = f"file {written_path(code.co_filename)}" if has_file else f"made {code.co_qualname}"
        return name, _at(name)
    name = f"{module_name_of(module.__name__)}.{code.co_qualname}"
    standing = _at(name)
    if any(code is each.__code__ for part in standing for each in _wrapped(part)):
        return name, standing
    if place.owner is not None and is_own(place.owner.__module__):
        name = f"{module_name_of(place.owner.__module__)}.{place.owner.__qualname__}"
        if _at(name) == [place.owner]:
            return name, [place.owner]
    if not has_file:
        return f"made {name}", []
    name = f"code {name}"
    written = _at(name)
    if any(same_code(code, part.__code__) for part in written):
        return name, written
    return name, [FunctionType(code, vars(module), None, None, _empty_cells(code))]


def _wrapped(part: Any) -> Iterator[FunctionType]:
    while isinstance(part, FunctionType):
        yield part
        part = getattr(part, "__wrapped__", None)


def _empty_cells(code: CodeType) -> tuple[types.CellType, ...]:
    return tuple(types.CellType() for _ in code.co_freevars)


def _at(name: str) -> list[Any]:
    """What a name leads to, here and now: functions or a class, or the texts of files; empty if nothing."""
    kind, is_kind, rest = name.partition(" ")
    if is_kind:
        if kind == "code":
            return _code_at(rest)
        return [file] if kind in ("module", "file") and (file := file_of_member(name)) else []
    found = find_object(name)
    if is_task(found):
        found = found.func
    if isinstance(found, type):
        return [found] if is_own(found.__module__) else []
    parts = [unwrap(part) for part in accessors(found)]
    return [part for part in parts if isinstance(part, FunctionType) and is_own(part.__module__)]


def _code_at(name: str) -> list[FunctionType]:
    """Functions made of all code of that name in its module's file, in order, in the module's namespace."""
    module = _module_before(name)
    file = getattr(module, "__file__", None)
    if module is None or not file or not is_own(module.__name__):
        return []
    qualname = name.removeprefix(f"{module_name_of(module.__name__)}.")
    return [
        FunctionType(code.replace(co_filename=file), vars(module), None, None, _empty_cells(code))
        for code in _codes_in(text_of(file))
        if code.co_qualname == qualname
    ]


def _module_before(name: str) -> types.ModuleType | None:
    while name := name.rpartition(".")[0]:
        if (loaded := module_named(name)) is not None:
            return loaded
    return None


@functools.lru_cache(maxsize=256)
def _codes_in(text: str) -> tuple[CodeType, ...]:
    try:
        return tuple(nested_codes(compile(text, "<source>", "exec", dont_inherit=True)))
    except (SyntaxError, ValueError, RecursionError):
        return ()


# --- digests --------------------------------------------------------------------------------------


class _Known(NamedTuple):
    dependency: Dependency
    codes: frozenset[int]
    """All code that counts in it, by ``id``."""


def _dependency(name: str, parts: list[Any], registry: TypeRegistry) -> _Known:
    """A member with its digest; one that is never the same if there is nothing, or it has no identity."""
    if parts and isinstance(parts[0], str):
        digest = registry.hash(source_form(parts[0], set()))
        return _Known(Dependency(name, digest, text_of(parts[0])), frozenset())
    walks = [walked(part, registry, defaults=True) for part in parts]
    codes = frozenset(key for walk in walks for key in walk.codes)
    identities = [list(walk.parts.items()) for walk in walks if walk.parts is not None]
    if not walks or len(identities) < len(walks):
        return _Known(Dependency(name, _NEVER, None), codes)
    return _Known(Dependency(name, registry.hash(identities), source_of(parts[0]) or None), codes)
