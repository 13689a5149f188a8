"""What sets two frames apart: which columns, how many rows; told from payloads, which may be anything."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from valuestore.values.codecs import ipc
from valuestore.values.codecs.plain import decode_form
from valuestore.values.difference import columns_that_differ, difference
from valuestore.values.identity.canonical import NODE
from valuestore.values.registry import TypeRegistry

NAN = float("nan")


def form(obj):
    payload = TypeRegistry().dump(obj)
    if payload.codec in ("arrow", "npy"):
        return NODE, payload.type_name, payload.codec, payload.data
    return decode_form(payload.codec, payload.data)


def ipc_of(table):
    return b"".join(ipc.encode(table))


def notes(before, after):
    return [change.note for change in difference(form(before), form(after))]


PRICES = {"price": [1.0, NAN, 3.0], "city": ["Rome", None, "Oslo"]}
DEARER = {"price": [1.0, NAN, 4.0], "city": ["Rome", None, "Oslo"]}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_the_column_that_differs_is_named_with_its_rows(make):
    [change] = difference(form(make(PRICES)), form(make(DEARER)))
    assert change.note == "column `price` differs in 1 of 3 rows, first in 2"
    assert (change.path, change.before, change.after) == ('["price"]', "3.0", "4.0")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_equal_frames_do_not_differ_nan_and_none_included(make):
    assert notes(make(PRICES), make(PRICES)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(x=1), ["column `x` added"]),
        (lambda f: f.drop(columns="city"), ["column `city` removed"]),
        (lambda f: f.astype({"price": "float32"}), ["column `price` is float, was double"]),
        (lambda f: f[["city", "price"]], ["columns in another order"]),
        (lambda f: pd.concat([f, f], ignore_index=True), ["3 rows added"]),
        (lambda f: f.iloc[:1], ["2 rows removed"]),
        (lambda f: f.iloc[:0], ["3 rows removed"]),
        (lambda f: f.iloc[::-1].reset_index(drop=True), [
            "column `price` differs in 2 of 3 rows, first in 0",
            "column `city` differs in 2 of 3 rows, first in 0",
        ]),
        (lambda f: f.fillna({"city": "?"}), ["column `city` differs in 1 of 3 rows, first in 1"]),
        (lambda f: f.set_axis([5, 6, 7]), ["column `index` added"]),
    ],
)  # fmt: skip
def test_each_kind_of_change_has_its_sentence(change, said):
    frame = pd.DataFrame(PRICES)
    assert notes(frame, change(frame)) == said


def test_columns_of_one_name_are_told_apart():
    before, after = (pa.table([[1], [n]], names=["a", "a"]) for n in (2, 3))
    assert notes(before, after) == ["column `a (2)` differs in 1 of 1 rows, first in 0"]


def test_columns_of_lists_and_categories_are_compared_without_being_expanded():
    before, after = (pl.DataFrame({"l": [[1], [n], None]}) for n in (2, 3))
    assert notes(before, after) == ["column `l` differs"]
    assert notes(before, before) == []
    before, after = (
        pd.DataFrame({"c": pd.Categorical(texts, ["x", "y"])}) for texts in (["x", "y"], ["x", "x"])
    )
    assert notes(before, after) == ["column `c` differs in 1 of 2 rows, first in 1"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (np.arange(3.0), np.array([0, 1, 5.0]), ["differs in 1 of 3 elements, first in 2"]),
        (np.zeros((2, 2)), np.zeros(4), ["is float64, was float64 of 2x2"]),
        (np.zeros(2), np.zeros(2, "i4"), ["is int32, was float64"]),
        (np.array([NAN]), np.array([NAN]), []),
        (np.zeros(0), np.zeros(2), ["2 elements added"]),
        (
            np.array([(1, 2.0)] * 3, [("a", "i4"), ("b", "f8")]),
            np.array([(1, 2.0), (1, 2.0), (1, 9.0)], [("a", "i4"), ("b", "f8")]),
            ["column `b` differs in 1 of 3 rows, first in 2"],
        ),
    ],
)
def test_arrays_and_records(before, after, said):
    assert notes(before, after) == said


def test_frames_inside_others_have_a_place():
    before, after = ({"f": pd.DataFrame(each), "n": 1} for each in (PRICES, DEARER))
    [change] = difference(form(before), form(after))
    assert change.path == '["f"]["price"]'
    assert change.note == '["f"]: column `price` differs in 1 of 3 rows, first in 2'


def test_a_frame_with_several_levels_of_labels_names_the_column_too():
    before, after = (pd.DataFrame(each).set_index("city", append=True) for each in (PRICES, DEARER))
    [change] = difference(form(before), form(after))
    assert change.path == '.data["price"]'


def test_only_bits_or_labels_differ_is_no_column():
    assert notes(pa.table({"a": [0.0]}), pa.table({"a": [-0.0]})) == []
    assert notes(pd.DataFrame({"a": [1]}).rename_axis("q"), pd.DataFrame({"a": [1]})) == []


PAYLOADS = [(codec, data) for _, _, codec, data in (form(pa.table(PRICES)), form(np.arange(5.0)))]


@pytest.mark.parametrize(("codec", "data"), PAYLOADS)
def test_a_payload_that_lies_says_nothing(codec, data):
    whole = columns_that_differ(codec, data, data)
    assert whole == []
    for length in range(0, len(data), 7):
        assert columns_that_differ(codec, data, data[:length]) == []
    for place in range(0, len(data), 3):  # lengths, offsets, types
        flipped = bytearray(data)
        flipped[place] ^= 0x7F
        assert isinstance(columns_that_differ(codec, data, bytes(flipped)), list)


def test_more_rows_than_bytes_are_not_looked_at():
    before, after = (
        ipc_of(pa.table({"n": pa.Array.from_buffers(pa.null(), rows, [None])})) for rows in (1 << 29, 1 << 30)
    )
    assert columns_that_differ("arrow", before, after) == []


def test_long_words_of_many_rows_stay_words():
    words = ["x" * 1_000_000, "y" * 1_000_000]
    rows = np.zeros(100_000, "i1")
    before = pa.table({"c": pa.DictionaryArray.from_arrays(rows, words)})  # 100 GB if they were written out
    rows = rows.copy()
    rows[7] = 1
    after = pa.table({"c": pa.DictionaryArray.from_arrays(rows, words)})
    assert notes(before, after) == ["column `c` differs in 1 of 100,000 rows, first in 7"]


def test_objects_in_npy_are_not_read():
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
        + b"\n"
    )
    evil = header + b"cos\nsystem\n(S'echo executed'\ntR."
    assert columns_that_differ("npy", evil, evil + b"x") == []


@pytest.mark.parametrize(("codec", "data"), PAYLOADS)
def test_without_the_library_nothing_is_told(codec, data, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("valuestore.values.codecs"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert columns_that_differ(codec, data, data[:-1]) == []


def test_long_texts_are_cut_where_they_are_shown():
    before, after = (pa.table({"t": [text * 1_000_000], "x" * 5000: [1]}) for text in "ab")
    [change] = difference(form(before), form(after))
    assert len(json.dumps([change.before, change.after])) < 1000
