"""Executors by name, through the one lookup rule of plugins.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextvars import Context
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from valuestore.errors import ConfigError, TaskTimeout, WorkerLost
from valuestore.kinds import POSITIVE
from valuestore.plugins import find

P = ParamSpec("P")
R = TypeVar("R")


def open_executor(name: str, workers: int | None = None, **options: Any) -> Executor:
    """A new executor of that name, such as ``threads``. Raises: ConfigError, listing the names there are."""
    if workers is not None:
        POSITIVE.check("workers", workers)
    try:
        executor = find("executors", name)(workers, **options)
    except TypeError as error:
        raise ConfigError(f"executors.{name}", str(error)) from error
    if not isinstance(executor, Executor):
        raise ConfigError("executors", f"{name!r} made a {type(executor).__name__}, not a futures Executor")
    return executor


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- The default executor: a thread pool of this process.


def open_threads(workers: int | None = None) -> ThreadPoolExecutor:
    """A pool of ``workers`` threads, by default one for each processor this process may use."""
    return ThreadPoolExecutor(max_workers=workers or processors(), thread_name_prefix="valuestore")


def open_own_threads(_workers: int | None = None) -> OwnThreads:
    """A thread for each body: what async tasks run in, unless they say another."""
    return OwnThreads()


class OwnThreads(Executor):
    """Runs each thing that it is given in a thread of its own: none waits for another to end."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # whoever has the future handles it
                future.set_exception(error)

        Thread(target=run, name="valuestore-async").start()
        return future


class CallersThread(Executor):
    """Runs what it is given at once, where it is given it; in a context of its own, as a thread would."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As ``Executor`` says; the future is done."""
        future: Future[R] = Future()
        try:
            future.set_result(Context().run(fn, *args, **kwargs))
        except Exception as error:  # noqa: BLE001  # the caller's to handle
            future.set_exception(error)
        return future


def shares_memory(executor: Executor) -> bool:
    """Whether it runs what it is given in threads of this process, and asks for no more than that."""
    is_here = isinstance(executor, ThreadPoolExecutor | OwnThreads | CallersThread)
    return is_here and not hasattr(executor, "submit_work")


def call_in_time(call: Callable[[], R], task: str, seconds: float) -> R:
    """What it gives. Raises: TaskTimeout when it takes longer; then its thread goes on, and nobody waits."""
    future = OwnThreads().submit(call)
    try:
        return future.result(seconds)
    except TimeoutError as error:
        if future.done():
            raise
        raise TaskTimeout(task, seconds) from error


# --- Other executors: what a run has to know of them.


def settle(future: Future[Any], value: Any) -> None:
    """Give a future its result, or its error if it is one; not if it is done or cancelled by now."""
    if future.done() or not (future.running() or future.set_running_or_notify_cancel()):
        return
    if isinstance(value, BaseException):
        future.set_exception(value)
    else:
        future.set_result(value)


def ends_bodies(executor: Executor) -> bool:
    """Whether it tells when a body begins: then the run itself gives up what takes too long."""
    return shares_memory(executor) or getattr(executor, "tells_when_running", False)


def kill(executor: Executor, future: Future[Any]) -> None:
    """Stop what runs for a future that nobody waits for any more, if the executor can."""
    stop: Callable[[Future[Any]], None] | None = getattr(executor, "kill", None)
    if stop is not None:
        stop(future)


def lost_with(future: Future[Any]) -> BaseException | None:
    """What became of what was to run, if it gave nothing."""
    if future.cancelled():
        return WorkerLost("its executor cancelled it")
    error = future.exception()
    return WorkerLost(str(error)) if isinstance(error, BrokenExecutor) else error
