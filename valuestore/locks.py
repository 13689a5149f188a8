"""Locks: one process at a time, by a file beside what is guarded. Called by the database and the key ring."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from operator import call

if sys.platform != "win32":
    import fcntl

    _HOW_TO_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

_PAUSE_SECONDS = 0.02


class FileLock:
    """``flock`` on the file at ``path``, which is made with ``mode``. It ends with its process at the latest.

    One thread of one process holds it at a time, and may take it again meanwhile.
    """

    def __init__(self, path: str | os.PathLike[str], mode: int) -> None:
        self.path = os.fspath(path)
        self._mode = mode
        self._held = threading.local()

    @contextmanager
    def held(self, timeout_seconds: float) -> Iterator[None]:
        """Hold it. Raises: TimeoutError if others did for so long; OSError if there can be no such file."""
        if getattr(self._held, "is_held", False):
            yield
            return
        release: Callable[[], object] = int  # nothing
        over = partial(setattr, self._held, "is_held", False)
        try:  # one frame: an interrupt between taking it and this would leave it held
            if sys.platform == "win32":
                release = _in_one((over, _acquire_elsewhere(self.path, self._mode, timeout_seconds)))
            else:
                descriptor = os.open(self.path, _HOW_TO_OPEN, self._mode)
                release = _in_one(chain(_unlocking(descriptor), (over, partial(os.close, descriptor))))
                with suppress(PermissionError):  # another user's, who has seen to it
                    os.fchmod(descriptor, self._mode)
                _wait_for(descriptor, time.monotonic() + timeout_seconds)
            self._held.is_held = True
            yield
        finally:
            try:  # noqa: SIM105  # before suppress() is entered an interrupt would be heard
                release()
            except OSError:  # nothing was written
                pass


def _in_one(steps: Iterable[Callable[[], object]]) -> Callable[[], object]:
    """All of them, once, without a frame of Python's between in which an interrupt is heard."""
    return partial(deque, map(call, steps), 0)


def _unlocking(descriptor: int) -> Iterator[Callable[[], object]]:
    """A child that was forked meanwhile keeps it, with a descriptor of its own, and may not end it here."""
    unlock = {os.getpid(): partial(fcntl.flock, descriptor, fcntl.LOCK_UN)}
    return map(unlock.get, map(call, (os.getpid,)), (int,))


def _wait_for(descriptor: int, give_up: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TimeoutError from None
        time.sleep(_PAUSE_SECONDS)


def _acquire_elsewhere(path: str, mode: int, timeout_seconds: float) -> Callable[[], object]:
    from filelock import FileLock as PortableLock  # where there is no flock

    lock = PortableLock(path, timeout_seconds, mode)
    lock.acquire()  # whose Timeout is a TimeoutError
    return lock.release
