"""Ids that sort by time, and the time that rows carry."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator

from valuestore.lazy import renew_after_fork

_RANDOM_BYTES = 8 * 512
"""Asked of the system at once: each question lets go of the interpreter's lock."""

_lock = threading.Lock()
_last = 0
_random: Iterator[tuple[int]] = iter(())


@renew_after_fork
def _renew() -> None:
    """In a child process, which must not draw what its parent draws."""
    global _lock, _random
    _lock, _random = threading.Lock(), iter(())


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as 32 hex digits; ids of one process sort in the order they were made."""
    global _last, _random
    with _lock:
        # 48 bits of milliseconds, then 12 of sub-millisecond time, and never the same pair twice
        ticks = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
        _last = ticks
        drawn = next(_random, None)
        if drawn is None:
            _random = struct.iter_unpack("Q", os.urandom(_RANDOM_BYTES))
            drawn = next(_random)
    high = (ticks >> 12) << 16 | 0x7000 | (ticks & 0xFFF)
    return f"{high:016x}{drawn[0] & (1 << 62) - 1 | 1 << 63:016x}"


def now() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000
