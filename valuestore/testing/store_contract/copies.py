"""Copies, moves, and many keys at once: what a store may do faster, but not differently."""

from __future__ import annotations

import pytest

from valuestore.errors import AlreadyExists, NotFound, NotSupported
from valuestore.stores.base import Store
from valuestore.testing.store_contract.samples import ALL_BYTES, ATTRS, OpenedStore, forward_only, put_all


class CopyFacts(OpenedStore):
    def test_a_copy_has_the_data_and_the_attributes(self, store: Store) -> None:
        first = store.put("a", ALL_BYTES, attrs=ATTRS)
        copied = store.copy("a", "b/c")
        assert (store.get("b/c"), store.stat("b/c").attrs) == (ALL_BYTES, ATTRS)
        assert copied == store.stat("b/c")
        assert store.stat("a") == first

    def test_a_copy_replaces_the_target_wholly_or_not_at_all(self, store: Store) -> None:
        store.put("a", b"a")
        store.put("b", b"b", attrs={"x": 1})
        with pytest.raises(NotFound):
            store.copy("missing", "b")
        with pytest.raises(AlreadyExists):
            store.copy("a", "b", overwrite=False)
        assert (store.get("b"), store.stat("b").attrs) == (b"b", {"x": 1})
        store.copy("a", "b")
        assert (store.get("b"), store.stat("b").attrs) == (b"a", {})
        assert store.copy("b", "b").etag == store.stat("a").etag

    def test_a_move_leaves_nothing_behind(self, store: Store) -> None:
        store.put("a/x", b"1", attrs={"x": 1})
        store.put("b", b"2")
        store.put("c", b"3", attrs={"x": 3})
        store.move("a/x", "a/y")
        store.move("b", "c")
        store.move("c", "c")
        assert store.list().keys == ["a/y", "c"]
        assert (store.get("a/y"), store.stat("a/y").attrs) == (b"1", {"x": 1})
        assert (store.get("c"), store.stat("c").attrs) == (b"2", {})
        with pytest.raises(NotFound):
            store.move("a/x", "c")
        assert store.get("c") == b"2"

    def test_many_are_got_in_the_order_asked_for(self, store: Store) -> None:
        keys = [f"k/{n}" for n in range(10)]
        stats = store.put_many(keys, [key.encode() for key in keys])
        assert [stat.key for stat in stats] == keys
        assert list(store.get_many(reversed(keys))) == [key.encode() for key in reversed(keys)]
        with pytest.raises(NotFound, match="k/missing"):
            store.get_many(["k/1", "k/missing", "k/2"])
        assert store.exists_many([*keys[:3], "k/missing"]) == set(keys[:3])

    def test_many_are_put_pair_by_pair(self, store: Store) -> None:
        store.put("a", b"old")
        store.put_many(["a", "b"], [b"1", forward_only(b"2")])
        assert list(store.get_many(["a", "b"])) == [b"1", b"2"]
        for keys, values in ((["a", "b", "c"], [b"x", b"y"]), (["a", "b"], [b"x", b"y", b"z"])):
            with pytest.raises(ValueError):
                store.put_many(keys, values)

    def test_many_are_deleted_whether_or_not_all_are_there(self, store: Store) -> None:
        put_all(store, ["a", "b", "c"])
        assert store.delete_many(["a", "missing", "c"]) == {"a", "c"}
        assert store.list().keys == ["b"]

    def test_an_unknown_kind_of_signed_url_is_refused(self, store: Store) -> None:
        store.put("k", b"")
        with pytest.raises((NotSupported, ValueError)):
            store.sign("k", "BREW")
