"""Identity: one digest for one content, in every process and Python version (invariant I8)."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestore.errors import NotHashableError
from valuestore.values.identity.canonical import TypeRule
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Value

GOLDEN = Path(__file__).parents[2] / "golden"
sys.path.insert(0, str(GOLDEN))

import cases  # noqa: E402  # the golden cases are also a script, run by other Pythons

FROZEN = json.loads((GOLDEN / "digests.json").read_text())

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner)
    ),
    max_leaves=20,
)
anything = st.recursive(
    plain
    | st.datetimes()
    | st.timedeltas()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner)
        | st.frozensets(st.integers() | st.text() | st.none())
        | st.dictionaries(st.text(), inner)
    ),
    max_leaves=20,
)


@pytest.fixture
def registry() -> TypeRegistry:
    return TypeRegistry()


def same(one: object, other: object) -> bool:
    """Equality that tells 1, 1.0 and True, 0.0 and -0.0 apart and takes NaN for itself. Shares no code."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(k, m) and same(v, w) for (k, v), (m, w) in zip(one.items(), other.items(), strict=True)
        )
    return one == other


@pytest.mark.parametrize("name", FROZEN)
def test_digest_is_the_frozen_one(name):
    assert cases.digests()[name] == FROZEN[name]


def test_every_case_is_frozen_and_differs_from_all_others():
    assert set(FROZEN) == set(cases.CASES)
    assert len(set(FROZEN.values())) == len(FROZEN)


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_digests_are_the_same_in_a_fresh_process_under_any_hash_seed(seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    printed = subprocess.run(
        [sys.executable, str(GOLDEN / "cases.py")],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(printed.stdout) == FROZEN


def test_digests_survive_a_pickle_round_trip():
    assert cases.digests_after_pickle_round_trip() == FROZEN


def test_other_algorithm_gives_other_digests_of_the_same_cases():
    digests = cases.digests("blake3-256")
    assert {len(digest) for digest in digests.values()} == {64}
    assert len(set(digests.values())) == len(FROZEN)


@given(plain, plain)
def test_equal_digest_means_equal_content(one, other):
    registry = TypeRegistry()
    assert (registry.hash(one) == registry.hash(other)) == same(one, other)


@given(anything)
def test_a_deep_copy_has_the_same_digest(obj):
    registry = TypeRegistry()
    assert registry.hash(copy.deepcopy(obj)) == registry.hash(obj)


def test_shared_and_equal_parts_hash_alike(registry):
    shared = "".join(["ab", "cd"])
    assert registry.hash([shared, shared]) == registry.hash(["abcd", "".join(["abc", "d"])])


def test_nan_of_any_bits_is_one_value(registry):
    negative_nan = float("inf") - float("inf")
    assert registry.hash(negative_nan) == registry.hash(float("nan"))
    assert registry.hash([{"x": negative_nan}]) == registry.hash([{"x": float("nan")}])


def test_text_that_looks_like_an_encoded_nan_is_still_itself(registry):
    text = "G\x7f\x7f"
    assert registry.hash([text, b"G\x7f\xf8"]) != registry.hash([text, b"G\x7f\xf9"])


def test_set_order_does_not_count_at_any_depth(registry):
    numbers = list(range(1000))
    assert registry.hash({"s": {*numbers}}) == registry.hash({"s": {*reversed(numbers)}})


# --- what has no identity -------------------------------------------------------------------------


@dataclass
class Model:
    weights: object


def generator():
    yield


def refusal(registry, obj):
    with pytest.raises(NotHashableError) as caught:
        registry.hash(obj)
    return str(caught.value)


def test_path_to_what_has_no_identity_is_named(registry):
    bad = {"args": [1, {"model": Model([0, generator()])}]}
    assert "value['args'][1]['model'].weights[1]" in refusal(registry, bad)


def test_lock_function_and_unknown_object_are_refused_with_advice(registry):
    assert "lock" in refusal(registry, threading.Lock())
    assert "function" in refusal(registry, [lambda: 1])
    assert "register a TypeRule" in refusal(registry, object())


class Rows(list):
    pass


def test_list_subclass_does_not_pass_for_a_list(registry):
    assert registry.hash(Rows([1])) != registry.hash([1])
    assert registry.hash([Rows([1])]) != registry.hash([[1]])


def test_cycle_is_refused_at_once_with_its_path(registry):
    inner: dict[str, object] = {}
    outer = [0, inner]
    inner["up"] = outer
    assert "value[1]['up']: it contains itself".replace("cannot", "") in refusal(registry, outer)


def test_endless_depth_is_refused_without_a_crash(registry):
    deep: list[object] = []
    for _ in range(20_000):
        deep = [deep]
    assert "nested too deeply" in refusal(registry, deep)


def test_class_defined_in_a_function_is_refused(registry):
    @dataclass
    class Local:
        x: int = 1

    assert "inside a function" in refusal(registry, Local())


def test_identity_that_raises_is_contained_and_located(registry):
    class Moody:
        pass

    def angry(_obj):
        raise ZeroDivisionError("not today")

    registry.register(TypeRule(Moody, "Moody", angry, lambda _: Moody()))
    message = refusal(registry, {"m": Moody()})
    assert "value['m']" in message
    assert "not today" in message


def test_dict_changed_by_a_thread_gives_a_typed_error_or_a_digest(registry):
    changing = {str(i): {i} for i in range(200)}
    stop = threading.Event()

    def change() -> None:
        i = 0
        while not stop.is_set():
            changing[f"new{i % 50}"] = {i}
            changing.pop(f"new{(i + 25) % 50}", None)
            i += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(50):
            try:
                registry.hash(changing)
            except NotHashableError as error:
                assert "changed" in str(error)
    finally:
        stop.set()
        thread.join()


class Slotted(Value):
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Listed(list, Value):
    pass


class Base:
    __slots__ = ("hidden",)


@dataclass
class Derived(Base):
    x: int = 0


def test_slots_are_part_of_a_value(registry):
    assert registry.hash(Slotted(1)) != registry.hash(Slotted(2))
    assert registry.load(registry.dump(Slotted(1))).x == 1
    one, two = Derived(), Derived()
    one.hidden, two.hidden = 1, 2
    assert registry.hash(one) != registry.hash(two)


def test_value_over_a_list_needs_an_identity_of_its_own(registry):
    assert "identity of its own" in refusal(registry, Listed([1]))


def test_values_of_a_class_factory_are_refused_unless_named(registry):
    class Local(Value):
        pass

    class Named(Value):
        type_name = "tests.Named"

    assert "inside a function" in refusal(registry, Local())
    assert registry.hash(Named())
