"""Functions, classes and modules as values: by name and code; what is gone comes back as such."""

from __future__ import annotations

import functools
import importlib
import json
import math
import operator
import os.path
import pathlib
import re
import sys
import threading
import types
from collections import defaultdict

import pytest

from valuestore.errors import DecodeError, MissingFunctionError, NotHashableError
from valuestore.values.code.callables import MissingFunction, is_missing_function
from valuestore.values.registry import TypeRegistry

SOURCE = """
import dataclasses

FACTOR = 3

def helper(x):
    return x * FACTOR

def scale(x):
    return helper(x)

class Scaler:
    def __init__(self, by):
        self.by = by
    def scale(self, x):
        return x * self.by
    @classmethod
    def double(cls):
        return cls(2)
    @staticmethod
    def half(x):
        return x / 2

lambdas = {"a": lambda x: x}

def make():
    def inner(x):
        return x
    return inner
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """``module(source)`` imports that source, as a program started anew would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(source=SOURCE):
        (tmp_path / "ownfuncs.py").write_text(source)
        sys.modules.pop("ownfuncs", None)
        importlib.invalidate_caches()
        return importlib.import_module("ownfuncs")

    yield load
    sys.modules.pop("ownfuncs", None)


def refusal(registry, obj):
    with pytest.raises(NotHashableError) as caught:
        registry.hash(obj)
    return str(caught.value)


LIBRARY = [
    len, math.sqrt, json.dumps, os.path.join, operator.add, functools.reduce, sorted, dict.fromkeys, print,
    str.upper, list.append, int.__add__, int, dict, pathlib.Path, defaultdict, threading.Lock, Exception,
    type,
    math, os.path, json, functools.partial(math.pow, 2), functools.partial(json.dumps, indent=1),
    operator.itemgetter(1, "a"), operator.attrgetter("a.b"), operator.methodcaller("f", 1),
    operator.methodcaller("f", 1, key=2), types.SimpleNamespace, re.compile,
]  # fmt: skip


@pytest.mark.parametrize("obj", LIBRARY, ids=lambda obj: getattr(obj, "__name__", type(obj).__name__))
def test_what_a_library_holds_comes_back_by_name(registry, obj):
    loaded = registry.load(registry.dump(obj))
    if isinstance(obj, functools.partial):
        assert (loaded.func, loaded.args, loaded.keywords) == (obj.func, obj.args, obj.keywords)
    elif type(obj).__module__ == "operator":
        assert repr(loaded) == repr(obj)
    else:
        assert loaded is obj or loaded == obj == dict.fromkeys
    assert registry.hash(loaded) == registry.hash(obj)


def test_their_digests_all_differ(registry):
    assert len({registry.hash(obj) for obj in LIBRARY}) == len(LIBRARY)


def test_classes_that_moved_inside_the_standard_library_keep_their_name(registry):
    assert b"pathlib.Path" in registry.dump(pathlib.Path).data
    assert b"_operator" not in registry.dump(operator.add).data


MEMBERS = {
    "function": lambda own: own.scale,
    "class": lambda own: own.Scaler,
    "method": lambda own: own.Scaler.scale,
    "static method": lambda own: own.Scaler.half,
    "bound": lambda own: own.Scaler(5).scale,
    "class method": lambda own: own.Scaler.double,
    "module": lambda own: own,
    "partial": lambda own: functools.partial(own.scale, 2),
    "inside": lambda own: {"f": [own.scale]},
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_own_code_comes_back_and_counts_by_its_code(registry, module, kind):
    first = module()
    payload, digest = registry.dump(MEMBERS[kind](first)), registry.hash(MEMBERS[kind](first))
    assert registry.hash(MEMBERS[kind](module(SOURCE.replace("* FACTOR", "*  FACTOR  # scaled")))) == digest
    same = registry.load(payload)
    assert registry.hash(same) == digest
    assert registry.is_valid(same)
    changed = (
        SOURCE.replace("x * self.by", "x * self.by + 1")
        .replace("x / 2", "x // 2")
        .replace("cls(2)", "cls(3)")
    )
    after = module(changed.replace("FACTOR = 3", "FACTOR = 4"))
    assert registry.hash(MEMBERS[kind](after)) != digest
    stale = registry.load(payload)
    assert not registry.is_valid(stale)
    del sys.modules["ownfuncs"]
    try:
        assert not registry.is_valid(registry.load(payload))
    except DecodeError:
        assert kind == "bound"  # the object that it is bound to is of a class that is not there


def test_bound_method_works_when_loaded(registry, module):
    assert registry.load(registry.dump(module().Scaler(5).scale))(2) == 10


def test_missing_function_says_which_and_why(registry, module):
    payload = registry.dump(module().scale)
    changed = module(SOURCE.replace("= 3", "= 4"))
    stub = registry.load(payload)
    assert is_missing_function(stub)
    assert "ownfuncs.scale" in repr(stub)
    assert "changed" in repr(stub)
    with pytest.raises(MissingFunctionError, match=r"ownfuncs\.scale.*changed"):
        stub(1)
    del changed.scale
    assert "not imported" in repr(registry.load(payload))
    again = registry.load(registry.dump(stub))
    assert (again.name, again.is_valid()) == (stub.name, False)
    assert isinstance(again, MissingFunction)


def test_both_digest_algorithms_find_their_functions_unchanged(module):
    for algorithm in ("xxh3-128", "blake3-256"):
        registry = TypeRegistry(algorithm)
        found = module()
        assert registry.load(registry.dump(found.scale)) is found.scale


def test_what_no_name_leads_to_is_refused_with_the_reason(registry, module):
    own = module()
    assert "lambda" in refusal(registry, {"f": own.lambdas["a"]})
    assert "value['f']" in refusal(registry, {"f": own.lambdas["a"]})
    assert "inside a function" in refusal(registry, own.make())
    hidden = own.helper
    own.helper = own.scale
    assert "leads to another object" in refusal(registry, hidden)
    assert "bound to an object" in refusal(registry, [].append)
    assert "leads to another module" in refusal(registry, types.ModuleType("math"))


def test_default_factories_are_values(registry, module):
    own = module()
    for factory in (None, list, int, own.scale):
        loaded = registry.load(registry.dump(defaultdict(factory, a=1)))
        assert loaded.default_factory is factory
    assert "lambda" in refusal(registry, defaultdict(lambda: 0))
