"""Trailer: attributes of an object on a filesystem that keeps none, behind the bytes and atomic with them.

Without attributes an object is its bytes, verbatim. With attributes it ends so::

    <bytes> <JSON: {"etag": ..., "attrs": ...}> <length of the JSON, 4 bytes> <MAGIC>

Bytes that happen to end with the magic get a trailer too, so that the last 20 bytes always tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valuestore.stores.base import copy_attrs

MAGIC = b"\x00valuestore-1\xff\xfe\x00"
FOOT_BYTES = 4 + len(MAGIC)


@dataclass(frozen=True, slots=True)
class Trailer:
    """What stands behind the bytes. ``length`` counts all of it."""

    etag: str
    attrs: dict[str, Any]
    length: int


def make_trailer(etag: str, attrs: Mapping[str, Any], last_bytes: bytes) -> bytes:
    """What to append to bytes that end with ``last_bytes``; empty if they may stand alone."""
    if not attrs and not last_bytes.endswith(MAGIC):
        return b""
    text = json.dumps({"etag": etag, "attrs": attrs}, separators=(",", ":")).encode()
    return text + len(text).to_bytes(4, "big") + MAGIC


def trailer_length(foot: bytes) -> int:
    """How long the trailer is, by the last bytes of an object; 0 if there is none."""
    if len(foot) < FOOT_BYTES or not foot.endswith(MAGIC):
        return 0
    return int.from_bytes(foot[-FOOT_BYTES : -len(MAGIC)], "big") + FOOT_BYTES


def read_trailer(tail: bytes) -> Trailer | None:
    """The trailer that ``tail``, an object or the end of it, ends with; None if there is none."""
    length = trailer_length(tail)
    if not 0 < length <= len(tail):
        return None
    try:
        item = json.loads(tail[len(tail) - length : -FOOT_BYTES])
        return Trailer(str(item["etag"]), copy_attrs(item["attrs"]), length)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
