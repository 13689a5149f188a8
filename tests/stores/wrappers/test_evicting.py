"""Evicting keeps the contract within its size, and drops what was not used for longest."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from valuestore.errors import TooLarge
from valuestore.stores import MemoryStore
from valuestore.stores.wrappers import Evicting
from valuestore.testing import StoreContract


class TestEvicting(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Evicting(MemoryStore(str(tmp_path)), 200 << 20)


def test_the_least_recently_used_is_evicted():
    store = Evicting(MemoryStore(), 10)
    for key in "abc":
        store.put(key, b"123")
    store.get("a")
    store.put("d", b"123")
    assert store.list().keys == ["a", "c", "d"]
    store.put("d", bytes(10))
    assert store.list().keys == ["d"]


def test_what_is_larger_than_all_is_refused_and_evicts_nothing():
    store = Evicting(MemoryStore(), 10)
    store.put("a", b"1")
    for data in (bytes(11), iter([bytes(6), bytes(6)])):
        with pytest.raises(TooLarge):
            store.put("b", data)
    assert store.list().keys == ["a"]


class EvictingMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.store = Evicting(MemoryStore(), 20)

    @rule(key=st.sampled_from("abcdef"), size=st.integers(0, 12))
    def put(self, key, size):
        self.store.put(key, bytes(size))
        assert self.store.size(key) == size

    @rule(key=st.sampled_from("abcdef"), other=st.sampled_from("abcdef"), move=st.booleans())
    def copy(self, key, other, move):
        if self.store.exists(key):
            (self.store.move if move else self.store.copy)(key, other)

    @rule(key=st.sampled_from("abcdef"))
    def delete(self, key):
        self.store.delete_many([key])

    def teardown(self):
        sizes = {key: self.store.size(key) for key in self.store.list().keys}
        assert sum(sizes.values()) <= 20
        assert self.store._total == sum(sizes.values())


TestEvictingMachine = EvictingMachine.TestCase
TestEvictingMachine.settings = settings(max_examples=50, deadline=None)
