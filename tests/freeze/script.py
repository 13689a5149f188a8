"""A pipeline that is a program, so that its classes are those of ``__main__``. Frozen: see pipeline.py.

Prints how many bodies ran. Its tasks and classes are named for this file, ``script``.
"""

from __future__ import annotations

from typing import Any

from valuestore import Repository, Scheduler, task


class Parcel:
    """Stored as a signed pickle, which has to find this class again in a program of this name."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return Parcel, self.parts


class Letter:
    def __init__(self, text: str) -> None:
        self.text = text


def weigh(parcel: Parcel) -> int:
    return len(parcel.parts)


@task
def pack(letter: Letter) -> Parcel:
    return Parcel(letter.text, Parcel(letter, weigh))


@task(version="1")
def unpack(parcel: Parcel) -> list[Any]:
    return [parcel.parts[0], weigh(parcel.parts[1]), parcel.parts[1].parts[0]]


if __name__ == "__main__":
    with Repository.open() as repository, Scheduler(repository) as scheduler:
        text, count, letter = scheduler.run(unpack(pack(Letter("dear"))))
        assert (text, count, letter.text) == ("dear", 2, "dear")
        assert scheduler.execution is not None
        print(scheduler.execution.counts.done)
