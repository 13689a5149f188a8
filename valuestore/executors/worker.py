"""What runs inside an executor: one task body, timed, its result packed where it was made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from valuestore.errors import NotHashableError, StoreError
from valuestore.values.archive import Archive, ValueRef


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a body gave. ``ref`` is None when the result cannot be stored, and ``refused`` says why.

    Times are microseconds since 1970-01-01 UTC.
    """

    value: Any
    ref: ValueRef | None
    refused: str
    started: int
    ended: int


def run_body(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], archive: Archive
) -> Outcome:
    """Call ``func`` and pack its result. Raises: whatever ``func`` raises, untouched."""
    started = time.time_ns() // 1000
    value = func(*args, **kwargs)
    ended = time.time_ns() // 1000
    try:
        ref, refused = archive.pack(value), ""
    except (NotHashableError, StoreError) as error:
        ref, refused = None, str(error)
    return Outcome(value, ref, refused, started, ended)
