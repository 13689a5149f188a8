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
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from threading import Barrier, Event
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from valuestore.errors import (
    AlreadyExists,
    BadKey,
    NotFound,
    NotSupported,
    SizeMismatch,
    StoreClosed,
    StoreError,
)
from valuestore.stores.base import Page, Stat, Store

ALL_BYTES = bytes(range(256))
ATTRS: dict[str, Any] = {
    "str": "text ä\N{NO-BREAK SPACE}\n",
    "int": 2**70,
    "float": 0.1,
    "whole": 1.0,
    "true": True,
    "none": None,
    "list": [1, [2.5, "x"], {}],
    "dict": {"": {"nested": [False]}},
}
BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/./b",
    "a/..",
    "./a",
    "a\0b",
    "\0",
    "x" * 1025,
    "ä" * 513,
    "a/" * 512 + "b",
    "\ud800",
    "a/\udcff",
]
ODD_KEYS = [
    "plain",
    "two/levels",
    "deep/" * 100 + "end",
    "x" * 1024,
    "y" * 256 + "/" + "z" * 300,
    "ä" * 512,
    "a b",
    "tab\tnew\nline\rbell\a",
    "-rf",
    "~",
    "~root/x",
    "*?[x]",
    "a\\b",
    "C:\\x",
    "con",
    "nul.txt",
    "trailing.",
    "trailing ",
    " leading",
    ".hidden",
    "...",
    "..a",
    "a..",
    ".vs~",
    ".vs~/tmp/x",
    ".vs~/attrs/y",
    ".tmp",
    "x.tmp",
    "x.lock",
    "x.key",
    "%2e%2e/%2e%2e",
    "%00",
    "a%2Fb",
    "a?b=c#d",
    "http:/evil",
    "$(id)",
    "`id`",
    "{0}",
    "'; DROP TABLE x; --",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{RIGHT-TO-LEFT OVERRIDE}x",
    "\N{ZERO WIDTH JOINER}",
    "\N{GRINNING FACE}",
    "\x7f",
    "\x01",
    "Case",
    "case",
    "CASE",
]
"""All of them keys, though they look like paths out, patterns, commands, reserved names or each other."""


class _OnlyRead:
    """A stream that can read forward and nothing else, in short pieces; it tells if somebody closed it."""

    closed = False

    def __init__(self, data: bytes, most: int = 8000) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(self._most if size < 0 else min(size, self._most))

    def close(self) -> None:
        self.closed = True


def _stream(data: bytes) -> BinaryIO:
    return cast(BinaryIO, _OnlyRead(data))


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _failing(data: bytes, error: BaseException) -> Iterator[bytes]:
    yield data
    raise error


def _pages(store: Store, prefix: str, limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = store.list(prefix, limit=limit, cursor=cursor)
        pages.append(page.keys)
        if (cursor := page.cursor) is None:
            return pages


def _get_elsewhere(store: Store, key: str) -> tuple[bytes, dict[str, Any]]:
    with store:
        return store.get(key), store.stat(key).attrs


def _put_all(store: Store, keys: Iterable[str]) -> None:
    for key in keys:
        store.put(key, key.encode())


class StoreContract:
    """The facts. ``make_store`` returns a callable that opens the one place of the test, again and again."""

    shared_between_processes = True
    """Whether a store opened in another process, from a pickle, sees the same keys."""

    @pytest.fixture
    def make_store(self, tmp_path: Any) -> Callable[[], Store]:
        raise NotImplementedError("override the fixture make_store")

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Iterator[Store]:
        with make_store() as store:
            yield store

    # --- data ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize("data", [b"", b"\0", b"serialized", ALL_BYTES, b"x" * (2**20 + 1)])
    def test_what_was_put_is_what_is_got(self, store: Store, data: bytes) -> None:
        store.put("k", data)
        assert store.get("k") == data
        assert store.exists("k")
        assert store.size("k") == store.stat("k").size == len(data)

    def test_a_missing_key_is_not_found_by_any_of_its_names(self, store: Store) -> None:
        for use in (store.get, store.stat, store.size, store.open, store.delete):
            for error in (NotFound, KeyError, FileNotFoundError):
                with pytest.raises(error):
                    use("missing/key")
        with pytest.raises(NotFound):
            store.get("missing/key", 1, 2)
        assert not store.exists("missing/key")

    def test_deleting_removes_that_key_alone(self, store: Store) -> None:
        _put_all(store, ["a/1", "a/2", "b"])
        store.delete("a/1")
        with pytest.raises(NotFound):
            store.delete("a/1")
        with pytest.raises(NotFound):
            store.delete("a/3")
        assert not store.exists("a/1")
        assert store.list().keys == ["a/2", "b"]

    def test_a_key_can_be_put_again_after_its_deletion(self, store: Store) -> None:
        store.put("a/b", b"1", attrs={"x": 1})
        store.delete("a/b")
        assert store.put("a/b", b"2").attrs == {}
        assert store.get("a/b") == b"2"

    def test_the_second_put_wins(self, store: Store) -> None:
        store.put("k", b"first, and longer")
        store.put("k", b"second")
        assert store.get("k") == b"second"
        assert store.list().keys == ["k"]

    def test_nothing_of_the_caller_is_kept(self, store: Store) -> None:
        data, attrs = bytearray(b"data"), {"list": [1]}
        store.put("k", data, attrs=attrs)
        data[0] = 0
        attrs["list"].append(2)
        attrs["more"] = []
        assert store.get("k") == b"data"
        assert store.stat("k").attrs == {"list": [1]}

    def test_nothing_of_the_store_is_handed_out(self, store: Store) -> None:
        store.put("k", b"", attrs={"list": [1]}).attrs["list"].append(2)
        store.stat("k").attrs["list"].append(3)
        assert store.stat("k").attrs == {"list": [1]}

    @pytest.mark.parametrize("size", [1, 8000, 2**20])
    def test_the_size_of_the_pieces_does_not_matter(self, store: Store, size: int) -> None:
        data = ALL_BYTES * (8 if size == 1 else 8000)
        expected = store.put("whole", data)
        assert store.put("pieces", _pieces(data, size)).etag == expected.etag
        assert store.get("pieces") == data

    def test_empty_pieces_do_not_end_the_data(self, store: Store) -> None:
        store.put("k", [b"", b"a", b"", bytearray(b"b"), memoryview(b"c"), b""])
        assert store.get("k") == b"abc"

    def test_a_stream_is_read_from_where_it_stands_and_left_open(self, store: Store) -> None:
        stream = io.BytesIO(b"0123456789")
        stream.seek(4)
        store.put("k", stream)
        only_read = _stream(ALL_BYTES * 100)
        store.put("l", only_read)
        assert store.get("k") == b"456789"
        assert store.get("l") == ALL_BYTES * 100
        assert not stream.closed
        assert not only_read.closed

    def test_any_contiguous_or_strided_view_is_its_bytes(self, store: Store) -> None:
        view = memoryview(ALL_BYTES)
        store.put("strided", view[::2])
        store.put("wide", view.cast("I"))
        assert store.get("strided") == ALL_BYTES[::2]
        assert store.get("wide") == ALL_BYTES

    def test_fifty_megabytes_pass_through_as_a_stream(self, store: Store) -> None:
        piece = ALL_BYTES * 4000
        store.put("large", (piece for _ in range(50)), size=50 * len(piece))
        with store.open("large") as stream:
            assert all(stream.read(len(piece)) == piece for _ in range(50))
            assert stream.read(1) == b""
        assert store.stat("large").size == 50 * len(piece)

    def test_a_file_is_stored_from_its_stream(self, store: Store, tmp_path: Any) -> None:
        path = tmp_path / "source"
        path.write_bytes(ALL_BYTES)
        with path.open("rb") as file:
            assert store.put("k", file).attrs == {}
        assert store.get("k") == ALL_BYTES

    @pytest.mark.parametrize("data", ["text", io.StringIO("text"), [1, 2], ["text"], 5, None])
    def test_only_bytes_are_stored(self, store: Store, data: Any) -> None:
        with pytest.raises(TypeError):
            store.put("k", data)
        assert not store.exists("k")

    # --- all or nothing -----------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [3, 19, 21, 100])
    @pytest.mark.parametrize("wrap", [bytes, _stream, lambda data: _pieces(data, 7)])
    def test_a_wrong_size_stores_nothing(self, store: Store, wrap: Any, size: int) -> None:
        with pytest.raises(SizeMismatch):
            store.put("new", wrap(b"x" * 20), size=size)
        store.put("old", b"old", attrs={"x": 1})
        with pytest.raises(ValueError):
            store.put("old", wrap(b"x" * 20), size=size, attrs={"x": 2})
        assert store.list().keys == ["old"]
        assert (store.get("old"), store.stat("old").attrs) == (b"old", {"x": 1})

    def test_the_right_size_is_accepted(self, store: Store) -> None:
        assert store.put("k", _stream(b"x" * 20), size=20).size == 20
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
                store.put(key, _failing(b"x" * 2**20, error), attrs={"x": 2})
            assert caught.value is error
        assert store.list().keys == ["old"]
        assert (store.get("old"), store.stat("old").attrs) == (b"old", {"x": 1})

    def test_create_only_leaves_what_is_there(self, store: Store) -> None:
        first = store.put("k", b"first", attrs={"x": 1}, overwrite=False)
        for data in (b"first", b"second"):
            with pytest.raises(AlreadyExists):
                store.put("k", data, overwrite=False)
            with pytest.raises(FileExistsError):
                store.put("k", _stream(data), attrs={}, overwrite=False)
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

    # --- ranges and streams -------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (1, 3),
            (8, 100),
            (5, 5),
            (-3, None),
            (0, 3),
            (11, None),
            (10, 20),
            (0, None),
            (7, 2),
            (-100, 2),
            (2, -2),
        ],
    )
    def test_a_range_is_clamped_as_a_slice_is(self, store: Store, start: int, end: int | None) -> None:
        store.put("k", b"0123456789")
        assert store.get("k", start, end) == b"0123456789"[start:end]

    def test_a_range_of_nothing_is_empty(self, store: Store) -> None:
        store.put("k", b"")
        assert store.get("k", 0, 10) == store.get("k", 5) == b""

    def test_a_stream_reads_in_any_steps_and_closes_twice(self, store: Store) -> None:
        store.put("k", ALL_BYTES)
        stream = store.open("k")
        assert b"".join(iter(lambda: stream.read(4), b"")) == ALL_BYTES
        stream.close()
        stream.close()

    def test_an_open_stream_outlives_a_new_value_and_a_deletion(self, store: Store) -> None:
        store.put("k", b"old" * 1000)
        with store.open("k") as stream:
            store.put("k", b"new")
            store.delete("k")
            assert stream.read() == b"old" * 1000

    # --- stat ---------------------------------------------------------------------------------------

    def test_put_tells_what_stat_tells(self, store: Store) -> None:
        assert store.put("k", b"data", attrs=ATTRS) == store.stat("k")
        assert store.put("k", b"data", attrs={}) == store.stat("k")

    def test_modified_is_the_time_of_the_put_in_utc(self, store: Store) -> None:
        before = datetime.now(UTC) - timedelta(seconds=1)
        modified = store.put("k", b"").modified
        assert before <= modified <= datetime.now(UTC) + timedelta(seconds=1)
        assert store.stat("k").modified == modified
        assert modified.utcoffset() == timedelta(0)

    def test_the_etag_changes_exactly_when_the_content_does(self, store: Store) -> None:
        etags = [store.put("k", data).etag for data in (b"one", b"two", b"one", b"")]
        assert etags[0] == etags[2]
        assert len(set(etags)) == 3
        assert (
            store.put("k", b"", attrs={"x": 1}).etag
            == store.stat("k").etag
            == store.stat("k").etag
            == etags[3]
        )
        assert not any('"' in etag or etag.startswith("W/") or not etag for etag in etags)

    # --- attributes ---------------------------------------------------------------------------------

    def test_attributes_come_back_with_their_types(self, store: Store) -> None:
        store.put("k", b"", attrs=ATTRS)
        attrs = store.stat("k").attrs
        assert attrs == ATTRS
        assert json.dumps(attrs) == json.dumps(ATTRS)  # which tells 1 from 1.0 from True, and the order

    def test_a_put_without_attributes_keeps_those_there(self, store: Store) -> None:
        assert store.put("k", b"1").attrs == {}
        assert store.put("k", b"2", attrs={"x": 1}).attrs == {"x": 1}
        assert store.put("k", b"3").attrs == store.stat("k").attrs == {"x": 1}
        assert store.put("k", b"4", attrs={"y": 2}).attrs == store.stat("k").attrs == {"y": 2}
        assert store.put("k", b"5", attrs={}).attrs == store.stat("k").attrs == {}

    @pytest.mark.parametrize(
        "bad",
        [
            {"x": b"bytes"},
            {"x": (1, 2)},
            {"x": {1, 2}},
            {"x": object()},
            {"x": [1, {"y": datetime(2026, 1, 1, tzinfo=UTC)}]},
            {"x": float("nan")},
            {"x": float("inf")},
            {"x": {1: "a"}},
            {1: "a"},
            {"x": 10**5000},
            ["x"],
            "x",
        ],
    )
    def test_attributes_that_are_not_json_are_refused_and_change_nothing(
        self, store: Store, bad: Any
    ) -> None:
        store.put("k", b"old", attrs={"x": 1})
        with pytest.raises(TypeError):
            store.put("k", b"new", attrs=bad)
        assert (store.get("k"), store.stat("k").attrs) == (b"old", {"x": 1})

    def test_attributes_that_never_end_are_refused(self, store: Store) -> None:
        endless: dict[str, Any] = {}
        endless["self"] = endless
        with pytest.raises(TypeError):
            store.put("k", b"", attrs=endless)
        assert not store.exists("k")

    # --- keys ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize("key", [*BAD_KEYS, None, 5, b"bytes"], ids=repr)
    def test_a_bad_key_is_refused_everywhere(self, store: Store, key: Any) -> None:
        _put_all(store, ["a", "x"])
        uses: list[Callable[[], object]] = [
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
        ]
        for use in uses:
            with pytest.raises(BadKey):
                use()
        assert store.list().keys == ["a", "x"]

    def test_every_key_is_itself(self, store: Store) -> None:
        _put_all(store, ODD_KEYS)
        assert {key: store.get(key).decode() for key in ODD_KEYS} == {key: key for key in ODD_KEYS}
        assert store.list().keys == sorted(ODD_KEYS, key=str.encode)
        for key in ODD_KEYS:
            store.delete(key)
        assert store.list().keys == []

    def test_a_key_and_keys_below_it_live_together(self, store: Store) -> None:
        for order in (["p", "p/x", "p/x/y"], ["q/x/y", "q/x", "q"]):
            _put_all(store, order)
            assert [store.get(key).decode() for key in order] == order
        assert store.list().keys == ["p", "p/x", "p/x/y", "q", "q/x", "q/x/y"]
        store.delete("p")
        store.delete("q/x")
        assert store.list().keys == ["p/x", "p/x/y", "q", "q/x/y"]
        assert not store.exists("q/x")
        store.put("p", b"again", attrs={"x": 1})
        assert (store.get("p"), store.stat("p").attrs, store.get("p/x")) == (b"again", {"x": 1}, b"p/x")

    # --- listing ------------------------------------------------------------------------------------

    def test_pages_are_sorted_full_lossless_and_without_doubles(self, store: Store) -> None:
        _put_all(store, ["runs/r1/a", "runs/r1/b", "runs/r1/sub/c", "runs/r2/d"])
        first = store.list("runs/r1/", limit=2)
        assert first == Page(["runs/r1/a", "runs/r1/b"], "runs/r1/b")
        assert store.list("runs/r1/", limit=2, cursor=first.cursor) == Page(["runs/r1/sub/c"], None)
        assert _pages(store, "", 1) == [["runs/r1/a"], ["runs/r1/b"], ["runs/r1/sub/c"], ["runs/r2/d"]]

    def test_the_cursor_is_none_exactly_when_no_key_follows(self, store: Store) -> None:
        keys = [f"k{n}" for n in range(10)]
        _put_all(store, keys)
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
        with pytest.raises(ValueError):
            store.list(cursor=cursor)

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_is_at_least_one(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError):
            store.list(limit=limit)

    def test_a_prefix_is_one_of_bytes(self, store: Store) -> None:
        _put_all(store, ["a", "a/1", "ab/3", "b"])
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
        _put_all(store, reversed(keys))
        assert sorted(keys, key=str.encode) == keys
        assert store.list().keys == list(store.keys()) == keys
        for limit in range(1, len(keys) + 1):
            assert [key for page in _pages(store, "", limit) for key in page] == keys
        for cursor in ("a", "a.", "a/b", "a/b/0", "a/c", "b"):
            assert store.list(cursor=cursor).keys == [key for key in keys if key > cursor]

    def test_pages_survive_insertions_and_deletions(self, store: Store) -> None:
        _put_all(store, ["a/1", "a/2", "b/1", "c/1"])
        cursor = store.list(limit=2).cursor
        store.delete("a/2")
        _put_all(store, ["a/0", "a/3"])
        assert store.list(limit=2, cursor=cursor) == Page(["a/3", "b/1"], "b/1")
        store.delete("c/1")
        assert store.list(cursor="b/1") == Page([], None)

    def test_keys_stop_when_their_reader_stops(self, store: Store) -> None:
        _put_all(store, ["a", "b", "c"])
        keys = store.keys()
        assert [next(keys), next(keys)] == ["a", "b"]
        store.delete("c")
        assert next(keys, "none") in ("c", "none")

    # --- copies and many at once --------------------------------------------------------------------

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
        store.put_many(["a", "b"], [b"1", _stream(b"2")])
        assert list(store.get_many(["a", "b"])) == [b"1", b"2"]
        for keys, values in ((["a", "b", "c"], [b"x", b"y"]), (["a", "b"], [b"x", b"y", b"z"])):
            with pytest.raises(ValueError):
                store.put_many(keys, values)

    def test_many_are_deleted_whether_or_not_all_are_there(self, store: Store) -> None:
        _put_all(store, ["a", "b", "c"])
        assert store.delete_many(["a", "missing", "c"]) == {"a", "c"}
        assert store.list().keys == ["b"]

    def test_an_unknown_kind_of_signed_url_is_refused(self, store: Store) -> None:
        store.put("k", b"")
        with pytest.raises((NotSupported, ValueError)):
            store.sign("k", "BREW")

    # --- life ---------------------------------------------------------------------------------------

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
        uses: list[Callable[[], object]] = [
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
        ]
        for use in uses:
            with pytest.raises(StoreClosed):
                use()

    def test_a_pickle_opens_the_same_place(self, store: Store) -> None:
        store.put("k", b"data", attrs={"x": 1})
        with pickle.loads(pickle.dumps(store)) as again:
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


# --- the machine ------------------------------------------------------------------------------------

_SEGMENTS = st.sampled_from(["a", "b", "a b", "a-", "a0", "A", "ä", ".vs~", "x" * 255, "y" * 256])
_KEYS = st.lists(_SEGMENTS, min_size=1, max_size=3).map("/".join)
_DATA = st.binary(max_size=40) | st.sampled_from([0, 1, 500]).map(lambda times: ALL_BYTES * times)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_ATTRS = st.none() | st.dictionaries(st.text(max_size=5), _JSON, max_size=3)
_WRAPS = st.sampled_from([bytes, bytearray, _stream, io.BytesIO, lambda data: _pieces(data, 1000)])


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
        try:
            put = self.store.put(key, data, attrs=attrs, overwrite=False)
        except AlreadyExists:
            assert key in self.expected
        else:
            assert key not in self.expected
            self.expected[key] = data, attrs or {}
            self.compare(key, put)

    @rule(key=_KEYS, data=_DATA, wrong=st.integers(0, 100))
    def put_of_a_wrong_size(self, key: str, data: bytes, wrong: int) -> None:
        if wrong != len(data):
            with pytest.raises(SizeMismatch):
                self.store.put(key, _pieces(data, 7), size=wrong)

    @rule(key=_KEYS)
    def get(self, key: str) -> None:
        assert self.store.exists(key) == (key in self.expected)
        try:
            known = self.store.stat(key)
        except NotFound:
            assert key not in self.expected
        else:
            self.compare(key, known)

    @rule(key=_KEYS, start=st.integers(-50, 50), end=st.none() | st.integers(-50, 50))
    def get_range(self, key: str, start: int, end: int | None) -> None:
        if key in self.expected:
            assert self.store.get(key, start, end) == self.expected[key][0][start:end]

    @rule(key=_KEYS)
    def delete(self, key: str) -> None:
        try:
            self.store.delete(key)
        except NotFound:
            assert key not in self.expected
        else:
            del self.expected[key]

    @rule(source=_KEYS, destination=_KEYS, move=st.booleans())
    def copy_or_move(self, source: str, destination: str, move: bool) -> None:
        try:
            self.store.move(source, destination) if move else self.store.copy(source, destination)
        except NotFound:
            assert source not in self.expected
        else:
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
