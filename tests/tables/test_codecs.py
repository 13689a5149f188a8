"""Codecs: exact bytes, exact types, and nothing but CodecError."""

from __future__ import annotations

import random
import struct
import uuid
from datetime import UTC, datetime, timedelta, timezone
from math import inf, isnan, nan
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestore import tables as t
from valuestore.errors import CodecError

SIZES = {"Int8": 1, "Int16": 2, "Int32": 4, "Int64": 8}
UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

VECTORS = [
    (t.Bool(), False, "00"),
    (t.Bool(), True, "01"),
    (t.Int8(), -128, "80"),
    (t.UInt16(), 1, "0001"),
    (t.Int32(), -2, "fffffffe"),
    (t.UInt64(), 2**64 - 1, "ff" * 8),
    (t.Float32(), 1.5, "3fc00000"),
    (t.Float64(), -inf, "fff0000000000000"),
    (t.IntAsString(), -(10**30), (b"-1" + b"0" * 30).hex()),
    (t.FloatAsString(), 1e300, b"1e+300".hex()),
    (t.FloatAsString(), -0.5, b"-0.5".hex()),
    (t.String(), "ä\0", "c3a400"),
    (t.Bytes(), b"\xff\0", "ff00"),
    (t.Uuid(), UUID, "00112233445566778899aabbccddeeff"),
    (t.UtcDatetime(), NEW_YEAR, "41d9648020000000"),
    (t.JsonText(), {"b": [1, None, "ä"], "a": 1.5}, '{"b":[1,null,"ä"],"a":1.5}'.encode().hex()),
    (t.Nullable(t.UInt8()), None, "00"),
    (t.Nullable(t.UInt8()), 7, "0107"),
    (t.Nullable(t.Nullable(t.String())), "", "0101"),
    (t.Array(t.String()), ["a", "", "bc"], "00016100000002" + b"bc".hex()),
    (t.Array(t.Array(t.Bool())), [[], [True]], "0000" + "0003" + "000101"),
    (t.Array(t.Bytes()), [bytes(65535)], "ffff" + "00" * 65535),
]


@pytest.mark.parametrize(("codec", "value", "expected"), VECTORS, ids=lambda each: getattr(each, "name", ""))
def test_bytes_are_these(codec, value, expected):
    assert codec.encode(value) == bytes.fromhex(expected)
    decoded = codec.decode(bytes.fromhex(expected))
    assert (type(decoded), decoded) == (type(value), value)


@pytest.mark.parametrize("name", SIZES)
def test_integers_have_their_range(name):
    for prefix, low in (("", -(2 ** (8 * SIZES[name] - 1))), ("U", 0)):
        codec, high = getattr(t, prefix + name)(), low + 2 ** (8 * SIZES[name]) - 1
        for value in (low, high, 0):
            assert len(codec.encode(value)) == SIZES[name]
            assert codec.decode(codec.encode(value)) == value
        for bad in (low - 1, high + 1, 1.5, None, "x", True):
            with pytest.raises(CodecError):
                codec.encode(bad)
        for length in (0, SIZES[name] - 1, SIZES[name] + 1):
            with pytest.raises(CodecError):
                codec.decode(bytes(length))


def test_floats():
    assert t.Float32().encode(0.1).hex() == "3dcccccd"
    for codec, most in ((t.Float32(), 2**24), (t.Float64(), 2**53)):
        for value in (most, -most, 2 * most, inf, -0.0):
            assert codec.decode(codec.encode(value)) == value
        assert isnan(codec.decode(codec.encode(nan)))
        for bad in (most + 1, 10**400, True, None, "1", 1j):
            with pytest.raises(CodecError):
                codec.encode(bad)
    with pytest.raises(CodecError):
        t.Float32().encode(1e39)
    assert isnan(t.FloatAsString().decode(t.FloatAsString().encode(nan)))


BAD_VALUES = [
    (t.Bool(), 1),
    (t.IntAsString(), True),
    (t.FloatAsString(), 1),
    (t.String(), b"x"),
    (t.String(), "\ud800"),
    (t.Bytes(), bytearray(b"x")),
    (t.Uuid(), str(UUID)),
    (t.UtcDatetime(), datetime.max),
    (t.UtcDatetime(), datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    (t.UtcDatetime(), datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/London"))),
    (t.UtcDatetime(), datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "UTC"))),
    (t.UtcDatetime(), 0.0),
    (t.JsonText(), nan),
    (t.JsonText(), (1, 2)),
    (t.JsonText(), {1: 2}),
    (t.JsonText(), {"a": b"x"}),
    (t.Nullable(t.Bool()), 1),
    (t.Array(t.Bool()), (True,)),
    (t.Array(t.Bool()), [None]),
    (t.Array(t.Bytes()), [bytes(65536)]),
]
BAD_BYTES = [
    (t.Bool(), b""),
    (t.Bool(), b"\2"),
    (t.Bool(), b"\1\1"),
    *(
        (t.IntAsString(), text)
        for text in (b"", b" 1", b"1_000", b"+1", b"-0", b"01", "\u0661".encode(), b"1\n")
    ),
    *((t.FloatAsString(), text) for text in (b"", b" 1.0", b"1.", b"True", b"0x1p3", b"1/3", b"infinity")),
    (t.String(), b"\xff"),
    (t.Uuid(), bytes(15)),
    *((t.UtcDatetime(), struct.pack(">d", seconds)) for seconds in (inf, -inf, nan, 1e300, 253402300800.0)),
    (t.UtcDatetime(), bytes(7)),
    (t.JsonText(), b"NaN"),
    (t.JsonText(), b"{"),
    (t.JsonText(), b"[" * 100_000),
    *((t.Nullable(t.Bool()), data) for data in (b"", b"\7abc", b"\0abc", b"\1", b"\1\2")),
    *((t.Array(t.String()), data) for data in (b"\0", b"\0\1", b"\0\1a\0", b"\0\2a")),
]


@pytest.mark.parametrize("number", range(len(BAD_VALUES)))
def test_what_a_codec_does_not_take(number):
    codec, value = BAD_VALUES[number]
    with pytest.raises(CodecError):
        codec.encode(value)


@pytest.mark.parametrize("number", range(len(BAD_BYTES)))
def test_bytes_that_no_codec_wrote(number):
    codec, data = BAD_BYTES[number]
    with pytest.raises(CodecError) as raised:
        codec.decode(data)
    assert raised.value.args[0] in codec.name
    assert len(str(raised.value)) < 300


def test_naive_datetimes_are_utc_and_zones_of_that_name_too():
    codec = t.UtcDatetime()
    for zone in (None, UTC, UTC, ZoneInfo("UTC")):
        assert codec.decode(codec.encode(datetime(2024, 1, 1, tzinfo=zone))) == NEW_YEAR
    assert codec.decode(codec.encode(datetime.min)) == datetime.min.replace(tzinfo=UTC)


@given(st.integers(0, 2**33 * 10**6 - 1) | st.just(random.Random(1).randrange(2**33 * 10**6)))
def test_datetimes_are_exact_to_the_microsecond(microseconds):
    when = EPOCH + timedelta(microseconds=microseconds)
    assert t.UtcDatetime().decode(t.UtcDatetime().encode(when)) == when


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
VALUES = [
    (t.IntAsString(), st.integers()),
    (t.FloatAsString(), st.floats(allow_nan=False)),
    (t.Float64(), st.floats(allow_nan=False)),
    (t.Array(t.Nullable(t.JsonText())), st.lists(JSON.filter(lambda value: value is not None))),
    (t.Array(t.Nullable(t.Uuid())), st.lists(st.none() | st.uuids())),
    (t.Array(t.Array(t.String())), st.lists(st.lists(st.text(max_size=9)))),
]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_what_was_encoded_is_decoded_again_and_nothing_else_is_raised(number):
    codec, values = VALUES[number]

    @given(values, st.binary())
    def check(value, data):
        assert codec.decode(codec.encode(value)) == value
        try:
            codec.decode(data)
        except CodecError:
            pass

    check()


def test_names_tell_the_inner_codec():
    assert t.Array(t.Nullable(t.Int8())).name == "Array(Nullable(Int8))"


def test_an_element_that_is_too_long_is_said_to_be():
    with pytest.raises(CodecError, match="an element has more than 65,535 bytes"):
        t.Array(t.Bytes()).encode([bytes(65_536)])
