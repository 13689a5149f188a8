"""The life of a store: closed and opened again, pickled, in other threads and other processes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from valuestore.errors import StoreClosed, StoreError
from valuestore.stores.base import Store
from valuestore.testing.store_contract.samples import ATTRS, OpenedStore, refuses


def _get_elsewhere(store: Store, key: str) -> tuple[bytes, dict[str, Any]]:
    with store:
        return store.get(key), store.stat(key).attrs


class LifeFacts(OpenedStore):
    """What was put outlives the store that put it, where that is possible."""

    def test_what_was_put_is_there_after_reopening(self, make_store: Callable[[], Store]) -> None:
        with make_store() as store:
            put = store.put("k", b"data", attrs=ATTRS)
            store.flush()
        with make_store() as store:
            assert (store.stat("k"), store.get("k")) == (put, b"data")

    def test_a_closed_store_refuses_everything_but_closing(self, make_store: Callable[[], Store]) -> None:
        store = make_store()
        store.put("k", b"")
        store.close()
        store.close()
        refuses(
            StoreClosed,
            lambda: store.get("k"),
            lambda: store.put("k", b""),
            lambda: store.stat("k"),
            lambda: store.delete("k"),
            store.list,
            store.keys,
            lambda: store.exists("k"),
            lambda: store.size("k"),
            lambda: store.open("k"),
            lambda: store.copy("k", "l"),
            lambda: store.move("k", "l"),
            lambda: store.get_many(["k"]),
            lambda: store.put_many(["k"], [b""]),
            lambda: store.delete_many(["k"]),
            store.flush,
            store.__enter__,
        )

    def test_a_pickle_opens_the_same_place(self, store: Store) -> None:
        store.put("k", b"data", attrs={"x": 1})
        assert pickle.dumps(store)
        with copy.deepcopy(store) as again:  # which rebuilds it from what the pickle holds, copied
            assert (again.get("k"), again.url) == (b"data", store.url)
            again.put("l", b"more")
        assert store.get("l") == b"more"

    def test_another_process_reads_what_was_put_here(self, store: Store) -> None:
        if not self.shared_between_processes:
            return
        store.put("k", b"data", attrs={"x": 1})
        store.flush()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            assert pool.submit(_get_elsewhere, store, "k").result() == (b"data", {"x": 1})

    def test_threads_do_not_get_in_each_others_way(self, store: Store) -> None:
        def work(n: int) -> None:
            for round_ in range(10):
                key = f"t{n % 2}/{n}/{round_ % 3}"
                store.put(key, key.encode() * 100, attrs={"n": n})
                assert store.get(key) == key.encode() * 100
                assert store.stat(key).attrs == {"n": n}
                assert key in store.list(f"t{n % 2}/{n}/").keys
                store.delete(key)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert store.list().keys == []

    def test_its_name_shows(self, store: Store) -> None:
        assert store.url in repr(store)
        with pytest.raises(StoreError) as caught:
            store.get("missing")
        assert store.url in str(caught.value)
