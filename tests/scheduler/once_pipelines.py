"""Tasks of races: each body adds a line to a file, so that the bodies of all processes are counted.

As a program: eight processes run the same calls at the same moment.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from valuestore import Scheduler, memoize, task


class Ran:
    """Where bodies note that they ran. It reduces to a name, so no task depends on it."""

    file = ""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return "RAN"


RAN = Ran()
RAN.file = os.environ.get("RAN_IN", "")


def ran(name: str) -> None:
    with open(RAN.file, "ab", buffering=0) as file:
        file.write(f"{name}\n".encode())


def until(condition) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@task(version="1", namespace="once")
def gated(folder: str, name: str) -> str:
    """Runs until there is a file that says what it is to do."""
    ran(name)
    gate = Path(folder, f"{name} may")
    until(gate.exists)
    if gate.read_text() == "fail":
        raise ValueError(name)
    return name


@task(version="1", namespace="once")
def leaf(i: int) -> int:
    ran(f"leaf {i}")
    time.sleep(0.001)
    return i


@task(version="1", namespace="once")
def several(first: int, count: int) -> list[int]:
    ran(f"several {first}")
    return [leaf(first + i) for i in range(count)]


@task(version="1", namespace="once")
async def awaited(i: int) -> int:
    ran(f"awaited {i}")
    one, other = await asyncio.gather(leaf(i), leaf(i + 1))
    return one + other


@memoize(version="1", namespace="once", name="remembered")
def remembered(i: int) -> int:
    ran(f"remembered {i}")
    return i


@task(version="1", namespace="once")
def with_memory(i: int) -> int:
    ran(f"with_memory {i}")
    return remembered(i % 3)


@task(version="1", namespace="once")
def total(parts: list) -> int:
    ran("total")
    return sum(sum(part) if isinstance(part, list) else part for part in parts)


@task(version="1", namespace="once")
def forks(folder: str) -> int:
    child = os.fork()
    if child == 0:
        try:
            with Scheduler(folder, workers=1) as scheduler:
                os._exit(0 if scheduler.run(leaf(1)) == 1 else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


def expression(first: int) -> int:
    """166 calls, some of them equal."""
    parts = [several(first + 10 * i, 9) for i in range(15)]
    more = [*[awaited(first + 10 * i) for i in range(4)], *[with_memory(first + i) for i in range(6)]]
    return total([*parts, *more, parts[0], several(first, 9)])


def race(folder: str, processes: int, rounds: int) -> None:
    """Each round all of them begin when the last one is there."""
    children = []
    for number in range(processes):
        if (child := os.fork()) == 0:
            try:
                for round_ in range(rounds):
                    Path(folder, f"ready {round_} {number}").touch()
                    until(lambda: len([*Path(folder).glob(f"ready {round_} *")]) == processes)  # noqa: B023
                    with Scheduler(folder, workers=2) as scheduler:
                        os.write(1, f"{scheduler.run(expression(1000 * round_))}\n".encode())
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        children.append(child)
    sys.exit(max([os.waitpid(child, 0)[1] for child in children]) >> 8)


if __name__ == "__main__":
    race(sys.argv[1], *map(int, sys.argv[2:]))
