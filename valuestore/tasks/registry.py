"""Which tasks this program has defined, by full name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valuestore.errors import TaskNotFound

if TYPE_CHECKING:
    from valuestore.tasks.task import Task

_tasks: dict[str, Task[..., Any]] = {}


def register_task(task: Task[..., Any]) -> None:
    """Make a task known. Defining one again, as a notebook does, replaces it."""
    _tasks[task.name] = task


def find_task(name: str) -> Task[..., Any] | None:
    """The task of that full name, or None."""
    return _tasks.get(name)


def get_task(name: str) -> Task[..., Any]:
    """The task of that full name, or of that last part if only one has it. Raises: TaskNotFound."""
    task = _tasks.get(name)
    if task is None:
        matching = [known for known in _tasks if known.rpartition(".")[2] == name]
        if len(matching) != 1:
            raise TaskNotFound(name, tuple(sorted(matching or _tasks)))
        task = _tasks[matching[0]]
    return task
