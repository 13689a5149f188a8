"""Frames and tables: identity of what they hold, Arrow payloads that other tools read, forged ones."""

from __future__ import annotations

import datetime as dt
import importlib.resources
import io
import json
import random
import tarfile
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestore import Repository
from valuestore.errors import DecodeError, NotHashableError
from valuestore.values.codecs import ipc
from valuestore.values.registry import Payload, TypeRegistry


def refusal(obj):
    with pytest.raises(NotHashableError) as caught:
        TypeRegistry().hash(obj)
    return str(caught.value)


# --- pyarrow -----------------------------------------------------------------------------------------

COLUMNS = {
    "ints": pa.array([1, 2, None, 4, 5]),
    "floats": pa.array([1.0, float("nan"), -0.0, 4, 5]),
    "texts": pa.array(["a", "bb", None, "", "ccc"]),
    "views": pa.array(["a", "bb", None, "", "c" * 60], pa.string_view()),
    "bools": pa.array([True, None, False, True, True]),
    "lists": pa.array([[1], [], None, [2, None], [4]]),
    "fixed lists": pa.array([[1, 2], None, [3, 4], [5, 6], [7, 8]], pa.list_(pa.int8(), 2)),
    "list views": pa.array([[1], [], None, [2, 3], [4]], pa.list_view(pa.int8())),
    "structs": pa.array([{"x": 1}, None, {"x": None}, {"x": 1}, {"x": 0}]),
    "maps": pa.array([[("a", 1)], [], None, [("b", 2)], [("d", 3)]], pa.map_(pa.string(), pa.int8())),
    "dictionary": pa.array(["a", "b", "a", None, "c"]).dictionary_encode(),
    "decimals": pa.array([1, None, 3, 0, 5], pa.decimal128(10, 2)),
    "moments": pa.array([1, None, 3, 4, 5], pa.timestamp("us", "Europe/Paris")),
    "intervals": pa.array([(1, 2, 3), None, (1, 1, 1), (0, 0, 0), (4, 4, 4)], pa.month_day_nano_interval()),
    "bytes": pa.array([b"ab", None, b"cd", b"ef", b"gh"], pa.binary(2)),
    "nulls": pa.nulls(5),
    "halves": pa.array(np.arange(5, dtype="f2")),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 5], pa.int32()), pa.array([1, None])),
    "uuids": pa.array([b"0" * 16, None, b"1" * 16, b"2" * 16, b"3" * 16], pa.uuid()),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_neither_slices_nor_chunks_count(registry, name):
    array = COLUMNS[name]
    whole = registry.hash(array)
    assert registry.hash(pa.concat_arrays([array, array]).slice(5)) == whole
    rotated = pa.concat_arrays([array.slice(3), array.slice(0, 2)])
    assert registry.hash(pa.concat_arrays([array, array]).slice(3, 4)) == registry.hash(rotated)
    pieces = pa.chunked_array([array.slice(0, 2), array.slice(2, 0), array.slice(2)])
    assert registry.hash(pieces) == registry.hash(pa.chunked_array([array]))
    assert registry.hash(array.slice(1)) != whole


@pytest.mark.parametrize("name", COLUMNS)
def test_arrow_data_comes_back(registry, name):
    array = COLUMNS[name]
    pieces = pa.chunked_array([array.slice(0, 2), array.slice(2)])
    values = [array, array.slice(1, 3), array.slice(0, 0), pieces, array.type]
    values += [pa.table({"x": pieces}), pa.record_batch({"x": array}), pa.schema({"x": array.type})]
    values.append(pa.field("x", array.type, nullable=name == "nulls", metadata={"k": "v"}))
    for value in values:
        back = registry.load(registry.dump(value))
        assert type(back) is type(value)
        assert back.equals(value) or name == "floats"  # Arrow's NaN is not equal to itself
        assert registry.hash(back) == registry.hash(value)


def test_what_lies_below_a_null_does_not_count(registry):
    data = pa.py_buffer(np.array([1, 7, 3], "<i8"))
    other = pa.py_buffer(np.array([1, 9, 3], "<i8"))
    valid = pa.py_buffer(bytes([0b101]))
    one, two = (pa.Array.from_buffers(pa.int64(), 3, [valid, values]) for values in (data, other))
    assert registry.hash(one) == registry.hash(two) == registry.hash(pa.array([1, None, 3]))
    no_bitmap = pa.Array.from_buffers(pa.int64(), 3, [None, data])
    full_bitmap = pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\xff"), data])
    assert registry.hash(no_bitmap) == registry.hash(full_bitmap)


def test_types_names_metadata_and_dictionary_order_count(registry):
    table = pa.table({"a": [1, None]})
    different = [
        table,
        table.rename_columns(["b"]),
        table.cast(pa.schema({"a": pa.int32()})),
        table.replace_schema_metadata({"k": "v"}),
        table.cast(pa.schema([pa.field("a", pa.int64(), metadata={"k": "v"})])),
        pa.table({"a": [1, 0]}),
        pa.table({"a": [None, 1]}),
        pa.record_batch({"a": [1, None]}),
        pa.DictionaryArray.from_arrays([0, 1], ["a", "b"]),
        pa.DictionaryArray.from_arrays([1, 0], ["b", "a"]),
        pa.DictionaryArray.from_arrays([0, 1], ["a", "b"], ordered=True),
        pa.array([["ab"], ["c"]]),
        pa.array([["a"], ["bc"]]),
        pa.array([["ab", "c"], []]),
        pa.array(["a", "b"]),
        pa.array(["a", "b"], pa.large_string()),
        pa.array([b"a", b"b"]),
        pa.scalar(1),
        pa.scalar(1, pa.int8()),
        pa.scalar(None, pa.int8()),
    ]
    assert len({registry.hash(value) for value in different}) == len(different)


def test_scalars_come_back(registry):
    for scalar in (pa.scalar(1), pa.scalar(None, pa.string()), pa.scalar([1, 2]), pa.scalar({"a": 1})):
        assert registry.load(registry.dump(scalar)).equals(scalar)


def test_union_is_refused_by_the_column_that_holds_it():
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1]), pa.array(["a"])])
    assert "value['u']" in refusal(pa.table({"u": union}))


TABLE = pa.table({name: COLUMNS[name] for name in ("ints", "texts", "lists", "bools", "dictionary")})


def test_payload_is_what_other_tools_read(registry):
    data = registry.dump(TABLE).data
    assert pa.ipc.open_file(data).read_all().equals(TABLE)
    assert pl.read_ipc(io.BytesIO(data), use_pyarrow=False).shape == TABLE.shape
    assert pd.read_feather(io.BytesIO(data)).shape == TABLE.shape


def test_compressed_file_is_refused_before_it_is_expanded(registry):
    for compression in ("lz4", "zstd"):
        stream = io.BytesIO()
        pa.feather.write_feather(pa.table({"x": ["a"] * 10_000}), stream, compression=compression)
        with pytest.raises(DecodeError, match="compressed"):
            registry.load(Payload("pyarrow.Table", "arrow", stream.getvalue()))


def test_damaged_arrow_file_is_a_decode_error_or_a_valid_table():
    data = TypeRegistry().dump(TABLE).data
    chance = random.Random(1)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(data))] = chance.choice([0, 1, 127, 128, 255])
        try:
            ipc.decode(bytes(damaged)).to_pylist()
        except DecodeError:
            refused += 1
        except UnicodeDecodeError:  # of the schema's names, which pyarrow decodes when they are asked for
            refused += 1
    assert refused > 300


def test_truncated_arrow_file_is_a_decode_error():
    data = TypeRegistry().dump(TABLE).data
    for end in range(0, len(data) - 700, 97):
        with pytest.raises(DecodeError):
            TypeRegistry().load(Payload("pyarrow.Table", "arrow", data[:end]))


# --- pandas --------------------------------------------------------------------------------------------

SERIES = {
    "ints": [1, 2, 3, 4],
    "floats": [1.0, np.nan, -0.0, 4],
    "bools": [True, False, True, True],
    "texts": ["a", "b", None, "ü"],
    "days": pd.date_range("2026", periods=4),
    "zoned": pd.date_range("2026", periods=4, tz="Europe/Paris"),
    "offset zone": pd.date_range("2026", periods=4, tz="+01:30"),
    "missing days": pd.to_datetime(["2026", None, None, "2027"]),
    "spans": pd.to_timedelta([1, None, 3, 4], unit="s"),
    "kinds": pd.Categorical(["x", "y", None, "x"]),
    "ordered kinds": pd.Categorical([1, 2, 1, 2], ordered=True),
    "Int64": pd.array([1, None, 3, 4], dtype="Int64"),
    "Float32": pd.array([1, None, 3, 4], dtype="Float32"),
    "boolean": pd.array([True, None, False, True], dtype="boolean"),
    "string": pd.array(["a", None, "c", ""], dtype="string"),
    "arrow": pd.array([1, None, 3, 4], dtype=pd.ArrowDtype(pa.int64())),
    "arrow lists": pd.array([[1], None, [3], []], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
    "text objects": pd.Series(["a", "b", None, "d"], dtype=object),
    "mixed": pd.Series(["a", 1, None, (1, {2})], dtype=object),
    "sparse": pd.arrays.SparseArray([0.0, 0, 1, 2]),
    "months": pd.period_range("2026-01", periods=4, freq="M"),
    "intervals": pd.interval_range(0, 4),
    "big-endian": np.array([1, 2, 3, 4], ">i4"),
}
BY_STATE = {"mixed", "sparse", "months", "intervals", "big-endian"}


@pytest.mark.parametrize("name", SERIES)
def test_series_comes_back_in_a_frame_alone_and_as_an_index(registry, name):
    frame, series = pd.DataFrame({name: SERIES[name]}), pd.Series(SERIES[name], name=name)
    encoded = registry.encode(frame)
    assert encoded.codec == ("tagged" if name in BY_STATE else "arrow")
    pd.testing.assert_frame_equal(registry.load(encoded.payload), frame)
    pd.testing.assert_series_equal(registry.load(registry.dump(series)), series)
    index = pd.Index(SERIES[name], name=name)
    pd.testing.assert_index_equal(registry.load(registry.dump(index)), index)
    for value in (frame, series, index):
        assert registry.hash(registry.load(registry.dump(value))) == registry.hash(value)


def with_attrs():
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["unit"] = "m"
    return frame


PAIRS = pd.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["u", "v"])
FRAMES = {
    "all": pd.DataFrame(SERIES),
    "equal names": pd.DataFrame([[1, 2.0]], columns=["a", "a"]),
    "numbered columns": pd.DataFrame(np.arange(6.0).reshape(2, 3)),
    "mixed names": pd.DataFrame([[1, 2, 3]], columns=pd.Index([1, "a", (2, 3)], dtype=object)),
    "levels": pd.DataFrame({"a": [1, 2]}, index=PAIRS),
    "levels of columns": pd.DataFrame([[1, 2]], columns=PAIRS),
    "attrs": with_attrs(),
    "unique labels": pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": pd.Series(dtype=float)}),
    "no columns": pd.DataFrame(index=[1, 2]),
    "texts as labels": pd.DataFrame({"a": [1.0, 2]}, index=["x", "y"]),
    "equal labels": pd.DataFrame({"a": [1.0, 2], "b": [object, None]}, index=["x", "x"]).drop(columns="b"),
    "moments as labels": pd.DataFrame({"a": [1.0]}, index=pd.DatetimeIndex(["2026"], tz="UTC", name="t")),
    "kinds as columns": pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["x", "y"])),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frame_comes_back(registry, name):
    frame = FRAMES[name]
    back = registry.load(registry.dump(frame))
    pd.testing.assert_frame_equal(back, frame)
    assert (back.attrs, back.flags) == (frame.attrs, frame.flags)
    assert registry.hash(back) == registry.hash(frame)


def test_every_frame_and_series_is_another_value(registry):
    values = [*FRAMES.values(), *(pd.Series(data) for data in SERIES.values())]
    values += [pd.Series(data, name="x") for data in SERIES.values()]
    assert len({registry.hash(value) for value in values}) == len(values)


@given(
    st.lists(
        st.tuples(st.integers(-5, 5), st.none() | st.text(st.characters(codec="utf-8")), st.floats()),
        max_size=6,
    )
)
@settings(max_examples=30)
def test_any_rows_come_back(rows):
    registry = TypeRegistry()
    frame = pd.DataFrame(rows, columns=["i", "s", "f"]).astype({"i": "int64", "s": "string", "f": "float64"})
    pd.testing.assert_frame_equal(registry.load(registry.dump(frame)), frame)


def test_blocks_views_and_where_strings_live_do_not_count(registry):
    frame = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("abc"))
    pieces = pd.DataFrame({name: frame[name].to_numpy(copy=True) for name in "abc"})
    assert registry.hash(pieces) == registry.hash(frame)
    assert registry.hash(frame.iloc[::-1].iloc[::-1].reset_index(drop=True)) == registry.hash(frame)
    texts = ["a", None, "ü"]
    python, arrow = (pd.Series(texts, dtype=pd.StringDtype(storage)) for storage in ("python", "pyarrow"))
    assert registry.hash(python) == registry.hash(arrow)
    nan = pd.Series(texts, dtype=pd.StringDtype("pyarrow", na_value=np.nan))
    assert registry.hash(nan) != registry.hash(arrow)


def test_refused_element_is_named_by_column_and_row():
    lock = threading.Lock()
    frame = pd.DataFrame({"x": [1, 2], "b": pd.Series([1, lock], dtype=object)})
    assert "value['b'][1]" in refusal(frame)
    assert "value[1]" in refusal(frame["b"])
    assert "value['f'][1][0]" in refusal({"f": [0, pd.Series([lock], dtype=object)]})


def test_frame_is_written_to_without_harm(registry, tmp_path):
    frame = pd.DataFrame(np.arange(600_000.0).reshape(-1, 3), columns=list("abc"))
    frame["n"] = pd.array([1] * len(frame), dtype="Int32")
    with Repository.open(tmp_path) as repository:
        ref = repository.put(frame)
        assert ref.inline is None
        for copy in (True, False):
            got = repository.get(ref.value_hash, copy=copy)
            pd.testing.assert_frame_equal(got, frame)
        got = repository.get(ref.value_hash)
        got.iloc[0, 0] = 99
        got["a"] += 1
        pd.testing.assert_frame_equal(repository.get(ref.value_hash), frame)
        path = repository.folder / "payloads" / ref.payload_digest[:2] / ref.payload_digest
        assert pl.read_ipc(path)["b"].to_list() == frame["b"].to_list()


@pytest.mark.parametrize(
    "scalar",
    [
        pd.Timestamp("2026-01-01 01:02:03.123456789"),
        pd.Timestamp("2026-01-01", tz="Europe/Paris"),
        pd.Timedelta("1s"),
        pd.Period("2026-01", "M"),
        pd.Interval(1, 2, "both"),
        pd.NaT,
        pd.NA,
        pd.offsets.Week(2, weekday=1),
        pd.offsets.CustomBusinessDay(holidays=["2026-01-01"]),
    ],
    ids=lambda scalar: type(scalar).__name__,
)
def test_pandas_scalar_comes_back(registry, scalar):
    back = registry.load(registry.dump([scalar]))[0]
    assert type(back) is type(scalar)
    assert back is scalar or back == scalar
    assert registry.hash(back) == registry.hash(scalar)


def test_second_hour_of_the_clock_change_is_another_moment(registry):
    first, second = (
        pd.Timestamp("2026-10-25 02:30").tz_localize("Europe/Paris", ambiguous=choice)
        for choice in (True, False)
    )
    assert registry.hash(first) != registry.hash(second)
    assert registry.load(registry.dump(second)).utcoffset() == second.utcoffset()


@pytest.mark.parametrize("told", [b"null", b"[]", b"{", b'{"columns":1,"data":[],"index":{}}'])
def test_arrow_file_that_is_no_frame_is_a_decode_error(registry, told):
    data = b"".join(ipc.encode(TABLE.replace_schema_metadata({b"valuestore.pandas": told})))
    for type_name in ("pandas.DataFrame", "pandas.Series", "polars.DataFrame"):
        with pytest.raises(DecodeError):
            registry.load(Payload(type_name, "arrow", data))


def series_told_as(spec, column):
    told = {"name": None, "data": [spec], "index": {"range": [0, 1, 1], "name": None}}
    table = pa.table({"values": column}).replace_schema_metadata({"valuestore.pandas": json.dumps(told)})
    return Payload("pandas.Series", "arrow", b"".join(ipc.encode(table)))


def test_arrow_file_names_no_file_as_its_time_zone(registry, tmp_path):
    moments = pa.array([1], pa.timestamp("us", "UTC"))
    file = tmp_path / "zone"
    zones = importlib.resources.files("dateutil.zoneinfo").joinpath("dateutil-zoneinfo.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(zones.read_bytes())) as tar:
        file.write_bytes(tar.extractfile("Europe/Paris").read())
    assert pd.Timestamp(0, tz=f"dateutil/{file}").utcoffset()  # pandas opens it
    assert registry.load(series_told_as(["datetime", "us", "Europe/Paris"], moments)).dt.tz is not None
    for name in (f"dateutil/{file}", "dateutil/Europe/Paris", str(file), "tzlocal()", ""):
        with pytest.raises(DecodeError, match="no time zone"):
            registry.load(series_told_as(["datetime", "us", name], moments))


def test_arrow_file_makes_objects_of_texts_alone(registry):
    texts = pa.array(["a"], pa.large_string())
    assert registry.load(series_told_as(["objects"], texts)).tolist() == ["a"]
    for column in (pa.array([1], pa.timestamp("us", "no/zone")), pa.array([{"a": 1}])):
        with pytest.raises(DecodeError, match="no column is"):
            registry.load(series_told_as(["objects"], column))


# --- polars --------------------------------------------------------------------------------------------

POLARS = {
    "ints": pl.Series([1, None, 3], dtype=pl.Int16),
    "texts": pl.Series(["a", None, "ü"]),
    "floats": pl.Series([1.0, float("nan"), None]),
    "bools": pl.Series([True, None, False]),
    "bytes": pl.Series([b"a", b"", None]),
    "dates": pl.Series([dt.date(2026, 1, 1), None, None]),
    "moments": pl.Series([dt.datetime(2026, 1, 1)] * 3).dt.replace_time_zone("Europe/Paris"),
    "spans": pl.Series([dt.timedelta(1), None, None]),
    "times": pl.Series([dt.time(1), None, None]),
    "decimals": pl.Series(["1.10", None, "2"]).cast(pl.Decimal(10, 2)),
    "lists": pl.Series([[1], [], None]),
    "arrays": pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int8, 2)),
    "structs": pl.Series([{"a": 1, "b": "x"}] * 3),
    "kinds": pl.Series(["b", "a", None], dtype=pl.Categorical),
    "enum": pl.Series(["b", "a", None], dtype=pl.Enum(["b", "a"])),
    "lists of kinds": pl.Series([["b"], ["a"], None], dtype=pl.List(pl.Categorical)),
    "nothing": pl.Series([None, None, None]),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_series_comes_back(registry, name):
    series = POLARS[name].alias(name)
    back = registry.load(registry.dump(series))
    assert (back.name, back.dtype, back.to_list()[:1]) == (name, series.dtype, series.to_list()[:1])
    assert registry.hash(back) == registry.hash(series)


@pytest.mark.parametrize(
    "unnamed",
    [pl.Series([1, 2]), pl.Series(["a"], dtype=pl.Categorical), pl.DataFrame({"column_0": [1], "": [2]})],
)
def test_what_has_no_name_in_polars_is_given_none(registry, unnamed):
    back = registry.load(registry.dump(unnamed))
    assert back.equals(unnamed, **({} if isinstance(back, pl.DataFrame) else {"check_names": True}))
    assert registry.hash(back) == registry.hash(unnamed)


def test_polars_frame_comes_back_and_its_chunks_do_not_count(registry):
    frame = pl.DataFrame(POLARS)
    encoded = registry.encode(frame)
    assert registry.load(encoded.payload).equals(frame)
    assert pl.read_ipc(io.BytesIO(encoded.payload.data)).columns == frame.columns
    assert registry.hash(pl.concat([frame[:1], frame[1:]], rechunk=False)) == encoded.value_hash
    empty = frame[:0]
    assert registry.load(registry.dump(empty)).schema == empty.schema


def test_dtypes_and_names_of_polars_count(registry):
    values = [*POLARS.values(), POLARS["ints"].alias("x"), pl.Series(["b", "a", None])]
    values += [pl.Series(["b", "a", None], dtype=pl.Enum(["a", "b"]))]
    assert len({registry.hash(value) for value in values}) == len(values)


def test_categories_do_not_depend_on_what_came_before(registry):
    before = registry.hash(pl.Series(["zebra", "ant"], dtype=pl.Categorical))
    pl.Series(["yak", "ant", "bee"], dtype=pl.Categorical)
    assert registry.hash(pl.Series(["zebra", "ant"], dtype=pl.Categorical)) == before


def test_lazy_frame_and_objects_are_refused():
    assert "collect" in refusal(pl.LazyFrame({"a": [1]}))
    assert "value['o']" in refusal(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


@pytest.mark.parametrize(
    ("obj", "shown"),
    [
        (
            pd.DataFrame({"wet": [True], "t": [1.5]}),
            '{"rows":1,"columns":{"wet":"bool","t":"float64"},"first":[[true,1.5]]}',
        ),
        (pd.Series([1, 2], name="x"), '{"rows":2,"name":"x","dtype":"int64","first":[1,2]}'),
        (pl.DataFrame({"a": [1]}), '{"rows":1,"columns":{"a":"Int64"},"first":[[1]]}'),
        (pa.table({"a": [1, 2]}), '{"rows":2,"columns":{"a":"int64"},"first":[[1],[2]]}'),
    ],
    ids=["frame", "series", "polars", "arrow"],
)
def test_previews_say_how_long_and_which_columns(registry, obj, shown):
    assert registry.encode(obj).preview == shown
