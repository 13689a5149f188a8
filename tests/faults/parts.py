"""Parts: every part of the harness with its sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.faults.found import Found


@dataclass(frozen=True)
class Part:
    """A function of the module of its name, or of ``module``; what its size counts; small and in full.

    ``short``: kinds of faults that are known, named in docs/reliability.md, and do not fail the quick size.
    """

    unit: str
    quick: int
    full: int
    module: str = ""
    short: tuple[str, ...] = ()

    def function(self, name: str) -> Callable[[Path, int, random.Random], Found]:
        function: Callable[[Path, int, random.Random], Found] = getattr(
            import_module(f"tests.faults.{self.module or name}"), name
        )
        return function


PARTS = {
    "kills": Part("kills", 24, 6000),
    "steps": Part("steps", 20, 10_000),
    "syscalls": Part("pairs of system call and fault", 0, 24),
    "power": Part("states after a power cut", 16, 5000),
    "damage": Part(
        "damages of each mode in each place", 1, 500, short=("a key of Redis that holds another type",)
    ),
    "flips": Part("flipped bits", 25, 2000, "database", short=("cannot finish",)),
    "pages": Part("swapped pages", 10, 500, "database", short=("cannot finish",)),
    "puts": Part("puts of each of 8 processes", 200, 10_000, "processes"),
    "opens": Part("first opens by 8 processes", 2, 50, "processes"),
    "lossy": Part("runs", 6, 500, "lossy"),
    "clock": Part("runs, each twice", 5, 200, "lossy"),
    "redis": Part("faults of the server", 2, 120, "servers"),
    "s3": Part("faults of the server", 0, 100, "servers"),
    "postgres": Part("faults of the server", 1, 120, "servers"),
    "texts": Part("odd texts", 30, 1000, "hostile"),
    "rows": Part("edited rows", 60, 5000, "hostile"),
    "cells": Part("forged cells", 40, 5000, "hostile"),
    "log": Part("jobs, twice", 0, 80_000),
    "fuzz": Part("inputs", 40_000, 10_000_000),
}
