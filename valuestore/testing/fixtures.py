"""Pipelines under test: a scheduler in memory for each test, and a look into calls that have not run.

Who wants the fixtures says so in ``conftest.py``: ``pytest_plugins = ["valuestore.testing.fixtures"]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from valuestore.errors import TaskError
from valuestore.repository import MEMORY, Repository
from valuestore.scheduler.scheduler import Scheduler
from valuestore.tasks.call import Call
from valuestore.tasks.task import Task


@pytest.fixture
def repository() -> Iterator[Repository]:
    """An empty repository in memory."""
    with Repository.open(MEMORY) as opened:
        yield opened


@pytest.fixture
def scheduler(repository: Repository) -> Iterator[Scheduler]:
    """A scheduler on it."""
    with Scheduler(repository) as opened:
        yield opened


def task_of(call: Any) -> Task[..., Any]:
    """The task that a lazy call is one of. Raises: TaskError for anything else."""
    return _checked(call)._task  # type: ignore[return-value]  # what tasks make calls of


def arguments_of(call: Any) -> dict[str, Any]:
    """Its arguments by the names of the parameters, defaults applied. Raises: TaskError for anything else."""
    return dict(_checked(call)._arguments)


def _checked(call: Any) -> Call:
    if type(call) is not Call:
        raise TaskError(f"{call!r} is no call of a task, but a {type(call).__name__}")
    return call
