"""Values against redun, joblib and bare digests: ``python -m benchmarks.values [--rounds 5] [--folder F]``.

All sides do the same work in turns, in one process, and CPU time counts. A ratio is the other side's median
over valuestore's where that is a peer (above 1, valuestore is cheaper), and valuestore's over the other's
where that is a floor: the digest of the bare buffers, ``pickle.loads``. redun hashes by its type registry and
keeps by its backend in SQLite; joblib hashes by ``joblib.hash`` and keeps by that and ``joblib.dump``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
from redun.backends.db import RedunBackendDb
from redun.value import get_type_registry as redun_types
from rich.console import Console
from rich.table import Table

from valuestore import Repository
from valuestore.hashing import get_algorithm
from valuestore.values.registry import TypeRegistry

SMALL_VALUES = 100_000
LEAVES = 200_000
LARGE_NUMBERS = 12_500_000
STORED_NUMBERS = 6_250_000
FRAME_ROWS = 1_000_000
SAME_PUTS = 20

Work = Callable[[], object]
PEER, FLOOR = "peer", "floor"


@dataclass(frozen=True)
class Race:
    """One row: whom valuestore is compared with in which work, and the goal for the ratio."""

    work: str
    against: str
    kind: str
    ours: Work
    theirs: Work
    goal: float | None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.values", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="on the disk to measure; default: where temporary files go")
    arguments = parser.parse_args()
    table = Table("work", "against", "ratio", "goal", "ms", "their ms", title="Values, CPU time")
    for races in (_hashing, _digests, _loading):
        for race in races():
            table.add_row(*_row(race, arguments.rounds))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for race in _keeping(folder):
            table.add_row(*_row(race, arguments.rounds))
    Console().print(table)


def _row(race: Race, rounds: int) -> Sequence[str]:
    ours, theirs = _in_turns(race, rounds)
    ratio, bound = (theirs / ours, "at least") if race.kind == PEER else (ours / theirs, "at most")
    goal = "" if race.goal is None else f"{bound} {race.goal:g}"
    return race.work, race.against, f"{ratio:.2f}", goal, f"{ours * 1e3:.2f}", f"{theirs * 1e3:.2f}"


def _in_turns(race: Race, rounds: int) -> tuple[float, float]:
    costs: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        pairs = list(zip((race.ours, race.theirs), costs, strict=True))
        for work, kept in pairs if turn % 2 else reversed(pairs):
            started = time.process_time()
            kept_alive = work()
            if turn:  # the first warms up
                kept.append(time.process_time() - started)
            del kept_alive
    return statistics.median(costs[0]), statistics.median(costs[1])


# --- identity -------------------------------------------------------------------------------------


def _hashing() -> Iterator[Race]:
    registry = TypeRegistry()
    small = [(n, str(n), {"n": n})[n % 3] for n in range(SMALL_VALUES)]
    nested = {f"k{n}": {"a": n, "b": [n * 0.5, str(n)], "c": None} for n in range(LEAVES // 4)}

    def each(hash_one: Callable[[Any], Any]) -> Work:
        return lambda: [hash_one(value) for value in small]

    name = f"hash {SMALL_VALUES:,} small values"
    redun = redun_types().get_hash
    yield Race(name, "redun", PEER, each(registry.hash), each(redun), 2)
    yield Race(name, "joblib.hash", PEER, each(registry.hash), each(joblib.hash), 5)
    name = f"hash a dict of {LEAVES:,} leaves"
    yield Race(name, "redun", PEER, lambda: registry.hash(nested), lambda: redun(nested), 1)
    yield Race(name, "joblib.hash", PEER, lambda: registry.hash(nested), lambda: joblib.hash(nested), 10)


def _digests() -> Iterator[Race]:
    registry = TypeRegistry()
    digest = get_algorithm().hexdigest
    random = np.random.default_rng(0)
    array = random.random(LARGE_NUMBERS)
    data = array.tobytes()
    floats = pd.ArrowDtype(pa.float64())
    frame = pd.DataFrame({f"c{n}": pd.array(random.random(FRAME_ROWS), dtype=floats) for n in range(8)})
    texts = pa.table({f"c{n}": [f"{n} {row}" for row in range(FRAME_ROWS // 8)] for n in range(8)})

    def bare(*buffers: Any) -> Work:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        return lambda: [digest(view) for view in views]

    columns = [frame[name].array.__arrow_array__() for name in frame]
    words = [buffer for column in texts.columns for buffer in column.chunk(0).buffers() if buffer]
    name = "the buffers"
    yield Race("hash 100 MB of numpy", name, FLOOR, lambda: registry.hash(array), bare(array), 1.3)
    yield Race("hash 100 MB of bytes", name, FLOOR, lambda: registry.hash(data), bare(data), 1.3)
    floor = bare(*(column.chunk(0).buffers()[1] for column in columns))
    yield Race("hash an Arrow frame of 1 M x 8", name, FLOOR, lambda: registry.hash(frame), floor, 1.3)
    yield Race("hash 1 M short texts in Arrow", name, FLOOR, lambda: registry.hash(texts), bare(*words), None)


def _loading() -> Iterator[Race]:
    registry = TypeRegistry()
    for name, value in {
        "a dict of dicts and lists": {f"k{n}": {"a": n, "b": [n * 0.5, str(n)]} for n in range(LEAVES // 4)},
        "a list of ints": list(range(LEAVES)),
        "a list of texts": [str(n) for n in range(LEAVES)],
        "a dict with tuples": {f"k{n}": (n, str(n)) for n in range(LEAVES // 4)},
    }.items():
        yield _load_race(registry, name, value)


def _load_race(registry: TypeRegistry, name: str, value: object) -> Race:
    payload, pickled = registry.dump(value), pickle.dumps(value)
    loads = pickle.loads
    return Race(
        f"load {name}", "pickle.loads", FLOOR, lambda: registry.load(payload), lambda: loads(pickled), 2
    )


# --- keeping --------------------------------------------------------------------------------------


def _keeping(folder: str) -> Iterator[Race]:
    """50 MB arrays, another one for each put. Reading sums up an element, so that nothing is put off."""
    array = np.random.default_rng(0).random(STORED_NUMBERS)
    counter = itertools.count()
    backend = RedunBackendDb(db_uri=f"sqlite:///{folder}/redun.db")
    backend.load()
    with Repository.open(os.path.join(folder, "ours")) as repository:

        def other() -> Any:
            array[0] = next(counter)
            return array

        def put_ours() -> str:
            ref = repository.put(other())
            repository.flush()
            return ref.value_hash

        def put_joblib() -> str:
            path = os.path.join(folder, str(joblib.hash(other())))
            joblib.dump(array, path)
            return path

        def put_redun() -> str:
            return str(backend.record_value(other()))

        def write() -> None:
            path = os.path.join(folder, f"bare-{next(counter)}")
            with open(path, "wb", buffering=0) as file:
                file.write(memoryview(other().view(np.uint8)))
            os.replace(path, path + ".npy")

        def same() -> None:
            other()
            for _ in range(SAME_PUTS):
                repository.put(array)
            repository.flush()

        yield Race("put 50 MB", "redun", PEER, put_ours, put_redun, 5)
        yield Race("put 50 MB", "joblib", PEER, put_ours, put_joblib, 2)
        yield Race("put 50 MB", "write, replace", FLOOR, put_ours, write, None)
        ours, redun, path = put_ours(), put_redun(), put_joblib()

        def get(copy: bool) -> Work:
            return lambda: repository.get(ours, copy=copy)[-1]

        def get_redun() -> Any:
            return backend.get_value(redun)[0][-1]

        yield Race("get 50 MB by copy", "redun", PEER, get(True), get_redun, 2.5)
        yield Race("get 50 MB by copy", "joblib.load", PEER, get(True), lambda: _joblib_load(path), None)
        yield Race("get 50 MB by map", "redun", PEER, get(False), get_redun, 15)
        digest, view = get_algorithm().hexdigest, array.view(np.uint8).data
        once = f"one put, {SAME_PUTS} digests"

        def put_and_digests() -> None:
            put_ours()
            for _ in range(SAME_PUTS):
                digest(view)

        yield Race(f"put the same 50 MB {SAME_PUTS} times", once, FLOOR, same, put_and_digests, 1.3)


def _joblib_load(path: str) -> Any:
    return getattr(joblib, "load")(path)[-1]  # noqa: B009  # written here a moment ago


if __name__ == "__main__":
    main()
