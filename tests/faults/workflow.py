"""A workflow with every kind of stored value, small and large, and what it gives where nothing ever fails."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy

from valuestore import Repository, Scheduler, task

RAN: Counter[str] = Counter()
"""Bodies by task, in this process."""
_lock = threading.Lock()


@dataclass
class Record:
    name: str
    numbers: list[int]


class Plain:
    """Of no kind that is known: stored by its state, and signed."""

    def __init__(self, number: int) -> None:
        self.number = number


def value(number: int) -> object:
    """A value that is as no other number's; most are small, some larger than a row holds, few than a MiB."""
    seed = hashlib.sha256(b"%d" % number).digest()
    kinds = {
        0: lambda: number,
        1: lambda: seed.hex(),
        2: lambda: [number, seed.hex(), None, {"seed": seed}],
        3: lambda: Record(seed.hex(), list(range(number % 50))),
        4: lambda: seed * 400,
        5: lambda: numpy.frombuffer(seed * 500, "<u4"),
        6: lambda: seed.hex() * (20_000 if number % 70 == 6 else 200),
    }
    return kinds[number % len(kinds)]()


def same(one: object, other: object) -> bool:
    if isinstance(one, numpy.ndarray):
        return (
            isinstance(other, numpy.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
        )
    return type(one) is type(other) and one == other


def data_of(made: object) -> bytes:
    """All that the value says, by no method that a library made, whose code cannot be known again."""
    if isinstance(made, numpy.ndarray):
        return made.tobytes()
    return repr(vars(made) if isinstance(made, Record | Plain) else made).encode()


def ran(name: str) -> None:
    with _lock:
        RAN[name] += 1


@task(version="1")
def make(number: int) -> Any:
    ran("make")
    return value(number)


@task(version="1")
def signed(number: int) -> Any:
    ran("signed")
    return Plain(number)


@task(version="1")
def measure(made: Any) -> str:
    ran("measure")
    return hashlib.sha256(data_of(made)).hexdigest()[:16]


@task(version="1")
def both(number: int) -> Any:
    ran("both")
    return [measure(make(number)), measure(signed(number))]


@task(version="1")
def total(measures: list[Any]) -> str:
    ran("total")
    return hashlib.sha256(repr(measures).encode()).hexdigest()


def calls(count: int, start: int = 0) -> Any:
    """Of 5 * count + 1 bodies."""
    return total([both(number) for number in range(start, start + count)])


def expected(count: int, start: int = 0) -> str:
    """What ``calls`` gives, by functions alone."""
    made = [(value(number), Plain(number)) for number in range(start, start + count)]
    measures = [[hashlib.sha256(data_of(part)).hexdigest()[:16] for part in pair] for pair in made]
    return hashlib.sha256(repr(measures).encode()).hexdigest()


def run(repository: Repository, count: int, start: int = 0) -> str:
    with Scheduler(repository) as scheduler:
        return str(scheduler.run(calls(count, start)))
