"""Inside: what is found in which containers, how they are rebuilt, and containers that lie or fail."""

from __future__ import annotations

import collections
import time
import types
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import attrs
import pydantic
import pytest

from valuestore.errors import NotHashableError
from valuestore.values.identity.inside import container_of, find


class Leaf:
    pass


class Pair(NamedTuple):
    left: Any
    right: Any = 0


class Shifted(Pair):
    """A named tuple with methods, as they were written before there was ``NamedTuple``."""

    def __iter__(self):
        raise AssertionError("no code of it runs")


@dataclass
class Checked:
    part: Any
    derived: Any = field(init=False)

    def __post_init__(self):
        if isinstance(self.part, str):
            raise ValueError("not a text")
        self.derived = [self.part]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Slotted:
    part: Any


@dataclass
class Answering:
    part: Any

    def __getattr__(self, name):
        return Leaf()

    def __getattribute__(self, name):
        return [Leaf()]

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


@attrs.frozen(cache_hash=True)
class Hashed:
    part: Any

    @cached_property
    def shown(self):
        return repr(self.part)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, extra="allow")
    part: Any
    _kept: Any = pydantic.PrivateAttr(default=None)


CONTAINERS = {
    "list": lambda x: [1, x],
    "tuple": lambda x: (x,),
    "dict": lambda x: {"a": 1, "b": x},
    "dict key": lambda x: {x: 1},
    "set": lambda x: {1, x},
    "frozenset": lambda x: frozenset({x}),
    "deque": lambda x: collections.deque([1, x], maxlen=2),
    "OrderedDict": lambda x: collections.OrderedDict(b=x, a=2),
    "defaultdict": lambda x: collections.defaultdict(list, a=x),
    "Counter": lambda x: collections.Counter({"a": x}),
    "ChainMap": lambda x: collections.ChainMap({"a": 1}, {"a": x}),
    "namespace": lambda x: types.SimpleNamespace(**{"a": x, "not a name": 2}),
    "proxy": lambda x: types.MappingProxyType(collections.OrderedDict(a=x)),
    "named tuple": lambda x: Pair(x, 2),
    "named tuple's child": lambda x: Shifted(x, 2),
    "dataclass": Checked,
    "slots": Slotted,
    "attrs": Hashed,
    "pydantic": lambda x: Model(part=1, more=[x]),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_leaves_are_replaced_in_every_container_that_can_be_rebuilt(name):
    leaf = Leaf()
    outer = [CONTAINERS[name](leaf), "beside"]
    found = find(outer, Leaf)
    assert {id(one) for one in found.leaves} == {id(leaf)}
    (rebuilt, _) = found.replaced(lambda _: 7)
    assert type(rebuilt) is type(outer[0])
    assert repr(tuple.__repr__(rebuilt) if isinstance(rebuilt, tuple) else rebuilt) == repr(
        tuple.__repr__(expected) if isinstance(expected := CONTAINERS[name](7), tuple) else expected
    )
    assert find(outer, Leaf).leaves[0] is leaf


def test_no_code_of_the_class_runs_when_an_object_is_rebuilt():
    made = find(Checked(Leaf()), Leaf).replaced(lambda _: "text")
    assert made.part == "text"
    assert made.derived == ["text"]
    answering = object.__new__(Answering)
    object.__setattr__(answering, "part", leaf := Leaf())
    found = find(answering, Leaf)
    assert found.leaves == [leaf]
    assert object.__getattribute__(found.replaced(lambda _: 1), "part") == 1


def test_hash_and_cached_properties_are_those_of_the_new_parts():
    before = Hashed(Leaf())
    assert hash(before)
    assert "Leaf" in before.shown
    after = find(before, Leaf).replaced(lambda _: 1)
    assert hash(after) == hash(Hashed(1))
    assert after.shown == "1"


def test_private_and_extra_attributes_of_a_model_are_looked_into():
    model = Model(part=1, extra=(Leaf(),))
    model._kept = Leaf()
    after = find(model, Leaf).replaced(lambda _: 5)
    assert after.extra == (5,)
    assert after._kept == 5
    assert after.model_fields_set == {"part", "extra"}


def test_a_field_that_is_missing_stays_missing():
    slotted, checked = object.__new__(Slotted), Checked(Leaf())
    del checked.derived
    after = find([slotted, checked], Leaf).replaced(lambda _: 5)
    assert after[0] is slotted
    assert vars(after[1]) == {"part": 5}


def test_attributes_beside_the_parts_are_not_lost():
    ordered: Any = collections.OrderedDict(a=Leaf())
    ordered.unit = "kg"
    assert find(ordered, Leaf).replaced(lambda _: 1).unit == "kg"
    shifted: Any = Shifted(Leaf())
    shifted.unit = "kg"
    assert find(shifted, Leaf).replaced(lambda _: 1).unit == "kg"


class Longer(list):  # type: ignore[type-arg]
    def __len__(self):
        return 10**9


class Weird:
    def __getattr__(self, name):
        return [Leaf()]

    def __eq__(self, other):
        raise RuntimeError("no equality")

    def __hash__(self):
        raise RuntimeError("no hash")


class Failing(collections.abc.Mapping):  # type: ignore[type-arg]
    def __getitem__(self, key):
        raise RuntimeError("no items")

    def __iter__(self):
        raise RuntimeError("no keys")

    __len__ = __iter__  # type: ignore[assignment]


@pytest.mark.parametrize(
    "obj",
    [
        Longer([Leaf()]),
        type("D", (dict,), {})(a=Leaf()),
        type("S", (set,), {})([Leaf()]),
        time.gmtime(0),
        Failing(),
        weakref.ref(Leaf),
        type("E", (), {"__slots__": ("part",)})(),
        collections.UserList([1]),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_what_may_hold_more_than_its_parts_say_is_not_looked_into(obj):
    assert container_of(type(obj)) is None
    found = find([obj], Leaf)
    assert found.leaves == []
    assert found.others == [obj]


def test_objects_without_hash_or_equality_do_no_harm():
    weird, leaf = Weird(), Leaf()
    after = find([weird, Pair(weird, leaf), types.MappingProxyType(Failing())], Leaf).replaced(lambda _: 1)
    assert after[0] is weird
    assert after[1].left is weird
    assert after[1].right == 1


def test_parts_met_twice_are_rebuilt_once_and_others_are_passed_as_they_are():
    shared, plain = [Leaf()], [1, {"a": [object()]}]
    asked = []
    after = find([shared, (shared,), plain, shared[0]], Leaf).replaced(lambda leaf: asked.append(leaf) or 3)
    assert len(asked) == 1
    assert after == [[3], ([3],), plain, 3]
    assert after[0] is after[1][0]
    assert after[2] is plain


def test_what_shares_parts_is_walked_once():
    grown: Any = [Leaf()]
    for _ in range(60):
        grown = Pair(grown, [grown])
    after = find(grown, Leaf).replaced(lambda _: 3)
    assert after.left is after.right[0]


def test_plain_cycles_are_refused_and_those_through_objects_only_with_leaves():
    endless: list[Any] = []
    endless.append({"a": endless})
    with pytest.raises(NotHashableError, match="contains itself"):
        find(endless, Leaf)
    parent = types.SimpleNamespace(children=[])
    parent.children.append(types.SimpleNamespace(parent=parent))
    after = find([parent, Leaf()], Leaf).replaced(lambda _: 1)
    assert after == [parent, 1]
    assert after[0] is parent
    parent.children.append(Leaf())
    with pytest.raises(NotHashableError, match="contains itself"):
        find([parent], Leaf)


def test_depth_and_length_of_cycles_are_bounded_by_memory_alone():
    first = last = types.SimpleNamespace()
    for _ in range(100_000):
        last.next = types.SimpleNamespace(first=first, before=last)
        last = last.next
    assert find(first, Leaf).leaves == []
    deep: Any = Leaf()
    for _ in range(10_000):
        deep = [deep]
    after = find(deep, Leaf).replaced(lambda _: 1)
    for _ in range(10_000):
        (after,) = after
    assert after == 1
