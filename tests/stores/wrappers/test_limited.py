"""Limited keeps the contract up to its limits, and says which limit it was."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import ConfigError, TooLarge
from valuestore.stores import MemoryStore
from valuestore.stores.wrappers import Limited
from valuestore.testing import StoreContract, StoreMachine

MIB = 1 << 20


class TestLimited(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Limited(MemoryStore(str(tmp_path)), 100 * MIB, 100 * MIB)


class LimitedMachine(StoreMachine):
    def open_store(self):
        return Limited(MemoryStore(self.place), MIB, MIB)


TestLimitedMachine = LimitedMachine.TestCase
TestLimitedMachine.settings = settings(stateful_step_count=20, max_examples=25, deadline=None)


@pytest.fixture
def below():
    return FailingStore(MemoryStore())


def _never():
    raise AssertionError("the stream was touched")
    yield b""


@pytest.mark.parametrize(
    "read", [Limited.get, Limited.open, Limited.map, lambda store, key: store.get_many([key])]
)
def test_what_is_over_the_limit_is_refused_before_it_is_read(below, read):
    below.put("k", bytes(MIB + 1))
    below.put("fits", bytes(MIB))
    store = Limited(below, max_get_bytes=MIB)
    read(store, "fits")
    below.calls.clear()
    with pytest.raises(TooLarge, match="max_get_bytes") as caught:
        read(store, "k")
    assert caught.value.args == ("k", MIB + 1, MIB, "max_get_bytes")
    assert not below.calls["get"] + below.calls["open"] + below.calls["map"] + below.calls["get_many"]


def test_a_range_counts_by_its_own_length(below):
    below.put("k", bytes(MIB + 5))
    store = Limited(below, max_get_bytes=MIB)
    assert len(store.get("k", 5)) == len(store.get("k", -MIB)) == MIB
    with pytest.raises(TooLarge):
        store.get("k", 4)


@pytest.mark.parametrize("limit", [0, None])
def test_no_limit_is_no_limit(below, limit):
    store = Limited(below, limit, limit)
    store.put("k", bytes(3 * MIB))
    assert len(store.get("k")) == 3 * MIB


def test_what_grew_meanwhile_is_refused_too(below, monkeypatch):
    below.put("k", bytes(11))
    monkeypatch.setattr(below, "size", lambda key: 5)
    with pytest.raises(TooLarge):
        Limited(below, max_get_bytes=10).get("k")


def test_a_declared_size_over_the_limit_is_refused_without_touching_the_stream(below):
    with pytest.raises(TooLarge, match="max_put_bytes"):
        Limited(below, max_put_bytes=10).put("k", _never(), size=11)
    assert not below.calls


def test_an_endless_stream_ends_at_the_limit_and_stores_nothing(below):
    store = Limited(below, max_put_bytes=MIB)
    with pytest.raises(TooLarge):
        store.put("k", iter(lambda: b"x" * 1000, b""))
    assert not store.exists("k")


def test_many_are_refused_one_by_one(below):
    store = Limited(below, max_put_bytes=2)
    with pytest.raises(TooLarge) as caught:
        store.put_many(["a", "b", "c"], [b"1", b"123", b"1"])
    assert caught.value.args[0] == "b"
    with pytest.raises(TooLarge):
        store.put_many(["c"], [iter([b"12", b"3"])])
    assert store.list().keys == ["a"]


def test_a_copy_is_a_put(below):
    below.put("k", b"123")
    with pytest.raises(TooLarge):
        Limited(below, max_put_bytes=2).copy("k", "l")


def test_a_negative_limit_is_a_mistake(below):
    with pytest.raises(ConfigError, match="max_get_bytes"):
        Limited(below, -1)
