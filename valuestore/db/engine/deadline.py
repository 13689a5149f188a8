"""Deadline: no statement waits for ever, not even for a server that has stopped answering.

The server's own ``statement_timeout`` does not help when the server stands still, and TCP sees a healthy
connection. So one thread watches the connections that wait, and hangs up on one that waits too long: its
driver then reports a lost connection. Postgres only; SQLite has its busy timeout.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, event

from valuestore.lazy import renew_after_fork

_IDLE_SECONDS = 10.0


class Watchdog:
    """Hangs up on connections that wait for longer than ``seconds``. Thread-safe.

    After a fork the child watches none of its parent's: to hang up on one would end it for both.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._reset()
        renew_after_fork(self._reset)

    def _reset(self) -> None:
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def arm(self, connection: Any) -> None:
        """``connection``, the driver's, begins to wait for the server."""
        self._waiting[id(connection)] = time.monotonic() + self.seconds, connection
        if self._thread is None:
            self._start()

    def disarm(self, connection: Any) -> None:
        """The server has answered."""
        self._waiting.pop(id(connection), None)

    def hang_up_on_late(self) -> None:
        """Shut down the sockets of connections whose time is up."""
        now = time.monotonic()
        for key, (due, connection) in list(self._waiting.items()):
            if due <= now and self._waiting.pop(key, None) is not None:
                _hang_up(connection)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_watch, args=(weakref.ref(self),), name="valuestore-deadline", daemon=True
                )
                self._thread.start()


def _hang_up(connection: Any) -> None:
    with suppress(Exception):  # it may be closing at this very moment
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


def _watch(reference: weakref.ref[Watchdog]) -> None:
    idle_since = time.monotonic()
    while True:
        watchdog = reference()
        if watchdog is None:
            return
        watchdog.hang_up_on_late()
        if watchdog._waiting:
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > _IDLE_SECONDS:
            watchdog._thread = None  # whoever comes from now on starts another
            if watchdog._waiting:  # and this is for those who came just before
                watchdog._start()
            return
        pause = min(0.5, watchdog.seconds / 4)
        del watchdog
        time.sleep(pause)


def watch(engine: Any, watchdog: Watchdog) -> None:
    """Arm the watchdog for as long as a statement or a commit waits for the server."""

    def before(connection: Connection, *_: Any) -> None:
        if not connection.invalidated and connection.get_execution_options().get("is_bounded", True):
            watchdog.arm(connection.connection.driver_connection)

    def after(connection: Connection, *_: Any) -> None:
        if not connection.invalidated:
            watchdog.disarm(connection.connection.driver_connection)

    def failed(context: Any) -> None:
        if context.connection is not None and not context.connection.invalidated:
            watchdog.disarm(context.connection.connection.driver_connection)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)
    event.listen(engine, "commit", before)
    event.listen(engine, "rollback", before)
    event.listen(engine, "checkin", lambda driver, _record: watchdog.disarm(driver))
