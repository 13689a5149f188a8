"""Opcodes: proof that bytes are plain data, before any of them is executed.

``hashing.encode_plain`` writes two dozen of pickle's opcodes. The others are what attacks are made of: names
and calls, a memo whose slots can be numbered up to 2**32, duplicates that grow when they are walked, lengths
without bytes behind them. Here bytes are read as opcodes, at the speed of a regular expression, and refused
at the first that plain data has no use for, or that claims more bytes than there are. Nothing is built.

Lengths below 256 can be part of the expression; longer texts and bytes take a step in Python each. Such an
expression takes milliseconds to compile, so that is put off until the steps taken without it have cost more.
Format of the opcodes: PEP 307, PEP 3154, and CPython's ``pickletools``. Called by gate.py alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import cache

from valuestore.errors import DecodeError

MOST_NESTED_TUPLES = 50_000
"""CPython hashes nested tuples, as keys of a dict, without a look at what is left of the C stack."""

_HEADER = b"\x80\x03"
_COUNTED_BY_ONE = b"C\x8a"
_COUNTED = b"XB\x8b" + _COUNTED_BY_ONE
_STOP = ord(".")
_ATOMS = rb"N\x88\x89"
_TUPLES = rb"t\x85-\x87"
_SETS_ITEMS = rb"su"
_BUILDS = rb"\]})(ae"
_NO_TUPLES = _BUILDS + _SETS_ITEMS
_NO_DICTS = _BUILDS + _TUPLES
_ALL = _BUILDS + _SETS_ITEMS + _TUPLES
_FIXED = (rb"K." * 8, rb"K.", rb"M.." * 8, rb"M..", rb"J.{4}" * 8, rb"J.{4}", rb"G.{8}")
_OPERAND = {ord("K"): 1, ord("M"): 2, ord("J"): 4, ord("G"): 8}
_MARK = ord("(")
_MAKES_TUPLE = b"t\x85\x86\x87"
_TAKES_TO_MARK = b"teu"
_TAKES = {_MARK: 0, ord("a"): 1, ord("s"): 2, 0x85: 1, 0x86: 2, 0x87: 3}
_TUPLE_BYTES = (b"t", b"\x85", b"\x86", b"\x87")
_COMPILE_AFTER_STEPS = 20_000
_COMPILE_FOR_BYTES = 1 << 17
_length_at = struct.Struct("<I").unpack_from
_steps = 0

Skip = Callable[[bytes, int], "re.Match[bytes]"]


def check_plain(data: bytes) -> None:
    """Raises: DecodeError unless ``data`` is nothing but opcodes of plain data, each of them whole."""
    if not data.startswith(_HEADER):
        raise DecodeError("plain", "damaged: it does not begin as plain data does")
    wide = _steps > _COMPILE_AFTER_STEPS or len(data) > _COMPILE_FOR_BYTES
    if len(data) > MOST_NESTED_TUPLES:
        for allowed in (_NO_TUPLES, _NO_DICTS):  # a tuple is hashed as the key of a dict alone
            if _is_stop(data, _walk(data, _skip(allowed, wide))):
                return
    skip = _skip(_ALL, wide)
    end = skip(data, len(_HEADER)).end()
    if end == len(data) - 1 <= MOST_NESTED_TUPLES and data[end] == _STOP:
        return  # the most common by far: short, without long texts
    end = _walk(data, skip)
    if not _is_stop(data, end):
        raise DecodeError("plain", f"damaged: opcode {data[end]:#04x} at byte {end} is none of plain data")
    if sum(map(data.count, _TUPLE_BYTES)) > MOST_NESTED_TUPLES:
        _check_nesting(data)


def _is_stop(data: bytes, position: int) -> bool:
    return position == len(data) - 1 and data[position] == _STOP


def _walk(data: bytes, skip: Skip) -> int:
    """Where the first opcode is that is not to be skipped. Raises: DecodeError if bytes are missing."""
    global _steps
    size = len(data)
    position = skip(data, len(_HEADER)).end()
    try:
        while position < size and data[position] in _COUNTED:
            _steps += 1
            # not past the end, whatever is claimed
            position = skip(data, _past_counted(data, position)).end()
    except (IndexError, struct.error):
        position = size
    if position >= size:
        raise DecodeError("plain", "damaged: it is cut off, or claims more bytes than there are")
    return position


def _past_counted(data: bytes, position: int) -> int:
    """Where the bytes end that are counted here, if there are so many: 1 or 4 bytes of length, then they."""
    if data[position] in _COUNTED_BY_ONE:
        return position + 2 + data[position + 1]
    return position + 5 + int(_length_at(data, position + 1)[0])


# --- expressions ----------------------------------------------------------------------------------


@cache
def _skip(structure: bytes, wide: bool) -> Skip:
    """Matches as many whole opcodes as there are; only ``wide`` knows counted ones, below 256 bytes."""
    tokens = [*_FIXED, rb"[" + _ATOMS + structure + rb"]++"]
    if wide:
        tokens[:0] = [rb"X" + _tree(rb"\0\0\0", 256), rb"C" + _tree(b"", 256)]
        tokens += [(rb"\x8a" + _leaf(n, b"")) * 4 for n in (5, 6, 7, 8)] + [rb"\x8a" + _tree(b"", 24)]
    return re.compile(rb"(?:" + rb"|".join(tokens) + rb")*+", re.DOTALL).match  # type: ignore[return-value]


def _tree(suffix: bytes, most: int) -> bytes:
    """A length byte below ``most``, ``suffix``, and so many bytes. Common lengths are tried first."""
    common = [_leaf(n, suffix) for n in (*range(4, min(most, 24)), 0, 1, 2, 3)]
    spans = [range(low, low + 16) for low in range(24, most, 16)]
    rest = [
        rb"(?=[\x%02x-\x%02x])(?:" % (span[0], min(span[-1], 255))
        + rb"|".join(_leaf(n, suffix) for n in span if n < 256)
        + rb")"
        for span in spans
    ]
    return rb"(?:" + rb"|".join((*common, *rest)) + rb")"


def _leaf(length: int, suffix: bytes) -> bytes:
    return rb"\x%02x" % length + suffix + rb".{%d}" % length


# --- depth of tuples --------------------------------------------------------------------------------


def _check_nesting(data: bytes) -> None:
    """Follow the stack, each item a number: how many tuples deep it is, not counting what lists hold.

    Slow, an opcode at a time, and so asked only about data with many tuples that has dicts too.
    Raises: DecodeError for tuples that are nested too deeply, and for opcodes that find too little.
    """
    depths: list[int] = []
    marks: list[int] = []
    position = len(_HEADER)
    try:
        while (opcode := data[position]) != _STOP:
            position = _after(data, position)
            taken = _TAKES.get(opcode)
            if opcode in _TAKES_TO_MARK:
                taken = len(depths) - marks.pop()
            if taken is None:
                depths.append(0)
            elif opcode == _MARK:
                marks.append(len(depths))
            else:
                below = len(depths) - taken
                deepest = max(depths[below:], default=0)
                del depths[below:]
                if opcode in _MAKES_TUPLE:
                    depths.append(deepest + 1)
                    if deepest >= MOST_NESTED_TUPLES:
                        raise DecodeError("plain", "its tuples are nested too deeply")
    except (IndexError, struct.error):
        raise DecodeError("plain", "damaged: an opcode finds too little to work on") from None


def _after(data: bytes, position: int) -> int:
    opcode = data[position]
    return _past_counted(data, position) if opcode in _COUNTED else position + 1 + _OPERAND.get(opcode, 0)
