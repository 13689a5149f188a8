"""Context: what a task may be told without being given it: values of the run's context, and which job it is.

The context is made of ``[context]`` in the configuration, of what a run is given, and of what
``task.update_context`` says for the calls below it. Who asks for a key depends on its value, nobody else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from valuestore.errors import ArgumentError, ContextError, NotHashableError
from valuestore.hashing import Digest
from valuestore.kinds import TEXT
from valuestore.tasks.control import FromContext, Steps, control
from valuestore.tasks.options import merged
from valuestore.values.registry import TypeRegistry

MISSING: Any = object()
"""Stands for the value of a key that is not there."""


@dataclass(frozen=True)
class JobInfo:
    """Which job a body runs as: given for a parameter that is annotated so, and no part of the call.

    ``eval_hash`` identifies the task with its arguments; what is cached was made by an earlier job.
    """

    task: str
    job_id: str
    execution_id: str
    eval_hash: str
    place: Any = field(default=None, repr=False, compare=False)
    """The repository's folder and settings; for valuestore's own also what the run is asked for."""


def get_context(key: str, *default: Any) -> Any:
    """The value of a key of the context, such as ``"etl.memory"``, lazily; else the default.

    Stands wherever a call may: in arguments, in what a body returns, as the default of a parameter. Raises,
    when it runs: ContextError without a default.
    """
    if not TEXT.takes(key) or not key or len(default) > 1:
        raise ArgumentError("get_context", "it takes a name such as 'etl.memory', and perhaps a default")
    return _get_context(key, list(default))


@control("get_context")
def _get_context(key: str, default: list[Any]) -> Steps:
    context = yield FromContext(key)
    found = context.find(key)
    if found is MISSING and not default:
        raise ContextError(key, tuple(sorted(context.names())))
    return default[0] if found is MISSING else found


class Context:
    """Tables of values by their names; a name with dots stands for tables in tables.

    ``said`` are those that ``update_context`` says, which are part of the expression that calls it.
    """

    def __init__(self, values: Mapping[str, Any], said: Mapping[str, Any] | None = None) -> None:
        self.values = nested(values)
        self.said = said or {}
        self._hash: Digest | None = None

    def find(self, key: str) -> Any:
        """The value of a name with dots, or ``MISSING``."""
        return _found(self.values, key)

    def is_said(self, key: str) -> bool:
        """Whether it has this value whatever the context of the run is."""
        found = _found(self.said, key)
        return found is not MISSING and not isinstance(found, Mapping)

    def updated(self, more: Mapping[str, Any]) -> Context:
        """With these over those that it has."""
        return Context(merged(self.values, nested(more)), merged(self.said, nested(more)))

    def hash(self, registry: TypeRegistry) -> Digest:
        """Of all of it, taken once; another one each time where it has no identity."""
        if self._hash is None:
            try:
                self._hash = registry.hash([self.values, self.said])
            except NotHashableError:
                self._hash = Digest(os.urandom(16).hex())
        return self._hash

    def names(self) -> Iterator[str]:
        """All that ``find`` knows, but for tables."""
        stack: list[tuple[str, Any]] = [("", self.values)]
        while stack:
            name, value = stack.pop()
            if isinstance(value, Mapping):
                stack += [(f"{name}.{key}" if name else key, value[key]) for key in value]
            else:
                yield str(name)


def _found(values: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return MISSING
        values = values[part]
    return values


def nested(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """With tables for names that have dots."""
    found: dict[Any, Any] = {}
    for name, value in values.items():
        first, dot, rest = name.partition(".") if isinstance(name, str) else (name, "", "")
        inner = nested({rest: value}) if dot else nested(value) if isinstance(value, Mapping) else value
        found = merged(found, {first: inner})
    return found
