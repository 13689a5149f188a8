"""Processes: bodies in processes of this machine, each of which runs one at a time.

A process that is killed, or runs out of memory, fails the body that it ran and no other; another one takes
its place. What runs is known, what waits has not begun, and a body that takes too long is stopped. They are
started by loky: afresh, without running the script once more.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from multiprocessing import set_start_method
from queue import SimpleQueue
from threading import Lock, Thread, get_ident
from typing import Any, NamedTuple, ParamSpec, TypeVar
from weakref import WeakSet

from loky.backend import get_context

from valuestore.errors import WorkerLost, WorkerMismatch
from valuestore.executors.threads import processors
from valuestore.executors.work import Work, run_work
from valuestore.lazy import renew_after_fork, this_process
from valuestore.values.trust.sending import dump_sent, load_sent

P = ParamSpec("P")
R = TypeVar("R")

_TERM_SECONDS = 2.0
"""How long a process may take to stop what it has started, before it is killed."""


class _Ticket(NamedTuple):
    """One thing to be run: its bytes, how many of the processes it takes, and the future of what it gives.

    ``reloads``: a process that has begun before modules were reloaded so often has other code.
    """

    data: bytes
    cpus: int
    reloads: int
    future: Future[Any]


class Processes(Executor):
    """``workers`` processes, by default one for each processor; started when there is something to run.

    A task that takes ``cpus`` runs beside that many fewer. ``memory`` is not bounded here.
    """

    tells_when_running = True
    """A future is running from when its body begins, so who waits for it may count the time."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or processors()
        self._reset()
        renew_after_fork(self._reset)
        _opened.add(self)

    def _reset(self) -> None:
        self._lock = Lock()
        self._waiting: deque[_Ticket] = deque()
        self._idle: list[_Process] = []
        self._busy: dict[Future[Any], tuple[_Process, _Ticket]] = {}
        self._free = self.workers
        self._closed = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As ``Executor`` says. Raises: NotSendable; RuntimeError after ``shutdown``."""
        return self._add(dump_sent((fn, args, kwargs), has_code=True), 1, 0)

    def submit_work(self, work: Work) -> Future[bytes]:
        """Run the body of a task, with as many of the processes as it takes."""
        return self._add(dump_sent((run_work, (work,), {})), work.options.get("cpus", 1), work.reloads)

    def _add(self, data: bytes, cpus: int, reloads: int) -> Future[Any]:
        ticket = _Ticket(data, min(cpus, self.workers), reloads, Future())
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is shut down")
            self._waiting.append(ticket)
        self._go_on()
        return ticket.future

    def _go_on(self) -> None:
        """Begin what there is room for, in the order that it came."""
        while True:
            with self._lock:
                ticket = self._waiting[0] if self._waiting else None
                if ticket is None or not (ticket.future.cancelled() or ticket.cpus <= self._free):
                    return
                self._waiting.popleft()
                if not ticket.future.set_running_or_notify_cancel():
                    continue
                self._free -= ticket.cpus
                process = self._idle.pop() if self._idle else _Process(self._done)
                self._busy[ticket.future] = process, ticket
            process.begin(ticket)

    def _done(self, process: _Process, ticket: _Ticket, value: Any, error: BaseException | None) -> None:
        """In the process's own thread: let go of it, begin what waits, and tell."""
        with self._lock:
            self._busy.pop(ticket.future, None)
            self._free += ticket.cpus
            if process.is_alive and not self._closed:
                self._idle.append(process)
            else:
                process.stop()
        self._go_on()
        if error is None:
            ticket.future.set_result(value)
        else:
            ticket.future.set_exception(error)

    def kill(self, future: Future[Any]) -> None:
        """Stop what runs for a future, and the process that runs it."""
        with self._lock:
            process, _ = self._busy.get(future, (None, None))
        if process is not None:
            process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As ``Executor`` says; with ``cancel_futures`` and without ``wait``, what runs is stopped."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy, waiting = [*self._busy.items()], [ticket.future for ticket in self._waiting]
        for process in idle:
            process.stop()
        for future in waiting if cancel_futures else ():
            future.cancel()
        self._go_on()  # which tells those that wait for them
        if wait:
            wait_for([*(future for future, _ in busy), *waiting])
        elif cancel_futures:
            for _, (process, _) in busy:
                process.kill()


_opened: WeakSet[Processes] = WeakSet()


@atexit.register
def _shut_all() -> None:
    """Or the program would wait for processes that wait for it: multiprocessing joins all at the end."""
    for executor in [*_opened]:
        executor.shutdown(wait=False, cancel_futures=True)


class _Process:
    """A process, with the thread of this one that gives it things to run, one after the other."""

    def __init__(self, done: Callable[[_Process, _Ticket, Any, BaseException | None], None]) -> None:
        self._done = done
        self._tickets: SimpleQueue[_Ticket | None] = SimpleQueue()
        self._process: Any = None
        self._pipe: Any = None
        self._killed = False
        self._is_new = True
        self._reloads = 0
        Thread(target=self._serve, name="valuestore-process", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        return self._process is not None and not self._killed

    def begin(self, ticket: _Ticket) -> None:
        self._tickets.put(ticket)

    def stop(self) -> None:
        self._tickets.put(None)

    def kill(self) -> None:
        """Have it stop what it runs, with what that has started; then end it."""
        self._killed = True
        process = self._process
        if process is not None:
            process.terminate()
            try:
                Thread(target=_end, args=(process,), name="valuestore-end", daemon=True).start()
            except RuntimeError:  # the program ends: there are no more threads
                _end(process)

    # --- in its thread

    def _serve(self) -> None:
        while (ticket := self._tickets.get()) is not None:
            value, error = None, None
            try:
                value = self._run(ticket)
            except BaseException as problem:  # noqa: BLE001  # whoever has the future handles it
                error = problem
            self._done(self, ticket, value, error)
        with suppress(Exception):  # this one may be ending, too
            self._close()

    def _run(self, ticket: _Ticket) -> Any:
        """What it gives. A process that has run something may have older code: then a new one is asked."""
        data = ticket.data
        if ticket.reloads > self._reloads:
            self._close()
        if self._process is None or not self._process.is_alive():
            self._reloads = ticket.reloads
            self._start()
        was_new, self._is_new = self._is_new, False
        is_error, value = self._ask(data)
        if is_error and isinstance(value, WorkerMismatch) and not was_new:
            self._close()
            self._start()
            self._is_new = False
            is_error, value = self._ask(data)
        if is_error:
            raise value
        return value

    def _ask(self, data: bytes) -> tuple[bool, Any]:
        try:
            self._pipe.send_bytes(data)
            found: tuple[bool, Any] = load_sent(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            process, self._process = self._process, None
            process.join(_TERM_SECONDS)
            raise WorkerLost(_fate(process.exitcode, killed=self._killed)) from error
        return found

    def _start(self) -> None:
        context = get_context("loky")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()
        self._is_new = True

    def _close(self) -> None:
        """It ends when nobody can ask it any more."""
        process, self._process = self._process, None
        if process is not None:
            self._pipe.close()
            _end(process)


def _end(process: Any) -> None:
    process.join(_TERM_SECONDS)
    if process.is_alive():
        with suppress(ProcessLookupError):  # another thread saw its end
            os.kill(process.pid, signal.SIGKILL)  # which loky's own kill cannot


def _fate(exit_code: int | None, *, killed: bool) -> str:
    if killed:
        return "it was stopped"
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"it ended with exit code {exit_code}"


# --- in the process


def _serve(pipe: Any) -> None:
    """Run what comes, until nobody can send more."""
    signal.signal(signal.SIGINT, _ignore)  # a Ctrl-C is the parent's to handle: what runs is let finish
    signal.signal(signal.SIGTERM, _stop)
    set_start_method(None, force=True)  # or what a body starts by multiprocessing would be started by loky
    own = this_process()
    Thread(target=_end_with, args=(pipe.fileno(), get_ident()), name="valuestore-parent", daemon=True).start()
    while True:
        try:
            data = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            fn, args, kwargs = load_sent(data)
            answer: tuple[bool, Any] = False, fn(*args, **kwargs)
        except _Stopped:
            raise
        except BaseException as error:  # noqa: BLE001  # whoever asked handles it
            answer = True, error
        if this_process() != own:  # a child that the body forked came out of it: nobody asked that
            os._exit(int(answer[0] and bool(getattr(answer[1], "code", True))))
        try:
            told = dump_sent(answer)
        except Exception as error:  # noqa: BLE001
            told = dump_sent((True, error))
        try:
            pipe.send_bytes(told)
        except OSError:
            return


def _end_with(descriptor: int, main: int) -> None:
    """Whoever would have what runs is gone, perhaps killed: stop it."""
    end = select.poll()
    end.register(descriptor, 0)  # its other end closes
    end.poll()
    time.sleep(0.5)  # what has nothing to run ends by itself
    signal.pthread_kill(main, signal.SIGTERM)
    time.sleep(_TERM_SECONDS)
    os._exit(128 + signal.SIGKILL)


def _ignore(*_: object) -> None:
    """Not SIG_IGN, which programs that a body starts would inherit."""


class _Stopped(SystemExit):
    """Somebody ends this process; not a ``sys.exit`` of a body."""


def _stop(*_: object) -> None:
    raise _Stopped(128 + signal.SIGTERM)
