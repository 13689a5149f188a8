"""The work that every system is given, and what has to come of it.

Bodies do next to nothing, so that what is measured is the system around them. Each notes that it ran by one
byte in a file: truthful in any thread or process, and the same small cost for everybody.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

RAN_FD = 100
"""Where bodies note that they ran: the same number in every process, since it belongs to their code."""

VALUE_BYTES = 200


def open_counter(path: str) -> None:
    """Let bodies of this process note their runs in that file."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(opened, RAN_FD)
    os.close(opened)


def leaf(x: int) -> int:
    """One tiny task."""
    os.write(RAN_FD, b"l")
    return x * x


def total(xs: list[int]) -> int:
    """The task that needs all of them."""
    os.write(RAN_FD, b"t")
    return sum(xs)


def inputs(jobs: int, *, changed: bool) -> list[int]:
    """The arguments of the leaves, all different; with ``changed``, the middle one is new."""
    xs = list(range(jobs))
    if changed:
        xs[jobs // 2] = jobs
    return xs


def values(count: int) -> list[bytes]:
    """So many different values of ``VALUE_BYTES`` that do not compress."""
    return [hashlib.shake_128(index.to_bytes(8, "big")).digest(VALUE_BYTES) for index in range(count)]


def checksum(found: Iterable[bytes]) -> str:
    """What the values read back have to agree in: all of them, in order."""
    digest = hashlib.sha256()
    for value in found:
        digest.update(value)
    return digest.hexdigest()
