"""How each frozen value is stored: codec, type name, and the digest of its payload's bytes.

Where a library decides about the bytes (Arrow, PNG), these are kept themselves, to be read by any version.
Signed pickles are left to the frozen repositories: their bytes depend on who signs.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.freeze import values
from valuestore import get_type_registry
from valuestore.hashing import hash_bytes

FORMATS = Path(__file__).with_name("formats.json")
OF_LIBRARIES = ("arrow", "png")
TABLES = tuple(table for table in values.TABLES if table not in (values.opaque, values.stores))
HOLDS_ARROW = ("frames inside",)


def stored_values() -> Iterator[tuple[str, Any]]:
    """Name and value of all whose bytes can be told."""
    for table in TABLES:
        yield from table().items()


def formats() -> dict[str, list[str]]:
    """By name: codec, type name, and digest of the bytes; of a library's format, the bytes in base 64."""
    return {name: format_of(name, value) for name, value in stored_values()}


def format_of(name: str, value: Any) -> list[str]:
    """Codec, type name, and what tells the bytes."""
    encoded = get_type_registry().encode(value)
    payload = encoded.payload
    if payload.codec == "signed":  # what is signed are the bytes that were there without a signature before
        payload = dataclasses.replace(payload, codec="tagged", data=encoded.tagged)
    data = bytes(payload.data)
    shown = base64.b64encode(data).decode() if is_of_library(payload.codec, name) else hash_bytes(data)
    return [payload.codec, payload.type_name, shown]


def is_of_library(codec: str, name: str) -> bool:
    """Whether a library decides about the bytes."""
    return codec in OF_LIBRARIES or name in HOLDS_ARROW


def frozen() -> dict[str, list[str]]:
    """What was written down."""
    found: dict[str, list[str]] = json.loads(FORMATS.read_text())
    return found
