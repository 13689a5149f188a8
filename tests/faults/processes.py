"""Many processes on one repository: the same values put at once, and first opens."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path

from tests.faults import workflow
from tests.faults.forking import exit_code, fork
from tests.faults.found import Found
from valuestore import Repository

PROCESSES = 8
_PUTS_OF_A_FLUSH = 100


def puts(folder: Path, size: int, chance: random.Random) -> Found:
    """Eight processes put ``size`` values each, of which every other one is put by all."""
    found = Found()
    with Repository.open(folder):
        pass
    pids = [fork(partial(_put, folder, number, size)) for number in range(PROCESSES)]
    found.done["processes"] = PROCESSES
    found.done["puts"] = PROCESSES * size
    for pid in pids:
        found.check(exit_code(pid) == 0, "a process failed")
    with Repository.open(folder) as repository:
        expected = {n for process in range(PROCESSES) for n in _numbers(process, size)}
        count = "SELECT count(*), count(DISTINCT value_hash) FROM value"
        rows, distinct = repository.history.query(count).rows[0]
        found.check(rows == distinct, "duplicate rows", rows - distinct)
        hash_of = repository.archive.registry.hash
        hashes = {hash_of(_small(n)): n for n in expected}
        found.check(rows == len(hashes), "lost or too many", f"{rows} rows, {len(hashes)} values")
        known = list(hashes)
        for start in range(0, len(known), 500):
            some = known[start : start + 500]
            with found.catching("lost", start):
                for value_hash, got in zip(some, repository.get_many(some), strict=True):
                    found.check(workflow.same(got, _small(hashes[value_hash])), "wrong", hashes[value_hash])
    return found


def _small(number: int) -> object:
    return workflow.value(number) if number % 10 == 0 else (number, f"value {number}")


def _numbers(process: int, size: int) -> list[int]:
    return [n if n % 2 else n + 1_000_000 * (process + 1) for n in range(size)]


def _put(folder: Path, process: int, size: int) -> None:
    numbers = _numbers(process, size)
    random.Random(process).shuffle(numbers)
    with Repository.open(folder) as repository:
        for place, number in enumerate(numbers, 1):
            repository.put(_small(number))
            if place % _PUTS_OF_A_FLUSH == 0:
                repository.flush()


def opens(folder: Path, size: int, chance: random.Random) -> Found:
    """Eight processes open a repository that is not there yet, at one moment; so many times."""
    found = Found()
    with Repository.open(folder / "first"):
        pass
    for number in range(size):
        moment = time.monotonic() + 0.03
        pids = [fork(partial(_open, folder / str(number), moment)) for _ in range(PROCESSES)]
        for pid in pids:
            found.check(exit_code(pid) == 0, "a first open failed", number)
        with Repository.open(folder / str(number)) as repository:
            rows = repository.history.query("SELECT count(*) FROM value").rows[0][0]
            found.check(rows == PROCESSES + 1, "lost", f"{number}: {rows} values")
        found.done["rounds"] += 1
    return found


def _open(folder: Path, moment: float) -> None:
    while time.monotonic() < moment:
        pass
    with Repository.open(folder) as repository:
        repository.put_many([os.getpid(), "common"])
