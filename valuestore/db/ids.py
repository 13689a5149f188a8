"""Ids that sort by time, and the time that rows carry."""

from __future__ import annotations

import os
import threading
import time

from valuestore.lazy import renew_after_fork

_lock = threading.Lock()
_last = 0


@renew_after_fork
def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as 32 hex digits; ids of one process sort in the order they were made."""
    global _last
    with _lock:
        # 48 bits of milliseconds, then 12 of sub-millisecond time, and never the same pair twice
        ticks = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
        _last = ticks
    high = (ticks >> 12) << 16 | 0x7000 | (ticks & 0xFFF)
    low = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1 | 1 << 63
    return f"{high:016x}{low:016x}"


def now() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000
