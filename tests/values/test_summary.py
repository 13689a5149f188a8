"""Previews of models, frames and arrays: what a person wants to know, bounded, and nothing of theirs runs."""

from __future__ import annotations

import datetime
import decimal
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from valuestore import Repository
from valuestore.values.preview import PREVIEW_MAX_CHARS
from valuestore.values.registry import TypeRegistry


def preview(obj):
    text = TypeRegistry().encode(obj).preview
    assert len(text) <= PREVIEW_MAX_CHARS
    assert text.isascii()
    return json.loads(text)


class Estimator:
    """As those of scikit-learn are: parameters by name, what was learned with an underscore."""

    def __init__(self, alpha=1.0, *, solver="auto", steps=None, inner=None):
        self.alpha, self.solver, self.steps, self.inner = alpha, solver, steps, inner

    def get_params(self, deep=True):
        raise AssertionError("asked for a preview")

    def __repr__(self):
        raise RuntimeError("no text of me")


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (Estimator(), "Estimator()"),
        (Estimator(0.5), "Estimator(alpha=0.5)"),
        (Estimator(1, solver="x" * 200), "Estimator(alpha=1, solver='" + "x" * 60 + "')"),
        (Estimator(inner=Estimator(2.0)), "Estimator(inner=Estimator(alpha=2.0))"),
        (
            Estimator(steps=[("a", Estimator()), ("b", None)]),
            "Estimator(steps=[('a', Estimator()), ('b', None)])",
        ),
        (Estimator(alpha={"deep": [1]}), "Estimator(alpha=dict of 1)"),
    ],
)
def test_a_model_is_its_class_and_what_was_set(model, shown):
    assert preview(model).startswith(shown[:100])
    assert preview({"model": model, "score": 0.9})["model"].startswith(shown[:100])


def test_a_model_of_many_parts_is_cut():
    assert len(preview(Estimator(steps=[("n", Estimator(solver="y" * 50))] * 100))) < PREVIEW_MAX_CHARS


def test_models_of_scikit_learn_are_shown_as_there(tmp_path):
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.Ridge(alpha=0.5).fit([[1.0], [2.0]], [1.0, 2.0])
    with Repository.open(tmp_path) as repository:
        assert repository.put(model).preview == f'"{model!r}"' == '"Ridge(alpha=0.5)"'


DAY = "2026-01-02"
TIME = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("frame", "columns", "first"),
    [
        (
            pd.DataFrame({"city": ["Rome"] * 9, "t": [1.5] * 9}),
            {"city": str(pd.DataFrame({"city": ["Rome"]}).dtypes["city"]), "t": "float64"},
            [["Rome", 1.5]] * 3,
        ),
        (pd.DataFrame({"t": [float("nan")]}), {"t": "float64"}, [["nan"]]),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["a: int64", "a: int64"], [[1, 2]]),
        (pd.DataFrame({("a", "x"): [1]}), {"('a', 'x')": "int64"}, [[1]]),
        (pd.DataFrame({"o": [[1, 2], Estimator]}), {"o": "object"}, [["list of 2"], ["type"]]),
        (pd.DataFrame({"a": [1]}).iloc[:0], {"a": "int64"}, None),
        (pd.DataFrame({"d": [decimal.Decimal("1.50")]}), {"d": "object"}, [["1.50"]]),
        (pl.DataFrame({"a": [1, None], "l": [[1], [2]]}), {"a": "Int64", "l": "List(Int64)"}, None),
        (pl.DataFrame({"t": [TIME]}), None, [["2026-01-02 03:00:00+00:00"]]),
        (pa.table([[1], [2]], names=["a", "a"]), ["a: int64", "a: int64"], [[1, 2]]),
        (pa.table({"n": pa.nulls(2)}), {"n": "null"}, [[None], [None]]),
        (np.array([(1, "x")], [("a", "i4"), ("b", "U3")]), {"a": "int32", "b": "<U3"}, [[1, "x"]]),
    ],
)
def test_a_frame_is_shape_types_and_first_rows(frame, columns, first):
    for told in (preview(frame), preview({"frame": frame})["frame"]):
        assert told["rows"] == len(frame)
        assert columns is None or told["columns"] == columns
        assert told.get("first") == first or (first is None and len(frame))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (
            np.arange(12.0).reshape(3, 4),
            {"dtype": "float64", "shape": [3, 4], "first": [*map(float, range(8))]},
        ),
        (np.asfortranarray([[1, 2], [3, 4]]), {"dtype": "int64", "shape": [2, 2], "first": [1, 2, 3, 4]}),
        (np.array([np.nan, -np.inf]), {"dtype": "float64", "shape": [2], "first": ["nan", "-inf"]}),
        (np.zeros((0, 3)), {"dtype": "float64", "shape": [0, 3]}),
        (np.array(5), {"dtype": "int64", "shape": [], "first": [5]}),
        (np.array(["x" * 5000]), {"dtype": "<U5000", "shape": [1]}),
        (
            np.array(["2026-01-02"], "M8[D]"),
            {"dtype": "datetime64[D]", "shape": [1], "first": ["2026-01-02"]},
        ),
        (
            np.array([b"\0\xff", {}], object),
            {"dtype": "object", "shape": [2], "first": ["b'\\x00\\xff'", "dict of 0"]},
        ),
    ],
)
def test_an_array_is_dtype_shape_and_first_items(array, told):
    assert preview(array) == told
    assert preview({"array": array, "n": 1})["array"] == told


def test_huge_texts_and_many_columns_stay_within_bounds():
    assert preview(pd.DataFrame({"a": ["x" * 1_000_000] * 10}))["rows"] == 10
    assert preview(pd.DataFrame({f"column {n}": [n] for n in range(2000)}))["rows"] == 1
    assert "1992 more" in str(preview([np.zeros(1)] * 2000))


class Odd:
    """What would run if a preview asked it."""

    def __init__(self):
        self.n = 1

    def __repr__(self):
        raise RuntimeError("asked for a preview")

    __str__ = __hash__ = __len__ = __repr__


def test_a_repr_that_raises_is_not_asked():
    told = preview(pd.DataFrame({"o": np.array([Odd(), None], object)}))
    assert told["first"] == [["Odd"], [None]]
    assert preview(np.array([Odd()], object))["first"] == ["Odd"]


def test_a_summary_that_fails_leaves_the_form():
    class Label(str):
        def __str__(self):
            raise RuntimeError

    assert preview({"f": pd.DataFrame({"a": [1]}), "l": [1, (2,)]})["l"] == [1, [2]]
    frame = pd.DataFrame([[1]], columns=pd.Index([Label("a")], dtype=object))
    from valuestore.values.preview import summarised

    assert summarised(frame, "the form", TypeRegistry().rule_of) == "the form"


def test_summaries_are_no_part_of_identity():
    registry = TypeRegistry()
    for obj in ({"f": pd.DataFrame({"a": [1]})}, [np.arange(3)], ("\0", "n", np.arange(3))):
        assert registry.encode(obj).value_hash == registry.hash(obj)
        assert registry.encode(obj).preview
