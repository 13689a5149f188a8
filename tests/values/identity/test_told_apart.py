"""Values that differ in a way that is easy to miss have two hashes or none; equal ones have one hash."""

from __future__ import annotations

import collections
import decimal
import functools
import re
import sys
import typing
import zoneinfo
from functools import cached_property

import numpy as np
import pytest
from scipy import special

from tests.values.identity import twins
from valuestore import Value
from valuestore.errors import ConfigError, NotHashableError
from valuestore.values import get_type_registry

registry = get_type_registry()


@functools.lru_cache
def doubled(x):
    return 3 * x


T = typing.TypeVar("T")


class Saving:
    @cached_property
    def x(self):
        return 1


class Plain(Saving):
    """Has an attribute of the name under which its parent saves time."""

    x = None

    def __init__(self, x):
        self.x = x


class Node:
    __slots__ = ("__at",)

    def __init__(self, at):
        self.__at = at


class Hidden:
    __slots__ = ("_at",)

    def __init__(self, at):
        object.__setattr__(self, "_at", at)

    def __getattribute__(self, name):
        if name == "_at":
            raise AttributeError(name)
        return object.__getattribute__(self, name)


class Slotted:
    __slots__ = ("at",)


class Shadowing(Slotted):
    __slots__ = ("at",)

    def __init__(self, below, at):
        Slotted.at.__set__(self, below)
        self.at = at


class Behind(Slotted):
    def __init__(self, below):
        Slotted.at.__set__(self, below)

    at = property(lambda self: 0)


class Veiled:
    def __init__(self, at):
        object.__getattribute__(self, "__dict__")["at"] = at

    __dict__ = property(lambda self: {})


class Factory:
    def __init__(self, kind):
        self.kind = kind

    def build(self, at):
        return Product(self, at)


class Product:
    def __init__(self, factory, at):
        self.factory, self.at = factory, at

    def __reduce__(self):
        return self.factory.build, (self.at,)


class Single:
    def __reduce__(self):
        return "SINGLE"


SINGLE = Single()
Row = collections.namedtuple("Row", "x y")
OtherRow = collections.namedtuple("Row", "x y")


class Doubling:
    """Its property would change what it is given."""

    def __init__(self, x):
        self.x = x

    @property
    def x(self):
        return self.__dict__["x"]

    @x.setter
    def x(self, x):
        self.__dict__["x"] = 2 * x


class Either:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class EitherValue(Value):
    def __init__(self, **attributes):
        vars(self).update(attributes)


def with_default(x=1):
    return x


def changed(obj, **attributes):
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj


def of_file(name):
    key = "Europe/Paris"
    for folder in zoneinfo.TZPATH:
        try:
            with open(f"{folder}/{name}", "rb") as stream:
                return zoneinfo.ZoneInfo.from_file(stream, key=key)
        except OSError:
            continue
    return re.compile("no such zone here")


PAIRS = {
    "cached functions of two modules": (doubled, twins.doubled),
    "type variables of two modules": (T, twins.T),
    "attribute over a saved one": (Plain(1), Plain(2)),
    "slot read through no __getattribute__": (Hidden(1), Hidden(2)),
    "slot below another of its name": (Shadowing(1, 3), Shadowing(2, 3)),
    "slot below a property": (Behind(1), Behind(2)),
    "dictionary below a property": (Veiled(1), Veiled(2)),
    "made by methods of two objects": (Product(Factory(1), 5), Product(Factory(2), 5)),
    "not the one of that name": (SINGLE, Single()),
    "named tuples of one name": (Row(1, 2), OtherRow(1, 2)),
    "OrderedDict": (collections.OrderedDict(), changed(collections.OrderedDict(), more=1)),
    "Counter": (collections.Counter(), changed(collections.Counter(), more=1)),
    "ChainMap": (collections.ChainMap(), changed(collections.ChainMap(), more=1)),
    "UserString": (collections.UserString(""), changed(collections.UserString(""), more=1)),
    "zone of a file": (zoneinfo.ZoneInfo("Europe/Paris"), of_file("Asia/Tokyo")),
    "SyntaxError": (SyntaxError("a"), changed(SyntaxError("a"), lineno=4)),
    "OSError": (OSError("a"), changed(OSError("a"), errno=4)),
    "SystemExit": (SystemExit(1), changed(SystemExit(1), code=4)),
    "StopIteration": (StopIteration(1), changed(StopIteration(1), value=4)),
    "ImportError": (ImportError("a"), changed(ImportError("a"), msg="b")),
    "UnicodeDecodeError": tuple(
        changed(UnicodeDecodeError("utf-8", b"ab", 0, 1, ""), start=start) for start in (0, 1)
    ),
}


def digest(obj):
    try:
        return registry.hash(obj)
    except NotHashableError:
        return None


@pytest.mark.parametrize("name", PAIRS)
def test_different_values_have_different_hashes(name):
    one, other = map(digest, PAIRS[name])
    assert one is None or one != other


@pytest.mark.parametrize(
    "error", [pair[1] for pair in PAIRS.values() if isinstance(pair[1], BaseException)], ids=repr
)
def test_what_an_exception_keeps_beside_its_arguments_comes_back(error):
    assert registry.hash(registry.load(registry.dump(error))) == registry.hash(error)


def test_a_function_counts_with_its_defaults(monkeypatch):
    before = registry.hash(with_default)
    monkeypatch.setattr(with_default, "__defaults__", (2,))
    assert registry.hash(with_default) != before


def test_a_cached_function_comes_back_as_itself():
    assert registry.load(registry.dump(doubled)) is doubled


def test_loading_runs_no_property_of_the_class():
    assert registry.load(registry.dump(Doubling(2))).x == 4


def test_slots_of_private_names_come_back():
    node = registry.load(registry.dump(Node(7)))
    assert node._Node__at == 7


@pytest.mark.parametrize("cls", [Either, EitherValue])
def test_the_order_in_which_attributes_were_set_does_not_count(cls):
    assert registry.hash(cls(a=1, b=2)) == registry.hash(cls(b=2, a=1))


def test_a_decimal_does_not_depend_on_the_context():
    before = registry.hash(decimal.Decimal("1E+30"))
    with decimal.localcontext(decimal.Context(prec=1, capitals=0)):
        assert registry.hash(decimal.Decimal("1E+30")) == before
        assert registry.load(registry.dump(decimal.Decimal("1.25"))) == decimal.Decimal("1.25")


def test_two_value_classes_cannot_have_one_type_name():
    with pytest.raises(ConfigError, match="cannot both have it"):
        exec("class Other(Value): type_name = taken", {**globals(), "taken": EitherValue.type_name})


@pytest.mark.parametrize("kind", [type(None), list[int], int | None], ids=str)
def test_types_and_aliases_of_python_are_values(kind):
    assert registry.hash(kind) != registry.hash(dict[str, int])


def test_arrays_with_attributes_of_their_own_are_refused():
    for array in (np.ma.masked_array([1], [False]), np.array([(1,)], "i4,").view(np.recarray)):
        registry.hash(array)
        array.note = "kept nowhere"
        with pytest.raises(NotHashableError, match="note"):
            registry.hash(array)


def test_numpy_functions_are_not_those_of_other_libraries():
    assert registry.hash(np.log1p) != registry.hash(special.log1p)
    assert "numpy" in sys.modules
