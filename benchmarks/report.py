"""The report: medians of samples, ratios to valuestore, as a table for people and as JSON for later."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from rich.table import Table

from benchmarks.harness import BARE, CANNOT, Sample

OWN = "valuestore"


@dataclass(frozen=True)
class Median:
    """The samples of one system and step as one: medians of time, over so many rounds."""

    system: str
    step: str
    jobs: int
    rounds: int
    cpu_seconds: float
    wall_seconds: float
    peak_mebibytes: float


@dataclass(frozen=True)
class Ratio:
    """A system's cost as a multiple of valuestore's in the same step: above 1, valuestore is cheaper."""

    system: str
    step: str
    jobs: int
    cpu: float
    wall: float


def medians(samples: Iterable[Sample]) -> list[Median]:
    """One for each system and step, in the order of their first samples."""
    groups: dict[tuple[str, str, int], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.system, sample.step, sample.jobs), []).append(sample)
    return [
        Median(
            *key,
            rounds=len(group),
            cpu_seconds=statistics.median([sample.cpu_seconds for sample in group]),
            wall_seconds=statistics.median([sample.wall_seconds for sample in group]),
            peak_mebibytes=statistics.median([sample.peak_mebibytes for sample in group]),
        )
        for key, group in groups.items()
    ]


def ratios(of: Iterable[Median]) -> list[Ratio]:
    """Of every system but valuestore, in the steps that valuestore took too."""
    found = {(median.system, median.step, median.jobs): median for median in of}
    return [
        Ratio(
            system, step, jobs, median.cpu_seconds / own.cpu_seconds, median.wall_seconds / own.wall_seconds
        )
        for (system, step, jobs), median in found.items()
        if system != OWN and (own := found.get((OWN, step, jobs))) is not None
    ]


def table(of: Sequence[Median]) -> Table:
    """Steps down, systems across: CPU seconds, and in brackets the multiple of valuestore's."""
    systems = [name for name in dict.fromkeys(median.system for median in of) if name not in (OWN, BARE)]
    cells = {(median.system, median.step, median.jobs): median for median in of}
    multiple = {(ratio.system, ratio.step, ratio.jobs): ratio.cpu for ratio in ratios(of)}
    shown = Table(title="CPU seconds (user + system), medians; in brackets: times valuestore's")
    shown.add_column("Step")
    for name in ("Rounds", OWN, "wall", *systems):
        shown.add_column(name, justify="right")
    for step, jobs in dict.fromkeys((median.step, median.jobs) for median in of if median.system == OWN):
        own = cells[OWN, step, jobs]
        row = [f"{step} {jobs:,}" if jobs else step, str(own.rounds), f"{own.cpu_seconds:.3f}"]
        row.append(f"{own.wall_seconds:.3f}")
        for system in systems:
            median = cells.get((system, step, jobs))
            row.append("-" if median is None else _cell(median, multiple[system, step, jobs], own.rounds))
        shown.add_row(*row)
    return shown


def _cell(median: Median, multiple: float, rounds: int) -> str:
    fewer = "" if median.rounds == rounds else f", {median.rounds} round{'s' * (median.rounds > 1)}"
    return f"{median.cpu_seconds:.3f} ({multiple:.2f}{fewer})"


def notes(of: Sequence[Median]) -> list[str]:
    """What the table leaves out or does not say, a sentence each."""
    taken = {median.step for median in of}
    present = {median.system for median in of}
    left_out = [
        f"{step}: {reason}."
        for (system, step), reason in CANNOT.items()
        if step in taken and system in present
    ]
    bare = [median for median in of if median.system == BARE]
    return left_out + [
        f"The interpreter alone takes {median.cpu_seconds:.3f} s; it is part of every figure."
        for median in bare
    ]


def save(folder: str, samples: Sequence[Sample]) -> str:
    """Write everything to a new JSON file in the folder; return its path."""
    found = medians(samples)
    now = datetime.now(UTC)
    content = {
        "measured": now.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "versions": {name: version(name) for name in {s.system for s in samples} - {BARE}},
        "medians": [asdict(median) for median in found],
        "ratios": [asdict(ratio) for ratio in ratios(found)],
        "samples": [asdict(sample) for sample in samples],
    }
    path = os.path.join(folder, f"{now:%Y-%m-%dT%H-%M-%S}.json")
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1)
    return path
