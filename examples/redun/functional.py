"""Functional tools: lists that are not there yet, and functions that are put together.

valuestore run examples/redun/functional.py main --text "to be or not to be"
"""

from __future__ import annotations

from valuestore import compose, flat_map, map_, starmap, task, zip_

UNIT = 1


@task
def words(text: str) -> list[str]:
    return text.split()


@task
def letters(word: str) -> list[str]:
    return sorted(set(word))


def length(word: str) -> int:
    return len(word) * UNIT


@task
def square(n: int) -> int:
    return n * n


@task
def power(base: int, exponent: int) -> int:
    return int(base**exponent)


@task
def pairs(numbers: list[int], squares: list[int]) -> dict[int, int]:
    return dict(zip(numbers, squares, strict=True))


@task
def main(text: str = "to be or not to be") -> dict[str, object]:
    """Of the words of a text: their letters, lengths, squares and cubes."""
    found = words(text)
    lengths = map_(length, found)
    return {
        "letters": flat_map(letters, found),
        "lengths": lengths,
        "squares": map_(compose(square, length), found),
        "by length": pairs(lengths, map_(square, lengths)),
        "cubes": map_(power.partial(exponent=3), lengths),
        "powers": starmap(power, [(2, 3), {"base": 3, "exponent": 2}]),
        "with": zip_(found, lengths),
    }
