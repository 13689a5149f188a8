"""``valuestore sql``: answers as table, JSON and CSV; and nothing that it is given changes a file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def asked(cli: Cli) -> Cli:
    """The command in a repository where something ran."""
    cli("run", "pipe.py", "squares", "--count", "3")
    return lambda *arguments: cli("sql", *arguments)


def test_a_table_has_a_line_for_each_row(asked: Cli) -> None:
    out = asked("select task, count(*) as jobs from jobs group by task order by task").out
    assert [line.split() for line in out.splitlines()] == [
        ["task", "jobs"],
        ["pipe.square", "3"],
        ["pipe.squares", "1"],
    ]


def test_json_has_an_object_for_each_row(asked: Cli) -> None:
    out = asked("select 1 as a, null as b, 'x' as c, x'00ff' as d, 2 as a", "--json").out
    assert json.loads(out) == [{"a": 1, "b": None, "c": "x", "d": "00ff", "a_2": 2}]


def test_csv_is_read_back_by_a_csv_reader(asked: Cli) -> None:
    out = asked("select 'a,\"b\"' as x, 'two\nlines' as y, null as z, x'00ff' as d", "--csv").out
    assert list(csv.reader(io.StringIO(out))) == [["x", "y", "z", "d"], ['a,"b"', "two\nlines", "", "00ff"]]


def test_a_table_is_cut_at_a_thousand_rows_and_says_so(asked: Cli) -> None:
    numbers = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 2000) select x from n"
    cut = asked(numbers)
    assert len(cut.out.splitlines()) == 1001
    assert "first 1000 rows" in cut.err
    assert len(asked(numbers, "--limit", "1500").out.splitlines()) == 1501
    assert len(json.loads(asked(numbers, "--json").out)) == 2000


@pytest.mark.parametrize("sql", ["", "/* nothing */"])
def test_an_empty_statement_gives_nothing(asked: Cli, sql: str) -> None:
    assert asked(sql) == asked(sql, "--limit", "3")
    assert asked(sql).code == 0


@pytest.mark.parametrize(
    "sql", ["selec 1", "select * from nothing", "select 1; select 2", "select json('{')", "select '\x00"]
)
def test_a_statement_that_is_wrong_exits_3_with_one_line(asked: Cli, sql: str) -> None:
    done = asked(sql)
    assert done.code == 3
    assert done.out == ""
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "delete from job",
        "update execution set status = 'x'",
        "insert into tag select * from tag",
        "drop table job",
        "create table x(y)",
        "create temp table x(y)",
        "pragma user_version = 5",
        "pragma query_only = off",
        "pragma journal_mode = delete",
        "vacuum",
        "vacuum into 'copy.db'",
        "attach 'other.db' as other",
        "attach 'file:other.db?mode=rwc' as other",
        "reindex",
        "analyze",
        "begin immediate",
        "update sqlite_master set sql = ''",
        "select load_extension('x')",
        "with x as (select 1) delete from job",
    ],
)
def test_a_statement_that_writes_is_refused(asked: Cli, here: Path, sql: str) -> None:
    before = _files(here)
    done = asked(sql)
    assert done.code == 3
    assert done.err.startswith("valuestore: sqlite:///")
    assert _files(here) == before


def test_columns_of_a_table_can_be_asked(asked: Cli) -> None:
    assert "execution_no" in asked("pragma table_info(job)").out
    assert "execution_no" in asked("select name from pragma_table_info('job')").out


def test_json_functions_read_previews(asked: Cli) -> None:
    out = asked(
        "select e.value from jobs j, json_each(j.result, '$.squares') e where j.task = 'pipe.squares'"
    ).out
    assert out.split() == ["value", "0", "1", "4"]


def test_help_names_views_and_tables(cli: Cli) -> None:
    out = cli("sql", "--help").out
    for name in ("executions", "jobs", "call_node", "evaluation"):
        assert name in out


def test_json_and_csv_exclude_each_other(asked: Cli) -> None:
    assert asked("select 1", "--json", "--csv").code == 2


def test_a_folder_with_odd_characters_can_be_asked(cli: Cli, here: Path) -> None:
    (here / "a#b 'c'").mkdir()
    cli("run", "pipe.py", "greet", "--repository", "a#b 'c'")
    assert cli("sql", "select count(*) from job", "--repository", "a#b 'c'").out.split() == [
        "count(*)",
        "1",
    ]


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(("-shm", "-wal"))
    }
