"""Files and folders against the least that could do it: ``python -m benchmarks.files``.

What is compared takes turns; ratios are of processor time, user and system, of medians:

- the content of one large file, digested for the first time, against ``cat`` of it to /dev/null;
- a file seen again, by a process that saw it and by a new one that knows it from the record;
- a folder of many small files: unchanged, against ``os.scandir`` and ``stat`` of each; for the first time,
  beside redun's Dir, which looks at time stamps alone, if redun is installed.

No file is so new that it would not be trusted: they are made three seconds before. ``--gib 0.25 --files
1000`` for a short run.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.systems import is_installed
from valuestore.values.files import local_files
from valuestore.values.files.dir import Dir
from valuestore.values.files.file import File
from valuestore.values.files.stat_memory import StatMemory, StatRecord, stat_memory

SETTLE_SECONDS = 3.0
SEEN_AGAIN = 10_000
SEEN_AGAIN_GOAL_MICROSECONDS = 10


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, what it took, and the goal."""

    work: str
    took: str
    goal: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gib", type=float, default=1.0, help="the size of the one file")
    parser.add_argument("--files", type=int, default=10_000, help="how many are in the folder")
    parser.add_argument("--folder", help="on the disk to measure; default: where temporary files go")
    arguments = parser.parse_args()
    table = Table("work", "took", "goal", title="Files and folders")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        os.environ["VALUESTORE_CACHE"] = os.path.join(place, "cache")
        large, folder = _make(place, arguments.gib, arguments.files)
        time.sleep(SETTLE_SECONDS)
        for row in (
            _large_file(large, arguments.gib, arguments.rounds),
            *_seen_again(large, place),
            *_folder(folder, arguments.files, arguments.rounds),
        ):
            table.add_row(row.work, row.took, row.goal)
    Console().print(table)


def _make(place: str, gib: float, files: int) -> tuple[str, str]:
    large, folder = os.path.join(place, "large"), os.path.join(place, "folder")
    block = os.urandom(1 << 20)
    with open(large, "wb") as stream:
        for _ in range(int(gib * 1024)):
            stream.write(block)
    os.mkdir(folder)
    for number in range(files):
        with open(os.path.join(folder, f"file{number:06}.txt"), "wb") as stream:
            stream.write(block[:100] + str(number).encode())
    return large, folder


def _large_file(path: str, gib: float, rounds: int) -> Row:
    def ours() -> None:
        StatMemory().digest(path)

    def cat() -> None:
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)

    took, floor = _in_turns(rounds, ours, cat)
    return Row(f"digest of {gib:g} GiB", _against(took, floor, "cat"), "2.5 x cat")


def _seen_again(path: str, place: str) -> list[Row]:
    file = File(path)
    file.digest()

    def known() -> None:
        for _ in range(SEEN_AGAIN):
            file.identity()

    (seen,) = _in_turns(5, known)
    record = os.path.join(place, "cache")
    fresh = [StatMemory(StatRecord(record)) for _ in range(1000)]

    def recorded() -> None:
        for memory in fresh:
            memory.digest(path)

    (new,) = _in_turns(1, recorded)
    goal = f"{SEEN_AGAIN_GOAL_MICROSECONDS} us"
    return [
        Row("unchanged file seen again", f"{seen / SEEN_AGAIN * 1e6:.1f} us", goal),
        Row("the same in a new process", f"{new / len(fresh) * 1e6:.1f} us", ""),
    ]


def _folder(path: str, files: int, rounds: int) -> list[Row]:
    folder = Dir(path)

    def unchanged() -> None:
        folder.identity()

    def scan() -> None:
        with os.scandir(path) as entries:
            for entry in entries:
                entry.stat()

    def forget() -> None:
        _forget()
        shutil.rmtree(os.environ["VALUESTORE_CACHE"], ignore_errors=True)

    works: list[Callable[[], object]] = [unchanged]
    names = [f"first digest of {files} files"]
    if is_installed("redun"):
        from redun.file import Dir as RedunDir  # measured only where it is installed

        works.append(lambda: RedunDir(path).get_hash())
        names.append(f"redun's listing of {files} files")
    first = _in_turns(rounds, *works, before=forget)
    (process,) = _in_turns(rounds, unchanged, before=_forget)
    again, floor = _in_turns(rounds * 3, unchanged, scan)
    goal = f"{160 * files // 10_000} ms"
    return [
        Row(names[0], f"{first[0] * 1e3:.0f} ms", goal),
        *(Row(name, f"{took * 1e3:.0f} ms", "") for name, took in zip(names[1:], first[1:], strict=True)),
        Row("unchanged, in a new process", f"{process * 1e3:.0f} ms", ""),
        Row("unchanged folder", _against(again, floor, "scandir + stat"), "1.5 x scandir + stat"),
    ]


def _forget() -> None:
    """As a new process knows nothing."""
    local_files._memory = local_files._Memory()
    stat_memory.cache_clear()


def _in_turns(
    rounds: int, *works: Callable[[], object], before: Callable[[], None] = lambda: None
) -> list[float]:
    """Median processor seconds of each, children's included; ``before`` is not timed."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seconds in zip(works, took, strict=True):
            before()
            started = _cpu_seconds()
            work()
            seconds.append(_cpu_seconds() - started)
    return [statistics.median(seconds) for seconds in took]


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _against(took: float, floor: float, what: str) -> str:
    return f"{took / floor:.2f} x {what} ({took * 1e3:.0f} ms)"


if __name__ == "__main__":
    main()
