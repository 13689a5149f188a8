"""Classes that need no registration, each family run through the contract of values."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import functools
import ipaddress
import math
import operator
import re
import subprocess
import sys
import types
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import attr
import attrs
import msgspec
import pydantic
import pytest

from valuestore.errors import DecodeError, NotHashableError
from valuestore.testing import CodecContract, ValueContract
from valuestore.values import Codec, TypeRegistry, TypeRule, get_type_registry

RAN: list[str] = []
GOLDEN = (
    Path(__file__).parents[1] / "golden" / "families"
)  # of classes by their module: do not move this file
T = TypeVar("T")


@attrs.define
class Defined:
    x: int
    _private: str = "p"
    derived: int = attrs.field(init=False)

    def __attrs_post_init__(self):
        RAN.append("attrs")
        self.derived = self.x * 2

    @functools.cached_property
    def slow(self):
        return self.x


@attrs.frozen(cache_hash=True)
class Frozen:
    items: tuple = ()


@attr.s
class Old:
    x = attr.ib(default=1)
    __name = attr.ib(default=2)


@attrs.define
class Child(Defined):
    y: Any = None


class TestAttrs(ValueContract):
    golden = GOLDEN / "attrs.json"
    examples: ClassVar = {
        "defined": Defined(1),
        "private differs": Defined(1, private="q"),
        "derived": Defined(2),
        "frozen": Frozen((1,)),
        "frozen with a set": Frozen(({1, 2},)),
        "old": Old(),
        "old other": Old(3),
        "child": Child(1, y=[Defined(1)]),
    }


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int
    y: list[int] = []
    _private: int = 5

    @pydantic.field_validator("x")
    @classmethod
    def checked(cls, x):
        RAN.append("validator")
        return x


class Closed(pydantic.BaseModel):
    inner: Model | None = None

    @functools.cached_property
    def slow(self):
        return 1


class Box(pydantic.BaseModel, Generic[T]):
    content: T


class Rooted(pydantic.RootModel[list[int]]):
    _private: int = 5

    @pydantic.field_validator("root")
    @classmethod
    def checked(cls, root):
        RAN.append("validator")
        return root


class RootedBox(pydantic.RootModel[T], Generic[T]):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    x: int
    tags: set[str] = dataclasses.field(default_factory=set)


def private(value):
    model = Model(x=1)
    model._private = value
    return model


class TestPydantic(ValueContract):
    golden = GOLDEN / "pydantic.json"
    examples: ClassVar = {
        "model": Model(x=1),
        "default set": Model(x=1, y=[]),
        "extra": Model(x=1, z=3),
        "private": private(6),
        "nested": Closed(inner=Model(x=2)),
        "closed": Closed(),
        "generic": Box(content=1),
        "generic int": Box[int](content=1),
        "generic str": Box[str](content="1"),
        "dataclass": Checked(1),
        "dataclass with set": Checked(1, {"a", "b", "c"}),
    }


class Struct(msgspec.Struct):
    a: int
    b: list = []

    def __post_init__(self):
        RAN.append("msgspec")


class Tagged(msgspec.Struct, frozen=True, tag="t", kw_only=True):
    a: int
    b: Any = None


class Loose(msgspec.Struct, dict=True):
    a: int


def loose():
    struct = Loose(1)
    struct.extra = {2, 3}
    return struct


class TestMsgspec(ValueContract):
    golden = GOLDEN / "msgspec.json"
    examples: ClassVar = {
        "struct": Struct(1),
        "with list": Struct(1, [1, {2}]),
        "tagged": Tagged(a=1),
        "tagged nested": Tagged(a=1, b=Struct(2)),
        "loose": Loose(1),
        "loose with extra": loose(),
    }

    def same(self, one, other):
        return one == other and getattr(one, "__dict__", {}) == getattr(other, "__dict__", {})


class TestStandardLibrary(ValueContract):
    golden = GOLDEN / "standard_library.json"
    examples: ClassVar = {
        "ordered": collections.OrderedDict(a=1, b=2),
        "ordered other": collections.OrderedDict(b=2, a=1),
        "defaultdict": collections.defaultdict(list, a=[1]),
        "defaultdict none": collections.defaultdict(None, a=[1]),
        "defaultdict set": collections.defaultdict(set, a={1}),
        "counter": collections.Counter("abca"),
        "deque": collections.deque([1, 2]),
        "deque bounded": collections.deque([1, 2], maxlen=2),
        "chain map": collections.ChainMap({"a": 1}, {"b": 2}),
        "user dict": collections.UserDict(a=1),
        "user list": collections.UserList([1]),
        "user string": collections.UserString("a"),
        "array of bytes": array.array("b", [1, 2]),
        "array of doubles": array.array("d", [1, 2]),
        "namespace": types.SimpleNamespace(a=1, b={2}),
        "proxy": types.MappingProxyType({"a": 1}),
        "pattern": re.compile("a+", re.IGNORECASE),
        "pattern of bytes": re.compile(b"a+"),
        "ipv4": ipaddress.ip_address("127.0.0.1"),
        "ipv6 with scope": ipaddress.ip_address("fe80::1%eth0"),
        "network": ipaddress.ip_network("10.0.0.0/8"),
        "interface": ipaddress.ip_interface("10.0.0.1/8"),
        "partial": functools.partial(math.pow, 2),
        "getter": operator.itemgetter("a"),
        "function": math.sqrt,
        "class": uuid.UUID,
        "module": math,
    }

    def same(self, one, other):
        if isinstance(one, functools.partial | operator.itemgetter):
            return repr(one) == repr(other)
        return one == other and getattr(one, "maxlen", 0) == getattr(other, "maxlen", 0)


class Ordinary:
    def __init__(self, x):
        RAN.append("ordinary")
        self.x = x

    def __eq__(self, other):
        return self.__dict__ == other.__dict__


class Slotted(Ordinary):
    __slots__ = ("_Slotted__hidden",)


class Names(list):
    pass


class Mode(str, enum.Enum):  # noqa: UP042  # as older code has it
    READ = "r"


class TestOwnClasses(ValueContract):
    golden = GOLDEN / "own_classes.json"
    examples: ClassVar = {
        "ordinary": Ordinary(1),
        "nested": Ordinary([Ordinary({1, 2})]),
        "slotted": Slotted(1),
        "list subclass": Names([1]),
        "list subclass empty": Names(),
        "enum over str": Mode.READ,
    }


# --- what the contract cannot tell ------------------------------------------------------------------


@pytest.mark.parametrize("obj", [Defined(1), Model(x=1), Rooted([1]), Struct(1), Ordinary(1), Checked(1)])
def test_loading_runs_no_code_of_the_class(registry, obj):
    payload = registry.dump(obj)
    RAN.clear()
    assert registry.load(payload) == obj
    assert RAN == []


def test_what_attrs_and_pydantic_keep_to_save_time_is_no_part_of_the_value(registry):
    used, fresh = Defined(1), Defined(1)
    assert used.slow == 1
    hashed = Frozen((1,))
    hash(hashed)
    model = Closed()
    assert model.slow == 1
    assert registry.hash(used) == registry.hash(fresh)
    assert registry.hash(hashed) == registry.hash(Frozen((1,)))
    assert registry.hash(model) == registry.hash(Closed())


def test_loaded_models_are_whole(registry):
    model = registry.load(registry.dump(Model(x=1, z=3)))
    assert (model.z, model._private, model.model_fields_set) == (3, 5, {"x", "z"})
    assert model.model_dump() == {"x": 1, "y": [], "z": 3}
    assert type(registry.load(registry.dump(Box[int](content=1)))) is Box[int]


def test_root_models_are_values(registry):
    one, other = Rooted([1]), Rooted([1])
    other._private = 6
    assert registry.hash(one) != registry.hash(other)
    for model in (one, other, RootedBox[int](1), RootedBox([1]), Closed(inner=Model(x=1, more=Rooted([2])))):
        back = registry.load(registry.dump(model))
        assert (type(back), back) == (type(model), model)
        assert registry.hash(back) == registry.hash(model)
        assert back.model_dump() == model.model_dump()
    assert registry.load(registry.dump(other))._private == 6


def test_a_field_added_later_makes_the_old_payload_unreadable(registry, monkeypatch):
    payloads = [registry.dump(Defined(1)), registry.dump(Tagged(a=1))]
    later = attrs.make_class("Defined", ["x", "added"])
    struct = msgspec.defstruct("Tagged", ["a", "added"])
    for cls in (later, struct):
        cls.__module__ = __name__
        monkeypatch.setattr(sys.modules[__name__], cls.__name__, cls)
    for payload in payloads:
        with pytest.raises(DecodeError, match="added"):
            TypeRegistry().load(payload)


def test_what_pickle_is_needed_for_is_little(registry):
    """Of what typical programs hold, no example above needs a pickle: a registry without a key stores it."""
    contracts = (TestAttrs, TestPydantic, TestMsgspec, TestStandardLibrary, TestOwnClasses)
    objects = [obj for contract in contracts for obj in contract.examples.values()]
    assert [obj for obj in objects if registry.rule_of(obj).codec is not None] == []


def test_locks_and_objects_of_extension_classes_are_not_their_attributes(registry):
    import sqlite3
    import threading

    with closing(sqlite3.connect(":memory:")) as connection:
        for obj in (threading.Lock(), threading.RLock(), connection):
            with pytest.raises(NotHashableError):
                registry.hash(obj)


# --- a format of one's own --------------------------------------------------------------------------


@dataclasses.dataclass
class Grid:
    rows: int
    cells: bytes


def _grid(data):
    data = bytes(data)
    if len(data) < 4 or len(data) % int.from_bytes(data[:4], "big"):
        raise ValueError("not whole rows")
    return Grid(int.from_bytes(data[:4], "big"), data[4:])


GRID = Codec("grid", lambda grid: [grid.rows.to_bytes(4, "big"), memoryview(grid.cells)], _grid)
get_type_registry().register(
    TypeRule(Grid, "tests.Grid", lambda g: [g.rows, g.cells], lambda s: Grid(*s), codec=GRID)
)


class TestGridCodec(CodecContract):
    codec = GRID
    examples: ClassVar = {"two": Grid(2, b"ab"), "four": Grid(4, b"abcdabcd")}


class TestGridValue(ValueContract):
    golden = GOLDEN / "grid.json"
    type = Grid
    examples = TestGridCodec.examples


# --- worker processes -------------------------------------------------------------------------------

SCRIPT = """
import dataclasses, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from valuestore.values import Value
from valuestore.values import get_type_registry as rules
from valuestore.values.codecs.signed import Signer
from valuestore.values.trust.keys import KeyRing

def get_type_registry():
    return rules().bound("xxh3-128", Signer("r", lambda: KeyRing(Path("keys").absolute())))

@dataclasses.dataclass
class Row:
    x: object

class Own(Value):
    def __init__(self, x):
        self.x = x

def double(x):
    return 2 * x

def loaded(payload):
    registry = get_type_registry()
    obj = registry.load(payload)
    return registry.hash(obj), registry.dump(obj)

if __name__ == "__main__":
    registry = get_type_registry()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for obj in (Row({1, 2}), [Own(Row(1))], double, Row):
            digest, payload = pool.submit(loaded, registry.dump(obj)).result()
            assert digest == registry.hash(obj), obj
            assert type(registry.load(payload)) is type(obj)
    print(registry.dump(Row(1)).type_name)
"""


def test_a_class_of_a_script_survives_a_trip_to_a_worker_process(tmp_path):
    (tmp_path / "census.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "error", "census.py"]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["census.Row"]
