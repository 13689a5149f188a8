"""Options behind TASK: whose they are, what they become, and what is said when they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

TYPED = """
from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from valuestore import task

if TYPE_CHECKING:
    from nowhere import Unknown


class Color(enum.Enum):
    red = 1
    green = 2


@task
def typed(
    count: int = 0,
    ratio: float = 0.0,
    max_size: int = 1,
    path: Path = Path("."),
    color: Color = Color.red,
    mode: Literal["fast", "full"] = "fast",
    maybe: int | None = None,
    items: list[int] = [],
    flag: bool = True,
    tag: str = "",
    plain=None,
    table: dict[str, int] = {},
    later: Unknown = None,
) -> str:
    given = dict(locals())
    return " ".join(f"{name}={value!r}" for name, value in given.items())


@task
def loose(*paths: Path, depth: int = 1, **rest: int) -> str:
    return repr((paths, depth, rest))


@task
def positional(first: int, /, second: int) -> int:
    return first - second
"""


@pytest.fixture
def typed(cli: Cli, here: Path) -> Cli:
    """Run the task ``typed`` with options."""
    (here / "args.py").write_text(TYPED)
    return lambda *options: cli("run", "args.py", *options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--count", "3"], "count=3"),
        (["--count=3"], "count=3"),
        (["--count", "-3"], "count=-3"),
        (["--ratio", "1e3"], "ratio=1000.0"),
        (["--max-size", "7"], "max_size=7"),
        (["--max_size", "7"], "max_size=7"),
        (["--path", "a/b"], "path=PosixPath('a/b')"),
        (["--color", "green"], "color=<Color.green: 2>"),
        (["--color", "Color.green"], "color=<Color.green: 2>"),
        (["--mode", "full"], "mode='full'"),
        (["--maybe", "3"], "maybe=3"),
        (["--maybe", "null"], "maybe=None"),
        (["--items", "1", "--items", "2"], "items=[1, 2]"),
        (["--items", "[1, 2]"], "items=[1, 2]"),
        (["--items", "1", "-2", "3", "--flag"], "items=[1, -2, 3]"),
        (["--items", "1", "2", "--items", "3"], "items=[1, 2, 3]"),
        (["--flag"], "flag=True"),
        (["--no-flag"], "flag=False"),
        (["--flag=false"], "flag=False"),
        (["--flag", "false"], "flag=False"),
        (["--plain", "[1]"], "plain=[1]"),
        (["--plain", "text"], "plain='text'"),
        (["--table", '{"a": 1}'], "table={'a': 1}"),
        (["--tag", "a=b"], "tag='a=b'"),
    ],
)
def test_an_option_becomes_the_argument(typed: Cli, options: list[str], expected: str) -> None:
    done = typed("typed", *options)
    assert done.code == 0, done.err
    assert expected in done.out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--count", "x"], "task args.typed: --count: expected int, got 'x'"),
        (["--count", "1", "--count", "2"], "--count: expected int once, got 2"),
        (["--color", "blue"], "--color: expected one of red, green, got 'blue'"),
        (["--mode", "slow"], "--mode: expected one of fast, full, got 'slow'"),
        (["--flag=maybe"], "--flag: expected bool (true or false), got 'maybe'"),
        (["--items", "a"], "--items: expected int, got 'a'"),
        (["--maybe", "x"], "--maybe: expected int or none, got 'x'"),
        (["--table", "{"], "--table: expected dict[text, int], got '{': it is not JSON"),
        (["--later", "x"], "the annotation 'Unknown' of later names nothing that is defined"),
        (["--nothing", "x"], "no parameter --nothing; it takes --count int = 0"),
        (["stray"], "unexpected 'stray'; arguments are given by name: --count int = 0"),
        (["--count"], "--count needs a value"),
        (["--count", "--ratio", "1"], "--count needs a value"),
        (["--repository"], "--repository needs a value"),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence(typed: Cli, options: list[str], expected: str) -> None:
    done = typed("typed", *options)
    assert done.code == 2
    assert done.out == ""
    assert expected in done.err
    assert done.err.count("\n") == 1


def test_nothing_is_recorded_when_an_argument_does_not_parse(typed: Cli, here: Path) -> None:
    typed("typed", "--count", "x")
    assert not (here / ".valuestore").exists()


def test_a_missing_argument_lists_the_parameters(cli: Cli) -> None:
    done = cli("run", "pipe.py", "squares")
    assert done.code == 2
    assert "missing --count; it takes --count int (required), --scale float = 1.0, --verbose" in done.err


def test_variadic_parameters_take_repeated_and_free_options(typed: Cli) -> None:
    done = typed("loose", "--paths", "a", "--paths", "b", "--depth", "2", "--other-one", "3")
    assert done.out == "((PosixPath('a'), PosixPath('b')), 2, {'other_one': 3})\n"


def test_variadic_parameters_may_be_left_out(typed: Cli) -> None:
    assert typed("loose").out == "((), 1, {})\n"


def test_positional_parameters_are_given_by_name_too(typed: Cli) -> None:
    assert typed("positional", "--second", "1", "--first", "3").out == "2\n"


def test_a_parameter_comes_before_an_option_of_run(typed: Cli) -> None:
    done = typed("typed", "--tag", "label")
    assert "tag='label'" in done.out


def test_a_parameter_without_resolvable_annotation_does_not_spoil_the_others(typed: Cli) -> None:
    done = typed("typed", "--help")
    assert "--later Unknown = none" in done.out
    assert "--count int = 0" in done.out


def test_the_help_of_a_task_names_types_as_they_are_typed(typed: Cli) -> None:
    lines = typed("typed", "--help").out.splitlines()
    assert [line.strip() for line in lines if line.strip().startswith("--")][:12] == [
        "--count int = 0",
        "--ratio float = 0.0",
        "--max-size int = 1",
        "--path path = .",
        "--color one of red, green = red",
        "--mode one of fast, full = 'fast'",
        "--maybe int or none = none",
        "--items list[int] = []",
        "--flag/--no-flag = True",
        "--tag text = ''",
        "--plain JSON or text = none",
        "--table dict[text, int] = {}",
    ]
