"""Calls and tasks as values: a task may return calls, and what it returned is cached.

A stored call names its task and holds what was given. Loading it needs the task to be defined, with
parameters that still fit; otherwise the cached step counts as lost and the body runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from valuestore.errors import ArgumentError, DecodeError
from valuestore.hashing import DEFAULT_ALGORITHM, active_algorithm, algorithm_of
from valuestore.tasks.call import Call, Operation
from valuestore.tasks.operation import OPERATIONS
from valuestore.tasks.options import Configured, Partial
from valuestore.tasks.tag import tag as _tag  # noqa: F401  # a stored ``tag`` is an operation, too
from valuestore.tasks.task import Task, find_task
from valuestore.values.code.callables import MissingFunction
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.identity.inside import check_place
from valuestore.values.registry import get_type_registry
from valuestore.values.value import Plain


def _call_state(call: Call) -> Plain:
    task: Any = call._task
    _check_name(task)
    state = {"task": task.name, "arguments": call._given}
    return {**state, "options": call._options} if call._options else state


def _call(state: Plain) -> Call:
    task = find_task(state["task"])
    if task is None:
        raise DecodeError("valuestore.Call", f"the task {state['task']} is not defined here")
    try:
        given = state["arguments"]
        return Call(task, given, task.apply_defaults(given), state.get("options", {}))
    except ArgumentError as error:
        raise DecodeError("valuestore.Call", str(error)) from error


def _operation(state: Plain) -> Operation:
    name, operands = state["operation"], tuple(state["operands"])
    if name not in OPERATIONS:
        raise DecodeError("valuestore.Operation", f"no operation {name!r}")
    return Operation(name, operands)


def _operation_state(operation: Operation) -> Plain:
    return {"operation": operation._name, "operands": list(operation._operands)}


def _placed(state: Callable[[Any], Plain]) -> Callable[[Any], Plain]:
    """The same, refused where no call may be."""

    def placed(expression: Any) -> Plain:
        check_place(expression)
        return state(expression)

    return placed


def _task_state(task: Task[..., Any]) -> Plain:
    """Name and hash, so that who is given a task runs again when its code has changed."""
    _check_name(task)
    return [task.name, _hash(task)]


def _check_name(task: Task[..., Any]) -> None:
    """Raises: Refused if the name does not lead to the task."""
    if "<" in task.__qualname__:
        raise Refused(f"{task.name} is defined inside a function, so its name does not say which it is")
    found = find_task(task.name)
    if found is not task and (found is None or _hash(found) != _hash(task)):
        raise Refused(f"another task is called {task.name} by now; give each a name of its own")


def _hash(task: Task[..., Any]) -> str:
    return task.hash(get_type_registry().with_algorithm(active_algorithm.get()))


def _stored_task(state: Plain) -> Any:
    name, task_hash = state
    task = find_task(name)
    if task is None:
        return MissingFunction(name, "this program has not defined the task")
    registry = get_type_registry().with_algorithm(algorithm_of(task_hash) or DEFAULT_ALGORITHM)
    if task.hash(registry) != task_hash:
        return MissingFunction(name, "the task's code has changed since it was stored")
    return task


RULES = (
    TypeRule(Task, "valuestore.Task", _task_state, _stored_task, subclasses=True),
    TypeRule(
        Configured,
        "valuestore.Configured",
        lambda one: [one._task, one._given],
        lambda state: Configured(*state),
    ),
    TypeRule(
        Partial,
        "valuestore.Partial",
        lambda one: [one.func, one.args, one.keywords],
        lambda state: Partial(state[0], *state[1], **state[2]),
    ),
    TypeRule(Call, "valuestore.Call", _call_state, _call, as_value=_placed(_call_state)),
    TypeRule(
        Operation, "valuestore.Operation", _operation_state, _operation, as_value=_placed(_operation_state)
    ),
)
"""How tasks, calls and operations on them are identified and stored. Found through plugins.py."""
