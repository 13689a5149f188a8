"""What a store answers: Stat of one key, Page of a listing, SignedUrl for somebody without credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of a key without reading it. ``attrs`` is the caller's own copy."""

    key: str
    size: int
    """In bytes."""
    modified: datetime
    """When it was put; aware, UTC; at least to the second."""
    etag: str
    """Changes exactly when the content does; comparable within one store only. No quotes, no ``W/``."""
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A run of keys in byte order. ``cursor`` is the last key of it, or None exactly when no more follow."""

    keys: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL that lets its holder make one kind of request, with the headers that the request must carry."""

    url: str
    headers: dict[str, str]
