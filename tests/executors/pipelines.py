"""Tasks that do to their workers what programs do: end them, fill their disks, give what nobody can send."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from valuestore import File, task


@task
def add(n: int) -> int:
    return n + 1


@task
def slowly(n: int) -> int:
    time.sleep(0.1)
    return n + 1


@task
def give(n: int, megabytes: int) -> bytes:
    return bytes([n]) * (megabytes << 20)


@task
def length(data: bytes) -> int:
    return len(data)


@task
def end(how: str) -> Any:
    """The worker, in the middle of a body."""
    ways = {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "exit": lambda: os._exit(3),
        "fault": lambda: ctypes.string_at(0),
        "terminate": lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(10)),
    }
    ways[how]()


@task
def end_once(folder: str, n: int) -> int:
    """The first worker that runs it ends."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(Path(folder, f"ended-{n}"), os.O_CREAT | os.O_EXCL))
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@task
def end_in_payload(n: int) -> bytes:
    """A file may have 64 KiB; who writes more is ended by the kernel, as if by somebody's hand."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    return os.urandom(1 << 20)


@task
def fill_disk(n: int) -> bytes:
    """A file may have 64 KiB: what is written beyond fails, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return os.urandom(1 << 20)


@task
def make_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@task
def take_memory(n: int) -> int:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (50 << 20), hard))
    try:
        return len(bytes(1 << 30))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class TwoArguments(Exception):
    """Its arguments are not those of its constructor, so a pickle of it is not read."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self):
        raise TypeError("no pickle")


@task
def fail(how: str) -> Any:
    if how == "caused":
        try:
            return 1 // 0
        except ZeroDivisionError as error:
            raise ValueError("outer") from error
    errors = {
        "two arguments": TwoArguments(1, 2),
        "speechless": Speechless(),
        "exit": SystemExit(4),
        "stop": StopIteration(3),
        "group": ExceptionGroup("several", [ValueError(1), KeyError("k")]),
    }
    raise errors[how]


class Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()


@task
def take(given: Any) -> int:
    return 1


@task
def read_environment(n: int) -> tuple[str, int]:
    return os.environ.get("EXECUTORS_TEST", ""), n


@task
def written(path: str, text: str) -> File:
    Path(path).write_text(text)
    return File(path)


@task
def read_slowly(file: File, other: str) -> str:
    """Somebody writes to its argument meanwhile."""
    text = file.read()
    Path(other).write_text("changed")
    return str(text)


@task
def process(n: int) -> int:
    return os.getpid()


@task
def large_of(n: int) -> list[Any]:
    """With as many bytes as do not fit into a row."""
    return [n, bytes(100_000)]


@task
def total(parts: list[Any]) -> int:
    return sum(part if isinstance(part, int) else part[0] + len(part[1]) for part in parts)


@task
def pass_on(given: Any) -> list[Any]:
    return [given]


@task
def history_of(given: list[Any]) -> Any:
    return given[0].history


SETTINGS = {"factor": 2}


@task
def scaled(n: int) -> int:
    return n * SETTINGS["factor"]


@task(cache=False)
def pooled(method: str) -> list[int]:
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(abs, [-1, 2])


@task(cache=False)
def fork(n: int) -> int:
    """Its child comes out of the body as well."""
    if os.fork() == 0:
        sys.exit(n)
    return os.WEXITSTATUS(os.wait()[1])
