"""The values whose digests are frozen in digests.json. Run as a script it prints their digests as JSON.

It is run under other hash seeds and Python versions too, so it imports nothing but the library.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import pathlib
import pickle
import sys
import uuid
import zoneinfo
from collections import namedtuple
from typing import Any, NamedTuple

from valuestore.values.files.file import File
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Value


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    labels: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    inner: Point


Pair = namedtuple("Pair", "left right")


class Typed(NamedTuple):
    name: str
    size: int = 0


class Feet(Value):
    def __init__(self, count: float) -> None:
        self.count = count


_UTC = dt.UTC
_PARIS = zoneinfo.ZoneInfo("Europe/Paris")

CASES: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "minus one": -1,
    "int 255": 255,
    "int 256": 256,
    "int 65536": 65536,
    "int 2**31": 2**31,
    "int -2**31": -(2**31),
    "int 2**64": 2**64,
    "int of 20000 bits": 3**12619,
    "float one": 1.0,
    "float zero": 0.0,
    "float minus zero": -0.0,
    "float nan": float("nan"),
    "float inf": float("inf"),
    "float -inf": float("-inf"),
    "float subnormal": 5e-324,
    "complex": 1 + 2j,
    "complex minus zero": complex(0.0, -0.0),
    "complex nan": complex(float("nan"), 1.0),
    "str empty": "",
    "str one": "1",
    "str unicode": "naïve ☃ 𝄞",
    "str lone surrogate": "\ud800",
    "str nul": "a\0b",
    "str composed": "\u00e9",
    "str decomposed": "e\u0301",
    "bytes empty": b"",
    "bytes one": b"1",
    "bytes all": bytes(range(256)),
    "bytearray": bytearray(b"1"),
    "list empty": [],
    "list one": [1],
    "list nested": [[1], [2, [3]]],
    "list of 2500": list(range(2500)),
    "list with nan": [float("nan")],
    "list with inf": [float("inf")],
    "tuple empty": (),
    "tuple one": (1,),
    "tuple of four": (1, "two", 3.0, None),
    "tuple like a node": ("\0", "builtins.set", [1]),
    "list of tuple like a node": [("\0", "builtins.set", [1]), {1}],
    "dict empty": {},
    "dict": {"a": 1, "b": 2},
    "dict other order": {"b": 2, "a": 1},
    "dict int keys": {1: "a", 2: "b"},
    "dict tuple keys": {(1, 2): 3},
    "dict frozenset keys": {frozenset({"a", "b"}): 1},
    "dict of 1500": {f"k{i}": i for i in range(1500)},
    "set empty": set(),
    "set": {"a", "b", "c"},
    "set mixed": {1, "a", None, (1, 2), 2.5},
    "set nested": {frozenset({"a", "b"}), frozenset({"c"})},
    "set one": {1},
    "frozenset": frozenset({"a", "b", "c"}),
    "frozenset one": frozenset({1}),
    "list of sets": [{"x", "y"}, {"z"}],
    "range": range(10),
    "range empty": range(0),
    "range other empty": range(2, 2),
    "range step": range(0, 10, 3),
    "slice": slice(1, 10, 2),
    "slice none": slice(None),
    "ellipsis": ...,
    "date": dt.date(2026, 11, 20),
    "datetime": dt.datetime(2026, 11, 20, 12, 30, 45, 123456),
    "datetime midnight": dt.datetime(2026, 11, 20),
    "datetime utc": dt.datetime(2026, 11, 20, tzinfo=_UTC),
    "datetime paris": dt.datetime(2026, 11, 20, tzinfo=_PARIS),
    "datetime fold": dt.datetime(2026, 10, 25, 2, 30, tzinfo=_PARIS, fold=1),
    "time": dt.time(12, 30, 45, 5),
    "time utc": dt.time(12, 30, tzinfo=_UTC),
    "timedelta": dt.timedelta(days=-1, seconds=5, microseconds=7),
    "timezone": dt.timezone(dt.timedelta(hours=5, minutes=30)),
    "timezone named": dt.timezone(dt.timedelta(hours=1), "BST"),
    "zone": _PARIS,
    "decimal": decimal.Decimal("1.0"),
    "decimal same number": decimal.Decimal("1.00"),
    "decimal nan": decimal.Decimal("NaN"),
    "decimal exponent": decimal.Decimal("1E+1000"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID("12345678123456781234567812345678"),
    "pure posix path": pathlib.PurePosixPath("a/b.txt"),
    "pure windows path": pathlib.PureWindowsPath("c:\\a\\b.txt"),
    "path": pathlib.Path("a/b.txt"),
    "enum": Color.RED,
    "enum text": Color.BLUE,
    "int enum": Level.LOW,
    "flag": Access.READ,
    "flag combination": Access.READ | Access.WRITE,
    "dataclass": Point(1.0, 2.0, ["p"]),
    "dataclass frozen slots": Frozen(Point(1.0)),
    "namedtuple": Pair(1, 2),
    "typed namedtuple": Typed("a"),
    "value": Feet(5),
    "file missing": File("no/such/file"),
    "value in containers": {"feet": [Feet(5), (Feet(6),)]},
    "everything": [None, {"k": (1, {2.5, "x"}, b"z")}, Point(0.5), Color.RED, dt.date(2026, 1, 1)],
}


def digests(algorithm: str = "xxh3-128") -> dict[str, str]:
    registry = TypeRegistry(algorithm)
    return {name: registry.hash(case) for name, case in CASES.items()}


def digests_after_pickle_round_trip() -> dict[str, str]:
    registry = TypeRegistry()
    return {name: registry.hash(pickle.loads(pickle.dumps(case))) for name, case in CASES.items()}


if __name__ == "__main__":
    sys.modules.setdefault("cases", sys.modules["__main__"])
    json.dump(digests(), sys.stdout)
