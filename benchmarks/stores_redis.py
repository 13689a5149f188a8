"""RedisStore against bare redis-py on one server: ``python -m benchmarks.stores_redis``.

Both do the same work in turns, in one process, on the Redis that the tests use. Bare redis-py sends plain
SET and GET in pipelines of the same size; it keeps no attributes, no etag and no index. A ratio is
RedisStore's median over bare redis-py's, for the listing SCAN's over RedisStore's.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from tests.servers import RedisServer
from valuestore.stores.redis.store import RedisStore

VALUE_BYTES = 1000
BATCHES = (1, 100, 1000)
PER_ROUND = 2000
LISTED_KEYS = 100_000
PUT_GOAL = 1.5
LIST_GOAL = 100.0

Cost = tuple[float, float]
"""CPU and wall seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores_redis", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    table = Table("work", "size of batch", "CPU ratio", "wall ratio", "goal", title="RedisStore and redis-py")
    with (
        RedisServer(own=True) as server,
        redis.Redis.from_url(server.url) as bare,
        RedisStore(server.url, prefix="ours") as store,
    ):
        for batch in BATCHES:
            puts, gets = _put_and_get(store, bare, batch, rounds)
            table.add_row("put", str(batch), *_ratio(*puts), f"at most {PUT_GOAL:g}")
            table.add_row("get", str(batch), *_ratio(*gets), f"at most {PUT_GOAL:g}")
        bare.flushall()
        ours, scans = _list_ten(store, bare, max(3, rounds // 5))
        table.add_row("list 10 of 100,000", "", *_ratio(scans, ours), f"SCAN at least {LIST_GOAL:g}")
    Console().print(table)


def _put_and_get(
    store: RedisStore, bare: Any, batch: int, rounds: int
) -> tuple[tuple[list[Cost], list[Cost]], tuple[list[Cost], list[Cost]]]:
    keys = [f"{n % 256:02x}/{n:08x}" for n in range(PER_ROUND if batch > 1 else PER_ROUND // 4)]
    values = [hashlib.shake_128(key.encode()).digest(VALUE_BYTES) for key in keys]
    groups = [slice(start, start + batch) for start in range(0, len(keys), batch)]

    def put_ours() -> None:
        for group in groups:
            if batch == 1:
                store.put(keys[group][0], values[group][0])
            else:
                store.put_many(keys[group], values[group])

    def put_bare() -> None:
        for group in groups:
            with bare.pipeline(transaction=False) as pipeline:
                for key, value in zip(keys[group], values[group], strict=True):
                    pipeline.set(f"bare/{key}", value)
                pipeline.execute()

    def get_ours() -> None:
        for group in groups:
            found = [store.get(keys[group][0])] if batch == 1 else store.get_many(keys[group])
            assert found == values[group]

    def get_bare() -> None:
        for group in groups:
            with bare.pipeline(transaction=False) as pipeline:
                for key in keys[group]:
                    pipeline.get(f"bare/{key}")
                assert pipeline.execute() == values[group]

    return _in_turns(put_ours, put_bare, rounds), _in_turns(get_ours, get_bare, rounds)


def _list_ten(store: RedisStore, bare: Any, rounds: int) -> tuple[list[Cost], list[Cost]]:
    keys = [f"run{n // 10:05}/{n:06}" for n in range(LISTED_KEYS)]
    store.put_many(keys, [b""] * LISTED_KEYS)
    wanted = [key for key in keys if key.startswith("run04321/")]

    def list_ours() -> None:
        assert store.list("run04321/", limit=10).keys == wanted

    def scan() -> None:
        names = bare.scan_iter(match="ours/run04321/*", count=1000)
        assert sorted(name.decode().removeprefix("ours/") for name in names) == wanted

    return _in_turns(list_ours, scan, rounds)


def _in_turns(
    one: Callable[[], None], other: Callable[[], None], rounds: int
) -> tuple[list[Cost], list[Cost]]:
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for turn in range(rounds + 1):
        for work, kept in zip((one, other), costs, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            if turn:  # the first warms up
                kept.append((time.process_time() - cpu, time.perf_counter() - wall))
    return costs


def _ratio(over: Sequence[Cost], under: Sequence[Cost]) -> tuple[str, str]:
    """CPU and wall."""
    cpu, wall = (
        statistics.median(cost[kind] for cost in over) / statistics.median(cost[kind] for cost in under)
        for kind in (0, 1)
    )
    return f"{cpu:.2f}", f"{wall:.2f}"


if __name__ == "__main__":
    main()
