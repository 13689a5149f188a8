"""Dask: bodies on the workers of a Dask cluster, or of one on this machine that is made for it.

What is submitted together travels together, and what is done comes home together: Dask's own ``submit`` and
``result`` take a round trip each. A worker that dies has its bodies run again elsewhere, as Dask's setting
``distributed.scheduler.allowed-failures`` says.
"""

from __future__ import annotations

import asyncio
import copyreg
import logging
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from itertools import groupby
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, ParamSpec, TypeVar

import distributed

from valuestore.errors import ConfigError, WorkerLost, WorkerMismatch
from valuestore.executors.threads import processors, settle
from valuestore.executors.work import Work, run_work_quietly
from valuestore.values.trust.sending import call_sent

_dask: Any = distributed  # whose parts have no types, or some

# Dask has all exceptions pickled in a way that ours, which are two builtins at once, cannot be.
for _kind in [kind for kind in copyreg.dispatch_table if kind.__module__ == "valuestore.errors"]:
    del copyreg.dispatch_table[_kind]

_log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_POLL_SECONDS = 1.0
_MOST_TOGETHER = 500
_GONE_AFTER = 10
"""So many polls without an answer."""


def open_dask(workers: int | None = None, address: str | None = None, **cluster: Any) -> DaskExecutor:
    """The cluster whose scheduler is at ``address``; without one, ``workers`` processes of this machine.

    Raises: ConfigError if nobody answers, or the script is none that workers can import.
    """
    if address is not None:
        try:
            client = _dask.Client(address, set_as_default=False, **cluster)
            return DaskExecutor(client, owned=[client])
        except (OSError, ValueError) as error:
            raise ConfigError("executor dask", f"no Dask scheduler at {address}: {error}") from error
    _check_main()
    number = workers or processors()
    given = {
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": logging.CRITICAL,
        **cluster,
    }
    own = _dask.LocalCluster(n_workers=number, **given)
    client = _dask.Client(own, set_as_default=False)
    return DaskExecutor(client, owned=[client, own])


def _check_main() -> None:
    """Workers of a local cluster import the script, as multiprocessing has them do. Raises: ConfigError."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None or not file.endswith(".py"):
        return
    with open(file, encoding="utf-8", errors="replace") as stream:
        if "__name__" not in stream.read():
            problem = f"{file} would run again in each worker"
            advice = "run the pipeline below: if __name__ == '__main__':"
            raise ConfigError("executor dask", f"{problem}; {advice}")


class DaskExecutor(Executor):
    """An executor on a ``distributed.Client``, which stays the caller's; ``owned`` is closed with it."""

    def __init__(self, client: Any, owned: Iterable[Any] = ()) -> None:
        self.client = client
        self._owned = [*owned]
        self._new: SimpleQueue[_Request | None] = SimpleQueue()
        self._done: SimpleQueue[_Sent | None] = SimpleQueue()
        self._open: dict[str, _Sent] = {}
        self._closed = Event()
        self._lock = Lock()
        parts = (self._send, self._fetch, self._watch)
        self._threads = [Thread(target=part, name="valuestore-dask", daemon=True) for part in parts]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._add(_Request(Future(), _call, (fn, args, kwargs), {}))

    def submit_work(self, work: Work) -> Future[bytes]:
        """Run the body of a task on a worker that has the ``resources`` it takes."""
        # a worker without valuestore would end at the sight of it
        fn, given = call_sent(run_work_quietly, work)
        return self._add(_Request(Future(), fn, given, dict(work.options.get("resources", {}))))

    def _add(self, request: _Request) -> Future[Any]:
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError("the executor is shut down")
            self._new.put(request)
        return request.future

    # --- there and back, each in a thread of its own

    def _send(self) -> None:
        while (together := _next_of(self._new)) is not None:
            together = [request for request in together if not request.future.cancelled()]
            for resources, group in groupby(together, key=lambda request: (request.fn, request.resources)):
                fn, needed = resources
                requests = [*group]
                try:
                    given = [request.given for request in requests]
                    sent = self.client.map(fn, given, pure=False, resources=needed or None)
                except Exception as error:  # noqa: BLE001  # whoever has the future handles it
                    for request in requests:
                        settle(request.future, error)
                    continue
                for request, future in zip(requests, sent, strict=True):
                    one = self._open[future.key] = _Sent(request.future, future)
                    future.add_done_callback(lambda _, one=one: self._done.put(one))

    def _fetch(self) -> None:
        while (together := _next_of(self._done)) is not None:
            trip = self._fetch_all(together)
            with suppress(TimeoutError):  # then what is done next need not wait for it
                asyncio.run_coroutine_threadsafe(trip, self.client.loop.asyncio_loop).result(_POLL_SECONDS)

    async def _fetch_all(self, together: list[_Sent]) -> None:
        """In one trip; if one of them failed, or went away with its worker, each for itself."""
        sent = [one.sent for one in together]
        trip = asyncio.ensure_future(self.client.gather(sent, asynchronous=True))
        await asyncio.wait({trip}, timeout=_POLL_SECONDS)
        # or Python says that nobody asked
        trip.add_done_callback(lambda done: done.cancelled() or done.exception())
        if trip.done() and not trip.cancelled() and trip.exception() is None:
            for one, value in zip(together, trip.result(), strict=True):
                self._settle(one, value)
        else:
            await asyncio.gather(*map(self._fetch_one, together))

    async def _fetch_one(self, one: _Sent) -> None:
        try:
            value: Any = await self.client.gather(one.sent, asynchronous=True)
        except ImportError as error:
            problem = f"has another valuestore, or none ({error})"
            value = WorkerMismatch("Dask", problem, "install the same there")
        except _dask.KilledWorker as error:
            value = WorkerLost(f"{error.allowed_failures + 1} workers died of it")
        except (CancelledError, asyncio.CancelledError, OSError) as error:
            value = WorkerLost(f"Dask gave it up: {error}")
        except Exception as error:  # noqa: BLE001  # whoever has the future handles it
            value = error
        self._settle(one, value)

    def _settle(self, one: _Sent, value: Any) -> None:
        self._open.pop(one.sent.key, None)
        settle(one.future, value)

    def _watch(self) -> None:
        """Say what runs, let go of what nobody waits for, and give up when the cluster is gone."""
        gone = alone = 0
        while not self._closed.wait(_POLL_SECONDS):
            for one in [*self._open.values()]:
                if one.future.cancelled():
                    one.sent.cancel()
                    self._open.pop(one.sent.key, None)
            if not self._open:
                continue
            for cluster in self._owned[1:]:  # one that dies as it starts is not started again, says Dask
                if len(cluster.workers) < len(cluster.worker_spec):
                    cluster.scale(len(cluster.worker_spec))
            try:
                processing = self.client.processing()
                gone, alone = 0, 0 if processing else alone + 1
            except Exception:  # noqa: BLE001  # whatever the network does
                processing, gone = {}, gone + 1
            running = {key for keys in processing.values() for key in keys}
            if alone == _GONE_AFTER:
                _log.warning("%s bodies wait: the Dask cluster has no worker", len(self._open))
            for key in running & self._open.keys():
                future = self._open[key].future
                if not future.running() and not future.done():
                    future.set_running_or_notify_cancel()
            if gone >= _GONE_AFTER:
                for one in [*self._open.values()]:
                    self._settle(one, WorkerLost("the Dask cluster does not answer any more"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As ``Executor`` says; closes the cluster that was made for it, whatever runs there."""
        with self._lock:
            self._closed.set()
            self._new.put(None)
        self._threads[0].join()  # what was submitted is sent
        pending = [*self._open.values()]
        if wait and not cancel_futures:
            wait_for([one.future for one in pending])
        elif cancel_futures or self._owned:
            for one in pending:
                self._settle(one, WorkerLost("the executor is shut down"))
            with suppress(Exception):  # the cluster may be gone
                self.client.cancel([one.sent for one in pending])
        if not self._open:
            self._done.put(None)
        for part in self._owned:
            with suppress(Exception):
                part.close(timeout=5)


class _Request(NamedTuple):
    future: Future[Any]
    fn: Callable[[Any], Any]
    given: Any
    resources: dict[str, Any]


class _Sent(NamedTuple):
    future: Future[Any]
    sent: Any


def _call(given: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
    fn, args, kwargs = given
    return fn(*args, **kwargs)


def _next_of(waiting: SimpleQueue[T | None]) -> list[T] | None:
    """All that is there, at least one; None at the end, once and for all."""
    found = [waiting.get()]
    with suppress(Empty):
        while len(found) < _MOST_TOGETHER:
            found.append(waiting.get_nowait())
    if None in found:
        waiting.put(None)
    return [one for one in found if one is not None] or None
