"""The command line: ``python -m benchmarks [--jobs N ...] [--rounds N] [--only GROUP ...]``."""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console

from benchmarks.harness import GROUPS, RESULTS, Plan, Sample, Wrong, check_lean_import, installed, measure
from benchmarks.report import medians, notes, save, table
from benchmarks.systems import NAMES


def main() -> int:
    """Measure, print, save; 1 if anything was wrong."""
    arguments = _parser().parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    systems = installed(arguments.systems)
    for name in set(arguments.systems) - set(systems):
        console.print(f"{name} is not installed and left out; `make bench` installs it")
    plan = Plan(arguments.only, systems, arguments.jobs, arguments.rounds)
    samples: list[Sample] = []
    wrong = ""
    try:
        check_lean_import()
        with console.status("starting") as status:
            for sample in measure(plan, status.update):
                samples.append(sample)  # noqa: PERF402  # one by one: an error keeps those before it
    except Wrong as error:
        wrong = str(error)
    except KeyboardInterrupt:
        wrong = "interrupted; what was measured:"
    if samples:
        found = medians(samples)
        console.print(table(found))
        for note in notes(found):
            console.print(note, highlight=False)
        console.print(f"Every sample: {os.path.relpath(save(RESULTS, samples))}", highlight=False)
    if wrong:
        console.print(f"[red]wrong:[/] {wrong}", highlight=False)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare valuestore with its peers."
    )
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000], help="sizes of the fan-out")
    parser.add_argument(
        "--rounds", type=int, help="of each step (default: 5, 3 of the large, 1 of redun's large)"
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="what to measure")
    parser.add_argument("--systems", nargs="+", choices=NAMES, default=NAMES, help="whom to measure")
    return parser


if __name__ == "__main__":
    sys.exit(main())
