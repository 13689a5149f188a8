"""Names of classes: one that goes by another name is found, one that leads elsewhere is refused."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import sys
import types
from collections import namedtuple
from typing import NamedTuple

import attrs
import pytest

from valuestore import Repository, Value
from valuestore.errors import NotHashableError

Point = namedtuple("Pt", "x y")  # of another name, on purpose


class Typed(NamedTuple):
    x: int


Line = dataclasses.make_dataclass("Row", [("x", int)])
Made = attrs.make_class("Mk", ["x"])
Colour = enum.Enum("Color", "RED")
Failure = type("Err", (Exception,), {"__module__": __name__})
Plain = type("Pl", (), {"__module__": __name__})
Text = type("Tx", (str,), {"__module__": __name__})
One = namedtuple("Two", "x")  # two classes of one name
Other = namedtuple("Two", "x")

for cls in (Line, Made, Colour):
    cls.__module__ = __name__


class Owner:
    Inner = namedtuple("In", "x")  # found in no module


@pytest.fixture
def registry(tmp_path):
    with Repository.open(tmp_path) as repository:
        yield repository.archive.registry


@pytest.mark.parametrize(
    "obj",
    [Point(1, 2), Typed(1), Line(1), Made(1), Colour.RED, Failure("x"), Plain(), Text("x")],
    ids=lambda obj: type(obj).__name__,
)
def test_a_class_that_goes_by_another_name_comes_back(registry, obj):
    for value in (obj, [{"a": obj}]):
        back = registry.load(registry.dump(value))
        assert type(back if value is obj else back[0]["a"]) is type(obj)
        assert registry.hash(back) == registry.hash(value)


def test_a_name_that_leads_to_none_or_several_is_refused(registry):
    for obj in (Owner.Inner(1), One(1), Other(1), [Owner.Inner(1)]):
        with pytest.raises(NotHashableError, match="leads to no class; name the class as the variable"):
            registry.hash(obj)


def test_a_class_of_a_module_that_nobody_imported_is_refused(registry):
    module = types.ModuleType("not_in_sys_modules")
    exec("class Row:\n    pass", vars(module))
    module.Row.__module__ = module.__name__
    with pytest.raises(NotHashableError, match=r"the name not_in_sys_modules\.Row leads to no class"):
        registry.hash(module.Row())


KINDS = """
import dataclasses, enum
from typing import NamedTuple
import attrs, pydantic
from valuestore import Value

@dataclasses.dataclass
class Row: x: int = 1
class Pair(NamedTuple): x: int = 1
class Level(enum.Enum): LOW = 1
@attrs.define
class Made: x: int = 1
class Model(pydantic.BaseModel): x: int = 1
class Failure(Exception): pass
class Plain: pass
class Text(str): pass
class Span(Value): pass
"""
OF_KIND = {
    "Row": lambda cls: cls(),
    "Pair": lambda cls: cls(),
    "Level": lambda cls: cls.LOW,
    "Made": lambda cls: cls(),
    "Model": lambda cls: cls(),
    "Failure": lambda cls: cls("x"),
    "Plain": lambda cls: cls(),
    "Text": lambda cls: cls("x"),
    "Span": lambda cls: cls(),
}


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    (tmp_path / "kinds_defined_anew.py").write_text(KINDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("kinds_defined_anew")
    yield module
    monkeypatch.delitem(sys.modules, "kinds_defined_anew")


@pytest.mark.parametrize("name", OF_KIND)
@pytest.mark.parametrize("was_met", [True, False])
def test_what_was_made_before_its_class_was_defined_anew_is_refused(registry, kinds, name, was_met):
    make = OF_KIND[name]
    old = make(getattr(kinds, name))
    if was_met:
        payload = registry.dump(old)
    importlib.reload(kinds)
    with pytest.raises(NotHashableError, match="defined anew. then make it again"):
        registry.hash([old])
    new = make(getattr(kinds, name))
    assert type(registry.load(registry.dump(new))) is type(new)
    if was_met:
        assert type(registry.load(payload)) is type(new)  # what is stored is of the class of today


def test_a_local_value_may_stand_in_for_another(registry):
    class Local(Value):
        type_name = "tests.StandsIn"

    assert type(registry.load(registry.dump(Local()))) is Local
