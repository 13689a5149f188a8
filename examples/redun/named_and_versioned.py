"""Names and versions: what makes a task the same task when its file or its code has changed.

    valuestore run examples/redun/named_and_versioned.py main

A namespace names the tasks of a file wherever it lies. A version stands for code: a versioned task runs again
when its version changes, and not when its text does or its file is renamed.
"""

from __future__ import annotations

from valuestore import task

valuestore_namespace = "shop"

RATE = 20


@task
def net(price: int) -> float:
    """By its code: it runs again when RATE does change."""
    return price * (100 - RATE) / 100


@task(version="2024.1")
def tariff(weight: int) -> int:
    """By its version: it runs again when that changes, whatever is written here."""
    return 3 + 2 * weight


@task(namespace="shared", name="rounded", version=1)
def to_cents(amount: float) -> int:
    return round(100 * amount)


@task
def main(price: int = 50, weight: int = 2) -> dict[str, int]:
    """The price of an order in cents, and the names that its tasks have."""
    return {
        f"{net.name}+{tariff.name}": to_cents(net(price) + tariff(weight)),
    }
