"""``valuestore log`` and ``show``: what ran, found by short ids, shown as text and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Cli
from valuestore import Repository


def _executions(cli: Cli) -> list[dict[str, object]]:
    return json.loads(cli("log", "--json").out)


def _ids(cli: Cli, table: str, column: str) -> list[str]:
    return [row[column] for row in json.loads(cli("sql", f"select * from {table}", "--json").out)]


def test_log_lists_the_newest_first(cli: Cli) -> None:
    cli("run", "pipe.py", "greet", "--name", "first")
    cli("run", "pipe.py", "greet", "--name", "second")
    lines = cli("log").out.splitlines()
    assert lines[0].split()[:2] == ["id", "started"]
    assert "name='second'" in lines[1]
    assert "name='first'" in lines[2]


def test_log_shows_at_most_the_limit(cli: Cli) -> None:
    for name in "abc":
        cli("run", "pipe.py", "greet", "--name", name)
    assert len(cli("log", "--limit", "2").out.splitlines()) == 3


def test_log_of_a_new_repository_says_that_nothing_ran(cli: Cli) -> None:
    cli("init")
    assert cli("log").out == "nothing has run yet\n"
    assert cli("log", "--json").out == "[]\n"


def test_the_id_in_the_log_finds_the_execution(cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "3")
    short_id = cli("log").out.splitlines()[1].split()[0]
    shown = cli("show", short_id)
    assert shown.code == 0
    assert f"execution  {short_id}" in shown.out
    assert "jobs       4 (4 executed, 0 cached, 0 failed)" in shown.out


def test_an_execution_shows_its_jobs_as_a_tree(cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "2")
    header, *jobs = cli("show", "-").out.partition("\n\n")[2].splitlines()
    place = header.index("task")
    assert [line[place:].rstrip() for line in jobs] == [
        'pipe.squares   {"squares":[0,1],"scale":1.0,"verbose":false}',
        "  pipe.square  0",
        "  pipe.square  1",
    ]


def test_an_execution_shows_as_many_jobs_as_asked_and_counts_the_rest(cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "9")
    out = cli("show", "-", "--limit", "4").out
    assert out.count("pipe.square") == 5  # the label, the parent and three others
    assert "... and 6 more" in out


def test_a_failed_job_is_shown_even_if_it_is_not_among_the_first(cli: Cli) -> None:
    cli("run", "pipe.py", "outer", "--n", "3")
    out = cli("show", "-", "--limit", "1").out
    assert "pipe.divide" in out
    assert out.count("ZeroDivisionError: division by zero") == 2


def test_minus_and_tilde_name_executions_from_the_newest_on(cli: Cli) -> None:
    for name in "abc":
        cli("run", "pipe.py", "greet", "--name", name)
    for name, expected in (("-", "c"), ("~0", "c"), ("~", "b"), ("~1", "b"), ("~2", "a")):
        assert f"name='{expected}'" in cli("show", name).out


@pytest.mark.parametrize("name", ["~1", "~x", "~-1", "~99999999999999999999"])
def test_an_execution_that_is_not_there_exits_1(cli: Cli, name: str) -> None:
    cli("run", "pipe.py", "greet")
    assert cli("show", name).code == 1


def test_a_job_shows_its_task_arguments_result_and_parent(cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "3")
    jobs = json.loads(cli("show", "-", "--json").out)["first_jobs"]
    out = cli("show", jobs[-1]["job_id"]).out
    assert f"parent       {jobs[0]['job_id']}" in out
    assert "result       4" in out
    name, kind, _, preview = out.splitlines()[-1].split()
    assert (name, kind, preview) == ("n", "builtins.int", "2")


def test_a_failed_job_shows_error_and_traceback(cli: Cli) -> None:
    done = cli("run", "pipe.py", "divide", "--n", "3")
    job = done.err.partition("`valuestore show ")[2].partition("`")[0]
    out = cli("show", job).out
    assert "error      ZeroDivisionError: division by zero" in out
    assert "return n / 0" in out


def test_a_call_shows_its_arguments_and_result(cli: Cli) -> None:
    cli("run", "pipe.py", "square", "--n", "3")
    [call] = _ids(cli, "call_node", "call_hash")
    out = cli("show", call[:12]).out
    assert out.startswith(f"call    {call}")
    assert "result  9" in out


def test_a_task_shows_its_source(cli: Cli) -> None:
    cli("run", "pipe.py", "greet")
    [task] = _ids(cli, "task", "task_hash")
    assert 'return f"hello {name}"' in cli("show", task).out


def test_a_value_shows_type_codec_size_preview_and_what_made_it(cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "2", "--scale", "9")
    value = json.loads(cli("sql", "select * from jobs order by job_id", "--json").out)[0]["value_hash"]
    record = json.loads(cli("show", value, "--json").out)
    assert record["kind"] == "value"
    assert record["type_name"] == "builtins.dict"
    assert record["where"] == "the database"
    assert [call["task"] for call in record["made_by"]] == ["pipe.squares"]
    assert '"scale":9.0' in cli("show", value).out


def test_a_large_value_says_where_its_bytes_are(cli: Cli, here: Path) -> None:
    cli("run", "pipe.py", "greet", "--name", "x" * 20_000)
    [large] = json.loads(
        cli("sql", "select value_hash from value where inline is null limit 1", "--json").out
    )
    assert str(here) in json.loads(cli("show", large["value_hash"], "--json").out)["where"]


def test_a_value_is_shown_without_loading_its_class(cli: Cli, here: Path) -> None:
    (here / "classes.py").write_text(
        "from dataclasses import dataclass\nfrom valuestore import task\n"
        "@dataclass\nclass Row:\n    name: str\n"
        "@task\ndef row() -> Row:\n    return Row('a')\n"
    )
    cli("run", "classes.py", "row")
    (here / "classes.py").write_text("raise SystemExit('loaded')\n")
    value = json.loads(cli("sql", "select value_hash from jobs", "--json").out)[0]["value_hash"]
    assert 'preview    {"name":"a"}' in cli("show", value).out


def test_an_ambiguous_prefix_lists_the_candidates(cli: Cli) -> None:
    for name in "ab":
        cli("run", "pipe.py", "greet", "--name", name)
    prefix = str(_executions(cli)[0]["execution_id"])[:2]
    done = cli("show", prefix)
    assert done.code == 2
    for execution in _executions(cli):
        assert str(execution["execution_id"]) in done.err
    assert "pipe.greet(name='a')" in done.err


@pytest.mark.parametrize("name", ["deadbeefdeadbeef", "xyz", "", "0_0", "%", "'; drop table job"])
def test_an_id_that_is_not_there_exits_1(cli: Cli, name: str) -> None:
    cli("run", "pipe.py", "greet")
    done = cli("show", name)
    assert done.code == (1 if name else 2)
    assert done.err.count("\n") == 1


HOSTILE = "[bold red]x[/] [/nonsense] :smile: \x1b[31m\x1b]0;title\x07 \x9b31m \u202e\n\u2028"


def test_markup_and_control_characters_in_records_are_text(cli: Cli, here: Path) -> None:
    (here / "hostile.py").write_text(
        "from valuestore import task\n"
        "@task\ndef fail(text: str) -> None:\n    raise ValueError(text)\n"
        "@task\ndef echo(text: str) -> str:\n    return text\n"
    )
    cli("run", "hostile.py", "echo", "--text", HOSTILE, "--tag", f"note={HOSTILE}")
    cli("run", "hostile.py", "fail", "--text", HOSTILE)
    jobs = json.loads(cli("sql", "select * from jobs", "--json").out)
    commands = [
        ["log"],
        ["show", "-"],
        ["show", "~1"],
        ["sql", "select * from job"],
        ["sql", "select * from value"],
    ]
    commands += [["show", str(job[name])] for job in jobs for name in ("job_id", "task_hash")]
    commands += [["show", job["value_hash"]] for job in jobs if job["value_hash"]]
    for command in commands:
        done = cli(*command)
        assert done.code == 0, done.err
        assert all(char.isprintable() or char in "\n\t" for char in done.out), command
    assert "[bold red]x[/] [/nonsense] :smile: \\x1b[31m\\x1b]0;title\\x07 \\x9b31m \\u202e\\n\\u2028" in (
        cli("sql", "select error from job where error is not null").out
    )


def test_records_are_escaped_on_a_terminal_too(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    cli("run", "pipe.py", "greet", "--name", "\x1b]0;title\x07[red]")
    out = cli("log").out
    assert "\x1b]0" not in out
    assert "\x07" not in out
    assert "[red]" in out


def test_task_lists_what_a_task_depends_on(cli: Cli, here: Path) -> None:
    (here / "config.txt").write_text("x")
    (here / "reads.py").write_text(
        "from valuestore import task\nLIMIT = 2\n@task\ndef load(n: int) -> str:\n"
        "    with open('config.txt') as file:\n        return file.read() * LIMIT * n\n"
    )
    cli("run", "reads.py", "load", "--n", "3")
    out = cli("task", "load").out.splitlines()
    assert out[0].startswith("reads.load  ")
    assert out[1].startswith("1 jobs (1 executed, 0 cached, 0 failed)")
    assert "def load(n: int) -> str:" in out
    follows = out.index("follows")
    assert [line.split()[-1] for line in out[follows + 1 : follows + 3]] == ["reads.load", "reads.load:LIMIT"]
    assert out[-1].split() == ["file", "config.txt"]
    assert json.loads(cli("task", "reads.load", "--json").out)["undeclared"] == [["file", "config.txt"]]
    assert "stands for no task; `valuestore log tasks`" in cli("task", "nothing").err
    assert "stands for no job or task; `valuestore log jobs`" in cli("why", "nothing").err


def test_a_frame_shows_its_first_rows(here: Path, cli: Cli) -> None:
    with Repository.open(here) as repository:
        frame = pd.DataFrame({"city": ["Rome\x1b[2J"] * 50, "t": [1.5] * 50})
        value_hash = repository.put(frame).value_hash
    *_, head, first, _, _ = cli("show", value_hash[:10]).out.splitlines()
    assert head.split()[0::2] == ["city:", "t:"]
    assert first.split() == ["Rome\\x1b[2J", "1.5"]


@pytest.mark.parametrize(
    "preview",
    [
        "{broken",
        "[" * 50_000,
        '{"rows":1,"columns":{},"first":[[1]]}',
        '{"rows":1,"columns":["a"],"first":["list of 1"]}',
        '{"rows":1,"columns":["a"],"first":[[1,2]]}',
        '{"rows":1,"columns":{"a":[1]},"first":[[{"b":1}],[]]}',
    ],
)
def test_a_preview_that_lies_is_shown_as_it_is(here: Path, cli: Cli, preview: str) -> None:
    with Repository.open(here) as repository:
        value_hash = repository.put(1).value_hash
        repository.flush()
        with repository.database.write() as connection:
            connection.exec_driver_sql("UPDATE value SET preview = ?", (preview,))
    done = cli("show", value_hash)
    assert (done.code, done.err) == (0, "")
    assert preview[:40] in done.out


SHORT_NAMES = """
from valuestore import task

@task
def f(n: int) -> int:
    return n

@task
def both(n: int) -> int:
    return f(n)
"""


def test_a_task_is_found_by_its_short_name_whatever_hashes_begin_so(cli: Cli, here: Path) -> None:
    (here / "letters.py").write_text(
        SHORT_NAMES + "\n@task\ndef many() -> list:\n    return [f(n) for n in range(60)]\n"
    )
    cli("run", "letters.py", "many")
    assert any(call.startswith("f") for call in _ids(cli, "call_node", "call_hash"))
    assert json.loads(cli("show", "f", "--json").out)["task_name"] == "letters.f"
    assert cli("task", "f").out.startswith("letters.f")
    assert cli("tag", "add", "f", "kind=letter").code == 0
    assert cli("why", "f").out.startswith("letters.f  done")


def test_a_short_name_of_two_tasks_lists_both_and_a_whole_name_is_one(cli: Cli, here: Path) -> None:
    for name in ("one", "two"):
        (here / f"{name}.py").write_text(SHORT_NAMES)
        cli("run", f"{name}.py", "both", "--n", "1")
    done = cli("show", "f")
    assert done.code == 2
    assert "one.f" in done.err
    assert "two.f" in done.err
    assert cli("show", "two.f", "--json").code == 0
    assert cli("task", "f").code == 2


def test_task_says_who_called_it_and_how_many_versions_there_are(cli: Cli, here: Path) -> None:
    (here / "letters.py").write_text(SHORT_NAMES)
    cli("run", "letters.py", "both", "--n", "1")
    cli("run", "letters.py", "both", "--n", "2")
    told = json.loads(cli("task", "f", "--json").out)
    assert (told["called_by"], len(told["versions"])) == ([["letters.both", 2]], 1)
    assert (told["counts"]["jobs"], told["counts"]["executed"]) == (2, 2)
    assert "called by letters.both (2)" in cli("task", "f").out
    cli("tag", "add", "f", "kind=letter")
    assert "tags kind=letter" in cli("task", "letters.f").out
