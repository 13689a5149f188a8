"""The program as a whole: what is loaded when, and how it ends."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import valuestore
from tests.cli.conftest import PROGRAM, Cli


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"valuestore {valuestore.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["db"]])
def test_without_a_command_the_commands_are_listed(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == 0
    assert "Commands:" in done.out


def test_help_names_the_exit_codes(cli: Cli) -> None:
    assert "Exit codes: 0 done;" in cli("--help").out


@pytest.mark.parametrize(
    "arguments", [["nope"], ["log", "--nope"], ["log", "--limit", "x"], ["run"], ["show"]]
)
def test_a_wrong_command_line_is_one_sentence(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert done.err.startswith("valuestore: ")
    assert done.err.count("\n") == 1


def test_a_wrong_command_line_names_the_help_of_its_command(cli: Cli) -> None:
    assert "(`valuestore --help` has more)" in cli("nope").err
    assert "(`valuestore export --help` has more)" in cli("export").err
    assert "(`valuestore catalog put --help` has more)" in cli("catalog", "put").err


@pytest.mark.parametrize(
    "command",
    ["push", "pull", "export", "import", "backup", "repo", "verify", "repair", "gc", "delete", "pin"],
)
def test_help_of_what_is_done_to_a_repository_has_an_example(cli: Cli, command: str) -> None:
    assert re.search(rf"Examples?:\n +valuestore {command}\b", cli(command, "--help").out)


def test_importing_the_program_loads_nothing_heavy() -> None:
    heavy = ("sqlalchemy", "alembic", "rich.table", "valuestore.scheduler", "valuestore.repository")
    code = f"import sys, valuestore.cli.main; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_debug_shows_where_an_error_comes_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in cli("log").err
    assert "Traceback" in cli("--debug", "log").err
    monkeypatch.setenv("VALUESTORE_DEBUG", "1")
    assert "NotARepository" in cli("log").err


def test_a_reader_that_stops_reading_is_no_error(here: Path, cli: Cli) -> None:
    cli("init")
    numbers = (
        "with recursive n(x) as (select 1 union all select x + 1 from n where x < 100000) select x from n"
    )
    process = subprocess.Popen(
        [*PROGRAM, "sql", "--csv", numbers], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()
