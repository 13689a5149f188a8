"""Writers that are killed at any time: what they acknowledged stays, and all else can be put again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

from tests.faults import workflow
from tests.faults.forking import lines_until_killed
from tests.faults.found import Found
from valuestore import Repository

KILLS_OF_A_FOLDER = 40
"""Most kills hit a repository that was killed before."""
_SECONDS = {"opens": 0.05, "puts": 0.05, "runs": 0.1}


def kills(folder: Path, size: int, chance: random.Random) -> Found:
    """Half of the kills hit puts, the others runs and first opens."""
    found = Found()
    # A first open, so that the children of this process import nothing.
    with Repository.open(folder / "first") as repository:
        workflow.run(repository, 2)
    for number in range(size):
        what = ("puts", "opens", "puts", "runs")[number % 4]
        aged = folder / f"{what}{number // (4 * KILLS_OF_A_FOLDER)}"
        place = folder / f"opens{number}" if what == "opens" else aged
        seconds = chance.uniform(0, _SECONDS[what])
        said = lines_until_killed(
            lambda say, what=what, place=place, n=number: WRITERS[what](place, n, say), seconds
        )
        found.done["kills"] += 1
        with found.catching("did not open, or read, or take again", f"{what} {number}:"):
            _check(place, said, number, found)
    return found


def _put(place: Path, attempt: int, say: Callable[[str], None]) -> None:
    say("begun")
    chance = random.Random(attempt)
    with Repository.open(place) as repository:
        for n in itertools.count(attempt * 1000):
            some = [n * 20 + part for part in range(chance.choice([1, 1, 3, 20]))]
            say(f"try {' '.join(map(str, some))}")
            refs = [repository.put(workflow.value(number)) for number in some]
            repository.flush()
            said = [f"{number}={ref.value_hash}" for number, ref in zip(some, refs, strict=True)]
            say(f"ack {' '.join(said)}")


def _run(place: Path, attempt: int, say: Callable[[str], None]) -> None:
    say("begun")
    for n in itertools.count(attempt * 1000):
        say(f"try {n * 20}")
        with Repository.open(place) as repository:
            workflow.run(repository, 3, n * 20)
        say(f"run {n * 20}")


WRITERS = {"opens": _put, "puts": _put, "runs": _run}


def _check(place: Path, said: list[str], number: int, found: Found) -> None:
    with Repository.open(place) as repository:
        for line in said:
            word, *rest = line.split()
            if word == "ack":
                found.done["acknowledged"] += len(rest)
                for acknowledged in rest:
                    made, _, value_hash = acknowledged.partition("=")
                    _check_value(repository, int(made), value_hash, found)
            elif word == "run":
                found.done["acknowledged"] += 1
                workflow.RAN.clear()
                right = workflow.run(repository, 3, int(rest[0])) == workflow.expected(3, int(rest[0]))
                found.check(right, "wrong", line)
                found.check(not workflow.RAN, "acknowledged and run again", f"{line} {workflow.RAN}")
        if said[-1].startswith("try"):
            again = [int(part) for part in said[-1].split()[1:]]
            for made in again:
                ref = repository.put(workflow.value(made))
                _check_value(repository, made, ref.value_hash, found)
            if place.name.startswith("runs"):
                right = workflow.run(repository, 3, again[0]) == workflow.expected(3, again[0])
                found.check(right, "wrong", said[-1])
        ref = repository.put(("after", number))
        found.check(repository.get(ref.value_hash) == ("after", number), "wrong", "after")


def _check_value(repository: Repository, number: int, value_hash: str, found: Found) -> None:
    with found.catching("lost", number):
        found.check(workflow.same(repository.get(value_hash), workflow.value(number)), "wrong", number)
