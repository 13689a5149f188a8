"""RedisTable against bare redis-py on one server: ``python -m benchmarks.tables``.

Both do the same in turns, in one process, on the Redis that the tests use. Bare redis-py asks one sorted set
for keys and one hash for the same rows, as bytes, in two round trips; RedisTable's find gives rows, decoded,
as they were at one instant. A ratio is RedisTable's median over that of bare redis-py.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from tests.servers import RedisServer
from valuestore.tables import CachedTable, Float64, Int64, Interval, RedisTable, String

ROWS = 100_000
FOUND = 100
LOAD_SECONDS = 2.0
FIND_GOAL = 2.0
DECLARED: dict[str, Any] = {
    "key": "id",
    "codecs": {"id": Int64(), "at": Float64(), "name": String(), "text": String()},
    "indexes": {"id": lambda row: row["id"], "at": lambda row: row["at"]},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    rows = [{"id": n, "at": n / 8, "name": f"row {n}", "text": "x" * 100} for n in range(ROWS)]
    shown = Table("work", "RedisTable", "bare redis-py", "ratio", "goal")
    with (
        RedisServer(own=True) as server,
        redis.Redis.from_url(server.url) as bare,
        RedisTable[dict[str, Any]](server.url, "rows", **DECLARED) as table,
    ):
        cache = CachedTable(table, lambda _index, _intervals: rows)
        seconds = min(_load(cache, table) for _ in range(3))
        shown.add_row(f"load {ROWS:,} rows, wall s", f"{seconds:.2f}", "", "", f"at most {LOAD_SECONDS:g}")
        finds = _find(cache, bare, rounds)
        shown.add_row(f"covered find of {FOUND} rows, CPU ms", *_ratio(*finds), f"at most {FIND_GOAL:g}")
        shown.add_row("put, CPU ms", *_ratio(*_put(table, bare, rounds)), "")
        shown.add_row("batch of 1,000, CPU ms", *_ratio(*_batch(table, bare, rounds)), "")
    Console().print(shown)


def _load(cache: CachedTable[Any], table: RedisTable[Any]) -> float:
    table.clear()
    started = time.perf_counter()
    assert cache.load("id", Interval()).loaded == ROWS
    return time.perf_counter() - started


def _find(cache: CachedTable[Any], bare: Any, rounds: int) -> tuple[list[float], list[float]]:
    starts = range(0, ROWS, ROWS // 100)

    def ours() -> None:
        for start in starts:
            found = list(cache.find("at", Interval(start / 8, (start + FOUND) / 8)))
            assert len(found) == FOUND

    def theirs() -> None:
        for start in starts:
            keys = bare.zrangebyscore("{rows}:i:at", start / 8, f"({(start + FOUND) / 8}")
            assert len(bare.hmget("{rows}:r", keys)) == FOUND

    return _in_turns(ours, theirs, rounds, len(starts))


def _put(table: RedisTable[Any], bare: Any, rounds: int) -> tuple[list[float], list[float]]:
    data = b"x" * 150

    def ours() -> None:
        for number in range(100):
            table.put({"id": number, "at": 1.0, "name": "row", "text": "x" * 100})

    def theirs() -> None:
        for number in range(100):
            with bare.pipeline() as pipeline:
                pipeline.hset("bare:r", number, data)
                pipeline.zadd("bare:i:id", {number: number})
                pipeline.zadd("bare:i:at", {number: 1.0})
                pipeline.execute()

    return _in_turns(ours, theirs, rounds, 100)


def _batch(table: RedisTable[Any], bare: Any, rounds: int) -> tuple[list[float], list[float]]:
    rows = [{"id": n, "at": n / 8, "name": "row", "text": "x" * 100} for n in range(1000)]
    data = dict.fromkeys(range(1000), b"x" * 150)

    def ours() -> None:
        table.put_many(rows)

    def theirs() -> None:
        with bare.pipeline() as pipeline:
            pipeline.hset("bare:r", mapping=data)
            pipeline.zadd("bare:i:id", {n: n for n in data})
            pipeline.zadd("bare:i:at", {n: n / 8 for n in data})
            pipeline.execute()

    return _in_turns(ours, theirs, rounds, 1)


def _in_turns(
    ours: Callable[[], None], theirs: Callable[[], None], rounds: int, times: int
) -> tuple[list[float], list[float]]:
    """CPU milliseconds of one, each time."""
    costs: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for work, kept in zip((ours, theirs), costs, strict=True):
            started = time.process_time()
            work()
            if turn:  # the first warms up
                kept.append((time.process_time() - started) * 1000 / times)
    return costs


def _ratio(ours: list[float], theirs: list[float]) -> tuple[str, str, str]:
    one, other = statistics.median(ours), statistics.median(theirs)
    return f"{one:.3f}", f"{other:.3f}", f"{one / other:.2f}"


if __name__ == "__main__":
    main()
