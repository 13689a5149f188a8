"""Bad input: a typed error that names the path, at once; never a hang, never a wrong equality."""

from __future__ import annotations

import collections
import datetime
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from valuestore.errors import DecodeError, NotHashableError
from valuestore.values.registry import TypeRegistry


def refusal(registry, obj):
    with pytest.raises(NotHashableError) as caught:
        registry.hash(obj)
    return str(caught.value)


@dataclass
class Node:
    left: Any
    right: Any = None


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def shared(step, levels=60):
    obj: Any = 1
    for _ in range(levels):
        obj = step(obj)
    return obj


SHARING = {
    "lists": lambda: shared(lambda x: [x, x]),
    "tuples": lambda: shared(lambda x: (x, x)),
    "dict values": lambda: shared(lambda x: {"a": x, "b": x}),
    "unequal sides": lambda: shared(lambda x: [1, [x], {"k": (x, 2)}]),
    "wide": lambda: shared(lambda x: [x] * 1000, 4),
    "dataclasses": lambda: shared(lambda x: Node(x, x)),
    "attributes": lambda: shared(lambda x: Plain(one=x, two=x)),
    "inside a dataclass": lambda: Node(shared(lambda x: [x, x])),
    "behind other data": lambda: [1, {"a": [2, (3, shared(lambda x: [x, x]))]}],
    "the last of some parts": lambda: {"a": [1], "b": [2], "c": [3], "d": [4], "e": shared(lambda x: [x, x])},
    "below one of many parts": lambda: [*([i] for i in range(60)), {"a": [shared(lambda x: (x, x))]}],
    "with a set": lambda: [{1}, shared(lambda x: [x, x])],
    "deques": lambda: shared(lambda x: collections.deque([x, x])),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", SHARING)
def test_parts_that_are_shared_exponentially_often_are_refused_at_once(registry, name):
    assert "shared so often" in refusal(registry, SHARING[name]())


def test_parts_that_are_shared_within_reason_are_written_out(registry):
    row = [1, 2, 3]
    assert registry.hash([row] * 1000) == registry.hash([[1, 2, 3] for _ in range(1000)])
    node = Node(row, row)
    assert registry.hash([node, node]) == registry.hash(
        [Node([1, 2, 3], [1, 2, 3]), Node([1, 2, 3], [1, 2, 3])]
    )
    assert registry.load(registry.dump(shared(lambda x: [x, x], 10))) == shared(lambda x: [x, x], 10)


def deep(step):
    return shared(step, 20_000)


@pytest.mark.parametrize(
    "step", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, Node, lambda x: Plain(x=x)]
)
def test_twenty_thousand_levels_are_refused(registry, step):
    obj = deep(step)
    assert "nested too deeply" in refusal(registry, obj)
    while not isinstance(obj, int):  # taken apart, or freeing it would recurse as deep
        obj = next(
            iter(
                obj.values()
                if isinstance(obj, dict)
                else vars(obj).values()
                if hasattr(obj, "__dict__")
                else obj
            )
        )


def test_containers_that_contain_themselves_are_refused(registry):
    ordered = collections.OrderedDict()
    ordered["k"] = ordered
    assert "contains itself" in refusal(registry, ordered)


def test_numbers_at_the_edges_come_back(registry):
    million_digits = 10**1_000_000 - 1
    for number in (million_digits, -million_digits, -0.0, float("inf"), 5e-324, 2**1023):
        loaded = registry.load(registry.dump([number]))[0]
        assert (loaded, str(loaded)[:1] if isinstance(number, float) else 0) == (
            number,
            str(number)[:1] if isinstance(number, float) else 0,
        )
    assert "digits" in registry.encode([million_digits]).preview
    nan = registry.load(registry.dump(float("nan")))
    assert nan != nan
    assert registry.hash(-0.0) != registry.hash(0.0)


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\udfff\ud800", "\U0010ffff", "e\u0301"])
def test_odd_text_comes_back_and_has_an_ascii_preview(registry, text):
    for obj in (text, [text], {text: text}, Node(text)):
        encoded = registry.encode(obj)
        assert registry.load(encoded.payload) == obj
        assert encoded.preview.isascii()
        assert "\0" not in encoded.preview


# --- objects that lie or fail ------------------------------------------------------------------------


class FailsToReduce:
    def __reduce__(self):
        raise ZeroDivisionError("no reduce")


class ReducesToNonsense:
    def __reduce__(self):
        return 1, 2


class LiesAboutItsClass:
    @property
    def __class__(self):
        return int


class NoEquality:
    def __init__(self):
        self.x = 1

    def __eq__(self, other):
        raise ZeroDivisionError("no eq")

    __hash__ = None  # type: ignore[assignment]


class AnyAttribute:
    def __init__(self):
        self.x = 1

    def __getattr__(self, name):
        raise ZeroDivisionError(f"no {name}")


class FailsToDie:
    def __init__(self):
        self.x = 1

    def __del__(self):
        self.y = 2


def test_reductions_that_fail_or_are_nonsense_are_located(registry):
    assert "value['k'][0]" in (text := refusal(registry, {"k": [FailsToReduce()]}))
    assert "no reduce" in text
    assert "value[1]" in refusal(registry, [0, ReducesToNonsense()])


def test_an_object_that_lies_about_its_class_is_what_it_is(registry):
    assert registry.hash(LiesAboutItsClass()) != registry.hash(0)
    assert type(registry.load(registry.dump([LiesAboutItsClass()]))[0]) is LiesAboutItsClass


def test_equality_and_destructors_are_not_asked(registry):
    for cls in (NoEquality, FailsToDie):
        assert registry.hash([cls(), cls()]) == registry.hash([cls(), cls()])
        assert registry.load(registry.dump(cls())).x == 1


def test_attribute_access_that_raises_is_contained(registry):
    try:
        assert registry.load(registry.dump([AnyAttribute()]))[0].x == 1
    except NotHashableError as error:
        assert "value[0]" in str(error)


class Moment(datetime.datetime):
    pass


def test_an_attribute_that_a_reduction_leaves_out_is_not_ignored(registry):
    one = Moment(2026, 1, 1)
    assert (
        registry.hash(one)
        == registry.hash(Moment(2026, 1, 1))
        != registry.hash(datetime.datetime(2026, 1, 1))
    )
    one.note = "extra"
    assert "note" in refusal(registry, one)


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class Raw(bytes):
    pass


class Rows(list):
    def __iter__(self):
        return iter(["lie"])


class Table(dict):
    def items(self):
        return [("lie", 0)]


class Both(tuple):
    pass


class Bag(set):
    pass


@pytest.mark.parametrize(
    ("obj", "base"),
    [(Text("a"), "a"), (Number(1), 1), (Real(1), 1.0), (Raw(b"a"), b"a"), (Rows([1]), [1]),
     (Table(a=1), {"a": 1}), (Both((1,)), (1,)), (Bag({1}), {1})],
)  # fmt: skip
def test_a_subclass_never_hashes_like_its_base_and_comes_back_whole(registry, obj, base):
    assert len({registry.hash(obj), registry.hash(base), registry.hash(type(obj)())}) == 3
    obj.note = [1]
    loaded = registry.load(registry.dump({"k": obj}))["k"]
    assert (type(loaded), loaded.note, type(base).__eq__(loaded, base)) == (type(obj), [1], True)
    assert registry.hash(loaded) == registry.hash(obj)
    assert registry.hash([obj]) != registry.hash([base])


class OwnError(ValueError):
    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")
        self.code = code


@pytest.mark.parametrize(
    "error",
    [ValueError("x", 1), KeyError("k"), OSError(2, "gone", "a/b"), OwnError(3, "d"),
     ImportError("m", name="n"),
     UnicodeDecodeError("utf-8", b"a", 0, 1, "bad"), StopIteration(5), ExceptionGroup("g", [ValueError(1)])],
    ids=repr,
)  # fmt: skip
def test_exceptions_come_back_without_their_code_run(registry, error):
    loaded = registry.load(registry.dump([error]))[0]
    assert (type(loaded), str(loaded)) == (type(error), str(error))
    assert getattr(loaded, "filename", None) == getattr(error, "filename", None)
    assert vars(loaded).keys() == vars(error).keys()
    assert registry.hash(loaded) == registry.hash(error)


def test_a_vanished_class_deep_inside_is_a_decode_error(registry, monkeypatch):
    payload = registry.dump({"k": [Text("a"), OwnError(1, "x")]})
    monkeypatch.delattr(sys.modules[__name__], "OwnError")
    with pytest.raises(DecodeError, match="OwnError"):
        TypeRegistry().load(payload)


def test_a_list_that_changes_as_it_is_read_gives_a_digest_or_a_typed_error(registry):
    class Changing(Node):
        pass

    changing = {"a": {1}}

    class Grower:
        def __reduce__(self):
            changing[len(changing)] = {2}
            return Plain, ()

    Grower.__qualname__ = "Grower"
    changing["b"] = Grower()
    assert "changed" in refusal(registry, changing)


def test_many_frozensets_are_hashed_and_leave_no_trace(registry):
    many = [[frozenset([number]) for number in range(60)]] * 2
    assert registry.load(registry.dump(many)) == many
    for number in range(200):
        assert registry.hash([frozenset([number])]) != registry.hash([[[number]]])


class Answering(type):
    def __getattr__(cls, name):
        raise KeyError(name)


class Answered(metaclass=Answering):
    def __init__(self):
        self.parts = [1]


def test_metaclass_that_raises_for_what_it_has_not(registry):
    back = registry.load(registry.dump(Answered()))
    assert (type(back), back.parts) == (Answered, [1])
