"""Executors by name, through the one lookup rule of plugins.py."""

from __future__ import annotations

from concurrent.futures import Executor

from valuestore.errors import ConfigError
from valuestore.plugins import find


def open_executor(name: str, workers: int | None = None) -> Executor:
    """A new executor of that name, such as ``threads``. Raises: ConfigError, listing the names there are."""
    executor = find("executors", name)(workers)
    if not isinstance(executor, Executor):
        raise ConfigError("executors", f"{name!r} made a {type(executor).__name__}, not a futures Executor")
    return executor
