"""Codecs: an attribute of a row as bytes, and back.

Each takes one exact type and gives bytes that decode to an equal value, or raises CodecError; so does
decoding what it cannot have written. Numbers are big-endian. For one of your own, subclass Codec.
"""

from __future__ import annotations

import json
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

from valuestore.errors import CodecError
from valuestore.kinds import shortened


class Codec(ABC):
    """``name`` is part of what marks the rows of a table: another name, another schema."""

    takes: ClassVar[type[Any]] = object
    """The exact type, if it is one."""

    @property
    def name(self) -> str:
        """What it is called."""
        return type(self).__name__

    def encode(self, value: Any) -> bytes:
        """Raises: CodecError, for what it does not take."""
        if self.takes is not object and type(value) is not self.takes:
            raise CodecError(self.name, f"it takes {self.takes.__name__}, not {_shown(value)}")
        try:
            return self._encode(value)
        except Exception as error:
            raise self._problem(error, value) from error

    def decode(self, data: bytes) -> Any:
        """Raises: CodecError, for what it did not write."""
        try:
            return self._decode(data)
        except Exception as error:
            raise self._problem(error, data) from error

    @abstractmethod
    def _encode(self, value: Any) -> bytes:
        """The bytes; raises anything if there are none."""

    @abstractmethod
    def _decode(self, data: bytes) -> Any:
        """The value; raises anything if it is none."""

    def _problem(self, error: Exception, value: object) -> CodecError:
        if isinstance(error, CodecError):
            return error
        return CodecError(self.name, f"{_shown(value)}: {str(error) or type(error).__name__}")


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - somebody else's
        text = f"a {type(value).__name__}"
    return shortened(text, 80)


def _codec(
    name: str, takes: type[Any], encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
) -> type[Codec]:
    parts = {"takes": takes, "_encode": staticmethod(encode), "_decode": staticmethod(decode)}
    return type(name, (Codec,), {**parts, "__module__": __name__})


def _integer(name: str, code: str) -> type[Codec]:
    packed = struct.Struct(f">{code}")
    return _codec(name, int, packed.pack, lambda data: packed.unpack(data)[0])


def _float(name: str, code: str) -> type[Codec]:
    packed = struct.Struct(f">{code}")

    def encode(value: Any) -> bytes:
        data = packed.pack(value)
        if type(value) is not float and (type(value) is not int or packed.unpack(data)[0] != value):
            raise TypeError("it takes float, or an int that it holds exactly")
        return data

    return _codec(name, object, encode, lambda data: packed.unpack(data)[0])


def _number(name: str, takes: type[Any], pattern: str) -> type[Codec]:
    def decode(data: bytes) -> Any:
        if re.fullmatch(pattern, text := data.decode("ascii")) is None:
            raise ValueError("no such number")
        return takes(text)

    return _codec(name, takes, lambda value: repr(value).encode(), decode)


Bool = _codec("Bool", bool, {False: b"\0", True: b"\1"}.__getitem__, {b"\0": False, b"\1": True}.__getitem__)
Int8, UInt8 = _integer("Int8", "b"), _integer("UInt8", "B")
Int16, UInt16 = _integer("Int16", "h"), _integer("UInt16", "H")
Int32, UInt32 = _integer("Int32", "i"), _integer("UInt32", "I")
Int64, UInt64 = _integer("Int64", "q"), _integer("UInt64", "Q")
Float32, Float64 = _float("Float32", "f"), _float("Float64", "d")
"""Float32 rounds floats, but none to infinity."""
IntAsString = _number("IntAsString", int, "0|-?[1-9][0-9]*")
FloatAsString = _number("FloatAsString", float, r"-?([0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|inf)|nan")
String = _codec("String", str, str.encode, bytes.decode)
Bytes = _codec("Bytes", bytes, bytes, bytes)
Uuid = _codec("Uuid", UUID, attrgetter("bytes"), lambda data: UUID(bytes=data))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_seconds = struct.Struct(">d")


def _write_time(value: datetime) -> bytes:
    if value.tzinfo not in (None, UTC) and (str(value.tzinfo) != "UTC" or value.utcoffset()):
        raise ValueError("it takes UTC; convert it with astimezone(UTC)")
    data = _seconds.pack((value.replace(tzinfo=UTC) - _EPOCH) / timedelta(seconds=1))
    _read_time(data)  # the last microseconds of the year 9999 are none
    return data


def _read_time(data: bytes) -> datetime:
    (seconds,) = _seconds.unpack(data)
    whole = int(seconds // 1)
    return _EPOCH + timedelta(seconds=whole, microseconds=round((seconds - whole) * 1e6))


UtcDatetime = _codec("UtcDatetime", datetime, _write_time, _read_time)
"""Seconds since 1970 as Float64, exact to the microsecond until 2242; a naive datetime is taken as UTC."""


def _write_json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if json.loads(text) != value:
        raise ValueError("JSON does not give that back")
    return text.encode()


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


JsonText = _codec(
    "JsonText", object, _write_json, lambda data: json.loads(data.decode(), parse_constant=_refuse)
)


class _Outer(Codec):
    def __init__(self, inner: Codec) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """With that of the inner one."""
        return f"{type(self).__name__}({self._inner.name})"


class Nullable(_Outer):
    """None as 00; else 01 and what ``inner`` writes."""

    def _encode(self, value: Any) -> bytes:
        return b"\0" if value is None else b"\1" + self._inner.encode(value)

    def _decode(self, data: bytes) -> Any:
        if data[:1] == b"\1":
            return self._inner.decode(data[1:])
        if data != b"\0":
            raise ValueError("neither 00 nor 01 and a value")
        return None


class Array(_Outer):
    """A list: each element with its length before it, in 2 bytes; so none has more than 65,535."""

    takes = list

    def _encode(self, value: list[Any]) -> bytes:
        parts = [self._inner.encode(each) for each in value]
        if any(len(each) > 65_535 for each in parts):
            raise ValueError("an element has more than 65,535 bytes")
        return b"".join(part for each in parts for part in (len(each).to_bytes(2, "big"), each))

    def _decode(self, data: bytes) -> list[Any]:
        values, at = [], 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            if end > len(data):
                raise ValueError("it is cut off")
            values.append(self._inner.decode(data[at + 2 : end]))
            at = end
        return values
