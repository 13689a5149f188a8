"""Calls as values: a task may return calls, and what it returned is cached.

A stored call names its task and holds what was given. Loading it needs the task to be defined, with
parameters that still fit; otherwise the cached step counts as lost and the body runs again.
"""

from __future__ import annotations

from valuestore.errors import ArgumentError, DecodeError
from valuestore.tasks.expression import OPERATIONS, Call, Operation
from valuestore.tasks.registry import find_task
from valuestore.tasks.tag import tag as _tag  # noqa: F401  # a stored ``tag`` is an operation, too
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.value import Plain


def _call_state(call: Call) -> Plain:
    task = call._task
    if "<" in getattr(task.func, "__qualname__", "<"):
        raise Refused(f"{task.name} is defined inside a function, so its name does not say which it is")
    return {"task": task.name, "arguments": call._given}


def _call(state: Plain) -> Call:
    task = find_task(state["task"])
    if task is None:
        raise DecodeError("valuestore.Call", f"the task {state['task']} is not defined here")
    try:
        return Call(task, state["arguments"], task.apply_defaults(state["arguments"]))
    except ArgumentError as error:
        raise DecodeError("valuestore.Call", str(error)) from error


def _operation(state: Plain) -> Operation:
    name, operands = state["operation"], tuple(state["operands"])
    if name not in OPERATIONS:
        raise DecodeError("valuestore.Operation", f"no operation {name!r}")
    return Operation(name, operands)


CALL_RULES = (
    TypeRule(Call, "valuestore.Call", _call_state, _call),
    TypeRule(
        Operation,
        "valuestore.Operation",
        lambda operation: {"operation": operation._name, "operands": list(operation._operands)},
        _operation,
    ),
)
"""How calls and operations on them are identified and stored."""
