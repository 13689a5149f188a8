"""FileStore against plain files on one disk: ``python -m benchmarks.file_store``.

Both do the same work in turns, in one process, each time in a fresh folder. Plain files are what a program
writes by hand, ``open``, ``write``, ``os.replace``: no attributes, no etag, no check of keys. To be durable,
they are all written and then all synced, either each file and folder by itself (which is what FileStore
does) or by one ``syncfs``. A ratio is FileStore's median over that of the plain files; in brackets are
FileStore's own seconds. It takes 200 MB per round. With ``--folder /dev/shm`` no disk is in the figures.

``--stream-gib 2`` measures instead how much memory a value of that size takes on its way in and out.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from rich.console import Console
from rich.table import Table

from valuestore.hashing import get_algorithm
from valuestore.stores import FileStore

VALUES = 1000
VALUE_BYTES = 100_000
BLOCK_BYTES = 1 << 20
STREAM_GOAL_MIB = 96
SETTLE_SECONDS = 6
"""On ext4, creating files was ten times as dear just after others had been deleted: it does not reuse their
inodes for five seconds. So nothing is deleted before a race is over, and each waits."""

Work = Callable[[str], None]
"""What is timed, in the folder that it is given."""

Cost = tuple[float, float]
"""CPU and wall seconds."""


@dataclass(frozen=True)
class Race:
    """One row: the two works, what the folder holds before, and the goal for the ratio of one kind."""

    name: str
    against: str
    ours: Work
    plain: Work
    goal: str
    prepare: Work | None = None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.file_store", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--folder", help="on the disk to measure; default: where temporary files go")
    parser.add_argument("--stream-gib", type=float, help="the size of the one value")
    parser.add_argument("--stream-here", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stream_here:
        _stream(arguments.stream_here, arguments.stream_gib)
    elif arguments.stream_gib:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            command = [sys.executable, "-m", "benchmarks.file_store", "--stream-here", folder]
            subprocess.run([*command, "--stream-gib", str(arguments.stream_gib)], check=True)
    else:
        _race_all(arguments.rounds, arguments.folder)


def _race_all(rounds: int, folder: str | None) -> None:
    table = Table("work", "against", "CPU ratio", "wall ratio", "goal", title="FileStore and plain files")
    for race in _races():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            time.sleep(SETTLE_SECONDS)
            ours, plain = _in_turns(race, rounds, place)
        table.add_row(race.name, race.against, *_ratio(ours, plain), race.goal)
    Console().print(table)


def _races() -> Sequence[Race]:
    keys = [f"{n % 256:02x}/{n:08x}" for n in range(VALUES)]
    values = [hashlib.shake_128(key.encode()).digest(VALUE_BYTES) for key in keys]
    digest = get_algorithm().hexdigest
    digests = [digest(value) for value in values]

    def put(folder: str, durability: str = "fast") -> None:
        with FileStore(folder, durability=durability) as store:  # closing it flushes
            for key, value in zip(keys, values, strict=True):
                store.put(key, value)

    def write(folder: str) -> None:
        for key, value in zip(keys, values, strict=True):
            path = f"{folder}/{key}"
            try:
                file = open(f"{path}.tmp", "wb", buffering=0)  # noqa: SIM115 - closed below
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path))
                file = open(f"{path}.tmp", "wb", buffering=0)  # noqa: SIM115
            with file:
                file.write(value)
            os.replace(f"{path}.tmp", path)

    def get(folder: str) -> None:
        with FileStore(folder) as store:
            assert [digest(store.get(key)) for key in keys] == digests

    def read(folder: str) -> None:
        found = []
        for key in keys:
            with open(f"{folder}/{key}", "rb", buffering=0) as file:
                found.append(digest(file.read()))
        assert found == digests

    def write_and_sync_each(folder: str) -> None:
        write(folder)
        paths = [f"{folder}/{key}" for key in keys]
        for path in (*paths, *sorted({os.path.dirname(path) for path in paths}), folder):
            _on_descriptor(path, os.fsync)

    def write_and_sync_once(folder: str) -> None:
        write(folder)
        _on_descriptor(folder, _sync_file_system)

    def put_durably(folder: str) -> None:
        put(folder, "full")

    return (
        Race("put, fast", "write, replace", put, write, "CPU at most 1.5"),
        Race("get, digest", "read, digest", get, read, "CPU at most 1.3", prepare=write),
        Race("put, full", "write, fsync each", put_durably, write_and_sync_each, "wall at most 2"),
        Race("put, full", "write, one syncfs", put_durably, write_and_sync_once, ""),
    )


def _in_turns(race: Race, rounds: int, folder: str) -> tuple[list[Cost], list[Cost]]:
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for turn in range(rounds + 1):
        pairs = list(zip((race.ours, race.plain), costs, strict=True))
        for work, kept in pairs if turn % 2 else reversed(pairs):
            fresh = tempfile.mkdtemp(dir=folder)
            if race.prepare is not None:
                race.prepare(fresh)
            os.sync()  # so that nobody waits for what was written before
            cpu, wall = time.process_time(), time.perf_counter()
            work(fresh)
            if turn:  # the first warms up
                kept.append((time.process_time() - cpu, time.perf_counter() - wall))
    return costs


def _ratio(over: Sequence[Cost], under: Sequence[Cost]) -> tuple[str, str]:
    """CPU and wall."""
    cpu, wall = (
        statistics.median(cost[kind] for cost in over) / statistics.median(cost[kind] for cost in under)
        for kind in (0, 1)
    )
    seconds = [statistics.median(cost[kind] for cost in over) for kind in (0, 1)]
    return f"{cpu:.2f} ({seconds[0]:.2f} s)", f"{wall:.2f} ({seconds[1]:.2f} s)"


def _on_descriptor(path: str, work: Callable[[int], None]) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        work(fd)
    finally:
        os.close(fd)


def _sync_file_system(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")


# --- one large value --------------------------------------------------------------------------------


def _stream(folder: str, gib: float) -> None:
    """Put a stream and read it back, in this process, which does nothing else."""
    store = FileStore(folder)
    store.get(store.put("small", b"warm").key)
    before = _memory_mib("VmRSS")
    source = io.BufferedReader(_Blocks(int(gib * 1024)), BLOCK_BYTES)
    etag = store.put("large", cast(BinaryIO, source)).etag
    peak_of_put = _memory_mib("VmHWM")
    hasher = get_algorithm().new()
    with store.open("large") as stream:
        while chunk := stream.read(BLOCK_BYTES):
            hasher.update(chunk)
    assert hasher.hexdigest() == etag
    table = Table("work", "growth", "goal", title=f"One value of {gib:g} GiB")
    table.add_row("put", f"{peak_of_put - before:.1f} MiB", f"at most {STREAM_GOAL_MIB} MiB")
    table.add_row("put, open", f"{_memory_mib('VmHWM') - before:.1f} MiB", f"at most {STREAM_GOAL_MIB} MiB")
    Console().print(table)


def _memory_mib(name: str) -> float:
    """Resident memory now (VmRSS), or at most so far (VmHWM)."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


class _Blocks(io.RawIOBase):
    """So many MiB, no two of them alike."""

    def __init__(self, count: int) -> None:
        self._blocks = self._make(count)

    def _make(self, count: int) -> Iterator[bytes]:
        block = bytearray(hashlib.shake_128(b"block").digest(BLOCK_BYTES))
        for number in range(count):
            block[:8] = number.to_bytes(8, "big")
            yield bytes(block)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        assert len(buffer) >= BLOCK_BYTES
        block = next(self._blocks, b"")
        buffer[: len(block)] = block
        return len(block)


if __name__ == "__main__":
    main()
