"""Executors by name, through the one lookup rule of plugins.py."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor

from valuestore.errors import ConfigError
from valuestore.plugins import find


def open_executor(name: str, workers: int | None = None) -> Executor:
    """A new executor of that name, such as ``threads``. Raises: ConfigError, listing the names there are."""
    executor = find("executors", name)(workers)
    if not isinstance(executor, Executor):
        raise ConfigError("executors", f"{name!r} made a {type(executor).__name__}, not a futures Executor")
    return executor


# --- The default executor: a thread pool of this process.


def open_threads(workers: int | None = None) -> ThreadPoolExecutor:
    """A pool of ``workers`` threads, by default one for each processor this process may use."""
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(max_workers=workers, thread_name_prefix="valuestore")
