"""Context: settings that tasks deep below need, without handing them down through all that is between.

    valuestore run examples/redun/context.py main

A key is looked up by those who ask for it, so another value of it runs these again and nobody else. Values
come from ``[context]`` in the configuration, from the run, and for a part of it from ``update_context``.
"""

from __future__ import annotations

from valuestore import get_context, task

SIZES = [3, 4]


@task
def trained(size: int, rate: float = get_context("model.rate", 0.5)) -> float:
    return size * rate


@task
def named(score: float, unit: str) -> str:
    return f"{score:.1f} {unit}"


@task
def study(size: int) -> str:
    """Knows nothing of rates."""
    return named(trained(size), get_context("report.unit", "points"))


@task
def main() -> dict[str, list[str]]:
    """The study as the context says, and once at a rate of its own."""
    return {
        "as said": [study(size) for size in SIZES],
        "slowly": [study.update_context(model={"rate": 0.1})(size) for size in SIZES],
    }
