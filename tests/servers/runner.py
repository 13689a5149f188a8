"""Runner: what keeps a test server going, be it a program of this machine (``process``) or a ``container``.

It starts, kills, pauses and ends what a recipe describes, and knows nothing of Redis, Postgres or S3. Only
``server`` calls it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

LOOPBACK = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 5.0

Run: TypeAlias = Callable[[Sequence[str]], None]
"""Runs a command to its end. Raises: OSError with its complaint."""


class Recipe(Protocol):
    """What a server says of itself."""

    image: str
    image_port: int
    kill_signal: int
    unprivileged: bool

    def prepare(self, program: str, folder: str, run: Run) -> None: ...
    def command(self, program: str, folder: str, port: int) -> list[str]: ...
    def image_command(self) -> list[str]: ...
    def image_environment(self) -> Mapping[str, str]: ...
    def is_ready(self, host: str, port: int) -> bool: ...


class Runner(Protocol):
    host: str
    port: int

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def is_running(self) -> bool: ...
    def log(self) -> str: ...
    def close(self) -> None: ...


def wait_until_ready(recipe: Recipe, runner: Runner) -> None:
    """Raises: OSError, with the end of the log, if the server ended or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    interval = 0.002
    while True:
        with suppress(OSError):
            if recipe.is_ready(runner.host, runner.port) and runner.is_running():
                return
        if not runner.is_running():
            raise OSError(f"it ended while starting: {runner.log()[-2000:].strip()}")
        if time.monotonic() > deadline:
            raise OSError(f"it was not ready after {START_SECONDS:g} s: {runner.log()[-2000:].strip()}")
        time.sleep(interval)
        interval = min(interval * 1.5, 0.1)


def reserve_port() -> socket.socket:
    """A bound socket, whose port nobody else is given; on Linux a server may still listen there.

    Both sides have SO_REUSEADDR, and only one of them listens: see socket(7).
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, 0))
    return reserved
