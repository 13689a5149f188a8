"""About: what RedisStore keeps of a key beside its bytes, as one text in the hash ``<prefix>//about``::

    <etag> <microseconds since 1970> <size> <attributes as JSON>

The etag is ``-`` where another program wrote the bytes. The scripts (``redis_scripts``) read and write it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from valuestore.stores.base import Stat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNKNOWN = b"-"


def write_about(etag: str, now: int, size: int, attrs: Mapping[str, Any] | None) -> str:
    """The text; it ends before the attributes if those that the key has are kept (None)."""
    text = "" if attrs is None else json.dumps(attrs, separators=(",", ":"))
    return f"{etag} {now} {size} {text}"


def read_stat(key: str, size: int, about: bytes) -> Stat:
    """What the text says of the ``size`` bytes there are; the etag is empty if it is about others."""
    try:
        etag, microseconds, known_size, attrs = about.split(b" ", 3)
        is_theirs = int(known_size) == size and etag != _UNKNOWN
        shown = etag.decode() if is_theirs else ""
        return Stat(key, size, time_of(int(microseconds)), shown, load_attrs(attrs))
    except (ValueError, OverflowError):
        return Stat(key, size, _EPOCH, "", {})


def load_attrs(text: bytes) -> dict[str, Any]:
    """The attributes; none if they are damaged."""
    if text == b"{}":
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def microseconds_now() -> int:
    return time.time_ns() // 1000


def time_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
