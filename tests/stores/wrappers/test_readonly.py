"""ReadOnly gives what is there, and takes nothing."""

from __future__ import annotations

import pickle

import pytest

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import BadKey, NotSupported, StoreClosed, StoreReadOnly
from valuestore.stores import MemoryStore
from valuestore.stores.wrappers import ReadOnly


@pytest.fixture
def below():
    below = FailingStore(MemoryStore())
    below.put("a/k", b"data", attrs={"x": 1})
    below.calls.clear()
    return below


def test_everything_can_be_read(below):
    store = ReadOnly(below)
    assert store.get("a/k", 1, 3) == b"at"
    assert store.open("a/k").read() == b"data"
    assert (store.stat("a/k"), store.size("a/k")) == (below.stat("a/k"), 4)
    assert store.list("a/").keys == list(store.keys()) == ["a/k"]
    assert store.exists_many(["a/k", "b"]) == {"a/k"}
    assert store.get_many(["a/k"]) == [b"data"]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put("k", iter([b""])),
        lambda store: store.put("k", b"", overwrite=False),
        lambda store: store.delete("a/k"),
        lambda store: store.delete("missing"),
        lambda store: store.copy("a/k", "b"),
        lambda store: store.move("a/k", "b"),
        lambda store: store.put_many(["k"], [b""]),
        lambda store: store.delete_many(["a/k"]),
        lambda store: store.batch(),
        lambda store: store.sign("a/k", "PUT"),
    ],
)
def test_no_change_reaches_the_store(below, change):
    with pytest.raises(StoreReadOnly) as caught:
        change(ReadOnly(below))
    assert isinstance(caught.value, PermissionError)
    assert below.url in str(caught.value)
    assert not below.calls


def test_a_bad_key_is_still_a_bad_key(below):
    for use in (ReadOnly(below).delete, lambda key: ReadOnly(below).put(key, b"")):
        with pytest.raises(BadKey):
            use("../x")


def test_only_reading_can_be_signed(below):
    for method in ("GET", "DELETE"):
        with pytest.raises(NotSupported):
            ReadOnly(below).sign("a/k", method)


def test_it_stays_read_only_in_a_pickle():
    with pytest.raises(StoreReadOnly):
        pickle.loads(pickle.dumps(ReadOnly(MemoryStore()))).put("k", b"")


def test_it_closes_the_store_below(below):
    store = ReadOnly(below)
    store.close()
    for use in (below.get, store.get, store.delete):
        with pytest.raises(StoreClosed):
            use("a/k")
