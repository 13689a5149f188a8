"""Ray: bodies on the workers of a Ray cluster, or of one on this machine that is made for it.

A worker that dies has its bodies run again elsewhere, as Ray's ``max_retries`` says. Ray listens on all
interfaces of the machine: start it where that is no danger.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

import ray

from valuestore.errors import ConfigError, WorkerLost
from valuestore.executors.threads import processors, settle
from valuestore.executors.work import Work, run_work_quietly

_ray: Any = ray  # whose parts have types that its decorators hide

P = ParamSpec("P")
R = TypeVar("R")


def open_ray(workers: int | None = None, address: str | None = None, **options: Any) -> RayExecutor:
    """The cluster at ``address`` ("auto" for one of this machine), or the one that this program is in; else
    ``workers`` processors of this machine. ``options`` are those of ``ray.init``.

    Raises: ConfigError if nobody answers.
    """
    if _ray.is_initialized():
        return RayExecutor()
    if address is None:
        options = {"num_cpus": workers or processors(), "include_dashboard": False, **options}
    try:
        _ray.init(address=address, **{"log_to_driver": True, "logging_level": logging.ERROR, **options})
    except (ConnectionError, OSError, ValueError) as error:
        raise ConfigError("executor ray", f"no Ray cluster at {address}: {error}") from error
    return RayExecutor(is_owner=True)


class RayExecutor(Executor):
    """An executor on the Ray cluster that this program is connected to; its owner disconnects at the end."""

    def __init__(self, *, is_owner: bool = False) -> None:
        self._is_owner = is_owner
        self._is_closed = False
        self._run_work = _ray.remote(run_work_quietly)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        def call() -> R:
            return fn(*args, **kwargs)

        return self._begin(_ray.remote(call).remote)

    def submit_work(self, work: Work) -> Future[bytes]:
        """Run the body of a task where there is what it takes."""
        needed = _resources(work.options)
        return self._begin(self._run_work.options(**needed).remote if needed else self._run_work.remote, work)

    def _begin(self, begin: Callable[..., Any], *given: Any) -> Future[Any]:
        if self._is_closed or not _ray.is_initialized():
            raise RuntimeError("the executor is shut down")
        future: Future[Any] = Future()

        begin(*given).future().add_done_callback(lambda done: settle(future, _value_of(done)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._is_closed = True
        if self._is_owner:
            _ray.shutdown()


def _resources(options: Mapping[str, Any]) -> dict[str, Any]:
    """What Ray calls what a task takes."""
    names = {"cpus": "num_cpus", "memory": "memory", "resources": "resources"}
    return {names[name]: value for name, value in options.items() if name in names}


def _value_of(done: Future[Any]) -> Any:
    """What it gave; or an error, if there is nothing."""
    error = done.exception()
    if isinstance(error, _ray.exceptions.RayTaskError) and isinstance(error.cause, BaseException):
        return error.cause
    if isinstance(error, _ray.exceptions.RayError):
        return WorkerLost(str(error))
    return done.result() if error is None else error
