"""The same operations where strace fails system calls, SQLite's among them; nothing where there is no strace.

One traced process does all of one call and fault: strace fails the n-th call of each child, and a child that
is to fail earlier first makes that many calls that come to nothing.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path

from tests.faults.forking import lines_of
from tests.faults.found import Found
from tests.faults.operations import OPERATIONS
from tests.faults.steps import interrupted

_LAST = 400
"""The call of each child that fails."""
_SINK = os.open(os.devnull, os.O_RDWR)
NOTHING: dict[str, Callable[[], object]] = {
    "pwrite64": lambda: os.pwrite(_SINK, b"", 0),
    "write": lambda: os.write(_SINK, b""),
    "fsync": lambda: os.fsync(_SINK),
    "fdatasync": lambda: os.fdatasync(_SINK),
    "ftruncate": lambda: os.ftruncate(_SINK, 0),
    "unlink": lambda: os.unlink("/nowhere/at all"),
    "rename": lambda: os.rename("/nowhere/at all", "/nowhere/else"),
    "mkdir": lambda: os.mkdir("/"),
}
FAULTS = {"killed": "signal=KILL", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}
_IMPORTED_LATE = (
    "alembic.command",
    "alembic.script",
    "alembic.runtime.environment",
    "alembic.ddl.sqlite",
    "sqlalchemy.dialects.sqlite",
    "valuestore.db.engine.pool",
    "valuestore.db.schema.making",
    "valuestore.scheduler.scheduler",
)
STEPS = (*range(1, 30), *range(30, 60, 3), *range(60, _LAST, 20))
"""The first calls, and some of the later ones."""
_UNHARMED = 5
"""After so many in a row that harmed nothing an operation makes no more of these calls."""


def is_possible() -> bool:
    """Whether there is a strace that may trace."""
    if shutil.which("strace") is None:
        return False
    tried = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync", "-o", os.devnull, "true"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


def syscalls(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` of the pairs of system call and fault, chosen by chance, in all operations."""
    found = Found()
    if not is_possible():
        found.done["calls, for there is no strace"] = 0
        return found
    for name, operation in OPERATIONS.items():
        operation.prepare(folder / name)
    pairs = list(product(NOTHING, FAULTS))
    for call, fault in chance.sample(pairs, min(size, len(pairs))):
        _traced(folder, call, fault, found)
    return found


def _traced(folder: Path, call: str, fault: str, found: Found) -> None:
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:{FAULTS[fault]}:when={_LAST}"]
    program = [sys.executable, "-m", "tests.faults.syscalls", str(folder), call, fault]
    ran = subprocess.run(
        ["strace", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, *inject, *program],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    lines = ran.stdout.splitlines()
    found.check(
        ran.returncode == 0 and bool(lines), "the harness failed", f"{call} {fault} {ran.stderr[-800:]}"
    )
    for line in lines:
        kind, _, rest = line.partition("|")
        if kind == "done":
            found.done["calls"] += int(rest)
        elif kind:
            found.fault(kind, rest)


def _in_strace(folder: Path, call: str, fault: str) -> None:
    """All operations, failing at one of these calls after the other until it is not reached any more.

    All that makes calls does so in a child: this process would come to the one that fails.
    """
    for name in _IMPORTED_LATE:  # once, and not in each child
        import_module(name)
    for name in OPERATIONS:
        unharmed = 0
        for step in STEPS:
            if unharmed == _UNHARMED:
                break
            label = f"{name}, {call} {step} {fault}"
            lines_of(lambda _, name=name: _renew(folder / name, folder / "interrupted"))
            code, lines = lines_of(partial(_fail_at, name, step, call, folder / "interrupted"))
            unharmed = unharmed + 1 if lines == ["done", "again"] else 0
            if code != -9 and (code != 0 or lines[:1] not in (["typed"], ["done"])):
                print(f"failed otherwise than with a typed error|{label} {code} {lines}")
            if code != -9 and "again" not in lines:
                print(f"could not be done again by the same process|{label} {lines}")
            code, lines = lines_of(partial(_check, name, folder / "interrupted", label))
            print("\n".join(lines if code == 0 else [f"could not be checked|{label}"]))
            print("done|1", flush=True)


def _renew(source: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)


def _check(name: str, folder: Path, label: str, say: Callable[[str], None]) -> None:
    found = Found()
    OPERATIONS[name].check(folder, found, label)
    for example in found.examples:
        say(example.replace(": ", "|", 1).replace("\n", " "))


def _fail_at(name: str, step: int, call: str, folder: Path, say: Callable[[str], None]) -> None:
    for _ in range(_LAST - step):
        with suppress(OSError):
            NOTHING[call]()
    interrupted(name, folder, say)


if __name__ == "__main__":
    _in_strace(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
