"""Which kind everything is of that a program with the scientific stack can name: I9, shown class by class."""

from __future__ import annotations

import builtins
import functools
import gc
import os
import subprocess
import types
from importlib import import_module

import pytest

from valuestore.plugins import BUILTIN
from valuestore.values.code.ownership import is_own
from valuestore.values.identity.builtins import BUILTIN_RULES, PLAIN_TYPE_NAMES
from valuestore.values.registry import TypeRegistry
from valuestore.values.trust.kinds import BY_NAME, LIBRARIES, STANDARD, Kind
from valuestore.values.value import Value, find_class, type_name_of, value_types

STACK = (
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "scipy.sparse",
    "scipy.stats",
    "PIL.Image",
    "pydantic",
    "attrs",
)
RISKY = (os, subprocess, builtins, types, functools)


@pytest.fixture(scope="module")
def registry():
    for library in STACK:
        import_module(library)
    registry = TypeRegistry()
    for library in BUILTIN["types"]:
        if library != "torch":
            registry._load_types(library)
    return registry


def every_class():
    """All classes there are here, by the name that a row would name them by."""
    found = {}
    for cls in [cls for cls in gc.get_objects() if issubclass(type(cls), type)]:
        try:
            name = type_name_of(cls)
        except Exception:
            continue
        if find_class(name) is cls:
            found[name] = cls
    return found


def kind_named(registry, name):
    try:
        return registry.opening_named(name)[0].kind
    except Exception as error:
        assert type(error).__name__ == "DecodeError", name
        return None


def test_every_class_is_of_one_kind(registry):
    kinds = {name: kind_named(registry, name) for name in every_class()}
    assert len(kinds) > 2000
    inert = {name for name, kind in kinds.items() if kind is Kind.INERT}
    assert inert <= STANDARD.keys() | LIBRARIES.keys()
    data = {name: find_class(name) for name, kind in kinds.items() if kind is Kind.DATA}
    for name, cls in data.items():
        rule = registry.rule_named(name)
        assert rule.family, name
        is_builtin_exception = issubclass(cls, BaseException) and cls.__module__ == "builtins"
        of_library = not is_own(cls.__module__) and not cls.__module__.startswith("valuestore.")
        assert rule.family == "enum" or is_builtin_exception or not of_library, name
        assert not hasattr(cls, "__del__"), name
    assert {Kind.INERT, Kind.DATA, Kind.VOUCHED} <= {*kinds.values()}


@pytest.mark.parametrize("module", RISKY, ids=lambda module: module.__name__)
def test_nothing_of_a_module_that_acts_loads_without_a_key(registry, module):
    for name, member in vars(module).items():
        cls = member if isinstance(member, type) else type(member)
        kind = kind_named(registry, type_name_of(cls))
        plain = cls in PLAIN_TYPE_NAMES or issubclass(cls, BaseException)
        allowed = plain or type_name_of(cls) in STANDARD or "Enum" in type(cls).__name__
        assert allowed or kind in (Kind.VOUCHED, None), (name, kind)
        if callable(member) and not isinstance(member, type):
            assert kind in (Kind.VOUCHED, None), (name, kind)


def test_every_rule_of_ours_is_in_the_table(registry):
    rules = [rule.type_name for rule in BUILTIN_RULES]
    for target in BUILTIN["types"].values():
        module, _, attribute = target.partition(":")
        if not module.endswith("torch"):
            rules += [rule.type_name for rule in getattr(import_module(module), attribute)]
    listed = STANDARD.keys() | LIBRARIES.keys() | BY_NAME
    assert {*rules} <= listed
    external = {name for name in STANDARD if name.startswith("valuestore.")}
    windows_and_posix = {name for name in listed if name.startswith("pathlib.")}
    assert listed - {*rules} - external - windows_and_posix <= {"torch.Tensor", "torch.nn.Parameter"}


def test_every_value_type_of_ours_is_of_a_kind_on_purpose(registry):
    ours = {name for name, cls in value_types.items() if cls.__module__.startswith("valuestore.")}
    assert {name for name in ours if kind_named(registry, name) is Kind.INERT} == {
        f"valuestore.{name}" for name in ("File", "FileSet", "Dir", "StagingFile", "StagingDir")
    } & ours
    assert {name for name in ours if kind_named(registry, name) is Kind.DATA} == set()


class Span(Value):
    def __init__(self, start):
        self.start = start

    @classmethod
    def from_state(cls, state):
        return cls(state["start"])


def test_the_settings_name_classes_that_load_without_a_key():
    name = f"{__name__}.Span"
    payload = TypeRegistry().bound("xxh3-128", None, [name]).dump([Span(1)])
    assert payload.codec == "tagged"
    assert TypeRegistry().dump([Span(1)]).codec == "signed"
    with pytest.raises(Exception, match="no key signed it"):
        TypeRegistry().load(payload)
    assert TypeRegistry().bound("xxh3-128", None, [name]).load(payload)[0].start == 1
