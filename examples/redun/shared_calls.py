"""Shared calls: equal calls are one, in a run and over runs; recursion costs what its different calls cost.

valuestore run examples/redun/shared_calls.py main --n 30
valuestore run examples/redun/shared_calls.py main --n 31       # one more call of fibonacci, not a million
"""

from __future__ import annotations

from valuestore import task

START = 1


@task
def added(a: int, b: int) -> int:
    return a + b


@task
def fibonacci(n: int) -> int:
    if n < 2:
        return START
    return added(fibonacci(n - 1), fibonacci(n - 2))


@task
def middle(low: int, high: int) -> int:
    """The sum of a range, from the sums of its halves: a range that grows has old halves."""
    if high - low == 1:
        return low
    half = 1 << ((high - low - 1).bit_length() - 1)
    return added(middle(low, low + half), middle(low + half, high))


@task
def main(n: int = 30) -> tuple[int, int]:
    """The n-th Fibonacci number, and the sum of the numbers below n."""
    return fibonacci(n), middle(0, n)
