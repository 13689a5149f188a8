"""What a pipeline says beside its calls: ``tag`` labels values, ``merge_handles`` brings branches together.

``tag(value, ...)`` stands for its value, like any other expression. When the scheduler brings it to that
value, the labels go to whoever keeps them; each time, and no label is set twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from valuestore.tasks.call import Operation
from valuestore.tasks.operation import OPERATIONS
from valuestore.tasks.task import task
from valuestore.values.handles.handle import Handle, merged

R = TypeVar("R")
H = TypeVar("H", bound=Handle)

Tags = Mapping[str, Any]
Keeper = Callable[[Any, Tags, Tags, Tags], None]
"""Takes a value, and the tags of it, of the job it is part of, and of the execution."""

_keeper: ContextVar[Keeper | None] = ContextVar("tag_keeper", default=None)


def tag(
    value: R,
    tags: Tags | None = None,
    /,
    *,
    job_tags: Tags | None = None,
    execution_tags: Tags | None = None,
    **more: Any,
) -> R:
    """The value, which is labelled when the pipeline gets it: ``return tag(model, stage="trial")``.

    ``tags`` takes keys that are no names. ``job_tags`` label the job whose body returned the expression,
    ``execution_tags`` the run. Values of tags are JSON, or calls that give such.
    """
    return cast(R, Operation("tag", (value, {**(tags or {}), **more}, job_tags or {}, execution_tags or {})))


@contextmanager
def tags_kept_by(keeper: Keeper) -> Iterator[None]:
    """Within it, tags of expressions that are evaluated on this thread go to ``keeper``."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


def _apply(value: Any, tags: Tags, job_tags: Tags, execution_tags: Tags) -> Any:
    keeper = _keeper.get()
    if keeper is not None:
        keeper(value, tags, job_tags, execution_tags)
    return value


OPERATIONS["tag"] = _apply


@task(name="merge_handles", namespace="valuestore", version="1")
def _merge(handles: list[Any]) -> Any:
    return merged(handles)


def merge_handles(handles: list[H]) -> H:
    """The state after all of these states of one handle, whatever their order; a call, as of a task.

    Raises, when it runs: ArgumentError if there are none, or if they are of different handles.
    """
    merging: H = _merge(handles)
    return merging
