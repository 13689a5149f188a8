"""Code as the scheduler sees it: what the calls of one execution depend on beside their arguments' values.

A task's own hash; the classes of the user's that arguments bring, whose methods the task may call without
naming them; and what its bodies reached when they ran (values/code/trace.py). The latter two are sets of
names with digests, addressed by their content and recorded as the code of a task is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from valuestore.db.ids import new_id
from valuestore.db.record import rows
from valuestore.db.record.lookup import MISS
from valuestore.errors import NotHashableError, ValuestoreWarning
from valuestore.hashing import Digest
from valuestore.repository import Repository
from valuestore.tasks.context import MISSING, Context
from valuestore.tasks.control import named
from valuestore.tasks.options import Asked, Resolver
from valuestore.tasks.task import Task
from valuestore.values.code.function import Dependency, code_dependencies, own_form
from valuestore.values.code.members import Version, members_of, verify
from valuestore.values.code.reads import leave_out
from valuestore.values.identity.inside import calls_refused
from valuestore.values.value import type_name_of

AnyTask = Task[..., Any]
_CONTEXT, _OPTIONS = "context", "options"


class Code:
    """The code behind one execution's calls, each part looked at once.

    ``met`` gives the hash of a task, which is recorded.
    """

    def __init__(
        self,
        repository: Repository,
        met: Callable[[AnyTask], Digest],
        options: Resolver,
        context: Context,
    ) -> None:
        self.met = met
        self.options = options
        self._context = context
        self.task_hashes: dict[int, Digest] = {}
        self._named: dict[Digest, frozenset[type]] = {}
        self._class_sets: dict[tuple[Digest, frozenset[type]], Digest | None] = {}
        self.signatures: dict[int, Digest] = {}
        self._own_sets: dict[tuple[object, ...], tuple[tuple[Digest, ...] | None, object]] = {}
        self._holds: dict[str, bool] = {}
        self._digests: dict[str, Digest] = {}
        self._trace_hashes: dict[int, tuple[tuple[Dependency, ...], Digest]] = {}
        self._traces = repository.settings.trace
        leave_out(repository.folder)
        self._registry = repository.archive.registry
        self._lookup = repository.lookup
        self._recorder = repository.recorder
        self._algorithm = repository.algorithm

    def asked(self, context: Context | None) -> tuple[Asked, Mapping[str, Any]]:
        """What this run is asked for, and the values of the context: what a run below it is told."""
        return self.options.asked, (context or self._context).values

    def is_cached(self, task: AnyTask) -> bool:
        """Whether what its calls give is kept."""
        return self.options.of(task).cache

    def may_replay(self, task: AnyTask) -> bool:
        """Whether its calls may be answered with those above them."""
        is_forced = self.options.is_forced
        return self.is_cached(task) and not (is_forced is not None and is_forced(task))

    def task_hash(self, task: AnyTask) -> Digest:
        """The task's hash, taken once in an execution."""
        known = self.task_hashes.get(id(task))
        if known is None:
            known, classes = task.identity(self._registry)
            self.task_hashes[id(task)] = known
            self._named[known] = classes
        return known

    def task_row(self, task: AnyTask) -> tuple[rows.TaskRow, list[rows.DependencyRow]]:
        """The rows of a version of a task: its own and, if the database does not know it, its code's.

        What has the name and the version of other code is warned of: its results are taken for this one's.
        """
        task_hash = self.task_hash(task)
        code_hash = self._registry.hash(own_form(task.func)) if task.version is not None else None
        beside = self._lookup.code_beside(task_hash)
        if code_hash is not None and beside not in (MISS, None, code_hash):
            problem = (
                f"task {task.name}, version {task.version}, ran with other code before, whose results count "
                "for this code too; if they are not the same task, give one another namespace or version"
            )
            warnings.warn(problem, ValuestoreWarning, stacklevel=2)
        row = rows.TaskRow(task_hash, task.name, task.version, task.source, code_hash)
        found = task.dependencies(self._registry) if beside is MISS else []
        return row, _rows(task_hash, found)

    def classes_hash(self, task: AnyTask, classes: frozenset[type]) -> Digest | None:
        """The address of what arguments of these classes bring; None if the task says all about it itself.

        One that nobody had before for a class whose code has no identity.
        """
        task_hash = self.task_hash(task)
        key = task_hash, classes
        if key not in self._class_sets:
            brought = classes - self._named[task_hash] if task.version is None else frozenset()
            try:
                found = code_dependencies(*sorted(brought, key=_place), registry=self._registry)
                self._class_sets[key] = self._set_hash(found) if found else None
            except NotHashableError as error:
                problem = f"results of {task.name} are not found again: {error}"
                warnings.warn(problem, ValuestoreWarning, stacklevel=2)
                self._class_sets[key] = Digest(new_id())
        return self._class_sets[key]

    def brought(self, classes: frozenset[type], code: tuple[object, ...] = ()) -> tuple[Digest, ...] | None:
        """What tells of these own classes and of this code, which whoever is given them may run.

        The hashes of the tasks, and the address of the rest, recorded as what bodies reach is. None if
        nobody can tell whether it is still the same.
        """
        key = classes, *map(id, code)
        if key not in self._own_sets:
            found: tuple[Digest, ...] | None = None
            tasks = [one for one in code if isinstance(one, Task)]
            with suppress(NotHashableError):
                rest = [*sorted(classes, key=_place), *(one for one in code if not isinstance(one, Task))]
                members = members_of(rest, self._registry)
                if all(map(self.is_cached, tasks)):
                    found = (*map(self.met, tasks), *([self._set_hash(members)] if members else ()))
            self._own_sets[key] = found, code  # which is kept, or its ids could be those of others
        return self._own_sets[key][0]

    def signature_hash(self, task: AnyTask) -> Digest:
        """How calls of it are bound: a stored call runs with the parameters and defaults of its day."""
        known = self.signatures.get(id(task))
        if known is None:
            told = [[one.name, one.kind.name, one.default is one.empty] for one in _parameters(task)]
            defaults = [one.default for one in _parameters(task) if one.default is not one.empty]
            try:
                with calls_refused(step=defaults):
                    known = self._registry.hash(["signature", task.name, told, defaults])
            except NotHashableError:
                known = Digest(new_id())
            self.signatures[id(task)] = known
        return known

    def version(self, task: AnyTask, run: str, around: tuple[str, ...] = ()) -> Version:
        """Whose body it is, for whoever calls it; what has a version, or is not kept, is not traced."""
        is_traced = self._traces and self.is_cached(task) and task.version is None
        return Version(task.name, self.task_hashes[id(task)] if is_traced else "", run, around)

    def holding(self, trace_hashes: set[Digest]) -> set[Digest]:
        """Those of which the code that was reached is as it was; each looked at once in an execution."""
        if new := trace_hashes - self._holds.keys():
            sets = self._lookup.code_sets(new)
            for trace_hash in new:
                parts = sets.get(trace_hash, {})
                is_whole = rows.code_set_hash(parts.items(), self._algorithm) == trace_hash
                members = [Dependency(name, digest, None) for name, digest in parts.items()]
                code = [one for one in members if is_whole and not self._is_same(one)]
                self._holds[trace_hash] = is_whole and verify(code, self._registry, self._digests)
        return {trace_hash for trace_hash in trace_hashes if self._holds[trace_hash]}

    def trace_hash(self, reached: tuple[Dependency, ...]) -> Digest:
        """The address of what bodies reached; empty for nothing."""
        if not reached:
            return Digest("")
        known = self._trace_hashes.get(id(reached))
        if known is None:
            known = self._trace_hashes[id(reached)] = reached, self._set_hash(reached)
        return known[1]

    def context_hash(self, key: str, context: Context) -> tuple[Digest] | None:
        """The address of what a key of a context has as its value, recorded as code is; None: no identity."""
        value_hash = self._value_hash(key, context)
        known = value_hash and self._set_hash([Dependency(f"{_CONTEXT} {key}", value_hash, None)])
        return (known,) if known else None

    def options_hash(self, task: AnyTask) -> Digest:
        """The address of how a task's calls are run, recorded as code is."""
        return self._set_hash([Dependency(f"{_OPTIONS} {task.name}", self._hash_of_options(task), None)])

    def _hash_of_options(self, task: AnyTask) -> Digest:
        options = self.options.of(task)
        errors = [type_name_of(one) for one in options.retry_on]
        return self._registry.hash([options.retries, errors, options.timeout_seconds, dict(options.limits)])

    def _is_same(self, member: Dependency) -> bool:
        """Whether it is a key of the run's context that has the same value, or options that are the same."""
        kind, _, name = member.name.partition(" ")
        if kind == _CONTEXT:
            return self._value_hash(name, self._context) == member.digest
        task = named(name) if kind == _OPTIONS else None
        return task is not None and self._hash_of_options(task) == member.digest

    def _value_hash(self, key: str, context: Context) -> Digest | None:
        found = context.find(key)
        try:
            return self._registry.hash([] if found is MISSING else [found])
        except NotHashableError:
            return None

    def _set_hash(self, parts: Collection[Dependency]) -> Digest:
        """The address of these parts, which are recorded."""
        code_hash = rows.code_set_hash(((one.name, one.digest) for one in parts), self._algorithm)
        self._recorder.record_code(_rows(code_hash, parts))
        return code_hash


def _parameters(task: AnyTask) -> Iterable[Any]:
    return task.signature.parameters.values()


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _rows(code_hash: Digest, parts: Iterable[Dependency]) -> list[rows.DependencyRow]:
    return [rows.DependencyRow(code_hash, one.name, one.digest, one.source) for one in parts]
