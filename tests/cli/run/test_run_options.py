"""Options of ``run`` that are the scheduler's: labels, what runs again, options of tasks, context."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

OPTIONED = """
from pathlib import Path

from valuestore import get_context, task


def noted(name):
    with open("ran.txt", "a") as file:
        file.write(name + "\\n")


@task(version="1")
def inner(n: int) -> int:
    noted("inner")
    return n + 1


@task(version="1")
def outer(n: int) -> list:
    noted("outer")
    return [inner(n)]


@task(version="1")
def flaky() -> str:
    noted("flaky")
    if len(Path("ran.txt").read_text().splitlines()) < 3:
        raise OSError("not yet")
    return "done"


@task(version="1")
def echo(value: object) -> object:
    return value


@task(version="1")
def configured() -> list:
    return [echo(get_context("etl.memory", 0)), echo(get_context("etl.host", "none"))]
"""


@pytest.fixture
def optioned(cli: Cli, here: Path) -> Cli:
    (here / "optioned.py").write_text(OPTIONED)
    return lambda *arguments: cli("run", "optioned.py", *arguments)


def ran(here: Path) -> list[str]:
    """Which bodies ran since it was asked last."""
    file = here / "ran.txt"
    names = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return names


def test_an_execution_is_called_what_the_label_says(cli: Cli) -> None:
    cli("run", "pipe.py", "greet", "--label", "the best one")
    cli("run", "pipe.py", "greet", "--name", "x")
    assert json.loads(cli("log", "--label", "BEST", "--json").out)[0]["label"] == "the best one"
    assert cli("log", "--label", "best", "--count").out == "1\n"
    assert cli("run", "pipe.py", "--rerun", "~1").out == "hello you\n"


def test_without_the_cache_every_body_runs(optioned: Cli, here: Path) -> None:
    optioned("outer", "--n", "1")
    assert ran(here) == ["outer", "inner"]
    optioned("outer", "--n", "1")
    assert ran(here) == []
    assert optioned("outer", "--n", "1", "--no-cache").out == "[2]\n"
    assert ran(here) == ["outer", "inner"]


def test_only_the_tasks_that_are_named_run_again(optioned: Cli, here: Path) -> None:
    optioned("outer", "--n", "1")
    ran(here)
    assert optioned("outer", "--n", "1", "--only", "inner").out == "[2]\n"
    assert ran(here) == ["inner"]


def test_options_hold_for_all_tasks(optioned: Cli, here: Path) -> None:
    assert optioned("flaky").code == 1
    ran(here)
    given = ("--option", "retries=5", "--option", "retry_wait_seconds=0.01")
    assert optioned("flaky", *given).out == "done\n"
    assert ran(here) == ["flaky"] * 3
    assert optioned("flaky", "--option", "nothing=1").code == 2


def test_context_is_what_get_context_gives(optioned: Cli, here: Path) -> None:
    (here / "deep.toml").write_text("[etl]\nmemory = 8\n")
    assert optioned("configured").out == "[0, 'none']\n"
    assert optioned("configured", "--context", "etl.memory=4").out == "[4, 'none']\n"
    given = ("--context-file", "deep.toml", "--context", "etl.host=local")
    assert optioned("configured", *given).out == "[8, 'local']\n"
