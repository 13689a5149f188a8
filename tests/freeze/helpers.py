"""Code that the frozen pipeline refers to, and holds as values. Frozen with it: see pipeline.py."""

from __future__ import annotations

FACTOR = 3


def scale(x: int) -> int:
    return x * FACTOR


class Scaler:
    def __init__(self, by: int) -> None:
        self.by = by

    def scale(self, x: int) -> int:
        return x * self.by

    @classmethod
    def double(cls) -> Scaler:
        return cls(2)
