"""Rules for types of standard modules that many programs do without: imported for the first object of one.

Found through the plug-in table, as those of foreign libraries are, by the name of the module.
"""

from __future__ import annotations

import array
import decimal
import fractions
import ipaddress
import pickle  # for the error that a ZoneInfo without a name raises
import sys
import uuid
import zoneinfo
from contextlib import suppress
from typing import Any

from valuestore.errors import DecodeError
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.value import Plain


def _zone_key(zone: zoneinfo.ZoneInfo) -> str:
    with suppress(pickle.PicklingError):  # of one from a file, which may hold anything, whatever its key is
        zone.__reduce__()
        if zone.key:
            return zone.key
    raise Refused("a ZoneInfo of a file cannot be named; make it with ZoneInfo('Area/City')")


def _array_state(numbers: array.array[Any]) -> Plain:
    """Little-endian bytes, so that machines agree, and the size of an item, which for ``l`` they do not."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return [numbers.typecode, numbers.itemsize, numbers.tobytes()]


def _array(state: Plain) -> array.array[Any]:
    typecode, itemsize, data = state
    numbers: array.array[Any] = array.array(typecode)
    if numbers.itemsize != itemsize:
        raise DecodeError("array.array", f"items of code {typecode!r} have {numbers.itemsize} bytes here")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


_decimal_text = decimal.Context(capitals=1).to_sci_string
"""``str`` in words that the thread's own context does not change."""


RULES = [
    TypeRule(zoneinfo.ZoneInfo, "zoneinfo.ZoneInfo", _zone_key, zoneinfo.ZoneInfo),
    TypeRule(decimal.Decimal, "decimal.Decimal", _decimal_text, decimal.Decimal),
    TypeRule(
        fractions.Fraction,
        "fractions.Fraction",
        lambda ratio: [ratio.numerator, ratio.denominator],
        lambda parts: fractions.Fraction(*parts),
    ),
    TypeRule(uuid.UUID, "uuid.UUID", str, uuid.UUID),
    TypeRule(array.array, "array.array", _array_state, _array),
    *[
        TypeRule(cls, f"ipaddress.{cls.__name__}", str, cls)
        for of in ("Address", "Interface", "Network")
        for cls in (getattr(ipaddress, f"IPv4{of}"), getattr(ipaddress, f"IPv6{of}"))
    ],
]
