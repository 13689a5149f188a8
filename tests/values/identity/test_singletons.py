"""Singletons: what is compared by ``is`` comes back as that very object, and what holds data stays data."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import importlib
import inspect
import math
import sys
from dataclasses import dataclass
from typing import ClassVar
from unittest import mock

import attrs
import numpy as np
import pandas as pd
import pytest

from valuestore import Repository, Scheduler, task
from valuestore.errors import DecodeError, NotHashableError
from valuestore.values.registry import TypeRegistry


class _Unset:
    pass


class Named:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"<{self.name}>"


class Slotted:
    __slots__ = ("label",)

    def __init__(self, label):
        self.label = label


class Level:
    LOW: ClassVar[Level]

    def __init__(self, name, rank):
        self.name, self.rank = name, rank


Level.LOW = Level("LOW", 1)


class One:
    _one = None

    def __new__(cls):
        if cls._one is None:
            cls._one = super().__new__(cls)
            cls._one.settings = {"rate": [1, 2]}
        return cls._one


def double(x):
    return 2 * x


class Rich:
    """One, which holds what is not equal to its copy."""

    _one = None

    def __new__(cls):
        if cls._one is None:
            cls._one = super().__new__(cls)
            cls._one.held = [functools.partial(double, 1), np.arange(3), math.nan, Named("x")]
        return cls._one


class Way(enum.Enum):
    CALLED = enum.member(functools.partial(double, 3))
    HELD = Named("y")
    UNKNOWN = math.nan
    NESTED = {"a": [Named("z"), (functools.partial(max, key=double),)]}  # noqa: RUF012


class Once(type):
    _made: ClassVar[dict] = {}

    def __call__(cls, *args):
        if cls not in Once._made:
            Once._made[cls] = super().__call__(*args)
        return Once._made[cls]


class ByMeta(metaclass=Once):
    def __init__(self, size=3):
        self.size = size


class Symbol:
    _all: ClassVar[dict] = {}

    def __new__(cls, text):
        if text not in cls._all:
            cls._all[text] = super().__new__(cls)
            cls._all[text].text = text
        return cls._all[text]


class ByKey:
    _all: ClassVar[dict] = {}

    def __new__(cls, *key):
        return cls._all.setdefault(key, super().__new__(cls))


class Itself:
    def __init__(self):
        self.parts = (1, 2)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


class Reduced:
    def __reduce__(self):
        return "REDUCED"


class Pair:
    def __new__(cls, *parts):
        pair = super().__new__(cls)
        pair.parts = parts
        return pair


@dataclass(frozen=True)
class Nothing:
    pass


@attrs.define
class NoField:
    pass


@dataclass
class Row:
    weight: float = 0.5


class Model:
    def __init__(self, weights):
        self.weights = weights


class Holder:
    HELD = _Unset()


UNSET, OTHER = _Unset(), _Unset()
MISSING, MISSING_TOO = object(), object()
NAMED, BRACKETS, SLOTTED = Named("NAMED"), Named("<BRACKETS>"), Slotted("SLOTTED")
ONE, BY_META, SYMBOL, ITSELF, REDUCED = One(), ByMeta(), Symbol("+"), Itself(), Reduced()
NOTHING, NO_FIELD = Nothing(), NoField()
ROW, MODEL, PAIR = Row(), Model([0.5]), Pair(1, 2)

KEPT = {
    "of a class without content": UNSET,
    "another of that class": OTHER,
    "object()": MISSING,
    "another object()": MISSING_TOO,
    "by its own name": NAMED,
    "by its own name in brackets": BRACKETS,
    "in a slot": SLOTTED,
    "attribute of its own class": Level.LOW,
    "attribute of a class": Holder.HELD,
    "by __new__": ONE,
    "by __new__, with parts that are told by who they are": Rich(),
    **{f"member of an enum: {way.name}": way for way in Way},
    "by a metaclass": BY_META,
    "one of some by __new__": SYMBOL,
    "that copies as itself": ITSELF,
    "that pickles by name": REDUCED,
    "dataclass without fields": NOTHING,
    "attrs without fields": NO_FIELD,
    "dataclasses.MISSING": dataclasses.MISSING,
    "attrs.NOTHING": attrs.NOTHING,
    "inspect.Parameter.empty": inspect.Parameter.empty,
    "ellipsis": ...,
    "NotImplemented": NotImplemented,
    "pandas.NA": pd.NA,
    "pandas.NaT": pd.NaT,
    "numpy.ma.masked": np.ma.masked,
    "numpy._NoValue": np._NoValue,
}


@pytest.fixture
def registry(tmp_path):
    with Repository.open(tmp_path) as repository:
        yield repository.archive.registry


@pytest.mark.parametrize("name", KEPT)
def test_it_comes_back_as_that_very_object(registry, name):
    one = KEPT[name]
    assert registry.load(registry.dump(one)) is one
    back = registry.load(registry.dump([{"a": (one, Model(one))}]))
    assert back[0]["a"][0] is one
    assert back[0]["a"][1].weights is one


def test_two_of_one_class_are_two_values(registry):
    pairs = [(UNSET, OTHER), (MISSING, MISSING_TOO), (UNSET, Holder.HELD)]
    assert all(registry.hash(one) != registry.hash(other) for one, other in pairs)


def test_what_holds_data_is_that_wherever_it_is_held(registry):
    for held, fresh in ((ROW, Row()), (MODEL, Model([0.5])), (PAIR, Pair(1, 2))):
        assert registry.hash(held) == registry.hash(fresh)
        assert registry.load(registry.dump(held)) is not held
    assert registry.hash(_Unset()) == registry.hash(_Unset())  # that no name leads to: no more than its class
    assert registry.hash(Named("x")) == registry.hash(Named("x"))


def test_one_that_no_name_leads_to_is_refused(registry):
    with pytest.raises(NotHashableError, match="keep it in a variable of its module"):
        registry.hash(object())
    with pytest.raises(NotHashableError, match=r"ByKey\._all keeps it by a key that says no name"):
        registry.hash(ByKey(1))
    with pytest.raises(NotHashableError, match=r"known as sentinel\.X"):
        registry.hash(mock.sentinel.X)


def test_a_name_that_leads_elsewhere_by_now_gives_no_object(registry, monkeypatch):
    stored = {name: registry.dump(globals()[name]) for name in ("UNSET", "MISSING", "NAMED", "SYMBOL")}
    monkeypatch.setitem(globals(), "UNSET", Model(1))
    monkeypatch.setitem(globals(), "MISSING", 1)
    monkeypatch.delitem(globals(), "NAMED")
    monkeypatch.setattr(Symbol, "_all", {"+": PAIR})
    for payload in stored.values():
        with pytest.raises(DecodeError, match="leads to no such object here"):
            registry.load(payload)


def test_one_whose_content_changed_gives_no_object(registry, monkeypatch):
    payload = registry.dump(ONE)
    before = registry.hash(ONE)
    monkeypatch.setitem(ONE.settings, "rate", [3])
    assert registry.hash(ONE) != before
    with pytest.raises(DecodeError, match="leads to no such object here"):
        registry.load(payload)


@pytest.mark.parametrize(
    ("way", "other"),
    [
        (Way.CALLED, functools.partial(double, 4)),
        (Way.CALLED, functools.partial(max, 3)),
        (Way.HELD, Named("other")),
        (Way.UNKNOWN, 1.0),
        (Way.NESTED, {"a": [Named("z"), (functools.partial(max, key=abs),)]}),
    ],
)
def test_a_member_that_has_another_value_by_now_is_none(registry, monkeypatch, way, other):
    payload = registry.dump(way)
    monkeypatch.setattr(way, "_value_", other)
    with pytest.raises(DecodeError, match="is gone or has another value"):
        registry.load(payload)


def test_a_name_needs_a_signature_and_imports_nothing(registry):
    for one in (UNSET, MISSING, NOTHING, Level.LOW):
        assert registry.encode(one).codec == "signed"
    stored = registry.dump(UNSET)
    sys.modules.pop("this", None)
    forged = dataclasses.replace(stored, data=stored.data.replace(b"UNSET", b"OTHER"))
    with pytest.raises(Exception, match="signature"):
        registry.load(forged)


def test_a_shell_s_last_result_is_no_name(registry, monkeypatch):
    monkeypatch.setitem(globals(), "_", UNSET)
    before = registry.hash(UNSET)
    monkeypatch.delitem(globals(), "_")
    assert registry.hash(UNSET) == before


def test_a_module_loaded_anew_has_another_one(tmp_path, monkeypatch):
    (tmp_path / "sentinels_of_old.py").write_text("UNSET = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("sentinels_of_old")
    old = module.UNSET
    registry = TypeRegistry()
    payload = registry.dump(old)
    importlib.reload(module)
    assert registry.load(payload) is module.UNSET
    with pytest.raises(NotHashableError, match="nothing tells one object"):
        registry.hash(old)
    monkeypatch.delitem(sys.modules, "sentinels_of_old")


@task
def told(x, a=UNSET, b=MISSING, c=NAMED, options=(OTHER, {"k": Level.LOW})):
    return [a is UNSET, b is MISSING, c is NAMED, options[0] is OTHER, options[1]["k"] is Level.LOW]


@task
def given_back():
    return [UNSET, MISSING, One()]


def test_a_body_is_given_the_very_default(tmp_path):
    with Repository.open(tmp_path) as repository, Scheduler(repository) as scheduler:
        assert scheduler.run(told(1)) == [True] * 5
        assert scheduler.run(told(1, a=OTHER, b=MISSING_TOO, c=copy.copy(NAMED))) == [False] * 3 + [True] * 2


PROGRAM = """
from valuestore import Repository, Scheduler, task

class _Unset:
    pass

UNSET = _Unset()
MISSING = object()

@task
def give():
    print("give")
    return {"unset": UNSET, "missing": [MISSING]}

@task
def take(found, default=MISSING):
    print("take")
    return [found["unset"] is UNSET, found["missing"][0] is MISSING, default is MISSING]

with Repository.open(".") as repository, Scheduler(repository) as scheduler:
    print(scheduler.run(take(give())), scheduler.run(give())["unset"] is UNSET)
"""


def test_a_result_is_that_object_in_the_next_process(tmp_path, scripts):
    (tmp_path / "pipeline.py").write_text(PROGRAM)
    first, second = (scripts.run(tmp_path / "pipeline.py", strict=True) for _ in range(2))
    assert (first.out.split("\n"), second.out, second.code) == (
        ["give", "take", "[True, True, True] True", ""],
        "[True, True, True] True\n",
        0,
    )
