"""The data: what was put is what is got, whole, in ranges and as a stream, whatever form it came in.

Then what is known of a key without reading it: size, time, etag, and the attributes that callers give.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from valuestore.errors import NotFound
from valuestore.stores.base import Store
from valuestore.testing.store_contract.samples import (
    ALL_BYTES,
    ATTRS,
    OpenedStore,
    forward_only,
    pieces,
    put_all,
    refuses,
)


class DataFacts(OpenedStore):
    @pytest.mark.parametrize("data", [b"", b"\0", b"serialized", ALL_BYTES, b"x" * (2**20 + 1)])
    def test_what_was_put_is_what_is_got(self, store: Store, data: bytes) -> None:
        store.put("k", data)
        assert store.get("k") == data
        assert store.exists("k")
        assert store.size("k") == store.stat("k").size == len(data)

    def test_a_missing_key_is_not_found_by_any_of_its_names(self, store: Store) -> None:
        for use in (store.get, store.stat, store.size, store.open, store.delete):
            for error in (NotFound, KeyError, FileNotFoundError):
                refuses(error, partial(use, "missing/key"))
        refuses(NotFound, lambda: store.get("missing/key", 1, 2))
        assert not store.exists("missing/key")

    def test_deleting_removes_that_key_alone(self, store: Store) -> None:
        put_all(store, ["a/1", "a/2", "b"])
        store.delete("a/1")
        refuses(NotFound, lambda: store.delete("a/1"), lambda: store.delete("a/3"))
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
        assert store.put("pieces", pieces(data, size)).etag == expected.etag
        assert store.get("pieces") == data

    def test_empty_pieces_do_not_end_the_data(self, store: Store) -> None:
        store.put("k", [b"", b"a", b"", bytearray(b"b"), memoryview(b"c"), b""])
        assert store.get("k") == b"abc"

    def test_a_stream_is_read_from_where_it_stands_and_left_open(self, store: Store) -> None:
        stream = io.BytesIO(b"0123456789")
        stream.seek(4)
        store.put("k", stream)
        only_read = forward_only(ALL_BYTES * 100)
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
        refuses(TypeError, lambda: store.put("k", data))
        assert not store.exists("k")

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

    def test_a_stream_is_gone_through_like_a_file(self, store: Store) -> None:
        data = b"".join(b"%07d\n" % number for number in range(300_000)) + ALL_BYTES
        store.put("k", data)
        with store.open("k") as stream, io.BytesIO(data) as twin:
            assert stream.seekable()
            for offset, whence in ((0, 2), (-8, 2), (0, 0), (1_900_000, 0), (-700_001, 1), (8, 0), (9**9, 0)):
                assert stream.seek(offset, whence) == twin.seek(offset, whence)
                assert (stream.read(300_000), stream.tell()) == (twin.read(300_000), twin.tell())
            assert (stream.seek(9), stream.read()) == (9, data[9:])

    def test_an_open_stream_outlives_a_new_value_and_a_deletion(self, store: Store) -> None:
        store.put("k", b"old" * 1000)
        with store.open("k") as stream:
            store.put("k", b"new")
            store.delete("k")
            assert stream.read() == b"old" * 1000


class AttributeFacts(OpenedStore):
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
        refuses(TypeError, lambda: store.put("k", b"new", attrs=bad))
        assert (store.get("k"), store.stat("k").attrs) == (b"old", {"x": 1})

    def test_attributes_that_never_end_are_refused(self, store: Store) -> None:
        endless: dict[str, Any] = {}
        endless["self"] = endless
        refuses(TypeError, lambda: store.put("k", b"", attrs=endless))
        assert not store.exists("k")
