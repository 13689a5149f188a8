"""Rows and questions: what every table takes and refuses, in memory and on Redis."""

from __future__ import annotations

import sys
import uuid
from math import inf, nan
from types import SimpleNamespace

import pytest

from valuestore.errors import CodecError, NotFound, StoreClosed, TableError
from valuestore.tables import (
    Codec,
    Int32,
    Interval,
    JsonText,
    MemoryTable,
    Nullable,
    RedisTable,
    String,
    Uuid,
)
from valuestore.testing.table_contract import DECLARED, ids, row


@pytest.fixture(params=["memory", "redis"])
def make_table(request):
    if request.param == "memory":
        return MemoryTable
    url = request.getfixturevalue("redis_url")
    return lambda **declared: RedisTable(url, "rows", **declared)


@pytest.fixture
def table(make_table):
    return make_table(**DECLARED)


def test_rows_are_kept_as_they_were_put(table):
    given = row(1, text="a")
    table.put(given)
    given["text"] = "b"
    table.get(1)["text"] = "c"
    assert table.get(1)["text"] == "a"


def test_bad_questions_are_value_errors(table):
    table.put(row(1))
    overlapping = (Interval(0, 2), Interval(1, 3))
    for ask in (table.find, table.count, table.delete):
        for bad in (
            ("id", *overlapping),
            ("id", Interval(), Interval(2, 3)),
            ("no", Interval()),
            ("id", 1),
        ):
            with pytest.raises(ValueError):
                ask(*bad)
    for ends in ((2, 1), (nan, 1), (0, nan), ("a", "b")):
        with pytest.raises(ValueError):
            Interval(*ends)
    with pytest.raises(ValueError):
        Interval.at(nan)
    for limit in (-1, 1.5, True, "1"):
        with pytest.raises(TableError, match="limit"):
            table.find("id", Interval(), limit=limit)
    assert ids(table.find("id", Interval())) == [1]


@pytest.mark.parametrize(
    "declared", [{"key": ()}, {"key": ["id"]}, {"codecs": {"id": None}}, {"codecs": {1: 2}}]
)
def test_a_key_names_attributes_that_have_codecs(make_table, declared):
    with pytest.raises(TableError):
        make_table(**{**DECLARED, **declared})


def test_rows_that_cannot_be_kept_are_value_errors_and_change_nothing(make_table):
    class Odd(Codec):
        takes = str

        def _encode(self, value):
            return value if value == "text" else value.encode()

        def _decode(self, data):
            return data.decode()

    indexes = {
        "n": lambda row: row["n"],
        "x": lambda row: {"nan": nan, "no": "no"}[row["s"]] if row["n"] else 1,
    }
    table = make_table(key="s", codecs={"s": Odd(), "n": Int32()}, indexes=indexes)
    table.put({"s": "a", "n": 0, "more": "is left out"})
    for bad in ({"s": "a"}, {"n": 1}, {"s": "nan", "n": 1}, {"s": "no", "n": 1}, {"s": "b", "n": 1}, 5):
        with pytest.raises(ValueError):
            table.put_many([{"s": "b", "n": 0}, bad])
    for bad in (
        {"s": "a", "n": "1"},
        {"s": "a", "n": 1.0},
        {"s": "a", "n": 2**31},
        {"s": "text", "n": 0},
    ):
        with pytest.raises(CodecError):
            table.put(bad)
    for ask in (table.get, lambda key: table.delete_keys([key])):
        with pytest.raises(CodecError):
            ask(5)
    assert list(table.find("n", Interval())) == [{"s": "a", "n": 0}]


def test_rows_may_be_objects_and_keys_composite(make_table):
    codecs = {"a": String(), "b": Uuid(), "c": Nullable(JsonText())}
    table = make_table(
        key=("b", "a"),
        codecs=codecs,
        indexes={"length": lambda row: len(row.a)},
        get=getattr,
        make=lambda attributes: SimpleNamespace(**attributes),
    )
    one, other = (SimpleNamespace(a="x" * number, b=uuid.UUID(int=number), c=[number]) for number in (1, 2))
    table.put_many([one, other])
    assert table.get((one.b, "x")) == one
    assert list(table.find("length", Interval(2))) == [other]
    with pytest.raises(NotFound):
        table.get((one.b, "xx"))
    for bad in (one.b, (one.b,), (one.b, "x", "x")):
        with pytest.raises(ValueError):
            table.get(bad)
    with pytest.raises(ValueError):
        table.put(SimpleNamespace(a="", b=one.b))
    with table.batch() as batch:
        batch.delete_keys([(one.b, "x")])
    assert list(table.find("length", Interval())) == [other]


def test_a_closed_table_refuses(table):
    table.put(row(1))
    table.close()
    table.close()
    for use in (lambda: table.put(row(1)), lambda: table.get(1), table.clear, table.batch().__enter__):
        with pytest.raises(StoreClosed):
            use()


def test_infinity_is_no_score_beyond_all_floats(table):
    table.put_many([row(0, inf), row(1, 10**400)])
    for n, score in ((0, inf), (1, 10**400)):
        assert table.count("score", Interval.at(score)) == 1
        assert ids(table.find("score", Interval.at(score))) == [n]
        assert ids(table.delete("score", Interval.at(score))) == [n]
    assert inf not in Interval.at(sys.float_info.max)
    assert sys.float_info.max in Interval.at(sys.float_info.max)


def test_a_row_where_intervals_of_large_scores_touch_is_found_once(table):
    table.put_many([row(number, score) for number, score in enumerate((-1e308, 2**60, 2**60 + 1))])
    touching = Interval(lt=-1e308), Interval(-1e308, 2**60), Interval(2**60)
    assert ids(table.find("score", *touching)) == [0, 1, 2]
    assert table.count("score", *touching) == 3
    assert len(table.delete("score", *touching)) == 3
    assert table.count("score", Interval()) == 0
