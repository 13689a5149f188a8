"""Every verb of a store passes the hook of its wrapper, so that no policy can be walked around."""

from __future__ import annotations

import inspect
from mmap import mmap
from typing import get_args

import pytest

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import NotFound, NotSupported
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.base import Store
from valuestore.stores.wrappers import (
    Compressed,
    Evicting,
    Layered,
    Limited,
    Observed,
    Prefixed,
    ReadOnly,
    Retrying,
    Sized,
    Wrapper,
)
from valuestore.stores.wrappers.base import CHANGES, Changing, Reading, Verb

ARGUMENTS = {
    "get": ("k", 1, 3),
    "put": ("k", b"new"),
    "list": ("k",),
    "copy": ("k", "l"),
    "move": ("k", "l"),
    **dict.fromkeys(["exists_many", "get_many", "delete_many"], (["k"],)),
    "put_many": (["k"], [b"new"]),
    **dict.fromkeys(["batch", "losses", "flush", "close"], ()),
}
"""What each verb is called with; the others, with a key."""


def _verbs():
    """The public methods of a store, read off it, so that one added tomorrow is here too."""
    return [
        name
        for name, method in vars(Store).items()
        if inspect.isfunction(method) and not name.startswith("_") and name != "keys"
    ]


class Recorder(Wrapper):
    """Remembers what passed its hook, and lets it pass or not."""

    def __init__(self, store, passes=True):
        super().__init__(store)
        self.passed = []
        self.passes = passes

    def _through(self, verb, keys, ask):
        self.passed.append((verb, tuple(keys)))
        if not self.passes:
            raise ZeroDivisionError
        return super()._through(verb, keys, ask)


@pytest.fixture
def below():
    below = FailingStore(MemoryStore())
    below.put("k", b"data")
    below.calls.clear()
    return below


def _use(store, verb):
    answer = getattr(store, verb)(*ARGUMENTS.get(verb, ("k",)))
    if verb == "batch":
        with answer:
            pass


def _keys(verb):
    first, *others = (*ARGUMENTS.get(verb, ("k",)), None)
    if isinstance(first, list):
        return tuple(first)
    return (first, *others[:1]) if verb in ("copy", "move") else () if first is None else (first,)


def test_the_hook_knows_every_verb_of_a_store():
    verbs = {verb for group in get_args(Verb) for verb in get_args(group) or (group,)}
    assert verbs == set(_verbs())
    assert set(get_args(Changing)) == CHANGES
    assert not CHANGES & set(get_args(Reading))


@pytest.mark.parametrize("verb", _verbs())
def test_every_verb_passes_the_hook_once_with_its_keys_and_reaches_the_store(below, verb):
    store = Recorder(below)
    try:
        _use(store, verb)
    except NotSupported:
        assert verb == "sign"
    assert store.passed == [(verb, _keys(verb))]
    assert below.calls == {verb: 1}


@pytest.mark.parametrize("verb", _verbs())
def test_what_does_not_pass_the_hook_does_not_reach_the_store(below, verb):
    with pytest.raises(ZeroDivisionError):
        _use(Recorder(below, passes=False), verb)
    assert not below.calls


def test_keys_pass_as_the_lists_that_they_are_made_of(below):
    store = Recorder(below)
    assert list(store.keys()) == ["k"]
    assert store.passed == [("list", ("",))]


def test_settings_reach_the_store(below):
    store = Wrapper(below)
    known = store.put("k", iter([b"1", b"2"]), size=2, attrs={"x": 1})
    assert (known, known.attrs) == (below.stat("k"), {"x": 1})
    assert store.list("k", limit=1, cursor="a").keys == ["k"]
    with pytest.raises(FileExistsError):
        store.put("k", b"", overwrite=False)
    with pytest.raises(FileExistsError):
        store.copy("k", "k", overwrite=False)
    with pytest.raises(NotFound):
        store.get("missing")


# --- a memory map stays one where the bytes are the same --------------------------------------------


@pytest.mark.parametrize("wrap", [ReadOnly, Retrying, Limited, Observed, Evicting, lambda store: store])
def test_a_file_is_mapped_through_wrappers_that_leave_its_bytes_alone(tmp_path, wrap):
    FileStore(tmp_path).put("p/k", b"data")
    settings = {"max_bytes": 100} if wrap is Evicting else {}
    view = wrap(Prefixed(FileStore(tmp_path), "p"), **settings).map("k")
    assert (bytes(view), isinstance(view.obj, mmap)) == (b"data", True)


def test_a_map_of_several_stores_is_of_the_one_that_has_the_key(tmp_path):
    FileStore(tmp_path).put("k", b"data")
    for store in (Layered(MemoryStore(), FileStore(tmp_path)), Sized(MemoryStore(), FileStore(tmp_path), 1)):
        assert isinstance(store.map("k").obj, mmap)


def test_a_map_of_what_is_compressed_is_of_the_data():
    below = MemoryStore()
    Compressed(below).put("k", bytes(10_000))
    assert Compressed(below).map("k") == bytes(10_000) != below.map("k")


def test_a_map_counts_as_a_use_and_is_observed():
    told = []
    store = Observed(Evicting(MemoryStore(), 10), told.append)
    for key in "abc":
        store.put(key, b"123")
    told.clear()
    store.map("a")
    store.put("d", b"123")
    assert store.list().keys == ["a", "c", "d"]
    assert [(event.operation, event.phase, event.bytes_done) for event in told[:3]] == [
        ("map", "start", 0),
        ("map", "step", 3),
        ("map", "end", 3),
    ]
