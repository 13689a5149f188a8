"""All errors: a batch whose good parts count, and whose bad parts are told.

valuestore run examples/redun/all_errors.py main
"""

from __future__ import annotations

from valuestore import catch_all, task

ORDERS = {"apples": "4", "pears": "two", "plums": "-1", "figs": "7"}


class Unwanted(ValueError):
    """An order that nobody can fill."""


@task
def price(fruit: str, amount: str) -> int:
    count = int(amount)
    if count < 0:
        raise Unwanted(f"{fruit}: {count}")
    return 10 * count


@task
def settled(prices: list[int | Exception]) -> tuple[int, list[str]]:
    """The sum of what worked, and what did not. A list without errors in it does not come here."""
    problems = [f"{type(each).__name__}: {each}" for each in prices if isinstance(each, Exception)]
    return sum(each for each in prices if isinstance(each, int)), problems


@task
def total(found: list[int] | tuple[int, list[str]]) -> tuple[int, list[str]]:
    return found if isinstance(found, tuple) else (sum(found), [])


@task
def main() -> tuple[int, list[str]]:
    """What all orders cost, and which of them cannot be priced."""
    return total(catch_all([price(*order) for order in ORDERS.items()], ValueError, settled))
