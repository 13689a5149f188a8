"""Control: what brings branches of a pipeline together again: ``merge_handles``."""

from __future__ import annotations

from typing import Any, TypeVar

from valuestore.tasks.task import task
from valuestore.values.handles.handle import Handle, merged

H = TypeVar("H", bound=Handle)


@task(name="merge_handles", namespace="valuestore", version="1")
def _merge(handles: list[Any]) -> Any:
    return merged(handles)


def merge_handles(handles: list[H]) -> H:
    """The state after all of these states of one handle, whatever their order; a call, as of a task.

    Raises, when it runs: ArgumentError if there are none, or if they are of different handles.
    """
    merging: H = _merge(handles)
    return merging
