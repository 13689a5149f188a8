"""The values that the frozen repositories hold: every built-in type, by name. Frozen: see pipeline.py.

Each table is a function, so that importing this costs nothing. Left out, because they are not the same in
every Python, library or process: pickles of a library's objects (they name its private modules), torch
(no development dependency), code without source, and Files on servers (a server would have to be there).
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import json
import math
import operator
import pathlib
import re
import types
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic

from tests.freeze import helpers
from valuestore import Dir, File, FileSet, Value, errors
from valuestore.observe import Change, Event, LogObserver
from valuestore.stores import FileStore, FsspecStore, MemoryStore, PayloadRef, RedisStore, S3Store, Stat
from valuestore.stores.base import Page, SignedUrl
from valuestore.stores.wrappers import (
    ByUrl,
    Compressed,
    Evicting,
    Limited,
    Observed,
    Prefixed,
    ReadOnly,
    Retrying,
    Routed,
    Sized,
    Tiered,
    Wrapper,
)

OLD_NS = 1_700_000_000_000_000_000
"""When the one file was changed whose time counts."""


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


Pair = collections.namedtuple("Pair", "left right")


class Typed(NamedTuple):
    name: str
    size: int = 0


@attrs.define
class Attributed:
    name: str
    parts: list[int] = attrs.Factory(list)


class Model(pydantic.BaseModel):
    name: str
    weights: list[float] = []


class Message(msgspec.Struct):
    name: str
    size: int = 0


class Plain:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Words(list[str]):
    """A list that is more than a list."""


class Feet(Value):
    type_name = "freeze.Feet"

    def __init__(self, count: float) -> None:
        self.count = count


class Bundle(Value):
    def __init__(self, *parts: Any) -> None:
        self.parts = list(parts)


class Opaque:
    """Pickles by itself, so it is stored as a signed pickle."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return Opaque, self.parts


def standard() -> dict[str, Any]:
    """What Python itself has."""
    utc, paris = dt.UTC, zoneinfo.ZoneInfo("Europe/Paris")
    return {
        "none": None,
        "true": True,
        "int": 12345,
        "int of 20000 bits": 3**12619,
        "float": 0.1,
        "float minus zero": -0.0,
        "float nan": math.nan,
        "complex": 1 + 2j,
        "str": "naïve ☃ 𝄞",
        "str lone surrogate": "\ud800",
        "bytes": bytes(range(256)),
        "bytearray": bytearray(b"1"),
        "list": [1, [2.5, ["x", None]]],
        "tuple": (1, "two", 3.0, None),
        "tuple like a node": ("\0", "builtins.set", [1]),
        "dict": {"a": 1, "b": [2]},
        "dict of tuples": {(1, 2): 3, frozenset({"a", "b"}): 1},
        "set": {"a", "b", "c"},
        "set mixed": {1, "a", None, (1, 2), 2.5},
        "set nested": {frozenset({"a", "b"}), frozenset({"c"})},
        "frozenset": frozenset({"a", "b", "c"}),
        "range": range(0, 10, 3),
        "slice": slice(1, 10, 2),
        "ellipsis": ...,
        "date": dt.date(2026, 11, 20),
        "datetime": dt.datetime(2026, 11, 20, 12, 30, 45, 123456),
        "datetime utc": dt.datetime(2026, 11, 20, tzinfo=utc),
        "datetime fold": dt.datetime(2026, 10, 25, 2, 30, tzinfo=paris, fold=1),
        "time": dt.time(12, 30, 45, 5),
        "timedelta": dt.timedelta(days=-1, seconds=5, microseconds=7),
        "timezone": dt.timezone(dt.timedelta(hours=1), "BST"),
        "zone": paris,
        "decimal": decimal.Decimal("1.00"),
        "fraction": fractions.Fraction(1, 3),
        "uuid": uuid.UUID("12345678123456781234567812345678"),
        "path": pathlib.Path("a/b.txt"),
        "pure path": pathlib.PurePosixPath("a/b.txt"),
        "windows path": pathlib.PureWindowsPath("c:\\a\\b.txt"),
        "ordered dict": collections.OrderedDict(b=1, a=2),
        "default dict": collections.defaultdict(list, {"a": [1]}),
        "counter": collections.Counter("abba"),
        "deque": collections.deque([1, 2], maxlen=3),
        "chain map": collections.ChainMap({"a": 1}, {"b": 2}),
        "array of numbers": array.array("d", [1.5, -0.0]),
        "namespace": types.SimpleNamespace(a=1),
        "mapping proxy": types.MappingProxyType({"a": 1}),
        "pattern": re.compile(r"a+b", re.I),
        "address": ipaddress.ip_address("10.0.0.1"),
        "network": ipaddress.ip_network("fd00::/8"),
        "exception": ValueError("no", 1),
        "os error": FileNotFoundError(2, "No such file", "a/b.txt"),
    }


def classes() -> dict[str, Any]:
    """Objects of the user's own classes."""
    return {
        "enum": Color.RED,
        "int enum": Level.LOW,
        "flags": Access.READ | Access.WRITE,
        "dataclass": Point(1.0, 2.0, ["p"]),
        "dataclass with slots": Frozen(Point(1.0)),
        "named tuple": Pair(1, (2,)),
        "typed named tuple": Typed("a"),
        "attrs": Attributed("a", [1, 2]),
        "pydantic": Model(name="a", weights=[0.5]),
        "msgspec": Message("a", 2),
        "own class": Plain(b=1, a={"x"}),
        "own list": Words(["a", "b"]),
        "value": Feet(5),
        "values inside": {"feet": [Feet(5), (Bundle(Feet(6)),)]},
        "everything": [None, {"k": (1, {2.5, "x"}, b"z")}, Point(0.5), Color.BLUE, dt.date(2026, 1, 1)],
    }


def code() -> dict[str, Any]:
    """Functions, classes and modules: a library's by name, one's own by their code too."""
    return {
        "builtin function": len,
        "library function": json.dumps,
        "library class": collections.OrderedDict,
        "library module": json,
        "method descriptor": str.upper,
        "class method": dict.fromkeys,
        "function": helpers.scale,
        "class": helpers.Scaler,
        "method": helpers.Scaler.scale,
        "bound method": helpers.Scaler(5).scale,
        "module": helpers,
        "partial": functools.partial(helpers.scale, 2),
        "library partial": functools.partial(json.dumps, indent=1),
        "item getter": operator.itemgetter(1, "a"),
        "attribute getter": operator.attrgetter("a.b"),
        "method caller": operator.methodcaller("f", 1, key=2),
        "class of ours": File,
        "store class of ours": MemoryStore,
        "wrapper class of ours": Compressed,
        "functions inside": {"f": [helpers.scale, len]},
    }


def files() -> dict[str, Any]:
    """What stands for files; ``inputs`` is a folder of the fixture."""
    return {
        "file": File("inputs/a.txt"),
        "file by content": File("inputs/a.txt", identity="content"),
        "file by path": File("inputs/b.txt", identity="path"),
        "file by time": File("inputs/old.txt", identity="stat"),
        "file set": FileSet("inputs/*.txt"),
        "dir": Dir("inputs/folder"),
        "dir by content": Dir("inputs/folder", identity="content"),
        "staged file": File("inputs/a.txt").stage("local.txt"),
        "staged dir": Dir("inputs/folder").stage("local"),
        "files inside": {"files": [File("inputs/a.txt"), Bundle(File("inputs/b.txt"))]},
    }


def opaque() -> dict[str, Any]:
    """What no codec knows, and is stored as a signed pickle."""
    return {
        "opaque": Opaque(1, "two"),
        "opaque inside": {"parts": [Opaque(1), Opaque({"k": Opaque()})]},
        "opaque of values": Opaque(Feet(1), Bundle(Feet(2)), Point(1.0), Color.RED, Pair(1, 2)),
        "opaque of files": Opaque(File("inputs/a.txt"), FileSet("inputs/*.txt"), Dir("inputs/folder")),
        "opaque of staged": Opaque(File("inputs/a.txt").stage("local.txt"), Dir("inputs/folder").stage("d")),
        "opaque of code": Opaque(helpers.scale, helpers.Scaler, json.dumps),
        "opaque of ours": Opaque(
            errors.ConfigError("a", "b"),
            PayloadRef("0" * 32, 1),
            MemoryStore("freeze"),
            Stat("k", 1, _then(), "e"),
        ),
        "opaque large": Opaque("x" * 10_000),
    }


def stores() -> dict[str, Any]:
    """Stores, which are pickled by configuration; none of them is asked for anything."""
    memory = MemoryStore("freeze")
    return {
        "memory store": memory,
        "file store": FileStore("/usr", create=False),
        "fsspec store": FsspecStore("memory://freeze"),
        "redis store": RedisStore("redis://localhost:6379/0", prefix="freeze"),
        "s3 store": S3Store("s3://freeze/prefix?endpoint_url=http%3A%2F%2Flocalhost%3A9&region=us-east-1"),
        "wrapper": Wrapper(memory),
        "compressed": Compressed(memory, level=3, min_bytes=512),
        "evicting": Evicting(memory, 1000),
        "limited": Limited(memory, max_get_bytes=10, max_put_bytes=20),
        "observed": Observed(memory, LogObserver()),
        "prefixed": Prefixed(memory, "a"),
        "read-only": ReadOnly(memory),
        "retrying": Retrying(memory, attempts=2),
        "routed": Routed({"memory": "memory://{container}"}, default=memory, base="m://d"),
        "by URL": ByUrl("memory://{container}"),
        "sized": Sized(memory, MemoryStore("large"), 10),
        "tiered through": Tiered(memory, MemoryStore("slow")),
        "tiered first": Tiered(memory, MemoryStore("slow"), write="first"),
        "stores inside": {"stores": [Compressed(Prefixed(memory, "a")), memory]},
    }


def ours() -> dict[str, Any]:
    """Records and errors of the library itself."""
    found = Stat("k", 1, _then(), "etag", {"a": 1})
    return {
        "stat": found,
        "page": Page([found.key], None),
        "signed URL": SignedUrl("https://localhost/k", {"Host": "localhost"}),
        "payload ref": PayloadRef("0" * 32, 1),
        "event": Event("get", "k", "end", 1, 1, 0.5, None, "memory://", 7),
        "change": Change("set", "k", {"a": 1}),
        "too large": errors.TooLarge("k", 2, 1, "max_put_bytes"),
        "script failed": errors.ScriptFailed("false", "it ended with exit code 1", "", 1),
        "errors inside": [errors.ConfigError("a", "b"), errors.PayloadMissing("0" * 32, "memory://")],
    }


def _then() -> dt.datetime:
    return dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def science() -> dict[str, Any]:
    """Arrays, frames and images; numbers of fixed sizes and explicit types, for any version of a library."""
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import scipy.sparse as sp
    from PIL import Image

    grid = np.arange(24.0).reshape(4, 6)
    structured = np.zeros(3, np.dtype([("a", "i1"), ("b", "<f8")], align=True))
    objects = np.empty(3, object)
    objects[:] = [1, "a", None]
    frame = pd.DataFrame(
        {
            "numbers": np.array([1.5, np.nan, -0.0]),
            "counts": pd.array([1, None, 3], dtype="Int64"),
            "texts": pd.array(["a", None, "ü"], dtype="string"),
            "when": pd.DatetimeIndex(["2026-01-01", None, "2026-03-01"]).as_unit("ns"),
            "mixed": pd.Series(["a", 1, None], dtype=object),
        },
        columns=pd.Index(["numbers", "counts", "texts", "when", "mixed"], dtype=object),
    )
    return {
        "array": grid,
        "array big-endian": grid.astype(">f8"),
        "array bool": grid > 3,
        "array complex": grid * 1j,
        "array datetime": np.array(["2026-01-01", "NaT"], "<M8[s]"),
        "array text": np.array(["a", "ü"]),
        "array structured": structured,
        "array objects": objects,
        "array large": np.arange(2000.0),
        "array Fortran": np.asfortranarray(grid),
        "masked": np.ma.array([1.0, 2.0], mask=[True, False]),
        "scalar": np.float64(1.0),
        "scalar datetime": np.datetime64("2026-01-01", "s"),
        "dtype": np.dtype("<f8"),
        "generator": np.random.default_rng(7),
        "arrays inside": {"a": [grid, (grid[0],)]},
        "frame": frame,
        "frame of numbers": pd.DataFrame(grid),
        "series": pd.Series([1.0, 2.0], name=3),
        "index": pd.Index(np.array([3, 1], "<i8"), name=5),
        "range index": pd.RangeIndex(0, 10, 2),
        "timestamp": pd.Timestamp("2026-01-01", tz="Europe/Paris").as_unit("us"),
        "period": pd.Period("2026-01", "M"),
        "not a time": pd.NaT,
        "not available": pd.NA,
        "polars": pl.DataFrame({"i": pl.Series([1, None], dtype=pl.Int16), "s": ["a", None]}),
        "polars series": pl.Series("x", [1.0, None]),
        "table": pa.table({"i": pa.array([1, None], pa.int8()), "s": ["a", None]}),
        "record batch": pa.record_batch({"i": pa.array([1, None], pa.int8())}),
        "arrow array": pa.array([1, None, 3], pa.int32()),
        "arrow chunks": pa.chunked_array([[1], [2, None]], pa.int8()),
        "arrow schema": pa.schema([pa.field("a", pa.int8(), nullable=False)], {"k": "v"}),
        "arrow scalar": pa.scalar(1, pa.int8()),
        "frames inside": [frame, {"t": pa.table({"a": pa.array([1], pa.int8())})}],
        "csr": sp.csr_array(grid),
        "csc matrix": sp.csc_matrix(grid),
        "coo": sp.coo_array(grid),
        "dok": sp.dok_array(grid),
        "image": Image.fromarray(grid.astype("u1")),
        "image in color": Image.new("RGB", (3, 2), (1, 2, 3)),
    }


def large() -> dict[str, Any]:
    """What is over the limit for inline payloads, and so lies in the payload store."""
    return {
        "large text": "a line of text\n" * 700,
        "large bytes": bytes(range(256)) * 40,
        "large list": list(range(4000)),
        "large set": {f"member {i}" for i in range(700)},
    }


TABLES: tuple[Callable[[], dict[str, Any]], ...] = (
    standard,
    classes,
    code,
    files,
    opaque,
    stores,
    ours,
    science,
    large,
)


def every_value() -> dict[str, Any]:
    """All of them, made anew."""
    named = [pair for table in TABLES for pair in table().items()]
    assert len(dict(named)) == len(named)
    return dict(named)


def value_named(name: str) -> Any:
    """One of them, made anew."""
    return _tables()[name]()[name]


@functools.cache
def _tables() -> dict[str, Callable[[], dict[str, Any]]]:
    return {name: table for table in TABLES for name in table()}
