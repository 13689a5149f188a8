"""What every store keeps: StoreContract, fact by fact, and StoreMachine, against a dict.

Subclass both for a new store::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path)

    class MyMachine(StoreMachine):
        def open_store(self):
            return MyStore(self.place)

    TestMyMachine = MyMachine.TestCase

The facts are in ``store_contract/``.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from valuestore.errors import AlreadyExists, NotFound, SizeMismatch
from valuestore.stores.base import Page, Stat, Store
from valuestore.testing.store_contract.atomicity import AtomicityFacts, CopyFacts
from valuestore.testing.store_contract.data import AttributeFacts, DataFacts
from valuestore.testing.store_contract.keys import KeyFacts
from valuestore.testing.store_contract.life import LifeFacts
from valuestore.testing.store_contract.samples import (
    ALL_BYTES,
    ATTRS,
    BAD_KEYS,
    ODD_KEYS,
    forward_only,
    pieces,
    refuses,
)

__all__ = ["ALL_BYTES", "ATTRS", "BAD_KEYS", "ODD_KEYS", "StoreContract", "StoreMachine"]


class StoreContract(DataFacts, AtomicityFacts, AttributeFacts, KeyFacts, CopyFacts, LifeFacts):
    """All the facts. ``make_store`` returns what opens the one place of the test, again and again."""

    def odd_keys(self) -> list[str]:
        """Keys that look like something else. Override it to leave out what a place cannot hold."""
        return ODD_KEYS


_SEGMENTS = st.sampled_from(["a", "b", "a b", "a-", "a0", "A", "ä", ".vs~", "x" * 255, "y" * 256])
_KEYS = st.lists(_SEGMENTS, min_size=1, max_size=3).map("/".join)
_DATA = st.binary(max_size=40) | st.sampled_from([0, 1, 500]).map(lambda times: ALL_BYTES * times)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_ATTRS = st.none() | st.dictionaries(st.text(max_size=5), _JSON, max_size=3)
_WRAPS = st.sampled_from([bytes, bytearray, forward_only, io.BytesIO, lambda data: pieces(data, 1000)])


class StoreMachine(RuleBasedStateMachine):
    """Random work on a store, compared with a dict. Override ``open_store``; ``place`` is a fresh folder."""

    store: Store

    def open_store(self) -> Store:
        """The store of this run; called again to reopen it."""
        raise NotImplementedError("override open_store")

    @initialize()
    def begin(self) -> None:
        self.place = tempfile.mkdtemp(prefix="store-machine-")
        self.expected: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.etags: dict[tuple[str, bytes], str] = {}
        self.store = self.open_store()

    def teardown(self) -> None:
        try:
            self.compare_all()
        finally:
            self.store.close()
            shutil.rmtree(self.place)

    @rule(key=_KEYS, data=_DATA, attrs=_ATTRS, wrap=_WRAPS, declare=st.booleans())
    def put(self, key: str, data: bytes, attrs: dict[str, Any] | None, wrap: Any, declare: bool) -> None:
        kept = self.expected.get(key, (b"", {}))[1] if attrs is None else attrs
        self.expected[key] = data, kept
        self.compare(key, self.store.put(key, wrap(data), attrs=attrs, size=len(data) if declare else None))

    @rule(key=_KEYS, data=_DATA, attrs=_ATTRS)
    def create(self, key: str, data: bytes, attrs: dict[str, Any] | None) -> None:
        create = partial(self.store.put, key, data, attrs=attrs, overwrite=False)
        if key in self.expected:
            refuses(AlreadyExists, create)
        else:
            self.expected[key] = data, attrs or {}
            self.compare(key, create())

    @rule(key=_KEYS, data=_DATA, wrong=st.integers(0, 100))
    def put_of_a_wrong_size(self, key: str, data: bytes, wrong: int) -> None:
        if wrong != len(data):
            refuses(SizeMismatch, lambda: self.store.put(key, pieces(data, 7), size=wrong))

    @rule(key=_KEYS)
    def get(self, key: str) -> None:
        assert self.store.exists(key) == (key in self.expected)
        if key in self.expected:
            self.compare(key, self.store.stat(key))
        else:
            refuses(NotFound, lambda: self.store.stat(key))

    @rule(key=_KEYS, start=st.integers(-50, 50), end=st.none() | st.integers(-50, 50))
    def get_range(self, key: str, start: int, end: int | None) -> None:
        if key in self.expected:
            assert self.store.get(key, start, end) == self.expected[key][0][start:end]

    @rule(key=_KEYS)
    def delete(self, key: str) -> None:
        if key in self.expected:
            self.store.delete(key)
            del self.expected[key]
        else:
            refuses(NotFound, lambda: self.store.delete(key))

    @rule(source=_KEYS, destination=_KEYS, move=st.booleans())
    def copy_or_move(self, source: str, destination: str, move: bool) -> None:
        change = self.store.move if move else self.store.copy
        if source not in self.expected:
            refuses(NotFound, lambda: change(source, destination))
        else:
            change(source, destination)
            self.expected[destination] = self.expected[source]
            if move and source != destination:
                del self.expected[source]
            self.compare(destination, self.store.stat(destination))

    @rule(
        prefix=st.just("") | _KEYS | _SEGMENTS.map("{}/".format),
        limit=st.integers(1, 4),
        cursor=st.none() | _KEYS,
    )
    def list_pages(self, prefix: str, limit: int, cursor: str | None) -> None:
        wanted = [key for key in sorted(self.expected, key=str.encode) if key.startswith(prefix)]
        assert list(self.store.keys(prefix)) == wanted
        while True:
            wanted = [key for key in wanted if cursor is None or key.encode() > cursor.encode()]
            page = self.store.list(prefix, limit=limit, cursor=cursor)
            assert page == Page(wanted[:limit], wanted[limit - 1] if len(wanted) > limit else None)
            if (cursor := page.cursor) is None:
                return

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open_store()

    @rule()
    def compare_all(self) -> None:
        assert self.store.list() == Page(sorted(self.expected, key=str.encode), None)
        for key in self.expected:
            self.compare(key, self.store.stat(key))

    def compare(self, key: str, known: Stat) -> None:
        data, attrs = self.expected[key]
        assert self.store.get(key) == data
        assert (known.key, known.size, known.attrs) == (key, len(data), attrs)
        assert self.etags.setdefault((key, data), known.etag) == known.etag
        assert sum(etag == known.etag for (other, _), etag in self.etags.items() if other == key) == 1
