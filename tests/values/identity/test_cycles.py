"""Cycles: objects that lead back to themselves have an identity, and come back as the same graph."""

from __future__ import annotations

import types
import weakref
from dataclasses import dataclass, field
from typing import Any

import attrs
import pydantic
import pytest

from valuestore import Repository, Value
from valuestore.errors import NotHashableError


class Node:
    def __init__(self, name, parent=None):
        self.name, self.parent, self.children = name, parent, []
        if parent is not None:
            parent.children.append(self)


@dataclass
class Data:
    name: Any = None
    parent: Any = None
    children: list[Any] = field(default_factory=list)


@attrs.define
class Attrs:
    name: Any = None
    parent: Any = None
    children: list[Any] = attrs.field(factory=list)


class Model(pydantic.BaseModel):
    name: Any = None
    parent: Any = None
    children: list[Any] = []


class Own(Value):
    def __init__(self, name=None):
        self.name, self.parent, self.children = name, None, []


class Slots:
    __slots__ = ("children", "name", "parent")

    def __init__(self, name=None):
        self.name, self.parent, self.children = name, None, []


CLASSES = [Node, Data, Attrs, Model, Own, Slots]


def family(cls, *names):
    root = cls(name="root")
    for name in names:
        child = cls(name=name)
        child.parent = root
        root.children.append(child)
    return root


@pytest.fixture
def registry(here):
    with Repository.open() as repository:
        yield repository.archive.registry


def there_and_back(registry, obj):
    encoded = registry.encode(obj)
    back = registry.load(encoded.payload, encoded.value_hash)
    assert registry.hash(back) == encoded.value_hash == registry.hash(obj)
    return encoded.codec, back


@pytest.mark.parametrize("cls", CLASSES)
def test_parent_links_come_back(registry, cls):
    codec, back = there_and_back(registry, family(cls, "a", "b"))
    assert codec == "pickle"
    assert [child.name for child in back.children] == ["a", "b"]
    assert all(child.parent is back for child in back.children)
    assert type(back) is cls


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_on_a_loop_tells_objects_apart(registry, cls):
    objs = [
        family(cls, "a"), family(cls, "b"), family(cls, "a", "a"), family(cls, "a").children[0],
        family(cls, family(cls, "a")), family(cls),
    ]  # fmt: skip
    other = family(cls, "a")
    other.children[0].parent = family(cls, "a")
    assert len({registry.hash(obj) for obj in [*objs, other]}) == 7


@pytest.mark.parametrize("cls", CLASSES)
def test_a_part_comes_back_with_all_that_it_leads_to(registry, cls):
    _, back = there_and_back(registry, family(cls, "a", "b").children[1])
    assert back.parent.children[1] is back
    assert back.parent.children[0].parent is back.parent


@pytest.mark.parametrize("cls", CLASSES)
def test_objects_with_loops_are_parts_of_others(registry, cls):
    root = family(cls, "a")
    codec, back = there_and_back(registry, {"roots": [root, root.children[0]], "set": {1}})
    assert codec == "signed"
    assert back["roots"][0].children[0].parent is back["roots"][0]
    assert back["roots"][1].parent.children[0] is back["roots"][1]
    assert registry.hash([root, root]) == registry.hash([root, family(cls, "a")])


def test_a_loop_may_begin_at_a_container(registry):
    for make in (lambda data: [data], lambda data: (data,), lambda data: {"k": data}):
        data = Data()
        data.parent = loop = make(data)
        _, back = there_and_back(registry, loop)
        [inner] = back.values() if isinstance(back, dict) else back
        assert inner.parent is back
        there_and_back(registry, [loop, 1])


def test_a_part_is_told_by_the_way_to_it_and_not_by_who_met_it_first(registry):
    """What is shared inside a loop has one form below one end of it and another below the other."""
    one, two = Data("one"), Data("two")
    one.parent, two.parent = two, one
    shared = Data("shared", one)
    one.children = [shared, two, shared]
    alone = {id(obj): registry.hash([obj]) for obj in (one, two, shared)}
    for first, second in ((one, two), (two, one), (shared, one), (one, shared)):
        separate = Data(first), Data(second)
        assert registry.hash([first, second, first]) == registry.hash([first, second, first])
        _, back = there_and_back(registry, [first, second, *separate])
        assert [registry.hash([part]) for part in back[:2]] == [alone[id(first)], alone[id(second)]]


def test_what_many_share_beside_the_loop_is_written_once_for_each(registry):
    shared = {"weights": list(range(1000))}
    root = family(Data, *range(200))
    for child in root.children:
        child.children = [shared]
    _, back = there_and_back(registry, root)
    assert back.children[7].children[0] is back.children[8].children[0]


def renamed(self):
    return self.name


def test_a_method_that_an_object_was_given(registry):
    node = Node("n")
    node.go = types.MethodType(renamed, node)
    _, back = there_and_back(registry, node)
    assert back.go() == "n"
    assert back.go.__self__ is back


def test_files_inside_a_loop_are_found(registry, here):
    from valuestore import File

    (here / "f.txt").write_text("content")
    root = family(Node, "a")
    root.file = File("f.txt")
    encoded = registry.encode(root)
    assert [part.external for part in encoded.parts] == ["f.txt"]
    payload = encoded.payload
    assert registry.is_valid(registry.load(payload))
    (here / "f.txt").write_text("other content")
    assert not registry.is_valid(registry.load(payload))


class Forgets:
    def __init__(self):
        self.me, self.name = self, "name"

    def __reduce__(self):
        return _forgotten, (self.name,)


def _forgotten(name):
    made = Forgets()
    made.name = name
    return made


@dataclass
class Partly:
    me: Any = None
    name: str = "name"

    def __getstate__(self):
        return {"me": self.me}


def refusal(registry, obj, ask="hash"):
    with pytest.raises(NotHashableError) as caught:
        getattr(registry, ask)(obj)
    return str(caught.value)


def test_a_way_to_be_pickled_that_leaves_something_out_is_found_out(registry):
    there_and_back(registry, Forgets())
    partly = Partly(name="mine")
    partly.me = partly
    assert "leaves something out" in refusal(registry, [partly, 1], "dump")


def test_weak_references_are_refused_with_what_to_do(registry):
    node = Node("n")
    for weak in (
        weakref.ref(node), weakref.proxy(node), weakref.WeakSet([node]), weakref.WeakValueDictionary(n=node)
    ):  # fmt: skip
        node.weak = [weak]
        assert "value.weak[0]: a " in (text := refusal(registry, node))
        assert text.endswith("does not keep what it refers to; hold the object itself")


@pytest.mark.timeout(60)
def test_a_loop_of_very_many_steps_is_refused_without_a_crash(registry):
    first = last = Node(0)
    for number in range(200_000):
        after = Node(number)
        last.parent, last = after, after
    last.parent = first
    assert "nested too deeply" in refusal(registry, first)


@pytest.mark.timeout(60)
def test_parts_that_all_lead_to_each_other_are_refused(registry):
    nodes = [Data(number) for number in range(12)]
    for node in nodes:
        node.children = list(nodes)
    assert "in so many ways" in refusal(registry, nodes[0])
