"""Awaiting: async tasks: a body has an event loop and a thread of its own, and may await other calls.

What is awaited is run by the run that the body is part of, as a call below it. Imported when the first async
task is defined.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

from valuestore.errors import LazyValueError, TaskError
from valuestore.tasks.call import Expression

Ask = Callable[[Expression], "Future[Any]"]

_ask: ContextVar[Ask | None] = ContextVar("ask", default=None)


def in_own_loop(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its coroutine run to its end."""

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return asyncio.run(func(*args, **kwargs))
        except asyncio.CancelledError as error:  # else it would end the run as an interrupt does
            raise TaskError("the body was cancelled, by itself or with what it awaited") from error

    return run


def answered_by(ask: Ask, run: Callable[..., Any], *args: Any) -> Any:
    """What ``run`` gives, in whose bodies calls are awaited of ``ask``."""
    token = _ask.set(ask)
    try:
        return run(*args)
    finally:
        _ask.reset(token)


def _await(self: Expression) -> Generator[Any, None, Any]:
    """The value of a call. Raises: what its task raises; LazyValueError outside of an async task."""
    ask = _ask.get()
    if ask is None:
        raise LazyValueError(repr(self), "value to await here")
    return asyncio.wrap_future(ask(self)).__await__()


setattr(Expression, "__await__", _await)  # noqa: B010  # few programs have a task that awaits
