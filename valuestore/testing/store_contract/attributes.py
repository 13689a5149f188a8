"""What is known of a key without reading it: size, time, etag, and the attributes that callers give."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from valuestore.stores.base import Store
from valuestore.testing.store_contract.samples import ATTRS, OpenedStore


class AttributeFacts(OpenedStore):
    # --- stat -----------------------------------------------------------------------------------------

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

    # --- attributes -----------------------------------------------------------------------------------

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
