"""Arguments: the options behind ``valuestore run FILE TASK``, as a call of the task.

A task's parameters come first, so ``--tag`` is the task's if it has such a parameter; those of ``run`` may
then stand before FILE. What texts become is decided by ``values.parse``.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any, NoReturn

from valuestore.errors import ArgumentError
from valuestore.tasks.task import Task
from valuestore.values.parse import is_flag, is_repeatable, parse_args, type_text

_LONGEST_DEFAULT = 60


@dataclass
class Given:
    """What the options said: texts by parameter of the task, and texts by option of ``run``."""

    arguments: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    options: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


class TaskOptions:
    """The options that a task understands, beside ``own`` ones: name -> whether it takes a value."""

    def __init__(self, task: Task[..., Any] | None, own: Mapping[str, bool]) -> None:
        self.task = task
        self.own = own
        given = task.signature.parameters.values() if task else ()
        hints = _hints(task.func, given) if task else {}
        found = [Parameter(each.name, hints[each.name], each.default, each.kind) for each in given]
        self.parameters = {each.name: each for each in found if each.kind is not each.VAR_KEYWORD}
        self.rest = next((each for each in found if each.kind is each.VAR_KEYWORD), None)

    def read(self, tokens: Sequence[str]) -> Given:
        """Sort options by whose they are. Raises: ArgumentError for one that nobody knows."""
        given, pending = Given(), list(reversed(tokens))
        while pending:
            token = pending.pop()
            name, equals, value = token.removeprefix("--").partition("=")
            if not token.startswith("--") or not name:
                self._fail(f"unexpected {token!r}; arguments are given by name: {self}")
            key = name.replace("-", "_")
            if self._is_flag(key):
                alone = not pending or pending[-1].lower() not in ("true", "false")
                given.arguments[key].append(value if equals else "true" if alone else pending.pop())
            elif key.startswith("no_") and self._is_flag(key[3:]) and not equals:
                given.arguments[key[3:]].append("false")
            elif key in self.parameters or (self.rest and name not in self.own):
                given.arguments[key].append(value if equals else self._next(name, pending))
                if not equals and self._takes_several(key):
                    while pending and not pending[-1].startswith("--"):
                        given.arguments[key].append(pending.pop())
            elif name not in self.own:
                self._fail(f"no parameter --{name}; it takes {self}")
            elif self.own[name]:
                given.options[name].append(value if equals else self._next(name, pending))
            else:
                given.options[name].append("true")
        return given

    def call(self, given: Mapping[str, Sequence[str]]) -> Any:
        """The lazy call. Raises: ArgumentError naming what is missing or does not parse."""
        arguments: dict[str, Any] = {}
        for name, texts in given.items():
            if name in self.parameters:
                arguments[name] = self._parse(self.parameters[name], name, texts)
            elif self.rest is not None:
                others = arguments.setdefault(self.rest.name, {})
                others[name] = self._parse(self.rest, name, texts)
        missing = [each.option for name, each in self.parameters.items() if each.is_required]
        missing = [option for option in missing if option[2:].replace("-", "_") not in arguments]
        if missing:
            self._fail(f"missing {', '.join(missing)}; it takes {self}")
        assert self.task is not None
        bound = inspect.BoundArguments(self.task.signature, arguments)
        bound.apply_defaults()
        return self.task(*bound.args, **bound.kwargs)

    def _is_flag(self, name: str) -> bool:
        return name in self.parameters and is_flag(self.parameters[name].annotation)

    def _takes_several(self, name: str) -> bool:
        return name in self.parameters and is_repeatable(self.parameters[name].whole_annotation)

    def _next(self, name: str, pending: list[str]) -> str:
        if not pending or self._is_option(pending[-1]):
            self._fail(f"--{name} needs a value; it takes {self}")
        return pending.pop()

    def _is_option(self, token: str) -> bool:
        name = token.removeprefix("--").partition("=")[0]
        return token.startswith("--") and (name in self.own or name.replace("-", "_") in self.parameters)

    def _parse(self, parameter: Parameter, name: str, texts: Sequence[str]) -> Any:
        if isinstance(parameter.annotation, str):
            self._fail(f"the annotation {parameter.annotation!r} of {name} names nothing that is defined")
        try:
            return parse_args(parameter.whole_annotation, texts)
        except ValueError as error:
            self._fail(f"--{name.replace('_', '-')}: {error}", error)

    def _fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        raise ArgumentError(self.task.name if self.task else "run", problem) from cause

    def texts(self) -> list[str]:
        """Each parameter for people: option, type and default."""
        return [each.text for each in (*self.parameters.values(), self.rest) if each is not None]

    def __str__(self) -> str:
        return ", ".join(self.texts()) or "no arguments"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a task. An annotation that cannot be resolved is still text."""

    name: str
    annotation: Any
    default: Any
    kind: Any

    VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
    VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD

    @property
    def is_required(self) -> bool:
        """Whether a call without it is no call."""
        variadic = self.kind in (self.VAR_POSITIONAL, self.VAR_KEYWORD)
        return self.default is inspect.Parameter.empty and not variadic

    @property
    def option(self) -> str:
        """As it is typed: ``--max-size`` for ``max_size``."""
        return "--NAME" if self.kind is self.VAR_KEYWORD else f"--{self.name.replace('_', '-')}"

    @property
    def whole_annotation(self) -> Any:
        """The type of what the task gets; ``*paths: Path`` gets a tuple of them."""
        if self.kind is self.VAR_POSITIONAL:
            return types.GenericAlias(tuple, (self.annotation, ...))
        return self.annotation

    @property
    def text(self) -> str:
        """Option, type and default, for people."""
        kind = f"/--no-{self.option[2:]}" if is_flag(self.annotation) else f" {type_text(self.annotation)}"
        text = f"{self.option}{kind}"
        if self.is_required:
            return f"{text} (required)"
        if self.kind in (self.VAR_POSITIONAL, self.VAR_KEYWORD):
            return f"{text} ..."
        default = _default_text(self.default)
        return f"{text} = {default[:_LONGEST_DEFAULT]}{'...' if len(default) > _LONGEST_DEFAULT else ''}"


def _default_text(default: Any) -> str:
    """As it would be typed, if it is a path or one of an enumeration."""
    if isinstance(default, Enum):
        return default.name
    if isinstance(default, PurePath):
        return str(default)
    return "none" if default is None else repr(default)


def _hints(func: Any, parameters: Any) -> dict[str, Any]:
    """Annotations by parameter, resolved where they can be: one bad name does not spoil the others."""
    hints: dict[str, Any] = {}
    for parameter in parameters:
        holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        hints[parameter.name] = parameter.annotation
        if parameter.annotation is not parameter.empty:
            try:
                hints.update(typing.get_type_hints(holder, getattr(func, "__globals__", {})))
            except Exception:  # noqa: BLE001, S112  # user code may raise anything; the text stays
                continue
    return hints
