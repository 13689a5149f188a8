"""Renewed: an expression made anew, so that its calls are no calls of anybody else."""

from __future__ import annotations

from typing import Any

from valuestore.tasks.call import Call, Operation
from valuestore.values.identity.inside import LAZY, Lazy, find


def renewed(obj: Any) -> Any:
    """The same expression of other calls; what is no expression stays, and what holds some is rebuilt."""
    made: dict[int, Any] = {}

    def new(part: Any) -> Any:
        return made.get(id(part), part)

    for holder, container in find(obj, Lazy, LAZY).holders:  # each after those inside it
        if isinstance(holder, Call):
            given = {name: new(value) for name, value in holder._given.items()}
            options = {name: new(value) for name, value in holder._options.items()}
            task: Any = holder._task
            made[id(holder)] = Call(task, given, task.apply_defaults(given), options)
        elif isinstance(holder, Operation):
            made[id(holder)] = Operation(holder._name, tuple(map(new, holder._operands)))
        else:
            made[id(holder)] = container.rebuilt(holder, [*map(new, container.parts(holder))])
    return new(obj)
