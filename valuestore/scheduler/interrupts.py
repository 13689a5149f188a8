"""Interrupts: Ctrl-C while a run goes on in the main thread: heard at once, and heeded between two steps.

So no transaction is cut in two, and no Ctrl-C is lost in a wait. The first lets what runs finish, and keeps
it; the second stops it; a third is raised wherever the program is, as Python does.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from threading import current_thread, main_thread
from typing import Any, Self


class Interrupts:
    """``with`` it, a run is told: ``wake`` ends its wait, and ``heed`` raises. Not in other threads.

    A program that handles SIGINT itself goes on doing so.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._heard = self._heeded = 0
        self._is_listening = False

    def __enter__(self) -> Self:
        is_main = current_thread() is main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._hear)
            self._is_listening = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.heed()  # one that came at the very end

    def _hear(self, number: int, frame: Any) -> None:
        self._heard += 1
        if self._heard > 2:
            signal.default_int_handler(number, frame)
        self._wake()

    def heed(self) -> None:
        """Raises: KeyboardInterrupt, once for each that was heard."""
        if self._heard > self._heeded:
            self._heeded += 1
            raise KeyboardInterrupt

    def announce(self, running: int) -> None:
        """Say what is waited for, and how not to."""
        if self._heard and running and sys.stderr is not None:
            calls = "1 call that runs is" if running == 1 else f"{running} calls that run are"
            print(f"interrupted: {calls} let finish, and kept; Ctrl-C again stops", file=sys.stderr)
