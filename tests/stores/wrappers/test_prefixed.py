"""Prefixed keeps the contract, and keeps to itself."""

from __future__ import annotations

import pytest
from hypothesis import settings

from valuestore.errors import AlreadyExists, BadKey, NotFound, NotSupported, SizeMismatch
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import Prefixed
from valuestore.testing import StoreContract, StoreMachine
from valuestore.testing.stores import ODD_KEYS


class TestPrefixed(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Prefixed(MemoryStore(str(tmp_path)), "p/q")

    def test_every_key_is_itself(self, store, monkeypatch):
        fitting = [key for key in ODD_KEYS if len(key.encode()) <= 1024 - len("p/q/")]
        monkeypatch.setattr("valuestore.testing.stores.ODD_KEYS", fitting)
        super().test_every_key_is_itself(store)


class PrefixedMachine(StoreMachine):
    def open_store(self):
        return Prefixed(FileStore(self.place), "p/q")


TestPrefixedMachine = PrefixedMachine.TestCase
TestPrefixedMachine.settings = settings(stateful_step_count=20, max_examples=25, deadline=None)


@pytest.fixture
def below():
    return MemoryStore()


def test_the_keys_lie_below_the_prefix_in_the_store(below):
    Prefixed(below, "a/b/").put("k", b"data")
    assert below.list().keys == ["a/b/k"]


def test_what_lies_beside_the_prefix_is_out_of_reach(below):
    for key in ("a", "ab/k", "b"):
        below.put(key, b"")
    store = Prefixed(below, "a")
    assert store.list().keys == []
    assert store.delete_many(["b", "k"]) == set()
    for key in ("../b", "..", ""):
        with pytest.raises(BadKey):
            store.get(key)


def test_two_prefixes_of_one_store_do_not_see_each_other(below):
    one, other = Prefixed(below, "one"), Prefixed(below, "other")
    one.put("k", b"1")
    other.put("k", b"2")
    assert one.get("k") + other.get("k") == b"12"
    assert list(one.keys()) == ["k"]


def test_errors_name_the_key_as_the_caller_does(below):
    store = Prefixed(below, "p")
    store.put("k", b"")
    with pytest.raises(NotFound) as caught:
        store.get("missing")
    assert caught.value.args == ("missing", store.url)
    with pytest.raises(AlreadyExists) as caught:
        store.copy("k", "k", overwrite=False)
    assert caught.value.args[0] == "k"
    with pytest.raises(SizeMismatch) as caught:
        store.put("k", [b"x"], size=2)
    assert caught.value.args == ("k", 2, 1)


def test_the_prefix_counts_towards_the_length_of_a_key(below):
    store = Prefixed(below, "p")
    store.put("x" * 1022, b"")
    with pytest.raises(BadKey):
        store.put("x" * 1023, b"")


@pytest.mark.parametrize("prefix", ["", "/", "/a", "..", "a/../b", "a//b", "a\0"])
def test_a_prefix_is_a_key(below, prefix):
    with pytest.raises(BadKey):
        Prefixed(below, prefix)


def test_its_url_is_that_of_the_place(tmp_path):
    assert Prefixed(FileStore(tmp_path), "a/b").url == f"file://{tmp_path}/a/b"


def test_it_signs_what_the_store_below_signs(below):
    with pytest.raises(NotSupported):
        Prefixed(below, "p").sign("k")
