"""All or nothing: a put is seen entirely or not at all, by whomever, and whatever goes wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from valuestore.errors import AlreadyExists, NotFound, SizeMismatch
from valuestore.stores.base import Store
from valuestore.testing.store_contract.samples import OpenedStore, failing, forward_only, pieces


class AtomicityFacts(OpenedStore):
    @pytest.mark.parametrize("size", [3, 19, 21, 100])
    @pytest.mark.parametrize("wrap", [bytes, forward_only, lambda data: pieces(data, 7)])
    def test_a_wrong_size_stores_nothing(self, store: Store, wrap: Any, size: int) -> None:
        with pytest.raises(SizeMismatch):
            store.put("new", wrap(b"x" * 20), size=size)
        store.put("old", b"old", attrs={"x": 1})
        with pytest.raises(ValueError):
            store.put("old", wrap(b"x" * 20), size=size, attrs={"x": 2})
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
            with pytest.raises(AlreadyExists):
                store.put("k", data, overwrite=False)
            with pytest.raises(FileExistsError):
                store.put("k", forward_only(data), attrs={}, overwrite=False)
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
