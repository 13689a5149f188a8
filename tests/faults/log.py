"""How long SQLite's write-ahead log becomes while jobs are written, alone and behind a reader."""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress
from pathlib import Path

from tests.faults.found import Found
from valuestore import Repository, Scheduler, task

LIMITS = {"alone": 16 << 20, "behind a reader": 64 << 20}


@task(version="1")
def leaf(number: int) -> int:
    return number + 1


@task(version="1")
def leaves(start: int, count: int) -> list[int]:
    return [leaf(number) for number in range(start, start + count)]


def log(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` jobs alone, and as many more while somebody reads."""
    found = Found()
    for name, limit in LIMITS.items():
        place = folder / name
        with Repository.open(place) as repository, Scheduler(repository) as scheduler:
            scheduler.run(leaves(0, 10))
            repository.flush()
            reader = repository.database._open()
            if name == "behind a reader":
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM job").fetchall()
            with _Watch(f"{repository.database.path}-wal") as watch:
                for start in range(0, size, 5000):
                    scheduler.run(leaves(start + 100, min(5000, size - start)))
                repository.flush()
            reader.close()
        found.done["jobs"] += size
        found.done[f"MiB at most, {name}"] = watch.most >> 20
        found.check(watch.most < limit, "a longer log", f"{name}: {watch.most >> 20} MiB")
    return found


class _Watch:
    """The largest size of a file meanwhile."""

    def __init__(self, path: str) -> None:
        self.most = 0
        self._path, self._stop = path, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.wait(0.002):
            with suppress(OSError):
                self.most = max(self.most, os.stat(self._path).st_size)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
