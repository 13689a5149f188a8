"""Layered keeps the contract, takes writes in its first store, and reads the first that has a key."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import (
    AlreadyExists,
    ConfigError,
    NotFound,
    NotSupported,
    StoreClosed,
    StoreUnavailable,
)
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import Layered, Tiered
from valuestore.testing import StoreContract, StoreMachine


class TestTieredFirst(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Tiered(FileStore(tmp_path / "fast"), FileStore(tmp_path / "slow"), write="first")


class TestLayeredOfThree(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Layered(*(FileStore(tmp_path / name) for name in "abc"))


class FirstMachine(StoreMachine):
    def open_store(self):
        return Layered(MemoryStore(self.place), MemoryStore(self.place + "/slow"))

    @rule(data=st.data())
    def push(self, data):
        if self.expected:
            key = data.draw(st.sampled_from(sorted(self.expected)))
            was_first = MemoryStore(self.place).exists(key)
            try:
                self.store.push(key)
            except NotFound:
                assert not was_first
            else:
                assert MemoryStore(self.place + "/slow").exists(key)
            assert not MemoryStore(self.place).exists(key)


class ThreeMachine(FirstMachine):
    def open_store(self):
        return Layered(*(MemoryStore(self.place + name) for name in ("", "/slow", "/base")))

    @rule(data=st.data())
    def push_further(self, data):
        """As a program would that knows the two lower layers alone."""
        below = Layered(MemoryStore(self.place + "/slow"), MemoryStore(self.place + "/base"))
        keys = MemoryStore(self.place + "/slow").list().keys
        if keys:
            below.push(data.draw(st.sampled_from(keys)))


for _machine in (FirstMachine, ThreeMachine):
    globals()[f"Test{_machine.__name__}"] = _machine.TestCase
    _machine.TestCase.settings = settings(stateful_step_count=25, max_examples=30, deadline=None)
del _machine


@pytest.fixture
def fast():
    return FailingStore(MemoryStore())


@pytest.fixture
def slow():
    return FailingStore(MemoryStore())


@pytest.fixture
def layers(fast, slow):
    slow.put("m/below", b"below", attrs={"x": 1, "y": 2})
    slow.put("both", b"hidden")
    fast.put("both", b"above")
    return Tiered(fast, slow, write="first")


def test_the_union_has_each_key_once_in_order_and_the_first_wins(layers, fast):
    fast.put("a", b"")
    assert layers.list().keys == ["a", "both", "m/below"]
    assert layers.list(limit=2).cursor == "both"
    assert layers.list(cursor="both").keys == ["m/below"]
    assert (layers.get("both"), layers.stat("both").size, layers.get("m/below")) == (b"above", 5, b"below")


def test_writes_go_to_the_first_alone(layers, fast, slow):
    layers.put("m/below", b"new")
    layers.put("new", b"1")
    assert (fast.get("m/below"), fast.stat("m/below").attrs) == (b"new", {"x": 1, "y": 2})
    assert slow.get("m/below") == b"below"
    assert not slow.exists("new")


def test_what_is_deleted_does_not_reappear(layers, slow):
    layers.delete("both")
    with pytest.raises(NotFound):
        layers.get("both")
    assert not slow.exists("both")


def test_a_key_is_pushed_down_with_its_attributes(layers, fast, slow):
    layers.put("m/x", b"1", attrs={"n": 1})
    layers.push("m/x")
    assert (slow.get("m/x"), slow.stat("m/x").attrs) == (b"1", {"n": 1})
    assert not fast.exists("m/x")
    assert layers.get("m/x") == b"1"
    with pytest.raises(NotFound):
        layers.push("m/unknown")


def test_a_failing_push_loses_nothing(layers, slow):
    layers.put("k", b"1")
    slow.fail("put")
    with pytest.raises(StoreUnavailable):
        layers.push("k")
    assert layers.get("k") == b"1"


def test_a_first_store_that_cannot_answer_hides_what_is_below(layers, fast):
    fast.fail()
    with pytest.raises(StoreUnavailable):
        layers.get("both")


def test_creating_what_is_below_is_refused(layers):
    with pytest.raises(AlreadyExists):
        layers.put("m/below", b"", overwrite=False)


# --- three of them ----------------------------------------------------------------------------------


@pytest.fixture
def stores():
    return [FailingStore(MemoryStore()) for _ in range(3)]


@pytest.fixture
def three(stores):
    for number, store in enumerate(stores):
        for key in "abc"[number:]:
            store.put(key, b"%d" % number, attrs={"of": number})
    return Layered(*stores)


def test_the_first_that_has_a_key_answers(three, stores):
    stores[2].put("d", b"2")
    stores[1].delete("c")
    stores[0].delete("c")
    assert three.list().keys == ["a", "b", "c", "d"]
    assert three.get_many("abcd") == [b"0", b"0", b"2", b"2"]
    assert [three.get(key) for key in "abcd"] == [b"0", b"0", b"2", b"2"]
    assert (three.stat("c").attrs, bytes(three.map("d")), three.open("c").read()) == ({"of": 2}, b"2", b"2")
    assert three.exists_many("abcde") == set("abcd")


def test_a_write_goes_to_the_first_with_the_attributes_of_whoever_had_the_key(three, stores):
    stores[0].delete_many("abc")
    three.put("b", b"new")
    three.put("x", b"new")
    assert stores[0].stat("b").attrs == {"of": 1}
    assert [store.list().keys for store in stores] == [["b", "x"], ["b", "c"], ["c"]]


def test_a_delete_reaches_all_of_them(three, stores):
    three.delete("c")
    assert three.delete_many(["a", "b", "x"]) == {"a", "b"}
    assert [store.list().keys for store in stores] == [[], [], []]
    with pytest.raises(NotFound):
        three.delete("c")


def test_creating_what_any_of_them_has_is_refused(three, stores):
    stores[2].put("only", b"")
    for key in ("a", "c", "only"):
        with pytest.raises(AlreadyExists):
            three.put(key, b"", overwrite=False)


def test_a_push_goes_one_down_so_that_nothing_older_hides_it(three, stores):
    three.put("c", b"new")
    three.push("c")
    assert [store.exists("c") for store in stores] == [False, True, True]
    assert (three.get("c"), stores[1].get("c"), stores[2].get("c")) == (b"new", b"new", b"2")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_error_of_any_is_the_callers(three, stores, number):
    stores[number].fail()
    for use in (three.list, lambda: three.get("x"), lambda: three.delete("a"), lambda: three.exists("x")):
        with pytest.raises(StoreUnavailable):
            use()


def test_what_comes_up_while_it_is_looked_for_is_found(three, stores):
    """It moves from the last to the first, between the looks at the two."""
    stores[2].put("k", b"1")
    get = stores[1].get

    def moving(key, *bounds):
        stores[0].put("k", stores[2].get("k"))
        stores[2].delete("k")
        return get(key, *bounds)

    stores[1].get = moving
    assert three.get("k") == b"1"


def test_a_pickle_opens_the_same_layers(tmp_path):
    again = pickle.loads(pickle.dumps(Layered(*(FileStore(tmp_path / name) for name in "abc"))))
    again.put("k", b"1")
    assert (FileStore(tmp_path / "a").get("k"), again.url) == (b"1", FileStore(tmp_path / "c").url)


def test_all_of_them_are_closed_with_it(three, stores):
    three.close()
    for use in (three.get, *(store.get for store in stores)):
        with pytest.raises(StoreClosed):
            use("a")


def test_it_signs_nothing_to_write_and_has_no_batches(three):
    for use in (lambda: three.sign("a", "PUT"), lambda: three.sign("a"), three.batch):
        with pytest.raises(NotSupported):
            use()


def test_one_store_is_no_layers(fast):
    with pytest.raises(ConfigError, match="stores"):
        Layered(fast)
