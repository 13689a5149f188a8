"""Tasks for the scheduler's tests. Each body notes that it ran in the file named by RAN, if set."""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
import time
from typing import Any

from valuestore import File, Value, task


class Notes:
    """Names of bodies that ran. It reduces to a name, so no task depends on what it holds."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __reduce_ex__(self, protocol: Any) -> Any:
        return "RAN"


RAN = Notes()
FACTOR = 2
_lock = threading.Lock()


def ran(name: str) -> None:
    with _lock:
        RAN.names.append(name)


@task
def double(x: int) -> int:
    ran("double")
    return FACTOR * x


@task
def add(x: int, y: int = 10) -> int:
    ran("add")
    return x + y


@task
def total(xs: Any) -> int:
    ran("total")
    return sum(xs)


@task
def fan(n: int) -> int:
    ran("fan")
    return total([double(i) for i in range(n)])


@task
def nested(n: int) -> dict[str, Any]:
    ran("nested")
    return {"double": double(n), "list": [add(n), (double(n + 1), 5)], "plain": n}


@task
def countdown(n: int) -> int:
    ran("countdown")
    return countdown(n - 1) if n else 0


@task
def fails(x: int) -> int:
    ran("fails")
    raise KeyError(f"no {x}")


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__(threading.Lock())

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle this")


@task
def fails_unpicklably() -> int:
    raise Unpicklable


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@task
def fails_rudely() -> int:
    raise Rude


@task
def calls_failing() -> int:
    return add(fails(1), double(3))


@task
def unstorable() -> Any:
    ran("unstorable")
    return (i for i in range(3))


@task(cache=False)
def uncached(x: int) -> int:
    ran("uncached")
    return x


@task(version="1", name="renamed", namespace="other", tags={"kind": "test"})
def versioned(x: int) -> int:
    ran("versioned")
    return x


@task
def variadic(x: int, *rest: int, scale: int = 1, **more: int) -> list[int]:
    ran("variadic")
    return [x, *rest, scale, *more.values()]


@task
def write(path: str, text: str) -> File:
    ran("write")
    file = File(path)
    file.write(text)
    return file


@task
def read(file: File) -> str:
    ran("read")
    return file.read_text()


@task
def spoil(xs: list[int]) -> int:
    ran("spoil")
    xs.append(1)
    return len(xs)


@task
def big(n: int) -> bytes:
    ran("big")
    return b"x" * n


@task
def size(data: bytes) -> int:
    ran("size")
    return len(data)


@dataclasses.dataclass
class Shape:
    width: int
    height: int = 1


@task
def shape(width: int) -> Shape:
    ran("shape")
    return Shape(width, width + 1)


@task
def sleepy(seconds: float) -> float:
    ran("sleepy")
    time.sleep(seconds)
    return seconds


@task
def where() -> str:
    return threading.current_thread().name


@task
def make_endless(x: int) -> int:
    return make_endless(x)


@task
def nap_and_note(path: str, index: int) -> int:
    time.sleep(0.02)
    with open(path, "a") as notes:
        notes.write(f"{index}\n")
    return index


@task
def nap_all(path: str, count: int) -> int:
    return total([nap_and_note(path, index) for index in range(count)])


def pid() -> int:
    return os.getpid()


@task(version="1")
def padded(i: int) -> str:
    return f"{i:08d}"


@task(version="1")
def pairs(n: int) -> list[str]:
    return [call for i in range(n) for call in (padded(i), padded(i))]


@task(cache=False)
def wipe(after: Any, folder: str) -> int:
    for place, _, files in os.walk(folder):
        for name in files:
            os.unlink(os.path.join(place, name))
    return 0


@task
def first(value: Any, *others: Any) -> Any:
    return value


@task
def delegate(x: int) -> int:
    ran("delegate")
    return add(x)


@task
def make_and_call(k: int) -> int:
    @task
    def inner(x: int) -> int:
        return x * k

    return inner(10)


@task
def overwrite_and_read(file: File, text: str) -> str:
    ran("overwrite_and_read")
    File(file.path).write(text)
    return file.read_text()


class Bundle(Value):
    def __init__(self, file: File) -> None:
        self.file = file


@task
def bundle(path: str) -> Bundle:
    ran("bundle")
    file = File(path)
    file.write("bundled")
    return Bundle(file)


SCHEDULER: collections.deque[Any] = collections.deque()


@task(version="1")
def runs_another() -> int:
    return int(SCHEDULER[0].run(double(7)))


@task
def fails_with(text: str) -> int:
    raise ValueError(text)


@dataclasses.dataclass(repr=False)
class Ugly:
    x: int

    def __repr__(self) -> str:
        raise RuntimeError("no")


@task
def shown(x: Any) -> int:
    return 0


@task
def write_to(file: File) -> File:
    file.write("written")
    return file
