"""Peers under the same fire: ``python -m benchmarks.reliability [--trials N] [--systems ...] [--seed N]``.

Each system remembers one function, in a folder of its own, as it comes. Counted, in ``N`` trials each:

- *kills*: a process that remembers one result after the other is killed at any time. Of the results that it
  had acknowledged, how many are lost; how many of those in flight are not kept when they are computed again;
  how often the folder does not open again, or its writer fails by itself.
- *damage*: one bit of a kept result is flipped, where it lies. How often a wrong result is given; how often a
  call fails; how often it is still not kept after it was called again.
- *flips*: one bit anywhere in the folder's files is flipped, and twenty results are asked for. Likewise.
- *first opens*: eight processes open a new folder at one moment. How many fail.

Every look at a folder is a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.systems import NAMES, is_installed

VALUES = 20
PROCESSES = 8
_NEEDLE = 48
_ran = 0

Remember = Callable[[int], bytes]


def result(number: int) -> bytes:
    """What is remembered: 3 to 60 kB that do not compress."""
    global _ran
    _ran += 1
    return right(number)


def right(number: int) -> bytes:
    """The same, without being counted."""
    return hashlib.shake_128(b"%d" % number).digest(3000 + number % 20 * 3000)


# --- systems ------------------------------------------------------------------------------------------


def open_valuestore(folder: str) -> Remember:
    """A task with a version, in an embedded repository."""
    from valuestore import Scheduler, task

    remembered = task(version="1", namespace="reliability")(result)
    scheduler = Scheduler(folder)

    def remember(number: int) -> bytes:
        found: bytes = scheduler.run(remembered(number))
        scheduler.repository.flush()
        return found

    return remember


def open_redun(folder: str) -> Remember:
    """A task with a version, and SQLite in the folder."""
    from redun import Scheduler, task
    from redun.config import Config

    logging.disable(logging.CRITICAL)
    remembered = task(version="1", namespace="reliability", name="result")(result)
    scheduler = Scheduler(Config({"backend": {"db_uri": f"sqlite:///{folder}/redun.db"}}))
    scheduler.load()
    return lambda number: bytes(scheduler.run(remembered(number)))


def open_joblib(folder: str) -> Remember:
    """A function remembered in files."""
    import joblib

    return joblib.Memory(folder, verbose=0).cache(result)  # type: ignore[no-any-return]


def open_diskcache(folder: str) -> Remember:
    """A function remembered in a cache."""
    from diskcache import Cache

    return Cache(folder).memoize()(result)  # type: ignore[no-any-return]


OPEN: dict[str, Callable[[str], Remember]] = {
    "valuestore": open_valuestore,
    "redun": open_redun,
    "joblib": open_joblib,
    "diskcache": open_diskcache,
}


# --- processes ----------------------------------------------------------------------------------------


def fork(work: Callable[[int], object]) -> tuple[int, int]:
    """Do ``work`` in a child, which is given a pipe to write to; the child's id, and the pipe to read."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.close(reader)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        work(writer)
        os._exit(0)
    except BaseException as error:
        os.write(writer, f"{type(error).__name__}\n".encode())
        os._exit(1)


def lines_of(pid: int, reader: int, kill_after: float | None = None) -> tuple[int, list[str]]:
    """How the child ended, and its whole lines; killed so many seconds after its first."""
    with os.fdopen(reader) as lines:
        said = [lines.readline()]
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        said += lines.readlines()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, [line[:-1] for line in said if line.endswith("\n")]


def asked(name: str, folder: str, numbers: list[int]) -> dict[int, str] | None:
    """What a new process is given: kept, computed, wrong, or the name of an error; None if it cannot open."""

    def ask(writer: int) -> None:
        remember = OPEN[name](folder)
        os.write(writer, b"open\n")
        for number in numbers:
            before = _ran
            try:
                found = remember(number)
                told = "wrong" if found != right(number) else "kept" if _ran == before else "computed"
            except Exception as error:
                told = type(error).__name__
            os.write(writer, f"{number} {told}\n".encode())

    _, lines = lines_of(*fork(ask))
    if not lines or lines[0] != "open":
        return None
    return {int(number): told for number, told in (line.split() for line in lines[1:] if " " in line)}


# --- fire ---------------------------------------------------------------------------------------------


def kills(name: str, folder: Path, trials: int, chance: random.Random, seen: Counter[str]) -> None:
    """Each kill hits a folder that was killed up to nine times before."""
    for trial in range(trials):
        place = str(folder / f"kills{trial // 10}")
        os.makedirs(place, exist_ok=True)
        first = trial * 1000

        def work(writer: int, place: str = place, first: int = first) -> None:
            remember = OPEN[name](place)
            os.write(writer, b"open\n")
            for number in range(first, first + 1000):
                remember(number)
                os.write(writer, f"{number}\n".encode())

        code, lines = lines_of(*fork(work), kill_after=chance.uniform(0, 0.2))
        seen["writer failed"] += code != -signal.SIGKILL
        known = [int(line) for line in lines if line.isdecimal()]
        flying = max(known, default=first - 1) + 1
        found = asked(name, place, [*known, flying])
        if found is None:
            seen["does not open"] += 1
            continue
        seen["acknowledged"] += len(known)
        seen["lost"] += sum(found.get(number) != "kept" for number in known)
        again = asked(name, place, [flying]) or {}
        seen["cannot be kept again"] += again.get(flying) != "kept"


def damage(name: str, folder: Path, trials: int, chance: random.Random, seen: Counter[str]) -> None:
    """One bit of one kept result."""
    place = folder / "damage"
    place.mkdir()
    for trial in range(trials):
        if trial % VALUES == 0:
            shutil.rmtree(place)
            place.mkdir()
            asked(name, str(place), list(range(VALUES)))
        number = trial % VALUES
        if not flip_inside(place, right(number), chance):
            seen["not found"] += 1
            continue
        judge(name, place, [number], seen)


def flips(name: str, folder: Path, trials: int, chance: random.Random, seen: Counter[str]) -> None:
    """One bit of all the files."""
    whole, place = folder / "whole", folder / "flips"
    whole.mkdir()
    asked(name, str(whole), list(range(VALUES)))
    for _ in range(trials):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        files = [path for path in place.rglob("*") if path.is_file() and path.stat().st_size]
        chosen = chance.choices(files, [path.stat().st_size for path in files])[0]
        flip(chosen, chance.randrange(chosen.stat().st_size), chance)
        judge(name, place, list(range(VALUES)), seen)


def judge(name: str, place: Path, numbers: list[int], seen: Counter[str]) -> None:
    """Ask twice: what is wrong, what fails, and what is not kept even then."""
    first = asked(name, str(place), numbers)
    second = asked(name, str(place), numbers)
    told = [*(first or {}).values(), *(second or {}).values()]
    seen["trials"] += 1
    seen["wrong"] += "wrong" in told
    is_right = first is not None and {*first.values()} <= {"kept", "computed"}
    seen["failed"] += not is_right and "wrong" not in told
    seen["not healed"] += second is None or {*second.values()} != {"kept"}


def first_opens(name: str, folder: Path, trials: int, _: random.Random, seen: Counter[str]) -> None:
    """Eight at a time."""
    for trial in range(max(1, trials // PROCESSES)):
        place = folder / f"opens{trial}"
        place.mkdir()
        moment = time.monotonic() + 0.05

        def work(writer: int, place: Path = place, moment: float = moment) -> None:
            while time.monotonic() < moment:
                pass
            OPEN[name](str(place))(1)
            os.write(writer, b"done\n")

        for child in [fork(work) for _ in range(PROCESSES)]:
            seen["opens"] += 1
            seen["failed"] += lines_of(*child)[1] != ["done"]


FIRE = {"kills": kills, "damage": damage, "flips": flips, "first opens": first_opens}


def under_fire(name: str, trials: int, seed: int) -> dict[str, dict[str, int]]:
    """Counts of one system, by kind of fire. In a child, which imports it once."""

    def work(writer: int) -> None:
        with tempfile.TemporaryDirectory(prefix="valuestore-reliability-") as folder:
            os.environ |= {"XDG_CONFIG_HOME": f"{folder}/config", "VALUESTORE_CACHE": f"{folder}/cache"}
            os.mkdir(f"{folder}/first")
            asked(name, f"{folder}/first", [1])
            for kind, fire in FIRE.items():
                seen: Counter[str] = Counter()
                fire(name, Path(folder), trials, random.Random(seed), seen)
                os.write(writer, f"{json.dumps([kind, seen])}\n".encode())

    _, lines = lines_of(*fork(work))
    return dict(json.loads(line) for line in lines if line.startswith("["))


def flip_inside(place: Path, data: bytes, chance: random.Random) -> bool:
    """Flip a bit of a part of the data in whatever file it lies; whether there was one."""
    start = chance.randrange(100, len(data) - _NEEDLE)
    for path in place.rglob("*"):
        if path.is_file() and (found := path.read_bytes().find(data[start : start + _NEEDLE])) >= 0:
            flip(path, found + chance.randrange(_NEEDLE), chance)
            return True
    return False


def flip(path: Path, offset: int, chance: random.Random) -> None:
    """Flip one bit of that byte."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


# --- the table ----------------------------------------------------------------------------------------


def main() -> int:
    """Measure, print; 1 if valuestore gave a wrong result or lost one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description="Peers under fire.")
    parser.add_argument("--trials", type=int, default=200, help="of each kind")
    parser.add_argument("--systems", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    systems = [name for name in given.systems if is_installed(name)]
    seen = {name: under_fire(name, given.trials, given.seed) for name in systems}
    print(f"seed {given.seed}")
    Console(width=None if sys.stdout.isatty() else 120).print(table(seen))
    ours: dict[str, Any] = seen.get("valuestore", {})
    return int(any(counts.get(bad) for counts in ours.values() for bad in ("wrong", "lost", "does not open")))


def table(seen: dict[str, dict[str, dict[str, int]]]) -> Table:
    """A row for each count, a column for each system."""
    shown = Table("fire", "counted", *seen)
    for kind in FIRE:
        counts = list(dict.fromkeys(name for found in seen.values() for name in found.get(kind, {})))
        for number, count in enumerate(counts):
            cells = [str(found.get(kind, {}).get(count, "-")) for found in seen.values()]
            shown.add_row("" if number else kind, count, *cells, end_section=count == counts[-1])
    return shown


if __name__ == "__main__":
    sys.exit(main())
