"""Control flow: what runs next depends on what came out before.

    valuestore run examples/redun/control_flow.py main --readings 3 8 x 5

A reading that is no number is given up on, a high mean is looked into, a low one is not; and the steps of the
protocol are made one after the other.
"""

from __future__ import annotations

from valuestore import catch, cond, seq, task

HIGH = 5.0


@task
def number(text: str) -> float:
    return float(text)


@task
def none_at_all(error: ValueError) -> float:
    return 0.0


@task
def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@task
def look_into(value: float) -> str:
    return f"high: {value:.2f}"


@task
def wave_through(value: float) -> str:
    return f"fine: {value:.2f}"


@task
def step(name: str) -> str:
    return name


@task
def main(readings: list[str] = ["3", "8", "x", "5"]) -> tuple[str, list[str]]:  # noqa: B006  # not changed
    """What is said of the mean, and the protocol."""
    found = mean([catch(number(text), ValueError, none_at_all) for text in readings])
    said = cond(found > HIGH, look_into(found), wave_through(found))
    return said, seq([step("open"), step("measure"), step("close")])
