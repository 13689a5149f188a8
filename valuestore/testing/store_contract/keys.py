"""The keys: which there are, and in what order and pages they are listed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from valuestore.errors import BadKey
from valuestore.stores.base import Page, Store
from valuestore.testing.store_contract.samples import BAD_KEYS, OpenedStore, list_pages, put_all, refuses


class KeyFacts(OpenedStore):
    @pytest.mark.parametrize("key", [*BAD_KEYS, None, 5, b"bytes"], ids=repr)
    def test_a_bad_key_is_refused_everywhere(self, store: Store, key: Any) -> None:
        put_all(store, ["a", "x"])
        refuses(
            BadKey,
            lambda: store.get(key),
            lambda: store.put(key, b""),
            lambda: store.stat(key),
            lambda: store.delete(key),
            lambda: store.exists(key),
            lambda: store.size(key),
            lambda: store.open(key),
            lambda: store.copy(key, "to"),
            lambda: store.copy("a", key),
            lambda: store.move("a", key),
            lambda: store.get_many(["a", key]),
        )
        assert store.list().keys == ["a", "x"]

    def test_every_key_is_itself(self, store: Store) -> None:
        keys = self.odd_keys()
        put_all(store, keys)
        assert {key: store.get(key).decode() for key in keys} == {key: key for key in keys}
        assert store.list().keys == sorted(keys, key=str.encode)
        for key in keys:
            store.delete(key)
        assert store.list().keys == []

    def test_a_key_and_keys_below_it_live_together(self, store: Store) -> None:
        for order in (["p", "p/x", "p/x/y"], ["q/x/y", "q/x", "q"]):
            put_all(store, order)
            assert [store.get(key).decode() for key in order] == order
        assert store.list().keys == ["p", "p/x", "p/x/y", "q", "q/x", "q/x/y"]
        store.delete("p")
        store.delete("q/x")
        assert store.list().keys == ["p/x", "p/x/y", "q", "q/x/y"]
        assert not store.exists("q/x")
        store.put("p", b"again", attrs={"x": 1})
        assert (store.get("p"), store.stat("p").attrs, store.get("p/x")) == (b"again", {"x": 1}, b"p/x")

    def test_pages_are_sorted_full_lossless_and_without_doubles(self, store: Store) -> None:
        put_all(store, ["runs/r1/a", "runs/r1/b", "runs/r1/sub/c", "runs/r2/d"])
        first = store.list("runs/r1/", limit=2)
        assert first == Page(["runs/r1/a", "runs/r1/b"], "runs/r1/b")
        assert store.list("runs/r1/", limit=2, cursor=first.cursor) == Page(["runs/r1/sub/c"], None)
        assert list_pages(store, "", 1) == [["runs/r1/a"], ["runs/r1/b"], ["runs/r1/sub/c"], ["runs/r2/d"]]

    def test_the_cursor_is_none_exactly_when_no_key_follows(self, store: Store) -> None:
        keys = [f"k{n}" for n in range(10)]
        put_all(store, keys)
        assert store.list(limit=5) == Page(keys[:5], "k4")
        assert store.list(limit=5, cursor="k4") == Page(keys[5:], None)
        assert store.list(limit=10) == store.list(limit=11) == store.list() == Page(keys, None)

    def test_no_match_is_an_empty_page(self, store: Store) -> None:
        assert store.list() == Page([], None)
        store.put("k", b"")
        for prefix in ("l", "k/", "kk", "/", "/k", "../", "a//", "./k", "\0", "x" * 2000, ".vs~/", "*"):
            assert store.list(prefix) == Page([], None)
        assert store.list(cursor="z") == store.list(limit=1, cursor="k") == Page([], None)

    @pytest.mark.parametrize("cursor", ["", "/", "a/", "../x", "\0", "x" * 1025])
    def test_a_cursor_is_a_key(self, store: Store, cursor: str) -> None:
        refuses(ValueError, lambda: store.list(cursor=cursor))

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_is_at_least_one(self, store: Store, limit: int) -> None:
        refuses(ValueError, lambda: store.list(limit=limit))

    def test_a_prefix_is_one_of_bytes(self, store: Store) -> None:
        put_all(store, ["a", "a/1", "ab/3", "b"])
        assert store.list("a").keys == ["a", "a/1", "ab/3"]
        assert store.list("a/").keys == ["a/1"]
        assert list(store.keys("ab/")) == ["ab/3"]

    def test_the_order_is_that_of_the_bytes_of_the_whole_key(self, store: Store) -> None:
        keys = [
            "A",
            "a b/x",
            "a-b",
            "a.b",
            "a/b",
            "a/b/c",
            "a/bc",
            "a0",
            "ab",
            "z",
            "ä",
            "\uffee",
            "\U0001f600",
        ]
        put_all(store, reversed(keys))
        assert sorted(keys, key=str.encode) == keys
        assert store.list().keys == list(store.keys()) == keys
        for limit in range(1, len(keys) + 1):
            assert [key for page in list_pages(store, "", limit) for key in page] == keys
        for cursor in ("a", "a.", "a/b", "a/b/0", "a/c", "b"):
            assert store.list(cursor=cursor).keys == [key for key in keys if key > cursor]

    def test_pages_survive_insertions_and_deletions(self, store: Store) -> None:
        put_all(store, ["a/1", "a/2", "b/1", "c/1"])
        cursor = store.list(limit=2).cursor
        store.delete("a/2")
        put_all(store, ["a/0", "a/3"])
        assert store.list(limit=2, cursor=cursor) == Page(["a/3", "b/1"], "b/1")
        store.delete("c/1")
        assert store.list(cursor="b/1") == Page([], None)

    def test_a_scan_tells_of_each_key_what_stat_does_or_less(self, store: Store) -> None:
        put_all(store, ["a/1", "a/2", "b"])
        store.put("a/1", b"some bytes", attrs={"x": 1})
        for prefix in ("", "a/", "c"):
            found = list(store.scan(prefix))
            assert [known.key for known in found] == store.list(prefix).keys
            for known, whole in ((known, store.stat(known.key)) for known in found):
                assert known.size == whole.size
                assert abs(known.modified - whole.modified) < timedelta(minutes=1)
                assert known.etag in ("", whole.etag)
                assert known.attrs in ({}, whole.attrs)

    def test_folders_are_what_keys_have_in_common_up_to_a_slash(self, store: Store) -> None:
        put_all(store, ["a", "a-b/x", "a/1", "a/b/c", "a/b/d", "ab/3", "\U0010ffff/\U0010ffff/x"])
        assert list(store.folders()) == ["a-b/", "a/", "ab/", "\U0010ffff/"]
        assert list(store.folders("a")) == ["a-b/", "a/", "ab/"]
        assert list(store.folders("a/")) == ["a/b/"]
        assert list(store.folders("a/b/")) == list(store.folders("z")) == []

    def test_keys_stop_when_their_reader_stops(self, store: Store) -> None:
        put_all(store, ["a", "b", "c"])
        keys = store.keys()
        assert [next(keys), next(keys)] == ["a", "b"]
        store.delete("c")
        assert next(keys, "none") in ("c", "none")
