"""A process that dies, or is told EIO or ENOSPC, at each step that changes the disk or the database."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from tests.faults.forking import lines_of
from tests.faults.found import Found
from tests.faults.operations import OPERATIONS
from valuestore.errors import ValuestoreError

MUTATING = (
    "open",
    "write",
    "close",
    "utime",
    "chmod",
    "mkdir",
    "replace",
    "link",
    "unlink",
    "rename",
    "rmdir",
)
KINDS = ("die before", "die after", "EIO", "ENOSPC")
_READING = ("SELECT", "PRAGMA synchronous", "PRAGMA busy_timeout", "PRAGMA journal_size", "PRAGMA wal_auto")
_LONGEST_SECONDS = 10.0
_SQLITE_SAYS = {"EIO": "disk I/O error", "ENOSPC": "database or disk is full"}


class Failpoints:
    """Counts the steps of this process, and fails at one of them, once. Installed for good: for a child."""

    def __init__(self, kind: str, step: int) -> None:
        self.kind, self.step, self.count = kind, step, 0

    def step_of(self, name: str, do: Callable[[], Any], fails: Callable[[], Exception]) -> Any:
        self.count += 1
        if self.count != self.step:
            return do()
        if self.kind == "die before":
            os._exit(9)
        if self.kind == "die after" or name == "close":
            do()
        if self.kind == "die after":
            os._exit(9)
        raise fails()

    def install(self) -> None:
        for name in (*MUTATING, "fsync"):
            setattr(os, name, partial(self._call, name, getattr(os, name)))
        sqlite3.connect = partial(sqlite3.connect, factory=self._connections())

    def _call(self, name: str, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if name == "open" and not arguments[1] & os.O_CREAT:
            return real(*arguments, **options)
        code = getattr(errno, self.kind, 0)
        return self.step_of(
            name, partial(real, *arguments, **options), lambda: OSError(code, os.strerror(code))
        )

    def _connections(self) -> type[sqlite3.Connection]:
        points = self

        def statement(real: Callable[..., Any], self: Any, sql: str, *parameters: Any) -> Any:
            if sql.startswith(_READING):
                return real(self, sql, *parameters)
            return points.step_of(
                "sql",
                lambda: real(self, sql, *parameters),
                lambda: sqlite3.OperationalError(_SQLITE_SAYS[points.kind]),
            )

        class Cursor(sqlite3.Cursor):
            def execute(self, *given: Any) -> Any:
                return statement(sqlite3.Cursor.execute, self, *given)

            def executemany(self, *given: Any) -> Any:
                return statement(sqlite3.Cursor.executemany, self, *given)

        class Connection(sqlite3.Connection):
            def cursor(self, *_: Any) -> Any:
                return super().cursor(Cursor)

            def execute(self, *given: Any) -> Any:
                return self.cursor().execute(*given)

            def executemany(self, *given: Any) -> Any:
                return self.cursor().executemany(*given)

        return Connection


def steps(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` of all the steps, chosen by chance; all of them if there are no more."""
    found = Found()
    every: list[tuple[str, str, int]] = []
    for name, operation in OPERATIONS.items():
        operation.prepare(folder / name)
        shutil.copytree(folder / name, folder / "counted")
        code, lines = lines_of(partial(_interrupted, name, "nothing", 0, folder / "counted"))
        assert code == 0, lines
        shutil.rmtree(folder / "counted")
        every += product((name,), KINDS, range(1, int(lines[1]) + 1))
    for name, kind, step in chance.sample(every, min(size, len(every))):
        shutil.rmtree(folder / "interrupted", ignore_errors=True)
        shutil.copytree(folder / name, folder / "interrupted")
        label = f"{name}, {kind} at {step}"
        began = time.monotonic()
        code, lines = lines_of(partial(_interrupted, name, kind, step, folder / "interrupted"))
        found.done["steps"] += 1
        found.check(time.monotonic() - began < _LONGEST_SECONDS, "took too long", f"{label} {lines}")
        if code != 9:  # killed it was, or by another division of labour among its threads not so far
            is_typed = code == 0 and lines[0] in ("typed", "done")
            found.check(is_typed, "failed otherwise than with a typed error", f"{label} {lines}")
            found.check("again" in lines, "could not be done again by the same process", f"{label} {lines}")
        OPERATIONS[name].check(folder / "interrupted", found, label)
    found.done["there are"] = len(every)
    return found


def _interrupted(name: str, kind: str, step: int, folder: Path, say: Callable[[str], None]) -> None:
    points = Failpoints(kind, step)
    points.install()

    def heal() -> None:
        say(str(points.count))
        points.step = 0

    interrupted(name, folder, say, heal)


def interrupted(name: str, folder: Path, say: Callable[[str], None], heal: Callable[[], None] = int) -> None:
    """Do an operation that something fails, say how it ended, and whether this process can do it then."""
    for attempt in range(2):
        try:
            OPERATIONS[name].operate(folder)
            say("again" if attempt else "done")
        except ValuestoreError as error:
            say(f"not again: {error}" if attempt else "typed")
        except BaseException as error:
            say(f"{type(error).__name__}: {error}")
        if not attempt:
            heal()
