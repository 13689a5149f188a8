"""Text from a command line becomes what the annotation says, or a ValueError that names both."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime
import enum
import json
import typing
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar, Union
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestore import File, Value
from valuestore.values.parse import is_flag, is_repeatable, parse_arg, parse_args, type_text


class Color(enum.Enum):
    red = 1
    green = 2


class Size(enum.IntEnum):
    small = 1


class Point(Value):
    """A value with a text form of its own."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    @classmethod
    def parse_arg(cls, text: str) -> Point:
        x, _, y = text.partition(",")
        return cls(int(x), int(y))


UserId = NewType("UserId", int)
Bounded = TypeVar("Bounded", bound=int)

UTC = datetime.UTC

FITS = [
    (str, "", ""),
    (str, "3", "3"),
    (str, '"x"', '"x"'),
    (int, "3", 3),
    (int, "-3", -3),
    (int, "9" * 40, int("9" * 40)),
    (float, "1e3", 1000.0),
    (float, "inf", float("inf")),
    (complex, "1+2j", 1 + 2j),
    (bool, "true", True),
    (bool, "False", False),
    (None, "null", None),
    (Decimal, "1.10", Decimal("1.10")),
    (Fraction, "1/3", Fraction(1, 3)),
    (UUID, "12345678123456781234567812345678", UUID(int=0x12345678123456781234567812345678)),
    (Path, "a/b", Path("a/b")),
    (PurePosixPath, "a/b", PurePosixPath("a/b")),
    (File, "data/a.csv", File("data/a.csv")),
    (Color, "red", Color.red),
    (Color, "Color.green", Color.green),
    (Size, "small", Size.small),
    (datetime.date, "2026-01-31", datetime.date(2026, 1, 31)),
    (datetime.datetime, "2026-01-31T12:30:00+00:00", datetime.datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
    (datetime.datetime, "2026-01-31", datetime.datetime(2026, 1, 31)),
    (datetime.time, "12:30", datetime.time(12, 30)),
    (Literal["a", 1], "a", "a"),
    (Literal["a", 1], "1", 1),
    (Literal[True], "true", True),
    (Literal[Color.red], "red", Color.red),
    (Optional[int], "3", 3),  # noqa: UP045  # the old spelling is another type at run time
    (Optional[int], "None", None),  # noqa: UP045
    (Union[int, str], "3", 3),  # noqa: UP007
    (int | float | str, "3.5", 3.5),
    (int | float | str, "x", "x"),
    (str | int, "3", "3"),
    (list[int], "3", [3]),
    (list[int], "[1, 2]", [1, 2]),
    (list[int], "[]", []),
    (list[str], '["a", "[b"]', ["a", "[b"]),
    (list[Path], '["a"]', [Path("a")]),
    (list[datetime.date], '["2026-01-31"]', [datetime.date(2026, 1, 31)]),
    (list[list[int]], "[[1], [2, 3]]", [[1], [2, 3]]),
    (list[int | None], "[1, null]", [1, None]),
    (list, "[1, null]", [1, None]),
    (list, "a", ["a"]),
    (tuple[int, ...], "[1, 2]", (1, 2)),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (tuple, "[1]", (1,)),
    (set[int], "[1, 1]", {1}),
    (frozenset[str], "a", frozenset({"a"})),
    (abc.Sequence[int], "[1]", [1]),
    (typing.Iterable[int], "[1]", [1]),
    (list[int] | None, "null", None),
    (list[int] | None, "[1]", [1]),
    (dict, '{"a": [1]}', {"a": [1]}),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (dict[int, Color], '{"1": "red"}', {1: Color.red}),
    (dict[str, list[float]], '{"a": [1, 2.5]}', {"a": [1.0, 2.5]}),
    (abc.Mapping[str, int], "{}", {}),
    (Annotated[int, "seconds"], "3", 3),
    (UserId, "3", 3),
    (Bounded, "3", 3),
    (Any, "3", 3),
    (Any, "null", None),
    (Any, '{"a": 1}', {"a": 1}),
    (Any, "text", "text"),
    (Any, "NaN", "NaN"),
    (Any, "[" * 100_000, "[" * 100_000),
    (object, "[1]", [1]),
]


@pytest.mark.parametrize(("annotation", "text", "expected"), FITS)
def test_text_becomes_what_the_annotation_says(annotation, text, expected):
    parsed = parse_arg(annotation, text)
    assert parsed == expected
    assert type(parsed) is type(expected)


MISFITS = [
    (int, "", "expected int, got ''"),
    (int, "3.5", "expected int, got '3.5'"),
    (int, "true", "expected int"),
    (float, "x", "expected float, got 'x'"),
    (bool, "1", "expected bool (true or false), got '1'"),
    (bool, "", "expected bool"),
    (None, "0", "expected none"),
    (Decimal, "x", "expected Decimal, got 'x'"),
    (Fraction, "1/0", "expected Fraction, got '1/0'"),
    (UUID, "12", "expected UUID"),
    (Color, "blue", "expected one of red, green, got 'blue'"),
    (Color, "1", "expected one of"),
    (Color, "Size.red", "expected one of"),
    (Color, "__members__", "expected one of"),
    (datetime.date, "31.1.2026", "expected date (such as 2026-01-31), got '31.1.2026'"),
    (datetime.datetime, "now", "expected datetime"),
    (datetime.time, "25:00", "expected time"),
    (Literal["a", "b"], "c", "expected one of a, b, got 'c'"),
    (Optional[int], "x", "expected int or none, got 'x'"),  # noqa: UP045
    (list[int], "x", "expected int, got 'x'"),
    (list[int], "[1, true]", "expected int, got 'true'"),
    (list[str], "[1]", "expected text, got '1'"),
    (list[int], "[1", "it is not JSON"),
    (tuple[int, str], "[1]", "expected tuple[int, text], got 1 items"),
    (dict[str, int], "[1]", "expected dict[text, int], got '[1]'"),
    (dict[str, int], '{"a": "x"}', "expected int, got 'x'"),
    (dict[str, int], "{", "it is not JSON"),
    (dict, '{"a": NaN}', "it is not JSON"),
    (File, "", "expected File, got '': "),
    (Point, "1", "expected Point, got '1': "),
    (bytes, "x", "a bytes cannot be given on the command line"),
    (type[int], "int", "expected package.module.name"),
    (abc.Callable[[], int], "x", "expected package.module.name"),
]


@pytest.mark.parametrize(("annotation", "text", "sentence"), MISFITS)
def test_text_that_does_not_fit_is_named_with_the_type(annotation, text, sentence):
    with pytest.raises(ValueError) as caught:
        parse_arg(annotation, text)
    assert sentence in str(caught.value)


def test_a_value_class_parses_its_own_text():
    point = parse_arg(Point, "1,2")
    assert (point.x, point.y) == (1, 2)


def test_a_repeated_option_is_a_collection():
    assert parse_args(list[int], ["1", "2"]) == [1, 2]
    assert parse_args(tuple[int, str], ["1", "2"]) == (1, "2")
    assert parse_args(list[list[int]], ["[1]", "[2, 3]"]) == [[1], [2, 3]]
    assert parse_args(str | list[str], ["a", "b"]) == ["a", "b"]
    assert parse_args(list[str], ["[a", "]"]) == ["[a", "]"]


def test_a_repeated_option_for_one_value_is_refused():
    with pytest.raises(ValueError, match="expected int once, got 2"):
        parse_args(int, ["1", "2"])


def test_a_long_text_is_cut_in_the_message():
    with pytest.raises(ValueError) as caught:
        parse_arg(int, "x" * 10_000)
    assert len(str(caught.value)) < 200


def test_control_characters_are_escaped_in_the_message():
    with pytest.raises(ValueError) as caught:
        parse_arg(int, "\x1b[31m")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("annotation", [list, list[int], tuple[int, ...], set[str], list[int] | None])
def test_collections_are_repeatable(annotation):
    assert is_repeatable(annotation)


@pytest.mark.parametrize("annotation", [int, str, dict[str, int], Any, int | None])
def test_other_types_are_not_repeatable(annotation):
    assert not is_repeatable(annotation)


def test_bools_are_flags():
    assert is_flag(bool)
    assert is_flag(bool | None)
    assert not is_flag(bool | int)
    assert not is_flag(None)
    assert not is_flag(int)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (list[int], "list[int]"),
        (int | None, "int or none"),
        (Any, "JSON or text"),
        ("Unknown", "Unknown"),
        (Color, "one of red, green"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["a"] | None, "a or none"),
        (abc.Sequence[Path], "list[path]"),
        (tuple[str, ...], "tuple[text, ...]"),
        (dict[str, list[float]], "dict[text, list[float]]"),
        (abc.Callable[[int], str] | None, "package.module.name or none"),
    ],
)
def test_types_are_named_for_people(annotation, text):
    assert type_text(annotation) == text


@given(st.integers())
def test_every_int_is_read(number):
    assert parse_arg(int, str(number)) == number


@given(st.floats(allow_nan=False))
def test_every_float_is_read(number):
    assert parse_arg(float, repr(number)) == number


@given(st.lists(st.text()))
def test_every_list_of_texts_is_read_from_json(texts):
    assert parse_arg(list[str], json.dumps(texts)) == texts


@given(st.text(), st.sampled_from([annotation for annotation, _, _ in FITS]))
def test_any_text_gives_an_object_or_a_value_error(text, annotation):
    try:
        parse_arg(annotation, text)
    except ValueError as error:
        assert type(error) is ValueError


@dataclasses.dataclass
class Window:
    start: datetime.date
    days: int = 7
    color: Color = Color.red
    inner: Window | None = None


def test_a_dataclass_is_read_from_json_with_its_fields_types():
    window = parse_arg(Window, '{"start": "2026-01-31", "color": "GREEN", "inner": {"start": "2026-02-01"}}')
    assert window == Window(datetime.date(2026, 1, 31), 7, Color.green, Window(datetime.date(2026, 2, 1)))
    with pytest.raises(ValueError, match="start, days, color, inner"):
        parse_arg(Window, '{"begin": "2026-01-31"}')
    with pytest.raises(ValueError, match="start"):
        parse_arg(Window, "{}")


def test_functions_and_classes_are_named_by_their_path():
    for annotation in (Callable, Callable[[int], str], typing.Callable):
        assert parse_arg(annotation, "json.dumps") is json.dumps
    assert parse_arg(type, "json.JSONEncoder") is json.JSONEncoder
    for text in ("json.nothing", "no.such.module", "json", "math.pi"):
        with pytest.raises(ValueError, match="expected package.module.name"):
            parse_arg(Callable, text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1:30:00", 5400), ("0:00:01.5", 1.5), ("-0:10", -600), ("2 days, 1:00:00", 176400), ("90s", 90),
     ("ninety", None), ("1.5 hours", 5400), ("2d", 172800), ("1 week", 604800), ("5ms", 0.005),
     ("10 min", 600)],
)  # fmt: skip
def test_spans_of_time(text, seconds):
    if seconds is None:
        with pytest.raises(ValueError, match="90s"):
            parse_arg(datetime.timedelta, text)
    else:
        assert parse_arg(datetime.timedelta, text).total_seconds() == seconds


def test_choices_are_found_in_any_case_and_listed_otherwise():
    assert parse_arg(Color, "RED") is Color.red
    with pytest.raises(ValueError, match="red, green"):
        parse_arg(Color, "blue")
