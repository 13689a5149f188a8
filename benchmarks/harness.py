"""The harness: which steps are taken in which order, each in a fresh process, checked and timed.

Systems alternate step by step (A B A B), so that whatever else the machine does meets all of them alike.
Processor time is the child's own, user and system, from its first instruction to its last: interpreter,
imports, opening and closing are in it, and nothing is subtracted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks import work
from benchmarks.one import COUNTER
from benchmarks.systems import NAMES, is_installed

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(ROOT, "benchmarks", "results")

FAN_OUT = ("cold", "rerun", "changed")
GROUPS = ("import", "open", "fan-out", "put-get")
VALUES = 10_000
MANY_JOBS = 10_000
BARE = "python"
"""Stands for the interpreter alone, which every other sample contains."""

CANNOT = {
    ("joblib", "put"): "joblib.Memory remembers calls and has no put",
    ("joblib", "get"): "joblib.Memory remembers calls and has no get",
}
"""Steps that a system has no counterpart of, with the reason."""


class Wrong(Exception):
    """A step gave a wrong answer, ran too many or too few bodies, or failed: its time means nothing."""


@dataclass(frozen=True)
class Sample:
    """One process: which system took which step, and what it cost. ``jobs`` is 0 where there are none."""

    system: str
    step: str
    jobs: int
    round: int
    cpu_seconds: float
    wall_seconds: float
    peak_mebibytes: float


@dataclass(frozen=True)
class Plan:
    """What to measure. ``rounds`` None: as many as pay, and one for redun where it takes minutes."""

    groups: Sequence[str] = GROUPS
    systems: Sequence[str] = NAMES
    jobs: Sequence[int] = (1_000, 10_000)
    rounds: int | None = None

    def rounds_of(self, jobs: int) -> int:
        """How often a step with so many jobs is taken."""
        return self.rounds or (3 if jobs >= MANY_JOBS else 5)

    def takes_part(self, system: str, step: str, jobs: int, round_: int) -> bool:
        """Whether the system takes the step in this round, counted from 0."""
        slow = system == "redun" and step in FAN_OUT and jobs >= MANY_JOBS and self.rounds is None
        return round_ == 0 or not slow

    def turn(self, round_: int) -> list[str]:
        """The systems in the order of this round: each comes first in turn."""
        start = round_ % len(self.systems)
        return [*self.systems[start:], *self.systems[:start]]


def measure(plan: Plan, progress: Callable[[str], None] = lambda _: None) -> Iterator[Sample]:
    """Take every step of the plan. Raises: Wrong."""
    os.makedirs(RESULTS, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=RESULTS) as scratch:
        for system in plan.systems:
            progress(f"warming up {system}")
            _step(system, "open", 0, 0, _made(scratch, "warm-up", system))
        if "import" in plan.groups:
            yield from _imports(plan, progress)
        if "open" in plan.groups:
            yield from _steps(plan, ("first open", "open"), 0, scratch, progress)
        if "fan-out" in plan.groups:
            for jobs in plan.jobs:
                yield from _steps(plan, FAN_OUT, jobs, scratch, progress)
        if "put-get" in plan.groups:
            yield from _steps(plan, ("put", "get"), VALUES, scratch, progress)


def check_lean_import() -> None:
    """``import valuestore`` must load no database driver. Raises: Wrong."""
    program = "import sys, valuestore; print(*[name for name in sys.modules if 'sqlalchemy' in name])"
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if loaded:
        raise Wrong(f"import valuestore loads {loaded[0]} and {len(loaded) - 1} more of sqlalchemy")


# --- steps ----------------------------------------------------------------------------------------


def _imports(plan: Plan, progress: Callable[[str], None]) -> Iterator[Sample]:
    for round_ in range(plan.rounds_of(0)):
        for system in (BARE, *plan.turn(round_)):
            progress(f"import {system}")
            program = "pass" if system == BARE else f"import {system}"
            _, sample = _timed([sys.executable, "-c", program], system, "import", 0, round_)
            yield sample


def _steps(
    plan: Plan, steps: Sequence[str], jobs: int, scratch: str, progress: Callable[[str], None]
) -> Iterator[Sample]:
    """These steps in order, in one folder for each system and round."""
    for round_ in range(plan.rounds_of(jobs)):
        for step in steps:
            for system in plan.turn(round_):
                if (system, step) in CANNOT or not plan.takes_part(system, step, jobs, round_):
                    continue
                progress(f"{step} {jobs or ''} {system}, round {round_ + 1}")
                folder = _made(scratch, steps[0], str(jobs), str(round_), system)
                yield _step(system, step, jobs, round_, folder)


def _step(system: str, step: str, jobs: int, round_: int, folder: str) -> Sample:
    counter = os.path.join(folder, COUNTER)
    if os.path.exists(counter):
        os.unlink(counter)
    command = [sys.executable, "-m", "benchmarks.one", system, step.removeprefix("first ")]
    command += ["--folder", folder, "--jobs", str(jobs)]
    output, sample = _timed(command, system, step, jobs, round_)
    with open(counter, "rb") as stream:
        bodies = stream.read()
    check(system, step, jobs, json.loads(output), bodies)
    return sample


def check(system: str, step: str, jobs: int, answer: object, bodies: bytes) -> None:
    """Whether a step gave the right answer, from exactly the bodies that it takes. Raises: Wrong."""
    if (expected := expected_answer(step, jobs)) != answer:
        raise Wrong(f"{system}, {step} {jobs}: the answer is {answer!r}, not {expected!r}")
    ran = (bodies.count(b"l"), bodies.count(b"t"))
    if (due := {"cold": (jobs, 1), "changed": (1, 1)}.get(step, (0, 0))) != ran:
        raise Wrong(f"{system}, {step} {jobs}: {ran} leaves and totals ran, not {due}")


def expected_answer(step: str, jobs: int) -> int | str | None:
    """What a step gives, found out without any of the systems."""
    if step in FAN_OUT:
        return sum(x * x for x in work.inputs(jobs, changed=step == "changed"))
    if step == "put":
        return jobs
    return work.checksum(work.values(jobs)) if step == "get" else None


def _timed(command: list[str], system: str, step: str, jobs: int, round_: int) -> tuple[str, Sample]:
    """Run a process to its end. Raises: Wrong with the end of what it said, if it failed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=output, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise Wrong(f"{system}, {step} {jobs}: failed\n{said.read().decode(errors='replace')[-2000:]}")
        output.seek(0)
        cpu_seconds = usage.ru_utime + usage.ru_stime
        peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
        return output.read().decode(), Sample(system, step, jobs, round_, cpu_seconds, wall_seconds, peak)


def _environment() -> dict[str, str]:
    """Neither the reader's settings of the systems nor those of the interpreter count.

    Modules are compiled once, by the warm-up, as they are wherever Python may write beside its files.
    """
    own = ("VALUESTORE_", "REDUN_", "PYTHON")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(own)}
    return {**kept, "PYTHONPYCACHEPREFIX": os.path.join(RESULTS, "compiled")}


def _made(*parts: str) -> str:
    folder = os.path.join(*parts)
    os.makedirs(folder, exist_ok=True)
    return folder


def installed(names: Sequence[str]) -> list[str]:
    """Those of the systems that are there."""
    return [name for name in names if is_installed(name)]
