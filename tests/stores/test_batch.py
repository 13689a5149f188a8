"""A batch is seen wholly or not at all, by readers and by listeners; inside, it sees itself."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestore.errors import AlreadyExists, NotFound, NotSupported, StoreClosed, StoreReadOnly
from valuestore.observe import Change
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import Limited, Observed, Prefixed, ReadOnly


@pytest.fixture
def store():
    return MemoryStore()


def test_nothing_is_visible_before_the_end_and_all_of_it_after(store):
    store.put("old", b"")
    with store.batch() as batch:
        batch.put("a", b"1", attrs={"x": 1})
        batch.put("b", b"2")
        batch.delete("old")
        assert store.list().keys == ["old"]
    assert store.list().keys == ["a", "b"]
    assert (store.get("a"), store.stat("a").attrs) == (b"1", {"x": 1})


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_batch_that_raises_changes_nothing(store, error):
    store.put("k", b"old")
    with pytest.raises(error), store.batch() as batch:
        batch.put("k", b"new")
        batch.put("l", b"")
        raise error
    assert (store.list().keys, store.get("k")) == (["k"], b"old")


def test_a_batch_sees_its_own_changes(store):
    store.put("k", b"old", attrs={"x": 1})
    store.put("gone", b"")
    with store.batch() as batch:
        batch.put("k", b"new")
        batch.put("l", b"more")
        batch.delete("gone")
        assert (batch.get("k"), batch.stat("k").attrs) == (b"new", {"x": 1})
        assert batch.list().keys == ["k", "l"]
        assert not batch.exists("gone")
        with pytest.raises(NotFound):
            batch.delete("gone")
        with pytest.raises(AlreadyExists):
            batch.put("l", b"", overwrite=False)


def test_a_nested_batch_is_committed_by_the_outermost(store):
    with store.batch() as outer:
        outer.put("a", b"")
        with outer.batch() as inner:
            inner.put("b", b"")
        assert outer.exists("b")
        assert store.list().keys == []
    assert store.list().keys == ["a", "b"]


def test_a_nested_batch_that_raises_takes_back_its_own_part(store):
    with store.batch() as outer:
        outer.put("a", b"")
        with pytest.raises(ValueError), outer.batch() as inner:
            inner.put("b", b"")
            raise ValueError
    assert store.list().keys == ["a"]


def test_a_key_created_by_somebody_else_meanwhile_fails_the_whole_batch(store):
    with pytest.raises(AlreadyExists), store.batch() as batch:
        batch.put("a", b"")
        batch.put("k", b"mine", overwrite=False)
        store.put("k", b"theirs")
    assert (store.list().keys, store.get("k")) == (["k"], b"theirs")


def test_attributes_are_kept_as_they_are_at_the_end(store):
    store.put("k", b"1", attrs={"x": 1})
    with store.batch() as batch:
        batch.put("k", b"2")
        store.put("k", b"3", attrs={"x": 3})
    assert (store.get("k"), store.stat("k").attrs) == (b"2", {"x": 3})


def test_a_finished_batch_is_closed(store):
    with store.batch() as batch:
        pass
    with pytest.raises(StoreClosed):
        batch.put("k", b"")
    store.put("k", b"")


def test_a_closed_store_has_no_batches(store):
    store.close()
    with pytest.raises(StoreClosed):
        store.batch()


def test_a_batch_stays_in_its_process(store):
    with store.batch() as batch, pytest.raises(NotSupported):
        pickle.dumps(batch)


def test_readers_never_see_half_of_a_batch(store):
    finished = Event()
    store.put_many(["a", "b"], [b"0", b"0"])

    def read():
        while not finished.is_set():
            first = int(store.get("a"))
            assert int(store.get("b")) >= first

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for n in range(1, 300):
                with store.batch() as batch:
                    batch.put_many(["a", "b"], [b"%d" % n] * 2)
        finally:
            finished.set()
        for reader in readers:
            reader.result()


def test_a_store_that_cannot_says_so_at_once(tmp_path):
    for store in (FileStore(tmp_path), Prefixed(FileStore(tmp_path), "p"), Observed(FileStore(tmp_path))):
        with pytest.raises(NotSupported):
            store.batch()


def test_policies_hold_in_a_batch_too(store):
    with Prefixed(Limited(store, max_put_bytes=3), "p").batch() as batch:
        batch.put("k", b"123")
        with pytest.raises(ValueError):
            batch.put("k", b"1234")
        assert batch.list().keys == ["k"]
    assert store.list().keys == ["p/k"]
    with pytest.raises(StoreReadOnly):
        ReadOnly(store).batch()


# --- what listeners hear ----------------------------------------------------------------------------


@pytest.fixture
def told():
    return []


@pytest.fixture
def observed(store, told):
    return Observed(store, changes=[told.append])


def _brief(told):
    return [(change.kind, change.key) for change in told if isinstance(change, Change)]


def test_changes_are_told_after_the_commit_in_order(observed, store, told):
    store.put("old", b"")
    with observed.batch() as batch:
        batch.put("b", b"")
        batch.put("a", b"")
        batch.put("b", b"again")
        batch.delete("old")
        assert not told
    assert _brief(told) == [("set", "b"), ("set", "a"), ("update", "b"), ("delete", "old")]


def test_changes_of_nested_batches_are_told_by_the_outermost(observed, told):
    with observed.batch() as outer:
        outer.put("a", b"")
        with outer.batch() as inner:
            inner.put("b", b"")
        with pytest.raises(ValueError), outer.batch() as inner:
            inner.put("c", b"")
            raise ValueError
        outer.put("d", b"")
        assert not told
    assert _brief(told) == [("set", "a"), ("set", "b"), ("set", "d")]


def test_nothing_is_told_of_a_batch_that_failed(observed, store, told):
    with pytest.raises(ValueError), observed.batch() as batch:
        batch.put("a", b"")
        raise ValueError
    with pytest.raises(AlreadyExists), observed.batch() as batch:
        batch.put("k", b"", overwrite=False)
        store.put("k", b"")
    assert not told


_CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "keep"]), st.sampled_from("abc"), st.binary(max_size=3))
)


@settings(max_examples=60, deadline=None)
@given(before=_CHANGES, inside=_CHANGES)
def test_a_batch_ends_like_its_changes_one_by_one(before, inside):
    store, expected = MemoryStore(), MemoryStore()
    for work in (lambda: _do(store, before), lambda: _do(expected, before), lambda: _do(expected, inside)):
        work()
    with store.batch() as batch:
        _do(batch, inside)
        assert _contents(batch) == _contents(expected)
    assert _contents(store) == _contents(expected)


def _contents(store):
    return {key: (store.get(key), store.stat(key).attrs) for key in store.list().keys}


def _do(store, changes):
    for what, key, data in changes:
        if what == "delete":
            store.delete_many([key])
        else:
            store.put(key, data, attrs={"n": len(data)} if what == "put" else None)
