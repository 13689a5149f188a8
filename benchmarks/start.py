"""Starting: processor time of processes that compute nothing, and of one lookup over that of the driver.

    python -m benchmarks.start [--rounds 9]

Each process is measured from its first instruction to its last, in turns with a bare interpreter, the import
of SQLAlchemy, and joblib.Memory and diskcache, peers that answer the same question, where these are there.
Times are the lowest of all rounds; only ratios carry over to another machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing

from valuestore import Repository, Scheduler, task
from valuestore.db.schema.kept import kept
from valuestore.hashing import Digest

_HELLO = """
from valuestore import task, Scheduler

@task()
def hello():
    return "hello"

assert Scheduler(".").run(hello()) == "hello"
"""
_JOBLIB = """
from joblib import Memory

@Memory("joblib", verbose=0).cache
def hello():
    return "hello"

assert hello() == "hello"
"""
_DISKCACHE = """
from diskcache import Cache

cache = Cache("diskcache")

@cache.memoize(name="hello")
def hello():
    return "hello"

assert hello() == "hello"
"""
_PROGRAMS = {
    "python -c pass": "",
    "hello, cached": _HELLO,
    "valuestore log": "from valuestore.cli.main import invoke\ninvoke(['log'])",
    "valuestore stats": "from valuestore.cli.main import invoke\ninvoke(['stats'])",
    "import typer._adapters": "import typer, typer._adapters",
    "import sqlalchemy": "import sqlalchemy",
    "joblib": _JOBLIB,
    "diskcache": _DISKCACHE,
}


def processor_seconds(command: list[str], folder: str) -> float:
    """User and system time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def starts(folder: str, rounds: int) -> dict[str, float]:
    """The lowest time of each program; one more run before fills caches and compiles."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    commands = {}
    for number, (name, code) in enumerate(_PROGRAMS.items()):
        if name in ("joblib", "diskcache") and importlib.util.find_spec(name) is None:
            continue
        file = os.path.join(folder, f"program{number}.py")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(code)
        commands[name] = [sys.executable, file]
        processor_seconds(commands[name], folder)
    found: dict[str, float] = {}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name] = min(found.get(name, 9.0), processor_seconds(command, folder))
    return found


@task(version="1")
def double(number: int) -> int:
    """A tiny task."""
    return 2 * number


def microseconds(work: Callable[[str], object], keys: list[str]) -> float:
    """Of one call, over all keys."""
    started = time.process_time()
    for key in keys:
        work(key)
    return (time.process_time() - started) / len(keys) * 1e6


def lookups(folder: str, rounds: int) -> tuple[float, float]:
    """Microseconds of a lookup of one call, and of its statement on the driver."""
    with Repository.open(folder) as repository, Scheduler(repository) as scheduler:
        scheduler.run([double(number) for number in range(2000)])
        path, sql = str(repository.database.path), kept("sqlite")["evaluations"]
        with closing(sqlite3.connect(path)) as driver:
            keys = [key for (key,) in driver.execute("SELECT eval_hash FROM evaluation")]
            look, ask = [], []
            for _ in range(rounds):
                look.append(microseconds(lambda key: repository.lookup.evaluations([Digest(key)]), keys))
                ask.append(
                    microseconds(lambda key: driver.execute(sql, {"keys": f'["{key}"]'}).fetchall(), keys)
                )
    return min(look), min(ask)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start")
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        found = starts(folder, rounds)
        hello = found["hello, cached"]
        for name, seconds in found.items():
            print(f"{name:24} {1000 * seconds:7.0f} ms CPU {seconds / hello:7.2f} of hello, cached")
    with tempfile.TemporaryDirectory() as folder:
        look, ask = lookups(folder, rounds)
        print(f"a lookup of one call {look:.1f} us, its statement on the driver {ask:.1f} us")


if __name__ == "__main__":
    main()
