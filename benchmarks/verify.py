"""Verify against reading alone: ``python -m benchmarks.verify [--mib N] [--folder F] [--rounds N]``.

Values of 8 MiB each, as bytes and as numpy arrays, under both digests. The speed of a verification as a share
of that at which one thread reads the same payload files (the goal: at least 80 %), from the disk, where the
files are dropped from the page cache before each turn, and from the cache. At their best, in turns.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from valuestore import Repository
from valuestore.db.upkeep.verify import Verifier

EACH_MIB = 8


def main() -> int:
    """Fill, verify, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--folder", default=None, help="on which disk; default: that of temporary files")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    shown = Table("values", "digest", "from the disk", "from the cache")
    for kind in ("bytes", "numpy"):
        for digest in ("xxh3-128", "blake3-256"):
            with (
                tempfile.TemporaryDirectory(dir=given.folder) as folder,
                Repository.open(folder, digest=digest) as repository,
            ):
                for value in _values(kind, given.mib // EACH_MIB):
                    repository.put(value)
                repository.flush()
                files = [path for path in Path(folder).rglob("*") if path.stat().st_size >= EACH_MIB << 20]
                os.sync()
                shares = [_share(repository, files, given.rounds, is_cold) for is_cold in (True, False)]
                shown.add_row(kind, digest, *(f"{share:.0%}" for share in shares))
    Console().print(shown)
    return 0


def _values(kind: str, count: int) -> Iterator[object]:
    chance = np.random.default_rng(1)
    for _ in range(count):
        numbers = chance.integers(0, 1 << 60, size=EACH_MIB << 17)
        yield numbers if kind == "numpy" else numbers.tobytes()


def _share(repository: Repository, files: list[Path], rounds: int, is_cold: bool) -> float:
    def read() -> None:
        memory = memoryview(bytearray(1 << 20))
        for file in files:
            with file.open("rb", buffering=0) as stream:
                while stream.readinto(memory):
                    pass

    def verify() -> None:
        assert list(Verifier(repository.database, repository.lookup, repository.archive).verify()) == []

    took: dict[Callable[[], None], list[float]] = {read: [], verify: []}
    for _ in range(rounds):
        for work, times in took.items():
            for file in files if is_cold else ():
                with file.open("rb") as stream:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    return min(took[read]) / min(took[verify])


if __name__ == "__main__":
    sys.exit(main())
