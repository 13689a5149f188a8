"""What the catalog costs: ``python -m benchmarks.catalog [--entries N] [--url URL] [--large MB]``.

A catalog of 100,000 entries with four attributes each is asked by one that a single entry has, by one of a
hundred, by one of half of them (ten are taken), and by two together. The attributes of a large entry are
changed, and small entries are put. Wall milliseconds, the median of so many times; beside them, as the floor,
a look-up of one row by its key on the same driver.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from valuestore import Repository
from valuestore.db.schema.kept import kept

TIMES = 200
MANY = 5000


def main() -> int:
    """Generate, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--url", default="", help="database URL; default: a SQLite file")
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large entry")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Repository.open(folder, database=given.url or None) as repository,
    ):
        began = time.perf_counter()
        _fill(repository, given.entries)
        seconds = time.perf_counter() - began
        print(f"{given.entries:,} entries put in {seconds:.1f} s, {MANY} in a transaction")
        for name, value in measured(repository, given.entries, given.large):
            print(f"{name:<60} {value:8.3f} ms")
    return 0


def measured(repository: Repository, entries: int, large: int) -> Iterator[tuple[str, float]]:
    """What is done, and how long it takes."""
    catalog, database = repository.catalog, repository.database
    sql = kept(database.dialect_name)["versions of"]
    yield "floor: one row by its key", _median(lambda n: database.rows(sql, {"name": f"entry/{n:08}"}), 1)
    yield "find(number=n): one entry", _median(lambda n: list(catalog.find(number=n)), 1)
    hundred = max(1, entries // 100)
    yield (
        f"find(['number'], group=n): {entries // hundred} entries",
        _median(lambda n: list(catalog.find(["number"], group=n % hundred)), entries // hundred),
    )
    yield (
        "find(half=True, limit=10): of half of all",
        _median(lambda _: list(catalog.find(half=True, limit=10)), 10),
    )
    yield (
        "find(half=True, number=n): two together",
        _median(lambda n: list(catalog.find(half=True, number=2 * n)), 1),
    )
    yield "stat", _median(lambda n: [catalog.stat(f"entry/{n:08}")], 1)
    yield "list(prefix, limit=100)", _median(lambda n: catalog.list(f"entry/{n:06}", limit=100).keys, 100)
    yield "put of 100 bytes, a new name", _median(lambda n: [catalog.put(f"new/{n}", b"%d" % n * 10)], 1)
    began = time.perf_counter()
    catalog.put("large", iter([bytes(1 << 20)] * large))
    yield f"put of {large} MiB", 1000 * (time.perf_counter() - began)
    yield (
        f"update_attrs of the entry of {large} MiB",
        _median(lambda n: [catalog.update_attrs("large", {"step": n})], 1),
    )
    yield "copy of it", _median(lambda n: [catalog.copy("large", f"copy/{n}")], 1)


def _fill(repository: Repository, entries: int) -> None:
    for start in range(0, entries, MANY):
        numbers = range(start, min(start + MANY, entries))
        repository.catalog.put_many(
            (f"entry/{n:08}" for n in numbers),
            (b"the same content" for _ in numbers),
            (
                {"number": n, "group": n % max(1, entries // 100), "half": n % 2 == 0, "text": f"t{n}"}
                for n in numbers
            ),
        )


def _median(ask: Callable[[int], list[Any]], wanted: int) -> float:
    """Milliseconds of one, in the middle of all. Raises: AssertionError if it does not give so many."""
    taken = []
    for number in range(TIMES):
        began = time.perf_counter()
        found = ask(number)
        taken.append(time.perf_counter() - began)
        assert len(found) == wanted, (len(found), wanted)
    return 1000 * median(taken)


if __name__ == "__main__":
    sys.exit(main())
