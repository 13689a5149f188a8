"""Which tasks this program has defined, by full name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestore.tasks.task import Task

_tasks: dict[str, Task[..., Any]] = {}


def register_task(task: Task[..., Any]) -> None:
    """Make a task known. Defining one again, as a notebook does, replaces it."""
    _tasks[task.name] = task


def find_task(name: str) -> Task[..., Any] | None:
    """The task of that full name, or None."""
    return _tasks.get(name)
