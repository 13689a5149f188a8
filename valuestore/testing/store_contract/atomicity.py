"""All or nothing: a put is seen entirely or not at all, by whomever, and whatever goes wrong.

So are copies, moves, and many keys at once: what a store may do faster, but not differently.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event
from typing import Any

import pytest

from valuestore.errors import AlreadyExists, NotFound, NotSupported, SizeMismatch
from valuestore.stores.base import Store
from valuestore.testing.store_contract.samples import (
    ALL_BYTES,
    ATTRS,
    OpenedStore,
    failing,
    forward_only,
    pieces,
    put_all,
    refuses,
)


class AtomicityFacts(OpenedStore):
    @pytest.mark.parametrize("size", [3, 19, 21, 100])
    @pytest.mark.parametrize("wrap", [bytes, forward_only, lambda data: pieces(data, 7)])
    def test_a_wrong_size_stores_nothing(self, store: Store, wrap: Any, size: int) -> None:
        refuses(SizeMismatch, lambda: store.put("new", wrap(b"x" * 20), size=size))
        store.put("old", b"old", attrs={"x": 1})
        refuses(ValueError, lambda: store.put("old", wrap(b"x" * 20), size=size, attrs={"x": 2}))
        assert store.list().keys == ["old"]
        assert (store.get("old"), store.stat("old").attrs) == (b"old", {"x": 1})

    def test_the_right_size_is_accepted(self, store: Store) -> None:
        assert store.put("k", forward_only(b"x" * 20), size=20).size == 20
        assert store.put("empty", b"", size=0).size == 0

    @pytest.mark.parametrize(
        "error", [RuntimeError("x"), OSError(5, "x"), NotFound("other"), KeyboardInterrupt()]
    )
    def test_a_failing_stream_passes_its_error_on_and_stores_nothing(
        self, store: Store, error: BaseException
    ) -> None:
        store.put("old", b"old", attrs={"x": 1})
        for key in ("old", "new"):
            with pytest.raises(type(error)) as caught:
                store.put(key, failing(b"x" * 2**20, error), attrs={"x": 2})
            assert caught.value is error
        assert store.list().keys == ["old"]
        assert (store.get("old"), store.stat("old").attrs) == (b"old", {"x": 1})

    def test_create_only_leaves_what_is_there(self, store: Store) -> None:
        first = store.put("k", b"first", attrs={"x": 1}, overwrite=False)
        for data in (b"first", b"second"):
            refuses(AlreadyExists, partial(store.put, "k", data, overwrite=False))
            refuses(FileExistsError, partial(store.put, "k", forward_only(data), attrs={}, overwrite=False))
        assert store.stat("k") == first
        assert store.get("k") == b"first"

    def test_of_sixteen_creators_one_wins(self, store: Store) -> None:
        barrier = Barrier(16)

        def create(n: int) -> bytes | None:
            data = b"%d" % n * 1000
            barrier.wait()
            try:
                store.put("race/k", data, overwrite=False)
            except AlreadyExists:
                return None
            return data

        with ThreadPoolExecutor(16) as pool:
            winners = [data for data in pool.map(create, range(16)) if data is not None]
        assert winners == [store.get("race/k")]

    def test_a_reader_sees_the_old_or_the_new_and_never_a_mixture(self, store: Store) -> None:
        values = {letter * 100_000: {"is": letter.decode()} for letter in (b"a", b"b")}
        finished = Event()
        store.put("k", b"a" * 100_000, attrs=values[b"a" * 100_000])
        etags = {letter: store.put(letter, letter.encode() * 100_000).etag for letter in ("a", "b")}

        def read() -> int:
            reads = 0
            while not finished.is_set():
                assert store.get("k") in values
                known = store.stat("k")
                assert known.etag == etags[known.attrs["is"]]
                with store.open("k") as stream:
                    assert stream.read() in values
                reads += 1
            return reads

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for _ in range(50):
                    for data, attrs in values.items():
                        store.put("k", data, attrs=attrs)
            finally:
                finished.set()
            assert all(reader.result() for reader in readers)


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
        refuses(NotFound, lambda: store.copy("missing", "b"))
        refuses(AlreadyExists, lambda: store.copy("a", "b", overwrite=False))
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
        refuses(NotFound, lambda: store.move("a/x", "c"))
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
            refuses(ValueError, partial(store.put_many, keys, values))

    def test_many_are_deleted_whether_or_not_all_are_there(self, store: Store) -> None:
        put_all(store, ["a", "b", "c"])
        assert store.delete_many(["a", "missing", "c"]) == {"a", "c"}
        assert store.list().keys == ["b"]

    def test_an_unknown_kind_of_signed_url_is_refused(self, store: Store) -> None:
        store.put("k", b"")
        with pytest.raises((NotSupported, ValueError)):
            store.sign("k", "BREW")
