"""The Values inside an object: found once each, replaced wherever they may be, and nothing else touched."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic
import pytest

from valuestore.errors import NotHashableError
from valuestore.values.value import Value


class Mark(Value):
    def __init__(self, text: str, valid: bool = True) -> None:
        self.text = text
        self.valid = valid

    def is_valid(self) -> bool:
        return self.valid


@dataclass(frozen=True)
class Holder:
    mark: Any
    made = 0

    def __post_init__(self):
        Holder.made += 1


class Pair(NamedTuple):
    left: Any
    right: Any


@attrs.frozen
class Framed:
    mark: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    mark: Any
    items: list[Any] = []


class Struct(msgspec.Struct):
    mark: Any


def louder(value):
    return Mark(value.text.upper())


CONTAINERS = {
    "itself": lambda m: m,
    "list": lambda m: [1, m],
    "tuple": lambda m: (m, 2),
    "set": lambda m: {m, 3},
    "frozenset": lambda m: frozenset({m}),
    "dict value": lambda m: {"a": [m]},
    "dict key": lambda m: {m: 1},
    "deque": lambda m: collections.deque([m], maxlen=4),
    "ordered": lambda m: collections.OrderedDict(a=m),
    "defaultdict": lambda m: collections.defaultdict(None, a=m),
    "named tuple": lambda m: Pair(1, m),
    "dataclass": Holder,
    "attrs": Framed,
    "pydantic": lambda m: Model(mark=m, items=[m]),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_values_are_replaced_wherever_they_are(registry, name):
    obj = CONTAINERS[name](Mark("a"))
    made = Holder.made
    mapped = registry.map_values(obj, louder)
    assert type(mapped) is type(obj)
    assert {value.text for value in registry.iter_values(mapped)} == {"A"}
    assert registry.hash(mapped) == registry.hash(CONTAINERS[name](Mark("A")))
    assert Holder.made == made + (name == "dataclass")
    assert [value.text for value in registry.iter_values(obj)] == ["a"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_an_object_in_which_nothing_was_replaced_is_the_same_object(registry, name):
    obj = CONTAINERS[name](Mark("a"))
    assert registry.map_values(obj, lambda value: value) is obj


def test_plain_data_and_foreign_objects_are_left_alone(registry):
    for obj in ([1, {"a": (2.5, b"x")}], {1: [None]}, object(), Struct(1)):
        assert registry.map_values(obj, louder) is obj


def test_a_value_met_twice_is_replaced_by_one_object(registry):
    mark = Mark("a")
    one, (other,) = registry.map_values([mark, (mark,)], louder)
    assert one is other
    assert [value.text for value in registry.iter_values([mark, (mark,)])] == ["a"]


def test_what_contains_itself_is_refused_and_what_shares_parts_is_not(registry):
    endless: list[Any] = [Mark("a")]
    endless.append(endless)
    with pytest.raises(NotHashableError, match="contains itself"):
        registry.map_values(endless, louder)
    assert len(list(registry.iter_values(endless))) == 1
    shared: Any = [Mark("a")]
    for _ in range(60):
        shared = [shared, shared]
    mapped = registry.map_values(shared, louder)
    assert mapped[0] is mapped[1]
    assert registry.is_valid(shared)
    assert not registry.is_valid([shared, Mark("b", valid=False)])
