"""Options of ``run`` beside the task's own: dry runs, running again, the debugger, after an error."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PROGRAM, Cli
from valuestore import Scheduler


def test_a_dry_run_says_what_would_run_and_why(cli: Cli, here: Path) -> None:
    done = cli("run", "pipe.py", "squares", "--count", "3", "--dry-run")
    assert (done.code, done.err) == (0, "valuestore: nothing was run: 1 to run, 0 cached, 0 unknown\n")
    assert done.out.splitlines()[1].split() == [
        *("run", "pipe.squares", "count=3,", "scale=1.0,", "verbose=False"),
        *("no", "earlier", "execution", "ran", "this", "task"),
    ]
    assert cli("log").out == "nothing has run yet\n"


def test_a_dry_run_as_json(cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "3")
    [call] = json.loads(cli("run", "--dry-run", "pipe.py", "squares", "--count", "4", "--json").out)
    assert call["status"] == "run"
    assert call["reason"] == "the argument count is another: 3 -> 4"
    assert len(cli("log").out.splitlines()) == 2


def test_an_earlier_call_is_run_again_with_its_arguments(cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "3", "--scale", "0.5")
    cli("run", "pipe.py", "greet")
    done = cli("run", "pipe.py", "--rerun", "~1")
    assert done.out == "{'squares': [0, 1, 4], 'scale': 0.5, 'verbose': False}\n"
    assert "0 executed, 4 cached" in done.err
    assert cli("run", "--rerun", "~1", "pipe.py").out == "hello you\n"


def test_a_call_that_failed_is_run_again(program: Cli, here: Path) -> None:
    program("run", "pipe.py", "divide", "--n", "3")
    (here / "pipe.py").write_text((here / "pipe.py").read_text().replace("n / 0", "n / 2"))
    assert program("run", "pipe.py", "--rerun", "-").out == "1.5\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--rerun ~5", "~5"),
        ("--rerun pipe.greet", "is a task"),
        ("greet --rerun -", "name a task, or give --rerun"),
        ("--rerun - --name x", "no parameter --name"),
        ("--rerun", "--rerun needs a value"),
        ("--workers 2", "name a task, or give --rerun"),
    ],
)
def test_what_cannot_be_run_again_is_said(cli: Cli, arguments: str, problem: str) -> None:
    cli("run", "pipe.py", "greet")
    done = cli("run", "pipe.py", *arguments.split())
    assert done.code in (1, 2)
    assert problem in done.err
    assert done.out == ""


def test_an_error_stops_calls_that_have_not_begun_if_so_asked(cli: Cli) -> None:
    assert cli("run", "pipe.py", "divide", "--n", "1", "--on-error", "stop").code == 1
    done = cli("run", "--on-error", "never", "pipe.py", "greet")
    assert (done.code, done.out) == (2, "")
    assert "on_error='never'" in done.err


def test_the_debugger_stands_where_the_error_rose(here: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "run", "pipe.py", "divide", "--n", "31", "--pdb"],
        input="p n + 1000\nq\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "1031" in done.stdout
    assert "ZeroDivisionError" in done.stderr


def test_the_debugger_asks_nobody_where_nothing_is_typed(program: Cli) -> None:
    assert program("run", "--pdb", "pipe.py", "divide", "--n", "3").code == 1


@pytest.fixture
def asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What a command line asks the scheduler for, which does nothing."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(Scheduler, "run", lambda _self, _call, **how: given.append(how))

    def ask(*arguments: str) -> dict[str, Any]:
        done = cli("run", "pipe.py", "greet", *arguments)
        assert done.code == 0, done.err
        return given.pop()

    return ask


def test_only_what_is_given_is_passed_on(asked: Callable[..., dict[str, Any]]) -> None:
    assert asked() == {"tags": {}}
    assert asked("--no-cache", "--label", "best", "--on-error", "stop") == {
        **{"tags": {}, "cache": False, "label": "best", "on_error": "stop"},
    }
    assert asked("--only", "square", "--only", "pipe.greet")["only"] == ("pipe.square", "pipe.greet")
    assert asked("--option", "retries=3", "--option", "executor=threads")["options"] == {
        "retries": 3,
        "executor": "threads",
    }


def test_context_is_put_together_from_files_and_values(
    asked: Callable[..., dict[str, Any]], here: Path
) -> None:
    (here / "deep.toml").write_text('[etl]\nmemory = 1\nname = "x"\n[etl.db]\nport = 5432\n')
    (here / "over.json").write_text('{"etl": {"memory": 2}, "plain": [1, 2]}')
    given = ("--context", "etl.db.host=local", "--context-file", "deep.toml", "--context-file", "over.json")
    assert asked(*given, "--context", "plain=false")["context"] == {
        "etl": {"memory": 2, "name": "x", "db": {"port": 5432, "host": "local"}},
        "plain": False,
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--option retries", "--option retries: it is not key=value"),
        ("--context =1", "--context =1: it is not key=value"),
        ("--context-file nothing.toml", "--context-file nothing.toml: "),
        ("--context-file pipe.py", "--context-file pipe.py: "),
        ("--only nothing", "nothing"),
        ("--label", "--label needs a value"),
    ],
)
def test_options_that_do_not_parse_are_a_usage_error(cli: Cli, arguments: str, problem: str) -> None:
    done = cli("run", "pipe.py", "greet", *arguments.split())
    assert (done.code, done.out) == (2, "")
    assert problem in done.err
    assert done.err.count("\n") == 1
