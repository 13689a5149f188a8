"""Lazy expressions: a call that has not run, and what is asked of its result meanwhile.

An expression may stand wherever its result may: in containers (values/identity/inside.py says which), as
another call's argument, under operators, attribute and item access. It is not the place where calls run
(scheduler).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NoReturn, Protocol

from valuestore.errors import LazyValueError
from valuestore.tasks.operation import BINARY, COMPARISONS, LOGIC, OPERATIONS, UNARY
from valuestore.values.identity.inside import Lazy, container_of, find

_BRACKETS: dict[Any, Any] = {list: "[]", tuple: "()", dict: "{}", set: "{}", frozenset: ("frozenset({", "})")}


class Expression(Lazy):
    """Something whose value comes later. Its own attributes are underscored: all others are lazy."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Operation:
        if name.startswith("__"):
            raise AttributeError(name)
        return Operation("getattr", (self, name))

    def __getitem__(self, key: Any) -> Operation:
        return Operation("getitem", (self, key))

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        raise LazyValueError(repr(self), "truth value")

    def __iter__(self) -> NoReturn:
        raise LazyValueError(repr(self), "items")

    def __len__(self) -> NoReturn:
        raise LazyValueError(repr(self), "length")

    def __contains__(self, item: object) -> NoReturn:
        raise LazyValueError(repr(self), "items")

    def __index__(self) -> NoReturn:
        raise LazyValueError(repr(self), "integer value")

    def __format__(self, format_spec: str) -> NoReturn:
        raise LazyValueError(repr(self), "text")

    def __reduce__(self) -> NoReturn:
        raise LazyValueError(repr(self), "pickled form")


def _lazy(name: str) -> Callable[..., Operation]:
    return lambda self, other: Operation(name, (self, other))


def _lazy_reflected(name: str) -> Callable[..., Operation]:
    return lambda self, other: Operation(name, (other, self))


def _lazy_unary(name: str) -> Callable[..., Operation]:
    return lambda self: Operation(name, (self,))


for _name in (*BINARY, *LOGIC, *COMPARISONS):
    setattr(Expression, f"__{_name}__", _lazy(_name))
for _name in (*BINARY, *LOGIC):
    setattr(Expression, f"__r{_name}__", _lazy_reflected(_name))
for _name in UNARY:
    setattr(Expression, f"__{_name}__", _lazy_unary(_name))


class Called(Protocol):
    """What a call calls, as far as calls need to know: a task."""

    name: str
    func: Callable[..., Any]

    @property
    def nout(self) -> int | None:
        """How many parts its result has, if that is known."""


Options = Mapping[str, Any]
_NO_OPTIONS: Options = {}


class Call(Expression):
    """A task with arguments bound to its parameters, defaults applied: equal calls have equal arguments.

    A call that is stored keeps only what was given, so that it runs with the defaults of its day. ``options``
    say how it is run (options.py).
    """

    __slots__ = ("_arguments", "_given", "_options", "_task")

    def __init__(
        self, task: Called, given: dict[str, Any], arguments: dict[str, Any], options: Options = _NO_OPTIONS
    ) -> None:
        self._task = task
        self._given = given
        self._arguments = arguments
        self._options = options

    def _parts(self) -> Collection[Any]:
        return [*self._given.values(), *self._options.values()] if self._options else self._given.values()

    def __iter__(self) -> Iterator[Operation]:  # type: ignore[override]  # it has parts if its task says so
        count = self._task.nout
        if count is None:
            raise LazyValueError(repr(self), "items")
        return iter([Operation("unpack", (self, number, count)) for number in range(count)])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_brief(value)}" for name, value in self._arguments.items())
        return f"{self._task.name}({shown})"


class Operation(Expression):
    """An operator, attribute or item access on something that is not there yet; the scheduler applies it."""

    __slots__ = ("_name", "_operands")

    def __init__(self, name: str, operands: tuple[Any, ...]) -> None:
        self._name = name
        self._operands = operands

    def _parts(self) -> Collection[Any]:
        return self._operands

    def __repr__(self) -> str:
        operands = [_brief(operand) for operand in self._operands]
        if self._name == "getattr":
            return f"{operands[0]}.{self._operands[1]}"
        if self._name == "getitem":
            return f"{operands[0]}[{operands[1]}]"
        return f"{self._name}({', '.join(operands)})"


def find_expressions(obj: Any) -> list[Expression]:
    """The outermost expressions in ``obj``, in order; those of a container that is met twice, once.

    Raises: NotHashableError if it contains itself.
    """
    return find(obj, Expression).leaves


def find_calls(obj: Any) -> list[Call]:
    """The calls that ``obj`` needs, those under operators included, in order; shared operations once."""
    found: list[Call] = []
    stack = [iter(find_expressions(obj))]
    seen: set[int] = set()
    while stack:
        for expression in stack[-1]:
            if isinstance(expression, Call):
                found.append(expression)
            elif isinstance(expression, Operation) and id(expression) not in seen:
                seen.add(id(expression))
                stack.append(iter(find_expressions(expression._operands)))
                break
        else:
            stack.pop()
    return found


def evaluate(obj: Any, value_of: Callable[[Call], Any]) -> Any:
    """``obj`` with each call replaced by its value and each operation applied. Raises: what those raise.

    Containers with calls are rebuilt, each once, so the caller's stay as they are.
    """
    found = find(obj, Expression)
    stack = [leaf for leaf in found.leaves if isinstance(leaf, Operation)]
    if not stack:
        return found.replaced(value_of)
    values: dict[int, Any] = {}

    def value(leaf: Any) -> Any:
        return values[id(leaf)] if isinstance(leaf, Operation) else value_of(leaf)

    while stack:  # operators can be chained thousands deep, so no recursion here
        operation = stack[-1]
        operands = find(operation._operands, Expression)
        open_operands = [
            leaf for leaf in operands.leaves if isinstance(leaf, Operation) and id(leaf) not in values
        ]
        if open_operands:
            stack.extend(open_operands)
            continue
        stack.pop()
        if id(operation) not in values:
            values[id(operation)] = OPERATIONS[operation._name](*operands.replaced(value))
    return found.replaced(value)


def label_of(obj: Any, longest: int) -> str:
    """A text of about so many characters for an expression; parts that do not fit are not even looked at."""
    kind = type(obj)
    container = container_of(kind)
    if container is None or (kind not in _BRACKETS and not find_expressions(obj)):
        return repr(obj) if isinstance(obj, Expression) else _brief(obj)
    parts = obj.items() if kind is dict else container.parts(obj)
    shown: list[str] = []
    room = longest - 2
    for part in parts:
        if room <= 0:
            shown.append(f"... {len(parts)} in all")
            break
        shown.append(": ".join([label_of(one, room) for one in (part if kind is dict else (part,))]))
        room -= len(shown[-1]) + 2
    opening, closing = _BRACKETS.get(kind, (f"{kind.__name__}(", ")"))
    return f"{opening}{', '.join(shown)}{closing}"


def _brief(obj: Any) -> str:
    """Short text of an argument; never nests, since chains of calls can be thousands long."""
    if isinstance(obj, Call):
        return f"{obj._task.name}(...)"
    if isinstance(obj, Operation):
        return f"<{obj._name}>"
    if type(obj) in _BRACKETS:
        return f"<{type(obj).__name__} of {len(obj)}>"
    if container_of(type(obj)) is not None and find_expressions(obj):
        return f"{type(obj).__name__}(...)"
    if isinstance(obj, bytes | bytearray):
        return f"<{len(obj)} bytes>"
    try:
        text = repr(obj[:60] if isinstance(obj, str) else obj)
    except Exception:  # noqa: BLE001  # a label is not worth a failure
        return f"<{type(obj).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
